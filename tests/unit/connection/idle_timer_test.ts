import { assertEquals } from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { stub } from "@std/testing/mock";
import {
  IdleTimer,
  type LivenessCheck,
} from "../../../core/connection/idle_timer.ts";

Deno.test("IdleTimer is noticed after the time, and within a quarter more", () => {
  using time = new FakeTime();
  const silence = new IdleTimer(1_000);
  let count = 0;
  silence.start(() => count++);
  time.tick(10);
  silence.reset();
  time.tick(1_000);
  assertEquals(count, 0);
  time.tick(240);
  assertEquals(count, 1);
});

Deno.test("IdleTimer is told once, and leaves no timer", () => {
  using time = new FakeTime();
  const silence = new IdleTimer(1_000);
  let count = 0;
  silence.start(() => count++);
  time.tick(100_000);
  assertEquals(count, 1);
  assertEquals(time.next(), false);
});

Deno.test("IdleTimer is none as long as something is heard", () => {
  using time = new FakeTime();
  const silence = new IdleTimer(1_000);
  let count = 0;
  silence.start(() => count++);
  for (let i = 0; i < 100; i++) {
    time.tick(999);
    silence.reset();
  }
  assertEquals(count, 0);
  silence.stop();
  assertEquals(time.next(), false);
});

Deno.test("IdleTimer that is stopped tells nothing", () => {
  using time = new FakeTime();
  const silence = new IdleTimer(1_000);
  let count = 0;
  silence.start(() => count++);
  time.tick(900);
  silence.stop();
  time.tick(10_000);
  assertEquals(count, 0);
});

Deno.test("IdleTimer of a page that was frozen is not taken for the server's", () => {
  // A page that wakes up gets one late call of the timer, and then its messages.
  const calls: (() => void)[] = [];
  const { setInterval: real } = globalThis;
  Reflect.set(globalThis, "setInterval", (call: () => void) => {
    calls.push(call);
    return 0;
  });
  try {
    const silence = new IdleTimer(1_000);
    let count = 0;
    silence.start(() => count++);
    const late = () => calls.forEach((call) => call());
    late();
    late();
    late();
    silence.reset();
    late();
    assertEquals(count, 0);
  } finally {
    Reflect.set(globalThis, "setInterval", real);
  }
});

Deno.test("IdleTimer of more than a timer can wait for is none at once", () => {
  using time = new FakeTime();
  const silence = new IdleTimer(Number.MAX_VALUE);
  let count = 0;
  silence.start(() => count++);
  time.tick(1_000_000);
  assertEquals(count, 0);
  silence.stop();
});

/** A timer and a clock that do what a test says. */
class Looks implements Disposable {
  readonly told: string[] = [];
  #time = 0;
  #look = () => {};
  readonly #now = stub(performance, "now", () => this.#time);
  readonly #setInterval = globalThis.setInterval;

  constructor() {
    Reflect.set(globalThis, "setInterval", (look: () => void) => {
      this.#look = look;
      return 0;
    });
  }

  /** The next look comes after so many milliseconds. */
  after(milliseconds: number): string[] {
    this.#time += milliseconds;
    this.#look();
    return this.told.splice(0);
  }

  /** Watches a peer that can be asked. */
  watch(silence: IdleTimer, known: Partial<LivenessCheck> = {}): void {
    silence.start(() => this.told.push("lost"), {
      ask: () => this.told.push("ask"),
      answers: () => 0,
      sent: () => 0,
      buffered: () => 0,
      ...known,
    });
  }

  [Symbol.dispose](): void {
    this.#now.restore();
    Reflect.set(globalThis, "setInterval", this.#setInterval);
  }
}

Deno.test("IdleTimer after a freeze is told only once the peer could be heard", () => {
  using looks = new Looks();
  const silence = new IdleTimer(1_000);
  let answers = 0;
  looks.watch(silence, { answers: () => answers });
  assertEquals(looks.after(250), []);
  assertEquals(looks.after(250), ["ask"]);
  assertEquals(looks.after(3_600_000), ["ask"]); // the machine was asleep
  silence.reset();
  answers = 2;
  assertEquals(looks.after(250), []);
  assertEquals(looks.after(250), []);
  assertEquals(looks.after(250), ["ask"]);
  assertEquals(looks.after(3_600_000), ["ask"]);
  assertEquals(looks.after(250), ["lost"]);
});

Deno.test("IdleTimer in a page whose timers are slowed down is counted in time", () => {
  using looks = new Looks();
  const silence = new IdleTimer(30_000);
  looks.watch(silence);
  // A hidden page in Chromium runs a timer once a minute.
  assertEquals(looks.after(60_000), ["ask"]);
  silence.reset();
  assertEquals(looks.after(60_000), []);
  assertEquals(looks.after(60_000), ["ask"]);
  assertEquals(looks.after(60_000), ["lost"]);
});

Deno.test("IdleTimer of a peer that cannot be asked is counted in time, too", () => {
  using looks = new Looks();
  const silence = new IdleTimer(30_000);
  silence.start(() => looks.told.push("lost"));
  assertEquals(looks.after(60_000), []);
  assertEquals(looks.after(60_000), ["lost"]);
});

Deno.test("IdleTimer is none while what was sent before the ping is on its way", () => {
  using looks = new Looks();
  const silence = new IdleTimer(1_000);
  looks.watch(silence, { sent: () => 64 * 1024 }); // four seconds more
  const told = Array.from({ length: 19 }, () => looks.after(250));
  assertEquals(told.flat(), ["ask"]);
  assertEquals(looks.after(250), ["lost"]);
});

Deno.test("IdleTimer is none while a full buffer empties", () => {
  using looks = new Looks();
  const silence = new IdleTimer(1_000);
  let buffered = 10_000;
  looks.watch(silence, { sent: () => 10_000, buffered: () => buffered });
  for (let i = 0; i < 40; i++) {
    assertEquals(looks.after(250), []);
    buffered -= 100;
  }
  const told = Array.from({ length: 8 }, () => looks.after(250));
  assertEquals(told.flat(), ["ask", "lost"]);
});
