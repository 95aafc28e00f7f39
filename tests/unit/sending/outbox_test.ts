import { assertEquals, assertStrictEquals } from "@std/assert";
import {
  Outbox,
  type Overflow,
  type Waiting,
} from "../../../core/sending/outbox.ts";
import { Chance } from "../../support/chance.ts";

interface Named extends Waiting {
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
function offer(outbox: Outbox<Named>, one: Named, held = 0): string[] | false {
  const { isTaken, dropped } = outbox.offer(one, held);
  if (!isTaken) assertEquals(dropped, []);
  return isTaken && dropped.map(({ name }) => name);
}

function names(outbox: Outbox<Named>): string[] {
  return Array.from(outbox.waiting, ({ name }) => name);
}

Deno.test("Outbox keeps what fits, in order, to the byte", () => {
  const outbox = new Outbox<Named>(100);
  assertEquals(offer(outbox, waiting("a", 40), 10), []);
  assertEquals(offer(outbox, waiting("b", 50), 10), []);
  assertEquals(outbox.size, 90);
  assertEquals(offer(outbox, waiting("c", 1), 10), false);
  assertEquals(offer(outbox, waiting("c", 1), 9), []);
  assertEquals(names(outbox), ["a", "b", "c"]);
  for (const name of ["a", "b", "c"]) {
    assertEquals(outbox.first?.name, name);
    outbox.shift();
  }
  assertEquals([outbox.first, outbox.size], [undefined, 0]);
  outbox.shift(); // nothing is left
  assertEquals(outbox.size, 0);
});

Deno.test("Outbox takes what is alone, however large", () => {
  const outbox = new Outbox<Named>(100);
  assertEquals(offer(outbox, waiting("a", 101), 1), false);
  assertEquals(offer(outbox, waiting("a", 101)), []);
  assertEquals(offer(outbox, waiting("b", 0)), false);
  const none = new Outbox<Named>(0);
  assertEquals(offer(none, waiting("a", 1, "latest", "k")), []);
  assertEquals(offer(none, waiting("b", 2, "latest", "k")), ["a"]);
});

Deno.test("Outbox with drop-newest drops nothing but what comes", () => {
  const outbox = new Outbox<Named>(100);
  offer(outbox, waiting("a", 60, "drop-oldest"));
  assertEquals(offer(outbox, waiting("b", 60, "drop-newest")), false);
  assertEquals(offer(outbox, waiting("c", 40, "drop-newest")), []);
  assertEquals(names(outbox), ["a", "c"]);
});

Deno.test("Outbox makes room by what may be dropped, the oldest first", () => {
  const outbox = new Outbox<Named>(100);
  offer(outbox, waiting("must", 20));
  for (const name of ["a", "b", "c", "d"]) {
    offer(outbox, waiting(name, 20, "drop-oldest"));
  }
  assertEquals(offer(outbox, waiting("e", 30, "drop-oldest")), ["a", "b"]);
  assertEquals(names(outbox), ["must", "c", "d", "e"]);
  assertEquals(outbox.size, 90);
  // What must not be dropped is let in by what may be.
  assertEquals(offer(outbox, waiting("must too", 60)), ["c", "d", "e"]);
  assertEquals(names(outbox), ["must", "must too"]);
  // And if that is not enough, nothing is dropped in vain.
  offer(outbox, waiting("f", 20, "drop-oldest"));
  assertEquals(offer(outbox, waiting("g", 41, "drop-oldest")), false);
  assertEquals(offer(outbox, waiting("g", 41)), false);
  assertEquals(names(outbox), ["must", "must too", "f"]);
});

Deno.test("Outbox with latest replaces what is about the same, in its place", () => {
  const outbox = new Outbox<Named>(100);
  offer(outbox, waiting("x1", 10, "latest", "x"));
  offer(outbox, waiting("text", 10));
  offer(outbox, waiting("y1", 10, "latest", "y"));
  assertEquals(offer(outbox, waiting("x2", 30, "latest", "x")), ["x1"]);
  assertEquals(names(outbox), ["x2", "text", "y1"]);
  assertEquals(outbox.size, 50);
  // One that has left is not replaced.
  outbox.shift();
  assertEquals(offer(outbox, waiting("x3", 10, "latest", "x")), []);
  assertEquals(names(outbox), ["text", "y1", "x3"]);
  // A key is no number of another message, whatever a program without types says.
  const zero: object = { key: 0 };
  assertEquals(offer(outbox, { ...waiting("z", 1, "latest"), ...zero }), []);
  // A key counts for `latest` only.
  assertEquals(offer(outbox, waiting("other", 10, "terminate", "y")), []);
});

Deno.test("Outbox with latest drops the oldest where the keys are too many", () => {
  const outbox = new Outbox<Named>(30);
  for (const key of ["x", "y", "z"]) {
    offer(outbox, waiting(key, 10, "latest", key));
  }
  assertEquals(offer(outbox, waiting("w", 10, "latest", "w")), ["x"]);
  // It makes room for itself first, then takes from the others.
  assertEquals(offer(outbox, waiting("y2", 20, "latest", "y")), ["y", "z"]);
  assertEquals(names(outbox), ["y2", "w"]);
  assertEquals(offer(outbox, waiting("y3", 31, "latest", "y")), false);
  assertEquals(names(outbox), ["y2", "w"]);
});

Deno.test("Outbox keeps so many, however small they are", () => {
  const outbox = new Outbox<Named>(100, 2);
  assertEquals(offer(outbox, waiting("a", 0)), []);
  assertEquals(offer(outbox, waiting("b", 0, "drop-oldest")), []);
  assertEquals(offer(outbox, waiting("c", 0, "drop-newest")), false);
  assertEquals(offer(outbox, waiting("d", 0, "latest", "k")), ["b"]);
  assertEquals(offer(outbox, waiting("e", 0, "latest", "k")), ["d"]);
  assertEquals(offer(outbox, waiting("f", 0)), ["e"]);
  assertEquals(offer(outbox, waiting("g", 0, "drop-oldest")), false);
  assertEquals(offer(outbox, waiting("h", 0)), false);
  assertEquals(names(outbox), ["a", "f"]);
});

Deno.test("Outbox that is full of one key takes the next of that key", () => {
  const outbox = new Outbox<Named>(100, 1);
  assertEquals(offer(outbox, waiting("a", 1, "latest", "k")), []);
  assertEquals(offer(outbox, waiting("b", 1, "latest", "k")), ["a"]);
  assertEquals(offer(outbox, waiting("c", 1, "latest", "other")), ["b"]);
  assertEquals(names(outbox), ["c"]);
});

Deno.test("Outbox that is full drops no more than it must", () => {
  const outbox = new Outbox<Named>(100, 2);
  offer(outbox, waiting("a", 0, "latest", "a"));
  offer(outbox, waiting("b", 0, "latest", "b"));
  assertEquals(offer(outbox, waiting("a2", 0, "latest", "a")), ["a"]);
  assertEquals(offer(outbox, waiting("c", 0)), ["a2"]);
  assertEquals(names(outbox), ["b", "c"]);
});

Deno.test("Outbox.takeAll() takes all away, in order, and is as good as new", () => {
  const outbox = new Outbox<Named>(10);
  const policies = ["terminate", "drop-oldest", "latest"] as const;
  for (let round = 0; round < 2; round++) {
    policies.forEach((policy, i) => {
      outbox.offer(waiting(`${i}`, 3, policy), 0);
    });
    assertEquals(outbox.size, 9);
    assertEquals(outbox.takeAll().map(({ name }) => name), ["0", "1", "2"]);
    assertEquals([outbox.size, outbox.isEmpty], [0, true]);
  }
  // Nothing is left that could make room.
  outbox.offer(waiting("full", 10, "terminate"), 0);
  assertEquals(outbox.offer(waiting("more", 1, "terminate"), 0).isTaken, false);
});

Deno.test("Outbox.first is the front of all that waits, whatever happens", () => {
  const chance = new Chance(20261123);
  const outbox = new Outbox<Named>(100, 20);
  const policies = [
    "terminate",
    "drop-oldest",
    "drop-newest",
    "latest",
  ] as const;
  for (let i = 0; i < 20_000; i++) {
    const what = chance.below(20);
    const key = `${chance.below(3)}`;
    const one = waiting(`${i}`, chance.below(20), chance.pick(policies), key);
    if (what < 8) outbox.offer(one, chance.below(50));
    else if (what < 10) outbox.append(one);
    else if (what < 17) outbox.shift();
    else if (what < 19) outbox.take(key);
    else if (chance.below(10) === 0) outbox.takeAll();
    const all = [...outbox.waiting];
    assertStrictEquals(outbox.first, all[0]);
    assertEquals(outbox.isEmpty, all.length === 0);
    assertEquals(outbox.size, all.reduce((sum, { size }) => sum + size, 0));
  }
});

Deno.test("Outbox keeps room for what is not carried, whatever is", () => {
  const outbox = new Outbox<Named>(100, 2);
  const carried = (name: string, size: number, overflow?: Overflow) => ({
    ...waiting(name, size, overflow),
    isCarried: true,
  });
  assertEquals(offer(outbox, carried("a", 50)), []);
  assertEquals(offer(outbox, carried("b", 50, "drop-oldest")), []);
  assertEquals(offer(outbox, waiting("c", 100)), []);
  // Each has its bound: of bytes, and of messages.
  assertEquals(offer(outbox, waiting("d", 1)), false);
  assertEquals(offer(outbox, waiting("e", 0)), []);
  assertEquals(offer(outbox, waiting("f", 0)), false);
  assertEquals(offer(outbox, waiting("g", 1, "drop-oldest")), false);
  assertEquals(offer(outbox, carried("h", 1)), false);
  assertEquals(names(outbox), ["a", "b", "c", "e"]);
  assertEquals(outbox.size, 200);
});

Deno.test("Outbox makes room for what is not carried with its like only", () => {
  const outbox = new Outbox<Named>(100);
  const old = { ...waiting("a", 60, "latest", "k"), isCarried: true };
  assertEquals(offer(outbox, old), []);
  assertEquals(offer(outbox, waiting("b", 60, "drop-oldest")), []);
  assertEquals(offer(outbox, waiting("c", 60, "drop-oldest")), ["b"]);
  assertEquals(offer(outbox, waiting("d", 40, "latest", "k")), ["a"]);
  assertEquals(names(outbox), ["d", "c"]);
  assertEquals(outbox.size, 100);
});
