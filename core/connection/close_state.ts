/**
 * How a connection ends: the state machine that turns what a runtime tells
 * into one `close` or one `disconnect`. It is pure, and the same for both
 * sides.
 *
 * A runtime's own account cannot be passed on as it is. Deno reports a lost
 * connection with code 0, a closing handshake that was never answered as a
 * clean end, one that was answered under traffic as an unclean one, and a dead
 * peer twice. `docs/ends.md` lists what happens and what is made of it.
 *
 * @module
 */

import { type Cause, CloseCode, type ConnectionEnd } from "../events/errors.ts";
import type { Side } from "../runtime/websocket.ts";

/** What this side wants to end the connection with. */
export interface CloseRequest {
  /** The code that this side closes with. */
  readonly code: number;
  /** The reason that this side closes with. */
  readonly reason: string;
  /** Why this side closes. */
  readonly cause: Cause;
  /** Whether nothing that was sent before holds the close frame up. */
  readonly isFlushed: boolean;
  /**
   * Whether a server of another's carries the connection. At its own shutdown it
   * sends a close frame, too, and does not wait for the answer.
   */
  readonly isHosted: boolean;
  /** Whether both sides speak `events.v1`: then the peer answers with the same code. */
  readonly speaksEvents: boolean;
}

/** Where a connection is in its life. */
export type ConnectionState =
  | { readonly phase: "connecting" }
  | { readonly phase: "open"; readonly failure?: string }
  | {
    readonly phase: "closing";
    /** What this side closes with. */
    readonly closing: CloseRequest;
    /** The close frame was on its way before anything else came. */
    readonly isSent: boolean;
    readonly failure?: string;
  }
  | {
    readonly phase: "ended";
    readonly end: ConnectionEnd;
    /** False if the connection was never open: then the end is not told. */
    readonly opened: boolean;
  };

/** What happens to a connection. */
export type ConnectionSignal =
  /** The runtime's `open` event. */
  | { readonly type: "open" }
  /** This side asks for the closing handshake. */
  | ({ readonly type: "close" } & CloseRequest)
  /** The close frame is on its way, before anything else has come. */
  | { readonly type: "sent" }
  /** The runtime's `error` event. */
  | { readonly type: "error"; readonly message: string }
  /** The runtime's `close` event. */
  | {
    readonly type: "closed";
    readonly wasClean: boolean;
    readonly code: number;
    readonly reason: string;
  }
  /** The runtime closes the connection by itself, and does not get on. */
  | { readonly type: "stuck" }
  /** The peer did not answer the closing handshake in time. */
  | { readonly type: "timeout" }
  /** This side lets go at once. */
  | { readonly type: "terminate"; readonly cause: Cause };

/** The state of a connection that is not open yet. */
export const CONNECTING_STATE: ConnectionState = { phase: "connecting" };

const OPEN_STATE: ConnectionState = { phase: "open" };

/**
 * What Deno says of a peer that did not answer its ping. It is no peer's word:
 * the close event that follows (1001) was made up by the runtime.
 */
const DENO_PING_TIMEOUT = "No response from ping frame.";

/** What Deno's own shutdown tells all peers. */
const DENO_SHUTDOWN_CLOSE = {
  code: CloseCode.GoingAway,
  reason: "Server shutting down",
} as const;

/**
 * What Deno says of a peer that broke the protocol. Anything else that it says
 * of an error is the network's doing.
 */
const DENO_ERROR_CAUSES: ReadonlyMap<string, Cause> = new Map([
  ["Control frame must not be fragmented", "protocol"],
  ["Frame too large", "limit"],
  ["Invalid UTF-8", "protocol"],
  ["Invalid close code", "protocol"],
  ["Invalid close frame", "protocol"],
  ["Invalid continuation frame", "protocol"],
  ["Invalid fragment", "protocol"],
  ["Invalid string data", "protocol"],
  ["Invalid value", "protocol"],
  ["Ping frame too large", "protocol"],
  ["Reserved bits are not zero", "protocol"],
]);

