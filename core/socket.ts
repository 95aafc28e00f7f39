/**
 * What a connection needs of a socket, and of the side that it is on.
 *
 * @module
 */

import type { Role } from "./ending.ts";

/** The part of a `WebSocket` that a connection uses. */
export interface RawSocket {
  /** Is set to `arraybuffer`. */
  binaryType: string;
  /** How many bytes wait to be sent. */
  readonly bufferedAmount: number;
  /** The subprotocol. */
  readonly protocol: string;
  /** The state, 0 to 3. */
  readonly readyState: number;
  /** Is set, and called when the socket is open. */
  onopen: ((event: Event) => void) | null;
  /** Is set, and called for each message. */
  onmessage: ((event: MessageEvent) => void) | null;
  /** Is set, and called when something went wrong. */
  onerror: ((event: Event) => void) | null;
  /** Is set, and called when the socket is closed. */
  onclose: ((event: CloseEvent) => void) | null;
  /**
   * Sends.
   *
   * @param data What to send.
   */
  send(data: string | ArrayBuffer | ArrayBufferView<ArrayBuffer>): void;
  /**
   * Closes.
   *
   * @param code The close code.
   * @param reason The reason.
   */
  close(code?: number, reason?: string): void;
}

/** How one side of a connection handles its socket. */
export interface Side {
  /** Which side it is. */
  readonly role: Role;
  /**
   * Begins the closing handshake.
   *
   * @param socket The socket.
   * @param code The close code.
   * @param reason The reason.
   * @param sent To be called when the close frame was handed over, and nothing
   * that was sent before it waits.
   */
  close(
    socket: RawSocket,
    code: number,
    reason: string,
    sent: () => void,
  ): void;
  /**
   * Lets go of a socket whose peer is not waited for.
   *
   * @param socket The socket.
   */
  cut(socket: RawSocket): void;
}

/** How the client's side handles its socket: as any page may. */
export const clientSide: Side = {
  role: "client",
  close(socket, code, reason, sent) {
    socket.close(code, reason);
    sent();
  },
  cut(socket) {
    socket.close();
  },
};
