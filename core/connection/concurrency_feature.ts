/**
 * The code of the option `concurrency`, if it is loaded.
 *
 * @module
 */

import { Feature } from "../util/feature.ts";
import type { ConcurrencyLimiter } from "./concurrency_limiter.ts";

/** The class of the limiter. */
export const concurrencyFeature: Feature<typeof ConcurrencyLimiter> =
  new Feature("concurrency");
