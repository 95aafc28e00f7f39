/**
 * Refuses requests that have neither a handler nor a listener: they would never get a
 * reply.
 *
 * @module
 */

import {
  type IncomingRequest,
  UNHANDLED_FAILURE,
} from "../requests/incoming_request.ts";
import type { SocketTypes } from "../values/types.ts";
import type { ConnectionHost } from "./connection_host.ts";
import type { MessageFrom, OwnedConnection } from "./owner.ts";
import { isMessageHeard } from "./typed_messages.ts";

/** Refuses a request without a handler, unless its message has a listener. */
export function refuseIfUnheard<
  Types extends SocketTypes,
  C extends OwnedConnection<Types>,
>(
  host: ConnectionHost<Types, C>,
  message: MessageFrom<Types, C>,
  request: IncomingRequest,
): void {
  const isHeard = isMessageHeard(host.connection, message) ||
    host.owner.isMessageHeard(message);
  if (!isHeard) request.refuse(UNHANDLED_FAILURE);
}
