/**
 * Keeps the last messages of rooms in memory, for clients that come back.
 *
 * @module
 */

import { bytesOf } from "../values/codec.ts";
import { ALL, type Body, channelOf, type Letter } from "./envelope.ts";
import { randomName } from "../util/random_id.ts";

/** Options of what a server keeps for clients that come back. */
export interface HistoryOptions {
  /**
   * How many messages to keep of each room. A client that has missed more of one has
   * not recovered.
   *
   * @default {100}
   */
  readonly messages?: number;
  /**
   * How long a client may be away, in milliseconds. Messages are kept for twice as
   * long, at least.
   *
   * @default {120_000}
   */
  readonly maxAge?: number;
}

/** A message that is kept. */
export interface Entry extends Letter {
  /** Where it stands among all that are kept; 0 if it is not kept yet. */
  readonly offset: number;
}

/** Where messages are kept. */
export interface Shelf {
  /** What its numbers belong to; undefined while it cannot be reached. */
  readonly epoch: string | undefined;
  /** All that is kept up to this has been sent to those whom it is for. */
  readonly offset: number;
  /** Resolves when it can be reached for the first time; undefined afterwards. */
  readonly opening?: Promise<void> | undefined;
  /**
   * What is kept of some rooms, and of what is for all, in order. What is delivered
   * meanwhile may be part of it.
   *
   * @param rooms The rooms.
   * @param after Where to begin.
   * @returns The messages; undefined if some are not there any more.
   */
  read(
    rooms: readonly string[],
    after: number,
  ): PromiseLike<readonly Entry[] | undefined> | readonly Entry[] | undefined;
}

/** What is kept of one room. */
interface Track {
  readonly entries: Kept[];
  /** Since when nobody has been in it. */
  emptySince: number | undefined;
}

interface Kept extends Entry {
  readonly time: number;
}

/** Keeps messages in memory. */
export class History implements Shelf {
  /** What its numbers belong to: they mean nothing after a restart. */
  readonly epoch: string = randomName();
  readonly #limits: Required<HistoryOptions>;
  readonly #forgotten: (room: string) => void;
  readonly #clock: () => number;
  readonly #tracks = new Map<string, Track>();
  #offset = 0;
  #sweptAt: number;

  /**
   * Begins with nothing.
   *
   * @param limits How much to keep.
   * @param forgotten Hears of rooms of which nothing is kept any more.
   * @param clock Tells the time in milliseconds.
   */
  constructor(
    limits: Required<HistoryOptions>,
    forgotten: (room: string) => void,
    clock: () => number = () => performance.now(),
  ) {
    this.#limits = limits;
    this.#forgotten = forgotten;
    this.#clock = clock;
    this.#sweptAt = clock();
    this.#tracks.set(ALL, { entries: [], emptySince: undefined });
  }

  /** The number of the last message. */
  get offset(): number {
    return this.#offset;
  }

  /**
   * Keeps a message, if somebody may come back for it.
   *
   * @param letter The message.
   * @returns What is kept.
   */
  add({ address, body, options }: Letter): Entry {
    this.#sweep();
    const entry: Kept = {
      offset: ++this.#offset,
      address,
      body: own(body),
      options,
      time: this.#clock(),
    };
    const entries = this.#tracks.get(placeOf(address.rooms))?.entries;
    entries?.push(entry);
    // One more than are promised: who has missed them all knows that they are all.
    if (entries && entries.length > this.#limits.messages + 1) entries.shift();
    return entry;
  }

  /**
   * Somebody is in a room now.
   *
   * @param room The room.
   * @returns Whether nothing was kept of it before.
   */
  enter(room: string): boolean {
    const track = this.#tracks.get(channelOf(room));
    if (track) track.emptySince = undefined;
    else {
      this.#tracks.set(channelOf(room), { entries: [], emptySince: undefined });
    }
    return track === undefined;
  }

  /**
   * Nobody is in a room any more; some may come back.
   *
   * @param room The room.
   */
  leave(room: string): void {
    const track = this.#tracks.get(channelOf(room));
    if (track) track.emptySince = this.#clock();
    this.#sweep();
  }

  /**
   * What is kept of some rooms, as {@linkcode Shelf.read}.
   *
   * @param rooms The rooms.
   * @param after Where to begin.
   * @returns The messages.
   */
  read(rooms: readonly string[], after: number): Entry[] | undefined {
    const all: Entry[] = [];
    for (const name of [ALL, ...rooms.map(channelOf)]) {
      const entries = this.#tracks.get(name)?.entries ?? [];
      const missed = entries.filter(({ offset }) => offset > after);
      if (missed.length > this.#limits.messages) return undefined;
      all.push(...missed);
    }
    return all.sort((a, b) => a.offset - b.offset);
  }

  /** Forgets what is too old, from time to time. */
  #sweep(): void {
    const age = 2 * this.#limits.maxAge;
    const oldest = this.#clock() - age;
    if (this.#sweptAt > oldest) return;
    this.#sweptAt = this.#clock();
    for (const [name, { entries, emptySince }] of this.#tracks) {
      const fresh = entries.findIndex(({ time }) => time >= oldest);
      entries.splice(0, fresh < 0 ? entries.length : fresh);
      if (emptySince === undefined || emptySince > oldest) continue;
      this.#tracks.delete(name);
      this.#forgotten(name.slice(channelOf("").length));
    }
  }
}

/**
 * Where a message is kept: with the room that it is for, or with those for all.
 *
 * @param rooms Whom it is for.
 * @returns The channel.
 */
export function placeOf(rooms: readonly string[] | undefined): string {
  const [room] = rooms ?? [];
  return room !== undefined && rooms?.length === 1 ? channelOf(room) : ALL;
}

/** The sender may change its bytes. */
function own(body: Body): Body {
  return typeof body === "string" ? body : bytesOf(body).slice();
}
