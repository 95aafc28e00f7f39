/**
 * Errors for arguments of `connect()` that mean something else; pure.
 *
 * @module
 */

import { printable } from "../util/printable.ts";
import { withoutSecrets } from "../util/safe_url.ts";

const EXAMPLE = "ws://localhost:3000/live";

/**
 * Checks where to connect to.
 *
 * @param url The first argument of `connect()`.
 * @param options The second argument.
 * @throws {TypeError} If there is no URL, or the arguments are a host and a port.
 */
export function assertTarget(url: unknown, options: unknown): void {
  if (typeof options === "number") {
    throw new TypeError(
      typeof url === "string" && !url.includes("://")
        ? `Cannot connect to a host and a port: pass a URL, as in connect("ws://${
          printable(url)
        }:${options}")`
        : `Cannot use "options" unless it is an object: current value is ${options}`,
    );
  }
  if (typeof options === "string" || Array.isArray(options)) {
    throw new TypeError(
      `Cannot pass subprotocols to connect(): pass them to the constructor, as in new ClientSocket({ protocols: ${
        JSON.stringify(options)
      } })`,
    );
  }
  if (typeof url === "number") {
    throw new TypeError(
      `Cannot connect to a port: pass a URL, as in connect("ws://localhost:${url}")`,
    );
  }
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

/** Says what to do with an option that belongs elsewhere; undefined if there is none. */
export function misplacedOption(
  owner: "ClientSocket" | "connect()",
  options: object,
  constructorOptions: readonly string[],
): TypeError | undefined {
  for (const [name, value] of Object.entries(options)) {
    if (owner === "ClientSocket" && name === "url") {
      const shown = typeof value === "string" ? withoutSecrets(value) : EXAMPLE;
      return new TypeError(
        `Cannot use "url" as an option of ClientSocket: pass it to connect(), as in client.connect("${shown}")`,
      );
    }
    if (owner === "connect()" && constructorOptions.includes(name)) {
      return new TypeError(
        `Cannot use "${name}" as an option of connect(): pass it to the constructor, as in new ClientSocket({ ${name} })`,
      );
    }
  }
  return undefined;
}
