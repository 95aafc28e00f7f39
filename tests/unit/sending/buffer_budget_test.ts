import { assert, assertEquals } from "@std/assert";
import { BufferBudget } from "../../../core/sending/buffer_budget.ts";

/** A budget of 1,600 bytes for some holders. */
function budgetOf(...holders: { name: string; held: number }[]) {
  const ended: string[] = [];
  let measured = 0;
  const budget = new BufferBudget<{ name: string; held: number }>(
    1_600,
    () => holders,
    (holder) => {
      measured++;
      return holder.held;
    },
    (holder) => {
      ended.push(holder.name);
      holder.held = 0;
    },
  );
  return { budget, ended, measured: () => measured };
}

Deno.test("BufferBudget ends the largest holders until 15/16 are used", () => {
  const { budget, ended } = budgetOf(
    { name: "small", held: 100 },
    { name: "largest", held: 800 },
    { name: "large", held: 701 },
  );
  budget.spend(1_600);
  assertEquals(ended, []);
  budget.spend(1);
  assertEquals(ended, ["largest"]);
  assertEquals(budget.held, 801);
});

Deno.test("BufferBudget ends no holder if messages were sent", () => {
  const busy = { name: "busy", held: 0 };
  const { budget, ended } = budgetOf(busy, { name: "slow", held: 1_500 });
  for (let i = 0; i < 1_000; i++) budget.spend(100);
  assertEquals(ended, []);
  busy.held = 1;
  budget.spend(1_600);
  assertEquals(ended, ["slow"]);
});

Deno.test("BufferBudget measures only after a part was spent", () => {
  const { budget, measured } = budgetOf({ name: "full", held: 1_500 });
  for (let i = 0; i < 10_000; i++) budget.spend(1);
  assert(measured() <= 2 * 10_000 / 100, `${measured()}`);
});

Deno.test("BufferBudget ends holders that fill up during an end", () => {
  const holders = ["a", "b", "c"].map((name) => ({ name, held: 600 }));
  const ended: string[] = [];
  const budget = new BufferBudget<{ name: string; held: number }>(
    1_600,
    () => holders,
    ({ held }) => held,
    (holder) => {
      ended.push(holder.name);
      holder.held = 0;
      for (const other of holders) {
        if (!ended.includes(other.name)) other.held += 400;
        budget.spend(400);
      }
    },
  );
  budget.spend(1_601);
  assertEquals(ended, ["a", "b"]);
  assertEquals(budget.held, 1_400);
});

Deno.test("BufferBudget continues if no holder can be ended", () => {
  let measured = 0;
  const budget = new BufferBudget<number>(1_600, () => [2_000], (held) => {
    measured++;
    return held;
  }, () => {});
  for (let i = 0; i < 1_000; i++) budget.spend(10);
  assert(measured < 1_000, `${measured}`);
});
