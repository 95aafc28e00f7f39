/**
 * Sends what is kept so that a client knows where it stands, and lets one that comes
 * back have what it has missed.
 *
 * @module
 */

import { byteLengthOf } from "../values/codec.ts";
import { type Connection, internals } from "../connection/connection.ts";
import type { Body } from "./envelope.ts";
import {
  encodePosition,
  encodeStored,
  type StreamPosition,
  UNKNOWN_POSITION,
} from "../protocol/frames.ts";
import type { Entry, HistoryOptions, Shelf } from "./message_store.ts";
import { assertSize, assertType, ignoreRejection } from "../events/errors.ts";
import type { WriterLimits } from "../sending/socket_writer.ts";
import { withTimeout } from "../util/timer.ts";
import type { SocketTypes } from "../values/types.ts";

/** How long `connect` listeners may take to let a client into its rooms. */
const PATIENCE = 1_000;

/** How long what was missed may take to be found. */
const SEARCH = 10_000;

/** Somebody who has come back, and has not got all yet. */
interface Return {
  readonly position: StreamPosition;
  /** What is sent to them meanwhile. */
  readonly held: Entry[];
  /** Whether it is known already that something cannot be had. */
  isLost: boolean;
  /** Is told that they have gone again. */
  readonly gone: PromiseWithResolvers<undefined>;
}

/**
 * Fills in the defaults.
 *
 * @param options What the program says.
 * @returns How much to keep; undefined for nothing.
 * @throws {RangeError} If a number among the options is none, or too small.
 */
