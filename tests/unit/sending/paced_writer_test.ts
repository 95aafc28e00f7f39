import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { FakeTime } from "@std/testing/time";
import {
  ConnectionEndedError,
  MessageDroppedError,
} from "../../../core/events/errors.ts";
import {
  type FlowOptions,
  resolveWriterLimits,
} from "../../../core/sending/flow_options.ts";
import type { SendOptions } from "../../../core/sending/send_queue.ts";
import type { Sendable } from "../../../core/values/codec.ts";
import { createFixture, type Fixture } from "../../support/fake_socket.ts";

/** A connection that is open, and whose peer takes nothing until it is told to. */
class Stalled implements Disposable {
  readonly party: Fixture;
  /** What has become of each `send`, in order. */
  readonly fates: string[] = [];
  readonly drains: number[] = [];

  constructor(options: FlowOptions = {}, stallTimeout = 0) {
    this.party = createFixture("server", {
      options: { writerLimits: resolveWriterLimits(options, stallTimeout) },
    });
    const { socket, connection } = this.party;
    socket.isStalled = true;
    socket.open();
    connection.on("drain", () => this.drains.push(socket.sent.length));
  }

  send(data: Sendable, options?: SendOptions): void {
    const at = this.fates.push("waits") - 1;
    this.party.connection.send(data, options).then(
      () => this.fates[at] = "sent",
      (error) => this.fates[at] = error.name,
    );
  }

  /** What the socket has been given. */
  get sent(): unknown[] {
    return this.party.socket.sent;
  }

  get ends(): unknown[] {
    return this.party.owner.ends;
  }

  /** The peer takes so many bytes. */
  take(bytes: number): void {
    this.party.socket.bufferedAmount -= bytes;
  }

  [Symbol.dispose](): void {
    this.party.connection.terminate();
  }
}

