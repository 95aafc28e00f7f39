import { assert, assertEquals, assertFalse } from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { PendingUpgrades } from "../../../core/admission/pending_upgrades.ts";

/** Upgrades whose number is written down when they are given up. */
function crowd(size: number) {
  const given: number[] = [];
  const pending = new PendingUpgrades();
  const clients = Array.from({ length: size }, (_, i) => ({
    terminate: () => {
      given.push(i);
    },
  }));
  return { given, pending, clients };
}

Deno.test("PendingUpgrades terminates upgrades that are pending for two checks", () => {
  using time = new FakeTime();
  const { given, pending, clients: [first, second, third] } = crowd(3);
  assert(first && second && third);
  pending.add(first);
  time.tick(900);
  pending.add(second); // a look less for it: it is 1.1 seconds old at the second one
  time.tick(200);
  pending.add(third);
  time.tick(899);
  assertEquals([given, pending.lost], [[], 0]);
  time.tick(1);
  assertEquals([given, pending.lost], [[0, 1], 2]);
  time.tick(1_000);
  assertEquals([given, pending.lost], [[0, 1, 2], 3]);
});

Deno.test("PendingUpgrades stops its timer when no upgrade is pending", () => {
  using time = new FakeTime();
  const { given, pending, clients } = crowd(2);
  for (const client of clients) pending.add(client);
  for (const client of clients) pending.delete(client);
  time.tick(10_000);
  assertEquals([given, pending.lost], [[], 0]);
  assertFalse(pending.isSuspicious);
  for (const client of clients) pending.delete(client); // once more changes nothing
});

Deno.test("PendingUpgrades.terminate() terminates all upgrades", () => {
  using _time = new FakeTime();
  const { given, pending, clients } = crowd(3);
  for (const client of clients) pending.add(client);
  pending.terminate();
  assertEquals([given, pending.lost], [[0, 1, 2], 3]);
});

Deno.test("PendingUpgrades.isSuspicious is true for many pending upgrades and after a lost one", () => {
  using time = new FakeTime();
  const { pending, clients } = crowd(8);
  for (const client of clients) {
    assertFalse(pending.isSuspicious);
    pending.add(client);
  }
  assert(pending.isSuspicious);
  for (const client of clients.slice(1)) pending.delete(client);
  assertFalse(pending.isSuspicious);
  time.tick(2_000);
  assert(pending.isSuspicious);
});
