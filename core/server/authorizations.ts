/**
 * Closes the connections of one server whose authorization has expired, unless it was
 * renewed.
 *
 * @module
 */

import {
  EXPIRED_REASON,
  type ExpiryTime,
  toDeadline,
} from "../admission/expiry.ts";
import type { Connection } from "../connection/connection.ts";
import { CloseCode } from "../events/errors.ts";
import type { Context, SocketTypes } from "../values/types.ts";
import { Deadlines } from "./deadlines.ts";

/** The authorizations of the clients of one server that expire. */
export class Authorizations<Types extends SocketTypes> {
  readonly #expiresAt:
    | ((context: Context<Types>) => ExpiryTime)
    | undefined;
  readonly #deadlines = new Deadlines<Connection<Types>>((client) => {
    client.close(CloseCode.Expired, EXPIRED_REASON);
  });

  /** @param expiresAt The option of the server. */
  constructor(
    expiresAt: ((context: Context<Types>) => ExpiryTime) | undefined,
  ) {
    this.#expiresAt = expiresAt;
  }

  /**
   * A client was admitted.
   *
   * @param time When its authorization expires; `Infinity` for never.
   */
  admitted(client: Connection<Types>, time: number): void {
    this.#deadlines.set(client, time);
  }

  /**
   * The context of a client is about to be replaced.
   *
   * @throws {unknown} What the option `expiresAt` throws, or because of its result.
   */
  renew(client: Connection<Types>, context: Context<Types>): void {
    const time = toDeadline(this.#expiresAt?.(context));
    if (client.readyState < 2) this.#deadlines.set(client, time);
  }

  /** A client has ended. */
  ended(client: Connection<Types>): void {
    this.#deadlines.delete(client);
  }
}
