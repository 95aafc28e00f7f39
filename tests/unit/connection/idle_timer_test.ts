import { assertEquals } from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { stub } from "@std/testing/mock";
import {
  IdleTimer,
  type PeerProbe,
} from "../../../core/connection/idle_timer.ts";

Deno.test("IdleTimer detects silence within a quarter more than the timeout", () => {
  using time = new FakeTime();
  const timer = new IdleTimer(1_000);
  let count = 0;
  timer.start(() => count++);
  time.tick(10);
  timer.reset();
  time.tick(1_000);
  assertEquals(count, 0);
  time.tick(240);
  assertEquals(count, 1);
});

Deno.test("IdleTimer calls back once and stops its timer", () => {
  using time = new FakeTime();
  const timer = new IdleTimer(1_000);
  let count = 0;
  timer.start(() => count++);
  time.tick(100_000);
  assertEquals(count, 1);
  assertEquals(time.next(), false);
});

Deno.test("IdleTimer.reset() keeps the timer from firing", () => {
  using time = new FakeTime();
  const timer = new IdleTimer(1_000);
  let count = 0;
  timer.start(() => count++);
  for (let i = 0; i < 100; i++) {
    time.tick(999);
    timer.reset();
  }
  assertEquals(count, 0);
  timer.stop();
  assertEquals(time.next(), false);
});

Deno.test("IdleTimer.stop() cancels the callback", () => {
  using time = new FakeTime();
  const timer = new IdleTimer(1_000);
  let count = 0;
  timer.start(() => count++);
  time.tick(900);
  timer.stop();
  time.tick(10_000);
  assertEquals(count, 0);
});

Deno.test("IdleTimer does not count the time while the page was frozen", () => {
  // A page that wakes up gets one late call of the timer, and then its messages.
  const calls: (() => void)[] = [];
  const { setInterval: real } = globalThis;
  Reflect.set(globalThis, "setInterval", (call: () => void) => {
    calls.push(call);
    return 0;
  });
  try {
    const timer = new IdleTimer(1_000);
    let count = 0;
    timer.start(() => count++);
    const late = () => calls.forEach((call) => call());
    late();
    late();
    late();
    timer.reset();
    late();
    assertEquals(count, 0);
  } finally {
    Reflect.set(globalThis, "setInterval", real);
  }
});

Deno.test("IdleTimer supports timeouts beyond the maximum delay", () => {
  using time = new FakeTime();
  const timer = new IdleTimer(Number.MAX_VALUE);
  let count = 0;
  timer.start(() => count++);
  time.tick(1_000_000);
  assertEquals(count, 0);
  timer.stop();
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

  /** Runs the next check after this many milliseconds. */
  after(milliseconds: number): string[] {
    this.#time += milliseconds;
    this.#look();
    return this.told.splice(0);
  }

  /** Starts a timer that can ping its peer. */
  watch(timer: IdleTimer, known: Partial<PeerProbe> = {}): void {
    timer.start(() => this.told.push("lost"), {
      ping: () => this.told.push("ping"),
      pongs: () => 0,
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

Deno.test("IdleTimer reports a peer after a freeze only if it stays silent", () => {
  using looks = new Looks();
  const timer = new IdleTimer(1_000);
  let pongs = 0;
  looks.watch(timer, { pongs: () => pongs });
  assertEquals(looks.after(250), []);
  assertEquals(looks.after(250), ["ping"]);
  assertEquals(looks.after(3_600_000), ["ping"]); // the machine slept
  timer.reset();
  pongs = 2;
  assertEquals(looks.after(250), []);
  assertEquals(looks.after(250), []);
  assertEquals(looks.after(250), ["ping"]);
  assertEquals(looks.after(3_600_000), ["ping"]);
  assertEquals(looks.after(250), ["lost"]);
});

Deno.test("IdleTimer counts elapsed time if timers are throttled", () => {
  using looks = new Looks();
  const timer = new IdleTimer(30_000);
  looks.watch(timer);
  // A hidden page in Chromium runs a timer once a minute.
  assertEquals(looks.after(60_000), ["ping"]);
  timer.reset();
  assertEquals(looks.after(60_000), []);
  assertEquals(looks.after(60_000), ["ping"]);
  assertEquals(looks.after(60_000), ["lost"]);
});

Deno.test("IdleTimer counts elapsed time without pings", () => {
  using looks = new Looks();
  const timer = new IdleTimer(30_000);
  timer.start(() => looks.told.push("lost"));
  assertEquals(looks.after(60_000), []);
  assertEquals(looks.after(60_000), ["lost"]);
});

Deno.test("IdleTimer extends the timeout for bytes sent before the ping", () => {
  using looks = new Looks();
  const timer = new IdleTimer(1_000);
  looks.watch(timer, { sent: () => 64 * 1024 }); // four seconds more
  const told = Array.from({ length: 19 }, () => looks.after(250));
  assertEquals(told.flat(), ["ping"]);
  assertEquals(looks.after(250), ["lost"]);
});

Deno.test("IdleTimer counts progress of a full buffer as activity", () => {
  using looks = new Looks();
  const timer = new IdleTimer(1_000);
  let buffered = 10_000;
  looks.watch(timer, { sent: () => 10_000, buffered: () => buffered });
  for (let i = 0; i < 40; i++) {
    assertEquals(looks.after(250), []);
    buffered -= 100;
  }
  const told = Array.from({ length: 8 }, () => looks.after(250));
  assertEquals(told.flat(), ["ping", "lost"]);
});

Deno.test("IdleTimer.probe() gives up a peer that does not answer in time", () => {
  for (const isHeard of [true, false]) {
    using time = new FakeTime();
    const told: string[] = [];
    const timer = new IdleTimer(30_000);
    let sent = 0;
    timer.start(() => told.push("lost"), {
      ping: () => told.push("ping"),
      pongs: () => 0,
      sent: () => sent,
      buffered: () => 0,
    });
    timer.reset();
    sent = 16 * 1024; // which takes a second more, on a slow line
    timer.probe(4_000);
    timer.probe(4_000); // one is under way
    assertEquals(told, ["ping"]);
    time.tick(4_999);
    if (isHeard) timer.reset();
    assertEquals(told, ["ping"]);
    time.tick(1);
    assertEquals(told, isHeard ? ["ping"] : ["ping", "lost"]);
    if (isHeard) {
      timer.probe(4_000);
      assertEquals(told, ["ping", "ping"]);
    }
    timer.stop();
    timer.probe(4_000);
    assertEquals(time.next(), false);
  }
});

Deno.test("IdleTimer.probe() asks once more after a freeze", () => {
  using time = new FakeTime();
  const told: string[] = [];
  const timer = new IdleTimer(Number.MAX_VALUE);
  timer.start(() => told.push("lost"), {
    ping: () => told.push("ping"),
    pongs: () => 0,
    sent: () => 0,
    buffered: () => 0,
  });
  const start = time.now;
  let frozen = 0;
  using _now = stub(performance, "now", () => time.now - start + frozen);
  timer.probe(4_000);
  frozen = 3_600_000;
  time.tick(4_000);
  assertEquals(told, ["ping", "ping"]);
  time.tick(4_000);
  assertEquals(told, ["ping", "ping", "lost"]);
});

Deno.test("IdleTimer.probe() asks nothing of a peer that cannot be pinged", () => {
  using time = new FakeTime();
  const timer = new IdleTimer(30_000);
  let count = 0;
  timer.start(() => count++);
  timer.probe(1);
  time.tick(1_000);
  assertEquals(count, 0);
  timer.stop();
});
