/**
 * Keeps the last messages of rooms in memory, for clients that come back.
 *
 * @module
 */

import { memoryOf, toBytes } from "../values/codec.ts";
import {
  ALL_CHANNEL,
  type Broadcast,
  type BroadcastBody,
  roomChannel,
} from "./envelope.ts";
import { ResumeTokens } from "./resume_tokens.ts";
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
export interface StoredMessage extends Broadcast {
  /** Where it stands among all that are kept; 0 if it is not kept yet. */
  readonly offset: number;
}

/** Where messages are kept. */
export interface MessageStore {
  /** What its numbers belong to; undefined while it cannot be reached. */
  readonly epoch: string | undefined;
  /** Signs and checks where clients stand; undefined until it can be reached. */
  readonly tokens: ResumeTokens | undefined;
  /** All that is kept up to this has been sent to those whom it is for. */
  readonly offset: number;
  /**
   * Whether {@linkcode MessageStore.offset} is not older than the last message of a room
   * that was sent before somebody here joined it.
   *
   * @param room The room.
   */
  isCurrent(room: string): boolean;
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
  ):
    | PromiseLike<readonly StoredMessage[] | undefined>
    | readonly StoredMessage[]
    | undefined;
}

/** What is stored of one room. */
interface StoredChannel {
  readonly channel: string;
  readonly entries: SizedMessage[];
  /** What the entries cost, in bytes. */
  size: number;
  /** Messages of the room up to this offset may have been removed. */
  removedUpTo: number;
  /** Since when nobody has been in it. */
  emptySince: number | undefined;
}

interface SizedMessage extends StoredMessage {
  readonly storedAt: number;
  readonly cost: number;
}

/**
 * What a stored message costs beside its body and the names in its address, in bytes, as
 * measured; and how much more if it is binary.
 */
const MESSAGE_OVERHEAD_BYTES = 384;
const BUFFER_OVERHEAD_BYTES = 256;

/** What a room costs beside its name, with nothing stored. */
const CHANNEL_OVERHEAD_BYTES = 256;

/**
 * Stores messages in memory, up to a number per room and up to a number of bytes in
 * all. When there are too many bytes, the room that was least recently used loses its
 * messages first.
 */
export class MemoryStore implements MessageStore {
  /** What its numbers belong to: they mean nothing after a restart. */
  readonly tokens: ResumeTokens = new ResumeTokens(randomId());
  readonly epoch: string = this.tokens.epoch;
  readonly #limits: Required<HistoryOptions>;
  readonly #onForgotten: (room: string) => void;
  readonly #clock: () => number;
  readonly #channels = new Map<string, StoredChannel>();
  /** The tracks that something can be removed of, least recently used first. */
  readonly #removable = new Set<StoredChannel>();
  #offset = 0;
  /** What all tracks cost, in bytes. */
  #size = 0;
  /** Messages up to this offset may be missing from rooms that have no track. */
  #removedUpTo = 0;
  #timer: Timer | undefined;
  #isStopped = false;

  /**
   * Creates an empty store.
   *
   * @param limits How much to store.
   * @param onForgotten Called with each room whose track is removed.
   * @param clock Tells the time in milliseconds.
   */
  constructor(
    limits: Required<HistoryOptions>,
    onForgotten: (room: string) => void,
    clock: () => number = () => performance.now(),
  ) {
    this.#limits = limits;
    this.#onForgotten = onForgotten;
    this.#clock = clock;
    this.#open(ALL_CHANNEL);
  }

  /** The number of the last message. */
  get offset(): number {
    return this.#offset;
  }

