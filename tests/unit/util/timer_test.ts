import { assertEquals, assertStrictEquals } from "@std/assert";
import { stub } from "@std/testing/mock";
import { MAX_DELAY_MS, startTimer } from "../../../core/util/timer.ts";

Deno.test("startTimer() starts no timer for Infinity and limits the delay", () => {
  using started = stub(globalThis, "setTimeout");
  const action = () => {};
  assertStrictEquals(startTimer(action, Infinity), undefined);
  for (const delay of [0, 5_000, MAX_DELAY_MS, MAX_DELAY_MS + 1, 2 ** 40]) {
    startTimer(action, delay);
  }
  assertEquals(
    started.calls.map(({ args }) => args[1]),
    [0, 5_000, MAX_DELAY_MS, MAX_DELAY_MS, MAX_DELAY_MS],
  );
});

Deno.test("startTimer() calls back after the delay", async () => {
  await new Promise<void>((resolve) => startTimer(resolve, 0));
});
