/**
 * Sends what is kept so that a client knows where it stands, and lets one that comes
 * back have what it has missed.
 *
 * @module
 */

import { byteLengthOf } from "../values/codec.ts";
import { type Connection, internals } from "../connection/connection.ts";
import type { BroadcastBody } from "./envelope.ts";
import {
  encodePosition,
  encodeStored,
  type StreamPosition,
  UNKNOWN_POSITION,
} from "../protocol/frames.ts";
import type {
  HistoryOptions,
  MessageStore,
  StoredMessage,
} from "./message_store.ts";
import { assertSize, assertType, ignoreRejection } from "../events/errors.ts";
import { MAX_ROOMS, sessionIn } from "./resume_tokens.ts";
import type { WriterLimits } from "../sending/socket_writer.ts";
import { randomId } from "../util/random_id.ts";
import { startTimer, type Timer, withTimeout } from "../util/timer.ts";
import type { SocketTypes } from "../values/types.ts";

/**
 * How long messages are held back while `connect` listeners let a client join its
 * rooms, in milliseconds. Rooms that it joins later are caught up one by one.
 */
const CONNECT_LISTENERS_TIMEOUT_MS = 1_000;

/** How long a client may take to be in all its rooms again, in milliseconds. */
const REJOIN_TIMEOUT_MS = 10_000;

/** How long what was missed may take to be found. */
const READ_TIMEOUT_MS = 10_000;

/** What it takes to let a message wait for a client, beside its body, in bytes. */
const HELD_COST = 64;

/** How many messages to remember of those that will be read again for a missing room. */
const MAX_SEEN = 10_000;

/** A client that can come back. */
interface ResumableClient {
  /** Its secret name, the same on each of its connections. */
  readonly session: string;
  /** Whether its token names other rooms than those that it is in. */
  isStale: boolean;
  /** The epoch of its token. */
  epoch: string | undefined;
  /** Whether it has been told a place that is none, and no other since. */
  isPositionUnknown: boolean;
}

/** A client that has come back, until it is known whether it has got all. */
interface PendingRecovery {
  readonly token: string;
  readonly position: StreamPosition;
  /** Where it was at its loss: not before the place that its token proves. */
  after: number;
  /** The tags of the rooms that it was in at its loss. */
  rooms: ReadonlySet<string>;
  /** Those of them that it has not been sent what it has missed of. */
  readonly missing: Set<string>;
  /** Whether it has been sent what it has missed of what is for all. */
  hasBroadcasts: boolean;
  /** What it has got already, of what will be read again for a missing room. */
  readonly seen: Set<number>;
  /** What is sent to it while what it has missed is read. */
  held: StoredMessage[] | undefined;
  /** How many bytes that has. */
  heldSize: number;
  /** Whether it is known already that something cannot be had. */
  isIncomplete: boolean;
  /** Resolves when it has gone again. */
  readonly ended: PromiseWithResolvers<undefined>;
  /** Goes off when it takes too long to join its rooms. */
  timer: Timer | undefined;
}

/**
 * Fills in the defaults.
 *
 * @param options What the program says.
 * @returns How much to keep; undefined for nothing.
 * @throws {RangeError} If a number among the options is none, or too small.
 */
export function resolveHistoryOptions(
  options: boolean | HistoryOptions,
): Required<HistoryOptions> | undefined {
  if (options === false) return undefined;
  if (options !== true) assertType("history", options, "object");
  const { messages = 100, maxAge = 120_000, maxBytes = 64 * 1024 * 1024 } =
    options === true ? {} : options;
  const limits = { messages, maxAge, maxBytes };
  for (const [name, value] of Object.entries(limits)) {
    assertSize(`history.${name}`, value);
    if (value >= 1 && value < Infinity) continue;
    throw new RangeError(
      `Cannot use "history.${name}" unless it is finite, and 1 or more: current value is ${value}`,
    );
  }
  return { messages: Math.ceil(messages), maxAge, maxBytes };
}

/**
 * Tells a client that has come back that nothing is kept here.
 *
 * @param connection The connection.
 */
export function refuseResume<Types extends SocketTypes>(
  connection: Connection<Types>,
): void {
  if (internals.resumeOf(connection)?.position === undefined) return;
  const update = { position: undefined, recovered: false };
  internals.sendMarked(connection, encodePosition(update));
}