/**
 * The state after a signal. Signals that mean nothing in a state leave it as
 * it is: above all, nothing leads out of `ended`.
 *
 * @param state The state before the signal.
 * @param signal What happened.
 * @param side Which side this is: where both sides close at once, the
 * server's code is the one that counts, for both.
 * @returns The state after the signal; the same object where nothing changes.
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
      // An upgrade that fails is told by an error alone, and so is a client's
      // failure to connect in Node; elsewhere a close event follows.
      return state.phase === "connecting"
        ? endedState(state, disconnected("network"))
        : { ...state, failure: signal.message };
    case "stuck":
      // A client's socket is closing as soon as its peer is, which is no fault.
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

/** What the runtime's `close` event says. */
type ClosedSignal = Extract<ConnectionSignal, { type: "closed" }>;

/**
 * Chromium calls an end unclean if not all was taken that the page had sent, though
 * the handshake is finished. But a code that is none of the runtime's own has come
 * in a close frame of the server's, and nothing has gone wrong without an error.
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

/** What the runtime's close event really means. */
function interpretClose(
  state: Exclude<ConnectionState, { phase: "ended" }>,
  signal: ClosedSignal,
  side: Side,
): ConnectionEnd {
  if (state.phase === "closing") return interpretAnswer(state, signal, side);
  const { wasClean, code, reason } = signal;
  const failure = state.phase === "open" ? state.failure : undefined;
  // Of a peer that did not answer a ping, and whose TCP then ended while Deno was
  // waiting to tell it, Deno tells a clean end without a code.
  const isIdle = failure === DENO_PING_TIMEOUT &&
    (!wasClean || code === CloseCode.NoStatus);
  if (isIdle) return disconnected("timeout");
  if (wasClean) return { type: "close", code, reason, cause: "peer" };
  const cause = DENO_ERROR_CAUSES.get(failure ?? "") ?? "network";
  // A browser tells the code of a close frame even where the rest went wrong.
  return code === 0 || code === CloseCode.NoStatus
    ? disconnected(cause)
    : disconnected(cause, code, reason);
}

/** What became of a closing handshake that this side began. */
function interpretAnswer(
  state: Extract<ConnectionState, { phase: "closing" }>,
  { wasClean, code, reason }: ClosedSignal,
  side: Side,
): ConnectionEnd {
  const { closing, isSent, failure } = state;
  const own: ConnectionEnd = {
    type: "close",
    code: closing.code,
    reason: closing.reason,
    cause: closing.cause,
  };
  // `deno serve` shuts down by itself at the signal at which this server does:
  // it sends a close frame to all, and stops listening to them.
  const isHostClosing = closing.isHosted && closing.cause === "shutdown";
  if (wasClean && code === CloseCode.NoStatus && isHostClosing) {
    return { ...own, ...DENO_SHUTDOWN_CLOSE };
  }
  const isEcho = code === closing.code &&
    (reason === "" || reason === closing.reason);
  // The peer's close frame had come already: it was answered, and ours dropped.
  // An echo has not: WebKit tells it before a timer of this side could run.
  if (wasClean && !isSent && !isEcho) {
    return { type: "close", code, reason, cause: "peer" };
  }
  if (wasClean && code !== CloseCode.NoStatus) {
    // Many servers answer with 1000, whatever they were sent. One that speaks events.v1
    // answers with the same code: if it does not, both sides closed at the same time,
    // and for both the server's code counts.
    return side === "server" || isEcho || !closing.speaksEvents
      ? own
      : { type: "close", code, reason, cause: "peer" };
  }
  // Clean, but without a code, though we sent one: the peer is gone, and never
  // answered (a runtime that has sent its close frame calls that clean). But
  // unclean without an error is no loss: the runtime has sent our close frame,
  // then met data that the peer had sent before it could know, and stopped
  // listening. The peer has been told, and finishes the handshake alone.
  const isDelivered = side === "server" && closing.isFlushed && code === 0 &&
    failure === undefined;
  return isDelivered ? own : disconnected("network");
}
