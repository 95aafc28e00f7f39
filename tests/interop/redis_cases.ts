/** The adapter for Redis, tried with real servers as operators set them up. */

import {
  assert,
  assertEquals,
  assertFalse,
  assertMatch,
  assertThrows,
} from "@std/assert";
import { deadline, delay } from "@std/async";
import { createClient, createCluster, createSentinel } from "@redis/client";
import { Cluster, Redis } from "ioredis";
import { redis, type RedisOptions } from "../../adapters/redis.ts";
import { ClientSocket, type ServerOptions, ServerSocket } from "../../mod.ts";
import {
  certificates,
  redisCluster,
  redisSentinel,
  RedisServer,
  type RedisServers,
} from "../support/redis_servers.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";

/** A server, and what it tells. */
class Node implements AsyncDisposable {
  readonly told: string[] = [];
  readonly errors: string[] = [];
  readonly server: ServerSocket;

  constructor(options: RedisOptions, more: ServerOptions = {}) {
    this.server = new ServerSocket({ ...more, adapter: redis(options) });
    this.server.on("adapter", (state, error) => {
      this.told.push(
        error instanceof Error ? `${state}: ${error.message}` : state,
      );
    });
    this.server.on("error", (error) => this.errors.push(`${error}`));
    this.server.on("connect", (client, path) => {
      for (const room of path.slice(1).split("/")) {
        if (room) client.join(room);
      }
    });
  }

  /** Waits until the adapter has told something. */
  async until(pattern: RegExp): Promise<void> {
    while (!this.told.some((line) => pattern.test(line))) await delay(10);
  }

  /** Waits until it is up, and reaches as many servers. */
  async linked(servers: number): Promise<void> {
    while (
      this.server.servers < servers || this.server.adapterState?.state !== "up"
    ) await delay(10);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close();
  }
}

/** Waits until what one server sends to a room comes to a client of another. */
async function crosses(
  from: Node,
  client: ClientSocket,
  room: string,
): Promise<void> {
  const mark = crypto.randomUUID();
  const heard = client.waitFor("message", {
    filter: ({ content }) => content === mark,
  });
  const timer = setInterval(() => from.server.to(room).send(mark), 50);
  try {
    await heard;
  } finally {
    clearInterval(timer);
  }
}

/** Sends many messages at once to each of several rooms: all arrive, in order. */
async function keepsOrder(
  from: Node,
  client: ClientSocket,
  rooms: readonly string[],
): Promise<void> {
  const count = 40;
  const heard = client.collect("message", {
    limit: count * rooms.length,
    filter: ({ content }) => content.startsWith("in order "),
  });
  for (let n = 0; n < count; n++) {
    for (const room of rooms) {
      from.server.to(room).send(`in order ${room} ${n}`);
    }
  }
  const contents = (await heard).map(([{ content }]) => content);
  for (const room of rooms) {
    assertEquals(
      contents.filter((text) => text.includes(` ${room} `)),
      Array.from({ length: count }, (_, n) => `in order ${room} ${n}`),
    );
  }
}

/**
 * How long clients of Redis leave timers behind that wait for the next attempt to
 * connect, in milliseconds.
 */
const RETRY_TIMERS_MS = 2_500;

function test(name: string, fn: () => Promise<void>, seconds = 30): void {
  Deno.test({
    name,
    fn: async () => {
      await deadline(fn(), seconds * 1_000);
      if (/ioredis|failover/.test(name)) await delay(RETRY_TIMERS_MS);
    },
  });
}

async function connect(node: Node, path: string): Promise<ClientSocket> {
  const client = new ClientSocket({
    reconnect: { initialDelay: 20, maxDelay: 100 },
  });
  await client.connect(`${node.server.url}/${path}`);
  return client;
}

