import { assertEquals } from "@std/assert";
import { EventQueue } from "../../../core/events/async_queue.ts";

Deno.test("EventQueue gives in order what is pushed in between", async () => {
  const queue = new EventQueue<number>("x", Infinity, () => {});
  const taken: number[] = [];
  let pushed = 0;
  for (let round = 0; round < 200; round++) {
    for (let i = round % 7; i >= 0; i--) queue.push(pushed++);
    for (let i = round % 5; i >= 0 && taken.length < pushed; i--) {
      const { value } = await queue.next();
      if (value !== undefined) taken.push(value);
    }
  }
  queue.finish();
  for await (const value of queue) taken.push(value);
  assertEquals(taken, Array.from({ length: pushed }, (_, i) => i));
});
