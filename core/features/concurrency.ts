/**
 * Adds the option `concurrency` to `@ws/events/client`.
 *
 * ```ts ignore
 * import "jsr:@ws/events/client/concurrency";
 * import { ClientSocket } from "jsr:@ws/events/client";
 *
 * const client = new ClientSocket({ concurrency: 1 });
 * await client.connect("ws://localhost:3000");
 * ```
 *
 * @module
 */

import "./processor.ts";
import { concurrencyFeature } from "../connection/concurrency_feature.ts";
import { ConcurrencyLimiter } from "../connection/concurrency_limiter.ts";

concurrencyFeature.provide(ConcurrencyLimiter);