for (
  const [what, options, reason] of [
    ["nobody listens", () => [], /ECONNREFUSED/],
    ["it wants a password", () => ["--requirepass", "right"], /NOAUTH/],
    ["the password is wrong", () => ["--requirepass", "right"], /WRONGPASS/],
    ["it speaks no TLS", () => [], /timeout|answered|come back/],
  ] as const
) {
  test(`redis() reports within 5 seconds why it cannot connect: ${what}`, async () => {
    await using server = await RedisServer.start(options);
    const address = `127.0.0.1:${server.port}`;
    if (what === "nobody listens") await server.kill();
    const url = what === "it speaks no TLS"
      ? `rediss://${address}`
      : what === "the password is wrong"
      ? `redis://:swordfish@${address}`
      : `redis://${address}`;
    const start = performance.now();
    await using node = new Node({ url });
    while (node.told.length === 0) await delay(10);
    assert(performance.now() - start < 5_000);
    assertMatch(node.told[0] ?? "", reason);
    assertMatch(node.told[0] ?? "", /^down: /);
    const state = node.server.adapterState;
    assertEquals(state?.state, "down");
    assertFalse(Deno.inspect([state, node.told]).includes("swordfish"));
  });
}

test("redis() reports a Redis that never answers, and connects when it does", async () => {
  await using server = await RedisServer.start();
  await using proxy = new TcpProxy(server.port);
  proxy.swallow();
  const port = new URL(proxy.url).port;
  const start = performance.now();
  await using node = new Node({ url: `redis://127.0.0.1:${port}` });
  await node.until(/^down: .*(answered|come back)/);
  assert(performance.now() - start < 5_000);
  proxy.heal();
  await node.until(/^up$/);
});

test("redis() reports another reason, and is up when the password is right", async () => {
  await using server = await RedisServer.start(() => [
    ...["--requirepass", "old"],
  ]);
  const url = `redis://:new@127.0.0.1:${server.port}`;
  await using node = new Node({ url });
  await node.until(/WRONGPASS/);
  await server.kill();
  await node.until(/ECONNREFUSED/);
  await server.start();
  await server.cli("-a", "old", "CONFIG", "SET", "requirepass", "new");
  await node.until(/^up$/);
});

test(
  "redis() notices within 10 seconds that one direction of a connection is dead",
  async () => {
    await using server = await RedisServer.start();
    // The first connection is that of the publisher, the second that of the subscriber.
    for (const index of [0, 1]) {
      const proxies = [new TcpProxy(server.port), new TcpProxy(server.port)];
      await using first = proxies[0];
      await using second = proxies[1];
      let count = 0;
      const client = () => {
        const proxy = count < 2 ? proxies[count] : undefined;
        count++;
        const port = proxy ? new URL(proxy.url).port : server.port;
        return createClient({ url: `redis://127.0.0.1:${port}` });
      };
      await using node = new Node({ client });
      await node.until(/^up$/);
      assert(first && second);
      proxies[index]?.swallow();
      const start = performance.now();
      await node.until(/^down/);
      assert(performance.now() - start < 10_000, `${index}`);
      node.told.length = 0;
      await node.until(/^up$/);
    }
  },
  60,
);

test("redis() receives every room, whatever the delays are while clients come and go", async () => {
  await using server = await RedisServer.start();
  await using proxy = new TcpProxy(server.port);
  proxy.latency = 20;
  const port = new URL(proxy.url).port;
  const adapter = redis({ url: `redis://127.0.0.1:${port}` });
  const heard = new Set<string>();
  const up = Promise.withResolvers<void>();
  adapter.open({
    received: (channel) => void heard.add(channel),
    changed: (state) => state === "up" && up.resolve(),
  });
  await up.promise;
  const random = new SeededRandom(7);
  const channels = Array.from({ length: 200 }, (_, i) => `room ${i}`);
  for (let step = 0; step < 6; step++) {
    for (const channel of channels) {
      if (random.integer(2) === 0) adapter.subscribe(channel);
      else adapter.unsubscribe(channel);
    }
    await delay(random.integer(60));
  }
  await Promise.all(channels.map((channel) => adapter.subscribe(channel)));
  for (const channel of channels) {
    adapter.publish(channel, new Uint8Array([1]));
  }
  adapter.subscribe("last");
  const timer = setInterval(
    () => adapter.publish("last", new Uint8Array([1])),
    50,
  );
  while (!heard.has("last")) await delay(10);
  clearInterval(timer);
  assertEquals(channels.filter((channel) => !heard.has(channel)), []);
  await adapter.close();
});

