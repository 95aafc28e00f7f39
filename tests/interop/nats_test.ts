/** The adapter for NATS, tried with real servers as operators set them up. */

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { deadline, delay } from "@std/async";
import { nkeyAuthenticator } from "@nats-io/nats-core";
import { nats, type NatsOptions } from "../../adapters/nats.ts";
import { ClientSocket, type ServerOptions, ServerSocket } from "../../mod.ts";
import { CERTIFICATE, KEY } from "../support/certificate.ts";
import { leaderOf, NatsServer } from "../support/nats_servers.ts";
import { BROKER_PERMISSIONS, lacksPermission } from "../support/permissions.ts";
import { lacksProgram } from "../support/programs.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";

const ignore = await lacksPermission(...BROKER_PERMISSIONS) ||
  await lacksProgram("nats-server");

function test(name: string, fn: () => Promise<void>, seconds = 30): void {
  Deno.test({ name, ignore, fn: () => deadline(fn(), seconds * 1_000) });
}

/** A server, and what it tells. */
class Node implements AsyncDisposable {
  readonly told: string[] = [];
  readonly errors: string[] = [];
  readonly server: ServerSocket;

  constructor(options: NatsOptions, more: ServerOptions = {}) {
    this.server = new ServerSocket({ ...more, adapter: nats(options) });
    this.server.on("adapter", (state, error) => {
      this.told.push(
        error instanceof Error ? `${state}: ${error.message}` : state,
      );
    });
    this.server.on("error", (error) => this.errors.push(`${error}`));
    this.server.on("connect", (client, path) => {
      for (const room of path.split("/").slice(1)) if (room) client.join(room);
      client.send("ready");
    });
  }

  static async start(
    options: NatsOptions,
    more: ServerOptions = {},
  ): Promise<Node> {
    const node = new Node(options, more);
    await node.server.listen("127.0.0.1", 0);
    return node;
  }

  /** Waits until the last that the adapter has told matches. */
  async until(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.told.at(-1) ?? "")) await delay(10);
  }

  /** Waits until an error matches. */
  async failed(pattern: RegExp): Promise<void> {
    while (!this.errors.some((error) => pattern.test(error))) await delay(10);
  }

  async enter(...rooms: string[]): Promise<ClientSocket> {
    const client = new ClientSocket({
      reconnect: { initialDelay: 20, maxDelay: 100 },
    });
    const ready = client.waitFor("message");
    await client.connect(`${this.server.url}/${rooms.join("/")}`);
    await ready;
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close();
  }
}

/** Waits until what one server sends to a room reaches a client of another. */
async function linked(
  { server }: Node,
  client: ClientSocket,
  room: string,
): Promise<void> {
  const heard = client.waitFor("message", {
    filter: ({ content }) => content === "?",
  });
  const timer = setInterval(() => server.to(room).send("?"), 20);
  await heard;
  clearInterval(timer);
}

/** Waits until a client has its position in the history, which follows its first message. */
async function positioned(
  { server }: Node,
  client: ClientSocket,
  room: string,
): Promise<void> {
  for (const mark of ["?1", "?2", "?3", "?4"]) {
    const heard = client.waitFor("message", {
      filter: ({ content }) => content === mark,
    });
    server.to(room).send(mark);
    await heard;
  }
}

const users = (password: string) =>
  `authorization { users: [{ user: ws, password: ${password} }] }`;

test("nats() survives refused and rotated credentials, and connects with the right ones", async () => {
  await using broker = await NatsServer.start(users("one"));
  const servers = broker.address;
  await using one = await Node.start({ servers, user: "ws", pass: "one" });
  await using two = await Node.start({ servers, user: "ws", pass: "two" });
  await using none = await Node.start({ servers });
  await one.until(/^up/);
  for (const node of [two, none]) {
    await node.until(/^down: Cannot reach NATS .*Authorization Violation/);
  }
  await broker.reload(users("two"));
  await one.until(/^down: .*(Authorization|Authentication)/);
  await two.until(/^up/);
  await broker.reload(users("one"));
  await one.until(/^up/);
  await two.until(/^down: .*(Authorization|Authentication)/);
  assertEquals(none.told.length, 1, "each reason is told once");
});

