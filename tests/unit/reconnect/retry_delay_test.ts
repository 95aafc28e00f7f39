import { assertEquals, assertRejects } from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { waitForRetry } from "../../../core/reconnect/retry_delay.ts";

/** A pause that tells when it is over. */
class Waiting implements Disposable {
  readonly time = new FakeTime();
  readonly stop = new AbortController();
  readonly start = this.time.now;
  over: number | undefined;
  readonly promise: Promise<void>;

  constructor(delay: number, isFixed = false) {
    const { signal } = this.stop;
    this.promise = waitForRetry(delay, { signal, isFixed }).then(() => {
      this.over = this.time.now - this.start;
    });
    this.promise.catch(() => {});
  }

  [Symbol.dispose](): void {
    this.time.restore();
  }
}

/** A browser's network, for as long as it is in use. */
class Network implements Disposable {
  constructor(isOnline: boolean) {
    this.#set(isOnline);
  }

  #set(value: boolean): void {
    Object.defineProperty(navigator, "onLine", { value, configurable: true });
  }

  comesBack(): void {
    this.#set(true);
    dispatchEvent(new Event("online"));
  }

  goesAway(): void {
    this.#set(false);
    dispatchEvent(new Event("offline"));
  }

  [Symbol.dispose](): void {
    Reflect.deleteProperty(navigator, "onLine");
  }
}

Deno.test("waitForRetry() is over after its time", async () => {
  using waiting = new Waiting(100);
  await waiting.time.tickAsync(99);
  assertEquals(waiting.over, undefined);
  await waiting.time.tickAsync(1);
  assertEquals(waiting.over, 100);
});

Deno.test("waitForRetry() rejects with the signal's reason, and leaves no timer", async () => {
  using waiting = new Waiting(100);
  await waiting.time.tickAsync(50);
  waiting.stop.abort(new Error("enough"));
  await assertRejects(() => waiting.promise, Error, "enough");
  assertEquals(waiting.time.next(), false);
});

Deno.test("waitForRetry() is over as soon as the network is back", async () => {
  using network = new Network(false);
  using waiting = new Waiting(100);
  await waiting.time.tickAsync(40);
  network.comesBack();
  await waiting.promise;
  assertEquals(waiting.over, 40);
  assertEquals(waiting.time.next(), false);
});

Deno.test("waitForRetry() that is fixed lasts even if the network is back", async () => {
  using network = new Network(false);
  using waiting = new Waiting(100, true);
  await waiting.time.tickAsync(40);
  network.comesBack();
  await waiting.time.tickAsync(59);
  assertEquals(waiting.over, undefined);
  await waiting.time.tickAsync(1);
  assertEquals(waiting.over, 100);
});

for (const isFixed of [false, true]) {
  Deno.test(`waitForRetry() lasts for as long as there is no network, fixed: ${isFixed}`, async () => {
    using network = new Network(true);
    using waiting = new Waiting(100, isFixed);
    network.goesAway();
    await waiting.time.tickAsync(10_000);
    assertEquals(waiting.over, undefined);
    network.comesBack();
    await waiting.promise;
    assertEquals(waiting.over, 10_000);
  });
}

Deno.test("waitForRetry() without a network ends when it is aborted", async () => {
  using _network = new Network(false);
  using waiting = new Waiting(100);
  await waiting.time.tickAsync(10_000);
  waiting.stop.abort(new Error("enough"));
  await assertRejects(() => waiting.promise, Error, "enough");
});

Deno.test("waitForRetry() hears nothing any more once it is over", async () => {
  using network = new Network(true);
  using waiting = new Waiting(100);
  await waiting.time.tickAsync(100);
  network.comesBack();
  waiting.stop.abort();
  await waiting.promise;
  assertEquals(waiting.over, 100);
});