test("redis() unsubscribes from a room without members", async () => {
  await using server = await RedisServer.start();
  await using node = new Node({ url: server.url });
  await node.server.listen("127.0.0.1", 0);
  await node.until(/^up$/);
  for (let i = 0; i < 20; i++) {
    await using client = await connect(node, "lobby");
    await client.close();
  }
  await server.until(/^(?!.*room lobby)/s, "PUBSUB", "CHANNELS");
});

test("redis() survives a Redis that requires a certificate, and connects with one, also with ioredis", async () => {
  await using server = new RedisServer(({ folder, port }) => [
    ...["--tls-port", `${port}`, "--port", "0"],
    ...["--tls-cert-file", `${folder}/own.crt`],
    ...["--tls-key-file", `${folder}/own.key`],
    ...["--tls-ca-cert-file", `${folder}/ca.crt`, "--tls-auth-clients", "yes"],
  ]);
  const { ca, cert, key } = await certificates(server.folder);
  await server.start();
  const url = `rediss://localhost:${server.port}`;
  const clients: [RegExp, () => ReturnType<typeof createClient>][] = [
    [
      /CertificateRequired/,
      () => createClient({ url, socket: { tls: true, ca } }),
    ],
    [/self-signed|UnknownIssuer/, () => createClient({ url })],
  ];
  for (const [reason, client] of clients) {
    await using node = new Node({ client });
    await node.until(reason);
    // Each attempt has the same end, and none ends the process.
    await delay(1_000);
    assertEquals(node.server.adapterState?.state, "down");
  }
  const io = new Node({
    client: () =>
      new Redis({ host: "localhost", port: server.port, tls: { ca } }),
  });
  await io.until(/CertificateRequired/);
  await io.server.close();
  await using node = new Node({
    client: () => createClient({ url, socket: { tls: true, ca, cert, key } }),
  });
  await using other = new Node({
    client: () =>
      new Redis({
        host: "localhost",
        port: server.port,
        tls: { ca, cert, key },
      }),
  });
  await node.linked(2);
  await other.linked(2);
});

/** The clients of a cluster. */
const clusterClients: Record<
  string,
  (cluster: RedisServers) => NonNullable<RedisOptions["client"]>
> = {
  "createCluster()": ({ servers }) => () =>
    createCluster({
      rootNodes: servers.map(({ url }) => ({ url })),
      defaults: { socket: { connectTimeout: 1_000 } },
    }),
  "Cluster of ioredis": ({ servers }) => () =>
    new Cluster(
      servers.map(({ port }) => ({ host: "127.0.0.1", port })),
      { shardedSubscribers: true, lazyConnect: true },
    ),
};

for (const [name, clientsOf] of Object.entries(clusterClients)) {
  for (const history of [false, true]) {
    test(
      `redis() with a ${name}${
        history ? " and history" : ""
      } joins servers, also after a failover`,
      async () => {
        await using cluster = await redisCluster(1);
        const client = clientsOf(cluster);
        await using one = new Node({ client }, { history });
        await using two = new Node({ client }, { history });
        for (const node of [one, two]) await node.server.listen("127.0.0.1", 0);
        await one.linked(2);
        await two.linked(2);
        const rooms = Array.from({ length: 12 }, (_, i) => `room${i}`);
        await using here = await connect(one, rooms.join("/"));
        await using there = await connect(two, rooms.join("/"));
        for (const room of rooms) {
          await crosses(one, there, room);
          await crosses(two, here, room);
        }
        // A master dies; its replica takes over, and no room stays deaf.
        one.told.length = two.told.length = 0;
        await cluster.at(0).kill();
        await one.until(/^down/);
        await two.until(/^down/);
        await one.linked(2);
        await two.linked(2);
        for (const room of rooms) {
          await crosses(one, there, room);
          await crosses(two, here, room);
        }
        assertEquals(
          [...one.errors, ...two.errors].filter((line) =>
            !/[Cc]onnect|lost/.test(line)
          ),
          [],
        );
      },
      90,
    );
  }
}

