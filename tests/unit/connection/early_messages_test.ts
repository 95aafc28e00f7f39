import { assertEquals, assertStrictEquals } from "@std/assert";
import { EarlyMessages } from "../../../core/connection/early_messages.ts";

Deno.test("EarlyMessages returns messages in order", () => {
  const inbox = new EarlyMessages<string>();
  assertStrictEquals(inbox.shift(), undefined);
  inbox.push("a", 1);
  inbox.push("b", 1);
  assertStrictEquals(inbox.length, 2);
  assertEquals([inbox.shift(), inbox.shift(), inbox.shift()], [
    "a",
    "b",
    undefined,
  ]);
});

Deno.test("EarlyMessages drops all messages beyond 256", () => {
  const inbox = new EarlyMessages<number>();
  for (let i = 0; i < 256; i++) inbox.push(i, 1);
  assertStrictEquals(inbox.length, 256);
  assertStrictEquals(inbox.takeDropped(), 0);
  inbox.push(256, 1);
  inbox.push(257, 1);
  assertStrictEquals(inbox.length, 0);
  assertStrictEquals(inbox.takeDropped(), 258);
  assertStrictEquals(inbox.takeDropped(), 0);
  inbox.push(258, 1);
  assertStrictEquals(inbox.shift(), 258);
});

Deno.test("EarlyMessages drops all messages beyond 1 MiB", () => {
  const half = 512 * 1024;
  const inbox = new EarlyMessages<string>();
  inbox.push("a", half);
  inbox.push("b", half);
  assertStrictEquals(inbox.length, 2);
  inbox.push("c", 1);
  assertStrictEquals(inbox.takeDropped(), 3);
});

Deno.test("EarlyMessages accepts one message of any size", () => {
  const inbox = new EarlyMessages<string>();
  inbox.push("large", 64 * 1024 * 1024);
  assertStrictEquals(inbox.length, 1);
  inbox.push("small", 1);
  assertStrictEquals(inbox.takeDropped(), 2);
});

Deno.test("EarlyMessages counts only held messages", () => {
  const third = 350_000;
  const inbox = new EarlyMessages<number>();
  inbox.push(0, third);
  for (let i = 1; i < 100; i++) {
    inbox.push(i, third);
    assertStrictEquals(inbox.shift(), i - 1);
  }
  assertStrictEquals(inbox.takeDropped(), 0);
});
