/** Acting on the clients of all servers, tried with each adapter and its broker. */

import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { deadline, delay } from "@std/async";
import {
  ClientSocket,
  RequestError,
  type ServerOptions,
  ServerSocket,
} from "../../mod.ts";
import { type Broker, brokers, missingBrokers } from "../support/brokers.ts";
import { lacksPermission } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { lacksProgram } from "../support/programs.ts";

const ignore = await lacksPermission("net", "run", "env", "read", "sys");
const lacksPython = await lacksProgram("python3-websockets");

/** A server, and its clients by the names in their paths. */
class Node implements AsyncDisposable {
  readonly server: ServerSocket;
  readonly errors: unknown[] = [];
  readonly #clients: ClientSocket[] = [];

  constructor(broker: Broker, options: ServerOptions = {}) {
    this.server = new ServerSocket({ ...options, adapter: broker.adapter() });
    this.server.on("error", (error) => this.errors.push(error));
    this.server.on("adapter", () => {});
    this.server.on("connect", (client, path) => {
      for (const room of path.split("/").slice(2)) client.join(room);
      client.send("ready");
    });
  }

  async enter(
    name: string,
    ...rooms: string[]
  ): Promise<{ client: ClientSocket; id: string; heard: unknown[] }> {
    const client = new ClientSocket({ reconnect: false });
    this.#clients.push(client);
    const heard: unknown[] = [];
    client.on("message", ({ data }) => heard.push(data));
    const ready = client.waitFor("message");
    const connected = this.server.waitFor("connect");
    const path = [name, ...rooms].join("/");
    await client.connect(`${this.server.url}/${path}`);
    const [{ id }] = await connected;
    await ready;
    heard.length = 0;
    return { client, id, heard };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) await client.close();
    await this.server.close();
  }
}

async function start(broker: Broker, options?: ServerOptions): Promise<Node> {
  const node = new Node(broker, options);
  await node.server.listen("127.0.0.1", 0);
  return node;
}

function test(
  name: string,
  fn: (broker: Broker, adapter: string) => Promise<void>,
  only: readonly string[] = Object.keys(brokers),
  isLacking = false,
): void {
  for (const adapter of only) {
    Deno.test({
      name: `${adapter}: ${name}`,
      ignore: ignore || isLacking || missingBrokers.has(adapter),
      fn: async () => {
        await using broker = await brokers[adapter]?.();
        assert(broker);
        await deadline(fn(broker, adapter), 60_000);
      },
    });
  }
}

test("count() and members() are right as soon as they resolve", async (broker) => {
  await using one = await start(broker);
  const entered = [await one.enter("a", "x"), await one.enter("b", "x", "y")];
  await using two = await start(broker);
  // The server has just started, and knows of no other one.
  const [all, inX, inY, members] = await Promise.all([
    two.server.count(),
    two.server.count("x"),
    two.server.count("y"),
    two.server.members("x"),
  ]);
  assertEquals([all, inX, inY], [2, 2, 1]);
  assertStrictEquals(members.length, entered.length);
  assertStrictEquals(two.server.servers, 2);
  const third = await two.enter("c", "y");
  assertEquals(await one.server.count("y"), 2);
  await third.client.close();
  assertEquals(await one.server.count("y"), 1);
});

test("Audience changes the clients of all servers", async (broker) => {
  await using one = await start(broker);
  await using two = await start(broker);
  const ada = await one.enter("ada", "lobby");
  const joan = await two.enter("joan", "lobby");
  const grace = await two.enter("grace", "lobby", "quiet");
  const { server } = one;
  assertStrictEquals(await server.to("lobby").join("game", "chess"), 3);
  // What is sent after that arrives everywhere, and once.
  server.to("game", "chess").send("begins");
  const [own] = server.clients;
  assert(own);
  assertStrictEquals(
    await server.to("lobby").except("quiet", own).leave("game"),
    1,
  );
  assertStrictEquals(await server.count("game"), 2);
  assertStrictEquals(await server.count("chess"), 3);
  server.to("game").send("goes on");
  assertStrictEquals(await server.sendById(joan.id, { to: "joan" }), true);
  assertStrictEquals(await server.sendById(ada.id, new Uint8Array([7])), true);
  assertStrictEquals(await server.sendById("nobody", "x"), false);
  const ended = grace.client.waitFor("close");
  assertStrictEquals(await server.to("quiet").close(4001, "out"), 1);
  const [code, reason] = await ended;
  assertEquals([code, reason], [4001, "out"]);
  const joanEnded = joan.client.waitFor("close");
  assertStrictEquals(await server.closeById(joan.id, 4002), true);
  assertStrictEquals(await server.closeById("nobody"), false);
  assertEquals((await joanEnded)[0], 4002);
  assertEquals(ada.heard, ["begins", "goes on", new Uint8Array([7])]);
  assertEquals(joan.heard, ["begins", { to: "joan" }]);
  assertEquals(grace.heard, ["begins", "goes on"]);
  await assertRejects(() => server.to("lobby").join(""), TypeError);
  await assertRejects(() => server.to("lobby").close(999), RangeError);
  assertEquals([...one.errors, ...two.errors], []);
});

