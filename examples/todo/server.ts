/**
 * A list of tasks that all pages share. It is written to `todo.json` before a change is
 * confirmed, so it survives a restart of the server.
 *
 *     deno run --allow-net --allow-read --allow-run --allow-write=todo.json examples/todo/server.ts
 */

import { channels } from "@ws/events/channels";
import { ServerSocket } from "@ws/events/server";

const { success, stdout } = await new Deno.Command(Deno.execPath(), {
  args: ["bundle", "--quiet", "--platform=browser", "page/page.ts"],
  cwd: new URL(".", import.meta.url),
  stderr: "inherit",
}).output();
if (!success) Deno.exit(1);
const html = await Deno.readFile(new URL("page/index.html", import.meta.url));

const server = new ServerSocket({
  paths: ["/todo"],
  fallback: ({ url }) =>
    new URL(url).pathname === "/page.js"
      ? new Response(stdout, { headers: { "Content-Type": "text/javascript" } })
      : new Response(html, { headers: { "Content-Type": "text/html" } }),
});

const [port = "3000", file = "todo.json"] = Deno.args;
const saved = await Deno.readTextFile(file).catch(() => "[]");
const tasks = new Map<string, unknown>(JSON.parse(saved));

const list = channels(server).channel("tasks", {
  join: () => true,
  snapshot: () => [...tasks.values()],
});

// The whole task is sent, so it does no harm if a page sends the same change twice.
list.handle("put", ({ data }) => {
  const { id, text, done }: Record<string, unknown> = Object(data);
  if (`${id}`.length > 36 || `${text}`.length > 200) throw new RangeError();
  const task = { id: `${id}`, text: `${text}`, done: done === true };
  tasks.set(task.id, task);
  Deno.writeTextFileSync(file, JSON.stringify([...tasks]));
  server.to("tasks").send(task);
});

await server.listen("localhost", Number(port));
console.log(`Open ${server.url.replace("ws:", "http:")}`);
