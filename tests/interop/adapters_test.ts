/** What all adapters do, tried with the real engines. */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { deadline, delay } from "@std/async";
import { broadcastChannel } from "../../adapters/broadcast_channel.ts";
import {
  type Adapter,
  ClientSocket,
  type ServerOptions,
  ServerSocket,
} from "../../mod.ts";
import { type Broker, brokers, missingBrokers } from "../support/brokers.ts";
import { lacksPermission } from "../support/permissions.ts";
import { Program } from "../support/program.ts";

const ignore = await lacksPermission("net", "run", "env", "read", "sys");

/** A broker, and whether servers keep messages. */
interface Tested extends Broker {
  readonly history?: boolean;
}

/** A server with an adapter, and clients that write down what they hear. */
class Node implements AsyncDisposable {
  readonly heard = new Map<string, unknown[]>();
  readonly errors: unknown[] = [];
  readonly #clients: ClientSocket[] = [];

  private constructor(
    readonly server: ServerSocket,
    readonly count: { brought: number },
  ) {
    server.on("error", (error) => this.errors.push(error));
    server.on("connect", (client, path) => {
      const [, , ...rooms] = path.split("/");
      for (const room of rooms) client.join(decodeURIComponent(room));
      client.send("ready");
    });
  }

  /** Starts a server, and waits until it can reach the others. */
  static async start(
    broker: Tested,
    options: ServerOptions = {},
  ): Promise<Node> {
    const count = { brought: 0 };
    const up = Promise.withResolvers<void>();
    const adapter = spied(broker.adapter(), (state) => {
      if (state === "up") up.resolve();
    }, () => count.brought++);
    const { history = false } = broker;
    const all = { history, ...options, adapter };
    const node = new Node(new ServerSocket(all), count);
    const told = node.server.waitFor("adapter");
    await node.server.listen("127.0.0.1", 0);
    await up.promise;
    if (history && adapter.log) await told;
    else told.catch(() => {});
    return node;
  }

  /** How many messages the adapter has brought. */
  get brought(): number {
    return this.count.brought;
  }

  /** Lets somebody in, by name, into the rooms. */
  async enter(name: string, ...rooms: string[]): Promise<ClientSocket> {
    const client = new ClientSocket();
    const heard: unknown[] = [];
    if (!name.startsWith("?")) this.heard.set(name, heard);
    this.#clients.push(client);
    const ready = client.waitFor("message");
    client.on("message", ({ content, data, isBinary, bytes }) => {
      if (content === "ready" || content.startsWith("?")) return;
      heard.push(isBinary ? [...bytes] : data);
    });
    const path = [name, ...rooms].map(encodeURIComponent).join("/");
    await client.connect(`${this.server.url}/${path}`);
    await ready;
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) await client.close();
    await this.server.close();
  }
}

/** An adapter that tells what it is told. */
function spied(
  adapter: Adapter,
  changed: (state: "up" | "down") => void,
  received: () => void,
): Adapter {
  return {
    ...adapter.log && { log: adapter.log },
    publish: (...args) => adapter.publish(...args),
    subscribe: (channel) => adapter.subscribe(channel),
    unsubscribe: (channel) => adapter.unsubscribe(channel),
    close: () => adapter.close(),
    open: (bus) =>
      adapter.open({
        received: (...args) => {
          received();
          bus.received(...args);
        },
        changed: (state, error) => {
          bus.changed(state, error);
          changed(state);
        },
      }),
  };
}

/**
 * Waits until what one node publishes comes to another: what it does not yet listen
 * to is lost to it.
 */
async function linked(from: Node, to: Node, room: string): Promise<void> {
  const instrumentation = await to.enter("?", room);
  const heard = instrumentation.waitFor("message", {
    filter: ({ content }) => content === "?probe",
  });
  const timer = setInterval(() => from.server.to(room).send("?probe"), 20);
  await heard;
  clearInterval(timer);
  await instrumentation.close();
  // Those that are still on their way come before this.
  await settled(from, to);
}

/**
 * Waits until everything that one node has broadcast has reached another, and has come
 * back to the sender, where a log sends it there.
 */
async function settled(from: Node, to: Node): Promise<void> {
  const mark = `?${crypto.randomUUID()}`;
  const listeners = [await to.enter("?"), await from.enter("?")];
  const heard = listeners.map((client) =>
    client.waitFor("message", { filter: ({ content }) => content === mark })
  );
  from.server.broadcast(mark);
  await Promise.all(heard);
  for (const client of listeners) await client.close();
}

