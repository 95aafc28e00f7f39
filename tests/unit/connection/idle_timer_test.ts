import { assertEquals } from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { Silence } from "../../../core/connection/idle_timer.ts";

Deno.test("Silence is noticed after the time, and within a quarter more", () => {
  using time = new FakeTime();
  const silence = new Silence(1_000);
  let count = 0;
  silence.start(() => count++);
  time.tick(10);
  silence.heard();
  time.tick(1_000);
  assertEquals(count, 0);
  time.tick(240);
  assertEquals(count, 1);
});

Deno.test("Silence is told once, and leaves no timer", () => {
  using time = new FakeTime();
  const silence = new Silence(1_000);
  let count = 0;
  silence.start(() => count++);
  time.tick(100_000);
  assertEquals(count, 1);
  assertEquals(time.next(), false);
});

Deno.test("Silence is none as long as something is heard", () => {
  using time = new FakeTime();
  const silence = new Silence(1_000);
  let count = 0;
  silence.start(() => count++);
  for (let i = 0; i < 100; i++) {
    time.tick(999);
    silence.heard();
  }
  assertEquals(count, 0);
  silence.stop();
  assertEquals(time.next(), false);
});

Deno.test("Silence that is stopped tells nothing", () => {
  using time = new FakeTime();
  const silence = new Silence(1_000);
  let count = 0;
  silence.start(() => count++);
  time.tick(900);
  silence.stop();
  time.tick(10_000);
  assertEquals(count, 0);
});

Deno.test("Silence of a page that was frozen is not taken for the server's", () => {
  // A page that wakes up gets one late call of the timer, and then its messages.
  const calls: (() => void)[] = [];
  const { setInterval: real } = globalThis;
  Reflect.set(globalThis, "setInterval", (call: () => void) => {
    calls.push(call);
    return 0;
  });
  try {
    const silence = new Silence(1_000);
    let count = 0;
    silence.start(() => count++);
    const late = () => calls.forEach((call) => call());
    late();
    late();
    late();
    silence.heard();
    late();
    assertEquals(count, 0);
  } finally {
    Reflect.set(globalThis, "setInterval", real);
  }
});

Deno.test("Silence of more than a timer can wait for is none at once", () => {
  using time = new FakeTime();
  const silence = new Silence(Number.MAX_VALUE);
  let count = 0;
  silence.start(() => count++);
  time.tick(1_000_000);
  assertEquals(count, 0);
  silence.stop();
});
