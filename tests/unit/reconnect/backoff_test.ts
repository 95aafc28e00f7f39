import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import {
  backoff,
  type BackoffOptions,
  withRetryAfter,
} from "../../../core/reconnect/backoff.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

const DEFAULTS = {
  initialDelay: 1_000,
  maxDelay: 30_000,
  maxAttempts: Infinity,
  maxDuration: Infinity,
};

/** The first delays, with chance and time as given. */
function delays(
  count: number,
  options: BackoffOptions = {},
  random: () => number = () => 1,
  elapsed: () => number = () => 0,
): number[] {
  const all = backoff({ ...DEFAULTS, ...options }, { random, elapsed });
  return [...all.take(count)];
}

Deno.test("backoff() doubles the bound up to the longest delay", () => {
  assertEquals(
    delays(7),
    [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000],
  );
});

Deno.test("backoff() may wait not at all, the first time, too", () => {
  assertEquals(delays(3, {}, () => 0), [0, 0, 0]);
});

Deno.test("backoff() never waits longer than maxDelay, be it the first time", () => {
  assertEquals(delays(2, { maxDelay: 10 }), [10, 10]);
});

Deno.test("backoff() goes on for ever by default, within the bound", () => {
  const many = delays(3_000);
  assertEquals(many.length, 3_000);
  assertEquals(many.at(-1), 30_000);
});

Deno.test("backoff() without a first delay has others, so that nobody spins", () => {
  const options = { initialDelay: 0, maxDelay: 500 };
  assertEquals(delays(5, options), [0, 200, 400, 500, 500]);
  assertEquals(delays(3, { initialDelay: 10 }), [10, 200, 400]);
  assertEquals(delays(3, { maxDelay: 0 }), [0, 0, 0]);
});

Deno.test("backoff() ends after maxAttempts", () => {
  assertEquals(delays(9, { maxAttempts: 3 }).length, 3);
  assertEquals(delays(9, { maxAttempts: 0 }), []);
});

Deno.test("backoff() ends when the time is over, and makes a last attempt then", () => {
  const times = [0, 1_200, 4_000, 5_000];
  const elapsed = () => times.shift() ?? 0;
  assertEquals(
    delays(9, { maxDuration: 5_000 }, () => 1, elapsed),
    [1_000, 2_000, 1_000],
  );
});

Deno.test("backoff() spreads each delay evenly from zero to its bound", () => {
  const seeded = new SeededRandom(20261123);
  const next = () => seeded.next();
  const rounds = 20_000;
  const seen: number[][] = [[], [], [], []];
  for (let round = 0; round < rounds; round++) {
    delays(4, {}, next).forEach((delay, i) => seen[i]?.push(delay));
  }
  seen.forEach((list, i) => {
    const bound = 1_000 * 2 ** i;
    const mean = list.reduce((sum, delay) => sum + delay, 0) / rounds;
    assertAlmostEquals(mean / bound, 0.5, 0.01);
    for (let tenth = 0; tenth < 10; tenth++) {
      const share = list.filter((delay) =>
        Math.floor(delay / bound * 10) === tenth
      ).length / rounds;
      assertAlmostEquals(share, 0.1, 0.01);
    }
  });
});

Deno.test("withRetryAfter() changes nothing unless the server has asked for it", () => {
  assertEquals(withRetryAfter(70, undefined, () => 0.5), 70);
});

Deno.test("withRetryAfter() waits for once to twice the time, never less", () => {
  assertEquals(withRetryAfter(0, 5_000, () => 0), 5_000);
  assertEquals(withRetryAfter(70, 5_000, () => 0.5), 7_570);
  assert(withRetryAfter(0, 5_000, () => 0.999) < 10_000);
  assertEquals(withRetryAfter(70, 0, () => 0.5), 70);
});