test("redis() notices that slots of a cluster have moved", async () => {
  await using cluster = await redisCluster();
  const client = clusterClients["createCluster()"]?.(cluster);
  assert(client);
  await using one = new Node({ client });
  await using two = new Node({ client });
  for (const node of [one, two]) await node.server.listen("127.0.0.1", 0);
  await one.linked(2);
  await using there = await connect(two, "lobby");
  await crosses(one, there, "lobby");
  const channel = "ws-events:room lobby";
  const slot = await cluster.at(0).cli("CLUSTER", "KEYSLOT", channel);
  const ids = await Promise.all(
    cluster.servers.map((server) => server.cli("CLUSTER", "MYID")),
  );
  const owner = Math.min(2, Math.floor(Number(slot) / 5461));
  const target = ids[(owner + 1) % 3] ?? "";
  two.told.length = 0;
  for (const server of cluster.servers) {
    await server.cli("CLUSTER", "SETSLOT", slot, "NODE", target);
  }
  await two.until(/slots of the Redis Cluster have moved/);
  await two.until(/^up$/);
  await crosses(one, there, "lobby");
}, 60);

/** The clients of a master that a sentinel knows. */
const sentinelClients: Record<
  string,
  (servers: RedisServers) => NonNullable<RedisOptions["client"]>
> = {
  "createSentinel()": (servers) => () =>
    createSentinel({
      name: "main",
      sentinelRootNodes: [{ host: "127.0.0.1", port: servers.at(2).port }],
    }),
  "Redis of ioredis": (servers) => () =>
    new Redis({
      name: "main",
      sentinels: [{ host: "127.0.0.1", port: servers.at(2).port }],
    }),
};

for (const [name, clientsOf] of Object.entries(sentinelClients)) {
  test(`redis() with ${name} follows a failover of Sentinel`, async () => {
    await using servers = await redisSentinel();
    const client = clientsOf(servers);
    await using one = new Node({ client }, { history: true });
    await using two = new Node({ client }, { history: true });
    for (const node of [one, two]) await node.server.listen("127.0.0.1", 0);
    await one.linked(2);
    await using there = await connect(two, "lobby");
    await crosses(one, there, "lobby");
    await using other = await connect(two, "a/b/c/d");
    await crosses(one, other, "d");
    await keepsOrder(one, other, ["a", "b", "c", "d"]);
    two.told.length = 0;
    const recovery = there.waitFor("recovery");
    await servers.at(0).kill();
    await two.until(/^down/);
    await one.linked(2);
    await two.linked(2);
    // The replica may have lagged.
    assertEquals((await recovery)[0], false);
    await crosses(one, there, "lobby");
  }, 90);
}

test("redis() rejects what is not a client, a Cluster of ioredis without shards, and contradicting options", async () => {
  for (
    const [options, message] of [
      [{ client: () => ({ on: () => {} }) }, "as a client of Redis"],
      [{ client: () => new Cluster([], { lazyConnect: true }) }, "shardedSub"],
    ] as const
  ) {
    await using node = new Node(options);
    await node.until(new RegExp(message));
  }
  assertThrows(
    () => redis({ url: "redis://localhost", client: () => createClient() }),
    TypeError,
    'Cannot use both "url" and "client"',
  );
  for (const prefix of ["", "a b", "a{b}", "a@2:", "a*", "x".repeat(129)]) {
    assertThrows(() => redis({ prefix }), TypeError, 'Cannot use "prefix"');
  }
  // @ts-expect-error It is called.
  assertThrows(() => redis({ client: createClient() }), TypeError, "client");
});

