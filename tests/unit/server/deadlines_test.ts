import { assertEquals, assertStrictEquals } from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { Deadlines } from "../../../core/server/deadlines.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

Deno.test("Deadlines calls back for each deadline in order, not early", () => {
  using time = new FakeTime();
  const due: [string, number][] = [];
  const start = Date.now();
  const deadlines = new Deadlines<string>((key) =>
    due.push([key, Date.now() - start])
  );
  for (const [key, ms] of [["c", 300], ["a", 100], ["b", 200]] as const) {
    deadlines.set(key, start + ms);
  }
  deadlines.set("never", Infinity);
  deadlines.set("past", start - 1);
  deadlines.set("c", start + 400); // later
  deadlines.set("b", start + 150); // earlier
  deadlines.set("gone", start + 120);
  deadlines.delete("gone");
  assertStrictEquals(deadlines.size, 4);
  time.tick(99);
  assertEquals(due, [["past", 0]]);
  time.tick(1_000);
  assertEquals(due, [["past", 0], ["a", 100], ["b", 150], ["c", 400]]);
  assertStrictEquals(deadlines.size, 0);
});

Deno.test("Deadlines has one timer, and none without deadlines", () => {
  using time = new FakeTime();
  const due: number[] = [];
  const deadlines = new Deadlines<number>((key) => due.push(key));
  for (let i = 0; i < 1_000; i++) deadlines.set(i, Date.now() + 1_000 - i);
  for (let i = 0; i < 1_000; i++) deadlines.delete(i);
  assertStrictEquals(time.next(), false); // no timer is left
  assertEquals(due, []);
});

Deno.test("Deadlines follows changes of the wall clock", () => {
  using time = new FakeTime();
  const due: string[] = [];
  let shift = 0;
  const clock = () => Date.now() + shift;
  const deadlines = new Deadlines<string>((key) => due.push(key), clock);
  deadlines.set("a", clock() + 3_600_000);
  shift = -1_000; // set back: not early
  time.tick(3_600_000);
  assertEquals(due, []);
  time.tick(1_000);
  assertEquals(due, ["a"]);
  deadlines.set("b", clock() + 3_600_000);
  shift = 3_600_000; // set forward, or asleep: within a minute
  time.tick(60_000);
  assertEquals(due, ["a", "b"]);
});

Deno.test("Deadlines keeps no memory of deadlines that were replaced", () => {
  using time = new FakeTime();
  const random = new SeededRandom(7);
  const wanted = new Map<number, number>();
  const due = new Map<number, number>();
  const start = Date.now();
  const deadlines = new Deadlines<number>((key) => {
    due.set(key, Date.now() - start);
  });
  for (let i = 0; i < 20_000; i++) {
    const key = random.integer(20);
    const ms = 1 + random.integer(5_000);
    wanted.set(key, ms);
    deadlines.set(key, start + ms);
  }
  time.tick(10_000);
  assertEquals(
    [...due].toSorted(([a], [b]) => a - b),
    [...wanted].toSorted(([a], [b]) => a - b),
  );
});

Deno.test("Deadlines may be set again by the callback", () => {
  using time = new FakeTime();
  let count = 0;
  const deadlines = new Deadlines<string>((key) => {
    if (++count < 5) deadlines.set(key, Date.now() + 10);
  });
  deadlines.set("a", Date.now() + 10);
  time.tick(1_000);
  assertStrictEquals(count, 5);
});
