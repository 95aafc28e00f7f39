import { assertEquals, assertStrictEquals } from "@std/assert";
import {
  BackpressureQueue,
  type Overflow,
  type QueueItem,
} from "../../../core/sending/backpressure_queue.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

interface Named extends QueueItem {
  readonly name: string;
}

function waiting(
  name: string,
  size: number,
  overflow: Overflow = "terminate",
  key = "",
): Named {
  return { name, size, overflow, key };
}

/** What an offer came to: the names of what it dropped, or false. */
function offer(
  queue: BackpressureQueue<Named>,
  one: Named,
  held = 0,
): string[] | false {
  const { isQueued, dropped } = queue.offer(one, held);
  if (!isQueued) assertEquals(dropped, []);
  return isQueued && dropped.map(({ name }) => name);
}

function names(queue: BackpressureQueue<Named>): string[] {
  return Array.from(queue.items, ({ name }) => name);
}

Deno.test("BackpressureQueue accepts items up to the limit in order", () => {
  const queue = new BackpressureQueue<Named>(100);
  assertEquals(offer(queue, waiting("a", 40), 10), []);
  assertEquals(offer(queue, waiting("b", 50), 10), []);
  assertEquals(queue.size, 90);
  assertEquals(offer(queue, waiting("c", 1), 10), false);
  assertEquals(offer(queue, waiting("c", 1), 9), []);
  assertEquals(names(queue), ["a", "b", "c"]);
  for (const name of ["a", "b", "c"]) {
    assertEquals(queue.first?.name, name);
    queue.shift();
  }
  assertEquals([queue.first, queue.size], [undefined, 0]);
  queue.shift(); // nothing is left
  assertEquals(queue.size, 0);
});

Deno.test("BackpressureQueue accepts a single item of any size", () => {
  const queue = new BackpressureQueue<Named>(100);
  assertEquals(offer(queue, waiting("a", 101), 1), false);
  assertEquals(offer(queue, waiting("a", 101)), []);
  assertEquals(offer(queue, waiting("b", 0)), false);
  const none = new BackpressureQueue<Named>(0);
  assertEquals(offer(none, waiting("a", 1, "latest", "k")), []);
  assertEquals(offer(none, waiting("b", 2, "latest", "k")), ["a"]);
});

Deno.test("BackpressureQueue with drop-newest drops only the new item", () => {
  const queue = new BackpressureQueue<Named>(100);
  offer(queue, waiting("a", 60, "drop-oldest"));
  assertEquals(offer(queue, waiting("b", 60, "drop-newest")), false);
  assertEquals(offer(queue, waiting("c", 40, "drop-newest")), []);
  assertEquals(names(queue), ["a", "c"]);
});

Deno.test("BackpressureQueue drops droppable items, oldest first", () => {
  const queue = new BackpressureQueue<Named>(100);
  offer(queue, waiting("must", 20));
  for (const name of ["a", "b", "c", "d"]) {
    offer(queue, waiting(name, 20, "drop-oldest"));
  }
  assertEquals(offer(queue, waiting("e", 30, "drop-oldest")), ["a", "b"]);
  assertEquals(names(queue), ["must", "c", "d", "e"]);
  assertEquals(queue.size, 90);
  // What must not be dropped is let in by what may be.
  assertEquals(offer(queue, waiting("must too", 60)), ["c", "d", "e"]);
  assertEquals(names(queue), ["must", "must too"]);
  // And if that is not enough, nothing is dropped in vain.
  offer(queue, waiting("f", 20, "drop-oldest"));
  assertEquals(offer(queue, waiting("g", 41, "drop-oldest")), false);
  assertEquals(offer(queue, waiting("g", 41)), false);
  assertEquals(names(queue), ["must", "must too", "f"]);
});

Deno.test("BackpressureQueue with latest replaces an item with the same key in place", () => {
  const queue = new BackpressureQueue<Named>(100);
  offer(queue, waiting("x1", 10, "latest", "x"));
  offer(queue, waiting("text", 10));
  offer(queue, waiting("y1", 10, "latest", "y"));
  assertEquals(offer(queue, waiting("x2", 30, "latest", "x")), ["x1"]);
  assertEquals(names(queue), ["x2", "text", "y1"]);
  assertEquals(queue.size, 50);
  // One that has left is not replaced.
  queue.shift();
  assertEquals(offer(queue, waiting("x3", 10, "latest", "x")), []);
  assertEquals(names(queue), ["text", "y1", "x3"]);
  // A key is no number of another message, whatever a program without types says.
  const zero: object = { key: 0 };
  assertEquals(offer(queue, { ...waiting("z", 1, "latest"), ...zero }), []);
  // A key counts for `latest` only.
  assertEquals(offer(queue, waiting("other", 10, "terminate", "y")), []);
});

Deno.test("BackpressureQueue with latest drops the oldest of too many keys", () => {
  const queue = new BackpressureQueue<Named>(30);
  for (const key of ["x", "y", "z"]) {
    offer(queue, waiting(key, 10, "latest", key));
  }
  assertEquals(offer(queue, waiting("w", 10, "latest", "w")), ["x"]);
  // It makes room for itself first, then takes from the others.
  assertEquals(offer(queue, waiting("y2", 20, "latest", "y")), ["y", "z"]);
  assertEquals(names(queue), ["y2", "w"]);
  assertEquals(offer(queue, waiting("y3", 31, "latest", "y")), false);
  assertEquals(names(queue), ["y2", "w"]);
});

