/**
 * A WebSocket in memory: what a runtime's does, over a wire that is none.
 *
 * @module
 */

import { byteLengthOf, toBytes } from "../core/values/codec.ts";
import type { OpenedSocket } from "../core/runtime/websocket.ts";
import type { Timer } from "../core/util/timer.ts";

/** How large a frame is that Deno takes from nobody, in bytes. */
const MAX_FRAME_BYTES = 64 * 1024 * 1024;

/** What goes over a wire. */
export type LaneFrame =
  /** The server's answer to the handshake. */
  | { readonly type: "open"; readonly protocol: string }
  | {
    readonly type: "message";
    readonly data: string | ArrayBuffer;
    /** How many bytes it has. */
    readonly size: number;
  }
  | {
    readonly type: "close";
    readonly code: number | undefined;
    readonly reason: string;
  }
  | { readonly type: "ping" }
  | { readonly type: "pong" }
  /** There is no wire any more, or there was none. */
  | { readonly type: "lost"; readonly reason: string };

/** The way from a socket to its peer. */
export interface OutgoingLane {
  /** How many bytes of messages are on it. */
  readonly size: number;
  /**
   * Puts a frame on it.
   *
   * @param frame The frame.
   */
  push(frame: LaneFrame): void;
  /** Takes off it what has not arrived, and ends it. */
  end(): void;
}

/** The way from its peer to a socket. */
export interface IncomingLane {
  /** Nothing has to arrive any more, whatever else becomes of the way. */
  abandon(): void;
}

/**
 * One end of a link. It opens, closes and fails as the WHATWG's standard and RFC 6455
 * have it; a server's also pings, as Deno's does.
 */
export class MemorySocket extends EventTarget implements OpenedSocket {
  /** Bytes always come as an `ArrayBuffer`, which is all that is asked for. */
  binaryType = "arraybuffer";
  readonly url: string;
  readonly #aborted: AbortController = new AbortController();
  /** The subprotocols that were asked for. */
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
   * Creates a socket that is connecting.
   *
   * @param url The URL.
   * @param requestedProtocols The subprotocols that were asked for.
   * @param idleTimeout After how many milliseconds of silence the peer counts as
   * dead; 0 for never.
   * @param grace How many milliseconds later it does, in case that it is in the middle
   * of a message.
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

  /** The subprotocol that the server has picked. */
  get protocol(): string {
    return this.#protocol;
  }

  /** The state, 0 to 3. */
  get readyState(): number {
    return this.#readyState;
  }

  /** Aborted when it is let go of while it is connecting. */
  get aborted(): AbortSignal {
    return this.#aborted.signal;
  }

  /** How many bytes have not arrived. */
  get bufferedAmount(): number {
    return this.#outgoing?.size ?? 0;
  }

  /**
   * Gives it a way to its peer, and one from it.
   *
   * @param outgoing The one.
   * @param incoming The other.
   */
  attach(outgoing: OutgoingLane, incoming: IncomingLane): void {
    this.#outgoing = outgoing;
    this.#incoming = incoming;
    // It was let go of while it was connecting.
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

  /** Lets go: the peer finds out, and nobody here is told. */
  terminate(): void {
    if (this.#readyState === 3) return;
    const isConnecting = this.#readyState === 0;
    this.#stop();
    if (isConnecting) this.#aborted.abort();
    this.#outgoing?.end();
  }

  /**
   * Takes what has arrived.
   *
   * @param frame The frame.
   */
  receive(frame: LaneFrame): void {
    if (this.#readyState === 3) return;
    switch (frame.type) {
      case "open":
        return this.#open(frame.protocol);
      case "message":
        if (this.#readyState !== 1) return;
        if (frame.size >= MAX_FRAME_BYTES) {
          this.#outgoing?.end();
          return this.#fail("Frame too large"); // Deno's words
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
        `The server has picked the subprotocol "${protocol}", which was not asked for`,
      );
    }
    this.#protocol = protocol;
    this.#readyState = 1;
    this.#isOpened = true;
    this.#restartIdleTimer();
    this.dispatchEvent(new Event("open"));
  }

  /** The peer has been heard; once it is silent, it is asked for a sign of life. */
  #restartIdleTimer(): void {
    clearTimeout(this.#idleTimer);
    if (this.#idleTimeout === 0 || this.#readyState !== 1) return;
    const half = this.#idleTimeout / 2;
    this.#idleTimer = setTimeout(() => {
      this.#outgoing?.push({ type: "ping" });
      this.#idleTimer = setTimeout(() => this.#failIdle(), half + this.#grace);
    }, half);
  }

  /** The peer has not answered the ping. These are Deno's words, and its code. */
  #failIdle(): void {
    if (this.#readyState !== 1) return;
    const reason = "No response from ping frame.";
    this.#outgoing?.push({ type: "close", code: 1001, reason: reason });
    this.#fail(reason, 1001);
  }

  #fail(reason: string, code = 1006): void {
    // As Deno has it: an error for who could not connect, and words else.
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
