/** `events.v1` in the hands of peers, programs and networks that do it no good. */

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { deadline } from "@std/async";
import { FakeTime } from "@std/testing/time";
import { ClientSocket } from "../../client.ts";
import { decodeText, encodeValue } from "../../core/values/codec.ts";
import {
  ConnectionEndedError,
  MessageDroppedError,
} from "../../core/events/errors.ts";
import {
  type ConnectionOptions,
  type MessageOptions,
  resolveOptions,
} from "../../core/connection/connection_options.ts";
import {
  encodeBinaryBatch,
  encodeCredit,
  encodeTextBatch,
} from "../../core/protocol/frames.ts";
import type { SocketTypes } from "../../core/values/types.ts";
import { FakeWebSockets } from "../support/fake_websocket.ts";
import {
  createFixture,
  createPair,
  type Fixture,
} from "../support/fake_socket.ts";

/** One end whose peer is the test. */
function open(options: MessageOptions = {}): Fixture {
  const one = createFixture("server", {
    options: manner(options),
    negotiated: EVENTS,
  });
  one.socket.open();
  return one;
}

const EVENTS = { protocol: "", isEvents: true };

function manner(options: MessageOptions): ConnectionOptions<SocketTypes> {
  return resolveOptions<SocketTypes>(options, 0, {
    maxPayload: Infinity,
    closeTimeout: 10_000,
    idleTimeout: () => 0,
  });
}

/** Lets all go on that waits for nothing but its turn. */
async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await null;
}

Deno.test("Connection refuses a request that the codec cannot decode", async () => {
  const codec = {
    name: "picky",
    encode: (value: unknown) => String(encodeValue(value)),
    decode: (frame: string | Uint8Array) => {
      if (typeof frame !== "string") throw new Error("no text");
      return decodeText(frame);
    },
  };
  const { socket, owner, connection } = open({ codec, concurrency: 1 });
  owner.handler = ({ data }) => ({ data });
  socket.receive(new Uint8Array([0xc1, 0x3f, 0, 0, 0, 1, 2]).buffer);
  socket.receive('\u0001?2,"text"');
  await settle();
  assertEquals(owner.errors.map(String), ["Error: no text"]);
  assertEquals(socket.sent, [
    '\u0001[\u0001~1,{"message":"The request could not be read","code":"invalid"}' +
    '\u001e\u0001!2,{"data":"text"}',
  ]);
  connection.terminate();
  assertEquals(owner.events, ["connect", "disconnect"]);
});

Deno.test("Connection emits error for an asynchronous schema that rejects", async () => {
  const schema = {
    "~standard": {
      version: 1 as const,
      vendor: "test",
      validate: () => Promise.reject(new Error("no database")),
    },
  };
  const { socket, owner } = open({ schema });
  socket.receive("text");
  // A rejection that nobody handles would fail the test.
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(owner.errors.length, 1);
});

Deno.test("Connection.send() returns the credit of dropped messages", async () => {
  const { socket, connection } = open({
    highWaterMark: 10,
    maxBufferedAmount: 100,
    overflow: "drop-newest",
  });
  socket.isStalled = true;
  for (let i = 0; i < 1_100; i++) connection.send("a message of 23 bytes..");
  assertThrows(() => {
    // @ts-expect-error: no policy
    connection.send("", { overflow: "none" });
  }, RangeError);
  socket.isStalled = false;
  socket.bufferedAmount = 0;
  await deadline(connection.send("last", { overflow: "latest" }), 5_000);
  assertEquals(socket.sent.length < 10, true);
  assertEquals(connection.dropped.outgoing > 1_000, true);
  connection.terminate();
});

Deno.test("Connection sends credit before queued messages", async () => {
  const { socket, connection } = open({
    highWaterMark: 10,
    maxBufferedAmount: 100,
    overflow: "drop-newest",
  });
  socket.isStalled = true;
  for (let i = 0; i < 100; i++) connection.send("a message");
  for (let i = 0; i < 600; i++) socket.receive("a message");
  socket.isStalled = false;
  socket.bufferedAmount = 0;
  await connection.waitFor("drain", { timeout: 5_000 });
  assertEquals(JSON.stringify(socket.sent).includes("+9007199254740991"), true);
  connection.terminate();
});

Deno.test("Connection closes on a batch larger than 65,536 bytes and sends none", async () => {
  const largest = 2 ** 16;
  // Items of 96 bytes, so that their number is no reason.
  const texts = (length: number, char = "x") =>
    "\u0001[".padEnd(length, `${char.repeat(95)}\u001e`);
  const bytes = (length: number) => {
    const batch = new Uint8Array(length);
    batch.set([0xc1, 0x5b]);
    const view = new DataView(batch.buffer);
    for (let at = 2; at < length; at += 100) {
      view.setUint32(at, Math.min(96, length - at - 4));
    }
    return batch.buffer;
  };
  for (
    const [batch, end] of [
      [texts(largest), []],
      [texts(largest + 1), [1002]],
      [texts(largest / 2 + 400, "\u00e9"), [1002]],
      [bytes(largest), []],
      [bytes(largest + 2), [1002]],
    ] as const
  ) {
    const { socket, connection } = open();
    socket.receive(batch);
    assertEquals(socket.closes.map(([code]) => code), [...end]);
    connection.terminate();
  }
  const { socket, connection } = open();
  for (let i = 0; i < 32; i++) connection.send(new Uint8Array(2044));
  await settle();
  assertEquals(socket.sent.length, 2);
  connection.terminate();
});

