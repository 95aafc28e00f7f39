import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { Histogram } from "../../../cli/histogram.ts";

Deno.test("Histogram.quantile() is at most 10 % above the true value", () => {
  const histogram = new Histogram();
  for (let i = 1; i <= 1_000; i++) histogram.add(i / 10);
  assertStrictEquals(histogram.count, 1_000);
  for (const share of [0.01, 0.5, 0.9, 0.99]) {
    const value = histogram.quantile(share);
    assert(value >= share * 100 && value < share * 110, `${share}: ${value}`);
  }
  assertStrictEquals(histogram.quantile(1), 100);
});

Deno.test("Histogram holds nothing, one value, and values out of range", () => {
  const histogram = new Histogram();
  assertEquals([histogram.quantile(0.5), histogram.buckets()], [NaN, []]);
  histogram.add(0);
  histogram.add(1e9);
  assertStrictEquals(histogram.quantile(1), 1e9);
  assertEquals(histogram.buckets().map(({ count }) => count), [1, 1]);
  const lines = histogram.draw(10);
  assertEquals(lines.map((line) => line.includes("##########")), [true, true]);
});
