/** What becomes of volatile messages: they are sent at once, or dropped and counted. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  ClientSocket,
  type Connection,
  ConnectionEndedError,
  MessageDroppedError,
  ServerSocket,
} from "../../mod.ts";
import { channel, channels } from "../../channels.ts";
import { MemoryNetwork } from "../../testing.ts";
import { resolveWriterLimits } from "../../core/sending/flow_options.ts";
import { listenForTest } from "../support/listen_for_test.ts";
import { broadcastChannel } from "../../adapters/broadcast_channel.ts";
import { createFixture } from "../support/fake_socket.ts";
import { FakeWebSockets } from "../support/fake_websocket.ts";
import {
  openClient,
  reconnectClient,
  RecordingClient,
  URL,
} from "../support/recording_client.ts";

const volatile = { volatile: true };

Deno.test("Connection.send() sends a volatile message while less than 64 KiB are buffered", async () => {
  const { connection, socket } = createFixture("server", {});
  socket.isStalled = true;
  socket.open();
  const half = "x".repeat(32 * 1024);
  await connection.send(half, volatile);
  await connection.send(half, volatile);
  await assertRejects(
    () => connection.send("late", volatile),
    MessageDroppedError,
    "Cannot send a volatile message at once",
  );
  assertEquals([socket.sent.length, connection.dropped.outgoing], [2, 1]);
  // Others are buffered as ever.
  await connection.send("chat");
  assertEquals(socket.sent.length, 3);
  socket.bufferedAmount = 0;
  await connection.send("again", volatile);
  assertEquals(socket.sent.slice(2), ["chat", "again"]);
  connection.terminate();
});

Deno.test("Connection.send() never queues a volatile message behind backpressure", async () => {
  const { connection, socket } = createFixture("server", {
    options: { writerLimits: resolveWriterLimits({ highWaterMark: 10 }, 0) },
  });
  socket.isStalled = true;
  socket.open();
  connection.send("0123456789");
  connection.send("queued");
  for (let i = 0; i < 100; i++) connection.send({ i }, volatile);
  assertEquals(connection.bufferedAmount, 16);
  assertEquals(connection.dropped.outgoing, 100);
  // A volatile message replaces nothing that waits.
  connection.send("v", { ...volatile, overflow: "latest" });
  assertEquals(connection.bufferedAmount, 16);
  const ended = connection.waitFor("disconnect");
  connection.terminate();
  await ended;
});

Deno.test("Connection.send() drops a volatile message without credit of the peer", async () => {
  await using server = new ServerSocket();
  await using client = new ClientSocket({ concurrency: 1 });
  const url = await listenForTest(server);
  const handled: unknown[] = [];
  const gate = Promise.withResolvers<void>();
  client.on("message", async ({ data }) => {
    handled.push(data);
    await gate.promise;
  });
  const connected = server.waitFor("connect");
  await client.connect(url);
  const [connection]: [Connection, string] = await connected;
  const sent: Promise<void>[] = [];
  for (let i = 0; i < 2_000; i++) sent.push(connection.send(i, volatile));
  const outcomes = await Promise.allSettled(sent);
  const dropped = outcomes.filter(({ status }) => status === "rejected").length;
  assertEquals(dropped, connection.dropped.outgoing);
  assert(dropped > 500 && dropped < 2_000, `${dropped}`);
  gate.resolve();
  while (handled.length < 2_000 - dropped) await client.waitFor("message");
  // What was dropped has not used up the credit of what follows.
  const last = client.waitFor("message", {
    filter: ({ data }) => data === "last",
  });
  const timer = setInterval(() => connection.send("last", volatile), 5);
  await last;
  clearInterval(timer);
});

Deno.test("ClientSocket.send() drops volatile messages without a connection", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  const drops = async (state: string) => {
    assertEquals(client.state, state);
    const before = client.droppedOffline;
    await assertRejects(() => client.send(1, volatile), MessageDroppedError);
    assertEquals(client.droppedOffline, before + 1);
    assertEquals(client.bufferedAmount, 0);
  };
  await drops("idle");
  const connecting = client.connect(URL);
  await drops("connecting");
  await sockets.settle();
  sockets.last.open();
  await connecting;
  await client.send("open", volatile);
  sockets.last.lose();
  await sockets.settle();
  await drops("waiting");
  client.send("kept");
  await reconnectClient(sockets);
  assertEquals(sockets.last.sent, ["kept"]);
  const closed = client.close();
  await assertRejects(() => client.send(1, volatile), ConnectionEndedError);
  client.terminate();
  await closed;
});

Deno.test("ClientSocket.send() does not keep a volatile Blob for the next connection", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  await openClient(sockets, client);
  const sent = client.send(new Blob(["bytes"]), volatile);
  sockets.last.lose();
  await assertRejects(() => sent, ConnectionEndedError);
  await reconnectClient(sockets);
  assertEquals(sockets.last.sent, []);
  client.terminate();
});

Deno.test("Channel.send() drops volatile messages until the channel is open", async () => {
  const server = new ServerSocket();
  const live = channels(server);
  await using network = new MemoryNetwork(server);
  const heard: unknown[] = [];
  const desk = live.channel("desk", { join: () => true });
  desk.on("message", ({ data }) => heard.push(data));
  await using client = new ClientSocket();
  const own = channel(client, "desk");
  await assertRejects(() => own.send(1, volatile), MessageDroppedError);
  assertEquals(own.droppedOffline, 1);
  const kept = own.send(2);
  await client.connect(network.url);
  await kept;
  await own.send(3, volatile);
  await client.close();
  await server.close();
  assertEquals(heard, [2, 3]);
});

/** Connects a client that reconnects only when it is told to come back. */
async function connectOnce(url: string): Promise<{
  readonly client: ClientSocket;
  /** The data that it has received. */
  readonly heard: unknown[];
  readonly comeBack: () => void;
}> {
  const client = new ClientSocket({
    reconnect: { initialDelay: 1, maxDelay: 1 },
  });
  const heard: unknown[] = [];
  client.on("message", ({ data }) => heard.push(data));
  const gate = Promise.withResolvers<void>();
  let attempts = 0;
  await client.connect(async () => {
    if (attempts++ > 0) await gate.promise;
    return url;
  });
  return { client, heard, comeBack: gate.resolve };
}

