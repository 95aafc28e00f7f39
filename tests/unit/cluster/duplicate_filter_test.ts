/** How a server recognizes messages that arrive more than once. */

import { assert, assertEquals, assertFalse } from "@std/assert";
import { DuplicateFilter } from "../../../core/cluster/duplicate_filter.ts";
import {
  encodeEnvelope,
  type SequencedBroadcast,
} from "../../../core/history/envelope.ts";

function broadcast(
  id: number,
  rooms: string[] | undefined = ["a", "b"],
  from = "other",
): SequencedBroadcast {
  const target = { ...(rooms && { rooms }), except: [] };
  return { from, id, target, body: "hi", options: {} };
}

Deno.test("DuplicateFilter.isDuplicate() recognizes a message to several rooms", () => {
  const filter = new DuplicateFilter("self");
  assertFalse(filter.isDuplicate(broadcast(1)));
  assert(filter.isDuplicate(broadcast(1)));
  assertFalse(filter.isDuplicate(broadcast(2)));
  assertFalse(filter.isDuplicate(broadcast(1, ["a", "b"], "third")));
});

Deno.test("DuplicateFilter.isDuplicate() remembers no message to one room or to all", () => {
  const filter = new DuplicateFilter("self");
  for (const rooms of [["a"], []]) {
    assertFalse(filter.isDuplicate(broadcast(1, rooms)));
    assertFalse(filter.isDuplicate(broadcast(1, rooms)));
  }
});

Deno.test("DuplicateFilter.isDuplicate() remembers the last 4,096 messages", () => {
  const filter = new DuplicateFilter("self");
  for (let id = 0; id < 4_096; id++) {
    assertFalse(filter.isDuplicate(broadcast(id)));
  }
  assert(filter.isDuplicate(broadcast(0)), "the oldest of 4,096");
  assertFalse(filter.isDuplicate(broadcast(4_096)));
  assertFalse(filter.isDuplicate(broadcast(0)), "it was forgotten");
  assert(filter.isDuplicate(broadcast(2)));
});

Deno.test("DuplicateFilter.isOwn() compares the whole name", () => {
  const filter = new DuplicateFilter("self");
  const isOwn = ["self", "sel", "selfish", "other"].map((from) =>
    filter.isOwn(encodeEnvelope(broadcast(1, ["a"], from)))
  );
  assertEquals(isOwn, [true, false, false, false]);
  assertFalse(filter.isOwn(new Uint8Array()));
});
