import { assertEquals, assertRejects } from "@std/assert";
import { AsyncQueue } from "../../../core/events/async_queue.ts";

Deno.test("AsyncQueue returns values in order", async () => {
  const queue = new AsyncQueue<number>("x", Infinity, () => {});
  const taken: number[] = [];
  let pushed = 0;
  for (let round = 0; round < 200; round++) {
    for (let i = round % 7; i >= 0; i--) queue.push(pushed++);
    for (let i = round % 5; i >= 0 && taken.length < pushed; i--) {
      const { value } = await queue.next();
      if (value !== undefined) taken.push(value);
    }
  }
  queue.close();
  for await (const value of queue) taken.push(value);
  assertEquals(taken, Array.from({ length: pushed }, (_, i) => i));
});

Deno.test("AsyncQueue limits queued bytes", async () => {
  let isOutrun = false;
  const queue = new AsyncQueue<number>("x", 2, () => {}, () => isOutrun = true);
  queue.push(1, 100_000); // a large one that is alone fits
  assertEquals((await queue.next()).value, 1);
  queue.push(2, 16_000);
  queue.push(3, 16_768);
  assertEquals([queue.size, isOutrun], [32_768, false]);
  assertEquals((await queue.next()).value, 2);
  assertEquals(queue.size, 16_768);
  queue.push(4, 16_001);
  assertEquals(isOutrun, true);
  assertEquals((await queue.next()).value, 3);
  await assertRejects(
    () => queue.next(),
    RangeError,
    "Cannot queue more than 32768 bytes of x",
  );
});
