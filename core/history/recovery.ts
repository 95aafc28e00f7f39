/**
 * Recovery of missed messages. Stored messages are sent with their position, so that a
 * client that reconnects can say which it has. It is then sent what it has missed.
 *
 * @module
 */

import { byteLengthOf } from "../values/codec.ts";
import { type Connection, coreOf } from "../connection/connection.ts";
import type { BroadcastBody } from "./envelope.ts";
import {
  encodePosition,
  encodeStored,
  type StreamPosition,
} from "../protocol/frames.ts";
import {
  inLogOrder,
  type MessageStore,
  type StoredMessage,
} from "./message_store.ts";
import { ignoreRejection } from "../events/errors.ts";
import { PositionSender, type ResumableClient } from "./position_sender.ts";
import { sessionIn } from "./resume_tokens.ts";
import type { WriterLimits } from "../sending/flow_options.ts";
import type { SendOptions } from "../sending/send_queue.ts";
import { randomId } from "../util/random_id.ts";
import { startTimer, type Timer, withTimeout } from "../util/timer.ts";
import type { SocketTypes } from "../values/types.ts";

/**
 * The longest time to wait for `connect` listeners, which let a client join its rooms, in
 * milliseconds. Rooms that it joins later are replayed one by one.
 */
const CONNECT_LISTENERS_TIMEOUT_MS = 1_000;

/** The longest time for a client to rejoin all its rooms, in milliseconds. */
const REJOIN_TIMEOUT_MS = 10_000;

/** The longest time to read missed messages, in milliseconds. */
const READ_TIMEOUT_MS = 10_000;

/** The memory of a held message beside its body, in bytes. */
const HELD_COST = 64;

/** The number of offsets to remember in {@linkcode PendingRecovery.seen}. */
const MAX_SEEN = 10_000;

/** A client that has reconnected, until it is known whether it recovers. */
interface PendingRecovery {
  readonly token: string;
  readonly position: StreamPosition;
  /** The offset of the last message that it has, and at least that of its token. */
  after: number;
  /** The tags of the rooms that it was in when it was disconnected. */
  rooms: ReadonlySet<string>;
  /** The tags of rooms whose missed messages it has not been sent. */
  readonly missing: Set<string>;
  /** Whether it has been sent the missed messages to all clients. */
  hasBroadcasts: boolean;
  /** Offsets it was sent of messages that will be read again for a missing room. */
  readonly seen: Set<number>;
  /** Messages to it that are held back while missed messages are read. */
  held: StoredMessage[] | undefined;
  /** The memory of the held messages, in bytes. */
  heldSize: number;
  /** Whether it is known that messages are lost. */
  isIncomplete: boolean;
  /** Resolves when the connection ends. */
  readonly ended: PromiseWithResolvers<undefined>;
  /** Limits the time to rejoin all rooms. */
  timer: Timer | undefined;
  /** Who has to know, of a room, whether all missed messages were sent. */
  readonly watched: Map<string, (recovered: boolean) => void>;
  /** The tags of rooms that the client does not rejoin. */
  readonly forgone: Set<string>;
}

/** Tells a client that wants to recover that this server has no history. */
export function refuseResume<Types extends SocketTypes>(
  connection: Connection<Types>,
): void {
  if (coreOf(connection).resume?.position === undefined) return;
  const update = { position: undefined, recovered: false };
  coreOf(connection).sendMarked(encodePosition(update));
}

/** Sends frames to members that have joined a room as a channel. */
interface FanOut<Types extends SocketTypes> {
  send(client: Connection<Types>, body: BroadcastBody): boolean;
  sendStored(
    client: Connection<Types>,
    offset: number,
    body: BroadcastBody,
  ): boolean;
}

/** Creates the fan-out of a message to channels; undefined if there are none. */
type CreateFanOut<Types extends SocketTypes> = (
  rooms: readonly string[] | undefined,
  options: SendOptions,
) => FanOut<Types> | undefined;

/**
 * Sends stored messages and positions to the clients of a server, and replays missed
 * messages.
 *
 * A client can claim anything, so the server signs what it is entitled to: its session,
 * its rooms, and the offset of the last message before it was in them. It receives only
 * later messages to those rooms, and none that exclude its session.
 */