  /** Always true, as numbers are given here. */
  isCurrent(): boolean {
    return true;
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
  add({ target, body, options }: Broadcast): StoredMessage {
    const offset = ++this.#offset;
    const stored = this.#channels.get(channelFor(target.rooms));
    if (!stored) {
      this.#removedUpTo = offset;
      return { offset, target, body: copyBody(body), options };
    }
    const entry: SizedMessage = {
      offset,
      target,
      body: copyBody(body),
      options,
      storedAt: this.#clock(),
      cost: memoryCost({ target, body, options }),
    };
    stored.entries.push(entry);
    this.#resize(stored, entry.cost);
    if (stored.entries.length > this.#limits.messages) this.#shift(stored);
    this.#use(stored);
    this.#makeRoom();
    return entry;
  }

  /**
   * Hears that somebody is in a room now.
   *
   * @param room The room.
   * @returns Whether the room had no track before.
   */
  roomOpened(room: string): boolean {
    const channel = roomChannel(room);
    const existing = this.#channels.get(channel);
    const stored = existing ?? this.#open(channel);
    stored.emptySince = undefined;
    this.#use(stored);
    this.#makeRoom();
    return existing === undefined;
  }

  /**
   * Hears that nobody is in a room any more. Some may come back.
   *
   * @param room The room.
   */
  roomClosed(room: string): void {
    const stored = this.#channels.get(roomChannel(room));
    if (!stored) return;
    stored.emptySince = this.#clock();
    this.#use(stored);
    this.#makeRoom();
  }

  /**
   * Reads what is stored of some rooms, as {@linkcode MessageStore.read}.
   *
   * @param rooms The rooms.
   * @param after Where to begin.
   * @returns The messages; undefined if one of them may have been removed.
   */
  read(rooms: readonly string[], after: number): StoredMessage[] | undefined {
    const all: StoredMessage[] = [];
    for (const name of [ALL_CHANNEL, ...rooms.map(roomChannel)]) {
      const stored = this.#channels.get(name);
      if ((stored?.removedUpTo ?? this.#removedUpTo) > after) return undefined;
      if (!stored) continue;
      this.#use(stored);
      for (const entry of stored.entries) {
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

  #open(channel: string): StoredChannel {
    const stored: StoredChannel = {
      channel,
      entries: [],
      size: 0,
      // What was sent before may have been removed together with an earlier track.
      removedUpTo: this.#removedUpTo,
      emptySince: undefined,
    };
    this.#channels.set(channel, stored);
    this.#resize(stored, CHANNEL_OVERHEAD_BYTES + memoryOf(channel));
    return stored;
  }

  #close(stored: StoredChannel): void {
    while (stored.entries.length > 0) this.#shift(stored);
    this.#removedUpTo = Math.max(this.#removedUpTo, stored.removedUpTo);
    this.#channels.delete(stored.channel);
    this.#removable.delete(stored);
    this.#resize(stored, -stored.size);
    this.#onForgotten(stored.channel.slice(roomChannel("").length));
  }

  #resize(stored: StoredChannel, difference: number): void {
    stored.size += difference;
    this.#size += difference;
  }

  /** Removes the oldest message of a room. */
  #shift(stored: StoredChannel): void {
    const entry = stored.entries.shift();
    if (!entry) return;
    stored.removedUpTo = entry.offset;
    this.#resize(stored, -entry.cost);
  }

  /** Makes a track the most recently used one. */
  #use(stored: StoredChannel): void {
    this.#removable.delete(stored);
    if (stored.entries.length === 0 && stored.emptySince === undefined) return;
    this.#removable.add(stored);
    this.#startTimer();
  }

  /** Removes the least recently used rooms until the rest fits. */
  #makeRoom(): void {
    const { maxBytes } = this.#limits;
    if (this.#size <= maxBytes) return;
    for (const stored of this.#removable) {
      // Of the room that is used right now, only the oldest messages have to go.
      const isLast = this.#removable.size === 1;
      while (stored.entries.length > 0) {
        this.#shift(stored);
        if (isLast && this.#size <= maxBytes) return;
      }
      if (stored.emptySince !== undefined) this.#close(stored);
      else this.#removable.delete(stored);
      if (this.#size <= maxBytes) return;
    }
  }

  /** Sweeps again in a while, for as long as something is stored. */
  #startTimer(): void {
    if (this.#isStopped) return;
    this.#timer ??= startBackgroundTimer(() => {
      this.#timer = undefined;
      this.#removeExpired();
      if (this.#removable.size > 0) this.#startTimer();
    }, this.#limits.maxAge);
  }

  /** Removes what is too old. */
  #removeExpired(): void {
    const oldest = this.#clock() - 2 * this.#limits.maxAge;
    for (const stored of this.#removable) {
      const { entries, emptySince } = stored;
      const fresh = entries.findIndex(({ storedAt: time }) => time > oldest);
      const old = fresh < 0 ? entries.length : fresh;
      for (let i = 0; i < old; i++) this.#shift(stored);
      if (emptySince !== undefined) {
        if (emptySince <= oldest) this.#close(stored);
      } else if (entries.length === 0) this.#removable.delete(stored);
    }
  }
}

/** How many bytes of memory a stored message takes. */
function memoryCost(
  { target, body, options: { key = "" } }: Broadcast,
): number {
  const { rooms = [], except, without = [] } = target;
  const isBinary = typeof body !== "string";
  let cost = MESSAGE_OVERHEAD_BYTES + (isBinary ? BUFFER_OVERHEAD_BYTES : 0) +
    memoryOf(body) +
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
export function channelFor(rooms: readonly string[] | undefined): string {
  const [room] = rooms ?? [];
  return room !== undefined && rooms?.length === 1
    ? roomChannel(room)
    : ALL_CHANNEL;
}

/** The sender may change its bytes. */
function copyBody(body: BroadcastBody): BroadcastBody {
  return typeof body === "string" ? body : toBytes(body).slice();
}