test("nats() reports errors of TLS", async () => {
  await using plain = await NatsServer.start();
  await using encrypted = new NatsServer();
  await encrypted.start(encrypted.tls());
  await using strict = new NatsServer();
  await strict.start(
    strict.tls(`ca_file: "${strict.certFile}"`, "verify: true"),
  );
  const tls = { ca: CERTIFICATE };
  const refused: [NatsOptions, RegExp][] = [
    [{ servers: plain.address, tls: {} }, /does not support 'tls'/],
    [{ servers: plain.address, tls: { handshakeFirst: true } }, /corrupt|SSL/],
    [{ servers: encrypted.address }, /self-signed|UnknownIssuer/],
    // NATS closes at once, so a write may fail before its alert is read.
    [{ servers: strict.address, tls }, /[Cc]ertificate|EPIPE|ECONNRESET/],
  ];
  for (const [options, reason] of refused) {
    await using node = await Node.start(options);
    await node.until(/^down/);
    assertMatch(node.told[0] ?? "", reason);
  }
  const accepted: NatsOptions[] = [
    { servers: encrypted.address, tls },
    {
      servers: `localhost:${encrypted.port}`,
      tls: { caFile: encrypted.certFile },
    },
    { servers: strict.address, tls: { ...tls, cert: CERTIFICATE, key: KEY } },
  ];
  for (const options of accepted) {
    await using node = await Node.start(options);
    await node.until(/^up/);
  }
});

test("nats() reports a server that is silent, or not NATS", async () => {
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using other = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  (async () => {
    for await (const connection of other) {
      await connection.write(new TextEncoder().encode("220 mail\r\n"));
      connection.close();
    }
  })().catch(() => {});
  const started = performance.now();
  await using one = await Node.start({
    servers: `127.0.0.1:${silent.addr.port}`,
  });
  await using two = await Node.start({
    servers: `127.0.0.1:${other.addr.port}`,
  });
  await two.until(/^down: .*another kind of server/);
  await one.until(/^down/);
  assert(performance.now() - started < 10_000);
});

/** What docs/scaling.md says that a user needs. */
const LEAST_RIGHTS = `permissions {
  publish: [
    "ws-events.>"
    "$JS.API.INFO"
    "$JS.API.STREAM.INFO.ws-events_requests"
    "$JS.API.STREAM.CREATE.ws-events_requests"
    "$JS.API.STREAM.UPDATE.ws-events_requests"
    "$JS.API.STREAM.MSG.GET.ws-events_requests"
    "$JS.API.STREAM.INFO.ws-events"
    "$JS.API.STREAM.CREATE.ws-events"
    "$JS.API.STREAM.UPDATE.ws-events"
    "$JS.API.CONSUMER.CREATE.ws-events"
    "$JS.API.CONSUMER.DELETE.ws-events.*"
  ]
  subscribe: ["ws-events.>", "_INBOX.>"]
}`;

test("nats() needs only the documented permissions, with an nkey", async () => {
  const documented = await Deno.readTextFile(
    new URL("../../docs/scaling.md", import.meta.url),
  );
  assert(documented.includes(LEAST_RIGHTS), "docs/scaling.md");
  // A key that is used nowhere else.
  const seed = "SUALEQW3BFIG6W7SNBPG4IMF3432RYCX5IKB6AD3VRS6654NGVWTCQM3QU";
  const key = "UCPHEAFFAD2GXHUSLP3IFR3CFKZJSWVVWFGG4AFDIAI5ZC3RPUCIQZDR";
  await using broker = new NatsServer();
  await broker.start(
    `${broker.jetStream}
    authorization { users: [{ nkey: ${key}, ${LEAST_RIGHTS} }] }`,
  );
  const options: NatsOptions = {
    servers: broker.address,
    authenticator: nkeyAuthenticator(new TextEncoder().encode(seed)),
  };
  const history = { history: true };
  await using one = await Node.start(options, history);
  await using two = await Node.start(options, history);
  await one.until(/^up/);
  await two.until(/^up/);
  await using stays = await one.enter("a");
  await using client = await two.enter("a");
  await linked(one, client, "a");
  await linked(two, stays, "a");
  await positioned(two, client, "a");
  const recovered = client.waitFor("recovery");
  const lost = client.waitFor("disconnect");
  for (const connection of two.server.clients) connection.terminate();
  await lost;
  one.server.to("a").send("missed");
  assertEquals(await recovered, [true]);
  assertEquals([...one.errors, ...two.errors], []);
});

