import { assertEquals, assertStrictEquals } from "@std/assert";
import { stub } from "@std/testing/mock";
import { FakeTime } from "@std/testing/time";
import { PollTimer } from "../../../core/sending/poll_timer.ts";
import { setWallClock } from "../../support/wall_clock.ts";

/** Something that is looked at, and writes down when. */
class Thing {
  readonly polls: number[] = [];

  constructor(
    readonly time: FakeTime,
    readonly waits: number[],
    readonly start = time.now,
  ) {}

  poll(): number {
    this.polls.push(this.time.now - this.start);
    return this.waits.shift() ?? 0;
  }
}

Deno.test("PollTimer polls after the returned delay", async () => {
  using time = new FakeTime();
  const clock = new PollTimer();
  const thing = new Thing(time, [20, 30]);
  clock.add(thing, 10);
  await time.tickAsync(1_000);
  assertEquals(thing.polls, [10, 30, 60]);
  assertStrictEquals(clock.size, 0);
});

Deno.test("PollTimer polls many objects with one timer", async () => {
  using time = new FakeTime();
  const clock = new PollTimer();
  const slow = new Thing(time, [100, 100]);
  const quick = new Thing(time, Array(9).fill(10));
  clock.add(slow, 100);
  clock.add(quick, 10);
  await time.tickAsync(10);
  assertEquals([slow.polls, quick.polls], [[], [10]]);
  await time.tickAsync(1_000);
  assertEquals(slow.polls, [100, 200, 300]);
  assertEquals(quick.polls.length, 10);
  assertStrictEquals(clock.size, 0);
});

Deno.test("PollTimer does not poll removed objects", async () => {
  using time = new FakeTime();
  const clock = new PollTimer();
  const removed = new Thing(time, [10, 10]);
  const kept = new Thing(time, []);
  clock.add(removed, 10);
  clock.add(kept, 20);
  clock.remove(removed);
  clock.remove(removed); // twice is once
  await time.tickAsync(20);
  assertEquals([removed.polls, kept.polls], [[], [20]]);
  clock.add(removed, 10);
  clock.remove(removed); // and no timer is left, or the sanitizer tells
});

Deno.test("PollTimer supports changes during a poll", async () => {
  using time = new FakeTime();
  const clock = new PollTimer();
  const later = new Thing(time, []);
  const self = {
    poll() {
      clock.remove(self);
      clock.add(later, 30);
      return 10;
    },
  };
  clock.add(self, 10);
  await time.tickAsync(10);
  assertStrictEquals(clock.size, 1);
  await time.tickAsync(1_000);
  assertStrictEquals(later.polls.length, 1);
  assertStrictEquals(clock.size, 0);
});

Deno.test("PollTimer ignores jumps of the clock", async () => {
  using time = new FakeTime();
  const clock = new PollTimer();
  const thing = new Thing(time, [10, 10]);
  clock.add(thing, 10);
  await time.tickAsync(10);
  using _jump = setWallClock(() => time.now + 3_600_000);
  await time.tickAsync(9);
  assertEquals(thing.polls, [10]);
  await time.tickAsync(1);
  assertEquals(thing.polls.length, 2);
  clock.remove(thing);
});

Deno.test("PollTimer keeps delays when objects are added and removed", async () => {
  using time = new FakeTime();
  const clock = new PollTimer();
  const slow = new Thing(time, Array(9).fill(32));
  clock.add(slow, 32);
  for (let i = 0; i < 32; i++) {
    clock.add({ poll: () => 0 }, 1);
    await time.tickAsync(10);
  }
  assertEquals(slow.polls, Array.from({ length: 10 }, (_, i) => 32 * (i + 1)));
  assertStrictEquals(clock.size, 0);
});

Deno.test("PollTimer divides many polls into slices", async () => {
  using time = new FakeTime();
  let now = 0;
  using _now = stub(performance, "now", () => now);
  const clock = new PollTimer();
  const polls: number[] = [];
  for (let i = 0; i < 10; i++) {
    clock.add({
      poll: () => {
        polls.push(i);
        now += 0.5; // each takes half a millisecond
        return polls.length < 20 ? 10 : 0;
      },
    }, 10);
  }
  let first: number[] = [];
  setTimeout(() => first = [...polls], 10); // something else that is due
  await time.tickAsync(10);
  assertEquals(first, [0, 1]);
  assertEquals(polls, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  await time.tickAsync(20);
  assertEquals(polls.length, 29); // all once more
  assertStrictEquals(clock.size, 0);
});
