// What the other tests rely on in the standard library. It must pass with the
// stand-ins of `tools/std/` and, by `deno task test:jsr`, with the real thing.

import {
  assert,
  assertAlmostEquals,
  assertArrayIncludes,
  assertEquals,
  assertExists,
  assertFalse,
  assertGreater,
  assertGreaterOrEqual,
  assertInstanceOf,
  AssertionError,
  assertIsError,
  assertLess,
  assertLessOrEqual,
  assertMatch,
  assertNotEquals,
  assertNotStrictEquals,
  assertObjectMatch,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
  fail,
  unreachable,
} from "@std/assert";
import { abortable, deadline, delay } from "@std/async";
import { assertSpyCall, assertSpyCalls, spy, stub } from "@std/testing/mock";
import { FakeTime, TimeError } from "@std/testing/time";
import { assertType, type IsExact, type IsNever } from "@std/testing/types";

Deno.test("assertions narrow the type of what they are given", async () => {
  const text = "a" as string | undefined;
  assertExists(text);
  assertType<IsExact<typeof text, string>>(true);

  const either = "a" as string | number;
  assert(typeof either === "string");
  assertType<IsExact<typeof either, string>>(true);

  const date: unknown = new Date();
  assertInstanceOf(date, Date);
  assertType<IsExact<typeof date, Date>>(true);

  const three: unknown = 3;
  assertStrictEquals(three, 3 as const);
  assertType<IsExact<typeof three, 3>>(true);

  const error: unknown = new RangeError("far off");
  assertIsError(error, RangeError, "far");
  assertType<IsExact<typeof error, RangeError>>(true);

  const rejected = await assertRejects(
    () => Promise.reject(error),
    RangeError,
    "off",
  );
  assertType<IsExact<typeof rejected, RangeError>>(true);
  assertStrictEquals(rejected, error);

  const thrown = assertThrows(() => fail("now"), AssertionError, "now");
  assertType<IsExact<typeof thrown, AssertionError>>(true);
});

Deno.test("assertions throw when they do not hold", async () => {
  const failing: (() => void)[] = [
    () => assert(0),
    () => assertAlmostEquals(1, 1.1),
    () => assertArrayIncludes([1, 2], [3]),
    () => assertEquals({ a: [1] }, { a: [2] }),
    () => assertExists(null),
    () => assertFalse(1),
    () => assertGreater(1, 1),
    () => assertGreaterOrEqual(1, 2),
    () => assertInstanceOf([], Date),
    () => assertIsError(new Error(), RangeError),
    () => assertLess(1, 1),
    () => assertLessOrEqual(2, 1),
    () => assertMatch("a", /b/),
    () => assertNotEquals([1], [1]),
    () => assertNotStrictEquals(1, 1),
    () => assertObjectMatch({ a: 1, b: 2 }, { a: 2 }),
    () => assertStrictEquals<unknown>([], []),
    () => assertStringIncludes("abc", "d"),
    () => assertThrows(() => {}),
    () => fail(),
    () => unreachable(),
  ];
  for (const assertion of failing) assertThrows(assertion, AssertionError);
  await assertRejects(
    () => assertRejects(() => Promise.resolve()),
    AssertionError,
  );
});

Deno.test("IsExact tells types apart", () => {
  assertType<IsExact<string | number, number | string>>(true);
  assertType<IsExact<{ a: 1 } & { b: 2 }, { a: 1; b: 2 }>>(true);
  assertType<IsExact<{ a?: 1 }, { a: 1 }>>(false);
  assertType<IsExact<string, unknown>>(false);
  // deno-lint-ignore no-explicit-any
  assertType<IsExact<{ a: any }, { a: unknown }>>(false);
  assertType<IsNever<never>>(true);
  // @ts-expect-error They are not the same.
  assertType<IsExact<string, number>>(true);
});

Deno.test("delay(), deadline() and abortable() end as they are told", async () => {
  const never = new Promise<never>(() => {});
  assertEquals(await deadline(Promise.resolve(1), 60_000), 1);
  const late = await assertRejects(() => deadline(never, 1), DOMException);
  assertEquals(late.name, "TimeoutError");
  const aborted = AbortSignal.abort(new RangeError());
  await assertRejects(() => delay(60_000, { signal: aborted }), RangeError);
  await assertRejects(() => abortable(never, aborted), RangeError);
});

Deno.test("FakeTime stands in for Date and the timers", () => {
  const real = [Date, setTimeout, clearInterval, AbortSignal.timeout];
  {
    using time = new FakeTime(1_000);
    assertEquals(time.start, 1_000);
    const log: unknown[] = [];
    const note = (what: string) => log.push(what, Date.now());

    const interval = setInterval(note, 10, "interval");
    setTimeout(note, 10, "second");
    setTimeout(() => setTimeout(note, 0, "nested"), 10);
    clearTimeout(setTimeout(note, 10, "never"));
    time.tick(9);
    assertEquals(log, []);
    time.tick(1);
    assertEquals(
      log.splice(0),
      ["interval", 1_010, "second", 1_010, "nested", 1_010],
    );
    time.tick(25);
    assertEquals(log.splice(0), ["interval", 1_020, "interval", 1_030]);
    clearInterval(interval);
    assertFalse(time.next());

    const signal = AbortSignal.timeout(50);
    assertEquals([time.next(), time.now, new Date().getTime()], [
      true,
      1_085,
      1_085,
    ]);
    assertEquals(signal.reason.name, "TimeoutError");

    setTimeout(() => setTimeout(note, 5, "last"), 5);
    time.runAll();
    assertEquals(log, ["last", 1_095]);
    setTimeout(() => fail("thrown by a timer"), 5);
    assertThrows(() => time.tick(60), AssertionError, "thrown by a timer");
    assertEquals(time.now, 1_100);
    assertThrows(() => new FakeTime(), TimeError);
    assertThrows(() => time.now = 0, RangeError);
  }
  assertEquals([Date, setTimeout, clearInterval, AbortSignal.timeout], real);
  const time = new FakeTime();
  FakeTime.restore();
  assertThrows(() => time.restore(), TimeError);
});

Deno.test("FakeTime runs what is pending before it goes on", async () => {
  using time = new FakeTime();
  let laps = 0;
  const running = (async () => {
    while (laps < 3) {
      await delay(10);
      laps++;
    }
  })();
  await time.tickAsync(10);
  await time.runMicrotasks();
  assertEquals(laps, 1);
  assert(await time.nextAsync());
  await time.runAllAsync();
  await running;
  assertEquals([laps, time.now - time.start], [3, 30]);
});

Deno.test("spy() and stub() record their calls", () => {
  const add = spy((a: number, b: number) => a + b);
  add(1, 2);
  assertSpyCalls(add, 1);
  assertSpyCall(add, 0, { args: [1, 2], returned: 3 });
  assertThrows(() => assertSpyCalls(add, 2), AssertionError);
  assertThrows(() => assertSpyCall(add, 0, { returned: 4 }), AssertionError);

  const thrower = spy(() => fail("thrown by a spy"));
  assertThrows(thrower, AssertionError);
  assertSpyCall(thrower, 0, { error: { msgIncludes: "by a spy" } });

  const object = { double: (value: number) => value * 2 };
  {
    using doubled = spy(object, "double");
    assertEquals(object.double(2), 4);
    assertSpyCall(doubled, 0, { self: object, args: [2], returned: 4 });
    assertThrows(() => stub(object, "double"));
  }
  {
    using doubled = stub(object, "double", () => 0);
    assertEquals(object.double(2), 0);
    assertSpyCalls(doubled, 1);
  }
  assertEquals(object.double(2), 4);
});
