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
import type { WriterLimits } from "../sending/socket_writer.ts";
import { withTimeout } from "../util/timer.ts";
import type { SocketTypes } from "../values/types.ts";

/** How long `connect` listeners may take to let a client into its rooms. */
const CONNECT_LISTENERS_TIMEOUT_MS = 1_000;

/** How long what was missed may take to be found. */
const READ_TIMEOUT_MS = 10_000;

/** What it takes to let a message wait for a client, beside its body, in bytes. */
const HELD_COST = 64;

/** Somebody who has come back, and has not got all yet. */
interface PendingRecovery {
  readonly position: StreamPosition;
  /** What is sent to them meanwhile. */
  readonly held: StoredMessage[];
  /** How many bytes that has. */
  heldSize: number;
  /** Whether it is known already that something cannot be had. */
  isIncomplete: boolean;
  /** Is told that they have gone again. */
  readonly ended: PromiseWithResolvers<undefined>;
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
 * What a connection is called by those who leave it out of a message, also when it
 * comes back.
 *
 * @param connection The connection.
 * @returns The name.
 */
export function recipientId<Types extends SocketTypes>(
  connection: Connection<Types>,
): string {
  return internals.resumeOf(connection)?.session ?? connection.id;
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
 * @typeParam Types The types of the sockets.
 */
export class Recovery<Types extends SocketTypes> {
  readonly #store: MessageStore;
  readonly #maxAge: number;
  readonly #limits: WriterLimits;
  readonly #onError: (error: unknown) => void;
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
      if (!isExact && !isAddressedTo(entry, member)) {
        if (internals.resumeOf(member)) this.sendPosition(member);
        continue;
      }
      if (internals.resumeOf(member) === undefined) {
        internals.send(member, body, options, false);
        continue;
      }
      const recovering = this.#recovering.size > 0 &&
        this.#recovering.get(member);
      if (recovering) this.#hold(recovering, entry);
      else if (overflow === "latest" && member.bufferedAmount > 0) {
        // It may take the place of one before others, which have not come then.
        internals.send(member, body, options, false);
        this.sendPosition(member);
      } else {internals.sendMarked(
          member,
          marked ??= encodeStored(offset, body),
          options,
        );}
    }
  }

  /** Lets a message wait, unless more waits than may be sent. */
  #hold(recovering: PendingRecovery, message: StoredMessage): void {
    recovering.heldSize += HELD_COST + byteLengthOf(message.body);
    if (recovering.heldSize <= this.#limits.maxBufferedAmount) {
      recovering.held.push(message);
      return;
    }
    recovering.isIncomplete = true;
    recovering.held.length = 0;
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
    const pending = this.#recovering.get(connection);
    if (pending) {
      pending.isIncomplete ||= recovered === false;
      return;
    }
    if (internals.resumeOf(connection) === undefined) return;
    const { epoch, offset } = this.#store;
    const position = epoch === undefined ? UNKNOWN_POSITION : { epoch, offset };
    // The next one tells as much, but not what has become of what was missed.
    const overflow = recovered === undefined ? "drop-newest" : "terminate";
    internals.sendMarked(connection, encodePosition({ position, recovered }), {
      overflow,
    });
  }

  /**
   * A client has connected; nothing has been sent to it yet.
   *
   * @param connection The connection.
   */
  clientConnected(connection: Connection<Types>): void {
    const resume = internals.resumeOf(connection);
    if (resume?.position === undefined) return this.sendPosition(connection);
    const { position, awayMs: awayMs } = resume;
    const { epoch, opening } = this.#store;
    if ((opening || position.epoch === epoch) && awayMs <= this.#maxAge) {
      const ended = Promise.withResolvers<undefined>();
      this.#recovering.set(connection, {
        position,
        held: [],
        heldSize: 0,
        isIncomplete: false,
        ended,
      });
    } else this.sendPosition(connection, false);
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
    const recovering = this.#recovering.get(connection);
    if (recovering) {
      ignoreRejection(this.#replay(connection, recovering, pending));
    }
  }

  /**
   * A connection has ended.
   *
   * @param connection The connection.
   */
  clientEnded(connection: Connection<Types>): void {
    this.#recovering.get(connection)?.ended.resolve(undefined);
    this.#recovering.delete(connection);
  }

  /** Sends what somebody has missed, and then what has come meanwhile. */
  async #replay(
    connection: Connection<Types>,
    recovery: PendingRecovery,
    pending: readonly Promise<unknown>[],
  ): Promise<void> {
    const { position, held, ended: { promise: ended } } = recovery;
    const { opening } = this.#store;
    if (pending.length > 0 || opening) {
      const ready = Promise.all([opening, ...pending]);
      await withTimeout(
        CONNECT_LISTENERS_TIMEOUT_MS,
        Promise.race([ready, ended]),
      );
    }
    const rooms = [...connection.rooms];
    let missed: readonly StoredMessage[] | undefined;
    try {
      if (position.epoch === this.#store.epoch) {
        const found = this.#store.read(rooms, position.offset);
        missed = await withTimeout(
          READ_TIMEOUT_MS,
          Promise.race([found, ended]),
        );
      }
    } catch (error) {
      // That the broker is away is told already.
      if (this.#store.epoch !== undefined) this.#onError(error);
    }
    if (!this.#recovering.delete(connection)) return; // it has ended
    // All that anybody can have had has come by now.
    const isSame = position.epoch === this.#store.epoch &&
      position.offset <= this.#store.offset;
    // What has no number yet may be among what was found, too.
    const hasUnkept = held.some(({ offset }) => offset === 0);
    if (!isSame || recovery.isIncomplete || hasUnkept) missed = undefined;
    const found = (missed ?? []).filter((one) =>
      isAddressedTo(one, connection)
    );
    const size = found.reduce((sum, { body }) => sum + byteLengthOf(body), 0);
    // It would overflow, and come back for the same again and again.
    const available = this.#limits.maxBufferedAmount -
      connection.bufferedAmount;
    if (size > available) missed = undefined;
    // What it has had from another server may come to this one only now.
    const since = held.filter(({ offset }) =>
      !isSame || offset === 0 || offset > position.offset
    );
    if (missed === undefined) this.sendPosition(connection, false);
    const all = missed ? orderMissed([...found, ...since]) : since;
    for (const entry of all) this.deliver([connection], entry);
    if (missed) this.sendPosition(connection, true);
    else if (all.length > 0) this.sendPosition(connection);
  }
}

/** Whether a message that is kept is for somebody. */
function isAddressedTo<Types extends SocketTypes>(
  { target: { rooms, except, without } }: StoredMessage,
  connection: Connection<Types>,
): boolean {
  const own = connection.rooms;
  return (rooms === undefined || rooms.some((room) => own.has(room))) &&
    !except.some((room) => own.has(room)) &&
    !without?.includes(recipientId(connection));
}

/** Each once. */
function orderMissed(entries: readonly StoredMessage[]): StoredMessage[] {
  const all = new Map(entries.map((entry) => [entry.offset, entry]));
  return [...all.values()].sort((a, b) => a.offset - b.offset);
}
