import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import {
  backoff,
  type BackoffOptions,
  retryDelay,
  type RetryDelayInput,
} from "../../../core/reconnect/retry_delay.ts";
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

Deno.test("backoff() doubles the bound up to maxDelay", () => {
  assertEquals(
    delays(7),
    [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000],
  );
});

Deno.test("backoff() yields delays from 0", () => {
  assertEquals(delays(3, {}, () => 0), [0, 0, 0]);
});

Deno.test("backoff() never exceeds maxDelay", () => {
  assertEquals(delays(2, { maxDelay: 10 }), [10, 10]);
});

Deno.test("backoff() is unlimited by default", () => {
  const many = delays(3_000);
  assertEquals(many.length, 3_000);
  assertEquals(many.at(-1), 30_000);
});

Deno.test("backoff() without initialDelay delays later attempts", () => {
  const options = { initialDelay: 0, maxDelay: 500 };
  assertEquals(delays(5, options), [0, 200, 400, 500, 500]);
  assertEquals(delays(3, { initialDelay: 10 }), [10, 200, 400]);
  assertEquals(delays(3, { maxDelay: 0 }), [0, 0, 0]);
});

Deno.test("backoff() ends after maxAttempts", () => {
  assertEquals(delays(9, { maxAttempts: 3 }).length, 3);
  assertEquals(delays(9, { maxAttempts: 0 }), []);
});

Deno.test("backoff() ends after maxDuration with a last attempt", () => {
  const times = [0, 1_200, 4_000, 5_000];
  const elapsed = () => times.shift() ?? 0;
  assertEquals(
    delays(9, { maxDuration: 5_000 }, () => 1, elapsed),
    [1_000, 2_000, 1_000],
  );
});

Deno.test("backoff() distributes delays evenly", () => {
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

/** What `retryDelay()` decides, with the usual input. */
function delayWith(input: Partial<RetryDelayInput>): number | undefined {
  return retryDelay({
    backoff: 70,
    retryAfter: undefined,
    isPageLeaving: false,
    remaining: Infinity,
    random: () => 0.5,
    ...input,
  });
}

Deno.test("retryDelay() returns the delay of backoff() without a retry-after", () => {
  assertEquals(delayWith({}), 70);
});

Deno.test("retryDelay() adds one to two times the retry-after", () => {
  const retryAfter = 5_000;
  assertEquals(delayWith({ backoff: 0, retryAfter, random: () => 0 }), 5_000);
  assertEquals(delayWith({ retryAfter }), 7_570);
  const random = () => 0.999;
  assert((delayWith({ backoff: 0, retryAfter, random }) ?? NaN) < 10_000);
  assertEquals(delayWith({ retryAfter: 0 }), 70);
});

Deno.test("retryDelay() waits for three seconds if the page may be left", () => {
  assertEquals(delayWith({ isPageLeaving: true }), 3_000);
  assertEquals(delayWith({ isPageLeaving: true, backoff: 4_000 }), 4_000);
});

Deno.test("retryDelay() returns undefined if the server requires more time than remains", () => {
  assertEquals(delayWith({ retryAfter: 100, remaining: 220 }), 220);
  assertEquals(delayWith({ retryAfter: 100, remaining: 219 }), undefined);
  // The delay of backoff() is within what remains.
  assertEquals(delayWith({ isPageLeaving: true, remaining: 100 }), 3_000);
});
