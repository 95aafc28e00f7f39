/**
 * Where to connect to: values that may be functions, and errors that name the URL.
 *
 * @module
 */

import { ConnectError, type ConnectErrorDetails } from "../events/errors.ts";
import { withoutSecrets } from "../util/safe_url.ts";
import type { ValueOrFunction } from "./client_options.ts";

/**
 * Returns a URL for error messages; that of a function is unknown before it is called.
 */
export function displayUrl(url: ValueOrFunction<string | URL>): string {
  return isFunction(url) ? "the server" : withoutSecrets(url);
}

/** Returns the value, or what the function returns; rejects if the function throws. */
export async function resolveProvided<T>(
  provided: ValueOrFunction<T>,
): Promise<T> {
  return await (isFunction(provided) ? provided() : provided);
}

function isFunction<T>(
  provided: ValueOrFunction<T>,
): provided is () => T | PromiseLike<T> {
  return typeof provided === "function";
}

/** Creates the error of an attempt that failed. */
export function connectError(
  url: string,
  reason: string,
  details: ConnectErrorDetails,
): ConnectError {
  return new ConnectError(
    `Cannot connect to ${url}${reason && `: ${reason}`}`,
    url,
    details,
  );
}