export class Recovery<Types extends SocketTypes> {
  readonly #store: MessageStore;
  readonly #positions: PositionSender;
  readonly #maxAge: number;
  readonly #limits: WriterLimits;
  readonly #onError: (error: unknown) => void;
  readonly #fanOut: CreateFanOut<Types>;
  readonly #clients = new WeakMap<Connection<Types>, ResumableClient>();
  readonly #recovering = new Map<Connection<Types>, PendingRecovery>();
  /** Clients that will be sent their position at the end of this turn. */
  #positionDue = new Set<Connection<Types>>();

  /**
   * @param maxAge How long a client may be disconnected, in milliseconds.
   * @param limits The limits of the messages buffered for a client.
   * @param fanOut Creates what sends to members that have joined a room as a channel.
   */
  constructor(
    store: MessageStore,
    maxAge: number,
    limits: WriterLimits,
    onError: (error: unknown) => void,
    fanOut: CreateFanOut<Types>,
  ) {
    this.#store = store;
    this.#positions = new PositionSender(store);
    this.#maxAge = maxAge;
    this.#limits = limits;
    this.#onError = onError;
    this.#fanOut = fanOut;
  }

  /**
   * The name of a client in the target of a broadcast that excludes it. The prefix keeps a
   * session from being equal to the public `id` of another connection.
   */
  recipientId(connection: Connection<Types>): string {
    const session = this.#clients.get(connection)?.session;
    return session === undefined
      ? `connection ${connection.id}`
      : `session ${session}`;
  }

  /**
   * Sends a message to its recipients. Members that it excludes are sent their
   * position: they have not missed it.
   */
  deliver(members: Iterable<Connection<Types>>, entry: StoredMessage): void {
    const { offset, body, options, target } = entry;
    const isExact = target.except.length === 0 && !target.without?.length;
    const { overflow = this.#limits.overflow } = options;
    let marked: BroadcastBody | undefined;
    const fanOut = this.#fanOut(target.rooms, options);
    for (const member of members) {
      if (!isExact && !this.#isAddressedTo(entry, member)) {
        if (coreOf(member).resume) this.sendPosition(member);
        continue;
      }
      if (coreOf(member).resume === undefined) {
        if (fanOut?.send(member, body)) continue;
        coreOf(member).send(body, options, false);
        continue;
      }
      const recovery = this.#recovering.size > 0
        ? this.#recovering.get(member)
        : undefined;
      if (recovery?.held) {
        this.#hold(recovery, recovery.held, entry);
        continue;
      }
      if (recovery) this.#pass(member, recovery, entry);
      if (overflow === "latest" && member.bufferedAmount > 0) {
        // It may replace an earlier message that is ahead of others in the queue. A
        // position would then claim that those others have arrived.
        if (!fanOut?.send(member, body)) {
          coreOf(member).send(body, options, false);
        }
        this.sendPosition(member);
      } else if (!fanOut?.sendStored(member, offset, body)) {
        marked ??= encodeStored(offset, body);
        coreOf(member).sendMarked(marked, options);
      }
    }
  }

  /** Holds a message back, unless too much is held already. */
  #hold(
    recovery: PendingRecovery,
    held: StoredMessage[],
    message: StoredMessage,
  ): void {
    recovery.heldSize += HELD_COST + byteLengthOf(message.body);
    if (recovery.heldSize <= this.#limits.maxBufferedAmount) {
      held.push(message);
      return;
    }
    recovery.isIncomplete = true;
    held.length = 0;
  }

