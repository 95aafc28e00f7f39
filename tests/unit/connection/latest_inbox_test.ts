/** Messages of which only the newest is handled while listeners are behind. */

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { LatestInbox } from "../../../core/connection/latest_inbox.ts";

/** An inbox whose messages take 5 ms each, and what it has passed on. */
function createInbox() {
  const passed: string[] = [];
  const emptied = Promise.withResolvers<void>();
  const inbox = new LatestInbox<string>((message) => {
    passed.push(message);
    const until = performance.now() + 5;
    while (performance.now() < until);
  }, () => emptied.resolve());
  return { inbox, passed, emptied: emptied.promise };
}

Deno.test("LatestInbox keeps the newest message of each key in place while it is behind", async () => {
  const { inbox, passed, emptied } = createInbox();
  inbox.add("a1", 1, "a");
  assertEquals(passed, ["a1"]);
  inbox.add("a2", 10, "a");
  inbox.add("one", 20, undefined);
  inbox.add("b1", 30, "b");
  inbox.add("a3", 40, "a");
  assertEquals(passed, ["a1"]);
  assertStrictEquals(inbox.size, 90);
  assertStrictEquals(inbox.superseded, 1);
  await emptied;
  assertEquals(passed, ["a1", "a3", "one", "b1"]);
  assert(inbox.isEmpty);
  assertStrictEquals(inbox.size, 0);
});

Deno.test("LatestInbox passes on messages without a key at once if none waits", () => {
  const { inbox, passed } = createInbox();
  inbox.add("a1", 1, "a");
  inbox.add("one", 1, undefined);
  assertEquals(passed, ["a1", "one"]);
});

Deno.test("LatestInbox.takeAll() removes what waits", async () => {
  const { inbox, passed } = createInbox();
  for (let i = 0; i < 3; i++) inbox.add(`${i}`, 1, `${i}`);
  assertEquals(inbox.takeAll(), ["1", "2"]);
  assert(inbox.isEmpty);
  await new Promise((resolve) => setTimeout(resolve, 10));
  assertEquals(passed, ["0"]);
});

for (
  const [what, count, size] of [["4,096 messages", 4_096, 1], [
    "4 MiB",
    4,
    2 ** 20,
  ]] as const
) {
  Deno.test(`LatestInbox holds at most ${what}`, () => {
    const { inbox, passed } = createInbox();
    inbox.add("first", size, "first");
    for (let i = 0; i < count; i++) inbox.add(`${i}`, size, `${i}`);
    assertStrictEquals(passed.length, 1);
    inbox.add("last", size, "last");
    assertEquals(passed, ["first", "0"]);
    assertStrictEquals(inbox.takeAll().length, count);
  });
}