function test(
  name: string,
  fn: (broker: Tested, name: string) => Promise<void>,
  only: string[] = Object.keys(brokers),
  histories: boolean[] = [false, true],
): void {
  for (const adapter of only) {
    for (const history of histories) {
      Deno.test({
        name: `${adapter}${history ? " with history" : ""}: ${name}`,
        ignore: ignore || missingBrokers.has(adapter),
        fn: async () => {
          await using broker = await brokers[adapter]?.();
          assert(broker);
          await deadline(fn({ ...broker, history }, adapter), 30_000);
        },
      });
    }
  }
}

test("delivers to rooms and to all clients of all servers once and in order", async (broker) => {
  await using one = await Node.start(broker);
  await using two = await Node.start(broker);
  await one.enter("ada", "lobby");
  await two.enter("grace", "lobby");
  await two.enter("joan");
  await linked(one, two, "lobby");
  await linked(two, one, "lobby");
  const sent = [
    "text",
    { n: 1 },
    new Uint8Array([0, 10, 255]),
    new Blob(["blob"]),
    "\u0001[",
    "",
    "ä\n€",
  ];
  for (const data of sent) one.server.to("lobby").send(data);
  for (let n = 0; n < 200; n++) one.server.to("lobby").send(n);
  one.server.broadcast("to all");
  two.server.to("lobby").send("back");
  await settled(one, two);
  await settled(two, one);
  const all = [
    ...["text", { n: 1 }, [0, 10, 255], [98, 108, 111, 98], "\u0001[", ""],
    "ä\n€",
    ...Array.from({ length: 200 }, (_, n) => n),
    "to all",
  ];
  const without = (heard: unknown[] | undefined) =>
    heard?.filter((data) => data !== "back");
  assertEquals(without(one.heard.get("ada")), all);
  assertEquals(without(two.heard.get("grace")), all);
  assertEquals(two.heard.get("joan"), ["to all"]);
  for (const heard of [one.heard.get("ada"), two.heard.get("grace")]) {
    assertEquals(heard?.filter((data) => data === "back"), ["back"]);
  }
  assertEquals([...one.errors, ...two.errors], []);
});

test("applies except and several rooms on every server", async (broker) => {
  await using one = await Node.start(broker);
  await using two = await Node.start(broker);
  await using three = await Node.start(broker);
  for (const node of [one, two, three]) {
    await node.enter("a", "a");
    await node.enter("both", "a", "b c*.>");
    await node.enter("quiet", "a", "quiet");
  }
  for (const node of [two, three]) {
    for (const room of ["a", "b c*.>"]) await linked(one, node, room);
  }
  one.server.to("a", "b c*.>", "a").except("quiet").send("x");
  one.server.broadcast("y", { except: "quiet" });
  one.server.to().send("to nobody");
  for (const node of [two, three]) await settled(one, node);
  for (const node of [one, two, three]) {
    assertEquals(Object.fromEntries(node.heard), {
      a: ["x", "y"],
      both: ["x", "y"],
      quiet: [],
    });
  }
});

test(
  "delivers only rooms that a client of the server is in",
  async (broker, name) => {
    await using one = await Node.start(broker);
    await using two = await Node.start(broker);
    await one.enter("ada", "busy");
    const grace = await two.enter("grace", "other");
    await linked(one, two, "other");
    const before = two.brought;
    for (let n = 0; n < 50; n++) one.server.to("busy").send(n);
    await settled(one, two);
    assertStrictEquals(two.brought - before, 1, "but for the mark");
    assertStrictEquals(one.heard.get("ada")?.length, 50);
    // Nobody is left in that room.
    await grace.close();
    await settled(one, two);
    const later = two.brought;
    for (let n = 0; n < 50; n++) one.server.to("other").send(n);
    await settled(one, two);
    // Where nothing but its own memory keeps it, it goes on to listen for who comes back.
    const isKept = broker.history && name === "broadcast-channel";
    assertStrictEquals(two.brought - later, isKept ? 51 : 1);
  },
);

test("carries the options of send and the bytes of a codec", async (broker) => {
  const codec = {
    name: "flip",
    encode: (value: unknown) => new Uint8Array([Number(value) ^ 255]),
    decode: (frame: string | Uint8Array) => Number(frame[0]) ^ 255,
  };
  await using one = new ServerSocket({ codec, adapter: broker.adapter() });
  const up = Promise.withResolvers<void>();
  await using two = new ServerSocket({
    codec,
    adapter: spied(
      broker.adapter(),
      (state) => state === "up" && up.resolve(),
      () => {},
    ),
  });
  await two.listen("127.0.0.1", 0);
  await up.promise;
  await using client = new ClientSocket({ codec });
  await client.connect(two.url);
  const heard = client.waitFor("message");
  const send = () => one.broadcast(7, { overflow: "latest", key: "k" });
  const timer = setInterval(send, 20);
  assertStrictEquals((await heard)[0].data, 7);
  clearInterval(timer);
  await client.close();
});

