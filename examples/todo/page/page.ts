import { channel } from "@ws/events/channels";
import { ClientSocket } from "@ws/events/client";

type Task = { id: string; text: string; done: boolean };

const client = new ClientSocket({ reconnect: true });
const list = channel<{ incoming: Task; snapshot: Task[] }>(client, "tasks");
const form = document.querySelector("form");
const status = document.querySelector("[role=status]");

function show(task: Task): void {
  const box = Object.assign(document.createElement("input"), {
    type: "checkbox",
    checked: task.done,
    onchange: () => put({ ...task, done: box.checked }),
  });
  const label = document.createElement("label");
  label.append(box, ` ${task.text}`);
  const item = document.createElement("li");
  item.id = task.id;
  item.append(label);
  const old = document.getElementById(task.id);
  if (old) old.replaceWith(item);
  else document.querySelector("ul")?.append(item);
}

/** Asks the server to save a task, on each connection until it has. */
async function put(task: Task): Promise<void> {
  const request = { type: "put", ...task };
  while (!await list.request(request).then(() => true, () => false)) {
    await list.waitFor("open");
  }
}

list.on("open", (tasks) => tasks.forEach(show));
list.on("message", ({ data }) => show(data));
client.on("state", () => {
  if (status) status.textContent = client.state === "open" ? "" : "Offline";
});
form?.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = String(new FormData(form).get("text"));
  form.reset();
  put({ id: crypto.randomUUID(), text, done: false });
});
client.connect(new URL("/todo", location.href.replace("http", "ws")));
