/**
 * A socket that is open, and its events, which wait until a connection handles them.
 *
 * @module
 */

import type { NegotiatedProtocol } from "../protocol/subprotocol.ts";
import type { OpenedSocket } from "../runtime/websocket.ts";

/** The events of a socket. */
const PAGE_SOCKET_EVENTS = ["open", "message", "error", "close"] as const;

/** An event of a socket. */
export type SocketEvent = Event | MessageEvent | CloseEvent;

/** The events of a socket, which wait while nobody handles them. */
export class SocketEvents {
  readonly #socket: OpenedSocket;
  readonly #waiting: SocketEvent[] = [];
  #handle: ((event: SocketEvent) => void) | undefined;

  constructor(socket: OpenedSocket) {
    this.#socket = socket;
    for (const type of PAGE_SOCKET_EVENTS) socket.addEventListener(type, this);
  }

  /** Passes on an event of the socket. */
  handleEvent(event: SocketEvent): void {
    if (this.#handle) this.#handle(event);
    else this.#waiting.push(event);
  }

  /** Passes events to a function, first those that wait; undefined lets them wait. */
  pipe(handle: ((event: SocketEvent) => void) | undefined): void {
    this.#handle = handle;
    if (handle) { for (const event of this.#waiting.splice(0)) handle(event); }
  }

  /** Stops listening. */
  stop(): void {
    for (const type of PAGE_SOCKET_EVENTS) {
      this.#socket.removeEventListener(type, this);
    }
  }
}

/** A socket that is open. */
export interface OpenSocket {
  readonly socket: OpenedSocket;
  readonly events: SocketEvents;
  readonly negotiated: NegotiatedProtocol;
}
