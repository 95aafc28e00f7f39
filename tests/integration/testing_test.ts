/** The test kit itself: each fault, its clock, and what it refuses. */

import {
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { ClientSocket, ConnectError } from "../../client.ts";
import { ServerSocket } from "../../server.ts";
import {
  advance,
  type Link,
  MemoryNetwork,
  type Pair,
  pair,
  type PairOptions,
  settle,
} from "../../testing.ts";
import { MemoryLink } from "../../testing/link.ts";
import { MemorySocket } from "../../testing/socket.ts";
import { SeededRandom } from "../support/seeded_random.ts";

/** What may happen to a link, or be done by those at its ends. */
type Turn = (seeded: SeededRandom, link: Link, client: ClientSocket) => unknown;

const laneOf = (seeded: SeededRandom, { toClient, toServer }: Link) =>
  seeded.pick([toClient, toServer]);

const TURNS: Turn[] = [
  (_, link) => link.stall(),
  (_, link) => link.resume(),
  (_, link) => link.cut(),
  (seeded, link) => link.vanish(seeded.pick(["client", "server"])),
  (seeded, link) => laneOf(seeded, link).stall(),
  (seeded, link) => laneOf(seeded, link).resume(),
  (seeded, link) => laneOf(seeded, link).drop(seeded.integer(3)),
  (seeded, link) => laneOf(seeded, link).duplicate(seeded.integer(3)),
  (seeded, link) => laneOf(seeded, link).reorder(seeded.integer(4)),
  (seeded, link) =>
    laneOf(seeded, link).slow({
      delay: seeded.integer(200),
      bytesPerSecond: 100 + seeded.integer(10_000),
    }),
  (seeded, link) => laneOf(seeded, link).slow(),
  (seeded, _, client) => client.send("x".repeat(seeded.integer(500))),
  (_chance, _, client) => client.request("question", { timeout: 500 }),
  (seeded, _, client) => client.close(4000 + seeded.integer(9)),
  (_chance, _, client) => client.terminate(),
];

/** Two ends that send each message by itself, and what each has told. */
async function observed(options: PairOptions = {}) {
  const both = await pair({ client: { plain: true }, ...options });
  const told = { server: [] as unknown[], client: [] as unknown[] };
  for (const side of ["server", "client"] as const) {
    both[side].on("message", ({ data }) => told[side].push(data));
    for (const type of ["close", "disconnect"] as const) {
      both[side].on(type, (...end) => told[side].push(`${type} ${end}`));
    }
  }
  return { ...both, told };
}

const LOST = "disconnect 1006,,network";

Deno.test("pair() returns two connected connections", async () => {
  await using both = await pair();
  assertEquals(
    [both.server.readyState, both.client.readyState, both.server.speaksEvents],
    [1, 1, true],
  );
  const got = both.client.waitFor("message");
  both.server.send({ hello: "client" });
  assertEquals((await got)[0].data, { hello: "client" });
});

Deno.test("pair() rejects if the server refuses the client", async () => {
  await assertRejects(
    () => pair({ server: { authorize: () => undefined } }),
    ConnectError,
    "403",
  );
});

Deno.test("Link.stall() holds messages, and Link.resume() delivers them in order", async () => {
  await using both = await observed();
  const { server, client, link, told } = both;
  link.stall();
  client.send("up");
  server.send("down");
  client.send("abcde");
  await settle();
  assertEquals(told, { server: [], client: [] });
  assertEquals([client.bufferedAmount, link.toServer.size], [7, 7]);
  link.resume();
  client.send("then");
  await settle();
  assertEquals(told, { server: ["up", "abcde", "then"], client: ["down"] });
  assertStrictEquals(client.bufferedAmount, 0);
});

Deno.test("Lane.stall() holds messages in one direction", async () => {
  await using both = await observed({ client: { highWaterMark: 4 } });
  const { server, client, link, told } = both;
  link.toServer.stall();
  let isSent = false;
  const sent = client.send("abcdef").then(() => isSent = true);
  server.send("down");
  await settle();
  assertEquals([told, isSent], [{ server: [], client: ["down"] }, false]);
  link.toServer.resume();
  await sent;
  assertEquals(told.server, ["abcdef"]);
});

Deno.test("Link.cut() disconnects both sides with 1006", async () => {
  await using both = await observed();
  const { client, link, told } = both;
  link.stall();
  client.send("lost");
  link.cut();
  await settle();
  assertEquals(told, { server: [LOST], client: [LOST] });
});

for (const gone of ["client", "server"] as const) {
  const left = gone === "client" ? "server" : "client";
  Deno.test(`Link.vanish() disconnects the ${gone}; the ${left} detects it by idleTimeout`, async () => {
    using time = new FakeTime();
    await using both = await observed({ client: { idleTimeout: 30_000 } });
    both[left].send("nobody gets it");
    both.link.vanish(gone);
    await settle();
    assertEquals([told(both, gone), told(both, left)], [[LOST], []]);
    await advance(time, 29_999);
    assertEquals(told(both, left), []);
    await advance(time, 7_501);
    assertEquals(told(both, left), ["disconnect 1006,,timeout"]);
  });
}

function told(
  { told }: { told: Record<"server" | "client", unknown[]> },
  side: "server" | "client",
): unknown[] {
  return told[side];
}

Deno.test("Link.resume() after Link.vanish() disconnects the other side", async () => {
  await using both = await observed();
  both.link.vanish("client");
  await settle();
  assertEquals(both.told, { server: [], client: [LOST] });
  both.link.resume();
  await settle();
  assertEquals(both.told.server, [LOST]);
});

Deno.test("Lane.drop() drops only the next messages", async () => {
  await using both = await observed();
  both.link.toServer.drop(2);
  for (const data of [1, 2, 3]) both.client.send(data);
  both.server.send("down");
  await settle();
  assertEquals(both.told, { server: [3], client: ["down"] });
  both.link.toServer.drop();
  both.link.toServer.drop(0);
  await both.client.close(4000);
  assertEquals(both.told.server, [3, "close 4000,,peer"]);
});

Deno.test("Lane.duplicate() delivers the next messages twice", async () => {
  await using both = await observed();
  both.link.toServer.duplicate();
  both.server.on("message", ({ data }) => {
    // What one does with it is no business of the other.
    if (data instanceof Uint8Array) data.reverse();
  });
  both.client.send(new Uint8Array([1, 2]));
  both.client.send("once");
  await settle();
  assertEquals(both.told.server, [
    new Uint8Array([2, 1]),
    new Uint8Array([2, 1]),
    "once",
  ]);
});

Deno.test("Lane.reorder() reverses the order of the next messages", async () => {
  await using both = await observed();
  const { client, link: { toServer }, told } = both;
  toServer.reorder(3);
  client.send(1);
  client.send(2);
  await settle();
  assertEquals([told.server, toServer.size], [[], 2]);
  for (const data of [3, 4]) client.send(data);
  await settle();
  assertEquals(told.server, [3, 2, 1, 4]);
  toServer.reorder();
  client.send(5);
  toServer.reorder(0);
  await settle();
  assertEquals(told.server.at(-1), 5);
  toServer.reorder();
  client.send(6);
  await client.close(4000);
  assertEquals(told.server.slice(-2), [6, "close 4000,,peer"]);
});

Deno.test("Lane.slow() delays messages in order", async () => {
  using time = new FakeTime();
  await using both = await observed();
  const { client, server, link, told } = both;
  link.toServer.slow({ delay: 100 });
  client.send(1);
  await advance(time, 60);
  client.send(2);
  link.toServer.slow();
  client.send(3);
  server.send("down");
  await advance(time, 39);
  assertEquals(told, { server: [], client: ["down"] });
  await advance(time, 1);
  assertEquals(told.server, [1]);
  await advance(time, 60);
  assertEquals(told.server, [1, 2, 3]);
});

Deno.test("Lane.slow() limits the bandwidth", async () => {
  using time = new FakeTime();
  await using both = await observed();
  const { client, link, told } = both;
  link.toServer.slow({ bytesPerSecond: 1_000, delay: 10 });
  for (const text of ["a", "b", "c"]) client.send(text.repeat(100));
  await advance(time, 109);
  assertEquals([told.server.length, client.bufferedAmount], [0, 300]);
  await advance(time, 1);
  assertEquals([told.server.length, client.bufferedAmount], [1, 200]);
  link.cut(); // does not wait for them
  await settle();
  assertEquals(told.server.slice(1), [LOST]);
});

Deno.test("Lane clears its timer when its end is gone", async () => {
  await using both = await observed();
  both.link.toServer.slow({ delay: 3_600_000 });
  both.client.send("too late");
  both.server.terminate();
  await settle();
  assertEquals(both.told.client, [LOST]);
});

Deno.test("Lane starts no timer when it is resumed after its end is gone", async () => {
  await using both = await observed();
  both.link.toClient.slow({ delay: 3_600_000 });
  both.link.vanish("client");
  both.server.send("to nobody");
  await settle();
  assertEquals(both.told.client, [LOST]);
  both.link.resume();
  await settle();
  assertEquals(both.told.server, [LOST]);
});

Deno.test("Lane rejects invalid numbers", async () => {
  await using both = await pair();
  const { toServer } = both.link;
  for (const bad of [-1, 0.5, NaN]) {
    assertThrows(() => toServer.drop(bad), RangeError, `${bad}`);
    assertThrows(() => toServer.duplicate(bad), RangeError, `${bad}`);
    assertThrows(() => toServer.reorder(bad), RangeError, `${bad}`);
  }
  for (const delay of [-1, Infinity, NaN]) {
    assertThrows(() => toServer.slow({ delay }), RangeError, `${delay}`);
  }
  for (const bytesPerSecond of [-1, 0, NaN]) {
    assertThrows(
      () => toServer.slow({ bytesPerSecond }),
      RangeError,
      `${bytesPerSecond}`,
    );
  }
});

Deno.test("Link causes one end per connect and leaves no timer", async () => {
  for (let seed = 1; seed <= 200; seed++) {
    const seeded = new SeededRandom(seed);
    using time = new FakeTime();
    await using server = new ServerSocket({
      concurrency: seeded.pick([1, Infinity]),
      history: seeded.pick([true, false]),
    });
    const ends = new Map<string, number>();
    server.on("connect", ({ id }) => void ends.set(id, 0));
    for (const type of ["close", "disconnect"] as const) {
      server.on(type, ({ id }) => void ends.set(id, (ends.get(id) ?? 9) + 1));
    }
    server.on("message", (message) => message.reply(message.content));
    server.on("error", () => {}); // a request that came twice is answered once
    {
      await using client = new ClientSocket({
        plain: seeded.pick([true, false]),
        reconnect: { initialDelay: 10 },
      });
      await using network = new MemoryNetwork(server); // which is cut first
      await client.connect(network.url);
      for (let i = 0; i < 25; i++) {
        const [link] = network.links;
        server.broadcast("x".repeat(seeded.integer(500)));
        if (link) seeded.pick(TURNS)(seeded, link, client);
        else if (!client.connection) {
          client.connect(network.url).catch(() => {});
        }
        if (seeded.next() < 0.3) await settle();
        if (seeded.next() < 0.1) await advance(time, seeded.integer(40_000));
      }
    }
    await settle();
    assertEquals([...ends.values()], [...ends.values()].fill(1), `${seed}`);
    assertStrictEquals(server.clients.size, 0);
    await server.close(); // which forgets what history has stored
    assertStrictEquals(time.next(), false, `${seed}: a timer is left`);
  }
});

Deno.test("advance() delivers pongs between timers", async () => {
  using time = new FakeTime();
  const idle = {
    server: { idleTimeout: 1_000 },
    client: { idleTimeout: 1_000 },
  };
  await using both = await pair(idle);
  await advance(time, 3_600_000);
  assertEquals([both.server.readyState, both.client.readyState], [1, 1]);
  time.tick(10_000);
  await settle();
  assertEquals([both.server.readyState, both.client.readyState], [3, 3]);
});

Deno.test("MemoryNetwork keeps connections that answer pings", async () => {
  using time = new FakeTime();
  await using both = await observed({
    server: { idleTimeout: 1_000 },
    client: { plain: true, idleTimeout: 0 },
  });
  await advance(time, 60_000);
  both.link.toClient.stall();
  for (let i = 0; i < 10; i++) {
    both.client.send(i);
    await advance(time, 900);
  }
  assertEquals([both.told.server.length, both.server.readyState], [10, 1]);
  await advance(time, 100);
  assertEquals(both.told.server.at(-1), "disconnect 1006,,timeout");
  // Then it has closed, which the client hears once it can.
  both.link.resume();
  await settle();
  assertEquals(both.told.client, [
    "close 1001,No response from ping frame.,peer",
  ]);
});

Deno.test("advance() rejects if time is not faked", async () => {
  await assertRejects(
    () => advance({ next: () => false }, 60_000),
    Error,
    "create a FakeTime first",
  );
});

Deno.test("MemoryNetwork refuses connections without a server", async () => {
  await using network = new MemoryNetwork();
  await using client = new ClientSocket();
  await assertRejects(
    () => client.connect(network.url),
    ConnectError,
    "Connection refused",
  );
  assertThrows(() => network.link, Error, "await connect() first");
  await using server = new ServerSocket();
  network.server = server;
  await client.connect(network.url);
  assertStrictEquals(server.clients.size, 1);
});

Deno.test("MemoryNetwork.links lists the links of live connections", async () => {
  await using server = new ServerSocket();
  await using network = new MemoryNetwork(server);
  await using ada = new ClientSocket();
  await using bob = new ClientSocket();
  await ada.connect(network.url);
  const { link } = network;
  await bob.connect(network.url);
  assertEquals(network.links.indexOf(link), 0);
  assertEquals(network.links.indexOf(network.link), 1);
  link.cut();
  await ada.waitFor("disconnect");
  await settle();
  assertEquals([network.links.length, server.clients.size], [1, 1]);
  assertStrictEquals(bob.connection?.readyState, 1);
});

Deno.test("MemoryNetwork supports reconnecting clients", async () => {
  using time = new FakeTime();
  await using server = new ServerSocket();
  await using network = new MemoryNetwork(server);
  await using client = new ClientSocket({ reconnect: true });
  await client.connect(network.url);
  network.server = undefined;
  network.link.cut();
  await settle();
  const sent = client.send("waits");
  await advance(time, 60_000);
  assertStrictEquals(client.connection, undefined);
  network.server = server;
  const got = server.waitFor("message");
  await advance(time, 60_000);
  assertStrictEquals((await got)[0].data, "waits");
  await sent;
});

Deno.test("MemoryNetwork reports the address of each client", async () => {
  await using server = new ServerSocket({ maxConnectionsPerAddress: 1 });
  await using network = new MemoryNetwork(server);
  await using ada = new ClientSocket();
  await ada.connect(network.url);
  const [client] = server.clients;
  assertStrictEquals(client?.remoteAddress, "127.0.0.1:49152");
  await using bob = new ClientSocket();
  await assertRejects(() => bob.connect(network.url), ConnectError);
});

Deno.test("MemoryNetwork accepts any handler", async () => {
  await using server = new ServerSocket();
  let answer: () => Response = () => new Response("a page");
  await using network = new MemoryNetwork({
    fetch: (request, info) =>
      new URL(request.url).pathname === "/live"
        ? server.fetch(request, info)
        : answer(),
  });
  const { url } = network;
  await using client = new ClientSocket();
  await assertRejects(() => client.connect(url), ConnectError, "200");
  answer = () => {
    throw new Error("by mistake");
  };
  await assertRejects(() => client.connect(url), ConnectError, "by mistake");
  await client.connect(`${url.replace("ws", "wss")}/live`);
  assertStrictEquals(server.clients.size, 1);
});

Deno.test("MemoryNetwork rejects an unoffered subprotocol and an upgrade without its response", async () => {
  await using server = new ServerSocket();
  const changes: ((response: Response) => Response)[] = [
    ({ headers }) => {
      headers.set("sec-websocket-protocol", "other");
      return new Response(null, { status: 101, headers });
    },
    () => new Response("instead"),
  ];
  const whys = ["which was not offered", "Invalid status code: 200"];
  for (const [i, change] of changes.entries()) {
    await using network = new MemoryNetwork({
      fetch: async (request, info) => change(await server.fetch(request, info)),
    });
    await using client = new ClientSocket();
    await assertRejects(
      () => client.connect(network.url),
      ConnectError,
      whys[i] ?? "",
    );
    await settle();
    assertStrictEquals(server.clients.size, 0);
  }
});

Deno.test("MemoryNetwork accepts the URLs of WebSocket", async () => {
  await using server = new ServerSocket();
  await using network = new MemoryNetwork(server);
  const { url } = network;
  for (const good of ["ws", "wss", "http", "https"]) {
    await using client = new ClientSocket();
    await client.connect(url.replace("ws", good));
    assertStrictEquals(
      client.connection?.url,
      {
        ws: `${url}/`,
        http: `${url}/`,
        wss: `${url.replace("ws", "wss")}/`,
        https: `${url.replace("ws", "wss")}/`,
      }[good],
    );
  }
  await using client = new ClientSocket({ plain: true });
  for (const bad of [url.replace("ws", "ftp"), `${url}#part`]) {
    const error = await assertRejects(() => client.connect(bad), DOMException);
    assertStrictEquals(error.name, "SyntaxError");
  }
  await using twice = new ClientSocket({ protocols: ["a", "a"], plain: true });
  const error = await assertRejects(() => twice.connect(url), DOMException);
  assertStrictEquals(error.name, "SyntaxError");
});

Deno.test("MemoryNetwork supports canceled attempts", async () => {
  using time = new FakeTime();
  await using server = new ServerSocket();
  const { promise, resolve } = Promise.withResolvers<void>();
  await using network = new MemoryNetwork({
    fetch: async (request, info) => {
      await promise;
      return server.fetch(request, info);
    },
  });
  await using client = new ClientSocket({ connectTimeout: 1_000 });
  const given = assertRejects(
    () => client.connect(network.url),
    ConnectError,
    "no response within 1000 ms",
  );
  await advance(time, 1_000);
  await given;
  const ends = server.collect("disconnect", { limit: 1 });
  resolve(); // too late
  assertEquals((await ends).length, 1);
});

Deno.test("a MemoryNetwork that is disposed of cuts all, and is not found", async () => {
  await using server = new ServerSocket();
  const client = new ClientSocket();
  const network = new MemoryNetwork(server);
  await client.connect(network.url);
  const lost = client.waitFor("disconnect");
  await network[Symbol.asyncDispose]();
  assertEquals(await lost, [1006, "", "network"]);
  assertStrictEquals(server.clients.size, 0);
});

Deno.test("networks in memory do not know each other", async () => {
  await using one: Pair = await pair();
  await using other: Pair = await pair();
  one.link.cut();
  await settle();
  assertEquals([one.server.readyState, other.server.readyState], [3, 1]);
});

/** Two sockets that are joined and open, and what they have told. */
async function sockets() {
  const client = new MemorySocket("ws://memory.test/", ["a"], 0);
  const server = new MemorySocket("ws://memory.test/", [], 0);
  const link = new MemoryLink(client, server);
  const told: string[] = [];
  for (const [name, socket] of Object.entries({ client, server })) {
    for (const type of ["open", "message", "error", "close"]) {
      socket.addEventListener(type, (event) => {
        const state = `${name} ${type} ${socket.readyState}`;
        if (event instanceof MessageEvent) told.push(`${state} ${event.data}`);
        else if (event instanceof CloseEvent) {
          const { wasClean, code, reason } = event;
          told.push(`${state} ${wasClean} ${code} "${reason}"`);
        } else told.push(state);
      });
    }
  }
  link.toClient.push({ type: "open", protocol: "a" });
  server.receive({ type: "open", protocol: "" });
  await settle();
  assertEquals(told.splice(0), ["server open 1", "client open 1"]);
  assertEquals([client.protocol, server.protocol], ["a", ""]);
  return { client, server, link, told };
}

Deno.test("MemorySocket closes as WebSocket does, and hears nothing while it does", async () => {
  const { client, server, told } = await sockets();
  server.send("before");
  client.close();
  server.send("too late for one that closes");
  client.send("too late");
  client.close(4000, "again");
  await settle();
  assertEquals(told, [
    'server close 3 true 1005 ""',
    'client close 3 true 1005 ""',
  ]);
  assertEquals([client.bufferedAmount, server.bufferedAmount], [0, 0]);
});

Deno.test("MemorySocket tells a code and a reason, and what came before them", async () => {
  const { client, server, told } = await sockets();
  server.send("before");
  server.close(4000, "bye");
  await settle();
  assertEquals(told, [
    "client message 1 before",
    'client close 3 true 4000 "bye"',
    'server close 3 true 4000 "bye"',
  ]);
  client.close();
  server.terminate();
  await settle();
  assertEquals(told.length, 3);
});

Deno.test("MemorySocket tells an error, then 1006, when its peer is gone", async () => {
  const { client, server, told } = await sockets();
  client.close(4000);
  server.terminate();
  await settle();
  assertEquals(told, ["client error 2", 'client close 3 false 1006 ""']);
});

Deno.test("MemorySocket opens once, and not when it was let go of before", () => {
  const socket = new MemorySocket("ws://memory.test/", [], 0);
  socket.addEventListener("open", () => {
    throw new Error("opened");
  });
  socket.close();
  socket.receive({ type: "open", protocol: "" });
  assertStrictEquals(socket.readyState, 2);
  socket.terminate();
  socket.receive({ type: "open", protocol: "" });
  assertStrictEquals(socket.readyState, 3);
});
