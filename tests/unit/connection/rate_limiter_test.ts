import { assertEquals } from "@std/assert";
import { TokenBucket } from "../../../core/connection/rate_limiter.ts";

function take(bucket: TokenBucket, now: number, tries: number): number {
  let taken = 0;
  for (let i = 0; i < tries; i++) if (bucket.take(now)) taken++;
  return taken;
}

Deno.test("TokenBucket.take() allows a burst up to the capacity", () => {
  const bucket = new TokenBucket(1, 5, 1_000);
  assertEquals(take(bucket, 1_000, 10), 5);
  assertEquals(take(bucket, 1_999, 10), 0);
  assertEquals(take(bucket, 2_000, 10), 1);
});

Deno.test("TokenBucket fills over time up to the capacity", () => {
  const bucket = new TokenBucket(10, 5, 0);
  assertEquals(take(bucket, 0, 10), 5);
  assertEquals(take(bucket, 99, 10), 0);
  assertEquals(take(bucket, 100, 10), 1);
  assertEquals(take(bucket, 350, 10), 2); // and a half stays
  assertEquals(take(bucket, 400, 10), 1);
  assertEquals(take(bucket, 1_000_000, 10), 5);
});

Deno.test("TokenBucket with a rate of 0 is emptied once", () => {
  const bucket = new TokenBucket(0, 2, 0);
  assertEquals(take(bucket, 0, 3), 2);
  assertEquals(take(bucket, 1e12, 3), 0);
});

Deno.test("TokenBucket.takeSpare() allows a sixteenth of the capacity, at most 64", () => {
  for (const [burst, spare] of [[15, 0], [161, 10], [100_000, 64]] as const) {
    const bucket = new TokenBucket(0, burst, 0);
    let taken = 0;
    assertEquals(bucket.takeSpare(), false);
    assertEquals(bucket.take(0), true);
    while (bucket.takeSpare()) taken++;
    assertEquals(taken, spare);
    // They are tokens like the others.
    assertEquals(take(bucket, 0, burst), burst - 1 - spare);
  }
});

Deno.test("TokenBucket.delayFor() returns the time until there are enough tokens", () => {
  const bucket = new TokenBucket(10, 5, 0);
  assertEquals(bucket.delayFor(5, 0), 0);
  take(bucket, 0, 5);
  assertEquals(bucket.delayFor(2, 0), 200);
  assertEquals(bucket.delayFor(2, 150), 50);
  assertEquals(bucket.delayFor(2, 200), 0);
  assertEquals(new TokenBucket(0, 1, 0).delayFor(2, 0), Infinity);
});

Deno.test("TokenBucket.take() allows more than the capacity after a stall", () => {
  const bucket = new TokenBucket(10, 5, 0);
  const takeAfter = (now: number, stalledMs: number) => {
    let taken = 0;
    for (let i = 0; i < 100; i++) if (bucket.take(now, stalledMs)) taken++;
    return taken;
  };
  assertEquals(takeAfter(0, 0), 5);
  assertEquals(takeAfter(2_000, 2_000), 25);
  assertEquals(takeAfter(2_000, 2_000), 0);
  assertEquals(takeAfter(2_100, 2_000), 1);
  // What was not needed is lost when the bucket is full again.
  bucket.take(5_000, 4_000);
  assertEquals(takeAfter(9_000, 4_000), 5);
});
