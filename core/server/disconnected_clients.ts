/**
 * Remembers the connections that were lost most recently.
 *
 * @module
 */

import type { Connection } from "../connection/connection.ts";
import type { ConnectionEnd } from "../events/errors.ts";
import type { SocketTypes } from "../values/types.ts";

/** A connection that was lost; see {@linkcode ServerSocket.disconnectedClients}. */
export interface DisconnectedClient extends ConnectionEnd {
  /** The {@linkcode Connection.id} of the connection. */
  readonly id: string;
  /** The address of the client, as {@linkcode Connection.remoteAddress}. */
  readonly remoteAddress: string;
  /** The requested path, without the query. */
  readonly path: string;
  /** The time at which the connection was lost. */
  readonly time: Date;
}

/** The last lost connections of one server. */
export class DisconnectedClients {
  readonly #max: number;
  readonly #all: DisconnectedClient[] = [];

  /** @param max The maximum number to remember. */
  constructor(max: number) {
    this.#max = max;
  }

  /** The connections, the newest last. */
  get all(): readonly DisconnectedClient[] {
    return this.#all;
  }

  /** Adds a connection that was lost now. */
  add<Types extends SocketTypes>(
    { id, remoteAddress, path }: Connection<Types>,
    end: ConnectionEnd,
  ): void {
    this.#all.push({ id, remoteAddress, path, ...end, time: new Date() });
    if (this.#all.length > this.#max) this.#all.shift();
  }
}
