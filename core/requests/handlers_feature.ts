/**
 * The code for requests of the peer, if it is loaded. Requests to the peer need none.
 *
 * @module
 */

import { Feature } from "../util/feature.ts";
import type { RequestHandlers } from "./handlers.ts";

/** The class that finds handlers. */
export const handlersFeature: Feature<typeof RequestHandlers> = new Feature(
  "handlers",
);
