/**
 * Provides hints in the errors for misspelled and misplaced names.
 *
 * @module
 */

import { assertArguments, misplacedOption } from "../client/argument_hints.ts";
import { argumentHints } from "../client/client_arguments.ts";
import { Emitter } from "../events/emitter.ts";
import { suggestionFeature } from "../events/errors.ts";
import { refuseEventHandlers } from "../events/handler_hints.ts";
import { suggestName } from "../util/nearest.ts";

refuseEventHandlers(Emitter.prototype);
suggestionFeature.provide(suggestName);
argumentHints.provide({ assertArguments, misplaced: misplacedOption });