Deno.test("Audience.send() does not store volatile messages in the history", async () => {
  await using server = new ServerSocket({ history: true });
  server.on("connect", (client) => client.join("a"));
  const url = await listenForTest(server);
  const { client, heard, comeBack } = await connectOnce(url);
  server.to("a").send("live", volatile);
  server.broadcast("to all", volatile);
  server.to("a").except("a").send("withheld", volatile);
  server.to("a").send("stored 1");
  while (heard.length < 3) await client.waitFor("message");
  const lost = client.waitFor("disconnect");
  for (const one of server.clients) one.terminate();
  await lost;
  server.to("a").send("missed for good", volatile);
  server.to("a").send("stored 2");
  const recovered = client.waitFor("recovery");
  comeBack();
  assertEquals((await recovered)[0], true);
  assertEquals(heard, ["live", "to all", "stored 1", "stored 2"]);
  await client.close();
});

Deno.test("Audience.send() sends volatile messages to the clients of other servers, which do not store them", async () => {
  const name = crypto.randomUUID();
  const servers = [1, 2].map(() =>
    new ServerSocket({ adapter: broadcastChannel({ name }), history: true })
  );
  const [one, two] = servers;
  assert(one && two);
  two.on("connect", (client) => client.join("a"));
  const url = await listenForTest(two);
  await using network = new MemoryNetwork(one);
  assert(network);
  const { client, heard, comeBack } = await connectOnce(url);
  while (one.servers < 2) await new Promise((done) => setTimeout(done, 5));
  one.to("a").send("volatile", volatile);
  one.to("a").send("stored");
  while (heard.length < 2) await client.waitFor("message");
  const lost = client.waitFor("disconnect");
  for (const own of two.clients) own.terminate();
  await lost;
  one.to("a").send("missed for good", volatile);
  one.to("a").send("stored 2");
  // It has arrived at the other server before the client comes back.
  const arrived = two.waitFor("servermessage");
  await one.sendToServers("done");
  await arrived;
  const recovered = client.waitFor("recovery");
  comeBack();
  assertEquals((await recovered)[0], true);
  assertEquals(heard, ["volatile", "stored", "stored 2"]);
  await client.close();
  await Promise.all(servers.map((server) => server.close()));
});
