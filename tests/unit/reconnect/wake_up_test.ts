import { assertEquals, assertRejects } from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { FakePage } from "../../support/fake_page.ts";
import { waitForRetry } from "../../../core/reconnect/wake_up.ts";

/** A pause that tells when it is over. */
class Waiting implements Disposable {
  readonly time = new FakeTime();
  readonly #now = performance.now;
  readonly stop = new AbortController();
  readonly skip = new AbortController();
  readonly start = this.time.now;
  over: number | undefined;
  readonly promise: Promise<void>;

  constructor(delay: number, isFixed = false) {
    performance.now = () => this.time.now - this.start;
    const { signal } = this.stop;
    const skip = this.skip.signal;
    this.promise = waitForRetry(delay, { signal, skip, isFixed }).then(() => {
      this.over = this.time.now - this.start;
    });
    this.promise.catch(() => {});
  }

  [Symbol.dispose](): void {
    performance.now = this.#now;
    this.time.restore();
  }
}

Deno.test("waitForRetry() resolves after the delay", async () => {
  using waiting = new Waiting(100);
  await waiting.time.tickAsync(99);
  assertEquals(waiting.over, undefined);
  await waiting.time.tickAsync(1);
  assertEquals(waiting.over, 100);
});

Deno.test("waitForRetry() rejects with the reason of the signal and clears its timer", async () => {
  using waiting = new Waiting(100);
  await waiting.time.tickAsync(50);
  waiting.stop.abort(new Error("enough"));
  await assertRejects(() => waiting.promise, Error, "enough");
  assertEquals(waiting.time.next(), false);
});

Deno.test("waitForRetry() is over as soon as the network is back", async () => {
  using page = new FakePage();
  page.network(false);
  using waiting = new Waiting(100);
  await waiting.time.tickAsync(40);
  page.network(true);
  await waiting.promise;
  assertEquals(waiting.over, 40);
  assertEquals(waiting.time.next(), false);
});

Deno.test("waitForRetry() that is fixed lasts even if the network is back", async () => {
  using page = new FakePage();
  page.network(false);
  using waiting = new Waiting(100, true);
  await waiting.time.tickAsync(40);
  page.network(true);
  await waiting.time.tickAsync(59);
  assertEquals(waiting.over, undefined);
  await waiting.time.tickAsync(1);
  assertEquals(waiting.over, 100);
});

for (const isFixed of [false, true]) {
  Deno.test(`waitForRetry() lasts while there is no network, but not for ever, fixed: ${isFixed}`, async () => {
    using page = new FakePage();
    {
      using waiting = new Waiting(100, isFixed);
      page.network(false);
      await waiting.time.tickAsync(10_000);
      assertEquals(waiting.over, undefined);
      page.show(true); // which says nothing of the network
      await waiting.time.tickAsync(0);
      assertEquals(waiting.over, undefined);
      page.network(true);
      await waiting.promise;
      assertEquals(waiting.over, 10_000);
    }
    // The browser may be wrong.
    using waiting = new Waiting(100, isFixed);
    page.network(false);
    await waiting.time.tickAsync(30_099);
    assertEquals(waiting.over, undefined);
    await waiting.time.tickAsync(1);
    assertEquals(waiting.over, 30_100);
    assertEquals(waiting.time.next(), false);
    assertEquals(page.listeners, 0);
  });

  Deno.test(`waitForRetry() goes by the clock when a page is shown again, fixed: ${isFixed}`, async () => {
    using page = new FakePage();
    using waiting = new Waiting(60_000, isFixed);
    // The timer of a hidden page is late.
    performance.now = () => 60_000;
    page.show(true);
    await waiting.promise;
    assertEquals(waiting.over, 0);
  });
}

Deno.test("waitForRetry() ends when the user looks again, but not at once", async () => {
  using page = new FakePage();
  using waiting = new Waiting(60_000);
  await waiting.time.tickAsync(999);
  page.show(true);
  await waiting.time.tickAsync(0);
  assertEquals(waiting.over, undefined);
  await waiting.time.tickAsync(1);
  page.show(false);
  await waiting.time.tickAsync(0);
  assertEquals(waiting.over, undefined);
  page.show(true);
  await waiting.promise;
  assertEquals(waiting.over, 1_000);
  assertEquals(page.listeners, 0);
});

Deno.test("waitForRetry() that is fixed lasts though the user looks", async () => {
  using page = new FakePage();
  using waiting = new Waiting(60_000, true);
  await waiting.time.tickAsync(59_999);
  page.show(true);
  await waiting.time.tickAsync(0);
  assertEquals(waiting.over, undefined);
  await waiting.time.tickAsync(1);
  assertEquals(waiting.over, 60_000);
});

Deno.test("waitForRetry() does not end while the page is left, and ends when it is back", async () => {
  using _page = new FakePage();
  using waiting = new Waiting(100);
  dispatchEvent(new Event("pagehide"));
  await waiting.time.tickAsync(100_000);
  assertEquals(waiting.over, undefined);
  dispatchEvent(new Event("pageshow"));
  await waiting.promise;
  assertEquals(waiting.over, 100_000);
});

Deno.test("waitForRetry() ends at once when it is skipped, fixed or not", async () => {
  for (const isFixed of [false, true]) {
    using waiting = new Waiting(100, isFixed);
    await waiting.time.tickAsync(1);
    waiting.skip.abort();
    await waiting.promise;
    assertEquals(waiting.over, 1);
    assertEquals(waiting.time.next(), false);
  }
});

Deno.test("waitForRetry() without a network ends when it is aborted", async () => {
  using page = new FakePage();
  page.network(false);
  using waiting = new Waiting(100);
  await waiting.time.tickAsync(10_000);
  waiting.stop.abort(new Error("enough"));
  await assertRejects(() => waiting.promise, Error, "enough");
});

Deno.test("waitForRetry() hears nothing any more once it is over", async () => {
  using page = new FakePage();
  using waiting = new Waiting(100);
  await waiting.time.tickAsync(100);
  page.network(true);
  waiting.stop.abort();
  await waiting.promise;
  assertEquals(waiting.over, 100);
});
