import { assertEquals } from "@std/assert";
import {
  appendRetryAfter,
  parseRetryAfter,
  toSeconds,
} from "../../../core/protocol/retry_after.ts";

Deno.test("appendRetryAfter() appends whole seconds", () => {
  assertEquals(appendRetryAfter("", 5_000), "retry-after=5");
  assertEquals(appendRetryAfter("deploy", 5_001), "deploy; retry-after=6");
  assertEquals(appendRetryAfter("", 0), "retry-after=0");
  assertEquals([0, 1, 1_000, 1_001].map(toSeconds), [0, 1, 1, 2]);
});

Deno.test("parseRetryAfter() parses only its own format", () => {
  const reasons: [string, number | undefined][] = [
    ["retry-after=5", 5_000],
    ["deploy; retry-after=60", 60_000],
    ["retry-after=0", 0],
    ["", undefined],
    ["deploy", undefined],
    ["retry-after=", undefined],
    ["retry-after=-1", undefined],
    ["retry-after=1.5", undefined],
    ["retry-after=5; deploy", undefined],
    ["noretry-after=5", undefined],
    ["retry-after=1234567890", undefined],
  ];
  for (const [reason, delay] of reasons) {
    assertEquals(parseRetryAfter(reason), delay, reason);
  }
});
