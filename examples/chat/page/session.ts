/**
 * What the page remembers while its tab is open, also when it is loaded again:
 * the name, and which messages are its own.
 *
 * @module
 */

const NAME = "chat.name";
const IDS = "chat.ids";

/** How many of the page's own messages are remembered: as many as may come back. */
const MAX_IDS = 50;

function read(key: string): string {
  try {
    return sessionStorage.getItem(key) ?? "";
  } catch {
    return ""; // the user does not let pages remember
  }
}

function write(key: string, value: string): void {
  try {
    sessionStorage.setItem(key, value);
  } catch {
    // Then it is forgotten.
  }
}

/** The name that was chosen; empty if none was. */
export function readName(): string {
  return read(NAME);
}

/** Remembers the name; an empty one forgets it. */
export function writeName(name: string): void {
  write(NAME, name);
}

/** The ids of this page's messages. */
export function readIds(): string[] {
  return read(IDS).split(" ").filter(Boolean);
}

/** Remembers that a message is this page's. */
export function addId(id: string): void {
  write(IDS, [...readIds(), id].slice(-MAX_IDS).join(" "));
}

/** A new id; unlike `randomUUID`, this works in pages that came over plain HTTP. */
export function makeId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}