test("nats() delivers what several servers store in the order of the stream", async () => {
  await using broker = new NatsServer();
  await broker.start(broker.jetStream);
  const rounds = 100;
  const burst = 80;
  const rooms = ["room a", "room b"];
  const encoder = new TextEncoder();
  const all = Promise.withResolvers<void>();
  const offsets: number[] = [];
  const adapters = await Promise.all([0, 1, 2].map(async (number) => {
    const adapter = nats({ servers: broker.address });
    const up = Promise.withResolvers<void>();
    adapter.open({
      usesLog: true,
      received: (_channel, _message, offset) => {
        if (number > 0 || offset === undefined) return;
        offsets.push(offset);
        if (offsets.length === 2 * rounds * burst) all.resolve();
      },
      changed: (state) => {
        if (state === "up") up.resolve();
      },
    });
    for (const room of rooms) adapter.subscribe(room);
    await up.promise;
    const { log } = adapter;
    assert(log);
    const limits = { messages: 100, maxAge: 60_000, resendAge: 30_000 };
    await log.open(limits);
    return { adapter, log };
  }));
  const writers = adapters.slice(1).map(async ({ log }, from) => {
    for (let round = 0; round < rounds; round++) {
      await Promise.all(Array.from({ length: burst }, (_, i) =>
        log.append(
          rooms[(i + from) % 2] ?? "",
          { from: `${from}`, id: round * burst + i },
          encoder.encode("{}"),
        )));
    }
  });
  await Promise.all([...writers, all.promise]);
  assertEquals(offsets, offsets.toSorted((a, b) => a - b));
  await Promise.all(adapters.map(({ adapter }) => adapter.close()));
});

test("nats() reports that it is not allowed to receive stored messages", async () => {
  await using broker = new NatsServer();
  await broker.start(`${broker.jetStream}
    authorization {
      users: [{ user: ws, password: one, permissions: {
        subscribe: { deny: ["ws-events.log.*"] }
      } }]
    }`);
  await using node = await Node.start(
    { servers: broker.address, user: "ws", pass: "one" },
    { history: true },
  );
  await node.until(
    /^up: .*Cannot subscribe to "ws-events\.log\.\*": NATS denies it/,
  );
});

test("nats() reports a denied subject, and works with the others", async () => {
  const denied = "ws-events.726f6f6d2064656e696564"; // "room denied"
  const mute = "ws-events.726f6f6d206d757465"; // "room mute"
  await using broker = await NatsServer.start(`authorization {
    users: [{ user: ws, password: one, permissions: {
      publish: { deny: ["${mute}"] }, subscribe: { deny: ["${denied}"] }
    } }]
  }`);
  const options = { servers: broker.address, user: "ws", pass: "one" };
  await using one = await Node.start(options);
  await using two = await Node.start(options);
  await one.until(/^up/);
  await two.until(/^up/);
  await using denies = await two.enter("denied");
  await two.failed(/Cannot subscribe to "room denied": NATS denies it/);
  one.server.to("mute").send("1");
  one.server.to("mute").send("2");
  await one.failed(
    /Cannot publish to the subject "ws-events\.\w+": NATS denies/,
  );
  await using client = await two.enter("a");
  await linked(one, client, "a");
  // Its own server still reaches those in the room.
  const heard = denies.waitFor("message");
  two.server.to("denied").send("local");
  assertEquals((await heard)[0].content, "local");
  assertEquals([one.told, two.told], [["up"], ["up"]]);
  assertEquals([one.errors.length, two.errors.length], [1, 1]);
});

test("nats() does not let a client recover in a room whose messages are denied", async () => {
  const denied = "ws-events.726f6f6d2064656e696564"; // "room denied"
  await using broker = new NatsServer();
  await broker.start(`${broker.jetStream}
    authorization {
      users: [{ user: ws, password: one, permissions: {
        subscribe: { deny: ["${denied}"] }
      } }]
    }`);
  const options = { servers: broker.address, user: "ws", pass: "one" };
  await using node = await Node.start(options, { history: true });
  await node.until(/^up/);
  for (const [rooms, expected] of [[["a"], true], [["a", "denied"], false]]) {
    assert(Array.isArray(rooms));
    await using client = await node.enter(...rooms);
    await positioned(node, client, "a");
    const recovered = client.waitFor("recovery");
    for (const connection of node.server.clients) connection.terminate();
    assertEquals(await recovered, [expected]);
  }
});

