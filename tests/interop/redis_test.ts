/** The adapter for Redis, tried with real servers as operators set them up. */

import { assert, assertEquals, assertFalse, assertMatch } from "@std/assert";
import { deadline, delay } from "@std/async";
import { createClient } from "@redis/client";
import { Redis } from "ioredis";
import { redis, type RedisOptions } from "../../adapters/redis.ts";
import { ClientSocket, type ServerOptions, ServerSocket } from "../../mod.ts";
import { lacksPermission } from "../support/permissions.ts";
import { certificates, RedisServer } from "../support/redis_servers.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";

const ignore = await lacksPermission(
  "net",
  "run",
  "env",
  "read",
  "write",
  "sys",
);

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

function test(name: string, fn: () => Promise<void>, seconds = 30): void {
  Deno.test({
    name,
    ignore,
    fn: () => deadline(fn(), seconds * 1_000),
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
  test(`redis() tells within 5 seconds why it cannot connect: ${what}`, async () => {
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

test("redis() tells that Redis accepts connections and never answers, and connects when it does", async () => {
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

test("redis() tells a change of the reason, and is up when the password is right", async () => {
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

test("redis() leaves no room deaf, whatever the delays are while clients come and go", async () => {
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

test("redis() leaves a room that is not wanted any more", async () => {
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

test("redis() survives a Redis that demands a certificate, and connects with one", async () => {
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
