/**
 * The chat's page. It shows each message once: the library sends what was typed while the
 * server was away, and sends again what has no answer.
 *
 * @module
 */

import "@ws/events/client/retry";
import { type Channel, channel } from "@ws/events/channels";
import { ClientSocket, RequestError } from "@ws/events/client/lean";
import type { ClientTypes } from "@ws/events/contract";
import {
  CHANNEL,
  type Chat,
  MAX_OPEN,
  parseName,
  parseText,
  type Said,
} from "../protocol.ts";
import { find, make } from "./find.ts";
import { show } from "./light.ts";
import * as messages from "./messages.ts";
import { addId, makeId, readIds, readName, writeName } from "./session.ts";

const door = find("door", HTMLElement);
const doorForm = find("door-form", HTMLFormElement);
const nameField = find("name", HTMLInputElement);
const nameError = find("name-error", HTMLElement);
const roomView = find("room", HTMLElement);
const people = find("people", HTMLUListElement);
const count = find("count", HTMLElement);
const composer = find("composer", HTMLFormElement);
const textField = find("text", HTMLTextAreaElement);
const textError = find("text-error", HTMLElement);

let name = "";
const own = new Set(readIds());
/** The ids of own messages without an answer. */
const pending = new Set<string>();

const client = new ClientSocket<ClientTypes<Chat>>({
  reconnect: true,
  // A server that is silent for so long is gone.
  idleTimeout: 12_500,
});
let ending = "";
let room: Channel<ClientTypes<Chat> & { snapshot: Said[] }> | undefined;

client.on("state", (state) => {
  const delivery = state === "open" ? "sending" : "waiting";
  for (const id of pending) messages.mark(id, delivery);
});
client.on("end", ({ code, reason }) => {
  ending = `${reason || "the connection has ended"} (${code})`;
});
client.on("reconnecting", (attempt, delay) => {
  show({ kind: "reconnecting", attempt, delay });
});

function connect(): void {
  // A server that hangs may not have answered the goodbye of an earlier visit.
  client.terminate();
  ending = "the server cannot be reached";
  show({ kind: "connecting" });
  const url = new URL("/chat", location.href.replace("http", "ws"));
  url.searchParams.set("name", name);
  client.connect(url);
  const joined = room = channel<ClientTypes<Chat> & { snapshot: Said[] }>(
    client,
    CHANNEL,
  );
  joined.on("open", (history) => {
    show({ kind: "connected" });
    history.forEach(hear);
  });
  joined.on("message:said", ({ data }) => hear(data));
  for (const type of ["join", "leave"] as const) {
    joined.on(type, () => {
      showPeople(joined.members.map(({ data }) => parseName(data) ?? ""));
    });
  }
  joined.on("close", (code, reason) => {
    show({ kind: "closed", why: code === "ended" ? ending : reason });
  });
}

function hear(said: Said): void {
  messages.hear(said, own.has(said.id));
}

/** Sends a message, until there is an answer. The others show an id once. */
async function deliver(id: string, text: string): Promise<void> {
  pending.add(id);
  messages.mark(id, client.state === "open" ? "sending" : "waiting");
  try {
    const said = await client.request(
      { type: "say", id, text },
      { retry: true, timeout: Infinity },
    );
    // What was said before comes with the answer of the channel.
    if (room?.state === "joining") await room.waitFor("open");
    pending.delete(id);
    hear(said);
  } catch (error) {
    pending.delete(id);
    if (!messages.isOpen(id)) return;
    if (error instanceof RequestError && error.code === "uncertain") {
      return deliver(id, text);
    }
    messages.mark(id, "failed", () => {
      textField.focus();
      if (hasRoom()) deliver(id, text);
    });
  }
}

/** Whether one more message may be sent; says so if not. */
function hasRoom(): boolean {
  if (pending.size < MAX_OPEN) return true;
  textError.textContent =
    `${MAX_OPEN} messages are still on their way. Try again when they have arrived.`;
  return false;
}

function showPeople(names: string[]): void {
  names.sort((a, b) => a.localeCompare(b));
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
  roomView.hidden = false;
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
  roomView.hidden = true;
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
  messages.addOpen(id, text);
  deliver(id, text);
  textField.value = "";
});

nameField.value = readName();
const remembered = parseName(nameField.value);
if (remembered === undefined) nameField.focus();
else {
  name = remembered;
  enter();
}
