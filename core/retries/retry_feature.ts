/**
 * The code for requests that a client sends again after a loss, if it is loaded.
 *
 * @module
 */

import type { Connection } from "../connection/connection.ts";
import type { ConnectionOptions } from "../connection/connection_options.ts";
import type { RequestOptions } from "../requests/session.ts";
import { Feature } from "../util/feature.ts";
import type { StandardSchema } from "../values/schema.ts";
import type { SocketTypes } from "../values/types.ts";

/** Options of {@linkcode ClientSocket.request}. */
export interface ClientRequestOptions extends RequestOptions {
  /**
   * Whether the request survives the loss of the connection. It is sent again on the next
   * connection, under the same id, until it is answered, times out or is aborted. The
   * server calls its handler once for it, and answers a repetition with the remembered
   * answer.
   *
   * If the server cannot know whether it has handled the request, as it was restarted or
   * has forgotten the answer, the promise rejects with a `RequestError` whose code is
   * `uncertain`. It does not call the handler again.
   *
   * The default timeout of such a request is 60,000 milliseconds.
   *
   * @default {false}
   */
  readonly retry?: boolean;
}

/** The requests of one client that are sent again after a loss. */
export interface ClientRetries<
  Types extends SocketTypes,
  C = Connection<Types>,
> {
  /**
   * Sends a request on this connection and the following ones, until it is settled.
   *
   * @returns A promise whose rejection is never unhandled.
   * @throws {TypeError} If the data cannot be serialized, or an option is invalid.
   */
  request(
    data: unknown,
    options: RequestOptions & { schema?: StandardSchema },
  ): Promise<unknown>;
  /** The client has a connection, and has emitted `connect`. */
  connected(connection: C): void;
  /** The connection has ended. */
  disconnected(): void;
  /** Rejects all requests, as no connection follows. */
  stop(makeError: () => Error): void;
}

/** Creates the requests of a client. */
export type CreateRetries = <Types extends SocketTypes>(
  options: ConnectionOptions<Types>,
) => ClientRetries<Types>;

/** The code for requests that are sent again after a loss. */
export const retryFeature: Feature<CreateRetries> = new Feature("retry");