test("counts and closes connections on all servers", async (broker) => {
  await using one = await Node.start(broker);
  assertStrictEquals(one.server.servers, 1);
  await using two = await Node.start(broker);
  const three = await Node.start(broker);
  await one.enter("ada", "lobby");
  await two.enter("grace", "lobby");
  await two.enter("joan");
  const alan = await three.enter("alan", "lobby");
  for (const { server } of [one, two, three]) {
    while (server.servers < 3) await delay(5);
    assertStrictEquals(await server.count(), 4);
    assertStrictEquals(await server.count("lobby"), 3);
    assertStrictEquals(await server.count("nowhere"), 0);
  }
  const [client] = three.server.clients;
  assert(client);
  const ended = Promise.all([
    alan.waitFor("close"),
    three.server.waitFor("close"),
  ]);
  assertStrictEquals(await one.server.closeById(client.id, 4001, "out"), true);
  assertStrictEquals(await one.server.closeById(client.id), false);
  const [[code, reason]] = await ended;
  assertEquals([code, reason], [4001, "out"]);
  assertStrictEquals(await one.server.count(), 3);
  // Who leaves says so.
  await three[Symbol.asyncDispose]();
  while (one.server.servers > 2) await delay(5);
  assertStrictEquals(await one.server.count(), 3);
  assertEquals([...one.errors, ...two.errors, ...three.errors], []);
});

test("ignores invalid messages and those of a later version", async (broker) => {
  await using one = await Node.start(broker);
  await one.enter("ada");
  const stranger = broker.adapter();
  const up = Promise.withResolvers<void>();
  stranger.open({
    received: () => {},
    changed: (state) => state === "up" && up.resolve(),
  });
  await up.promise;
  const encoder = new TextEncoder();
  const failed = one.server.waitFor("error", {
    filter: (error) => String(error).includes("last"),
  });
  for (
    const text of [
      '{"version":2,"from":"later"}\nx',
      "no JSON",
      '{"version":1}\nx',
      '"last"\n',
    ]
  ) {
    await stranger.publish("all", encoder.encode(text));
  }
  const [, from] = await failed;
  assertStrictEquals(from, "adapter");
  assertStrictEquals(one.errors.length, 3);
  for (const error of one.errors) assertInstanceOf(error, Error);
  await stranger.close();
  assertEquals(one.heard.get("ada"), []);
});

test(
  "reports a broker that dies and comes back, and delivers locally meanwhile",
  async (broker, name) => {
    await using one = await Node.start(broker, { adapterQueue: 2 });
    await using two = await Node.start(broker);
    const told: string[] = [];
    one.server.on("adapter", (state, error) => {
      told.push(error === undefined ? state : `${state}, with an error`);
    });
    await one.enter("ada", "lobby");
    await two.enter("grace", "lobby");
    await linked(one, two, "lobby");
    const downs = [one, two].map(({ server }) => server.waitFor("adapter"));
    await broker.kill();
    await Promise.all(downs);
    for (const n of [1, 2, 3]) one.server.to("lobby").send(n);
    two.server.to("lobby").send("lost");
    // Who comes meanwhile is in the room all the same.
    await two.enter("joan", "lobby", "new");
    const ups = [one, two].map(({ server }) =>
      server.waitFor("adapter", { filter: (state) => state === "up" })
    );
    await broker.start();
    await Promise.all(ups);
    await linked(one, two, "new");
    one.server.to("new").send("new");
    await settled(one, two);
    assertEquals(one.heard.get("ada"), [1, 2, 3]);
    const grace = two.heard.get("grace") ?? [];
    assertStrictEquals(grace[0], "lost");
    // What was sent may be published before the other one listens again.
    const later = broker.history ? /^2,3$/ : /^(2,3|3)?$/;
    assertMatch(grace.slice(1).join(), later);
    assertStrictEquals(two.heard.get("joan")?.at(-1), "new");
    assertStrictEquals(one.server.missed, 1);
    assertStrictEquals(two.server.missed, 1);
    assertMatch(told.join("; "), /^(down(, with an error)?; )+up$/, name);
    assertEquals([...one.errors, ...two.errors], []);
  },
  ["redis", "nats"],
);

test(
  "waits for a broker that is not there at first",
  async (broker) => {
    await broker.kill();
    const early = new ServerSocket({ adapter: broker.adapter() });
    await early.listen("127.0.0.1", 0);
    early.broadcast("to nobody");
    assertStrictEquals(early.missed, 1);
    await early.close();
    await using server = new ServerSocket({ adapter: broker.adapter() });
    const up = server.waitFor("adapter", { filter: (state) => state === "up" });
    await broker.start();
    await up;
  },
  ["redis", "nats"],
);

