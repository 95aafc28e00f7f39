import { assert, assertEquals, assertFalse, assertThrows } from "@std/assert";
import { Hmac, isSameSecret } from "../../../core/util/hmac.ts";

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}

Deno.test("Hmac.digest() matches the vectors of RFC 4231", () => {
  // Test cases 1 and 2: those whose keys and data are text.
  assertEquals(
    hex(new Hmac("\u000b".repeat(20)).digest("Hi There")),
    "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
  );
  assertEquals(
    hex(new Hmac("Jefe").digest("what do ya want for nothing?")),
    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
  );
});

Deno.test("Hmac.digest() matches crypto.subtle", async () => {
  const encoder = new TextEncoder();
  for (let length = 0; length < 200; length++) {
    const secret = "k".repeat(1 + length % 64);
    const text = "é" + "x".repeat(length);
    const key = await crypto.subtle.importKey(
      "raw",
      encoder.encode(secret),
      { name: "HMAC", hash: "SHA-256" },
      false,
      ["sign"],
    );
    const code = await crypto.subtle.sign("HMAC", key, encoder.encode(text));
    assertEquals(
      hex(new Hmac(secret).digest(text)),
      hex(new Uint8Array(code)),
      `${length}`,
    );
  }
});

Deno.test("Hmac accepts keys up to 64 bytes", () => {
  new Hmac("k".repeat(64));
  assertThrows(() => new Hmac("k".repeat(65)), RangeError, "64 bytes");
});

Deno.test("isSameSecret() compares strings", () => {
  assert(isSameSecret("abc", "abc"));
  for (const other of ["abd", "bbc", "ab", "abcd", ""]) {
    assertFalse(isSameSecret("abc", other), other);
  }
});
