/** The page docs/broker-protocol.md, by its test vectors. */

import { assertEquals, assertThrows } from "@std/assert";
import { decodeHex, encodeHex } from "../../support/hex.ts";
import {
  decodeEnvelope,
  encodeEnvelope,
} from "../../../core/history/envelope.ts";
import vectors from "../../broker_vectors.json" with { type: "json" };

const encoder = new TextEncoder();

Deno.test("encodeEnvelope() and decodeEnvelope() follow the vectors", () => {
  for (const { header, body, bytes } of vectors.broadcasts) {
    const broadcast = decodeEnvelope(decodeHex(bytes));
    const expected = typeof body === "string" ? body : new Uint8Array(body);
    assertEquals(broadcast?.body, expected);
    assertEquals(broadcast?.from, header.from);
    assertEquals(broadcast?.target.rooms, header.rooms);
    assertEquals(broadcast?.target.except, header.except);
    assertEquals(broadcast && encodeHex(encodeEnvelope(broadcast)), bytes);
  }
});

Deno.test("decodeEnvelope() throws for malformed publications", () => {
  for (const text of vectors.malformed) {
    assertThrows(() => decodeEnvelope(encoder.encode(text)), Error);
  }
});
