import { assertEquals, assertStrictEquals } from "@std/assert";
import { EarlyMessageQueue } from "../../../core/connection/early_message_queue.ts";

Deno.test("EarlyMessageQueue returns messages in order", () => {
  const queue = new EarlyMessageQueue<string>();
  assertStrictEquals(queue.shift(), undefined);
  queue.push("a", 1);
  queue.push("b", 1);
  assertStrictEquals(queue.length, 2);
  assertEquals([queue.shift(), queue.shift(), queue.shift()], [
    "a",
    "b",
    undefined,
  ]);
});

Deno.test("EarlyMessageQueue drops all messages beyond 256", () => {
  const queue = new EarlyMessageQueue<number>();
  for (let i = 0; i < 256; i++) queue.push(i, 1);
  assertStrictEquals(queue.length, 256);
  assertStrictEquals(queue.takeDropped(), 0);
  queue.push(256, 1);
  queue.push(257, 1);
  assertStrictEquals(queue.length, 0);
  assertStrictEquals(queue.takeDropped(), 258);
  assertStrictEquals(queue.takeDropped(), 0);
  queue.push(258, 1);
  assertStrictEquals(queue.shift(), 258);
});

Deno.test("EarlyMessageQueue drops all messages beyond 1 MiB", () => {
  const half = 512 * 1024;
  const queue = new EarlyMessageQueue<string>();
  queue.push("a", half);
  queue.push("b", half);
  assertStrictEquals(queue.length, 2);
  queue.push("c", 1);
  assertStrictEquals(queue.takeDropped(), 3);
});

Deno.test("EarlyMessageQueue accepts one message of any size", () => {
  const queue = new EarlyMessageQueue<string>();
  queue.push("large", 64 * 1024 * 1024);
  assertStrictEquals(queue.length, 1);
  queue.push("small", 1);
  assertStrictEquals(queue.takeDropped(), 2);
});

Deno.test("EarlyMessageQueue counts only held messages", () => {
  const third = 350_000;
  const queue = new EarlyMessageQueue<number>();
  queue.push(0, third);
  for (let i = 1; i < 100; i++) {
    queue.push(i, third);
    assertStrictEquals(queue.shift(), i - 1);
  }
  assertStrictEquals(queue.takeDropped(), 0);
});
