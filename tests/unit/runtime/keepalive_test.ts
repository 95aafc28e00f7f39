import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { stub } from "@std/testing/mock";
import { FakeTime } from "@std/testing/time";
import { Keepalive } from "../../../core/runtime/keepalive.ts";
import { FakeSocket } from "../../support/fake_socket.ts";
import { setWallClock } from "../../support/wall_clock.ts";

const METHOD = Symbol("[[serverHandleIdleTimeout]]");
const DURATION = Symbol("[[idleTimeout]]");
const TIMER = Symbol("[[idleTimeoutTimeout]]");

/** A socket that keeps what Deno's keep, and pings and gives up as they do. */
class DenoSocket extends FakeSocket {
  readonly told: string[] = [];
  /** A ping cannot be written while it is not settled. */
  room: Promise<void> = Promise.resolve();
  declare [DURATION]: number;
  declare [TIMER]: ReturnType<typeof setTimeout> | null;

  constructor(seconds = 1) {
    super();
    this[DURATION] = seconds;
    this[TIMER] = null;
    this.readyState = 1;
  }

  [METHOD](): void {
    if (!this[DURATION]) return;
    if (this[TIMER] !== null) clearTimeout(this[TIMER]);
    this[TIMER] = setTimeout(async () => {
      await this.room;
      this.told.push(`ping ${Date.now()}`);
      this[TIMER] = setTimeout(() => {
        this.told.push(`lost ${Date.now()}`);
      }, this[DURATION] / 2 * 1000);
    }, this[DURATION] / 2 * 1000);
  }

  /** Opens, or hears a message or a pong. */
  hear(): void {
    this[METHOD]();
  }
}

/** Gives the keepalive what it takes from the runtime. */
function withDeno(): Disposable {
  const { get } = Reflect;
  const core = {
    cancelTimer: (timer: ReturnType<typeof setTimeout>) => clearTimeout(timer),
  };
  return stub(
    Reflect,
    "get",
    (from: object, key: PropertyKey) =>
      from === globalThis ? { internal: "p", p: { core } } : get(from, key),
  );
}

/** Lets time pass in small steps, as promises have to settle between them. */
async function pass(time: FakeTime, milliseconds: number): Promise<void> {
  for (let i = 0; i < milliseconds; i += 5) await time.tickAsync(5);
}

Deno.test("Keepalive pings after half of the timeout and closes after all of it", async () => {
  using time = new FakeTime(0);
  using _ = withDeno();
  const keepalive = new Keepalive(1_000);
  const socket = new DenoSocket();
  assert(keepalive.watch(socket));
  socket.hear();
  await pass(time, 3_000);
  const [ping = "", , lost = ""] = socket.told;
  assertEquals(socket.told.map((told) => told.replace(/\d+/, "")), [
    "ping ",
    "ping ",
    "lost ",
  ]);
  // At most a tick late, and never early.
  const at = (told: string) => Number(told.split(" ")[1]);
  assert(at(ping) >= 500 && at(ping) <= 540, ping);
  assert(at(lost) >= 1_000 && at(lost) <= 1_060, lost);
  assertStrictEquals(time.next(), false, "A timer is left");
});

Deno.test("Keepalive creates no timers for messages", async () => {
  using time = new FakeTime(0);
  using _ = withDeno();
  const keepalive = new Keepalive(1_000);
  const socket = new DenoSocket();
  const watch = keepalive.watch(socket);
  using timers = stub(globalThis, "setTimeout", () => {
    throw new Error("A timer was made");
  });
  for (let i = 0; i < 500; i++) {
    socket.hear();
    watch?.reset();
    await time.tickAsync(10);
  }
  assertEquals([socket.told, timers.calls.length], [[], 0]);
  watch?.stop();
  assertStrictEquals(time.next(), false);
});

Deno.test("Keepalive closes a peer that stops answering", async () => {
  using time = new FakeTime(0);
  using _ = withDeno();
  const keepalive = new Keepalive(1_000);
  const socket = new DenoSocket();
  keepalive.watch(socket);
  socket.hear();
  for (let i = 1; i <= 5; i++) {
    while (socket.told.length < i) await time.tickAsync(5);
    socket.hear();
  }
  const answered = Date.now();
  await pass(time, 3_000);
  const lost = socket.told.find((told) => told.startsWith("lost"));
  const after = Number(lost?.split(" ")[1]) - answered;
  assert(after >= 1_000 && after <= 1_060, `${after}`);
});