test("Audience.request() collects the replies of all servers", async (broker) => {
  await using one = await start(broker);
  await using two = await start(broker);
  const replying = await two.enter("replying", "poll");
  replying.client.handle(({ data }) => ({ got: data }));
  const bytes = await two.enter("bytes", "poll");
  bytes.client.handle(() => new Uint8Array([1, 0, 10]));
  const local = await one.enter("local", "poll");
  local.client.handle(() => "\uFEFFtext\n");
  const refusing = await two.enter("refusing", "poll");
  refusing.client.handle(() => {
    throw new RequestError("No", "unwilling");
  });
  const large = await two.enter("large", "poll");
  large.client.handle(() => "x".repeat(600_000));
  const slow = await two.enter("slow", "poll");
  slow.client.handle(() => new Promise(() => {}));
  const leaving = await two.enter("leaving", "poll");
  leaving.client.handle(() => leaving.client.close(4000, "bye"));
  const excluded = await two.enter("excluded", "poll", "quiet");
  const plain = new WebSocket(`${two.server.url}/plain/poll`);
  await new Promise((resolve) => plain.onmessage = resolve);

  const { replies, failures, missingServers } = await one.server.to("poll")
    .except("quiet").request({ ready: true }, { timeout: 1_000 });
  assertEquals(
    Object.fromEntries(replies),
    {
      [replying.id]: { got: { ready: true } },
      [bytes.id]: new Uint8Array([1, 0, 10]),
      [local.id]: "\uFEFFtext\n",
    },
  );
  const names = new Map(
    [...failures].map(([id, { name }]) => [id, name]),
  );
  assertStrictEquals(names.get(refusing.id), "RequestError");
  assertStrictEquals(names.get(large.id), "RangeError");
  assertStrictEquals(names.get(slow.id), "TimeoutError");
  assertStrictEquals(names.get(leaving.id), "ConnectionEndedError");
  assertStrictEquals(names.has(excluded.id), false);
  assertEquals([...names.values()].sort(), [
    "ConnectionEndedError",
    "NotSupportedError",
    "RangeError",
    "RequestError",
    "TimeoutError",
  ]);
  const refusal = failures.get(refusing.id);
  assert(refusal instanceof RequestError);
  assertStrictEquals(refusal.code, "unwilling");
  assertStrictEquals(missingServers, 0);
  const nobody = await one.server.to("nobody").request(1);
  assertEquals([nobody.replies.size, nobody.failures.size], [0, 0]);
  const closed = new Promise((resolve) => plain.onclose = resolve);
  plain.close();
  await closed;
  assertEquals([...one.errors, ...two.errors], []);
});

test("Audience.request() tells of a server that closes meanwhile", async (broker) => {
  await using one = await start(broker);
  await using two = await start(broker);
  const { client, id } = await two.enter("slow", "poll");
  const asked = Promise.withResolvers<void>();
  client.handle(() => {
    asked.resolve();
    return new Promise(() => {});
  });
  const pending = one.server.to("poll").request(1, { timeout: 20_000 });
  await asked.promise;
  await two.server.close();
  const { replies, failures, missingServers } = await pending;
  assertEquals(replies.size, 0);
  assertEquals([...failures.keys()], [id]);
  assert(missingServers <= 1);
});

test(
  "Audience.request() ends in time when a server is killed",
  async (broker, adapter) => {
    await using one = await start(broker);
    await using killed = new Program([
      ...["run", "--allow-all", "tests/support/presence_server.ts"],
      ...[adapter, broker.address],
    ]);
    const url = await killed.line("listening at");
    const here = await one.enter("here", "poll");
    here.client.handle(() => "here");
    const asked = Promise.withResolvers<void>();
    const there = new ClientSocket({ reconnect: false });
    there.handle(() => {
      asked.resolve();
      return new Promise(() => {});
    });
    await there.connect(`${url}/poll/ada`);
    while (await one.server.count("poll") < 2) await delay(20);

    const begun = performance.now();
    // It is known to be lost after ten seconds at most, long before the timeout.
    const pending = one.server.to("poll").request(1, { timeout: 40_000 });
    await asked.promise;
    killed.kill("SIGKILL");
    const { replies, failures, missingServers } = await pending;
    assert(performance.now() - begun < 30_000);
    assertEquals([...replies], [[here.id, "here"]]);
    assertEquals(failures.size, 1);
    assertStrictEquals(missingServers, 1);
    assertStrictEquals(await one.server.count("poll"), 1);
    there.terminate();
  },
  ["redis", "nats"],
);

