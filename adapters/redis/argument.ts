/**
 * Turns messages into arguments of Redis commands.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { RedisArgument } from "./driver.ts";

/** Longer messages are not decoded, as that costs more than it saves. */
const MAX_TEXT_BYTES = 4096;

const argumentDecoder = new TextDecoder("utf-8", {
  fatal: true,
  ignoreBOM: true, // a BOM belongs to the text
});

/**
 * The argument with the bytes of a message. For short messages in UTF-8 it is a string: a
 * client writes a command of strings in one piece, and a `Buffer` makes three of it.
 */
export function toArgument(
  message: Uint8Array<ArrayBuffer>,
): RedisArgument {
  if (message.length <= MAX_TEXT_BYTES) {
    try {
      return argumentDecoder.decode(message);
    } catch {
      // It is not UTF-8.
    }
  }
  const { buffer, byteOffset, byteLength } = message;
  return Buffer.from(buffer, byteOffset, byteLength);
}
