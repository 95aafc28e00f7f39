/**
 * An in-memory WebSocket.
 *
 * @module
 */

import { byteLengthOf, toBytes } from "../core/values/codec.ts";
import type { OpenedSocket } from "../core/runtime/websocket.ts";
import type { Timer } from "../core/util/timer.ts";

/** The size from which Deno rejects frames, in bytes. */
const MAX_FRAME_BYTES = 64 * 1024 * 1024;

/** A frame on a lane. */
export type LaneFrame =
  /** The server's response to the handshake. */
  | { readonly type: "open"; readonly protocol: string }
  | {
    readonly type: "message";
    readonly data: string | ArrayBuffer;
    /** The size in bytes. */
    readonly size: number;
  }
  | {
    readonly type: "close";
    readonly code: number | undefined;
    readonly reason: string;
  }
  | { readonly type: "ping" }
  | { readonly type: "pong" }
  /** The connection was lost, or not established. */
  | { readonly type: "lost"; readonly reason: string };

/** The lane from a socket to its peer. */
export interface OutgoingLane {
  /** The number of bytes of messages in flight. */
  readonly size: number;
  /** Sends a frame. */
  push(frame: LaneFrame): void;
  /** Discards frames in flight, and ends the lane. */
  end(): void;
}

/** The lane from the peer to a socket. */
export interface IncomingLane {
  /** Stops to deliver frames for good. */
  abandon(): void;
}

/**
 * One end of a link. It follows WHATWG WebSockets and RFC 6455. A server's socket sends
 * pings like Deno's.
 */
export class MemorySocket extends EventTarget implements OpenedSocket {
  /** Always `arraybuffer`, the only type that the library uses. */
  binaryType = "arraybuffer";
  readonly url: string;
  readonly #aborted: AbortController = new AbortController();
  /** The offered subprotocols. */
  readonly #requestedProtocols: readonly string[];
  readonly #idleTimeout: number;
  readonly #grace: number;
  #protocol = "";
  #readyState = 0;
  #isOpened = false;
  #outgoing: OutgoingLane | undefined;
  #incoming: IncomingLane | undefined;
  #idleTimer: Timer | undefined;

  /**
   * Creates a socket in the state `CONNECTING`.
   *
   * @param requestedProtocols The offered subprotocols.
   * @param idleTimeout How long the peer may be silent, in milliseconds; 0 for no limit.
   * @param grace Additional time for a pong, in milliseconds.
   */
  constructor(
    url: string,
    requestedProtocols: readonly string[],
    idleTimeout: number,
    grace = 0,
  ) {
    super();
    this.url = url;
    this.#requestedProtocols = requestedProtocols;
    this.#idleTimeout = idleTimeout;
    this.#grace = grace;
  }

  /** The negotiated subprotocol. */
  get protocol(): string {
    return this.#protocol;
  }

  /** The state, 0 to 3. */
  get readyState(): number {
    return this.#readyState;
  }

  /** Aborted if the socket is closed while it connects. */
  get aborted(): AbortSignal {
    return this.#aborted.signal;
  }

  /** The number of bytes that have not arrived. */
  get bufferedAmount(): number {
    return this.#outgoing?.size ?? 0;
  }

  /** Attaches the lanes of an open connection. */
  attach(outgoing: OutgoingLane, incoming: IncomingLane): void {
    this.#outgoing = outgoing;
    this.#incoming = incoming;
    // It was closed while it connected.
    if (this.#readyState > 1) outgoing.end();
  }

  send(data: string | ArrayBuffer | ArrayBufferView<ArrayBuffer>): void {
    if (this.#readyState !== 1) return;
    const size = byteLengthOf(data);
    const copy = typeof data === "string"
      ? data.toWellFormed() // as UTF-8 would have it
      : toBytes(data).slice().buffer;
    this.#outgoing?.push({ type: "message", data: copy, size });
  }

  close(code?: number, reason = ""): void {
    if (this.#readyState > 1) return;
    const isConnecting = this.#readyState === 0;
    this.#readyState = 2;
    if (isConnecting) this.#aborted.abort();
    this.#outgoing?.push({ type: "close", code, reason });
  }

  /** Closes the connection immediately, without events on this side. */
  terminate(): void {
    if (this.#readyState === 3) return;
    const isConnecting = this.#readyState === 0;
    this.#stop();
    if (isConnecting) this.#aborted.abort();
    this.#outgoing?.end();
  }

  /** Receives a frame. */
  receive(frame: LaneFrame): void {
    if (this.#readyState === 3) return;
    switch (frame.type) {
      case "open":
        return this.#open(frame.protocol);
      case "message":
        if (this.#readyState !== 1) return;
        if (frame.size >= MAX_FRAME_BYTES) {
          this.#outgoing?.end();
          return this.#fail("Frame too large"); // Deno's text
        }
        this.#restartIdleTimer();
        this.dispatchEvent(new MessageEvent("message", { data: frame.data }));
        return;
      case "ping":
        return this.#outgoing?.push({ type: "pong" });
      case "pong":
        return this.#restartIdleTimer();
      case "close": {
        const { code, reason } = frame;
        if (this.#readyState === 1) this.#outgoing?.push(frame);
        return this.#end(true, code ?? 1005, reason);
      }
      case "lost":
        return this.#fail(frame.reason);
    }
  }

  #open(protocol: string): void {
    if (this.#readyState !== 0) return;
    if (protocol && !this.#requestedProtocols.includes(protocol)) {
      this.#outgoing?.end();
      return this.#fail(
        `The server selected the subprotocol "${protocol}", which was not offered`,
      );
    }
    this.#protocol = protocol;
    this.#readyState = 1;
    this.#isOpened = true;
    this.#restartIdleTimer();
    this.dispatchEvent(new Event("open"));
  }

  /** Restarts the idle timer, which sends a ping after half of the timeout. */
  #restartIdleTimer(): void {
    clearTimeout(this.#idleTimer);
    if (this.#idleTimeout === 0 || this.#readyState !== 1) return;
    const half = this.#idleTimeout / 2;
    this.#idleTimer = setTimeout(() => {
      this.#outgoing?.push({ type: "ping" });
      this.#idleTimer = setTimeout(() => this.#failIdle(), half + this.#grace);
    }, half);
  }

  /** Ends the connection without a pong, with Deno's code and reason. */
  #failIdle(): void {
    if (this.#readyState !== 1) return;
    const reason = "No response from ping frame.";
    this.#outgoing?.push({ type: "close", code: 1001, reason: reason });
    this.#fail(reason, 1001);
  }

  #fail(reason: string, code = 1006): void {
    // Deno reports a failed attempt as an error, and a lost connection as text.
    const error = this.#isOpened ? undefined : new DOMException(
      `failed to connect to WebSocket: ${reason}`,
      "NetworkError",
    );
    const message = error ? String(error) : reason;
    this.#readyState = 2;
    this.dispatchEvent(new ErrorEvent("error", { message, error }));
    this.#end(false, code, "");
  }

  #end(wasClean: boolean, code: number, reason: string): void {
    this.#stop();
    this.dispatchEvent(new CloseEvent("close", { wasClean, code, reason }));
  }

  #stop(): void {
    this.#readyState = 3;
    clearTimeout(this.#idleTimer);
    this.#incoming?.abandon();
  }
}
