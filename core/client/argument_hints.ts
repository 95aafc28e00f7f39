/**
 * Errors for arguments of `connect()` and options that mean something else; pure.
 *
 * @module
 */

import { printable } from "../util/printable.ts";
import { withoutSecrets } from "../util/safe_url.ts";
import { EXAMPLE } from "./client_arguments.ts";

/**
 * Recognizes arguments of other APIs.
 *
 * @param url The first argument of `connect()`.
 * @param options The second argument.
 * @throws {TypeError} If they are a host and a port, or contain subprotocols.
 */
export function assertArguments(url: unknown, options: unknown): void {
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
