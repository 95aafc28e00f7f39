/**
 * What the chat's server remembers: who is there, and what was said. It holds no
 * socket, and nothing outlives the process.
 *
 * @module
 */

import type { Said, Say } from "./protocol.ts";

/** How many messages newcomers get to see. */
const MAX_HISTORY = 50;

/** How many ids are remembered, so that none of them is broadcast again. */
const MAX_IDS = 10_000;

/**
 * A room.
 *
 * @typeParam Guest What stands for one who is there.
 */
export class Room<Guest> {
  readonly #names = new Map<Guest, string>();
  readonly #ids = new Set<string>();
  readonly #history: Said[] = [];

  /** The names of those who are there; one stands there as often as it is used. */
  get names(): string[] {
    return [...this.#names.values()].sort((a, b) => a.localeCompare(b));
  }

  /** The last messages, the newest last. */
  get history(): readonly Said[] {
    return this.#history;
  }

  /** The name of one who is there. */
  nameOf(guest: Guest): string | undefined {
    return this.#names.get(guest);
  }

  /** Somebody comes in, by any name: nobody's is reserved. */
  enter(guest: Guest, name: string): void {
    this.#names.set(guest, name);
  }

  /** Somebody goes; false if they were not there. */
  leave(guest: Guest): boolean {
    return this.#names.delete(guest);
  }

  /** Takes a message to be broadcast; undefined if its id was there before. */
  take({ id, text }: Say, name: string, at: number): Said | undefined {
    if (this.#ids.has(id)) return undefined;
    this.#ids.add(id);
    if (this.#ids.size > MAX_IDS) {
      const [oldest = ""] = this.#ids;
      this.#ids.delete(oldest);
    }
    const said = { id, name, text, at };
    this.#history.push(said);
    if (this.#history.length > MAX_HISTORY) this.#history.shift();
    return said;
  }
}
