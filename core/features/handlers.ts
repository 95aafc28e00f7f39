/**
 * Adds `handle`, and replies to requests of the server, to `@ws/events/client`.
 *
 * ```ts
 * import "jsr:@ws/events/client/handlers";
 * import { ClientSocket } from "jsr:@ws/events/client";
 *
 * const client = new ClientSocket();
 * client.handle("version", () => "1.0.0");
 * ```
 *
 * @module
 */

import { RequestHandlers } from "../requests/handlers.ts";
import { IncomingRequest } from "../requests/incoming_request.ts";
import { requestsFeature } from "../requests/requests_feature.ts";
import { RunningRequests } from "../requests/running_requests.ts";

requestsFeature.provide({ RequestHandlers, IncomingRequest, RunningRequests });
