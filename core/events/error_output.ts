/**
 * Where errors go that no listener hears.
 *
 * @module
 */

import { Feature } from "../util/feature.ts";

/** Writes errors. */
export interface ErrorOutput {
  /** Writes an error after a label. */
  write(label: string, error: unknown): void;
}

/** Creates the output of one socket, as `error_log.ts` does. */
export const errorOutputFeature: Feature<() => ErrorOutput> = new Feature(
  "runtimes",
);

/** Creates the output of one socket. In a page, that is the console itself. */
export function createErrorOutput(): ErrorOutput {
  return errorOutputFeature.code?.() ?? CONSOLE;
}

const CONSOLE: ErrorOutput = {
  write: (label, error) => console.error(label, error),
};