Deno.test("BackpressureQueue limits the number of items", () => {
  const queue = new BackpressureQueue<Named>(100, 2);
  assertEquals(offer(queue, waiting("a", 0)), []);
  assertEquals(offer(queue, waiting("b", 0, "drop-oldest")), []);
  assertEquals(offer(queue, waiting("c", 0, "drop-newest")), false);
  assertEquals(offer(queue, waiting("d", 0, "latest", "k")), ["b"]);
  assertEquals(offer(queue, waiting("e", 0, "latest", "k")), ["d"]);
  assertEquals(offer(queue, waiting("f", 0)), ["e"]);
  assertEquals(offer(queue, waiting("g", 0, "drop-oldest")), false);
  assertEquals(offer(queue, waiting("h", 0)), false);
  assertEquals(names(queue), ["a", "f"]);
});

Deno.test("BackpressureQueue replaces an item of the same key when full", () => {
  const queue = new BackpressureQueue<Named>(100, 1);
  assertEquals(offer(queue, waiting("a", 1, "latest", "k")), []);
  assertEquals(offer(queue, waiting("b", 1, "latest", "k")), ["a"]);
  assertEquals(offer(queue, waiting("c", 1, "latest", "other")), ["b"]);
  assertEquals(names(queue), ["c"]);
});

Deno.test("BackpressureQueue drops as few items as possible", () => {
  const queue = new BackpressureQueue<Named>(100, 2);
  offer(queue, waiting("a", 0, "latest", "a"));
  offer(queue, waiting("b", 0, "latest", "b"));
  assertEquals(offer(queue, waiting("a2", 0, "latest", "a")), ["a"]);
  assertEquals(offer(queue, waiting("c", 0)), ["a2"]);
  assertEquals(names(queue), ["b", "c"]);
});

Deno.test("BackpressureQueue.takeAll() returns all items in order and resets", () => {
  const queue = new BackpressureQueue<Named>(10);
  const policies = ["terminate", "drop-oldest", "latest"] as const;
  for (let round = 0; round < 2; round++) {
    policies.forEach((policy, i) => {
      queue.offer(waiting(`${i}`, 3, policy), 0);
    });
    assertEquals(queue.size, 9);
    assertEquals(queue.takeAll().map(({ name }) => name), ["0", "1", "2"]);
    assertEquals([queue.size, queue.isEmpty], [0, true]);
  }
  // Nothing is left that could make room.
  queue.offer(waiting("full", 10, "terminate"), 0);
  assertEquals(queue.offer(waiting("more", 1, "terminate"), 0).isQueued, false);
});

Deno.test("BackpressureQueue.first returns the oldest item", () => {
  const seeded = new SeededRandom(20261123);
  const queue = new BackpressureQueue<Named>(100, 20);
  const policies = [
    "terminate",
    "drop-oldest",
    "drop-newest",
    "latest",
  ] as const;
  for (let i = 0; i < 20_000; i++) {
    const what = seeded.integer(20);
    const key = `${seeded.integer(3)}`;
    const one = waiting(`${i}`, seeded.integer(20), seeded.pick(policies), key);
    if (what < 8) queue.offer(one, seeded.integer(50));
    else if (what < 10) queue.append(one);
    else if (what < 17) queue.shift();
    else if (what < 19) queue.take(key);
    else if (seeded.integer(10) === 0) queue.takeAll();
    const all = [...queue.items];
    assertStrictEquals(queue.first, all[0]);
    assertEquals(queue.isEmpty, all.length === 0);
    assertEquals(queue.size, all.reduce((sum, { size }) => sum + size, 0));
  }
});

Deno.test("BackpressureQueue reserves space for non-transferable items", () => {
  const queue = new BackpressureQueue<Named>(100, 2);
  const carried = (name: string, size: number, overflow?: Overflow) => ({
    ...waiting(name, size, overflow),
    isTransferable: true,
  });
  assertEquals(offer(queue, carried("a", 50)), []);
  assertEquals(offer(queue, carried("b", 50, "drop-oldest")), []);
  assertEquals(offer(queue, waiting("c", 100)), []);
  // Each has its bound: of bytes, and of messages.
  assertEquals(offer(queue, waiting("d", 1)), false);
  assertEquals(offer(queue, waiting("e", 0)), []);
  assertEquals(offer(queue, waiting("f", 0)), false);
  assertEquals(offer(queue, waiting("g", 1, "drop-oldest")), false);
  assertEquals(offer(queue, carried("h", 1)), false);
  assertEquals(names(queue), ["a", "b", "c", "e"]);
  assertEquals(queue.size, 200);
});

Deno.test("BackpressureQueue drops only non-transferable items for non-transferable ones", () => {
  const queue = new BackpressureQueue<Named>(100);
  const old = { ...waiting("a", 60, "latest", "k"), isTransferable: true };
  assertEquals(offer(queue, old), []);
  assertEquals(offer(queue, waiting("b", 60, "drop-oldest")), []);
  assertEquals(offer(queue, waiting("c", 60, "drop-oldest")), ["b"]);
  assertEquals(offer(queue, waiting("d", 40, "latest", "k")), ["a"]);
  assertEquals(names(queue), ["d", "c"]);
  assertEquals(queue.size, 100);
});
