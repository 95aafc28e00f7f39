/** Messages that wait for the log of a broker. */

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { PendingBroadcasts } from "../../../core/cluster/pending_broadcasts.ts";
import type { SequencedBroadcast } from "../../../core/history/envelope.ts";

function start(maxPending = 1_000) {
  const delivered: number[] = [];
  let missed = 0;
  const pending = new PendingBroadcasts(maxPending, {
    deliver: (broadcast) => {
      if ("id" in broadcast) delivered.push(Number(broadcast.id));
    },
    messageMissed: () => missed++,
  }, () => {});
  return { pending, delivered, missed: () => missed };
}

function broadcast(id: number, body = ""): SequencedBroadcast {
  const target = { rooms: ["a"], except: [] };
  return { from: "s", id, target, body, options: {} };
}

Deno.test("PendingBroadcasts bounds the bytes that wait for a slow broker", () => {
  using _time = new FakeTime();
  const { pending, delivered, missed } = start();
  const body = "x".repeat(1024 * 1024);
  let id = 0;
  while (!pending.isFull) pending.add(broadcast(++id, body));
  assert(id > 60 && id < 70, `${id}`);
  assertEquals(delivered, [], "they are delivered when they come back");
  pending.refuseNew(broadcast(++id));
  assertStrictEquals(missed(), 1);
  assertEquals(delivered, Array.from({ length: id }, (_, i) => i + 1));
  for (let i = 1; i < id; i++) pending.settle(i);
  assert(!pending.isFull);
  assertEquals(pending.list(), []);
  pending.brokerDown();
});

Deno.test("PendingBroadcasts bounds the bytes that wait for a broker that is down", () => {
  const { pending, delivered, missed } = start(1_000_000);
  const body = "x".repeat(1024 * 1024);
  for (let id = 1; id <= 100; id++) pending.addOffline(broadcast(id, body));
  assertStrictEquals(delivered.length, 100);
  const { length } = pending.list();
  assert(length > 55 && length < 65, `${length}`);
  assertStrictEquals(missed(), 100 - length);
  assertStrictEquals(pending.list().at(-1)?.broadcast.id, 100);
});

Deno.test("PendingBroadcasts.take() shows where messages are lost", () => {
  using _time = new FakeTime();
  const { pending, missed } = start();
  for (let id = 1; id <= 6; id++) pending.add(broadcast(id));
  for (const id of [2, 3, 5]) {
    const one = pending.get(id);
    if (one) one.sentAt = 1;
  }
  const taken = pending.take().map((one) => one?.id);
  assertEquals(taken, [1, undefined, 4, undefined, 6]);
  assertStrictEquals(missed(), 3);
  assertEquals(pending.list(), []);
  assert(!pending.isAhead);
});
