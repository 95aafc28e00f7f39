/**
 * All code that `@ws/events/client/lean` leaves out.
 *
 * @module
 */

import "./codec.ts";
import "./concurrency.ts";
import "./handlers.ts";
import "./hints.ts";
import "./iterators.ts";
import "./retry.ts";
import "./runtimes.ts";
import "./schema.ts";
