/**
 * Adds the option `retry` of `request` to `@ws/events/client`.
 *
 * ```ts ignore
 * import "jsr:@ws/events/client/retry";
 * import { ClientSocket } from "jsr:@ws/events/client";
 *
 * const client = new ClientSocket({ reconnect: true });
 * await client.connect("ws://localhost:3000");
 * await client.request({ type: "order", item: 7 }, { retry: true });
 * ```
 *
 * @module
 */

import { RetriedRequests } from "../retries/retried_requests.ts";
import { retryFeature } from "../retries/retry_feature.ts";

retryFeature.provide((options) => new RetriedRequests(options));