test("sendToServers() reaches all other servers", async (broker) => {
  await using one = await start(broker);
  await using two = await start(broker);
  await using three = await start(broker);
  await one.server.count(); // all of them are up
  await Promise.all([two.server.count(), three.server.count()]);
  const own: unknown[] = [];
  one.server.on("servermessage", (data) => own.push(data));
  const heard = [two, three].map(({ server }) =>
    server.waitFor("servermessage")
  );
  await one.server.sendToServers({ stale: ["a", null] });
  for (const [data] of await Promise.all(heard)) {
    assertEquals(data, { stale: ["a", null] });
  }
  assertEquals(own, []);
  await assertRejects(() => one.server.sendToServers(undefined), TypeError);
});

for (const history of [false, true]) {
  const name = history ? " with history" : "";
  test(
    `ServerSocket that does not listen publishes${name}`,
    async (broker) => {
      await using one = await start(broker, { history });
      const ada = await one.enter("ada", "x");
      await one.server.count();
      const heard = ada.client.waitFor("message");
      {
        const adapter = broker.adapter();
        await using publisher = new ServerSocket({ adapter, history });
        await publisher.count();
        publisher.to("x").send({ price: 3 });
      }
      assertEquals((await heard)[0].data, { price: 3 });
      assertEquals(one.errors, []);
    },
    ["redis", "nats"],
  );
}

for (const history of [false, true]) {
  const name = history ? " with history" : "";
  test(
    `ServerSocket.missed says after close() whether the broker has taken all${name}`,
    async (broker) => {
      const publisher = () =>
        new ServerSocket({
          adapter: broker.adapter(),
          adapterQueue: 10,
          history,
        });
      const taken = publisher();
      await taken.count();
      for (let n = 0; n < 50; n++) taken.to("x").send(`${n}`);
      await taken.close();
      assertStrictEquals(taken.missed, 0);

      const lost = publisher();
      await lost.count();
      await broker.kill();
      while (lost.adapterState?.state === "up") await delay(20);
      for (let n = 0; n < 3; n++) lost.to("x").send(`${n}`);
      assertStrictEquals(lost.missed, 0); // they wait
      await lost.close();
      assertStrictEquals(lost.missed, 3);
    },
    ["redis", "nats"],
  );
}

test(
  "ServerSocket receives what a program in Python publishes",
  async (broker, adapter) => {
    await using one = await start(broker);
    const ada = await one.enter("ada", "lobby");
    await one.server.count();
    const heard = ada.client.waitFor("message", {
      filter: ({ content }) => content === "last",
    });
    const port = /\d+$/.exec(broker.address)?.[0] ?? "";
    const script = "tests/support/broker_publish.py";
    const { success } = await new Deno.Command("/usr/bin/python3", {
      args: [script, adapter, port, "lobby", '{"n":1}', "\u20ac", "last"],
    }).output();
    assert(success);
    await heard;
    assertEquals(ada.heard, [{ n: 1 }, "\u20ac", "last"]);
    assertStrictEquals(one.errors.length, 1);
  },
  ["redis", "nats"],
  lacksPython,
);

test(
  "what concerns all servers rejects while the broker is away",
  async (broker) => {
    await using one = await start(broker);
    const { id, heard, client } = await one.enter("a", "x");
    await one.server.count();
    await broker.kill();
    while (one.server.adapterState?.state === "up") {
      await one.server.waitFor("adapter");
    }
    const { server } = one;
    for (
      const attempt of [
        () => server.count(),
        () => server.members("x"),
        () => server.to("x").join("y"),
        () => server.to("x").request(1),
        () => server.sendById("nobody", 1),
        () => server.closeById("nobody"),
        () => server.sendToServers(1),
      ]
    ) await assertRejects(attempt, Error, "the adapter is down");
    // What this server can do by itself is done.
    assertStrictEquals(server.to("y").size, 1);
    const arrived = client.waitFor("message");
    assertStrictEquals(await server.sendById(id, "here"), true);
    await arrived;
    assertEquals(heard, ["here"]);
    // Asked before the broker is known to be away, it waits for that.
    await using two = await start(broker);
    await assertRejects(() => two.server.count(), Error, "the adapter is down");
    await broker.start();
  },
  ["redis", "nats"],
);
