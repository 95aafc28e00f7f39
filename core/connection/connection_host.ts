/**
 * The state that the parts of one connection share.
 *
 * @module
 */

import type { SocketTypes } from "../values/types.ts";
import type { Closing } from "./closing.ts";
import type { ConnectionOptions } from "./connection_options.ts";
import type { Outbound } from "./outbound.ts";
import type { OwnedConnection, Owner } from "./owner.ts";

/** The inside of a connection, as its parts see it. */
export interface ConnectionHost<
  Types extends SocketTypes,
  C extends OwnedConnection<Types>,
> {
  /** The connection. */
  readonly connection: C;
  /** The server or client that owns it. */
  readonly owner: Owner<Types, C>;
  /** The options that all connections of the owner share. */
  readonly options: ConnectionOptions<Types>;
  /** Its state, and its end. */
  readonly closing: Closing;
  /** Its sending side. */
  readonly outbound: Outbound;
  /** Whether received messages are still emitted: after the end, those that wait. */
  readonly isAccepting: boolean;
  /** Emits the end, if the connection has ended and nothing has to be emitted before. */
  notifyEnd(): void;
}
