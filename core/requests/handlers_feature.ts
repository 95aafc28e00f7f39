/**
 * The code for requests of the peer, if it is loaded. Requests to the peer need none.
 *
 * @module
 */

import { Feature } from "../util/feature.ts";
import type { RequestHandlers } from "./handlers.ts";
import type { IncomingRequest } from "./incoming_request.ts";

/** The classes that find handlers, and reply. */
export const handlersFeature: Feature<{
  readonly RequestHandlers: typeof RequestHandlers;
  readonly IncomingRequest: typeof IncomingRequest;
}> = new Feature("handlers");
