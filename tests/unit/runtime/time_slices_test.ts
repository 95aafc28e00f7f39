import { assert, assertStrictEquals } from "@std/assert";
import {
  nextSliceMs,
  TIME_SLICE_MS,
} from "../../../core/runtime/time_slices.ts";

Deno.test("nextSliceMs() shortens slices that cause long turns", () => {
  let slice: number = TIME_SLICE_MS;
  const before = slice;
  slice = nextSliceMs(slice, 40);
  assertStrictEquals(slice, before / 2);
  assertStrictEquals(nextSliceMs(slice, 12), slice); // neither long nor short
  for (let i = 0; i < 20; i++) slice = nextSliceMs(slice, 40);
  assert(slice > 0.1, `${slice}`);
  for (let i = 0; i < 20; i++) slice = nextSliceMs(slice, 1);
  assertStrictEquals(slice, TIME_SLICE_MS);
});