test("accepts any name of a room of up to 1,024 bytes", async (broker) => {
  await using one = await Node.start(broker);
  await using two = await Node.start(broker);
  const told: string[] = [];
  one.server.on("adapter", (state) => told.push(state));
  const names = ["x".repeat(1_024), "x".repeat(1_023), " *.>\n\u0000ä"];
  for (const name of names) {
    await two.enter(name, name);
    await linked(one, two, name);
    one.server.to(name).send(names.indexOf(name));
  }
  await settled(one, two);
  assertEquals(names.map((name) => two.heard.get(name)), [[0], [1], [2]]);
  assertEquals([told, one.errors, two.errors], [[], [], []]);
});

test(
  "completes subscriptions that were pending when the broker died",
  async (broker) => {
    await using one = await Node.start(broker);
    await using two = await Node.start(broker);
    broker.pause(true);
    await two.enter("ada", "new");
    const downs = [one, two].map(({ server }) => server.waitFor("adapter"));
    await broker.kill();
    await Promise.all(downs);
    const ups = [one, two].map(({ server }) =>
      server.waitFor("adapter", { filter: (state) => state === "up" })
    );
    await broker.start();
    await Promise.all(ups);
    await linked(one, two, "other");
    const timer = setInterval(() => one.server.to("new").send("hello"), 20);
    while (two.heard.get("ada")?.length === 0) await delay(10);
    clearInterval(timer);
  },
  ["redis", "nats"],
);

test(
  "closes while the broker does not answer",
  async (broker) => {
    const { server } = await Node.start(broker, { closeTimeout: 500 });
    broker.pause(true);
    server.to("lobby").send("to nobody");
    await server.close();
  },
  ["redis", "nats"],
);
Deno.test("broadcastChannel() ignores messages of others in its channel", async () => {
  const name = crypto.randomUUID();
  const [one, other] = [broadcastChannel({ name }), broadcastChannel({ name })];
  const received: unknown[] = [];
  const last = Promise.withResolvers<void>();
  one.open({
    received: (channel, message) => {
      received.push([channel, message]);
      if (channel === "last") last.resolve();
    },
    changed: () => {},
  });
  other.open({ received: () => {}, changed: () => {} });
  for (const channel of ["left", "last"]) one.subscribe(channel);
  one.unsubscribe("left");
  const stranger = new BroadcastChannel(name);
  for (const said of ["last", null, {}, []]) stranger.postMessage(said);
  const message = new Uint8Array([1]);
  for (const channel of ["unknown", "left", "last"]) {
    other.publish(channel, message);
  }
  await last.promise;
  assertEquals(received, [["last", message]]);
  stranger.close();
  for (const adapter of [one, other]) await adapter.close();
});

Deno.test({
  name: "redis() queues at most 100,000 messages for a Redis that stands still",
  ignore: ignore || missingBrokers.has("redis"),
  fn: async () => {
    await using broker = await brokers.redis?.();
    assert(broker);
    const adapter = broker.adapter();
    const up = Promise.withResolvers<void>();
    adapter.open({
      received: () => {},
      changed: (state) => state === "up" && up.resolve(),
    });
    await up.promise;
    broker.pause(true);
    const publish = async () => await adapter.publish("a", new Uint8Array(1));
    const sent = Array.from({ length: 100_000 }, publish);
    const next = () => deadline(publish(), 30_000);
    await assertRejects(next, Error, "The queue is full");
    broker.pause(false);
    await Promise.all(sent);
    await adapter.close();
  },
});

/** What `tests/support/deno_serve_parallel.ts` says. */
interface Said {
  worker: string;
  content?: string;
}

Deno.test({
  name: "broadcastChannel() connects the workers of deno serve --parallel",
  ignore,
  fn: async () => {
    await using program = new Program(
      [
        "serve",
        "--parallel",
        "--port=0",
        "tests/support/deno_serve_parallel.ts",
      ],
      { output: "stderr" },
    );
    const url = await program.line("deno serve: Listening on ");
    const [address = ""] = /http:\S+/.exec(url) ?? [];
    const clients: ClientSocket<{ incoming: Said }>[] = [];
    const workers = new Set<string>();
    // The kernel picks the worker: sooner or later it picks another one.
    while (workers.size < 2) {
      const client = new ClientSocket<{ incoming: Said }>();
      clients.push(client);
      const said = client.waitFor("message");
      await client.connect(address);
      workers.add((await said)[0].data.worker);
    }
    const [first, ...others] = clients;
    const heard = Promise.all(
      others.map((client) => client.waitFor("message")),
    );
    await first?.send("hello");
    const contents = (await deadline(heard, 20_000)).map(([{ data }]) => data);
    assert(contents.length > 0);
    for (const { content, worker } of contents) {
      assertStrictEquals(content, "hello");
      assertStrictEquals(worker, contents[0]?.worker);
    }
    for (const client of clients) await client.close();
  },
});
