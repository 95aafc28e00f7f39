/** What is sent within one turn travels in one frame. */

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { toBytes } from "../../../core/values/codec.ts";
import { encodeTextBatch } from "../../../core/protocol/frames.ts";
import { MAX_BATCH_BYTES } from "../../../core/protocol/frames.ts";
import { FrameBatcher } from "../../../core/sending/batcher.ts";
import { encodeHex } from "../../support/hex.ts";
import { FakeSocket } from "../../support/fake_socket.ts";

/** An open socket, and what sends by it. */
function open(): {
  socket: FakeSocket;
  packer: FrameBatcher;
  sent: () => unknown[];
} {
  const socket = new FakeSocket();
  socket.readyState = 1;
  const sent = () =>
    socket.sent.splice(0).map((data) =>
      ArrayBuffer.isView(data) || data instanceof ArrayBuffer
        ? encodeHex(
          new Uint8Array(
            data instanceof ArrayBuffer ? data : data.buffer.slice(
              data.byteOffset,
              data.byteOffset + data.byteLength,
            ),
          ),
        )
        : data
    );
  return { socket, packer: new FrameBatcher(socket), sent };
}

Deno.test("FrameBatcher sends a single message unchanged in the same turn", async () => {
  const { packer, sent } = open();
  packer.send("alone");
  assertEquals(sent(), []);
  await Promise.resolve();
  assertEquals(sent(), ["alone"]);
  packer.send(new Uint8Array([1]));
  await Promise.resolve();
  assertEquals(sent(), ["01"]);
  await Promise.resolve();
  assertEquals(sent(), []);
});

Deno.test("FrameBatcher combines the texts of a turn in order", async () => {
  const { packer, sent } = open();
  for (const text of ["a", "", "\u0001?1,b", "c"]) packer.send(text);
  await Promise.resolve();
  assertEquals(sent(), ["\u0001[a\u001e\u001e\u0001?1,b\u001ec"]);
});

Deno.test("FrameBatcher combines copies of the bytes of a turn", async () => {
  const { packer, sent } = open();
  const bytes = new Uint8Array([0, 97, 98]);
  packer.send(bytes.subarray(1));
  packer.send(bytes.subarray(1, 2).slice().buffer);
  bytes.fill(255);
  await Promise.resolve();
  assertEquals(sent(), ["c15b0000000261620000000161"]);
});

Deno.test("FrameBatcher keeps the order of texts and bytes", async () => {
  const { packer, sent } = open();
  packer.send("a");
  packer.send("b");
  packer.send(new Uint8Array([1]));
  packer.send("c");
  assertEquals(sent(), ["\u0001[a\u001eb", "01"]);
  await Promise.resolve();
  assertEquals(sent(), ["c"]);
});

Deno.test("FrameBatcher sends ambiguous messages outside of batches", async () => {
  const { packer, sent } = open();
  packer.send("a");
  packer.send("b\u001ec");
  assertEquals(sent(), ["a", "b\u001ec"]);
  packer.send("d");
  await Promise.resolve();
  assertEquals(sent(), ["d"]);
});

Deno.test("FrameBatcher limits batches to 64 KiB and sends large messages immediately", async () => {
  const { packer, socket, sent } = open();
  const large = "ä".repeat(MAX_BATCH_BYTES / 3);
  packer.send("a");
  packer.send(large);
  assertEquals(sent(), ["a", large]);
  const part = new Uint8Array(16_382 - 4); // the fourth fills it to the last byte
  const rest = new Uint8Array(MAX_BATCH_BYTES - 2 - 3 * 16_382 - 4);
  for (const bytes of [part, part, part, rest, part]) packer.send(bytes);
  await Promise.resolve();
  assertStrictEquals(socket.sent.length, 2);
  const [batch] = socket.sent;
  assert(batch instanceof Uint8Array);
  assertStrictEquals(batch.byteLength, MAX_BATCH_BYTES);
  sent();
  const text = "€".repeat(1_000);
  for (let i = 0; i < 40; i++) packer.send(text);
  await Promise.resolve();
  const encoder = new TextEncoder();
  for (const data of socket.sent) {
    assert(encoder.encode(String(data)).length <= MAX_BATCH_BYTES);
  }
  assertStrictEquals(socket.sent.length, 2);
});

Deno.test("FrameBatcher.bufferedAmount includes waiting messages", async () => {
  const { packer, socket } = open();
  assertStrictEquals(packer.bufferedAmount, 0);
  socket.bufferedAmount = 7;
  packer.send("abc");
  packer.send("d");
  assertStrictEquals(packer.bufferedAmount, 11);
  assertStrictEquals(packer.readyState, 1);
  await Promise.resolve();
  assertStrictEquals(packer.bufferedAmount, 7);
});

Deno.test("FrameBatcher.flush() sends and clear() discards waiting messages", async () => {
  const { packer, socket, sent } = open();
  packer.send("a");
  packer.send("b");
  packer.flush();
  assertEquals(sent(), ["\u0001[a\u001eb"]);
  packer.flush();
  packer.send("c");
  packer.clear();
  await Promise.resolve();
  assertEquals(sent(), []);
  packer.send("d");
  socket.readyState = 2;
  await Promise.resolve();
  assertEquals(sent(), []);
  assertStrictEquals(packer.bufferedAmount, 0);
});

Deno.test("FrameBatcher shares the encoding of equal batches", async () => {
  const all = [open(), open(), open()];
  const texts = ["one", "two"];
  for (const text of texts) for (const { packer } of all) packer.send(text);
  all[1]?.packer.send("three");
  await Promise.resolve();
  const [first, second, third] = all.map(({ sent }) => sent());
  assertEquals(first, [encodeTextBatch(texts)]);
  assertEquals(second, [encodeTextBatch([...texts, "three"])]);
  assertEquals(third, [encodeTextBatch(texts)]);
  assertStrictEquals(toBytes(new ArrayBuffer(1)).length, 1);
});
