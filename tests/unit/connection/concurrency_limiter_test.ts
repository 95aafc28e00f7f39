/** Messages that are handled one after the other. */

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { ConcurrencyLimiter } from "../../../core/connection/concurrency_limiter.ts";

/** Turns whose messages are done with by name. */
function begin(concurrency: number) {
  const begun: string[] = [];
  const handled: number[] = [];
  const open = new Map<string, PromiseWithResolvers<void>>();
  const turns = new ConcurrencyLimiter<string>(concurrency, (message) => {
    begun.push(message);
    if (message === message.toUpperCase()) return []; // done at once
    const done = Promise.withResolvers<void>();
    open.set(message, done);
    return [Promise.resolve(), done.promise];
  }, (cost) => handled.push(cost));
  const finish = async (message: string) => {
    open.get(message)?.resolve();
    for (let i = 0; i < 5; i++) await Promise.resolve();
  };
  return { turns, begun, handled, finish };
}

Deno.test("ConcurrencyLimiter handles messages sequentially", async () => {
  const { turns, begun, handled, finish } = begin(1);
  for (const message of ["a", "b", "C", "D", "e"]) {
    assert(turns.add(message, 1));
  }
  assertEquals(begun, ["a"]);
  assertStrictEquals(turns.isEmpty, false);
  await finish("a");
  assertEquals(begun, ["a", "b"]);
  assertEquals(handled, [1]);
  await finish("b");
  assertEquals(begun, ["a", "b", "C", "D", "e"]);
  assertEquals(handled, [1, 2, 3, 4]);
  assertStrictEquals(turns.isEmpty, true);
  await finish("e");
  turns.skip(10);
  assertEquals(handled, [1, 2, 3, 4, 5, 15]);
});

Deno.test("ConcurrencyLimiter limits concurrency and keeps the order", async () => {
  const { turns, begun, finish } = begin(2);
  for (const message of ["a", "b", "c", "d"]) turns.add(message, 1);
  assertEquals(begun, ["a", "b"]);
  await finish("b");
  assertEquals(begun, ["a", "b", "c"]);
  await finish("a");
  assertEquals(begun, ["a", "b", "c", "d"]);
});

Deno.test("ConcurrencyLimiter rejects messages beyond a cost of 1,024", async () => {
  const { turns, finish, begun } = begin(1);
  assert(turns.add("a", 1_023));
  assert(turns.add("b", 500), "the last may go beyond it");
  assert(!turns.add("c", 1));
  await finish("a");
  assert(turns.add("d", 1));
  assertStrictEquals(turns.clear(), 1);
  await finish("b");
  assertEquals(begun, ["a", "b"]);
  const exact = begin(1).turns;
  assert(exact.add("a", 1_024));
  assert(!exact.add("b", 1));
});

Deno.test("ConcurrencyLimiter divides long work into slices", async () => {
  const heard: number[] = [];
  const turns = new ConcurrencyLimiter<number>(1, (message) => {
    const end = performance.now() + 1;
    while (performance.now() < end);
    heard.push(message);
    return [Promise.resolve()];
  }, () => {});
  for (let i = 0; i < 60; i++) turns.add(i, 1);
  let loops = 0;
  for (; heard.length < 60; loops++) {
    await new Promise<void>((go) => setImmediate(go));
  }
  assert(loops > 1, `${loops} turns`);
  assertEquals(heard, Array.from({ length: 60 }, (_, i) => i));
});

Deno.test("ConcurrencyLimiter replaces a waiting message with the same key in place", async () => {
  const { turns, begun, handled, finish } = begin(1);
  turns.add("a", 1, 1, "k");
  turns.add("b", 2, 10, "k");
  turns.add("c", 1, 20);
  turns.add("d", 3, 30, "k");
  assertEquals(handled, [2], "the credit of what is replaced is given back");
  assertStrictEquals(turns.size, 50);
  assertStrictEquals(turns.superseded, 1);
  await finish("a");
  assertEquals(begun, ["a", "d"]);
  turns.add("e", 1, 1, "k");
  await finish("d");
  assertEquals(begun, ["a", "d", "c"]);
  await finish("c");
  assertEquals(begun, ["a", "d", "c", "e"]);
});

Deno.test("ConcurrencyLimiter.hasRoomForLatest is false for many keys or bytes", () => {
  const { turns } = begin(1);
  for (let i = 0; i <= 4_096; i++) {
    assert(turns.hasRoomForLatest);
    turns.add("a", 0, 1, `${i}`);
  }
  assert(!turns.hasRoomForLatest);
  turns.clear();
  assert(turns.hasRoomForLatest);
  const other = begin(1).turns;
  other.add("a", 0, 1, "a");
  other.add("a", 0, 4 * 1024 * 1024, "b");
  assert(!other.hasRoomForLatest);
});