/** Lets time pass, and all that it has set off happen. */
async function pass(time: FakeTime, ms: number): Promise<void> {
  await time.tickAsync(ms);
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

function test(
  name: string,
  run: (time: FakeTime) => Promise<void>,
): void {
  Deno.test(`flow: ${name}`, async () => {
    using time = new FakeTime();
    await run(time);
  });
}

Deno.test("resolveWriterLimits() rejects invalid options", () => {
  for (const name of ["highWaterMark", "maxBufferedAmount"]) {
    for (const value of [-1, NaN]) {
      assertThrows(
        () => resolveWriterLimits({ [name]: value }, 0),
        RangeError,
        `Cannot use "${name}" unless it is 0 or more: current value is`,
      );
    }
  }
  const options: object = { overflow: "oldest" };
  assertThrows(
    () => resolveWriterLimits(options, 0),
    RangeError,
    "one of terminate",
  );
  const { highWaterMark, maxBufferedAmount, overflow } = resolveWriterLimits(
    {},
    0,
  );
  assertEquals([highWaterMark, maxBufferedAmount, overflow], [
    1024 ** 2,
    16 * 1024 ** 2,
    "terminate",
  ]);
});

test("highWaterMark: below it send() gives the same promise each time", async () => {
  using self = new Stalled({ highWaterMark: 10 });
  const { connection } = self.party;
  // The socket is asked once three bytes a character might reach the mark.
  const first = connection.send("123");
  assertStrictEquals(connection.send("456"), first);
  assertStrictEquals(connection.send("789"), first);
  await first;
  assertStrictEquals(connection.bufferedAmount, 9);
});

test("highWaterMark: at it send() waits, and goes on at half of it", async (time) => {
  using self = new Stalled({ highWaterMark: 10 });
  self.send("12345");
  self.send("67890");
  self.send("waits here");
  await pass(time, 100);
  assertEquals(self.fates, ["sent", "waits", "waits"]);
  assertEquals(self.sent, ["12345", "67890"]);
  assertStrictEquals(self.party.connection.bufferedAmount, 20);
  self.take(4);
  await pass(time, 100);
  assertEquals(self.fates, ["sent", "waits", "waits"]); // 6 left
  self.take(1);
  await pass(time, 100);
  assertEquals(self.sent, ["12345", "67890", "waits here"]);
  assertEquals(self.fates, ["sent", "sent", "waits"]); // full again
  self.take(15);
  await pass(time, 100);
  assertEquals(self.fates, ["sent", "sent", "sent"]);
});

test("highWaterMark: what has left by the next send() is waited for no longer", async (time) => {
  using peer = new Stalled({ highWaterMark: 10 });
  peer.send("x".repeat(10));
  peer.send("kept");
  peer.take(10);
  assertEquals(peer.sent.length, 1);
  // No time has passed: the clock has not looked.
  peer.send("y".repeat(10));
  assertEquals(peer.sent, ["x".repeat(10), "kept", "y".repeat(10)]);
  // Of empty messages nobody can tell whether they have left.
  peer.take(14);
  for (let i = 0; i < 1_024; i++) peer.send("");
  const { length } = peer.sent;
  peer.send("z");
  assertEquals(peer.sent.length, length);
  await pass(time, 1_000);
  assertEquals(peer.sent.at(-1), "z");
});

test("highWaterMark: 0 hands over one message at a time", async (time) => {
  using self = new Stalled({ highWaterMark: 0 });
  self.send("");
  self.send("1");
  self.send("2");
  await pass(time, 100);
  assertEquals(self.sent, ["", "1"]);
  self.take(1);
  await pass(time, 100);
  assertEquals(self.sent, ["", "1", "2"]);
  assertEquals(self.fates, ["sent", "sent", "waits"]);
});

test("highWaterMark: what waits is kept as it was, in order, Blobs too", async (time) => {
  using self = new Stalled({ highWaterMark: 1 });
  const bytes = new Uint8Array([1, 2]);
  self.send("full");
  self.send(bytes);
  self.send(new Blob(["3"]));
  self.send(new Uint8Array([0, 4]).subarray(1).buffer);
  bytes.fill(0);
  for (let i = 0; i < 20; i++) {
    self.take(self.party.socket.bufferedAmount);
    await pass(time, 10);
  }
  assertEquals(self.sent, [
    "full",
    new Uint8Array([1, 2]).buffer,
    new TextEncoder().encode("3").buffer,
    new Uint8Array([0, 4]).buffer,
  ]);
  assertEquals(self.fates, ["sent", "sent", "sent", "sent"]);
});

test("drain: comes once there is room and nothing waits", async (time) => {
  using self = new Stalled({ highWaterMark: 10 });
  self.send("a");
  self.take(1);
  await pass(time, 100);
  assertEquals(self.drains, []); // never full, so nobody has to know
  self.send("1234567890");
  self.send("1234567890");
  self.take(10);
  await pass(time, 100);
  assertEquals(self.drains, []); // full again
  self.take(10);
  await pass(time, 100);
  assertEquals(self.drains, [3]);
  assertEquals(self.party.owner.events, ["connect", "drain"]);
});

test("drain: a listener may send, and wait once more", async (time) => {
  using self = new Stalled({ highWaterMark: 10 });
  self.party.connection.once("drain", () => self.send("abcdefghij"));
  self.send("1234567890");
  self.take(10);
  await pass(time, 100);
  assertEquals(self.fates, ["sent", "waits"]);
  self.take(10);
  await pass(time, 100);
  assertEquals(self.fates, ["sent", "sent"]);
});

test("maxBufferedAmount: to the byte, then terminate", async (time) => {
  using self = new Stalled({ highWaterMark: 10, maxBufferedAmount: 20 });
  self.send("1234567890");
  self.send("12345678é"); // é is two bytes
  await pass(time, 10);
  assertEquals(self.ends, []);
  assertStrictEquals(self.party.connection.bufferedAmount, 20);
  self.send("1");
  assertEquals(self.ends, [
    { type: "disconnect", code: 1006, reason: "", cause: "backpressure" },
  ]);
  await pass(time, 10);
  assertEquals(self.fates, Array(3).fill("ConnectionEndedError"));
  assertStrictEquals(self.party.connection.dropped.outgoing, 0);
  const late = self.party.connection.send("late");
  await assertRejects(() => late, ConnectionEndedError, "code 1006");
});

test("maxBufferedAmount: what is alone goes out, however large", async (time) => {
  using self = new Stalled({ highWaterMark: 10, maxBufferedAmount: 20 });
  self.send("x".repeat(1000));
  self.take(1000);
  await pass(time, 100);
  self.send(new Blob(["x".repeat(1000)]));
  await pass(time, 100);
  assertEquals(self.fates, ["sent", "waits"]);
  assertEquals([self.sent.length, self.ends], [2, []]);
});

test("overflow: drop-newest drops what comes, and counts it", async (time) => {
  using self = new Stalled({
    highWaterMark: 5,
    maxBufferedAmount: 10,
    overflow: "drop-newest",
  });
  for (const text of ["12345", "67890", "x", "y"]) self.send(text);
  await pass(time, 10);
  const dropped = "MessageDroppedError";
  assertEquals(self.fates, ["waits", "waits", dropped, dropped]);
  assertEquals(self.party.connection.dropped, {
    incoming: 0,
    outgoing: 2,
    replies: 0,
  });
  self.take(5);
  await pass(time, 100);
  assertEquals(self.sent, ["12345", "67890"]);
  const error = await assertRejects(
    async () => {
      self.send("abcde");
      await self.party.connection.send("f");
    },
    MessageDroppedError,
    '"maxBufferedAmount" is 10',
  );
  assertStrictEquals(error.name, "MessageDroppedError");
  assertEquals(self.ends, []);
});

test("overflow: drop-oldest drops what has waited longest", async (time) => {
  using self = new Stalled({
    highWaterMark: 5,
    maxBufferedAmount: 15,
    overflow: "drop-oldest",
  });
  for (const text of ["socket", "abc", "def", "ghi", "jkl"]) self.send(text);
  await pass(time, 10);
  const dropped = "MessageDroppedError";
  assertEquals(self.fates, ["waits", dropped, "waits", "waits", "waits"]);
  assertStrictEquals(self.party.connection.dropped.outgoing, 1);
  self.take(6);
  await pass(time, 100);
  assertEquals(self.sent, ["socket", "def", "ghi"]);
});

test("overflow: latest, by message: the newest of each key is sent", async (time) => {
  using self = new Stalled({ highWaterMark: 5 });
  self.send("socket");
  for (let i = 0; i < 1000; i++) {
    self.send({ x: i }, { overflow: "latest", key: "x" });
    if (i === 0) self.send("text");
    self.send({ y: i }, { overflow: "latest", key: "y" });
  }
  assertStrictEquals(self.party.connection.dropped.outgoing, 1998);
  while (self.sent.length < 4) {
    self.take(self.party.socket.bufferedAmount);
    await pass(time, 100);
  }
  self.take(self.party.socket.bufferedAmount);
  await pass(time, 100);
  assertEquals(self.sent, ["socket", '{"x":999}', "text", '{"y":999}']);
  assertEquals(self.fates.filter((fate) => fate === "sent").length, 4);
});

test("overflow: of a message counts more than that of the connection", async (time) => {
  using self = new Stalled({
    highWaterMark: 1,
    maxBufferedAmount: 4,
    overflow: "drop-newest",
  });
  self.send("1");
  self.send("2", { overflow: "drop-oldest" });
  self.send("3");
  self.send("45", { overflow: "drop-oldest" });
  self.send("6");
  await pass(time, 10);
  const dropped = "MessageDroppedError";
  assertEquals(self.fates, ["waits", dropped, "waits", "waits", dropped]);
  self.send("7", { overflow: "terminate" }); // makes room for itself
  assertEquals(self.ends, []);
  self.send("890", { overflow: "terminate" }); // cannot
  assertEquals(self.ends.length, 1);
});

test("a stalled peer is given up after idleTimeout", async (time) => {
  using self = new Stalled({ highWaterMark: 10 }, 1_000);
  self.send("1234567890");
  await pass(time, 999);
  assertEquals(self.ends, []);
  await pass(time, 40);
  assertEquals(self.ends, [
    { type: "disconnect", code: 1006, reason: "", cause: "timeout" },
  ]);
  assertEquals(self.fates, ["ConnectionEndedError"]);
});

test("a stalled peer that still sends is told apart", async (time) => {
  using self = new Stalled({ highWaterMark: 10 }, 1_000);
  self.send("1234567890");
  await pass(time, 500);
  self.party.socket.receive("I am here");
  await pass(time, 600);
  assertEquals(self.ends, [
    { type: "disconnect", code: 1006, reason: "", cause: "backpressure" },
  ]);
});

test("a slow peer is not taken for a stalled one", async (time) => {
  using self = new Stalled({ highWaterMark: 10 }, 1_000);
  self.send("x".repeat(100));
  for (let i = 0; i < 94; i++) {
    await pass(time, 900);
    self.take(1);
  }
  assertEquals([self.ends, self.fates], [[], ["waits"]]);
  self.take(1);
  await pass(time, 40);
  assertEquals(self.fates, ["sent"]);
});

test("a large message has time to get through a slow line", async (time) => {
  using self = new Stalled({ highWaterMark: 10 }, 1_000);
  self.send("x".repeat(160 * 1024)); // ten seconds at 16 KiB a second
  await pass(time, 10_900);
  assertEquals(self.ends, []);
  await pass(time, 200);
  assertEquals(self.ends.length, 1);
});

test("a stalled peer is found although there is room for more", async (time) => {
  using self = new Stalled({}, 1_000);
  // A trickle that would not reach the mark in a year.
  for (let i = 0; i < 15 && self.ends.length === 0; i++) {
    self.send(".");
    await pass(time, 100);
  }
  assertEquals(self.ends, []);
  assert(self.sent.length < 10, "it gets nothing more while it is not moving");
  await pass(time, 100);
  assertEquals(self.ends.length, 1);
  assertEquals(self.drains, []);
});

test("a stalled peer is sent nothing more after ten seconds at most", async (time) => {
  using self = new Stalled({}, 600_000);
  self.send("1");
  await pass(time, 9_900);
  self.send("2");
  await pass(time, 200); // it is checked for the second time
  self.send("3");
  assertEquals(self.sent, ["1", "2"]);
  assertEquals(self.fates, ["sent", "sent", "waits"]);
  assertEquals(self.ends, []);
});

test("a peer that moves again gets what was kept", async (time) => {
  using self = new Stalled({}, 1_000);
  self.send("1");
  await pass(time, 600); // seems to be stalled
  self.send("2");
  assertEquals(self.sent, ["1"]);
  self.take(1);
  await pass(time, 100);
  assertEquals(self.sent, ["1", "2"]);
  assertEquals(self.fates, ["sent", "sent"]);
  assertEquals(self.drains, [2]);
  self.take(1);
  await pass(time, 10_000);
  assertEquals(self.ends, []);
  self.send("3"); // and is watched again
  await pass(time, 2_000);
  assertEquals(self.ends.length, 1);
});

test("what is left below the mark is watched, too", async (time) => {
  using self = new Stalled({ highWaterMark: 10 }, 1_000);
  self.send("1234567890");
  self.take(8);
  await pass(time, 100);
  assertEquals([self.fates, self.drains], [["sent"], [1]]);
  await pass(time, 2_000);
  assertEquals(self.ends.length, 1);
});

test("nobody is watched for ever if idleTimeout is 0", async (time) => {
  using self = new Stalled({ highWaterMark: 10 }, 0);
  self.send("1234567890");
  await pass(time, 1e7);
  assertEquals(self.ends, []);
});

test("closeClient() sends what waits first, and waits for closeTimeout at most", async (time) => {
  for (const isQueued of [true, false]) {
    using self = new Stalled({ highWaterMark: 5 });
    const { connection, socket } = self.party;
    socket.answers = true;
    self.send("12345");
    self.send("67890");
    const closing = connection.close(4000);
    const late = connection.send("late");
    await assertRejects(() => late, ConnectionEndedError, "is closing");
    await pass(time, 9_900);
    assertEquals([self.sent, socket.closes], [["12345"], []]);
    if (isQueued) {
      self.take(5);
      await pass(time, 50);
      assertEquals(self.sent, ["12345", "67890"]);
      assertEquals(socket.closes, [[4000, ""]]);
      socket.end(true, 4000);
    } else await pass(time, 100);
    await closing;
    await pass(time, 0);
    const sent = isQueued ? "sent" : "ConnectionEndedError";
    assertEquals(self.fates, [sent, sent]);
    const [end] = self.party.owner.ends;
    assertStrictEquals(end?.type, isQueued ? "close" : "disconnect");
  }
});

test("what waits is let go when the peer closes", async (time) => {
  using self = new Stalled({ highWaterMark: 5 });
  const { socket } = self.party;
  self.send("12345");
  self.send("67890");
  socket.readyState = 3; // the runtime answers before it tells
  self.take(5);
  await pass(time, 100);
  assertEquals([self.sent, self.fates], [["12345"], ["waits", "waits"]]);
  socket.end(true, 4000);
  await pass(time, 0);
  // The peer may have read what it was sent, and has not been sent the rest.
  assertEquals(self.fates, ["sent", "ConnectionEndedError"]);
});

test("a Blob that cannot be read rejects, and holds nobody up", async (time) => {
  using self = new Stalled();
  const blob = new Blob(["x"]);
  Object.defineProperty(blob, "arrayBuffer", {
    value: () => Promise.reject(new DOMException("gone", "NotReadableError")),
  });
  self.send(blob);
  self.send("next");
  await pass(time, 10);
  assertEquals(self.fates, ["NotReadableError", "sent"]);
  assertEquals(self.sent, ["next"]);
});

test("a Blob that is dropped while it is read is not sent", async (time) => {
  using self = new Stalled({ maxBufferedAmount: 3 });
  self.send(new Blob(["123"]), { overflow: "drop-oldest" });
  self.send("456", { overflow: "drop-oldest" });
  await pass(time, 10);
  assertEquals(self.fates, ["MessageDroppedError", "sent"]);
  assertEquals(self.sent, ["456"]);
});

test("drain: comes to nobody who was not made to wait", async (time) => {
  using self = new Stalled({ highWaterMark: 10 }, 1_000);
  self.send("1234567890");
  self.take(10);
  await pass(time, 100);
  assertEquals(self.drains, [1]);
  self.send("1");
  await pass(time, 600); // seems to be stalled
  self.take(1);
  await pass(time, 100);
  assertEquals(self.drains, [1]);
});

test("drain: waits for a Blob that waits", async (time) => {
  using self = new Stalled({ highWaterMark: 10 });
  const read = Promise.withResolvers<ArrayBuffer>();
  const blob = new Blob(["x"]);
  Object.defineProperty(blob, "arrayBuffer", { value: () => read.promise });
  self.send("1234567890");
  self.send(blob);
  self.take(10);
  await pass(time, 100);
  assertEquals([self.fates, self.drains], [["sent", "waits"], []]);
  read.resolve(new ArrayBuffer(1));
  await pass(time, 100);
  assertEquals([self.fates, self.drains], [["sent", "sent"], [2]]);
});

test("drain: comes no more once the connection is closing", async (time) => {
  using self = new Stalled({ highWaterMark: 10 });
  self.send("1234567890");
  self.send("last");
  self.party.connection.close(4000);
  self.take(10);
  await pass(time, 100);
  assertEquals([self.sent.length, self.drains], [2, []]);
});

test("a stalled peer counts as silent if it has sent before only", async (time) => {
  using self = new Stalled({ highWaterMark: 10 }, 1_000);
  self.send("x".repeat(20));
  self.party.socket.receive("before");
  await pass(time, 500);
  self.take(1);
  await pass(time, 1_100);
  assertEquals(self.party.owner.ends.map(({ cause }) => cause), ["timeout"]);
});

test("what moves is looked at soon again", async (time) => {
  using self = new Stalled({ highWaterMark: 10 });
  self.send("x".repeat(100));
  await pass(time, 1_000); // looks every 32 ms by now
  for (let i = 0; i < 40; i++) {
    self.take(1);
    await pass(time, 1);
  }
  self.take(60);
  await pass(time, 2);
  assertEquals(self.fates, ["sent"]);
});

test("idleTimeout 0 leaves what does not move its way", async (time) => {
  using self = new Stalled({}, 0);
  self.send("1");
  await pass(time, 10_000);
  self.send("2");
  assertEquals(self.sent, ["1", "2"]);
});

test("a flow of which nothing waits is not looked at", async (time) => {
  const flow = resolveWriterLimits({}, 1_000);
  const { socket, connection } = createFixture("server", {
    options: { writerLimits: flow },
  });
  socket.open();
  connection.send("1");
  assertStrictEquals(flow.slowPoll.size, 1);
  await pass(time, 300);
  assertEquals([flow.slowPoll.size, flow.fastPoll.size], [0, 0]);
  connection.send("2");
  assertStrictEquals(flow.slowPoll.size, 1);
  connection.terminate();
  assertStrictEquals(flow.slowPoll.size, 0);
});

test("a Blob is read once, and not sent where the socket takes nothing", async (time) => {
  using self = new Stalled();
  const blob = new Blob(["x"]);
  let reads = 0;
  const read = Promise.withResolvers<ArrayBuffer>();
  Object.defineProperty(blob, "arrayBuffer", {
    value: () => {
      reads++;
      return read.promise;
    },
  });
  self.send(blob);
  self.send("2");
  self.send("3");
  assertStrictEquals(reads, 1);
  self.party.socket.readyState = 2; // the peer has closed meanwhile
  read.resolve(new ArrayBuffer(1));
  await pass(time, 10);
  assertEquals([self.sent, self.fates], [[], ["waits", "waits", "waits"]]);
  self.party.socket.end(true, 1000);
  await pass(time, 0);
  assertEquals(self.fates, Array(3).fill("ConnectionEndedError"));
});

test("overflow: bytes are what they were, whatever was dropped before them", async (time) => {
  using self = new Stalled({
    highWaterMark: 1,
    maxBufferedAmount: 9,
    overflow: "drop-oldest",
  });
  const bytes = new Uint8Array(2);
  self.send("x");
  for (let i = 1; i < 9; i++) {
    bytes.fill(i);
    self.send(bytes);
  }
  self.send(new Uint8Array([9])); // smaller than what it takes the place of
  self.send("text");
  self.send(new Uint8Array([10, 10]));
  while (self.party.connection.bufferedAmount > 0) {
    self.take(self.party.socket.bufferedAmount);
    await pass(time, 10);
  }
  const [, ...rest] = self.sent;
  assertEquals(
    rest.map((data) =>
      data instanceof ArrayBuffer ? [...new Uint8Array(data)] : data
    ),
    [[9], "text", [10, 10]],
  );
});

test("highWaterMark: many small messages count as one for each 256 bytes", async (time) => {
  using self = new Stalled();
  for (let i = 0; i < 4_096; i++) self.send("x");
  await pass(time, 0);
  assertEquals(self.fates.slice(-2), ["sent", "waits"]);
  self.send("one more");
  assertStrictEquals(self.sent.length, 4_096);
  self.take(2_047);
  await pass(time, 100);
  assertStrictEquals(self.sent.length, 4_096); // more than half is left
  self.take(1);
  await pass(time, 100);
  assertStrictEquals(self.sent.length, 4_097);
  assertEquals(self.fates.slice(-2), ["sent", "sent"]);
  assertEquals(self.drains, [4_097]);
});

test("highWaterMark: small messages that leave do not add up", async () => {
  using self = new Stalled();
  const { connection } = self.party;
  const done = connection.send("x");
  for (let i = 0; i < 20_000; i++) {
    self.take(self.party.socket.bufferedAmount); // it keeps up
    assertStrictEquals(connection.send("x"), done);
  }
  await done;
});

test("highWaterMark: empty messages are taken to have left after a while", async (time) => {
  using self = new Stalled();
  for (let i = 0; i < 4_097; i++) self.send("");
  await pass(time, 200);
  assertStrictEquals(self.sent.length, 4_096);
  assertEquals(self.fates.slice(-2), ["waits", "waits"]);
  await pass(time, 100);
  assertStrictEquals(self.sent.length, 4_097);
  assertEquals(self.fates.slice(-2), ["sent", "sent"]);
});

test("highWaterMark: empty messages have left if one behind them has", async (time) => {
  using self = new Stalled();
  for (let i = 0; i < 4_000; i++) self.send("");
  self.send("x");
  self.take(1);
  for (let i = 0; i < 4_000; i++) self.send("");
  await pass(time, 0);
  assertStrictEquals(self.sent.length, 8_001);
});

test("maxBufferedAmount: many small messages count, too", async (time) => {
  using self = new Stalled({ highWaterMark: 1, maxBufferedAmount: 600_000 });
  self.send("x");
  for (let i = 0; i < 1_171; i++) self.send("");
  await pass(time, 10);
  assertEquals(self.ends, []);
  self.send("");
  assertEquals(self.party.owner.ends.map(({ cause }) => cause), [
    "backpressure",
  ]);
});

test("overflow: what is no policy throws, and sends nothing", async () => {
  using self = new Stalled();
  const options: object = { overflow: "oldest" };
  assertThrows(
    () => self.party.connection.send("x", options),
    RangeError,
    "one of terminate, drop-oldest, drop-newest, latest: current value is oldest",
  );
  assertEquals(self.sent, []);
  await self.party.connection.send("x", { overflow: "latest" });
});

test("highWaterMark: empty messages do not add up where there are few", async (time) => {
  using self = new Stalled({}, 1_000);
  for (let round = 1; round <= 3; round++) {
    for (let i = 0; i < 3_000; i++) self.send("");
    assertStrictEquals(self.sent.length, round * 3_000);
    await pass(time, 300);
  }
});

test("closeClient() waits for nothing if nothing waits here", async () => {
  using self = new Stalled({
    highWaterMark: 10,
    maxBufferedAmount: 10,
    overflow: "drop-newest",
  });
  self.send("1234567890");
  self.send("dropped");
  self.party.connection.close(4000);
  assertEquals(self.party.socket.closes, [[4000, ""]]);
  await Promise.resolve();
});

test("a socket that closes by itself and does not get on is cut", async (time) => {
  for (const isAtLast of [false, true]) {
    using self = new Stalled({ highWaterMark: 10 }, 1_000);
    const { socket } = self.party;
    self.send("1234567890");
    socket.readyState = 2; // as the runtime does at a missing pong
    await pass(time, 100);
    assertEquals(self.ends, []);
    // Its TCP ends before closeTimeout has passed, or does not.
    if (isAtLast) socket.end(true, 1005);
    await pass(time, isAtLast ? 0 : 10_000);
    assertEquals(self.ends, [
      { type: "disconnect", code: 1006, reason: "", cause: "timeout" },
    ]);
    assertEquals(self.fates, ["ConnectionEndedError"]);
  }
});

test("a socket that closes by itself may be closed here, too", async (time) => {
  using self = new Stalled({ highWaterMark: 10 }, 1_000);
  const { socket, connection } = self.party;
  self.send("1234567890");
  socket.readyState = 2;
  await pass(time, 9_000);
  connection.close(4000);
  await pass(time, 9_999);
  assertEquals(self.ends, []);
  await pass(time, 1);
  assertEquals(self.ends.length, 1);
});

test("a peer that closes without a code while much waits has closed", async (time) => {
  using self = new Stalled({ highWaterMark: 10 }, 1_000);
  const { socket } = self.party;
  self.send("1234567890");
  socket.readyState = 3; // as the runtime does before it answers
  await pass(time, 100);
  assertEquals(self.ends, []);
  socket.end(true, 1005);
  assertEquals(self.ends, [
    { type: "close", code: 1005, reason: "", cause: "peer" },
  ]);
});

test("a peer that closes, and whose answer cannot leave, is cut", async (time) => {
  using self = new Stalled({ highWaterMark: 10 }, 1_000);
  self.send("1234567890");
  self.party.socket.readyState = 3;
  await pass(time, 10_100);
  assertEquals(self.party.owner.ends.map(({ cause }) => cause), ["timeout"]);
});
