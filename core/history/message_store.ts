/**
 * Stores the latest messages of rooms in memory, for clients that reconnect.
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
import type { HistoryOptions } from "./history_options.ts";
import { ResumeTokens } from "./resume_tokens.ts";
import { randomId } from "../util/random_id.ts";
import { startBackgroundTimer, type Timer } from "../util/timer.ts";

/** A stored message. */
export interface StoredMessage extends Broadcast {
  /** Its number among all stored messages; 0 if it is not stored yet. */
  readonly offset: number;
}

/** The stored messages to choose from. */
export interface HistorySource {
  /** What their offsets belong to. */
  readonly epoch: string;
  /** The messages of the room, in order; those that follow `after`, and perhaps others. */
  readonly messages: readonly StoredMessage[];
  /** Whether messages that follow `after` may have been removed. */
  readonly isCut: boolean;
}

/** Where messages are stored: in memory, or by a broker. */
export interface MessageStore {
  /** What the offsets belong to; undefined while the store is unreachable. */
  readonly epoch: string | undefined;
  /** Signs and verifies positions of clients; undefined until it is first reachable. */
  readonly tokens: ResumeTokens | undefined;
  /** All messages up to this offset have been delivered to local clients. */
  readonly offset: number;
  /**
   * Whether every message that was sent to a room before a local client joined it is
   * covered by {@linkcode MessageStore.offset}.
   */
  isCurrent(room: string): boolean;
  /** Whether a room that clients were in before may not be current. */
  readonly hasGaps?: boolean;
  /** Resolves when the store is first reachable; undefined after that. */
  readonly ready?: Promise<void> | undefined;
  /**
   * Reads the messages of some rooms and those for all clients, in order. The result may
   * include messages that are delivered meanwhile.
   *
   * @param after Only messages with a larger offset are returned.
   * @returns The messages; undefined if some may have been removed.
   */
  read(
    rooms: readonly string[],
    after: number,
  ):
    | PromiseLike<readonly StoredMessage[] | undefined>
    | readonly StoredMessage[]
    | undefined;
  /**
   * Reads what is stored of the messages to a room, without those to all clients.
   *
   * @param after Only messages with a larger offset are wanted.
   * @throws {Error} (or rejects) If the store is unreachable.
   */
  list(
    room: string,
    after: number,
  ): PromiseLike<HistorySource> | HistorySource;
}

/** The stored messages of one channel. */
interface StoredChannel {
  readonly channel: string;
  readonly entries: SizedMessage[];
  /** The memory that the entries take, in bytes. */
  size: number;
  /** Messages up to this offset may have been removed. */
  removedUpTo: number;
  /** Since when the room has had no members; undefined while it has. */
  emptySince: number | undefined;
}

interface SizedMessage extends StoredMessage {
  readonly storedAt: number;
  readonly cost: number;
}

/**
 * The measured memory of a stored message beside its body and the names in its target,
 * in bytes, and what a binary message takes in addition.
 */
const MESSAGE_OVERHEAD_BYTES = 384;
const BUFFER_OVERHEAD_BYTES = 256;

/** The memory of a room without messages beside its name, in bytes. */
const CHANNEL_OVERHEAD_BYTES = 256;

/**
 * Stores messages in memory, with a limit of messages per room and a limit of bytes for
 * all rooms. Above the limit of bytes, the messages of the least recently used room are
 * removed first.
 */
export class MemoryStore implements MessageStore {
  /** What the offsets belong to: they are invalid after a restart. */
  readonly tokens: ResumeTokens = new ResumeTokens(randomId());
  readonly epoch: string = this.tokens.epoch;
  readonly #limits: Required<HistoryOptions>;
  readonly #onForgotten: (room: string) => void;
  readonly #clock: () => number;
  readonly #channels = new Map<string, StoredChannel>();
  /** The channels from which something can be removed, least recently used first. */
  readonly #removable = new Set<StoredChannel>();
  #offset = 0;
  /** The memory that all channels take, in bytes. */
  #size = 0;
  /** Messages up to this offset may be missing from channels that are not stored. */
  #removedUpTo = 0;
  #timer: Timer | undefined;
  #isStopped = false;

  /**
   * Creates an empty store.
   *
   * @param onForgotten Called with each room whose channel is removed.
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

  /** The offset of the last message. */
  get offset(): number {
    return this.#offset;
  }

  /** Always true, as the store assigns the offsets itself. */
  isCurrent(): boolean {
    return true;
  }

  /** The approximate memory of all stored messages, in bytes. */
  get size(): number {
    return this.#size;
  }

  /**
   * Gives a message an offset, and stores it if a client may reconnect for it.
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
   * A room has its first member.
   *
   * @returns Whether the room was not stored before.
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

  /** A room has lost its last member. Its messages stay, as members may reconnect. */
  roomClosed(room: string): void {
    const stored = this.#channels.get(roomChannel(room));
    if (!stored) return;
    stored.emptySince = this.#clock();
    this.#use(stored);
    this.#makeRoom();
  }

  /** Reads messages, as {@linkcode MessageStore.read}. */
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

  /** Lists messages, as {@linkcode MessageStore.list}. */
  list(room: string, after: number): HistorySource {
    const channels = [ALL_CHANNEL, roomChannel(room)].map((name) =>
      this.#channels.get(name)
    );
    return {
      epoch: this.epoch,
      messages: channels.flatMap((stored) => stored?.entries ?? [])
        .filter(({ target }) => target.rooms?.includes(room))
        .sort((a, b) => a.offset - b.offset),
      isCut: channels.some((stored) =>
        (stored?.removedUpTo ?? this.#removedUpTo) > after
      ),
    };
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
      // Earlier messages may have been removed with an earlier channel of the room.
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

  /** Marks a channel as the most recently used one. */
  #use(stored: StoredChannel): void {
    this.#removable.delete(stored);
    if (stored.entries.length === 0 && stored.emptySince === undefined) return;
    this.#removable.add(stored);
    this.#startTimer();
  }

  /** Removes from the least recently used channels until the rest fits. */
  #makeRoom(): void {
    const { maxBytes } = this.#limits;
    if (this.#size <= maxBytes) return;
    for (const stored of this.#removable) {
      // Of the channel in use, remove only as many messages as necessary.
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

  /** Schedules a sweep while something is stored. */
  #startTimer(): void {
    if (this.#isStopped) return;
    this.#timer ??= startBackgroundTimer(() => {
      this.#timer = undefined;
      this.#removeExpired();
      if (this.#removable.size > 0) this.#startTimer();
    }, this.#limits.maxAge);
  }

  /** Removes messages that are too old, and rooms that have been empty for too long. */
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

/** Returns the memory of a stored message, in bytes. */
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
 * The channel that stores a message: that of its room, or the one for all clients if it
 * has no room or several.
 */
export function channelFor(rooms: readonly string[] | undefined): string {
  const [room] = rooms ?? [];
  return room !== undefined && rooms?.length === 1
    ? roomChannel(room)
    : ALL_CHANNEL;
}

/** Copies the bytes, as the sender may change them. */
function copyBody(body: BroadcastBody): BroadcastBody {
  return typeof body === "string" ? body : toBytes(body).slice();
}

/** Sorts messages by their offsets and removes duplicates. */
export function inLogOrder<Message extends StoredMessage>(
  messages: readonly Message[],
): Message[] {
  const all = new Map(messages.map((message) => [message.offset, message]));
  return [...all.values()].sort((a, b) => a.offset - b.offset);
}
