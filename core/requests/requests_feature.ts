/**
 * The code for requests of the peer, if it is loaded. Requests to the peer need none.
 *
 * @module
 */

import { Feature } from "../util/feature.ts";
import type { RequestHandlers } from "./handlers.ts";
import type { IncomingRequest } from "./incoming_request.ts";
import type { RunningRequests } from "./running_requests.ts";

/** The classes for requests of the peer. */
export interface IncomingRequests {
  readonly RequestHandlers: typeof RequestHandlers;
  readonly IncomingRequest: typeof IncomingRequest;
  readonly RunningRequests: typeof RunningRequests;
}

/** See {@linkcode IncomingRequests}. */
export const requestsFeature: Feature<IncomingRequests> = new Feature(
  "handlers",
);
