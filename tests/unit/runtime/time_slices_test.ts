import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { stub } from "@std/testing/mock";
import {
  continueLater,
  nextSliceMs,
  SliceTimer,
  TIME_SLICE_MS,
} from "../../../core/runtime/time_slices.ts";

Deno.test("nextSliceMs() shortens slices that cause long turns", () => {
  let slice: number = TIME_SLICE_MS;
  const before = slice;
  slice = nextSliceMs(slice, 40);
  assertStrictEquals(slice, before / 2);
  assertStrictEquals(nextSliceMs(slice, 1.5), slice); // neither long nor short
  for (let i = 0; i < 20; i++) slice = nextSliceMs(slice, 40);
  assert(slice > 0.01, `${slice}`);
  for (let i = 0; i < 20; i++) slice = nextSliceMs(slice, 0.9);
  assertStrictEquals(slice, TIME_SLICE_MS);
});

Deno.test("continueLater() shares a slice among all work in equal parts", async () => {
  let now = 0;
  using _now = stub(performance, "now", () => now);
  const shares: { readonly work: number; readonly end: number }[] = [];
  const works = Array.from({ length: 4 }, (_, work) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    let rounds = 0;
    continueLater((until) => {
      assert(until > now);
      now = until;
      shares.push({ work, end: now });
      if (++rounds === 2) resolve();
      return rounds < 2;
    });
    return promise;
  });
  await Promise.all(works);
  // Each has its share of a slice before any has another.
  assertEquals(shares.map(({ work }) => work), [0, 1, 2, 3, 0, 1, 2, 3]);
  const ends = shares.map(({ end }) => end);
  assert((ends[3] ?? NaN) <= TIME_SLICE_MS, `${ends}`);
});

Deno.test("SliceTimer reads the clock at each step of a short slice", () => {
  let now = 0;
  using _now = stub(performance, "now", () => now);
  const timer = new SliceTimer(0.05);
  let steps = 0;
  do {
    steps++;
    now += 0.04;
  } while (!timer.isOver());
  assertStrictEquals(steps, 2);
});
