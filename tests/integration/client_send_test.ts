/**
 * What becomes of what a client sends while it has no connection, or loses it; over
 * sockets that do what the test says.
 */

import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  ConnectError,
  ConnectionEndedError,
  MessageDroppedError,
} from "../../client.ts";
import { testClients } from "../support/client_classes.ts";
import { FakeWebSockets } from "../support/fake_websocket.ts";
import {
  openClient,
  reconnectClient,
  RecordingClient,
  URL,
} from "../support/recording_client.ts";

testClients(
  "ClientSocket.send() waits for the connection, in order",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient({});
    const connecting = client.connect(URL);
    const settled: number[] = [];
    [1, 2, 3].forEach((i) => client.send({ i }).then(() => settled.push(i)));
    await sockets.settle();
    assertEquals(settled, []);
    assertStrictEquals(client.bufferedAmount, 21);
    sockets.last.open();
    await connecting;
    assertEquals(sockets.last.sent, ['{"i":1}', '{"i":2}', '{"i":3}']);
    await sockets.settle();
    assertEquals(settled, [1, 2, 3]);
    assertStrictEquals(client.bufferedAmount, 0);
    await client.terminate();
  },
);

testClients(
  "ClientSocket.send() sends messages of connect listeners first",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient();
    client.on("connect", () => client.send("hello"));
    await openClient(sockets, client);
    sockets.last.lose();
    client.send("one");
    await sockets.settle();
    client.send("two");
    await reconnectClient(sockets);
    client.send("three");
    assertEquals(sockets.last.sent, ["hello", "one", "two", "three"]);
    await client.close();
  },
);

testClients("ClientSocket.send() copies data", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  const connecting = client.connect(URL);
  const bytes = new Uint8Array([1, 2, 3]);
  const value = { i: 1 };
  client.send(bytes);
  client.send(value);
  client.send(new Blob(["four"]));
  client.send("five");
  bytes.fill(0);
  value.i = 2;
  // @ts-expect-error No function can be sent
  assertThrows(() => client.send(() => 1), TypeError);
  await sockets.settle();
  sockets.last.open();
  await connecting;
  // A blob has to be read, which takes a while; all else waits behind it.
  while (sockets.last.sent.length < 4) {
    sockets.time.tick(1);
    await new Promise<void>((resolve) => queueMicrotask(resolve));
  }
  const text = (data: unknown) =>
    data instanceof Blob
      ? data.bytes().then(String) // a page leaves it to the runtime
      : typeof data === "string"
      ? data
      : data instanceof ArrayBuffer
      ? [...new Uint8Array(data)].join()
      : "";
  assertEquals(await Promise.all(sockets.last.sent.map(text)), [
    "1,2,3",
    '{"i":1}',
    "102,111,117,114",
    "five",
  ]);
  await client.terminate();
});

testClients(
  "ClientSocket.send() between the loss and its event waits for the next connection",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient();
    await openClient(sockets, client);
    sockets.last.readyState = 2; // the runtime knows, but has not told
    const sent = client.send("late");
    sockets.last.lose();
    await reconnectClient(sockets);
    await sent;
    assertEquals(sockets.last.sent, ["late"]);
    await client.close();
  },
);

testClients(
  "ClientSocket.send() transfers unsent messages once and in order",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient({ reconnect: true, highWaterMark: 3 });
    await openClient(sockets, client);
    const [first] = sockets.sockets;
    assert(first);
    first.isStalled = true;
    const settled: string[] = [];
    for (const text of ["one", "two", "six"]) {
      client.send(text).then(
        () => settled.push(text),
        (error) => settled.push(`${text} ${error.name}`),
      );
    }
    const own = client.connection?.send("of this connection only");
    await sockets.settle();
    assertEquals(first.sent, ["one"]);
    first.readyState = 2;
    client.send("ten");
    first.lose();
    await sockets.settle();
    // The first was handed over, and may or may not have arrived.
    assertEquals(settled, ["one"]);
    await assertRejects(async () => await own, ConnectionEndedError);
    await reconnectClient(sockets);
    while (sockets.last.sent.length < 3) await sockets.wait(1);
    await sockets.settle();
    assertEquals(sockets.last.sent, ["two", "six", "ten"]);
    assertEquals(settled, ["one", "two", "six"]);
    await client.close();
  },
);