Deno.test("Connection closes on a batch of more than 1,024 items and sends none", async () => {
  for (const count of [1_024, 1_025, 32_766]) {
    const texts = encodeTextBatch(Array<string>(count).fill("x"));
    const bytes = encodeBinaryBatch(
      Array.from({ length: Math.min(count, 13_000) }, () => new Uint8Array(1)),
    ).buffer;
    for (const batch of [texts, bytes]) {
      const { socket, owner, connection } = open();
      const before = owner.events.length;
      socket.receive(batch);
      const isQueued = count === 1_024;
      assertEquals(socket.closes.map(([code]) => code), isQueued ? [] : [1002]);
      assertEquals(owner.events.length - before, isQueued ? count : 0);
      connection.terminate();
    }
  }
  const { socket, connection } = open();
  socket.receive(encodeCredit(Number.MAX_SAFE_INTEGER));
  for (const data of ["x", new Uint8Array(1)]) {
    const before = socket.sent.length;
    for (let i = 0; i < 3_000; i++) connection.send(data);
    await settle();
    assertEquals(socket.sent.length - before, 3);
  }
  connection.terminate();
});

Deno.test("Connection.send() with latest replaces messages in any queue", async () => {
  const { socket, connection } = open({ highWaterMark: 1_000 });
  // No room in the socket for the older one, and no credit for the newer one.
  socket.isStalled = true;
  for (let i = 0; i < 1_023; i++) connection.send("x");
  const older = connection.send("older", { overflow: "latest" });
  connection.send("x".repeat(20));
  const newer = connection.send("newer", { overflow: "latest" });
  await assertRejects(() => older, MessageDroppedError);
  socket.receive("\u0001+2048");
  socket.isStalled = false;
  socket.bufferedAmount = 0;
  await deadline(newer, 5_000);
  await settle();
  assertEquals(JSON.stringify(socket.sent).includes("older"), false);
  assertEquals(JSON.stringify(socket.sent).includes("newer"), true);
  connection.terminate();
});

Deno.test("ClientSocket.send() transfers a Blob that is being read", async () => {
  using sockets = new FakeWebSockets();
  const client = new ClientSocket({ reconnect: { minUptime: 0 } });
  const connecting = client.connect("ws://example.test/");
  await sockets.settle();
  sockets.last.protocol = "events.v1";
  sockets.last.open();
  await connecting;
  const sent = client.send(new Blob(["blob"]));
  sockets.last.lose();
  // What is read outside of the fake time comes now.
  await new Promise((resolve) => setImmediate(resolve));
  await sockets.wait(2_000);
  sockets.last.open();
  await sent;
  assertEquals(sockets.last.sent, [new TextEncoder().encode("blob").buffer]);
  await client.close();
});

Deno.test("Connection.request() with an invalid timeout does not affect others", async () => {
  const { connection } = open();
  const other = connection.request("other");
  assertThrows(() => connection.request("x", { timeout: NaN }), RangeError);
  assertThrows(() => connection.request("x", { timeout: -1 }), RangeError);
  connection.terminate();
  await assertRejects(() => other, ConnectionEndedError);
});

Deno.test("Connection emits a deferred end in time", async () => {
  using time = new FakeTime();
  const { socket, owner, connection } = createFixture("server", {
    options: manner({ concurrency: 1 }),
    negotiated: EVENTS,
  });
  owner.pending = [new Promise(() => {})];
  const first = Promise.withResolvers<void>();
  owner.received = (_message, pending) => void pending?.push(first.promise);
  socket.open();
  socket.receive("one");
  socket.receive("two");
  socket.end(true, 1000);
  await time.tickAsync(5_000);
  first.resolve();
  await settle();
  const ends: string[] = [];
  owner.endDeferred = (_connection, isWaiting) =>
    void ends.push(String(isWaiting));
  await time.tickAsync(5_000);
  await settle();
  assertEquals(ends, ["false"]);
  assertEquals(owner.errors, []);
  await connection.close();
});

for (const concurrency of [1, Infinity]) {
  Deno.test(`Connection.close() on both sides delivers queued messages with concurrency ${concurrency}`, async () => {
    const [one, other] = createPair("server", {
      options: manner({ concurrency }),
      negotiated: EVENTS,
    });
    for (const { connection } of [one, other]) {
      connection.on("message", () => new Promise(() => {}));
      const before = concurrency === 1 ? 700 : 0;
      for (let i = 0; i < before; i++) connection.send("before");
    }
    await settle();
    for (const { connection } of [one, other]) {
      for (let i = 0; i < 3_000; i++) connection.send("x");
      connection.close();
    }
    await settle();
    for (const { owner } of [one, other]) {
      assertEquals(owner.events.at(-1), "close");
    }
  });
}
