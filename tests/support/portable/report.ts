/** What came of the cases elsewhere, as steps of a test here. */

import { assertEquals, assertStrictEquals } from "@std/assert";
import { cases, type Outcome } from "./cases.ts";

export async function reportOutcomes(
  t: Deno.TestContext,
  outcomes: readonly Outcome[],
): Promise<void> {
  for (const { name, error } of outcomes) {
    await t.step(name, () => assertStrictEquals(error, undefined));
  }
  assertEquals(outcomes.map(({ name }) => name), Object.keys(cases));
}
