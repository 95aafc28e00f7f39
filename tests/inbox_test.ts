import { assertEquals, assertStrictEquals } from "@std/assert";
import { Inbox } from "../core/inbox.ts";

function inboxOf() {
  const delivered: string[] = [];
  const ears = { open: false };
  const inbox = new Inbox<string>(() => ears.open, (m) => delivered.push(m));
  return { inbox, delivered, ears };
}

Deno.test("Inbox passes on what comes while somebody listens", () => {
  const { inbox, delivered, ears } = inboxOf();
  ears.open = true;
  inbox.push("a", 1);
  assertEquals(delivered, ["a"]);
  assertStrictEquals(inbox.waiting, 0);
});

Deno.test("Inbox keeps the rest in order until flush()", () => {
  const { inbox, delivered, ears } = inboxOf();
  inbox.push("a", 1);
  inbox.push("b", 1);
  inbox.flush();
  assertEquals(delivered, []);
  ears.open = true;
  inbox.push("c", 1); // not before those that wait
  assertStrictEquals(inbox.waiting, 3);
  inbox.flush();
  assertEquals(delivered, ["a", "b", "c"]);
});

Deno.test("Inbox.flush() stops when nobody listens any more", () => {
  const delivered: string[] = [];
  let ears = 1;
  const inbox = new Inbox<string>(() => ears > 0, (message) => {
    delivered.push(message);
    ears--;
  });
  ears = 0;
  inbox.push("a", 1);
  inbox.push("b", 1);
  ears = 1;
  inbox.flush();
  assertEquals(delivered, ["a"]);
  ears = 1;
  inbox.flush();
  assertEquals(delivered, ["a", "b"]);
});

Deno.test("Inbox keeps 256 messages, and none when there is one more", () => {
  const { inbox, delivered, ears } = inboxOf();
  for (let i = 0; i < 256; i++) inbox.push(`${i}`, 1);
  assertStrictEquals(inbox.waiting, 256);
  assertStrictEquals(inbox.takeDropped(), 0);
  inbox.push("256", 1);
  inbox.push("257", 1);
  assertStrictEquals(inbox.waiting, 0);
  assertStrictEquals(inbox.takeDropped(), 258);
  assertStrictEquals(inbox.takeDropped(), 0);
  ears.open = true;
  inbox.push("258", 1);
  assertEquals(delivered, ["258"]);
});

Deno.test("Inbox keeps 1 MiB, and nothing when there is one byte more", () => {
  const half = 512 * 1024;
  const { inbox, ears } = inboxOf();
  inbox.push("a", half);
  inbox.push("b", half);
  assertStrictEquals(inbox.waiting, 2);
  inbox.push("c", 1);
  assertStrictEquals(inbox.takeDropped(), 3);

  inbox.push("d", half);
  ears.open = true;
  inbox.flush();
  ears.open = false;
  inbox.push("e", 2 * half); // what was flushed does not count any more
  assertStrictEquals(inbox.waiting, 1);
});