testClients("ClientSocket.send() transfers messages again", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({ reconnect: true, highWaterMark: 3 });
  const connecting = client.connect(URL);
  const sends = ["one", "two"].map((text) => client.send(text));
  await sockets.settle();
  sockets.last.isStalled = true;
  sockets.last.open();
  await connecting;
  assertEquals(sockets.last.sent, ["one"]);
  assertStrictEquals(client.bufferedAmount, 6);
  sockets.last.lose();
  await sockets.settle();
  assertStrictEquals(client.bufferedAmount, 3);
  await reconnectClient(sockets);
  await Promise.all(sends);
  assertEquals(sockets.last.sent, ["two"]);
  await client.close();
});

testClients(
  "ClientSocket.send() rejects while closing without reconnect",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient({});
    await openClient(sockets, client);
    sockets.last.readyState = 2;
    await assertRejects(
      () => client.send("late"),
      ConnectionEndedError,
      "closing",
    );
    sockets.last.lose();
    const comesBack = new RecordingClient();
    await openClient(sockets, comesBack);
    comesBack.close();
    await assertRejects(
      () => comesBack.send("late"),
      ConnectionEndedError,
      "closing",
    );
    await sockets.settle();
  },
);

testClients(
  "ClientSocket.send() drops messages beyond the limit without a connection",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient({
      reconnect: true,
      maxBufferedAmount: 8,
    });
    const connecting = client.connect(URL);
    await sockets.settle();
    const first = client.send("1234", { overflow: "drop-oldest" });
    client.send("5678");
    client.send("9");
    await assertRejects(() => first, MessageDroppedError, "is 8");
    await assertRejects(() => client.send("90123456"), MessageDroppedError);
    await assertRejects(
      () => client.send("90123456", { overflow: "drop-newest" }),
      MessageDroppedError,
    );
    assertStrictEquals(client.droppedOffline, 3);
    const latest = client.send("a", { overflow: "latest", key: "k" });
    client.send("b", { overflow: "latest", key: "k" });
    await assertRejects(() => latest, MessageDroppedError);
    assertStrictEquals(client.droppedOffline, 4);
    sockets.last.open();
    await connecting;
    assertEquals(sockets.last.sent, ["5678", "9", "b"]);
    await client.terminate();
  },
);

testClients(
  "ClientSocket.send() limits the number of queued messages",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient({
      reconnect: true,
      maxBufferedAmount: 1,
    });
    client.connect(URL).catch(() => {});
    await sockets.settle();
    for (let i = 0; i < 1_024; i++) client.send("");
    await assertRejects(() => client.send(""), MessageDroppedError);
    assertStrictEquals(client.droppedOffline, 1);
    await client.close();
  },
);

testClients("ClientSocket.send() throws for an invalid policy", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  const connecting = client.connect(URL);
  // @ts-expect-error No such policy
  assertThrows(() => client.send("", { overflow: "wait" }), RangeError);
  await sockets.settle();
  sockets.last.open();
  await connecting;
  // @ts-expect-error No such policy
  assertThrows(() => client.send("", { overflow: "wait" }), RangeError);
  await client.terminate();
});

testClients(
  "ClientSocket.send() rejects when the client is closed",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient();
    await openClient(sockets, client);
    sockets.last.lose();
    await sockets.settle();
    const sent = client.send("never");
    client.close();
    const error = await assertRejects(() => sent, ConnectionEndedError);
    assertMatch(error.message, /client was closed/);
    assertStrictEquals(error.end?.code, 1006);
    assertStrictEquals(client.bufferedAmount, 0);
    await assertRejects(() => client.send("later"), ConnectionEndedError);
  },
);

testClients(
  "ClientSocket.send() rejects when the client gives up",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient({ reconnect: { maxAttempts: 1 } });
    await openClient(sockets, client);
    sockets.last.lose();
    await sockets.settle();
    const sent = client.send("never");
    await sockets.wait(500);
    sockets.last.refuse();
    await sockets.settle();
    await assertRejects(() => sent, ConnectionEndedError, "after 1 attempts");
  },
);

