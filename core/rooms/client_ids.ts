/**
 * Finds connections by their ids.
 *
 * @module
 */

import type { Connection } from "../connection/connection.ts";
import type { SocketTypes } from "../values/types.ts";

/**
 * An index of the clients of a server by id. It is made when a client is first looked up,
 * as most programs never do that, and an id takes memory only once it is read.
 */
export class ClientIds<Types extends SocketTypes> {
  readonly #clients: ReadonlySet<Connection<Types>>;
  #byId: Map<string, Connection<Types>> | undefined;

  /** @param clients The clients of the server, which the owner keeps up to date. */
  constructor(clients: ReadonlySet<Connection<Types>>) {
    this.#clients = clients;
  }

  get(id: string): Connection<Types> | undefined {
    this.#byId ??= new Map(
      [...this.#clients].map((client) => [client.id, client]),
    );
    return this.#byId.get(id);
  }

  add(client: Connection<Types>): void {
    this.#byId?.set(client.id, client);
  }

  delete(client: Connection<Types>): void {
    this.#byId?.delete(client.id);
  }
}
