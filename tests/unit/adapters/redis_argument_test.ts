/** Arguments of Redis commands have the bytes of the message. */

import { Buffer } from "node:buffer";
import { assertEquals } from "@std/assert";
import { toArgument } from "../../../adapters/redis/argument.ts";

const encoder = new TextEncoder();

/** The bytes that a client of Redis sends for an argument. */
function bytesOf(argument: string | Buffer): Uint8Array {
  return typeof argument === "string"
    ? encoder.encode(argument)
    : new Uint8Array(argument);
}

Deno.test("toArgument() keeps the bytes of a message", () => {
  const messages = [
    encoder.encode(""),
    encoder.encode("{}\ntext"),
    encoder.encode("\ufeff a BOM, \0, \r\n, \u{1f600}"),
    Uint8Array.of(0xff, 0xfe, 0x00, 0x0d, 0x0a),
    Uint8Array.of(0x7b, 0x7d, 0x0a, 0xc3), // half a character
    Uint8Array.of(0xed, 0xa0, 0x80), // half a surrogate pair
    new Uint8Array(4096).fill(0x61),
    new Uint8Array(4097).fill(0x61),
    new Uint8Array(100_000).fill(0xff),
    encoder.encode("a part of more").subarray(2, 6),
  ];
  for (const message of messages) {
    assertEquals(bytesOf(toArgument(message)), new Uint8Array(message));
  }
});

Deno.test("toArgument() makes a string of a short text only", () => {
  const text = (length: number) => new Uint8Array(length).fill(0x61);
  assertEquals(typeof toArgument(text(4096)), "string");
  assertEquals(Buffer.isBuffer(toArgument(text(4097))), true);
  assertEquals(Buffer.isBuffer(toArgument(Uint8Array.of(0xff))), true);
});
