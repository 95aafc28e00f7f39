/** Puts messages of a stream in order, and notices one that does not arrive. */

import { assertEquals } from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { SequenceOrder } from "../../../adapters/nats_order.ts";

const SMALL = { data: new Uint8Array(1) };
const MIB = { data: new Uint8Array(1024 * 1024) };

function start(last?: number) {
  const passed: number[] = [];
  const gaps: number[] = [];
  const order = new SequenceOrder<{ data: Uint8Array }>(
    (sequence) => passed.push(sequence),
    (sequence) => gaps.push(sequence),
  );
  if (last !== undefined) order.start(last);
  return { order, passed, gaps };
}

Deno.test("SequenceOrder passes on a late message before those that overtook it", () => {
  const { order, passed } = start(7);
  for (const sequence of [8, 10, 11, 9, 13, 12]) order.add(sequence, SMALL);
  assertEquals(passed, [8, 9, 10, 11, 12, 13]);
});

Deno.test("SequenceOrder ignores what it has passed on, or has waiting", () => {
  const { order, passed } = start(0);
  for (const sequence of [1, 1, 3, 3, 2, 3]) order.add(sequence, SMALL);
  assertEquals(passed, [1, 2, 3]);
});

Deno.test("SequenceOrder keeps what arrives before it starts, from there on", () => {
  const { order, passed } = start();
  for (const sequence of [6, 4, 5, 7]) order.add(sequence, SMALL);
  assertEquals(passed, []);
  order.start(5);
  assertEquals(passed, [6, 7]);
});

Deno.test("SequenceOrder reports a message that does not arrive, once", () => {
  using time = new FakeTime();
  const { order, passed, gaps } = start(0);
  order.add(1, SMALL);
  time.tick(5_000);
  assertEquals(gaps, [], "nothing is missing");
  order.add(3, SMALL);
  time.tick(999);
  order.add(4, SMALL);
  assertEquals(gaps, []);
  time.tick(1);
  assertEquals(gaps, [2]);
  order.add(5, SMALL);
  time.tick(5_000);
  assertEquals([gaps, passed], [[2], [1]]);
  order.start(5);
  order.add(6, SMALL);
  assertEquals(passed, [1, 6]);
});

Deno.test("SequenceOrder waits anew for each missing message", () => {
  using time = new FakeTime();
  const { order, passed, gaps } = start(0);
  for (const sequence of [2, 4]) order.add(sequence, SMALL);
  time.tick(900);
  order.add(1, SMALL);
  time.tick(900);
  assertEquals([passed, gaps], [[1, 2], []]);
  order.add(3, SMALL);
  time.tick(5_000);
  assertEquals([passed.length, gaps], [4, []]);
});

Deno.test("SequenceOrder holds at most 10,000 messages", () => {
  const { order, passed, gaps } = start(0);
  for (let sequence = 2; sequence < 10_002; sequence++) {
    order.add(sequence, SMALL);
  }
  assertEquals(gaps, []);
  order.add(10_002, SMALL);
  assertEquals([passed, gaps], [[], [1]]);
});

Deno.test("SequenceOrder holds at most 64 MiB", () => {
  const { order, passed, gaps } = start(0);
  for (let sequence = 2; sequence < 66; sequence++) order.add(sequence, MIB);
  order.add(65, MIB); // is there already
  assertEquals(gaps, []);
  order.add(66, SMALL);
  assertEquals([passed, gaps], [[], [1]]);
});

Deno.test("SequenceOrder holds at most 64 MiB before it starts", () => {
  const { order, passed, gaps } = start();
  for (let sequence = 1; sequence < 66; sequence++) order.add(sequence, MIB);
  order.start(64);
  assertEquals([passed, gaps], [[], []]);
  order.add(65, SMALL);
  assertEquals(passed, [65]);
});

Deno.test("SequenceOrder does not count what it has passed on, or dropped", () => {
  const { order, passed, gaps } = start(0);
  for (let round = 0; round < 3; round++) {
    const first = round * 61;
    for (let i = 2; i < 62; i++) order.add(first + i, MIB);
    if (round === 0) order.start(61); // 2 to 61 are in the log
    else order.add(first + 1, SMALL);
  }
  assertEquals([passed.length, gaps], [122, []]);
  for (let i = 0; i < 60; i++) order.add(185 + i, MIB);
  order.stop();
  order.start(300);
  for (let i = 0; i < 60; i++) order.add(302 + i, MIB);
  assertEquals(gaps, []);
  order.stop();
});
