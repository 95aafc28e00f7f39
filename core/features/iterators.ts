/**
 * Adds `collect`, `events` and `messages` to `@ws/events/client`.
 *
 * ```ts ignore
 * import "jsr:@ws/events/client/iterators";
 * import { ClientSocket } from "jsr:@ws/events/client";
 *
 * const client = new ClientSocket();
 * await client.connect("ws://localhost:3000");
 * for await (const { data } of client.messages()) console.log(data);
 * ```
 *
 * @module
 */

import { iteratorsFeature } from "../events/emitter.ts";
import { collect, iterate } from "../events/iterators.ts";

iteratorsFeature.provide({ collect, iterate });
