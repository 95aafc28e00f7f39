import { assertEquals, assertStrictEquals } from "@std/assert";
import { Message, type MessageAuthor } from "../../message.ts";

const author: MessageAuthor = { send: () => Promise.resolve() };

Deno.test("Message of a text frame that is JSON", () => {
  const message = new Message('{"a":1}', author);
  assertEquals(message.data, { a: 1 });
  assertStrictEquals(message.content, '{"a":1}');
  assertEquals(message.bytes, new TextEncoder().encode('{"a":1}'));
  assertStrictEquals(message.isBinary, false);
  assertStrictEquals(message.author, author);
});

Deno.test("Message of a text frame that is not JSON", () => {
  const message = new Message("plain", author);
  assertStrictEquals(message.data, "plain");
  assertStrictEquals(message.content, "plain");
});

Deno.test("Message of a binary frame", () => {
  const { buffer } = new TextEncoder().encode("{}");
  const message = new Message(buffer, author);
  assertEquals(message.data, new Uint8Array([0x7b, 0x7d]));
  assertEquals(message.bytes, new Uint8Array([0x7b, 0x7d]));
  assertStrictEquals(message.content, "{}");
  assertStrictEquals(message.isBinary, true);
  const marked = new TextEncoder().encode("\ufeffmarked");
  assertStrictEquals(
    new Message(marked.buffer, author).content,
    "\ufeffmarked",
  );
});

Deno.test("Message.data is decoded once, even if it is undefined or null", () => {
  const message = new Message('{"list":[]}', author);
  assertStrictEquals(message.data, message.data);
  assertStrictEquals(new Message("null", author).data, null);
});

Deno.test("Message.createdAt defaults to the time of creation", () => {
  const before = Date.now();
  const { createdAt } = new Message("", author);
  assertEquals(before <= createdAt.getTime(), true);
  assertEquals(createdAt.getTime() <= Date.now(), true);
  assertEquals(new Message("", author, 5).createdAt, new Date(5));
});

Deno.test("Message.reply() sends to the author", async () => {
  const sent: unknown[] = [];
  const message = new Message("", {
    send(data: unknown) {
      sent.push(data);
      return Promise.resolve();
    },
  });
  await message.reply({ ok: true });
  assertEquals(sent, [{ ok: true }]);
});

Deno.test("Message formats itself for console.log()", () => {
  const shown = Deno.inspect(new Message('{"a":1}', author, 0))
    .replaceAll(/\s+/g, " ");
  assertStrictEquals(
    shown,
    "Message { data: { a: 1 }, isBinary: false, createdAt: 1970-01-01T00:00:00.000Z }",
  );
});
