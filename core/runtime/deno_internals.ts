/**
 * Private APIs of Deno, where there is no public one, and the texts of its errors.
 *
 * @module
 */

import type { Cause } from "../events/errors.ts";
import type { RawSocket } from "./websocket.ts";

/**
 * Deno's errors if the peer violated the protocol or a limit. All others are network
 * errors.
 */
export const DENO_ERROR_CAUSES: ReadonlyMap<string, Cause> = new Map([
  ["Control frame must not be fragmented", "protocol"],
  ["Frame too large", "limit"],
  ["Invalid UTF-8", "protocol"],
  ["Invalid close code", "protocol"],
  ["Invalid close frame", "protocol"],
  ["Invalid continuation frame", "protocol"],
  ["Invalid fragment", "protocol"],
  ["Invalid string data", "protocol"],
  ["Invalid value", "protocol"],
  ["Ping frame too large", "protocol"],
  ["Reserved bits are not zero", "protocol"],
]);

/**
 * Closes the TCP connection of a socket immediately.
 *
 * @returns Whether this runtime and the state of the socket allow it.
 */
export function closeResource(socket: RawSocket): boolean {
  const rid = getProperty(socket, privateField(socket, "[[rid]]"));
  const tryClose = getProperty(denoCore(), "tryClose");
  if (typeof rid !== "number" || typeof tryClose !== "function") return false;
  tryClose(rid);
  return true;
}

/**
 * Frees what Deno holds for a server's socket after its end: its idle timer would hold
 * the socket for up to half of the idle timeout.
 */
export function freeTimers(socket: RawSocket): void {
  const idleTimeout = privateField(socket, "[[idleTimeout]]");
  // A socket that ends while it opens will only get a timer then.
  if (idleTimeout !== undefined) Reflect.set(socket, idleTimeout, 0);
  cancelIdleTimer(socket);
}

/** Cancels Deno's idle timer of a server's socket, if there is one. */
export function cancelIdleTimer(socket: RawSocket): void {
  const timer = getProperty(
    socket,
    privateField(socket, "[[idleTimeoutTimeout]]"),
  );
  const cancelTimer = getProperty(denoCore(), "cancelTimer");
  if (timer != null && typeof cancelTimer === "function") cancelTimer(timer);
}

/** The private API of the last `Deno` object, which tests replace. */
let cachedCore: { readonly deno: unknown; readonly core: unknown } | undefined;

/** Returns Deno's private API. */
function denoCore(): unknown {
  const deno = getProperty(globalThis, "Deno");
  if (cachedCore?.deno !== deno) {
    const internal = getProperty(deno, getProperty(deno, "internal"));
    cachedCore = { deno, core: getProperty(internal, "core") };
  }
  return cachedCore?.core;
}

/** Cached symbols by description, as all sockets have the same ones. */
const fieldSymbols = new Map<string, symbol>();

/**
 * Finds the symbol of a private field of Deno.
 *
 * @param description The description of the symbol.
 * @returns The symbol; undefined if the object has no such field.
 */
export function privateField(
  object: object,
  description: string,
): symbol | undefined {
  const known = fieldSymbols.get(description);
  if (known !== undefined && Object.hasOwn(object, known)) return known;
  const symbol = Object.getOwnPropertySymbols(object).find((symbol) =>
    symbol.description === description
  );
  if (symbol !== undefined) fieldSymbols.set(description, symbol);
  return symbol;
}

/** Returns a property of an unknown value. */
function getProperty(object: unknown, key: unknown): unknown {
  return typeof object === "object" && object !== null &&
      (typeof key === "string" || typeof key === "symbol")
    ? Reflect.get(object, key)
    : undefined;
}