test("nats() reports the subscriptions that exceed a limit, and works with the others", async () => {
  const limit = "max_subscriptions: 5"; // three are those of the server
  await using broker = await NatsServer.start(limit);
  const servers = broker.address;
  await using one = await Node.start({ servers });
  await using two = await Node.start({ servers });
  await two.until(/^up/);
  await one.until(/^up/);
  await using client = await two.enter("a", "b", "c", "d");
  for (const room of ["c", "d"]) {
    await two.failed(new RegExp(`Cannot subscribe to "room ${room}"`));
  }
  for (const room of ["a", "b"]) await linked(one, client, room);
  assertEquals(two.errors.length, 2);
  await broker.kill();
  await two.until(/^down/);
  await broker.start(limit);
  await two.until(/^up/);
  await linked(one, client, "b");
  assertEquals(two.errors.length, 4);
});

test("nats() passes messages on while JetStream is off, and claims no recovery", async () => {
  await using broker = await NatsServer.start();
  const options = { servers: broker.address };
  await using one = await Node.start(options, { history: true });
  await using two = await Node.start(options, { history: true });
  for (const node of [one, two]) {
    await node.until(/^up: .*start it with nats-server -js/);
    assertMatch(node.told[0] ?? "", /^down: .*nats-server -js/);
  }
  await using stays = await one.enter("a");
  await using client = await two.enter("a");
  await linked(two, stays, "a");
  await linked(one, client, "a");
  const told = client.waitFor("recovery");
  for (const connection of two.server.clients) connection.terminate();
  assertEquals((await told)[0], false);
});

test("nats() gives a log another name if messages were passed on without it", async () => {
  await using broker = new NatsServer();
  await broker.start(broker.jetStream);
  const options = { servers: broker.address };
  const more = { history: true, adapterQueue: 1_000 };
  await using one = await Node.start(options, more);
  await using two = await Node.start(options, more);
  for (const node of [one, two]) await node.until(/^up/);
  await using stays = await one.enter("a");
  await using away = await two.enter("a");
  await linked(two, stays, "a");
  await positioned(two, away, "a");
  // Somebody is away while messages are not stored, and comes back after that.
  await using door = new TcpProxy(two.server.port);
  await using late = new ClientSocket({ reconnect: { initialDelay: 20 } });
  await late.connect(`${door.url}/a`);
  await positioned(two, late, "a");
  door.refuse();
  door.cut();
  const heard: string[] = [];
  stays.on("message", ({ content }) => heard.push(content));
  await broker.restart("");
  await one.until(/^up: .*nats-server -js/);
  await two.until(/^up: .*nats-server -js/);
  heard.length = 0;
  for (let i = 0; i < 10; i++) two.server.to("a").send(`${i}`);
  while (heard.length < 10) await delay(10);
  assertEquals(heard, Array.from({ length: 10 }, (_, i) => `${i}`));
  await broker.restart(broker.jetStream);
  for (const node of [one, two]) await node.until(/^up$/);
  // Nothing is heard a second time.
  await linked(two, stays, "a");
  assert(heard.every((text, i) => i >= 10 || text === `${i}`));
  assertEquals(heard.filter((text) => text === "0").length, 1);
  const told = late.waitFor("recovery");
  door.heal();
  assertEquals((await told)[0], false);
});

test("nats() claims no recovery after a message that is too large for NATS", async () => {
  await using broker = new NatsServer();
  await broker.start(`${broker.jetStream}\nmax_payload: 8192`);
  const options = { servers: broker.address };
  await using one = await Node.start(options, { history: true });
  await using two = await Node.start(options, { history: true });
  for (const node of [one, two]) await node.until(/^up/);
  await using stays = await one.enter("a");
  await linked(two, stays, "a");
  await using door = new TcpProxy(two.server.port);
  await using late = new ClientSocket({ reconnect: { initialDelay: 20 } });
  await late.connect(`${door.url}/a`);
  await positioned(two, late, "a");
  door.refuse();
  door.cut();
  two.server.to("a").send("x".repeat(10_000));
  await two.failed(/max_payload/i);
  await two.until(/^up/);
  await linked(two, stays, "a");
  const told = late.waitFor("recovery");
  door.heal();
  assertEquals((await told)[0], false);
  assertEquals(two.server.missed, 1);
});

