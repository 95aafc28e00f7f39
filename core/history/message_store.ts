/**
 * Keeps the last messages of rooms in memory, for clients that come back.
 *
 * @module
 */

import { memoryOf, toBytes } from "../values/codec.ts";
import { ALL, type Body, channelOf, type Letter } from "./envelope.ts";
import { randomId } from "../util/random_id.ts";
import { startBackgroundTimer, type Timer } from "../util/timer.ts";

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
  /**
   * How many bytes of memory the messages of all rooms may take together. When they
   * take more, the rooms that were least recently used lose their messages first: a
   * client that has missed one of those has not recovered. It counts what a message
   * really costs, so a small one counts as some 400 bytes. Messages that a broker
   * stores do not count.
   *
   * @default {67_108_864}
   */
  readonly maxBytes?: number;
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

/** What is stored of one room. */
interface Track {
  readonly channel: string;
  readonly entries: Stored[];
  /** What the entries cost, in bytes. */
  size: number;
  /** Messages of the room up to this offset may have been removed. */
  removed: number;
  /** Since when nobody has been in it. */
  emptySince: number | undefined;
}

interface Stored extends Entry {
  readonly time: number;
  readonly cost: number;
}

/**
 * What a stored message costs beside its body and the names in its address, in bytes, as
 * measured; and how much more if it is binary.
 */
const ENTRY_COST = 384;
const BUFFER_COST = 256;

/** What a room costs beside its name, with nothing stored. */
const TRACK_COST = 256;

/**
 * Stores messages in memory, up to a number per room and up to a number of bytes in
 * all. When there are too many bytes, the room that was least recently used loses its
 * messages first.
 */
export class History implements Shelf {
  /** What its numbers belong to: they mean nothing after a restart. */
  readonly epoch: string = randomId();
  readonly #limits: Required<HistoryOptions>;
  readonly #forgotten: (room: string) => void;
  readonly #clock: () => number;
  readonly #tracks = new Map<string, Track>();
  /** The tracks that something can be removed of, least recently used first. */
  readonly #removable = new Set<Track>();
  #offset = 0;
  /** What all tracks cost, in bytes. */
  #size = 0;
  /** Messages up to this offset may be missing from rooms that have no track. */
  #untracked = 0;
  #timer: Timer | undefined;
  #isStopped = false;

  /**
   * Creates an empty store.
   *
   * @param limits How much to store.
   * @param forgotten Called with each room whose track is removed.
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
    this.#open(ALL);
  }

  /** The number of the last message. */
  get offset(): number {
    return this.#offset;
  }

  /** About how many bytes of memory all that is stored takes. */
  get size(): number {
    return this.#size;
  }

