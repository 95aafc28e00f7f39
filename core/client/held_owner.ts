/**
 * Holds a connection that is open but not in use yet, while the client checks whether it
 * can get a better one.
 *
 * @module
 */

import type { Connection, ConnectionOwner } from "../connection/connection.ts";
import type { ConnectionEnd } from "../events/errors.ts";
import type { SocketTypes } from "../values/types.ts";
import type { AttemptResult, CreateOwner } from "./attempt_result.ts";
import { withResolvers } from "../util/deferred.ts";

/**
 * Owns a connection until it is passed to its real owner. The connection holds received
 * messages meanwhile, as if there were no listener yet.
 */
export class HeldOwner<Types extends SocketTypes> {
  readonly #createOwner: CreateOwner<Types, Connection<Types>>;
  readonly #settled = withResolvers<unknown>();
  #connection: Connection<Types> | undefined;
  #end: ConnectionEnd | undefined;
  #state: "held" | "released" | "discarded" = "held";
  #release: () => void = () => {};

  constructor(createOwner: CreateOwner<Types, Connection<Types>>) {
    this.#createOwner = createOwner;
  }

  /** Creates the owner to give to the connection. */
  readonly create = (result: AttemptResult): ConnectionOwner<Types> => {
    const owner = this.#createOwner({ ...result, resolve: () => {} });
    const isReleased = () => this.#state === "released";
    return {
      ...owner,
      hasListener: (type) => isReleased() && owner.hasListener(type),
      opened: (connection, flush) => {
        this.#connection = connection;
        this.#release = () => {
          const pending = owner.opened(connection, flush);
          this.#settled.resolve(Promise.all(pending));
          flush();
          if (this.#end) owner.ended(connection, this.#end);
        };
        result.resolve();
        return [this.#settled.promise];
      },
      ended: (connection, end) => {
        if (isReleased()) owner.ended(connection, end);
        else this.#end = end;
      },
      failed: (error, from, connection) => {
        if (isReleased()) owner.failed(error, from, connection);
      },
    };
  };

  /** Passes the connection to its real owner. */
  release(): void {
    this.#state = "released";
    this.#release();
  }

  /** Closes the connection, which was not reported to anyone. */
  discard(): void {
    this.#state = "discarded";
    this.#settled.resolve(undefined);
    this.#connection?.close().catch(() => {});
  }
}