export function historyLimits(
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
export function nameOf<Types extends SocketTypes>(
  connection: Connection<Types>,
): string {
  return internals.resumeOf(connection)?.session ?? connection.id;
}

/**
 * Tells a client that has come back that nothing is kept here.
 *
 * @param connection The connection.
 */
export function keepsNothing<Types extends SocketTypes>(
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
  readonly #shelf: Shelf;
  readonly #maxAge: number;
  readonly #limits: WriterLimits;
  readonly #failed: (error: unknown) => void;
  readonly #returns = new Map<Connection<Types>, Return>();
  /** Who is to be told at the end of this turn where they stand. */
  #due = new Set<Connection<Types>>();

  /**
   * Begins.
   *
   * @param shelf Where messages are kept.
   * @param maxAge How long a client may be away, in milliseconds.
   * @param limits How much may wait for a client.
   * @param failed Hears of errors.
   */
  constructor(
    shelf: Shelf,
    maxAge: number,
    limits: WriterLimits,
    failed: (error: unknown) => void,
  ) {
    this.#shelf = shelf;
    this.#maxAge = maxAge;
    this.#limits = limits;
    this.#failed = failed;
  }

  /**
   * Sends a message to those whom it is for. Who is left out is told where they stand:
   * they have not missed it.
   *
   * @param members Those of its rooms.
   * @param entry The message.
   */
  deliver(members: Iterable<Connection<Types>>, entry: Entry): void {
    const { offset, body, options, address } = entry;
    const isExact = address.except.length === 0 && !address.without?.length;
    const { overflow = this.#limits.overflow } = options;
    let marked: Body | undefined;
    for (const member of members) {
      if (!isExact && !isFor(entry, member)) {
        if (internals.resumeOf(member)) this.stand(member);
        continue;
      }
      if (internals.resumeOf(member) === undefined) {
        internals.send(member, body, options, false);
        continue;
      }
      const held = this.#returns.size > 0 && this.#returns.get(member)?.held;
      if (held) held.push(entry);
      else if (overflow === "latest" && member.bufferedAmount > 0) {
        // It may take the place of one before others, which have not come then.
        internals.send(member, body, options, false);
        this.stand(member);
      } else {internals.sendMarked(
          member,
          marked ??= encodeStored(offset, body),
          options,
        );}
    }
  }

  /**
   * Tells a client where it stands, if it understands that.
   *
   * @param connection The connection.
   * @param recovered Whether it has got all that it has missed, if that is to be told.
   */
  stand(connection: Connection<Types>, recovered?: boolean): void {
    if (recovered !== undefined) return this.#stand(connection, recovered);
    this.#due.add(connection);
    if (this.#due.size > 1) return;
    queueMicrotask(() => {
      const due = this.#due;
      this.#due = new Set();
      for (const one of due) this.#stand(one, undefined);
    });
  }

  #stand(
    connection: Connection<Types>,
    recovered: boolean | undefined,
  ): void {
    const back = this.#returns.get(connection);
    if (back) {
      back.isLost ||= recovered === false;
      return;
    }
    if (internals.resumeOf(connection) === undefined) return;
    const { epoch, offset } = this.#shelf;
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
  arrive(connection: Connection<Types>): void {
    const resume = internals.resumeOf(connection);
    if (resume?.position === undefined) return this.stand(connection);
    const { position, awayMs: away } = resume;
    const { epoch, opening } = this.#shelf;
    if ((opening || position.epoch === epoch) && away <= this.#maxAge) {
      const gone = Promise.withResolvers<undefined>();
      this.#returns.set(connection, {
        position,
        held: [],
        isLost: false,
        gone,
      });
    } else this.stand(connection, false);
  }

  /**
   * The `connect` listeners have been called for a client.
   *
   * @param connection The connection.
   * @param pending Promises of those that are not done yet; they never reject.
   */
  settle(
    connection: Connection<Types>,
    pending: readonly Promise<unknown>[],
  ): void {
    const back = this.#returns.get(connection);
    if (back) ignoreRejection(this.#catchUp(connection, back, pending));
  }

  /**
   * A connection has ended.
   *
   * @param connection The connection.
   */
  end(connection: Connection<Types>): void {
    this.#returns.get(connection)?.gone.resolve(undefined);
    this.#returns.delete(connection);
  }

  /** Sends what somebody has missed, and then what has come meanwhile. */
  async #catchUp(
    connection: Connection<Types>,
    back: Return,
    pending: readonly Promise<unknown>[],
  ): Promise<void> {
    const { position, held, gone: { promise: gone } } = back;
    const { opening } = this.#shelf;
    if (pending.length > 0 || opening) {
      const ready = Promise.all([opening, ...pending]);
      await withTimeout(PATIENCE, Promise.race([ready, gone]));
    }
    const rooms = [...connection.rooms];
    let missed: readonly Entry[] | undefined;
    try {
      if (position.epoch === this.#shelf.epoch) {
        const found = this.#shelf.read(rooms, position.offset);
        missed = await withTimeout(SEARCH, Promise.race([found, gone]));
      }
    } catch (error) {
      // That the broker is away is told already.
      if (this.#shelf.epoch !== undefined) this.#failed(error);
    }
    if (!this.#returns.delete(connection)) return; // it has ended
    // All that anybody can have had has come by now.
    const isSame = position.epoch === this.#shelf.epoch &&
      position.offset <= this.#shelf.offset;
    // What has no number yet may be among what was found, too.
    const hasUnkept = held.some(({ offset }) => offset === 0);
    if (!isSame || back.isLost || hasUnkept) missed = undefined;
    const found = (missed ?? []).filter((one) => isFor(one, connection));
    const size = found.reduce((sum, { body }) => sum + byteLengthOf(body), 0);
    // It would overflow, and come back for the same again and again.
    const room = this.#limits.maxBufferedAmount - connection.bufferedAmount;
    if (size > room) missed = undefined;
    // What it has had from another server may come to this one only now.
    const since = held.filter(({ offset }) =>
      !isSame || offset === 0 || offset > position.offset
    );
    if (missed === undefined) this.stand(connection, false);
    const all = missed ? inOrder([...found, ...since]) : since;
    for (const entry of all) this.deliver([connection], entry);
    if (missed) this.stand(connection, true);
    else if (all.length > 0) this.stand(connection);
  }
}

/** Whether a message that is kept is for somebody. */
function isFor<Types extends SocketTypes>(
  { address: { rooms, except, without } }: Entry,
  connection: Connection<Types>,
): boolean {
  const own = connection.rooms;
  return (rooms === undefined || rooms.some((room) => own.has(room))) &&
    !except.some((room) => own.has(room)) &&
    !without?.includes(nameOf(connection));
}

/** Each once. */
function inOrder(entries: readonly Entry[]): Entry[] {
  const all = new Map(entries.map((entry) => [entry.offset, entry]));
  return [...all.values()].sort((a, b) => a.offset - b.offset);
}