  /** Remembers a message that is sent to a client with missing rooms. */
  #pass(
    member: Connection<Types>,
    recovery: PendingRecovery,
    { offset, target }: StoredMessage,
  ) {
    // It would be replayed with its offset and so arrive twice.
    if (offset === 0) return this.#finish(member, recovery, false);
    const { tokens } = this.#store;
    const isReadAgain = tokens &&
      target.rooms?.some((room) => recovery.missing.has(tokens.tagOf(room)));
    if (!isReadAgain) return;
    recovery.seen.add(offset);
    if (recovery.seen.size > MAX_SEEN) this.#finish(member, recovery, false);
  }

  /**
   * Sends a client its position, if it supports recovery.
   *
   * @param recovered Whether it has recovered; undefined if that is not to be told.
   */
  sendPosition(connection: Connection<Types>, recovered?: boolean): void {
    if (recovered !== undefined) {
      return this.#sendPositionNow(connection, recovered);
    }
    this.#positionDue.add(connection);
    if (this.#positionDue.size > 1) return;
    queueMicrotask(() => {
      const due = this.#positionDue;
      this.#positionDue = new Set();
      for (const one of due) this.#sendPositionNow(one, undefined);
    });
  }

  #sendPositionNow(
    connection: Connection<Types>,
    recovered: boolean | undefined,
  ): void {
    const client = this.#clients.get(connection);
    if (!client || connection.readyState !== 1) return;
    const pending = this.#recovering.get(connection);
    if (pending) {
      if (recovered !== false) return;
      if (pending.held) pending.isIncomplete = true;
      else this.#finish(connection, pending, false);
      return;
    }
    this.#positions.send(connection, client, recovered);
  }

  /** A client has connected. Nothing has been sent to it yet. */
  clientConnected(connection: Connection<Types>): void {
    const resume = coreOf(connection).resume;
    if (resume === undefined) return;
    const { token, position, awayMs } = resume;
    const client: ResumableClient = {
      // This needs no proof: a session is a secret that can only exclude a client from
      // messages. It does not change later, as a broadcast may name it at any time.
      session: sessionIn(token) ?? randomId(),
      isStale: true,
      epoch: undefined,
      isPositionUnknown: false,
    };
    this.#clients.set(connection, client);
    const { epoch, offset, ready, tokens } = this.#store;
    // A broker that has just become reachable reports its last offset in a moment.
    const isKnown = ready ||
      position?.epoch === (offset === 0 ? tokens?.epoch : epoch);
    if (position && isKnown && awayMs <= this.#maxAge) {
      this.#recovering.set(connection, {
        token,
        position,
        after: position.offset,
        rooms: new Set(),
        missing: new Set(),
        hasBroadcasts: false,
        seen: new Set(),
        held: [],
        heldSize: 0,
        isIncomplete: false,
        ended: Promise.withResolvers(),
        timer: undefined,
        watched: new Map(),
        forgone: new Set(),
      });
      return;
    }
    this.#positions.sendUnknown(connection, client, position && false);
    this.sendPosition(connection);
  }

  /** A client has joined a room. */
  join(connection: Connection<Types>, room: string): void {
    const client = this.#clients.get(connection);
    if (!client) return;
    client.isStale = true;
    const recovery = this.#recovering.get(connection);
    if (!recovery) {
      // Until it has a token with the room, it cannot prove that it was there.
      this.#positions.sendUnknown(connection, client);
      this.sendPosition(connection);
    } else if (!recovery.held && this.#lacks(recovery, room)) {
      ignoreRejection(this.#replay(connection, client, recovery));
    }
  }

  /**
   * Tells, of a room that a client is about to rejoin, whether it is sent all messages that
   * it has missed there. Other rooms do not matter.
   */
  watch(
    connection: Connection<Types>,
    room: string,
    recovered: (recovered: boolean) => void,
  ): void {
    const back = this.#recovering.get(connection);
    // Nothing is missing of a room that it was not in, as far as it can prove.
    const isPending = back && (back.held || this.#lacks(back, room));
    if (isPending) back.watched.set(room, recovered);
    else recovered(false);
  }

  /** A client does not rejoin a room, so that it has missed nothing there. */
  forgo(connection: Connection<Types>, room: string): void {
    const client = this.#clients.get(connection);
    const back = this.#recovering.get(connection);
    if (!client || !back) return;
    back.watched.get(room)?.(false);
    back.watched.delete(room);
    const tag = this.#tagOf(room);
    back.forgone.add(tag);
    const isLast = back.missing.delete(tag) && back.missing.size === 0;
    if (isLast && !back.held) {
      ignoreRejection(this.#replay(connection, client, back));
    }
  }

  /** A client has left a room. */
  leave(connection: Connection<Types>): void {
    const client = this.#clients.get(connection);
    if (!client || connection.readyState !== 1) return;
    client.isStale = true;
    this.sendPosition(connection);
  }

  /**
   * Starts the recovery of a client, as its `connect` listeners have been called.
   *
   * @param pending Promises of listeners that have not finished; they never reject.
   */
  recover(
    connection: Connection<Types>,
    pending: readonly Promise<unknown>[],
  ): void {
    const client = this.#clients.get(connection);
    const recovering = this.#recovering.get(connection);
    if (client && recovering) {
      ignoreRejection(this.#resume(connection, client, recovering, pending));
    }
  }

  /** A connection has ended. */
  clientEnded(connection: Connection<Types>): void {
    const recovery = this.#recovering.get(connection);
    if (!recovery) return;
    this.#recovering.delete(connection);
    clearTimeout(recovery.timer);
    recovery.ended.resolve(undefined);
  }

  /** Verifies the token of a client and replays what it has missed. */
  async #resume(
    connection: Connection<Types>,
    client: ResumableClient,
    recovery: PendingRecovery,
    pending: readonly Promise<unknown>[],
  ): Promise<void> {
    const { position, token, ended: { promise: ended } } = recovery;
    const { ready } = this.#store;
    if (pending.length > 0 || ready) {
      const joined = Promise.all([ready, ...pending]);
      await withTimeout(
        CONNECT_LISTENERS_TIMEOUT_MS,
        Promise.race([joined, ended]),
      );
    }
    if (this.#recovering.get(connection) !== recovery) return; // the connection has ended
    const { tokens } = this.#store;
    const proven = tokens?.epoch === position.epoch && tokens.verify(token);
    if (!proven) return this.#finish(connection, recovery, false);
    recovery.after = Math.max(position.offset, proven.start);
    recovery.rooms = proven.rooms;
    for (const room of proven.rooms) {
      if (!recovery.forgone.has(room)) recovery.missing.add(room);
    }
    recovery.timer = startTimer(() => {
      // Reading has a timeout of its own and may still complete the recovery.
      if (recovery.held) recovery.isIncomplete = true;
      else this.#finish(connection, recovery, false);
    }, REJOIN_TIMEOUT_MS);
    await this.#replay(connection, client, recovery);
  }

  /** Sends the missed messages of the rooms that a client has rejoined. */
  async #replay(
    connection: Connection<Types>,
    client: ResumableClient,
    recovery: PendingRecovery,
  ): Promise<void> {
    const { after, ended: { promise: ended } } = recovery;
    do {
      const held = recovery.held ??= [];
      const rooms = [...connection.rooms].filter((room) =>
        this.#lacks(recovery, room)
      );
      let read: readonly StoredMessage[] | undefined;
      try {
        const found = this.#store.read(rooms, after);
        read = await withTimeout(READ_TIMEOUT_MS, Promise.race([found, ended]));
      } catch (error) {
        // While the broker is down, the event `adapter` has reported it.
        if (this.#store.epoch !== undefined) this.#onError(error);
      }
      if (this.#recovering.get(connection) !== recovery) return; // the connection has ended
      const missed = this.#missedOf(connection, recovery, rooms, read);
      if (!missed) return this.#finish(connection, recovery, false);
      const { rooms: own } = connection;
      for (const room of rooms) {
        if (own.has(room)) recovery.missing.delete(this.#tagOf(room));
      }
      recovery.hasBroadcasts = true;
      recovery.held = undefined;
      recovery.heldSize = 0;
      const isWhole = recovery.missing.size === 0;
      if (isWhole) this.#recovering.delete(connection);
      // A position would claim that the messages of the missing rooms have arrived.
      else this.#positions.sendUnknown(connection, client);
      // This server may lag behind the one that the client was connected to.
      const since = held.filter(({ offset }) => offset > after);
      for (const entry of inLogOrder([...missed, ...since])) {
        this.deliver([connection], entry);
      }
      this.#notifyWatchers(connection, recovery, rooms);
      if (isWhole) return this.#finish(connection, recovery, true);
    } while (
      this.#recovering.get(connection) === recovery &&
      [...connection.rooms].some((room) => this.#lacks(recovery, room))
    );
  }

  /** Tells of the rooms whose missed messages were sent, and of those it was not in. */
  #notifyWatchers(
    connection: Connection<Types>,
    back: PendingRecovery,
    replayed: readonly string[],
  ): void {
    for (const [room, recovered] of back.watched) {
      if (this.#lacks(back, room)) continue;
      back.watched.delete(room);
      recovered(connection.rooms.has(room) && replayed.includes(room));
    }
  }

  /** The messages that a client has missed; undefined if some may be lost. */
  #missedOf(
    connection: Connection<Types>,
    recovery: PendingRecovery,
    rooms: readonly string[],
    read: readonly StoredMessage[] | undefined,
  ): readonly StoredMessage[] | undefined {
    const { epoch, offset } = this.#store;
    // By now, this server has every message that a client can have received.
    const isSame = recovery.position.epoch === epoch &&
      recovery.after <= offset;
    // A held message without an offset may be among those that were read, too.
    const hasUnnumbered = recovery.held?.some(({ offset }) => offset === 0);
    if (!read || !isSame || recovery.isIncomplete || hasUnnumbered) {
      return undefined;
    }
    const caught = new Set(rooms);
    const missed = read.filter((entry) =>
      this.#hasMissed(connection, recovery, caught, entry)
    );
    const size = missed.reduce((sum, { body }) => sum + byteLengthOf(body), 0);
    // A replay that overflows the buffer would end the connection again and again.
    const space = this.#limits.maxBufferedAmount - connection.bufferedAmount;
    return size > space ? undefined : missed;
  }

  /** Whether a client has missed a message that was, and still is, addressed to it. */
  #hasMissed(
    connection: Connection<Types>,
    recovery: PendingRecovery,
    caught: ReadonlySet<string>,
    { offset, target: { rooms, except, without } }: StoredMessage,
  ): boolean {
    const { rooms: own } = connection;
    const isFor = rooms
      ? rooms.some((room) => caught.has(room) && own.has(room))
      : !recovery.hasBroadcasts;
    return isFor && !recovery.seen.has(offset) &&
      !without?.includes(this.recipientId(connection)) &&
      // An excluded room counts even if the client has not rejoined it yet.
      !except.some((room) =>
        own.has(room) || recovery.rooms.has(this.#tagOf(room))
      );
  }

  /** Ends a recovery: sends its result, then the messages that were held back. */
  #finish(
    connection: Connection<Types>,
    recovery: PendingRecovery,
    recovered: boolean,
  ): void {
    this.#recovering.delete(connection);
    clearTimeout(recovery.timer);
    for (const tell of recovery.watched.values()) tell(false);
    recovery.watched.clear();
    this.#sendPositionNow(connection, recovered);
    const { held = [], position, after } = recovery;
    recovery.held = undefined;
    const { epoch, offset } = this.#store;
    const isSame = position.epoch === epoch && after <= offset;
    const since = held.filter(({ offset }) =>
      !isSame || offset === 0 || offset > after
    );
    for (const entry of since) this.deliver([connection], entry);
    if (since.length > 0) this.sendPosition(connection);
  }

  #tagOf(room: string): string {
    return this.#store.tokens?.tagOf(room) ?? "";
  }

  /** Whether the missed messages of a room have not been sent. */
  #lacks(recovery: PendingRecovery, room: string): boolean {
    return recovery.missing.size > 0 && recovery.missing.has(this.#tagOf(room));
  }

  /** Whether a client is a recipient of a message. */
  #isAddressedTo(
    { target: { rooms, except, without } }: StoredMessage,
    connection: Connection<Types>,
  ): boolean {
    const own = connection.rooms;
    return (rooms === undefined || rooms.some((room) => own.has(room))) &&
      !except.some((room) => own.has(room)) &&
      !without?.includes(this.recipientId(connection));
  }
}
