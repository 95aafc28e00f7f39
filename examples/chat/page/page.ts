/**
 * The chat's page. It shows each message once: what is typed while the server is away
 * waits in the library, which sends it when it is back, and what may have been lost is
 * sent again under the same id.
 *
 * @module
 */

import { ClientSocket } from "../../../lean.ts";
import {
  ALIVE_EVERY,
  type FromPage,
  MAX_OPEN,
  parseFromServer,
  parseName,
  parseText,
  type Said,
} from "../protocol.ts";
import { Deliveries } from "./deliveries.ts";
import { find, make } from "./find.ts";
import { show } from "./light.ts";
import * as messages from "./messages.ts";
import { addId, makeId, readIds, readName, writeName } from "./session.ts";

const door = find("door", HTMLElement);
const doorForm = find("door-form", HTMLFormElement);
const nameField = find("name", HTMLInputElement);
const nameError = find("name-error", HTMLElement);
const room = find("room", HTMLElement);
const people = find("people", HTMLUListElement);
const count = find("count", HTMLElement);
const composer = find("composer", HTMLFormElement);
const textField = find("text", HTMLTextAreaElement);
const textError = find("text-error", HTMLElement);

const url = new URL("/chat", location.href);
url.protocol = url.protocol.replace("http", "ws");

let name = "";
const own = new Set(readIds());
/** The texts of own messages, to send them again. */
const texts = new Map<string, string>();

const deliveries = new Deliveries((id, delivery) => {
  messages.mark(id, delivery, () => {
    textField.focus();
    if (hasRoom()) deliver(id);
  });
});

const client = new ClientSocket<{ incoming: unknown; outgoing: FromPage }>({
  reconnect: true,
  // A server that has missed two turns to say that it is there is gone.
  idleTimeout: 2.5 * ALIVE_EVERY,
});

client.on("connect", (connection) => {
  clearTimeout(ending);
  deliveries.connect();
  show({ kind: "connected" });
  // It goes out before all that has waited.
  connection.send({ kind: "hello", name });
});

client.on("message", ({ data }) => {
  const message = parseFromServer(data);
  switch (message?.kind) {
    case "welcome":
      message.history.forEach(hear);
      // The server ignores an id that it knows, and a page one that it shows.
      return deliveries.welcome().forEach(deliver);
    case "people":
      return showPeople(message.names);
    case "said":
      return hear(message.said);
    case "known":
      return confirm(message.id, Date.now());
  }
});

/** Says that the connection is closed, unless the library comes back at once. */
let ending: ReturnType<typeof setTimeout> | undefined;

function lose(why: string): void {
  deliveries.lose();
  clearTimeout(ending);
  ending = setTimeout(() => end(why), 0);
}

function end(why: string): void {
  clearTimeout(ending);
  deliveries.end();
  show({ kind: "closed", why });
}

client.on("close", (code, reason, cause) => {
  if (cause === "local") lose("you have left");
  else lose(`${reason || "the server has said goodbye"} (${code})`);
});
// A browser may tell a reason here, too, if something went wrong after a goodbye.
client.on("disconnect", (_code, reason) => {
  lose(reason || "the connection was lost");
});
client.on("reconnecting", (attempt, delay) => {
  clearTimeout(ending);
  show({ kind: "reconnecting", attempt, delay });
});
client.on("giveup", () => end("the server cannot be reached"));

async function connect(): Promise<void> {
  // A server that hangs may not have answered the goodbye of an earlier visit.
  client.terminate();
  clearTimeout(ending);
  deliveries.retry();
  show({ kind: "connecting" });
  try {
    await client.connect(url);
  } catch {
    end("the server cannot be reached");
  }
}

/** Takes what somebody has said; what is shown already, only as an echo. */
function hear(said: Said): void {
  if (messages.has(said.id)) confirm(said.id, said.at);
  else messages.add(said, own.has(said.id));
}

function confirm(id: string, at: number): void {
  if (!deliveries.confirm(id)) return;
  texts.delete(id);
  messages.settle(id, at);
}

/** Whether one more message may be given to the library; says so if not. */
function hasRoom(): boolean {
  if (deliveries.open < MAX_OPEN) return true;
  textError.textContent =
    `${MAX_OPEN} messages are still on their way. Try again when they have arrived.`;
  return false;
}

/** Gives a message to the library, which sends it as soon as it can. */
async function deliver(id: string): Promise<void> {
  const text = texts.get(id);
  if (text === undefined) return;
  deliveries.begin(id);
  try {
    await client.send({ kind: "say", id, text });
    deliveries.handOver(id);
  } catch {
    deliveries.fail(id);
  }
}

function showPeople(names: readonly string[]): void {
  count.textContent = String(names.length);
  // Others may have the same name; one of them is this page, and stands first.
  const at = names.indexOf(name);
  const items = names.toSpliced(at, at < 0 ? 0 : 1).map(makePerson);
  if (at >= 0) {
    const self = makePerson(name);
    self.append(make("span", "self", " (you)"));
    items.unshift(self);
  }
  people.replaceChildren(...items);
}

function makePerson(name: string): HTMLLIElement {
  const item = make("li", "", name);
  item.dir = "auto";
  return item;
}

function enter(): void {
  writeName(name);
  door.hidden = true;
  room.hidden = false;
  textField.focus();
  connect();
}

doorForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const parsed = parseName(nameField.value);
  const isFit = parsed !== undefined;
  nameField.ariaInvalid = String(!isFit);
  nameError.textContent = isFit ? "" : "Choose a name that others can see.";
  if (isFit) {
    name = parsed;
    enter();
  } else nameField.focus();
});

find("leave", HTMLButtonElement).addEventListener("click", () => {
  client.close();
  writeName("");
  room.hidden = true;
  door.hidden = false;
  nameField.focus();
});

find("again", HTMLButtonElement).addEventListener("click", () => {
  textField.focus();
  connect();
});

textField.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  composer.requestSubmit();
});

textField.addEventListener("input", () => {
  textField.ariaInvalid = "false";
  textError.textContent = "";
});

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  textField.focus();
  if (textField.value.trim() === "") return;
  const text = parseText(textField.value);
  const isFit = text !== undefined;
  textField.ariaInvalid = String(!isFit);
  textError.textContent = isFit
    ? ""
    : "Some of these characters cannot be sent.";
  if (!isFit || !hasRoom()) return;
  const id = makeId();
  own.add(id);
  addId(id);
  texts.set(id, text);
  messages.addOpen(id, text);
  deliver(id);
  textField.value = "";
});

nameField.value = readName();
const remembered = parseName(nameField.value);
if (remembered === undefined) nameField.focus();
else {
  name = remembered;
  enter();
}
