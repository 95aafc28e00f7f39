/** What a peer has room for. */

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import type { QueuedMessage } from "../../../core/sending/send_queue.ts";
import {
  creditCost,
  CreditWindow,
  INITIAL_CREDIT,
} from "../../../core/sending/credit_window.ts";

const LIMITS = {
  maxBufferedAmount: 100,
  maxCount: 1_000,
  overflow: "terminate",
} as const;

/** A gate whose first credit is used up. */
function shut() {
  const passed: unknown[] = [];
  const window = new CreditWindow(LIMITS, (entry) => {
    passed.push(entry.frame);
    entry.resolve();
  });
  for (let i = 0; i < INITIAL_CREDIT; i++) assert(window.trySpend("x"));
  return { gate: window, passed };
}

function keep(
  window: CreditWindow,
  frame: string,
  isTransferable = false,
): QueuedMessage {
  assert(!window.trySpend(frame));
  const { entry, isQueued } = window.enqueue(
    frame,
    undefined,
    isTransferable,
    0,
  );
  assert(isQueued);
  return entry;
}

Deno.test("creditCost() is 1 plus 1 per 16 KiB", () => {
  assertStrictEquals(creditCost(""), 1);
  assertStrictEquals(creditCost("x".repeat(16_383)), 1);
  assertStrictEquals(creditCost("ä".repeat(16_384)), 2);
  assertStrictEquals(creditCost("😀".repeat(8_192)), 2); // two code units each
  assertStrictEquals(creditCost(new ArrayBuffer(32_767)), 2);
  assertStrictEquals(creditCost(new Uint8Array(32_768)), 3);
  assertStrictEquals(creditCost(new Blob(["x".repeat(49_152)])), 4);
  assertStrictEquals(creditCost("\u0001t1,00-…"), 0); // a trace is no message
  assertStrictEquals(creditCost("t1,00-…"), 1);
});

Deno.test("CreditWindow sends messages up to the initial credit", () => {
  const { gate: window } = shut();
  assert(!window.trySpend(""));
  const other = new CreditWindow(LIMITS, () => {});
  for (let i = 0; i < INITIAL_CREDIT - 1; i++) assert(other.trySpend("x"));
  assert(other.trySpend("x".repeat(1024 * 1024)));
  assert(!other.trySpend(""));
});

Deno.test("CreditWindow queues messages in order until there is credit", async () => {
  const { gate: window, passed } = shut();
  const entries = ["a", "b", "c"].map((frame) => keep(window, frame));
  assertStrictEquals(window.size, 3);
  let isEmpty = false;
  window.whenEmpty(() => isEmpty = true);
  assertStrictEquals(window.raiseLimit(INITIAL_CREDIT + 2), false);
  assertEquals(passed, ["a", "b"]);
  assert(!window.trySpend("d"), "c waits");
  // It does not go back.
  assertStrictEquals(window.raiseLimit(0), false);
  assert(!isEmpty);
  assertStrictEquals(window.raiseLimit(INITIAL_CREDIT + 4), true);
  assertEquals(passed, ["a", "b", "c"]);
  assert(isEmpty);
  assert(window.trySpend("d"));
  assert(!window.trySpend("e"));
  assertStrictEquals(window.raiseLimit(INITIAL_CREDIT + 5), false);
  await Promise.all(entries.map(({ promise }) => promise));
  // It is told once.
  isEmpty = false;
  assert(window.trySpend("e"));
  const late = keep(window, "f");
  assertStrictEquals(window.raiseLimit(INITIAL_CREDIT + 6), true);
  assert(!isEmpty);
  await late.promise;
  window.whenEmpty(() => passed.push("at once"));
  assertStrictEquals(passed.at(-1), "at once");
});

Deno.test("CreditWindow.stop() rejects messages and returns transferable ones", async () => {
  const { gate: window } = shut();
  const own = keep(window, "own");
  const carried = keep(window, "carried", true);
  window.whenEmpty(() => assert(false, "it is not empty: it has ended"));
  const error = new Error("over");
  assertEquals(window.stop(() => error), [carried]);
  assertStrictEquals(await own.promise.catch((why) => why), error);
  assertStrictEquals(window.raiseLimit(9_999), false);
  assert(window.trySpend("x"));
});

Deno.test("CreditWindow.adopt() queues messages within its limits", () => {
  const { gate: window, passed } = shut();
  const entry = (frame: string): QueuedMessage => ({
    memory: 640,
    frame,
    size: frame.length,
    overflow: "terminate",
    key: "",
    isTransferable: false,
    ...Promise.withResolvers<void>(),
  });
  window.adopt(entry("one"));
  assertEquals(passed, []);
  const { entry: large, isQueued } = window.enqueue(
    "x".repeat(101),
    undefined,
    false,
    0,
  );
  assert(!isQueued);
  window.drop(large);
  large.promise.catch(() => {});
  assertStrictEquals(window.dropped, 1);
  window.raiseLimit(INITIAL_CREDIT + 2);
  window.adopt(entry("two"));
  assertEquals(passed, ["one", "two"]);
});