test("nats() rejects a prefix that NATS does not allow, or that belongs to another one", () => {
  const invalid = [
    ...["", "a b", "a*", "a.>", ".a", "a.", "a..b", "x".repeat(129), "a.kept"],
    ...["a.log", "a.lost", "$JS", "a\r\nPUB"],
  ];
  for (const prefix of invalid) {
    assertThrows(() => nats({ prefix }), TypeError, 'Cannot use "prefix"');
  }
  for (const prefix of ["a", "a.b-c_D9", "kept", "log.a", "x".repeat(128)]) {
    nats({ prefix });
  }
  return Promise.resolve();
});

test("nats() separates prefixes, and reports those that share the name of a stream", async () => {
  await using broker = new NatsServer();
  await broker.start(broker.jetStream);
  const servers = broker.address;
  const history = true;
  await using one = await Node.start({ servers, prefix: "a.b" }, { history });
  await one.until(/^up$/);
  await using two = await Node.start({ servers, prefix: "a_b" }, { history });
  await two.until(/^up: .*"a_b" stores a\.b\.kept\.\*: use a prefix other/);
  await using other = await Node.start({ servers, prefix: "a.b" }, { history });
  await other.until(/^up$/);
  await using here = await one.enter("a");
  await using there = await two.enter("a");
  const heard: string[] = [];
  there.on("message", ({ content }) => heard.push(content));
  await linked(other, here, "a");
  assertEquals(heard, []);
  assertMatch(one.told.at(-1) ?? "", /^up$/);
});

for (const discard of ["new", "old"]) {
  test(`nats() claims no recovery from a stream that is full and discards ${discard} messages`, async () => {
    await using broker = new NatsServer();
    await broker.start(broker.jetStream);
    const options = { servers: broker.address };
    const more = { history: true, adapterQueue: 1_000 };
    await using one = await Node.start(options, more);
    await using two = await Node.start(options, more);
    for (const node of [one, two]) await node.until(/^up/);
    await using stays = await one.enter("a");
    await linked(two, stays, "a");
    await using door = new TcpProxy(two.server.port);
    await using late = new ClientSocket({ reconnect: { initialDelay: 20 } });
    await late.connect(`${door.url}/a`);
    await positioned(two, late, "a");
    door.refuse();
    door.cut();
    const heard: string[] = [];
    stays.on("message", ({ content }) => heard.push(content));
    await broker.updateStream({ max_bytes: 2_000, discard });
    for (let i = 0; i < 100; i++) two.server.to("a").send(`${i}`);
    while (!heard.includes("99")) await delay(10);
    if (discard === "new") {
      await two.until(/^up: .*maximum bytes exceeded/);
      // The stream has room again, and stores messages.
      await broker.updateStream({ max_bytes: -1, discard: "old" });
      for (const node of [one, two]) await node.until(/^up$/);
    }
    const told = late.waitFor("recovery");
    door.heal();
    assertEquals((await told)[0], false);
    if (discard === "old") {
      await two.failed(/removed messages before their time/);
    }
  });
}

test(
  "nats() keeps history on three servers of NATS when the leader dies",
  async () => {
    const cluster = await NatsServer.cluster(3);
    await using _ = {
      async [Symbol.asyncDispose]() {
        for (const server of cluster) await server[Symbol.asyncDispose]();
      },
    };
    const servers = cluster.map(({ address }) => address);
    const options = { servers, replicas: 3 };
    const more = { history: true, adapterQueue: 1_000 };
    await using one = await Node.start(options, more);
    await using two = await Node.start(options, more);
    await one.until(/^up/);
    await two.until(/^up/);
    await using stays = await one.enter("a");
    await using client = await two.enter("a");
    await linked(two, stays, "a");
    await positioned(two, client, "a");
    const heard: string[] = [];
    stays.on("message", ({ content }) => {
      if (/^\d/.test(content)) heard.push(content);
    });
    const leader = await leaderOf(cluster);
    const sent = Array.from({ length: 50 }, (_, n) => `${n}`);
    for (const text of sent.slice(0, 10)) two.server.to("a").send(text);
    await leader.kill();
    for (const text of sent.slice(10)) two.server.to("a").send(text);
    while (heard.length < sent.length) await delay(10);
    assertEquals(heard, sent);
    // A client recovers, once the two that are left can be read.
    for (let recovered = false; !recovered;) {
      await positioned(two, client, "a");
      const told = client.waitFor("recovery");
      for (const connection of two.server.clients) connection.terminate();
      [recovered] = await told;
    }
    // Nobody was told more often than something changed.
    for (const { told } of [one, two]) assert(told.length <= 6, told.join());
  },
  60,
);
