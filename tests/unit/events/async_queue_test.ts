import { assertEquals } from "@std/assert";
import { AsyncQueue } from "../../../core/events/async_queue.ts";

Deno.test("AsyncQueue gives in order what is pushed in between", async () => {
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
