/**
 * Sends what is kept so that a client knows where it stands, and lets one that comes
 * back have what it has missed.
 *
 * @module
 */

import { type Connection, owned } from "./connection.ts";
import type { Body } from "./envelope.ts";
import { keep, NOWHERE, type Place, stand } from "./frames.ts";
import type { Entry, HistoryOptions, Shelf } from "./history.ts";
import { assertSize, assertType, quiet } from "./errors.ts";
import { startTimer } from "./timer.ts";
import type { SocketTypes } from "./types.ts";

/** How long `connect` listeners may take to let a client into its rooms. */
const PATIENCE = 1_000;

/** How long what was missed may take to be found. */
const SEARCH = 10_000;

/** Somebody who has come back, and has not got all yet. */
interface Return {
  readonly place: Place;
  /** What is sent to them meanwhile. */
  readonly held: Entry[];
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
  const { messages = 100, maxAge = 120_000 } = options === true ? {} : options;
  const limits = { messages, maxAge };
  for (const [name, value] of Object.entries(limits)) {
    assertSize(`history.${name}`, value);
    if (value >= 1 && value < Infinity) continue;
    throw new RangeError(
      `Cannot use "history.${name}" unless it is finite, and 1 or more: current value is ${value}`,
    );
  }
  return limits;
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
  return owned.visitorOf(connection)?.session ?? connection.id;
}

/**
 * Tells a client that has come back that nothing is kept here.
 *
 * @param connection The connection.
 */
export function keepsNothing<Types extends SocketTypes>(
  connection: Connection<Types>,
): void {
  if (owned.visitorOf(connection)?.place === undefined) return;
  const standing = { place: undefined, recovered: false };
  owned.sendMarked(connection, stand(standing));
}

/**
 * What a server's clients have got of what is kept.
 *
 * @typeParam Types The types of the sockets.
 */
export class Recovery<Types extends SocketTypes> {
  readonly #shelf: Shelf;
  readonly #maxAge: number;
  readonly #failed: (error: unknown) => void;
  readonly #returns = new Map<Connection<Types>, Return>();
  /** Who is to be told at the end of this turn where they stand. */
  #due = new Set<Connection<Types>>();

  /**
   * Begins.
   *
   * @param shelf Where messages are kept.
   * @param maxAge How long a client may be away, in milliseconds.
   * @param failed Hears of errors.
   */
  constructor(
    shelf: Shelf,
    maxAge: number,
    failed: (error: unknown) => void,
  ) {
    this.#shelf = shelf;
    this.#maxAge = maxAge;
    this.#failed = failed;
  }

  /**
   * Sends a message to those whom it is for.
   *
   * @param members Those of its rooms.
   * @param entry The message.
   */
  deliver(members: readonly Connection<Types>[], entry: Entry): void {
    const { offset, body, options, address: { without } } = entry;
    let marked: Body | undefined;
    for (const member of members) {
      if (without?.includes(nameOf(member))) continue;
      if (owned.visitorOf(member) === undefined) {
        owned.send(member, body, options, false);
        continue;
      }
      const held = this.#returns.size > 0 && this.#returns.get(member)?.held;
      if (held) held.push(entry);
      else owned.sendMarked(member, marked ??= keep(offset, body), options);
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
    const isHeld = this.#returns.has(connection);
    if (isHeld || owned.visitorOf(connection) === undefined) return;
    const { epoch, offset } = this.#shelf;
    const place = epoch === undefined ? NOWHERE : { epoch, offset };
    owned.sendMarked(connection, stand({ place, recovered }));
  }

  /**
   * A client has connected; nothing has been sent to it yet.
   *
   * @param connection The connection.
   */
  arrive(connection: Connection<Types>): void {
    const visitor = owned.visitorOf(connection);
    if (visitor?.place === undefined) return this.stand(connection);
    const { place, away } = visitor;
    if (place.epoch === this.#shelf.epoch && away <= this.#maxAge) {
      this.#returns.set(connection, { place, held: [] });
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
    if (back) quiet(this.#catchUp(connection, back, pending));
  }

  /**
   * A connection has ended.
   *
   * @param connection The connection.
   */
  end(connection: Connection<Types>): void {
    this.#returns.delete(connection);
  }

  /** Sends what somebody has missed, and then what has come meanwhile. */
  async #catchUp(
    connection: Connection<Types>,
    { place, held }: Return,
    pending: readonly Promise<unknown>[],
  ): Promise<void> {
    if (pending.length > 0) await within(PATIENCE, Promise.all(pending));
    const rooms = [...connection.rooms];
    let missed: readonly Entry[] | undefined;
    try {
      missed = await within(SEARCH, this.#shelf.read(rooms, place.offset));
    } catch (error) {
      this.#failed(error);
    }
    if (!this.#returns.delete(connection)) return; // it has ended
    const found = (missed ?? []).filter((one) => isFor(one, connection));
    // What it has had from another server may come to this one only now.
    const since = held.filter(({ offset }) => offset > place.offset);
    const all = new Map([...found, ...since].map((one) => [one.offset, one]));
    const inOrder = [...all.values()].sort((a, b) => a.offset - b.offset);
    const unkept = held.filter(({ offset }) => offset === 0);
    if (missed === undefined) this.stand(connection, false);
    for (const entry of [...inOrder, ...unkept]) {
      this.deliver([connection], entry);
    }
    if (missed) this.stand(connection, true);
  }
}

/** Whether a message that is kept is for somebody. */
function isFor<Types extends SocketTypes>(
  { address: { rooms, except } }: Entry,
  connection: Connection<Types>,
): boolean {
  const own = connection.rooms;
  return (rooms === undefined || rooms.some((room) => own.has(room))) &&
    !except.some((room) => own.has(room));
}

/** What a promise gives, if it does so in time. */
async function within<T>(
  patience: number,
  promise: T | PromiseLike<T>,
): Promise<T | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const timer = startTimer(() => resolve(undefined), patience);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
