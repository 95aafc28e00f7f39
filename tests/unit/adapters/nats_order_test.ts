/** Puts messages of a stream in order, and notices one that does not arrive. */

import { assertEquals } from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { SequenceOrder } from "../../../adapters/nats_order.ts";

function start(last?: number) {
  const passed: string[] = [];
  const gaps: number[] = [];
  const order = new SequenceOrder<string>(
    (sequence, item) => passed.push(`${sequence} ${item}`),
    (sequence) => gaps.push(sequence),
  );
  if (last !== undefined) order.start(last);
  return { order, passed, gaps };
}

Deno.test("SequenceOrder passes on a late message before those that overtook it", () => {
  const { order, passed } = start(7);
  for (const sequence of [8, 10, 11, 9, 13, 12]) order.add(sequence, "x");
  assertEquals(passed, ["8 x", "9 x", "10 x", "11 x", "12 x", "13 x"]);
});

Deno.test("SequenceOrder ignores what it has passed on, or has waiting", () => {
  const { order, passed } = start(0);
  for (const sequence of [1, 1, 3, 3, 2, 3]) order.add(sequence, "x");
  assertEquals(passed, ["1 x", "2 x", "3 x"]);
});

Deno.test("SequenceOrder keeps what arrives before it starts, from there on", () => {
  const { order, passed } = start();
  for (const sequence of [6, 4, 5, 7]) order.add(sequence, "x");
  assertEquals(passed, []);
  order.start(5);
  assertEquals(passed, ["6 x", "7 x"]);
});

Deno.test("SequenceOrder reports a message that does not arrive, once", () => {
  using time = new FakeTime();
  const { order, passed, gaps } = start(0);
  order.add(1, "x");
  time.tick(5_000);
  assertEquals(gaps, [], "nothing is missing");
  order.add(3, "x");
  time.tick(999);
  order.add(4, "x");
  assertEquals(gaps, []);
  time.tick(1);
  assertEquals(gaps, [2]);
  order.add(5, "x");
  time.tick(5_000);
  assertEquals([gaps, passed], [[2], ["1 x"]]);
  order.start(5);
  order.add(6, "x");
  assertEquals(passed, ["1 x", "6 x"]);
});

Deno.test("SequenceOrder waits anew for each missing message", () => {
  using time = new FakeTime();
  const { order, passed, gaps } = start(0);
  for (const sequence of [2, 4]) order.add(sequence, "x");
  time.tick(900);
  order.add(1, "x");
  time.tick(900);
  assertEquals([passed, gaps], [["1 x", "2 x"], []]);
  order.add(3, "x");
  time.tick(5_000);
  assertEquals([passed.length, gaps], [4, []]);
});

Deno.test("SequenceOrder holds at most 10,000 messages", () => {
  const { order, passed, gaps } = start(0);
  for (let sequence = 2; sequence < 10_002; sequence++) {
    order.add(sequence, "x");
  }
  assertEquals(gaps, []);
  order.add(10_002, "x");
  assertEquals([passed, gaps], [[], [1]]);
});