/** The rights that docs/scaling.md lists. */
const RIGHTS = await aclOf("docs/scaling.md");

/** Reads the ACL of the documentation: the user, and what follows the name. */
async function aclOf(page: string): Promise<string[]> {
  const text = await Deno.readTextFile(
    new URL(`../../${page}`, import.meta.url),
  );
  const [, rights = ""] = /ACL SETUSER ws-events ([^`]+)/.exec(text) ?? [];
  return rights.replaceAll("\\\n", " ").replaceAll(/['\\]/g, "").split(/\s+/)
    .filter(Boolean);
}

test("redis() needs only the documented permissions", async () => {
  await using server = await RedisServer.start();
  await server.cli("ACL", "SETUSER", "ws-events", "reset", ...RIGHTS);
  const url = `redis://ws-events:password@127.0.0.1:${server.port}`;
  await using one = new Node({ url }, { history: true });
  await using two = new Node({ url }, { history: true });
  for (const node of [one, two]) await node.server.listen("127.0.0.1", 0);
  await one.linked(2);
  await using there = await connect(two, "lobby");
  await crosses(one, there, "lobby");
  const recovery = there.waitFor("recovery");
  for (const client of two.server.clients) client.terminate();
  assertEquals((await recovery)[0], true);
  await crosses(one, there, "lobby");
  assertEquals([one.told, two.told], [["up"], ["up"]]);
  assertEquals([...one.errors, ...two.errors], []);
});

for (const right of ["-publish", "-subscribe", "-evalsha", "resetchannels"]) {
  test(`redis() reports a missing permission: ${right}`, async () => {
    await using server = await RedisServer.start();
    await server.cli("ACL", "SETUSER", "ws-events", "reset", ...RIGHTS, right);
    const url = `redis://ws-events:password@127.0.0.1:${server.port}`;
    const start = performance.now();
    await using node = new Node({ url }, { history: true });
    await node.server.listen("127.0.0.1", 0);
    await node.until(/^down: .*(NOPERM|permissions)/);
    assert(performance.now() - start < 5_000);
    node.told.length = 0;
    await server.cli("ACL", "SETUSER", "ws-events", "reset", ...RIGHTS);
    await node.until(/^up$/);
  });
}

test("redis() reports a forbidden room, and works with the others", async () => {
  await using server = await RedisServer.start();
  const rooms = ["all", "fleet", "to?*", "room?lobby"];
  const channels = rooms.map((room) => `&ws-events:${room}`);
  await server.cli(
    ...["ACL", "SETUSER", "ws-events", "reset", ...RIGHTS],
    ...["resetchannels", ...channels],
  );
  const url = `redis://ws-events:password@127.0.0.1:${server.port}`;
  await using one = new Node({ url });
  await using two = new Node({ url });
  for (const node of [one, two]) await node.server.listen("127.0.0.1", 0);
  await one.linked(2);
  await using there = await connect(two, "lobby/secret");
  one.server.to("secret").send("x");
  await crosses(one, there, "lobby");
  for (const { errors, told } of [one, two]) {
    while (errors.length === 0) await delay(10);
    assertMatch(errors[0] ?? "", /NOPERM|permissions/);
    assertEquals(told, ["up"]);
  }
});

/** What a client is told that was away while something happened. */
async function recoveryAfter(
  node: Node,
  action: () => Promise<void>,
): Promise<boolean> {
  await using proxy = new TcpProxy(node.server.port);
  await using client = new ClientSocket({
    reconnect: { initialDelay: 20, maxDelay: 100 },
  });
  await client.connect(`${proxy.url}/lobby`);
  const heard = client.waitFor("message");
  node.server.to("lobby").send("before");
  await heard;
  while (client.connection?.readyState !== 1) await delay(10);
  await delay(100); // for its position
  proxy.refuse();
  proxy.cut();
  await action();
  const recovery = client.waitFor("recovery");
  proxy.heal();
  const [recovered] = await recovery;
  await client.close();
  return recovered;
}

/** Starts a server with a history, and waits until it is up. */
async function withHistory(url: string, adapterQueue = 0): Promise<Node> {
  const node = new Node({ url }, { history: true, adapterQueue });
  await node.server.listen("127.0.0.1", 0);
  await node.linked(1);
  return node;
}

/** Sends messages to a room, and waits until they are stored. */
async function store(node: Node, count: number): Promise<void> {
  await using last = await connect(node, "lobby");
  const heard = last.waitFor("message", {
    filter: ({ content }) => content === `${count}`,
  });
  for (let n = 1; n <= count; n++) node.server.to("lobby").send(`${n}`);
  await heard;
  await last.close();
}

test("redis() lets a client recover while nothing is lost, also after SCRIPT FLUSH", async () => {
  await using server = await RedisServer.start();
  await using node = await withHistory(server.url);
  assert(await recoveryAfter(node, () => store(node, 5)));
  await server.cli("SCRIPT", "FLUSH");
  assert(
    await recoveryAfter(node, async () => {
      node.server.to("lobby").send("after the flush");
      await node.linked(1);
      await store(node, 5);
    }),
  );
});

test("redis() lets no client recover when Redis has evicted messages, and warns of it", async () => {
  await using server = await RedisServer.start(() => [
    ...["--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"],
  ]);
  await using node = await withHistory(server.url);
  assertMatch(node.errors.join(), /maxmemory-policy is volatile-lru/);
  assertFalse(
    await recoveryAfter(node, async () => {
      await store(node, 5);
      await server.cli("CONFIG", "SET", "maxmemory", "1");
      await server.cli("SET", "x", "y"); // evicts all that may be
      await server.until(/evicted_keys:[1-9]/, "INFO", "stats");
      await server.cli("CONFIG", "SET", "maxmemory", "0");
    }),
  );
  // It goes on, by another name.
  await node.linked(1);
  assert(await recoveryAfter(node, () => store(node, 5)));
});

for (const policy of ["allkeys-lru", "allkeys-random"]) {
  test(`redis() lets no client recover when Redis has evicted its log by ${policy}`, async () => {
    await using server = await RedisServer.start(() => [
      ...["--maxmemory", "100mb", "--maxmemory-policy", policy],
    ]);
    await using node = await withHistory(server.url);
    assertFalse(
      await recoveryAfter(node, async () => {
        await store(node, 5);
        await server.cli("CONFIG", "SET", "maxmemory", "1");
        await server.cli("SET", "x", "y");
        await server.until(/evicted_keys:[1-9]/, "INFO", "stats");
        await server.cli("CONFIG", "SET", "maxmemory", "0");
        await store(node, 20); // numbers would be used again
      }),
    );
  });
}

test("redis() lets no client recover after a replica that lagged was promoted", async () => {
  await using master = await RedisServer.start();
  await using replica = await RedisServer.start(() => [
    ...["--replicaof", "127.0.0.1", `${master.port}`],
  ]);
  await replica.until(/master_link_status:up/, "INFO", "replication");
  await using proxy = new TcpProxy(master.port);
  const port = new URL(proxy.url).port;
  await using node = await withHistory(`redis://127.0.0.1:${port}`);
  assertFalse(
    await recoveryAfter(node, async () => {
      await store(node, 5);
      await master.until(/lag=0/, "INFO", "replication");
      replica.pause(true);
      await store(node, 20);
      await master.kill();
      replica.pause(false);
      await replica.cli("REPLICAOF", "NO", "ONE");
      proxy.target = replica.port;
      await node.linked(1);
      await store(node, 30);
    }),
  );
});

test("redis() lets no client recover after Redis has restarted with an old snapshot", async () => {
  await using server = await RedisServer.start();
  await using node = await withHistory(server.url);
  assertFalse(
    await recoveryAfter(node, async () => {
      await store(node, 5);
      await server.cli("SAVE");
      await store(node, 20);
      await server.kill();
      await server.start();
      await node.until(/^down/);
      await node.linked(1);
      await store(node, 30);
    }),
  );
});

test("redis() lets clients recover after Redis has restarted with all messages", async () => {
  await using server = await RedisServer.start(() => [
    ...["--appendonly", "yes", "--appendfsync", "always"],
  ]);
  await using node = await withHistory(server.url);
  assert(
    await recoveryAfter(node, async () => {
      await store(node, 5);
      await server.kill();
      await server.start();
      await node.until(/^down/);
      await node.linked(1);
      await store(node, 5);
    }),
  );
});

test("redis() rejects a replica, and notices that its master has become one", async () => {
  await using master = await RedisServer.start();
  await using node = new Node({ url: master.url });
  await node.until(/^up$/);
  await using other = await RedisServer.start();
  await master.cli("REPLICAOF", "127.0.0.1", `${other.port}`);
  await node.until(/^down: READONLY/);
  await master.cli("REPLICAOF", "NO", "ONE");
  node.told.length = 0;
  await node.until(/^up$/);
});

test("redis() separates clusters by the number of the database and by prefix", async () => {
  await using server = await RedisServer.start();
  const fleets: RedisOptions[] = [
    { url: server.url },
    { url: `${server.url}/1` },
    { client: () => createClient({ url: `${server.url}/2` }) },
    { client: () => new Redis({ port: server.port, db: 3 }) },
    { url: server.url, prefix: "ws-events" },
    { url: server.url, prefix: "ws-events:1:" },
  ];
  const nodes = fleets.map((options) => new Node(options, { history: true }));
  try {
    for (const node of nodes) await node.server.listen("127.0.0.1", 0);
    for (const node of nodes) await node.linked(1);
    const heard: string[][] = [];
    const clients: ClientSocket[] = [];
    for (const node of nodes) {
      const client = await connect(node, "lobby");
      const own: string[] = [];
      client.on("message", ({ content }) => own.push(content));
      heard.push(own);
      clients.push(client);
    }
    for (const [i, node] of nodes.entries()) {
      node.server.to("lobby").send(`${i}`);
    }
    while (heard.some(({ length }) => length === 0)) await delay(10);
    for (const node of nodes) await store(node, 1);
    assertEquals(
      heard.map((own) =>
        own.filter((text) => text !== "1" || own === heard[1])
      ),
      [["0"], ["1", "1"], ["2"], ["3"], ["4"], ["5"]],
    );
    assertEquals(nodes.map(({ server }) => server.servers), nodes.map(() => 1));
    for (const client of clients) await client.close();
  } finally {
    for (const node of nodes) await node.server.close();
  }
  await delay(RETRY_TIMERS_MS);
});

test("redis() reports that Redis is out of memory, and publishes messages without storing them", async () => {
  await using server = await RedisServer.start();
  await using one = await withHistory(server.url, 10);
  await using two = await withHistory(server.url);
  await using there = await connect(two, "lobby");
  await crosses(one, there, "lobby");
  one.told.length = two.told.length = 0;
  const told = await recoveryAfter(two, async () => {
    await server.cli("CONFIG", "SET", "maxmemory", "1");
    one.server.to("lobby").send("full");
    await one.until(/^down: OOM/);
    await one.until(/^up: OOM/);
    assertEquals(one.server.adapterState?.state, "up");
    assertMatch(`${one.server.adapterState?.lastError}`, /OOM/);
    await crosses(one, there, "lobby");
    await crosses(two, there, "lobby");
    await server.cli("CONFIG", "SET", "maxmemory", "0");
    for (const { told } of [one, two]) {
      while (told.at(-1) !== "up") await delay(10);
    }
  });
  // It has missed what was not stored.
  assertEquals([told, one.server.missed], [false, 0]);
  assert(await recoveryAfter(two, () => store(one, 5)));
});