testClients("ClientSocket.send() rejects after a final end", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  await openClient(sockets, client);
  sockets.last.readyState = 2;
  const sent = client.send("never");
  sockets.last.end(true, 4001, "out");
  const error = await assertRejects(() => sent, ConnectionEndedError);
  assertMatch(error.message, /close with code 4001 and reason "out"/);
});

testClients(
  "ClientSocket.send() rejects if the only attempt fails",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient({});
    const connecting = client.connect(URL);
    const sent = client.send("never");
    await sockets.settle();
    sockets.last.refuse();
    await assertRejects(() => connecting, ConnectError);
    await assertRejects(() => sent, ConnectionEndedError, "Cannot connect");
  },
);

testClients(
  "ClientSocket.send() queues messages if a connect listener ends the connection",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient({
      reconnect: { shouldReconnect: () => true },
    });
    let count = 0;
    client.on("connect", () => {
      // The peer is gone again as soon as it is there.
      if (++count === 1) sockets.last.readyState = 2;
    });
    const connecting = client.connect(URL);
    const all = Promise.all(["one", "two"].map((text) => client.send(text)));
    await sockets.settle();
    sockets.last.readyState = 1;
    sockets.last.dispatchEvent(new Event("open"));
    await connecting;
    sockets.last.lose();
    await reconnectClient(sockets);
    await all;
    assertEquals(sockets.sockets.map(({ sent }) => sent), [[], ["one", "two"]]);
    await client.close();
  },
);

testClients(
  "ClientSocket.send() sends queued messages regardless of the limit of the connection",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient({
      reconnect: true,
      maxBufferedAmount: 100,
      highWaterMark: 50,
    });
    client.on("connect", (connection) => connection.send("hello"));
    const connecting = client.connect(URL);
    const sends = Array.from(
      Array(10),
      (_, i) => client.send(`${i}`.repeat(10)),
    );
    await sockets.settle();
    sockets.last.isStalled = true;
    sockets.last.open();
    await connecting;
    // It is not the connection's fault that it has no room for another one.
    await assertRejects(() => client.send("more"), MessageDroppedError);
    assertEquals(client.recorded, ["connect"]);
    sockets.last.isStalled = false;
    sockets.last.bufferedAmount = 0;
    while (sockets.last.sent.length < 11) await sockets.wait(1);
    await Promise.all(sends);
    await client.terminate();
  },
);

testClients(
  "ClientSocket.send() without reconnect terminates on overflow",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient({
      maxBufferedAmount: 4,
      highWaterMark: 2,
    });
    await openClient(sockets, client);
    sockets.last.isStalled = true;
    client.send("12");
    client.send("34");
    await assertRejects(() => client.send("56"), ConnectionEndedError);
    assertEquals(client.recorded, ["connect", "disconnect 1006 backpressure"]);
  },
);

testClients(
  "ClientSocket.send() without reconnect rejects if the connection is lost",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient({ highWaterMark: 2 });
    await openClient(sockets, client);
    sockets.last.isStalled = true;
    const sent = client.send("12");
    sockets.last.lose();
    await assertRejects(() => sent, ConnectionEndedError);
  },
);

testClients(
  "ClientSocket.send() resolves for passed messages of a lost connection",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient({ reconnect: true, highWaterMark: 2 });
    const connecting = client.connect(URL);
    const sent = client.send("12");
    await sockets.settle();
    sockets.last.isStalled = true;
    sockets.last.open();
    await connecting;
    sockets.last.lose();
    await sent;
    await reconnectClient(sockets);
    assertEquals(sockets.last.sent, []);
    await client.close();
  },
);

testClients(
  "ClientSocket.send() drops messages beyond the limit when queues are merged",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient({
      reconnect: true,
      maxBufferedAmount: 6,
      highWaterMark: 2,
    });
    await openClient(sockets, client);
    sockets.last.isStalled = true;
    client.send("12");
    client.send("34");
    sockets.last.readyState = 2;
    client.send("56");
    const last = client.send("789");
    sockets.last.lose();
    await assertRejects(() => last, MessageDroppedError);
    assertStrictEquals(client.droppedOffline, 1);
    await reconnectClient(sockets);
    while (sockets.last.sent.length < 2) await sockets.wait(1);
    assertEquals(sockets.last.sent, ["34", "56"]);
    await client.close();
  },
);

