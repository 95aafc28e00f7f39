/**
 * Checks the arguments of `connect()`.
 *
 * @module
 */

import { Feature } from "../util/feature.ts";

/** An example of a URL, for errors. */
export const EXAMPLE = "ws://localhost:3000/live";

/** Recognizes arguments that mean something else; see `argument_hints.ts`. */
export interface ArgumentHints {
  /**
   * Checks the arguments of `connect()`.
   *
   * @throws {TypeError} If they are a host and a port, or contain subprotocols.
   */
  assertArguments(url: unknown, options: unknown): void;
  /** Says what to do with an option that belongs elsewhere. */
  misplaced(
    owner: "ClientSocket" | "connect()",
    options: object,
    constructorOptions: readonly string[],
  ): TypeError | undefined;
}

/** See {@linkcode ArgumentHints}. Without the code, other checks find the mistake. */
export const argumentHints: Feature<ArgumentHints> = new Feature("hints");

/**
 * Checks where to connect to.
 *
 * @throws {TypeError} If there is no URL, or the arguments are a host and a port.
 */
export function assertTarget(url: unknown, options: unknown): void {
  argumentHints.code?.assertArguments(url, options);
  if (typeof url !== "function") {
    assertUrl(url, "pass a URL, or a function that returns one");
  }
}

/**
 * Checks what the function for the URL has returned.
 *
 * @throws {TypeError} If it is not a URL.
 */
export function assertReturnedUrl(url: unknown): asserts url is string | URL {
  assertUrl(url, "the function for the URL must return one, or throw");
}

function assertUrl(url: unknown, hint: string): void {
  if (typeof url === "string" || isUrl(url)) return;
  const shown = url === null || url === undefined
    ? `${url}`
    : `a value of type ${typeof url}`;
  throw new TypeError(`Cannot connect to ${shown}: ${hint}, as in ${EXAMPLE}`);
}

/** Whether a value is a `URL`, maybe of another realm. */
function isUrl(value: unknown): boolean {
  return typeof value === "object" && value !== null && "href" in value &&
    typeof value.href === "string";
}

/**
 * Checks subprotocols that a function may have returned.
 *
 * @throws {TypeError} If they are neither a string nor a list.
 */
export function toProtocols(protocols: unknown): readonly string[] {
  if (typeof protocols === "string") return [protocols];
  if (Array.isArray(protocols)) return protocols;
  throw new TypeError(
    `Cannot use "protocols" unless it is a string or an array: current value is of type ${
      protocols === null ? "null" : typeof protocols
    }`,
  );
}
