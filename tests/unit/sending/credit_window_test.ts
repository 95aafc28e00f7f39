/** What a peer has room for. */

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import type { Entry } from "../../../core/sending/backlog.ts";
import {
  costOf,
  FIRST_CREDIT,
  Gate,
} from "../../../core/sending/credit_window.ts";

const LIMITS = {
  maxBufferedAmount: 100,
  maxCount: 1_000,
  overflow: "terminate",
} as const;

/** A gate whose first credit is used up. */
function shut() {
  const passed: unknown[] = [];
  const gate = new Gate(LIMITS, (entry) => {
    passed.push(entry.frame);
    entry.resolve();
  });
  for (let i = 0; i < FIRST_CREDIT; i++) assert(gate.admit("x"));
  return { gate, passed };
}

function keep(gate: Gate, frame: string, isCarried = false): Entry {
  assert(!gate.admit(frame));
  const { entry, isTaken } = gate.keep(frame, undefined, isCarried, 0);
  assert(isTaken);
  return entry;
}

Deno.test("costOf() is 1, and 1 for each 16 KiB", () => {
  assertStrictEquals(costOf(""), 1);
  assertStrictEquals(costOf("x".repeat(16_383)), 1);
  assertStrictEquals(costOf("ä".repeat(16_384)), 2);
  assertStrictEquals(costOf("😀".repeat(8_192)), 2); // two code units each
  assertStrictEquals(costOf(new ArrayBuffer(32_767)), 2);
  assertStrictEquals(costOf(new Uint8Array(32_768)), 3);
  assertStrictEquals(costOf(new Blob(["x".repeat(49_152)])), 4);
  assertStrictEquals(costOf("\u0001t1,00-…"), 0); // a trace is no message
  assertStrictEquals(costOf("t1,00-…"), 1);
});

Deno.test("Gate lets pass what costs 1,024, and what comes last may cost more", () => {
  const { gate } = shut();
  assert(!gate.admit(""));
  const other = new Gate(LIMITS, () => {});
  for (let i = 0; i < FIRST_CREDIT - 1; i++) assert(other.admit("x"));
  assert(other.admit("x".repeat(1024 * 1024)));
  assert(!other.admit(""));
});

Deno.test("Gate keeps the rest in order, until the peer has room", async () => {
  const { gate, passed } = shut();
  const entries = ["a", "b", "c"].map((frame) => keep(gate, frame));
  assertStrictEquals(gate.size, 3);
  let isEmpty = false;
  gate.whenEmpty(() => isEmpty = true);
  assertStrictEquals(gate.allow(FIRST_CREDIT + 2), false);
  assertEquals(passed, ["a", "b"]);
  assert(!gate.admit("d"), "c waits");
  // It does not go back.
  assertStrictEquals(gate.allow(0), false);
  assert(!isEmpty);
  assertStrictEquals(gate.allow(FIRST_CREDIT + 4), true);
  assertEquals(passed, ["a", "b", "c"]);
  assert(isEmpty);
  assert(gate.admit("d"));
  assert(!gate.admit("e"));
  assertStrictEquals(gate.allow(FIRST_CREDIT + 5), false);
  await Promise.all(entries.map(({ promise }) => promise));
  // It is told once.
  isEmpty = false;
  assert(gate.admit("e"));
  const late = keep(gate, "f");
  assertStrictEquals(gate.allow(FIRST_CREDIT + 6), true);
  assert(!isEmpty);
  await late.promise;
  gate.whenEmpty(() => passed.push("at once"));
  assertStrictEquals(passed.at(-1), "at once");
});

Deno.test("Gate lets go of what waits, and gives back what may go elsewhere", async () => {
  const { gate } = shut();
  const own = keep(gate, "own");
  const carried = keep(gate, "carried", true);
  gate.whenEmpty(() => assert(false, "it is not empty: it has ended"));
  const error = new Error("over");
  assertEquals(gate.stop(() => error), [carried]);
  assertStrictEquals(await own.promise.catch((why) => why), error);
  assertStrictEquals(gate.allow(9_999), false);
  assert(gate.admit("x"));
});

Deno.test("Gate takes over what has waited elsewhere, and is bounded", () => {
  const { gate, passed } = shut();
  const entry = (frame: string): Entry => ({
    memory: 640,
    frame,
    size: frame.length,
    overflow: "terminate",
    key: "",
    isCarried: false,
    ...Promise.withResolvers<void>(),
  });
  gate.adopt(entry("one"));
  assertEquals(passed, []);
  const { entry: large, isTaken } = gate.keep(
    "x".repeat(101),
    undefined,
    false,
    0,
  );
  assert(!isTaken);
  gate.drop(large);
  large.promise.catch(() => {});
  assertStrictEquals(gate.dropped, 1);
  gate.allow(FIRST_CREDIT + 2);
  gate.adopt(entry("two"));
  assertEquals(passed, ["one", "two"]);
});