/**
 * What a server's clients have got of what is kept.
 *
 * A client may claim anything. So what it was entitled to is signed: its session, the
 * rooms that it was in, and the number of the last message before that. It gets only
 * what was sent after that number, to those rooms, and not with its session left out.
 *
 * @typeParam Types The types of the sockets.
 */
export class Recovery<Types extends SocketTypes> {
  readonly #store: MessageStore;
  readonly #maxAge: number;
  readonly #limits: WriterLimits;
  readonly #onError: (error: unknown) => void;
  readonly #clients = new WeakMap<Connection<Types>, ResumableClient>();
  readonly #recovering = new Map<Connection<Types>, PendingRecovery>();
  /** Who is to be told at the end of this turn where they stand. */
  #positionDue = new Set<Connection<Types>>();

  /**
   * Begins.
   *
   * @param store Where messages are kept.
   * @param maxAge How long a client may be away, in milliseconds.
   * @param limits How much may wait for a client.
   * @param onError Hears of errors.
   */
  constructor(
    store: MessageStore,
    maxAge: number,
    limits: WriterLimits,
    onError: (error: unknown) => void,
  ) {
    this.#store = store;
    this.#maxAge = maxAge;
    this.#limits = limits;
    this.#onError = onError;
  }

  /**
   * What a connection is called where it is left out of a message. A session and the
   * public `id` of a connection never have the same name.
   *
   * @param connection The connection.
   * @returns The name.
   */
  recipientId(connection: Connection<Types>): string {
    const session = this.#clients.get(connection)?.session;
    return session === undefined
      ? `connection ${connection.id}`
      : `session ${session}`;
  }

  /**
   * Sends a message to those whom it is for. Who is left out is told where they stand:
   * they have not missed it.
   *
   * @param members Those of its rooms.
   * @param entry The message.
   */
  deliver(members: Iterable<Connection<Types>>, entry: StoredMessage): void {
    const { offset, body, options, target } = entry;
    const isExact = target.except.length === 0 && !target.without?.length;
    const { overflow = this.#limits.overflow } = options;
    let marked: BroadcastBody | undefined;
    for (const member of members) {
      if (!isExact && !this.#isAddressedTo(entry, member)) {
        if (internals.resumeOf(member)) this.sendPosition(member);
        continue;
      }
      if (internals.resumeOf(member) === undefined) {
        internals.send(member, body, options, false);
        continue;
      }
      const back = this.#recovering.size > 0
        ? this.#recovering.get(member)
        : undefined;
      if (back?.held) {
        this.#hold(back, back.held, entry);
        continue;
      }
      if (back) this.#pass(member, back, entry);
      if (overflow === "latest" && member.bufferedAmount > 0) {
        // It may take the place of one before others, which have not come then.
        internals.send(member, body, options, false);
        this.sendPosition(member);
      } else {
        marked ??= encodeStored(offset, body);
        internals.sendMarked(member, marked, options);
      }
    }
  }

  /** Lets a message wait, unless more waits than may be sent. */
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

  /** A message goes to a client that has not all its rooms again. */
  #pass(
    member: Connection<Types>,
    back: PendingRecovery,
    { offset, target }: StoredMessage,
  ) {
    // It would come once more when a room is caught up, with its number.
    if (offset === 0) return this.#finish(member, back, false);
    const { tokens } = this.#store;
    const isReadAgain = tokens &&
      target.rooms?.some((room) => back.missing.has(tokens.tagOf(room)));
    if (!isReadAgain) return;
    back.seen.add(offset);
    if (back.seen.size > MAX_SEEN) this.#finish(member, back, false);
  }

