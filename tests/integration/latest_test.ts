/** Messages of which only the newest matters, and listeners that are slower than them. */

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { deadline, delay } from "@std/async";
import { decode, encode } from "@msgpack/msgpack";
import {
  type ClientOptions,
  ClientSocket,
  type Codec,
  type Connection,
  type ServerOptions,
  ServerSocket,
} from "../../mod.ts";
import { channel, channels } from "../../channels.ts";
import { listenForTest } from "../support/listen_for_test.ts";

const msgpack: Codec = {
  name: "msgpack",
  encode: (value) => encode(value),
  decode: (frame) => typeof frame === "string" ? frame : decode(frame),
};

/** A listener that handles the first message until it is told to go on. */
class GatedListener {
  readonly handled: unknown[] = [];
  readonly #begun = Promise.withResolvers<void>();
  readonly #open = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();

  readonly listener = async ({ data }: { data: unknown }): Promise<void> => {
    this.handled.push(data);
    this.#begun.resolve();
    if (data === "end") this.#ended.resolve();
    await this.#open.promise;
  };

  get begun(): Promise<void> {
    return deadline(this.#begun.promise, 10_000);
  }

  /** Returns what was handled up to the message `end`. */
  async all(): Promise<unknown[]> {
    this.#open.resolve();
    await deadline(this.#ended.promise, 10_000);
    return this.handled;
  }
}

/** Does something with a server and a client of it. */
async function withPair(
  serverOptions: ServerOptions,
  clientOptions: ClientOptions,
  action: (
    server: ServerSocket,
    client: ClientSocket,
    peer: Connection,
  ) => Promise<void>,
): Promise<void> {
  await using server = new ServerSocket(serverOptions);
  const url = await listenForTest(server);
  await using client = new ClientSocket(clientOptions);
  server.on("connect", (client) => client.join("room"));
  const connected = server.waitFor("connect");
  await client.connect(url);
  const [peer] = await connected;
  await action(server, client, peer);
}

/** Waits until a connection has received so many messages. */
async function received(
  connection: Connection | undefined,
  count: number,
): Promise<void> {
  const has = () => (connection?.traffic.received.messages ?? 0) >= count;
  for (let i = 0; !has() && i < 10_000; i++) await delay(1);
}

const latest = (key: number | string) =>
  ({ overflow: "latest", key: `${key}` }) as const;

/** How a message reaches a client. */
const WAYS: readonly [
  name: string,
  options: { server?: ServerOptions; client?: ClientOptions },
  send: (
    server: ServerSocket,
    peer: Connection,
  ) => (data: string | number, options?: ReturnType<typeof latest>) => void,
][] = [
  ["Connection.send()", {}, (_server, peer) => peer.send.bind(peer)],
  [
    "Audience.send()",
    {},
    (server) => (data, options) => server.to("room").send(data, options),
  ],
  [
    "Audience.send() with a history",
    { server: { history: true }, client: { reconnect: true } },
    (server) => (data, options) => server.to("room").send(data, options),
  ],
  [
    "Connection.send() with a codec",
    { server: { codec: msgpack }, client: { codec: msgpack } },
    (_server, peer) => peer.send.bind(peer),
  ],
];

for (const [name, { server = {}, client = {} }, sender] of WAYS) {
  Deno.test(`${name} with latest delivers only the newest message of a key to a busy client`, () =>
    withPair(
      server,
      { ...client, concurrency: 1 },
      async (server, client, peer) => {
        const gated = new GatedListener();
        client.on("message", gated.listener);
        const send = sender(server, peer);
        send(0, latest("price"));
        await gated.begun;
        for (let i = 1; i <= 1_000; i++) send(i, latest("price"));
        send("end");
        await received(client.connection, 1_002);
        assertEquals(await gated.all(), [0, 1_000, "end"]);
        assertStrictEquals(client.connection?.dropped.incoming, 999);
      },
    ));

  Deno.test(`${name} with latest and 1,000 keys delivers each key once to a busy client`, () =>
    withPair(
      server,
      { ...client, concurrency: 1 },
      async (server, client, peer) => {
        const gated = new GatedListener();
        client.on("message", gated.listener);
        const send = sender(server, peer);
        send("first");
        await gated.begun;
        for (let i = 0; i < 3_000; i++) {
          if (i % 1_000 === 0) await received(client.connection, i + 1);
          send(i, latest(i % 1_000));
        }
        send("end");
        await received(client.connection, 3_002);
        const newest = Array.from({ length: 1_000 }, (_, i) => 2_000 + i);
        assertEquals(await gated.all(), ["first", ...newest, "end"]);
      },
    ));
}

Deno.test("ClientSocket.send() with latest delivers only the newest message to a busy server", () =>
  withPair({ concurrency: 1 }, {}, async (server, client, peer) => {
    const gated = new GatedListener();
    server.on("message", gated.listener);
    client.send(0, latest("cursor"));
    await gated.begun;
    for (let i = 1; i <= 500; i++) client.send(i, latest("cursor"));
    client.send("end");
    // The server reads the request before the listener is done, and answers it later.
    const answer = client.request("done?");
    server.handle(() => "yes");
    await received(peer, 503);
    assertEquals(await gated.all(), [0, 500, "end"]);
    assertStrictEquals(await answer, "yes");
  }));

Deno.test("Channel messages with latest replace those of the same channel only", () =>
  withPair({}, { concurrency: 1 }, async (server, client, peer) => {
    const live = channels(server);
    for (const name of ["a", "b"]) live.channel(name, { join: () => true });
    const gated = new GatedListener();
    const names = ["a", "b"] as const;
    for (const name of names) {
      const joined = channel(client, name);
      joined.on("message", gated.listener);
      await joined.joined;
    }
    client.on("message", gated.listener);
    peer.send("first");
    await gated.begun;
    for (let i = 1; i <= 100; i++) {
      for (const name of names) {
        server.to(name).send(`${name}${i}`, latest("key"));
      }
      peer.send(i, latest("key"));
    }
    peer.send("end");
    await received(client.connection, 302);
    assertEquals(await gated.all(), ["first", "a100", "b100", 100, "end"]);
  }));

Deno.test("A message with latest keeps its place among other messages", () =>
  withPair({}, { concurrency: 1 }, async (_server, client, peer) => {
    const gated = new GatedListener();
    client.on("message", gated.listener);
    peer.send("first");
    await gated.begun;
    peer.send("a1", latest("a"));
    peer.send("one");
    peer.send("b1", latest("b"));
    peer.send("a2", latest("a"));
    peer.send("two");
    peer.send("end");
    await received(client.connection, 7);
    assertEquals(await gated.all(), ["first", "a2", "one", "b1", "two", "end"]);
  }));

Deno.test("A reply never gives its key to the next message", () =>
  withPair(
    { overflow: "latest" },
    { concurrency: 1 },
    async (server, client, peer) => {
      const gated = new GatedListener();
      client.on("message", gated.listener);
      server.handle(() => "reply");
      peer.send("first", { overflow: "terminate" });
      await gated.begun;
      for (let i = 0; i < 3; i++) {
        await client.request("?");
        peer.send(i, { overflow: "terminate" });
      }
      peer.send("end", { overflow: "terminate" });
      await received(client.connection, 5);
      assertEquals(await gated.all(), ["first", 0, 1, 2, "end"]);
    },
  ));

Deno.test("A client that keeps up receives older messages with latest, too", () =>
  withPair({}, {}, async (_server, client, peer) => {
    const end = Promise.withResolvers<void>();
    const heard: unknown[] = [];
    client.on("message", ({ data }) => {
      heard.push(data);
      if (data === "end") end.resolve();
    });
    for (let round = 1; round <= 50; round++) {
      for (let i = 0; i < 2; i++) peer.send(round, latest("price"));
      await received(client.connection, round * 2);
    }
    peer.send("end");
    await deadline(end.promise, 10_000);
    // A machine under load may stop a listener for some milliseconds.
    assert(heard.length > 75, `${heard.length} of 101 were handled`);
  }));

Deno.test("A client whose listener blocks receives the newest message with latest", () =>
  withPair({}, {}, async (_server, client, peer) => {
    const end = Promise.withResolvers<void>();
    const heard: unknown[] = [];
    client.on("message", ({ data }) => {
      heard.push(data);
      const until = performance.now() + 5;
      while (performance.now() < until);
      if (data === "end") end.resolve();
    });
    for (let i = 0; i <= 1_000; i++) peer.send(i, latest("price"));
    peer.send("end");
    await deadline(end.promise, 10_000);
    assertEquals([heard[0], ...heard.slice(-2)], [0, 1_000, "end"]);
    assert(heard.length < 500, `${heard.length} messages were handled`);
  }));

Deno.test("Messages with latest that wait are delivered before the end", () =>
  withPair({}, {}, async (_server, client, peer) => {
    const heard: unknown[] = [];
    client.on("message", ({ data }) => {
      heard.push(data);
      const until = performance.now() + 5;
      while (performance.now() < until);
    });
    client.on("close", () => {
      heard.push("close");
    });
    for (let i = 0; i < 3; i++) peer.send(i, latest(i));
    await Promise.all([
      deadline(client.waitFor("close"), 10_000),
      peer.close(),
    ]);
    assertEquals(heard, [0, 1, 2, "close"]);
  }));

Deno.test("A plain peer receives no keys", () =>
  withPair(
    {},
    { plain: true, concurrency: 1 },
    async (_server, client, peer) => {
      const gated = new GatedListener();
      client.on("message", gated.listener);
      for (let i = 0; i < 3; i++) peer.send(i, latest("price"));
      peer.send("end");
      await received(client.connection, 4);
      assertEquals(await gated.all(), [0, 1, 2, "end"]);
    },
  ));
