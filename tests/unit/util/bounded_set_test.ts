import { assertEquals, assertStrictEquals } from "@std/assert";
import { addBounded } from "../../../core/util/bounded_set.ts";

Deno.test("addBounded() removes the oldest values above the limit", () => {
  const set = new Set<string>();
  for (const value of ["a", "b", "c"]) {
    assertStrictEquals(addBounded(set, value, 3), true);
  }
  assertStrictEquals(addBounded(set, "a", 3), false);
  assertEquals([...set], ["a", "b", "c"]);
  assertStrictEquals(addBounded(set, "d", 3), true);
  assertEquals([...set], ["b", "c", "d"]);
});
