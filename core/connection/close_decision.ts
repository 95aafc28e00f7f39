/**
 * Decides how an end is reported, with which code, reason and cause: a state machine that
 * derives exactly one `close` or `disconnect` from the events of a runtime; pure, and the
 * same for both sides. The code that this side sends is given to `Closing.start`.
 *
 * The events of a runtime are not reliable. Deno reports a lost connection with code 0,
 * an incomplete closing handshake as clean, one that was completed under traffic as
 * unclean, and a dead peer twice. `docs/ends.md` lists the cases.
 *
 * @module
 */

import { type Cause, CloseCode, type ConnectionEnd } from "../events/errors.ts";
import { errorCausesFeature, type Side } from "../runtime/websocket.ts";

/** How this side closes the connection. */
export interface CloseRequest {
  /** The close code. */
  readonly code: number;
  /** The close reason. */
  readonly reason: string;
  /** The cause. */
  readonly cause: Cause;
  /** Whether no data waits to be sent before the close frame. */
  readonly isFlushed: boolean;
  /**
   * Whether the connection belongs to an HTTP server that this library did not start.
   * When that shuts down, it also sends a close frame, and does not wait for the peer's.
   */
  readonly isHosted: boolean;
  /** Whether both sides speak `events.v1`: then the peer answers with the same code. */
  readonly speaksEvents: boolean;
}

/** The state of a connection. */
export type ConnectionState =
  | { readonly phase: "connecting" }
  | { readonly phase: "open"; readonly failure?: string }
  | {
    readonly phase: "closing";
    /** How this side closes the connection. */
    readonly closing: CloseRequest;
    /** Whether the close frame was sent before anything else was received. */
    readonly isSent: boolean;
    readonly failure?: string;
  }
  | {
    readonly phase: "ended";
    readonly end: ConnectionEnd;
    /** Whether the connection was ever open. If not, no end is emitted. */
    readonly opened: boolean;
  };

/** A signal that may change the state. */
export type ConnectionSignal =
  /** The runtime's `open` event. */
  | { readonly type: "open" }
  /** This side starts the closing handshake. */
  | ({ readonly type: "close" } & CloseRequest)
  /** The close frame was sent before anything else was received. */
  | { readonly type: "sent" }
  /** The runtime's `error` event. */
  | { readonly type: "error"; readonly message: string }
  /** The runtime's `close` event. */
  | {
    readonly type: "closed";
    readonly wasClean: boolean;
    readonly code: number;
    readonly reason: string;
    /** Whether the runtime only reports a clean end if the peer sent a close frame. */
    readonly isProven?: boolean;
  }
  /** The runtime closes the connection by itself, without progress. */
  | { readonly type: "runtime-closing" }
  /** The peer did not complete the closing handshake in time. */
  | { readonly type: "timeout" }
  /** This side drops the connection. */
  | { readonly type: "terminate"; readonly cause: Cause };

/** The state of a connection that is not open yet. */
export const CONNECTING_STATE: ConnectionState = { phase: "connecting" };

const OPEN_STATE: ConnectionState = { phase: "open" };

/**
 * Deno's error if a pong is missing. The close event that follows (1001) does not come
 * from the peer.
 */
const DENO_PING_TIMEOUT = "No response from ping frame.";

/** The close frame that Deno's own shutdown sends. */
const DENO_SHUTDOWN_CLOSE = {
  code: CloseCode.GoingAway,
  reason: "Server shutting down",
} as const;

/**
 * Returns the state after a signal. Signals that do not apply leave the state unchanged.
 * No signal leaves `ended`.
 *
 * @param side The side of this connection. If both sides close at once, both report the
 * server's code.
 * @returns The new state; the same object if nothing changes.
 */
export function transition(
  state: ConnectionState,
  signal: ConnectionSignal,
  side: Side,
): ConnectionState {
  if (state.phase === "ended") return state;
  switch (signal.type) {
    case "open":
      return state.phase === "connecting" ? OPEN_STATE : state;
    case "close": {
      if (state.phase !== "open") return state;
      const { type: _type, ...closing } = signal;
      return {
        ...state,
        phase: "closing",
        closing,
        isSent: false,
      };
    }
    case "sent":
      return state.phase === "closing" ? { ...state, isSent: true } : state;
    case "error":
      // Failed upgrades, and failed attempts to connect in Node, cause only an error. In
      // other runtimes, a close event follows.
      return state.phase === "connecting"
        ? endedState(state, disconnected("network"))
        : { ...state, failure: signal.message };
    case "runtime-closing":
      // On a client, the socket is closing as soon as its peer closes, which is not an
      // error.
      return state.phase === "open" && side === "server"
        ? { ...state, failure: DENO_PING_TIMEOUT }
        : state;
    case "closed":
      return endedState(
        state,
        interpretClose(state, correctWasClean(state, signal, side), side),
      );
    case "timeout":
      return state.phase === "closing"
        ? endedState(state, disconnected("timeout"))
        : state;
    case "terminate":
      return endedState(state, disconnected(signal.cause));
  }
}

