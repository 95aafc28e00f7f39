/**
 * Finds values that JSON would change without an error.
 *
 * @module
 */

import { printable } from "../util/printable.ts";
import { type Codec, decodeText } from "./codec.ts";

/** Stands for JSON where a codec is expected. Its encoding is in `codec_encoding.ts`. */
export const STRICT_JSON: Codec = {
  name: "json",
  encode: (value) => JSON.stringify(value),
  decode: (frame) => typeof frame === "string" ? decodeText(frame) : frame,
};

/** The nesting depth up to which values are checked. JSON itself reports circles. */
const MAX_CHECKED_DEPTH = 1_000;

/**
 * Checks that JSON represents a value and all that it contains.
 *
 * @throws {TypeError} If it does not, with the path to the first such value.
 */
export function assertJson(value: unknown, path = "data", depth = 0): void {
  const change = changeOf(value);
  if (change) {
    throw new TypeError(`Cannot send ${printable(path)} as ${change}`);
  }
  if (
    typeof value !== "object" || value === null || depth > MAX_CHECKED_DEPTH
  ) return;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const at = `${path}[${i}]`;
      if (value[i] === undefined) {
        throw new TypeError(
          `Cannot send ${
            printable(at)
          } as JSON would make null of undefined: use null`,
        );
      }
      assertJson(value[i], at, depth + 1);
    }
    return;
  }
  for (const [name, item] of Object.entries(value)) {
    // JSON omits the property, and reading it gives the same.
    if (item !== undefined) assertJson(item, `${path}.${name}`, depth + 1);
  }
}

/** What JSON would make of a value; undefined if it keeps it. */
function changeOf(value: unknown): string | undefined {
  switch (typeof value) {
    case "bigint":
      return "JSON has no bigint: use a string";
    case "symbol":
    case "function":
      return `JSON would omit a ${typeof value}: leave it out`;
    case "number":
      return Number.isFinite(value)
        ? undefined
        : `JSON would make null of ${value}: use null or a string`;
    case "object":
      return value === null ? undefined : changeOfObject(value);
    default:
      return undefined;
  }
}

function changeOfObject(value: object): string | undefined {
  const name = value.constructor?.name || "an object";
  if ("toJSON" in value && typeof value.toJSON === "function") {
    return `JSON would send what its toJSON() returns instead of the ${name}: send that`;
  }
  if (Array.isArray(value)) return undefined;
  if (ArrayBuffer.isView(value)) {
    return `JSON would make an object of the bytes of a ${name}: use a string in base64`;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  const isPlain = prototype === null ||
    Object.getPrototypeOf(prototype) === null;
  if (isPlain) return undefined;
  const hasLost = value instanceof Error || Object.keys(value).length === 0;
  return hasLost
    ? `JSON would make {} of a ${name}: use an array or a plain object`
    : undefined;
}
