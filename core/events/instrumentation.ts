/**
 * The interface through which `telemetry.ts` observes a socket and its connections.
 * Without instrumentation, it costs only a check.
 *
 * @module
 */

import type { ConnectionEnd } from "./errors.ts";

/** A connection, as instrumentation uses it. */
export interface InstrumentedConnection {
  /** The requested URL. */
  readonly url: string;
  /** The path of the URL. */
  readonly path: string;
  /** The address of the peer. */
  readonly remoteAddress: string;
  /** Whether both ends use `events.v1`. */
  readonly speaksEvents: boolean;
  /** The time at which it was opened. */
  readonly connectedAt: Date;
  /** The number of bytes that wait to be sent. */
  readonly bufferedAmount: number;
  /** The number of messages and bytes received and sent. */
  readonly traffic: {
    readonly received: { readonly messages: number; readonly bytes: number };
    readonly sent: { readonly messages: number; readonly bytes: number };
  };
  /** The number of dropped messages. */
  readonly dropped: {
    readonly incoming: number;
    readonly outgoing: number;
    readonly replies: number;
  };
}

/** Observes all connections of one socket. Its methods must not throw. */
export interface Instrumentation {
  /** Runs an action outside of the current trace. */
  detach<T>(start: () => T): T;
  /** A connection was created. */
  connectionCreated(connection: InstrumentedConnection): void;
  /** A connection has opened. */
  connectionOpened(connection: InstrumentedConnection): void;
  /** An open connection has ended. */
  connectionEnded(connection: InstrumentedConnection, end: ConnectionEnd): void;
  /** A batch was received or sent. */
  batched(direction: "receive" | "transmit", count: number): void;
  /**
   * Traces a sent request.
   *
   * @typeParam T The type of the reply.
   * @param send Sends the request, with a trace context if there is one.
   */
  traceRequest<T>(
    connection: InstrumentedConnection,
    data: unknown,
    send: (trace?: string) => Promise<T>,
  ): Promise<T>;
  /**
   * Traces a received request.
   *
   * @param type The type of the requests that its handler is for, unless it is for all.
   * @param trace The trace context from the sender.
   */
  traceHandler(
    connection: InstrumentedConnection,
    type: string | undefined,
    trace: string | undefined,
    run: () => unknown,
  ): unknown;
  /**
   * An error was emitted as an `error` event.
   *
   * @param from The name of the event whose listener failed.
   */
  listenerFailed(error: unknown, from: string): void;
}

/** The part of a socket that a frame log uses. */
export interface LoggedSocket extends EventTarget {
  /** Sends a frame. */
  send(data: string | ArrayBuffer | ArrayBufferView<ArrayBuffer>): void;
  /** Starts the closing handshake. */
  close(code?: number, reason?: string): void;
}

/** Holds the instrumentation of a socket. */
export interface Instrumented {
  /** The instrumentation, if there is one. */
  instrumentation?: Instrumentation | undefined;
  /** Observes the frames of a new connection, if somebody debugs the socket. */
  frameLog?:
    | ((connection: InstrumentedConnection, socket: LoggedSocket) => void)
    | undefined;
}

const slots = new WeakMap<object, Instrumented>();

/** Registers the slot of a socket. */
export function register(socket: object, slot: Instrumented): void {
  slots.set(socket, slot);
}

/** Returns the slot of a socket; undefined for any other object. */
export function slotOf(socket: object): Instrumented | undefined {
  return slots.get(socket);
}
