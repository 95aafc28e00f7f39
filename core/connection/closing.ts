/**
 * How a connection ends. Every signal of the runtime, the peer and the application goes
 * through the state machine of `close_decision.ts`; this module sends the close frame, waits
 * for the answer, and cuts the socket.
 *
 * @module
 */

import {
  type Cause,
  CloseCode,
  type ConnectionEnd,
  type ConnectionEndedError,
} from "../events/errors.ts";
import {
  destroySocket,
  type IdleWatch,
  type RawSocket,
  type SocketDriver,
} from "../runtime/websocket.ts";
import { startTimer, type Timer } from "../util/timer.ts";
import {
  CONNECTING_STATE,
  type ConnectionSignal,
  type ConnectionState,
  transition,
} from "./close_decision.ts";
import { endedError } from "./ended_error.ts";
import type { IdleTimer } from "./idle_timer.ts";

/** The parts of a connection that closing uses. */
export interface ClosingHost {
  /** The socket. */
  readonly socket: RawSocket;
  /** How this side handles the socket. */
  readonly driver: SocketDriver;
  /** The connection, for error messages. */
  readonly connection: { readonly remoteAddress: string };
  /** The timeout of the closing handshake, in milliseconds. */
  readonly options: { readonly closeTimeout: number };
  /** The owner of the connection; see `Owner.isHosted`. */
  readonly owner: { isHosted(): boolean };
  /** Whether both sides speak `events.v1`. */
  readonly speaksEvents: boolean;
  /**
   * Called before the closing handshake begins. Sends what can be sent now.
   *
   * @returns Whether nothing waits to be sent.
   */
  beforeClosing(): boolean;
  /** Calls back when everything that was sent has been handed to the socket. */
  whenSent(action: () => void): void;
  /** Called once, when the connection has ended. */
  ended(opened: boolean, end: ConnectionEnd): void;
}

/** The values of `WebSocket.readyState`, by phase. */
const READY_STATE = { connecting: 0, open: 1, closing: 2, ended: 3 } as const;

/** The maximum bytes that a peer that broke a rule may still send while it is closed. */
const MAX_BYTES_WHILE_CLOSING = 4 * 1024 * 1024;

/** What each frame counts for in that limit, in addition to its payload. */
const CLOSING_BYTES_PER_FRAME = 4 * 1024;

/** After how many bytes the clock is read while this side waits for the close frame. */
const CLOSING_BYTES_PER_CHECK = 1024 * 1024;

/** The state of one connection, and its end. */
export class Closing {
  /** Detects a dead peer. It is stopped when the connection begins to close. */
  idleWatch: IdleWatch | IdleTimer | undefined;
  /** What the runtime reported with its last error. */
  failure: unknown;
  readonly #host: ClosingHost;
  #state: ConnectionState = CONNECTING_STATE;
  #timer: Timer | undefined;
  #stopDriver: (() => void) | undefined;
  /** When to stop waiting for the close frame of the peer. */
  #deadline: number | undefined;
  /** The bytes received since this side began to close. */
  #bytes = 0;

  /** Creates the state of a connection that is not open yet. */
  constructor(host: ClosingHost) {
    this.#host = host;
  }

  /** Whether this is the server's side of the connection. */
  get isServer(): boolean {
    return this.#host.driver.side === "server";
  }

  /** The current state. */
  get state(): ConnectionState {
    return this.#state;
  }

  /** Whether the connection is open and this side has not begun to close it. */
  get isOpen(): boolean {
    return this.#state.phase === "open";
  }

  /** Whether the connection has ended. */
  get isEnded(): boolean {
    return this.#state.phase === "ended";
  }

