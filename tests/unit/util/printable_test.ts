import { assert, assertEquals } from "@std/assert";
import { MAX_PRINTED_CHARS, printable } from "../../../core/util/printable.ts";

Deno.test("printable() returns ordinary text unchanged", () => {
  for (const text of ["", "hello", "Grüße, 世界 👋", "a\\nb", "\u00a0"]) {
    assertEquals(printable(text), text);
  }
});

Deno.test("printable() escapes control characters", () => {
  assertEquals(printable("a\r\nb\tc"), "a\\r\\nb\\tc");
  assertEquals(printable("\u001b[2J"), "\\u001b[2J");
  assertEquals(printable("\u009b31m"), "\\u009b31m");
  assertEquals(printable("\0\u007f\u0085"), "\\u0000\\u007f\\u0085");
  assertEquals(printable("\u2028\u202e\u2066"), "\\u2028\\u202e\\u2066");
  assertEquals(printable("\ud800!"), "\\ud800!");
  for (let code = 0; code < 0x100; code++) {
    const shown = printable(String.fromCharCode(code));
    const isControl = code < 0x20 || (code >= 0x7f && code < 0xa0);
    assertEquals(shown.startsWith("\\"), isControl || code === 0x5c, shown);
  }
});

Deno.test("printable() truncates long text", () => {
  const exact = "x".repeat(MAX_PRINTED_CHARS);
  assertEquals(printable(exact), exact);
  assertEquals(printable(`${exact}yz`), `${exact}… (2 more characters)`);
  assertEquals(printable("abc", 1), "a… (2 more characters)");
  assertEquals(printable("👋👋", 3), "👋\\ud83d… (1 more characters)");
  assert(printable("\u001b".repeat(1_000_000)).length < 2_000);
});