function endedState(
  state: ConnectionState,
  end: ConnectionEnd,
): ConnectionState {
  return { phase: "ended", end, opened: state.phase !== "connecting" };
}

function disconnected(
  cause: Cause,
  code: number = CloseCode.Abnormal,
  reason = "",
): ConnectionEnd {
  return { type: "disconnect", code, reason, cause };
}

/** The content of the runtime's `close` event. */
type ClosedSignal = Extract<ConnectionSignal, { type: "closed" }>;

/**
 * Corrects `wasClean` of Chromium, which is false if the server has not read all data of
 * the page, even if the handshake was completed. A code other than the runtime's own was
 * received in a close frame, and without an error nothing has failed.
 */
function correctWasClean(
  state: Exclude<ConnectionState, { phase: "ended" }>,
  signal: ClosedSignal,
  side: Side,
): ClosedSignal {
  const failure = state.phase === "connecting" ? undefined : state.failure;
  const isFromPeer = side === "client" && failure === undefined &&
    signal.code !== 0 && signal.code !== CloseCode.NoStatus &&
    signal.code !== CloseCode.Abnormal;
  return isFromPeer ? { ...signal, wasClean: true } : signal;
}

/** Interprets the runtime's close event. */
function interpretClose(
  state: Exclude<ConnectionState, { phase: "ended" }>,
  signal: ClosedSignal,
  side: Side,
): ConnectionEnd {
  if (state.phase === "closing") return interpretAnswer(state, signal, side);
  const { wasClean, code, reason } = signal;
  const failure = state.phase === "open" ? state.failure : undefined;
  // If the TCP connection ends while Deno waits to send the close frame after a missing
  // pong, Deno reports a clean end without a code.
  const isIdle = failure === DENO_PING_TIMEOUT &&
    (!wasClean || code === CloseCode.NoStatus);
  if (isIdle) return disconnected("timeout");
  if (wasClean) return { type: "close", code, reason, cause: "peer" };
  const cause = errorCausesFeature.code?.get(failure ?? "") ?? "network";
  // Browsers report the code of a close frame even if the handshake failed.
  return code === 0 || code === CloseCode.NoStatus
    ? disconnected(cause)
    : disconnected(cause, code, reason);
}

/** Interprets the end of a closing handshake that this side started. */
function interpretAnswer(
  state: Extract<ConnectionState, { phase: "closing" }>,
  { wasClean, code, reason, isProven }: ClosedSignal,
  side: Side,
): ConnectionEnd {
  const { closing, isSent, failure } = state;
  const own: ConnectionEnd = {
    type: "close",
    code: closing.code,
    reason: closing.reason,
    cause: closing.cause,
  };
  // `deno serve` shuts down at the same signal as this server: it sends a close frame to
  // all peers, and stops reading.
  const isHostClosing = closing.isHosted && closing.cause === "shutdown";
  if (wasClean && code === CloseCode.NoStatus && isHostClosing) {
    return { ...own, ...DENO_SHUTDOWN_CLOSE };
  }
  const isEcho = code === closing.code &&
    (reason === "" || reason === closing.reason);
  // The peer's close frame came first: the runtime answered it, and dropped ours. This
  // does not apply to an echo, which WebKit may report before a timer of this side runs.
  if (wasClean && !isSent && !isEcho) {
    return { type: "close", code, reason, cause: "peer" };
  }
  // An empty close frame answers any close (RFC 6455, section 5.5.1).
  if (wasClean && code === CloseCode.NoStatus && isProven) return own;
  if (wasClean && code !== CloseCode.NoStatus) {
    // Many servers answer with 1000, whatever they were sent. One that speaks events.v1
    // answers with the same code: if it does not, both sides closed at the same time,
    // and for both the server's code counts.
    return side === "server" || isEcho || !closing.speaksEvents
      ? own
      : { type: "close", code, reason, cause: "peer" };
  }
  // Clean without a code, although we sent one: the peer never answered (a runtime that
  // has sent its close frame considers that clean). Unclean without an error: the runtime
  // sent our close frame, then met data that the peer had sent before, and stopped
  // reading. The peer receives the close frame and completes the handshake, so this is
  // not a loss.
  const isDelivered = side === "server" && closing.isFlushed && code === 0 &&
    failure === undefined;
  return isDelivered ? own : disconnected("network");
}
