/**
 * What looks into a socket and its connections from outside: `telemetry.ts` does. Where
 * nobody looks, all that it costs is to see that.
 *
 * @module
 */

import type { ConnectionEnd } from "./errors.ts";

/** A connection, as far as instrumentation looks at it. */
export interface InstrumentedConnection {
  /** The URL that was asked for. */
  readonly url: string;
  /** Its path. */
  readonly path: string;
  /** The peer's address. */
  readonly remoteAddress: string;
  /** When it was opened. */
  readonly connectedAt: Date;
  /** How many bytes wait for the peer. */
  readonly bufferedAmount: number;
  /** What it has carried. */
  readonly traffic: {
    readonly received: { readonly messages: number; readonly bytes: number };
    readonly sent: { readonly messages: number; readonly bytes: number };
  };
  /** How many messages were dropped. */
  readonly dropped: {
    readonly incoming: number;
    readonly outgoing: number;
    readonly replies: number;
  };
}

/** Looks into all connections of one socket. None of this may throw by itself. */
export interface Instrumentation {
  /**
   * Begins something that is no part of what the program does just now.
   *
   * @typeParam T What that gives.
   * @param start Begins it.
   * @returns What it gives.
   */
  detach<T>(start: () => T): T;
  /**
   * Hears that a connection begins.
   *
   * @param connection The connection.
   */
  connectionCreated(connection: InstrumentedConnection): void;
  /**
   * Hears that it is open.
   *
   * @param connection The connection.
   */
  connectionOpened(connection: InstrumentedConnection): void;
  /**
   * Hears that it has ended, if it was open.
   *
   * @param connection The connection.
   * @param end How it ended.
   */
  connectionEnded(connection: InstrumentedConnection, end: ConnectionEnd): void;
  /**
   * Hears of a batch.
   *
   * @param direction Whether it has come, or goes out.
   * @param count How many frames it holds.
   */
  batched(direction: "receive" | "transmit", count: number): void;
  /**
   * Follows a request to its answer.
   *
   * @typeParam T The type of the answer.
   * @param connection By which connection it goes.
   * @param data What is asked.
   * @param send Asks; it takes the trace that the request is part of, if there is one.
   * @returns What that gives.
   */
  traceRequest<T>(
    connection: InstrumentedConnection,
    data: unknown,
    send: (trace?: string) => Promise<T>,
  ): Promise<T>;
  /**
   * Follows a request of the peer's to its answer.
   *
   * @param connection By which connection it has come.
   * @param type The kind that its handler is for, if it is not for all.
   * @param trace The trace that it is part of, if its sender says so.
   * @param run Lets the handler answer.
   * @returns What that gives.
   */
  traceHandler(
    connection: InstrumentedConnection,
    type: string | undefined,
    trace: string | undefined,
    run: () => unknown,
  ): unknown;
  /**
   * Hears of what has become an `error` event.
   *
   * @param error The error.
   * @param from The name of the event whose listener threw.
   */
  listenerFailed(error: unknown, from: string): void;
}

/** What instrumentation can be put into. */
export interface Instrumented {
  /** The instrumentation, if there is one. */
  instrumentation?: Instrumentation | undefined;
}

const slots = new WeakMap<object, Instrumented>();

/**
 * Lets instrumentation into a socket.
 *
 * @param socket The socket.
 * @param slot Where instrumentation goes.
 */
export function register(socket: object, slot: Instrumented): void {
  slots.set(socket, slot);
}

/**
 * Where instrumentation of a socket goes.
 *
 * @param socket The socket.
 * @returns The place; undefined if it is no socket of this library's.
 */
export function slotOf(socket: object): Instrumented | undefined {
  return slots.get(socket);
}