Deno.test("Keepalive does not close a peer whose ping is not sent yet", async () => {
  using time = new FakeTime(0);
  using _ = withDeno();
  const keepalive = new Keepalive(1_000);
  const socket = new DenoSocket();
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.room = promise;
  keepalive.watch(socket);
  socket.hear();
  await pass(time, 4_000);
  assertEquals(socket.told, []);
  resolve();
  await pass(time, 10);
  socket.hear(); // it answers
  await pass(time, 400);
  assertStrictEquals(socket.told.length, 1);
  keepalive.watch(socket)?.stop();
});

Deno.test("Keepalive does not count the time while the machine slept", async () => {
  using time = new FakeTime(0);
  using _ = withDeno();
  const keepalive = new Keepalive(1_000);
  const socket = new DenoSocket();
  const watch = keepalive.watch(socket);
  socket.hear();
  await pass(time, 600);
  assertStrictEquals(socket.told.length, 1);
  // The wall's clock goes on, and the timer is late once.
  using _later = setWallClock(() => 86_400_000);
  await pass(time, 300);
  assertStrictEquals(socket.told.length, 1);
  socket.hear();
  await pass(time, 400);
  assertStrictEquals(socket.told.length, 1);
  watch?.stop();
});

Deno.test("Keepalive has one timer for all sockets, and none without sockets", async () => {
  using time = new FakeTime(0);
  using _ = withDeno();
  const keepalive = new Keepalive(30_000);
  assertStrictEquals(time.next(), false);
  using intervals = stub(globalThis, "setInterval", setInterval);
  const sockets = Array.from({ length: 10_000 }, () => new DenoSocket());
  const watches = sockets.map((socket) => keepalive.watch(socket));
  assertStrictEquals(intervals.calls.length, 0); // none is open
  for (const socket of sockets) socket.hear();
  assertEquals([intervals.calls.length, keepalive.size], [1, 10_000]);
  await time.tickAsync(14_000);
  const [first] = sockets;
  first?.hear();
  await time.tickAsync(1_600);
  const pinged = sockets.filter(({ told }) => told.length > 0);
  assertEquals([pinged.length, first?.told], [9_999, []]);
  for (const watch of watches) watch?.stop();
  for (const socket of sockets) clearTimeout(socket[TIMER] ?? undefined);
  assertStrictEquals(keepalive.size, 0);
  assertStrictEquals(time.next(), false);
});

Deno.test("Keepalive.watch() returns undefined without a timeout or private API", () => {
  assertStrictEquals(new Keepalive(0).watch(new DenoSocket()), undefined);
  assertStrictEquals(new Keepalive(1).watch(new FakeSocket()), undefined);
  class Changed extends FakeSocket {
    [DURATION] = 1;
    [METHOD](): void {}
  }
  assertStrictEquals(new Keepalive(1).watch(new Changed()), undefined);
});

Deno.test("Keepalive stops permanently, even before the socket opens", () => {
  using time = new FakeTime(0);
  using _ = withDeno();
  const keepalive = new Keepalive(1_000);
  const socket = new DenoSocket();
  keepalive.watch(socket)?.stop();
  socket.hear();
  assertEquals([keepalive.size, time.next()], [0, false]);
});

Deno.test("Keepalive reports a flood of pongs once", async () => {
  using time = new FakeTime(0);
  using _ = withDeno();
  const keepalive = new Keepalive(64_000);
  const socket = new DenoSocket();
  const watched = keepalive.watch(socket);
  let floods = 0;
  watched?.attach({ sentBytes: 0, pongsFlooded: () => floods++ });
  socket.hear();
  // Messages are none, and what is spread over time is no flood.
  for (let i = 0; i < 5_000; i++) {
    socket.hear();
    watched?.reset();
  }
  for (let i = 0; i < 4; i++) {
    for (let j = 0; j < 1_000; j++) socket.hear();
    await time.tickAsync(1_000);
  }
  assertStrictEquals(floods, 0);
  for (let i = 0; i < 2_000; i++) socket.hear();
  assertStrictEquals(floods, 1);
  watched?.stop();
});
