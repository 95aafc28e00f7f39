/**
 * All code that `@ws/events/client` leaves out, so that a page loads only what it uses.
 * `@ws/events` includes it.
 *
 * ```ts ignore
 * import "jsr:@ws/events/client/full";
 * import { ClientSocket } from "jsr:@ws/events/client";
 *
 * const client = new ClientSocket({ concurrency: 1 });
 * for await (const { data } of client.messages()) console.log(data);
 * ```
 *
 * @module
 */

import "./codec.ts";
import "./concurrency.ts";
import "./handlers.ts";
import "./hints.ts";
import "./iterators.ts";
import "./runtimes.ts";
import "./schema.ts";