testClients(
  "ClientSocket.send() with latest never sends an older message later",
  async () => {
    using sockets = new FakeWebSockets();
    const latest = { overflow: "latest", key: "k" } as const;
    for (const highWaterMark of [1, 1_000]) {
      const client = new RecordingClient({ reconnect: true, highWaterMark });
      await openClient(sockets, client);
      client.on("connect", () => {
        if (highWaterMark === 1) client.send("full");
        client.send("new", latest);
      });
      sockets.last.lose();
      const old = client.send("old", latest);
      client.send("other", { ...latest, key: "" });
      await sockets.settle();
      await sockets.wait(500);
      sockets.last.isStalled = highWaterMark === 1;
      sockets.last.open();
      await assertRejects(() => old, MessageDroppedError);
      sockets.last.isStalled = false;
      sockets.last.bufferedAmount = 0;
      while (!sockets.last.sent.includes("other")) await sockets.wait(1);
      assertEquals(
        sockets.last.sent.filter((text) => text !== "full"),
        ["new", "other"],
      );
      await client.close();
    }
  },
);

for (const overflow of ["latest", "terminate"] as const) {
  testClients(
    `Connection.send() in a connect listener replaces queued messages, by default ${overflow}`,
    async () => {
      using sockets = new FakeWebSockets();
      const options = overflow === "latest"
        ? { key: "k" }
        : { overflow: "latest", key: "k" } as const;
      const client = new RecordingClient({ reconnect: true, overflow });
      client.on("connect", (connection) => connection.send("new", options));
      const connecting = client.connect(URL);
      const old = client.send("old", options);
      client.send("other", { ...options, key: "" });
      await sockets.settle();
      sockets.last.open();
      await connecting;
      assertEquals(sockets.last.sent, ["new", "other"]);
      await assertRejects(() => old, MessageDroppedError);
      await client.close();
    },
  );
}

testClients(
  "ClientSocket emits no drain for a queue that is sent at once",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient({ reconnect: true, highWaterMark: 100 });
    let drains = 0;
    client.on("drain", () => drains++);
    const connecting = client.connect(URL);
    client.send("x".repeat(99));
    await sockets.settle();
    sockets.last.open();
    await connecting;
    await sockets.wait(1_000);
    assertStrictEquals(sockets.last.sent.length, 1);
    assertStrictEquals(drains, 0);
    await client.close();
  },
);

testClients(
  "ClientSocket.send() in a connect listener uses that connection only",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient({ reconnect: true, highWaterMark: 1 });
    const hellos: Promise<unknown>[] = [];
    let count = 0;
    client.on("connect", () => {
      client.send("full");
      hellos.push(client.send(`hello ${++count}`).catch((error) => error.name));
    });
    const connecting = client.connect(URL);
    await sockets.settle();
    sockets.last.isStalled = true;
    sockets.last.open();
    await connecting;
    client.send("text");
    sockets.last.lose();
    assertStrictEquals(await hellos[0], "ConnectionEndedError");
    await reconnectClient(sockets);
    while (sockets.last.sent.length < 3) await sockets.wait(1);
    assertEquals(sockets.last.sent, ["full", "hello 2", "text"]);
    await client.close();
  },
);

for (const highWaterMark of [50, 100]) {
  testClients(
    `Connection.send() has a budget of its own beside ${highWaterMark} queued bytes, and more`,
    async () => {
      using sockets = new FakeWebSockets();
      const client = new RecordingClient({
        reconnect: true,
        maxBufferedAmount: 100,
        highWaterMark,
      });
      const connecting = client.connect(URL);
      for (let i = 0; i < 10; i++) client.send(`${i}`.repeat(10));
      await sockets.settle();
      sockets.last.isStalled = true;
      sockets.last.open();
      await connecting;
      const { connection } = client;
      assert(connection);
      for (let i = 0; i < 10; i++) connection.send("x".repeat(10));
      assertEquals(client.recorded, ["connect"]);
      assertStrictEquals(client.bufferedAmount, 200);
      // It is bounded, too.
      await assertRejects(() => connection.send("y"), ConnectionEndedError);
      assertStrictEquals(client.recorded[1], "disconnect 1006 backpressure");
      await client.close();
    },
  );
}