  /**
   * Tells a client where it stands, if it understands that.
   *
   * @param connection The connection.
   * @param recovered Whether it has got all that it has missed, if that is to be told.
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
    const store = this.#store;
    const { tokens, epoch, offset } = store;
    const { rooms } = connection;
    const isStale = client.isStale || client.epoch !== epoch;
    const canSign = rooms.size <= MAX_ROOMS &&
      (!isStale || [...rooms].every((room) => store.isCurrent(room)));
    if (!tokens || epoch === undefined || !canSign) {
      return this.#sendUnknownPosition(connection, client, recovered);
    }
    const token = isStale
      ? tokens.sign(client.session, offset, rooms)
      : undefined;
    client.isStale = client.isPositionUnknown = false;
    client.epoch = epoch;
    // The next one tells as much, but not what has become of what was missed.
    const overflow = recovered === undefined ? "drop-newest" : "terminate";
    const update = { position: { epoch, offset }, recovered, token };
    const sent = internals.sendMarked(connection, encodePosition(update), {
      overflow,
    });
    if (token) sent?.catch(() => client.isStale = true);
  }

  /** Tells a client that nobody can say where it stands. */
  #sendUnknownPosition(
    connection: Connection<Types>,
    client: ResumableClient,
    recovered?: boolean,
  ): void {
    if (recovered === undefined && client.isPositionUnknown) return;
    client.isPositionUnknown = true;
    const update = { position: UNKNOWN_POSITION, recovered };
    // It must not be dropped: the client would go on from where it was.
    internals.sendMarked(connection, encodePosition(update), {
      overflow: "terminate",
    });
  }

  /**
   * A client has connected; nothing has been sent to it yet.
   *
   * @param connection The connection.
   */
  clientConnected(connection: Connection<Types>): void {
    const resume = internals.resumeOf(connection);
    if (resume === undefined) return;
    const { token, position, awayMs } = resume;
    const client: ResumableClient = {
      // Not proven yet, and need not be: it is a secret, which only hides messages from
      // those who have it. It stays as it is, as others may name it at any time.
      session: sessionIn(token) ?? randomId(),
      isStale: true,
      epoch: undefined,
      isPositionUnknown: false,
    };
    this.#clients.set(connection, client);
    const { epoch, offset, opening, tokens } = this.#store;
    // A broker that has just come tells the last number in a moment.
    const isKnown = opening ||
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
      });
      return;
    }
    this.#sendUnknownPosition(connection, client, position && false);
    this.sendPosition(connection);
  }

  /**
   * A client has joined a room.
   *
   * @param connection The connection.
   * @param room The room.
   */
  join(connection: Connection<Types>, room: string): void {
    const client = this.#clients.get(connection);
    if (!client) return;
    client.isStale = true;
    const back = this.#recovering.get(connection);
    if (!back) {
      // Until it has a token that names the room, nobody knows that it was there.
      this.#sendUnknownPosition(connection, client);
      this.sendPosition(connection);
    } else if (!back.held && this.#lacks(back, room)) {
      ignoreRejection(this.#replay(connection, client, back));
    }
  }

  /**
   * A client has left a room.
   *
   * @param connection The connection.
   */
  leave(connection: Connection<Types>): void {
    const client = this.#clients.get(connection);
    if (!client || connection.readyState !== 1) return;
    client.isStale = true;
    this.sendPosition(connection);
  }

  /**
   * The `connect` listeners have been called for a client.
   *
   * @param connection The connection.
   * @param pending Promises of those that are not done yet; they never reject.
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

  /**
   * A connection has ended.
   *
   * @param connection The connection.
   */
  clientEnded(connection: Connection<Types>): void {
    const back = this.#recovering.get(connection);
    if (!back) return;
    this.#recovering.delete(connection);
    clearTimeout(back.timer);
    back.ended.resolve(undefined);
  }

  /** Checks what a client has presented, and sends what it has missed. */
  async #resume(
    connection: Connection<Types>,
    client: ResumableClient,
    back: PendingRecovery,
    pending: readonly Promise<unknown>[],
  ): Promise<void> {
    const { position, token, ended: { promise: ended } } = back;
    const { opening } = this.#store;
    if (pending.length > 0 || opening) {
      const ready = Promise.all([opening, ...pending]);
      await withTimeout(
        CONNECT_LISTENERS_TIMEOUT_MS,
        Promise.race([ready, ended]),
      );
    }
    if (this.#recovering.get(connection) !== back) return; // it has ended
    const { tokens } = this.#store;
    const proven = tokens?.epoch === position.epoch && tokens.verify(token);
    if (!proven) return this.#finish(connection, back, false);
    back.after = Math.max(position.offset, proven.start);
    back.rooms = proven.rooms;
    for (const room of proven.rooms) back.missing.add(room);
    back.timer = startTimer(() => {
      // What is being read may still be the last of it; it has a timeout of its own.
      if (back.held) back.isIncomplete = true;
      else this.#finish(connection, back, false);
    }, REJOIN_TIMEOUT_MS);
    await this.#replay(connection, client, back);
  }

  /** Sends what a client has missed of the rooms that it is in again. */
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
        // That the broker is away is told already.
        if (this.#store.epoch !== undefined) this.#onError(error);
      }
      if (this.#recovering.get(connection) !== recovery) return; // it has ended
      const missed = this.#missedOf(connection, recovery, rooms, read);
      if (!missed) return this.#finish(connection, recovery, false);
      const { rooms: own } = connection;
      for (const available of rooms) {
        if (own.has(available)) recovery.missing.delete(this.#tagOf(available));
      }
      recovery.hasBroadcasts = true;
      recovery.held = undefined;
      recovery.heldSize = 0;
      const isWhole = recovery.missing.size === 0;
      if (isWhole) this.#recovering.delete(connection);
      // What comes now would be a place behind what a missing room still has to send.
      else this.#sendUnknownPosition(connection, client);
      // What it has had from another server may come to this one only now.
      const since = held.filter(({ offset }) => offset > after);
      for (const entry of orderMissed([...missed, ...since])) {
        this.deliver([connection], entry);
      }
      if (isWhole) return this.#finish(connection, recovery, true);
    } while (
      this.#recovering.get(connection) === recovery &&
      [...connection.rooms].some((available) =>
        this.#lacks(recovery, available)
      )
    );
  }

  /** What of all that was read a client has missed; undefined if that is in doubt. */
  #missedOf(
    connection: Connection<Types>,
    back: PendingRecovery,
    rooms: readonly string[],
    read: readonly StoredMessage[] | undefined,
  ): readonly StoredMessage[] | undefined {
    const { epoch, offset } = this.#store;
    // All that anybody can have had has come by now.
    const isSame = back.position.epoch === epoch && back.after <= offset;
    // What has no number yet may be among what was found, too.
    const hasUnkept = back.held?.some(({ offset }) => offset === 0);
    if (!read || !isSame || back.isIncomplete || hasUnkept) return undefined;
    const caught = new Set(rooms);
    const missed = read.filter((entry) =>
      this.#hasMissed(connection, back, caught, entry)
    );
    const size = missed.reduce((sum, { body }) => sum + byteLengthOf(body), 0);
    // It would overflow, and come back for the same again and again.
    const space = this.#limits.maxBufferedAmount - connection.bufferedAmount;
    return size > space ? undefined : missed;
  }

  /** Whether a message was for a client that was away, and still is. */
  #hasMissed(
    connection: Connection<Types>,
    back: PendingRecovery,
    caught: ReadonlySet<string>,
    { offset, target: { rooms, except, without } }: StoredMessage,
  ): boolean {
    const { rooms: own } = connection;
    const isFor = rooms
      ? rooms.some((room) => caught.has(room) && own.has(room))
      : !back.hasBroadcasts;
    return isFor && !back.seen.has(offset) &&
      !without?.includes(this.recipientId(connection)) &&
      // Also if it has not joined such a room again yet.
      !except.some((room) =>
        own.has(room) || back.rooms.has(this.#tagOf(room))
      );
  }

  /** Tells a client that has come back whether it has got all, and lets it go on. */
  #finish(
    connection: Connection<Types>,
    back: PendingRecovery,
    recovered: boolean,
  ): void {
    this.#recovering.delete(connection);
    clearTimeout(back.timer);
    this.#sendPositionNow(connection, recovered);
    const { held = [], position, after } = back;
    back.held = undefined;
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

  /** Whether a client has still to get what it has missed of a room. */
  #lacks(back: PendingRecovery, room: string): boolean {
    return back.missing.size > 0 && back.missing.has(this.#tagOf(room));
  }

  /** Whether a message that is kept is for somebody. */
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

/** Each once. */
function orderMissed(entries: readonly StoredMessage[]): StoredMessage[] {
  const all = new Map(entries.map((entry) => [entry.offset, entry]));
  return [...all.values()].sort((a, b) => a.offset - b.offset);
}
