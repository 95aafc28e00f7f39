/**
 * The client for pages: small, and without what only other runtimes need.
 *
 * @module
 */

import { assembleClient, BaseClient } from "../client/base_client.ts";
import { encodeValue } from "../values/codec.ts";
import type { CheckedTypes, SocketTypes } from "../values/types.ts";
import { Outbox } from "./outbox.ts";
import { linkOf, type PageConnection } from "./page_connection.ts";
import { PageConnector } from "./page_connector.ts";
import {
  assertPageConnectOptions,
  type PageClientOptions,
  resolvePageOptions,
} from "./page_options.ts";

/**
 * A WebSocket client for pages. It has the methods, events and options of that of
 * `@ws/events/client`, except the options `headers`, `webSocket`, `schema`, `onInvalid`,
 * `concurrency`, `codec`, `contract` and `strictJson`.
 *
 * @typeParam Types The types of the data that the client sends and receives.
 *
 * @example
 * ```ts ignore
 * import { ClientSocket } from "jsr:@ws/events/client/page";
 *
 * const client = new ClientSocket({ reconnect: true });
 * client.on("message", ({ data }) => console.log(data));
 * await client.connect("wss://example.com/live");
 * ```
 */
export class PageClient<Types extends CheckedTypes<Types> = SocketTypes>
  extends BaseClient<Types, PageConnection<Types>> {
  /**
   * Creates a client. It does not connect yet.
   *
   * @param options The options.
   * @throws {RangeError} If a number is negative or `NaN`, or `overflow` is not a valid
   * policy.
   * @throws {TypeError} If an option has the wrong type or does not exist.
   */
  constructor(options: PageClientOptions = {}) {
    super();
    const resolved = resolvePageOptions(options);
    assembleClient(this, {
      ...resolved,
      connector: new PageConnector(resolved),
      queue: new Outbox(resolved),
      instrumented: {},
      createRetries: () => {
        throw new TypeError(
          'Cannot use the option "retry" in a page: import ClientSocket from "@ws/events/client"',
        );
      },
      assertConnectOptions: assertPageConnectOptions,
      encode: encodeValue,
      send: (connection, frame, options, isTransferable) => {
        const link = linkOf(connection);
        return link.canSend
          ? link.send(frame, options, isTransferable)
          : undefined;
      },
      adopt: (connection, entries) => linkOf(connection).adopt(entries),
      probe: (connection, timeout) => linkOf(connection).probe(timeout),
    });
  }
}
