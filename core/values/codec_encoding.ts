/**
 * Encodes values with a codec.
 *
 * @module
 */

import { assertType, isThenable } from "../events/errors.ts";
import {
  assertNoPromise,
  type Codec,
  encodeValue,
  type Frame,
} from "./codec.ts";
import { assertJson, STRICT_JSON } from "./strict_json.ts";

/**
 * Checks the option `codec`.
 *
 * @throws {TypeError} If it is not a codec, or its name is not a valid one.
 */
export function assertCodec(codec: Codec): void {
  assertType("codec", codec, "object");
  assertType("codec.encode", codec.encode, "function");
  assertType("codec.decode", codec.decode, "function");
  const { name } = codec;
  if (typeof name === "string" && /^[A-Za-z0-9-]+$/.test(name)) return;
  throw new TypeError(
    `Cannot use a codec whose name is not made of letters, digits and dashes: current value is "${name}"`,
  );
}

/** Whether a value is the payload of a frame itself. */
function isSentUnchanged(data: unknown): boolean {
  return ArrayBuffer.isView(data) || data instanceof ArrayBuffer ||
    data instanceof Blob ||
    // The class is undefined in pages that are not cross-origin isolated.
    Object.prototype.toString.call(data) === "[object SharedArrayBuffer]";
}

/**
 * Encodes a value as a frame, with a codec.
 *
 * @throws {TypeError} If the value cannot be encoded.
 */
export function encodeByCodec(data: unknown, codec: Codec): Frame {
  if (codec === STRICT_JSON) {
    if (!isSentUnchanged(data)) assertJson(data);
    return encodeValue(data);
  }
  if (data instanceof Blob) {
    throw new TypeError(
      `Cannot send a Blob with the codec "${codec.name}": send the result of its bytes() instead`,
    );
  }
  let frame: string | Uint8Array;
  try {
    frame = codec.encode(data);
  } catch (cause) {
    throw new TypeError(
      `Cannot send a value that the codec "${codec.name}" cannot encode: ${
        cause instanceof Error ? cause.message : cause
      }`,
      { cause },
    );
  }
  if (typeof frame === "string" || frame instanceof Uint8Array) {
    return encodeValue(frame);
  }
  if (isThenable(frame)) assertNoPromise(frame, codec);
  throw new TypeError(
    `Cannot send the output of the codec "${codec.name}" as it is neither a string nor a Uint8Array: its type is ${typeof frame}`,
  );
}