  /** The state as in `WebSocket.readyState`; 2 as soon as this side begins to close. */
  get readyState(): 0 | 1 | 2 | 3 {
    return READY_STATE[this.#state.phase];
  }

  /**
   * Whether the socket sends what it is given. A socket that closes by itself discards
   * it silently, before it reports its end.
   */
  get isWritable(): boolean {
    return this.#host.socket.readyState === READY_STATE.open && !this.isEnded;
  }

  /** Changes the state; the only place that does. Returns whether it changed. */
  apply(signal: ConnectionSignal): boolean {
    const before = this.#state;
    const state = transition(before, signal, this.#host.driver.side);
    if (state === before) return false;
    this.#state = state;
    if (state.phase === "ended") {
      clearTimeout(this.#timer);
      this.idleWatch?.stop();
      this.#stopDriver?.();
      this.#host.ended(state.opened, state.end);
    }
    return true;
  }

  /** Ends the connection now, and cuts its socket. */
  abort(signal: ConnectionSignal): void {
    if (this.apply(signal)) destroySocket(this.#host.socket);
  }

  /** Pings the peer, and gives it up if nothing is received within a time. */
  probe(timeout: number): void {
    const { idleWatch } = this;
    if (this.isOpen && idleWatch && "probe" in idleWatch) {
      idleWatch.probe(timeout);
    }
  }

  /** Ends the connection now, for a cause. */
  terminate(cause: Cause): void {
    this.abort({ type: "terminate", cause });
  }

  /** Begins the closing handshake, unless this side has begun it already. */
  start(code: number, reason: string, cause: Cause): void {
    const isFlushed = this.#host.beforeClosing();
    const isHosted = this.#host.owner.isHosted();
    const { speaksEvents } = this.#host;
    const closing = { code, reason, cause, isFlushed, isHosted, speaksEvents };
    if (!this.apply({ type: "close", ...closing })) return;
    this.idleWatch?.stop();
    clearTimeout(this.#timer);
    this.#deadline = performance.now() + this.#host.options.closeTimeout;
    this.#timer = startTimer(
      () => this.abort({ type: "timeout" }),
      this.#host.options.closeTimeout,
    );
    this.#host.whenSent(() => {
      // The runtime may have received the peer's close frame already.
      if (!this.isWritable) return;
      this.#stopDriver = this.#host.driver.close(
        this.#host.socket,
        code,
        reason,
        () => this.apply({ type: "sent" }),
      );
    });
  }

  /**
   * Closes the connection because the peer broke a rule.
   *
   * @param code The code that a server sends. A client may not send these codes, so it
   * adds 3000.
   */
  closeForViolation(
    code: number,
    reason: string,
    cause: "limit" | "protocol",
  ): void {
    this.start(this.isServer ? code : code + 3000, reason, cause);
  }

  /** Closes the connection because the peer exceeded a limit. */
  closeForLimit(reason: string): void {
    this.closeForViolation(CloseCode.PolicyViolation, reason, "limit");
  }

  /**
   * Called when the runtime closes the socket by itself while messages wait. Its close frame may be
   * queued behind data that the peer does not read, so the end may never be reported.
   */
  runtimeClosing(): void {
    if (!this.isOpen || this.#timer !== undefined) return;
    this.#timer = startTimer(
      () => this.terminate("timeout"),
      this.#host.options.closeTimeout,
    );
    // Deno closes by itself when a pong is missing. If the peer has closed, the socket
    // has answered and is closed already.
    if (this.#host.socket.readyState === READY_STATE.closing) {
      this.apply({ type: "runtime-closing" });
    }
  }

  /**
   * Counts a frame that arrived while this side waits for the peer to close. A peer that
   * broke a rule and goes on sending is cut off: it may keep the runtime so busy that
   * neither a close frame nor a timer gets its turn.
   *
   * @returns Whether the connection still waits.
   */
  countWhileClosing(cause: Cause, bytes: number): boolean {
    const before = this.#bytes;
    this.#bytes += CLOSING_BYTES_PER_FRAME + bytes;
    const isBlamed = cause === "limit" || cause === "protocol";
    if (isBlamed && this.#bytes > MAX_BYTES_WHILE_CLOSING) {
      this.terminate(cause);
      return false;
    }
    const mustCheck = Math.floor(before / CLOSING_BYTES_PER_CHECK) <
      Math.floor(this.#bytes / CLOSING_BYTES_PER_CHECK);
    if (mustCheck && performance.now() > (this.#deadline ?? Infinity)) {
      this.abort({ type: "timeout" });
      return false;
    }
    return true;
  }

  /** The error of an operation that is too late. */
  error(attempt: Parameters<typeof endedError>[0]): ConnectionEndedError {
    const state = this.#state;
    const { phase } = state;
    return endedError(
      attempt,
      this.#host.connection.remoteAddress,
      phase === "ended" ? state.end : phase === "open" ? "closing" : phase,
    );
  }
}