  /**
   * Stores a message, if somebody may come back for it.
   *
   * @param letter The message.
   * @returns What is stored.
   */
  add({ address, body, options }: Letter): Entry {
    const offset = ++this.#offset;
    const track = this.#tracks.get(placeOf(address.rooms));
    if (!track) {
      this.#untracked = offset;
      return { offset, address, body: own(body), options };
    }
    const entry: Stored = {
      offset,
      address,
      body: own(body),
      options,
      time: this.#clock(),
      cost: costOf({ address, body, options }),
    };
    track.entries.push(entry);
    this.#resize(track, entry.cost);
    if (track.entries.length > this.#limits.messages) this.#shift(track);
    this.#use(track);
    this.#makeRoom();
    return entry;
  }

  /**
   * Hears that somebody is in a room now.
   *
   * @param room The room.
   * @returns Whether the room had no track before.
   */
  enter(room: string): boolean {
    const channel = channelOf(room);
    const existing = this.#tracks.get(channel);
    const track = existing ?? this.#open(channel);
    track.emptySince = undefined;
    this.#use(track);
    this.#makeRoom();
    return existing === undefined;
  }

  /**
   * Hears that nobody is in a room any more. Some may come back.
   *
   * @param room The room.
   */
  leave(room: string): void {
    const track = this.#tracks.get(channelOf(room));
    if (!track) return;
    track.emptySince = this.#clock();
    this.#use(track);
    this.#makeRoom();
  }

  /**
   * Reads what is stored of some rooms, as {@linkcode Shelf.read}.
   *
   * @param rooms The rooms.
   * @param after Where to begin.
   * @returns The messages; undefined if one of them may have been removed.
   */
  read(rooms: readonly string[], after: number): Entry[] | undefined {
    const all: Entry[] = [];
    for (const name of [ALL, ...rooms.map(channelOf)]) {
      const track = this.#tracks.get(name);
      if ((track?.removed ?? this.#untracked) > after) return undefined;
      if (!track) continue;
      this.#use(track);
      for (const entry of track.entries) {
        if (entry.offset > after) all.push(entry);
      }
    }
    return all.sort((a, b) => a.offset - b.offset);
  }

  /** Stops its timer for good. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  #open(channel: string): Track {
    const track: Track = {
      channel,
      entries: [],
      size: 0,
      // What was sent before may have been removed together with an earlier track.
      removed: this.#untracked,
      emptySince: undefined,
    };
    this.#tracks.set(channel, track);
    this.#resize(track, TRACK_COST + memoryOf(channel));
    return track;
  }

  #close(track: Track): void {
    while (track.entries.length > 0) this.#shift(track);
    this.#untracked = Math.max(this.#untracked, track.removed);
    this.#tracks.delete(track.channel);
    this.#removable.delete(track);
    this.#resize(track, -track.size);
    this.#forgotten(track.channel.slice(channelOf("").length));
  }

  #resize(track: Track, difference: number): void {
    track.size += difference;
    this.#size += difference;
  }

  /** Removes the oldest message of a room. */
  #shift(track: Track): void {
    const entry = track.entries.shift();
    if (!entry) return;
    track.removed = entry.offset;
    this.#resize(track, -entry.cost);
  }

  /** Makes a track the most recently used one. */
  #use(track: Track): void {
    this.#removable.delete(track);
    if (track.entries.length === 0 && track.emptySince === undefined) return;
    this.#removable.add(track);
    this.#startTimer();
  }

  /** Removes the least recently used rooms until the rest fits. */
  #makeRoom(): void {
    const { maxBytes } = this.#limits;
    if (this.#size <= maxBytes) return;
    for (const track of this.#removable) {
      // Of the room that is used right now, only the oldest messages have to go.
      const isLast = this.#removable.size === 1;
      while (track.entries.length > 0) {
        this.#shift(track);
        if (isLast && this.#size <= maxBytes) return;
      }
      if (track.emptySince !== undefined) this.#close(track);
      else this.#removable.delete(track);
      if (this.#size <= maxBytes) return;
    }
  }

  /** Sweeps again in a while, for as long as something is stored. */
  #startTimer(): void {
    if (this.#isStopped) return;
    this.#timer ??= startBackgroundTimer(() => {
      this.#timer = undefined;
      this.#sweep();
      if (this.#removable.size > 0) this.#startTimer();
    }, this.#limits.maxAge);
  }

  /** Removes what is too old. */
  #sweep(): void {
    const oldest = this.#clock() - 2 * this.#limits.maxAge;
    for (const track of this.#removable) {
      const { entries, emptySince } = track;
      const fresh = entries.findIndex(({ time }) => time > oldest);
      const old = fresh < 0 ? entries.length : fresh;
      for (let i = 0; i < old; i++) this.#shift(track);
      if (emptySince !== undefined) {
        if (emptySince <= oldest) this.#close(track);
      } else if (entries.length === 0) this.#removable.delete(track);
    }
  }
}

/** How many bytes of memory a stored message takes. */
function costOf({ address, body, options: { key = "" } }: Letter): number {
  const { rooms = [], except, without = [] } = address;
  const isBinary = typeof body !== "string";
  let cost = ENTRY_COST + (isBinary ? BUFFER_COST : 0) + memoryOf(body) +
    memoryOf(key);
  for (const names of [rooms, except, without]) {
    for (const name of names) cost += 16 + memoryOf(name);
  }
  return cost;
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
  return typeof body === "string" ? body : toBytes(body).slice();
}
