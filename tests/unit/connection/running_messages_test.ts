import { assert, assertEquals } from "@std/assert";
import {
  MAX_RUNNING_MEMORY,
  RunningMessages,
} from "../../../core/connection/running_messages.ts";

Deno.test("RunningMessages withholds credit from its limit on, and gives it back", () => {
  const running = new RunningMessages();
  let count = 0;
  for (; !running.isFull; count++) running.start(0);
  assertEquals(count, MAX_RUNNING_MEMORY / 1024);
  assert(running.withhold(2));
  running.start(0);
  assert(running.withhold(3));
  running.start(0);
  assertEquals(running.finish(0), 0);
  assertEquals(running.finish(0), 0);
  assertEquals(running.finish(0), 5);
  assertEquals(running.finish(0), 0);
});

Deno.test("RunningMessages is full with few large messages", () => {
  const running = new RunningMessages();
  const size = MAX_RUNNING_MEMORY / 2 - 1024;
  running.start(size);
  assert(!running.isFull);
  running.start(0);
  assert(running.isFull);
  running.finish(0);
  running.finish(size);
  assertEquals([running.isFull, running.memory], [false, 0]);
});

Deno.test("RunningMessages tells a peer that ignores its credit", () => {
  const running = new RunningMessages();
  running.start(MAX_RUNNING_MEMORY);
  // The credit of a peer that gets no more, however large a message is.
  for (let i = 0; i < 1024; i++) assert(running.withhold(4096));
  for (let i = 0; i < 256; i++) running.withhold(1);
  assert(!running.withhold(1));
  running.finish(MAX_RUNNING_MEMORY);
  assert(running.withhold(1));
});
