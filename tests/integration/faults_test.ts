/**
 * What both sides tell when the network between them does what networks do. Real
 * sockets, with a proxy between them.
 */

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { deadline } from "@std/async";
import { type ClientOptions, ClientSocket } from "../../client.ts";
import { type ServerOptions, ServerSocket } from "../../server.ts";
import { lacksPermission } from "../support/permissions.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";

const ignore = await lacksPermission("net");

/** Comes back soon, so that a test does not take long. */
const QUICKLY = { initialDelay: 20, maxDelay: 40 };

/** A client and a server, and what both have told. */
class Line implements AsyncDisposable {
  readonly ofClient: string[] = [];
  readonly ofServer: string[] = [];
  /** What the server has received. */
  readonly received: string[] = [];

  constructor(
    readonly server: ServerSocket,
    readonly client: ClientSocket,
    readonly proxy: TcpProxy,
  ) {
    client.on("connect", () => this.ofClient.push("connect"));
    server.on("connect", () => this.ofServer.push("connect"));
    for (const type of ["close", "disconnect"] as const) {
      client.on(type, (code, reason, cause) => {
        this.ofClient.push(`${type} ${code} "${reason}" ${cause}`);
      });
      server.on(type, (_client, code, reason, cause) => {
        this.ofServer.push(`${type} ${code} "${reason}" ${cause}`);
      });
    }
    client.on("reconnecting", (attempt) => {
      this.ofClient.push(`reconnecting ${attempt}`);
    });
    client.on("giveup", () => this.ofClient.push("giveup"));
    server.on("message", ({ content }) => this.received.push(content));
  }

  static async open(
    options: { client?: ClientOptions; server?: ServerOptions } = {},
  ): Promise<Line> {
    const server = new ServerSocket(options.server);
    await server.listen("127.0.0.1", 0);
    const proxy = new TcpProxy(server.port);
    const client = new ClientSocket({ reconnect: QUICKLY, ...options.client });
    const line = new Line(server, client, proxy);
    const connected = server.waitFor("connect");
    await client.connect(proxy.url);
    await connected;
    return line;
  }

  /** Waits for an event of the client, and for one of the server. */
  async both(
    ofClient: "connect" | "close" | "disconnect" | "message",
    ofServer: "connect" | "close" | "disconnect" | "message",
  ): Promise<void> {
    await deadline(
      Promise.all([
        this.client.waitFor(ofClient),
        this.server.waitFor(ofServer),
      ]),
      60_000,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
    await this.proxy[Symbol.asyncDispose]();
    await this.server.close();
  }
}

function test(
  name: string,
  run: (line: Line) => Promise<void>,
  options: { client?: ClientOptions; server?: ServerOptions } = {},
): void {
  Deno.test({
    name: `fault: ${name}`,
    ignore,
    fn: async () => {
      await using line = await Line.open(options);
      await run(line);
    },
  });
}

const LOST = 'disconnect 1006 "" network';
const BACK = ["connect", LOST, "reconnecting 1", "connect"];

test("the line is cut", async (line) => {
  const back = line.both("connect", "connect");
  line.proxy.cut();
  await back;
  assertEquals(line.ofClient, BACK);
  assertEquals(line.ofServer, ["connect", LOST, "connect"]);
});

for (const side of ["client", "server"] as const) {
  test(`the ${side}'s half of the line ends`, async (line) => {
    const back = line.both("connect", "connect");
    await line.proxy.halfClose(side);
    await back;
    assertEquals(line.ofClient, BACK);
    assertEquals(line.ofServer, ["connect", LOST, "connect"]);
  });
}

test("the line swallows everything", async (line) => {
  const lost = line.both("disconnect", "disconnect");
  line.proxy.swallow();
  await lost;
  const back = line.both("connect", "connect");
  line.proxy.heal();
  await back;
  const timeout = 'disconnect 1006 "" timeout';
  assertEquals(line.ofClient.slice(0, 3), [
    "connect",
    timeout,
    "reconnecting 1",
  ]);
  assertEquals(line.ofClient.at(-1), "connect");
  assertEquals(line.ofServer.slice(0, 2), ["connect", timeout]);
}, {
  client: { idleTimeout: 1_000, connectTimeout: 1_000 },
  server: { idleTimeout: 1_000 },
});

test("the line is slow", async (line) => {
  line.proxy.latency = 50;
  const all = line.server.collect("message", { limit: 100 });
  for (let i = 0; i < 100; i++) await line.client.send(`${i}`);
  await all;
  await line.client.close(4001, "bye");
  assertEquals(line.received, Array.from(Array(100), (_, i) => `${i}`));
  assertEquals(line.ofClient, ["connect", 'close 4001 "bye" local']);
  assertEquals(line.ofServer, ["connect", 'close 4001 "bye" peer']);
});

test("the line is dead for a moment", async (line) => {
  line.proxy.swallow();
  const come = line.both("message", "message");
  line.client.send("up");
  for (const client of line.server.clients) client.send("down");
  line.proxy.heal();
  await come;
  assertEquals(line.received, ["up"]);
  assertEquals(line.ofClient, ["connect"]);
  assertEquals(line.ofServer, ["connect"]);
});

test("the line is dead when the client closes", async (line) => {
  const ended = line.both("disconnect", "disconnect");
  line.proxy.swallow();
  line.client.close(4001, "bye");
  await ended;
  const timeout = 'disconnect 1006 "" timeout';
  assertEquals(line.ofClient, ["connect", timeout]);
  assertEquals(line.ofServer, ["connect", timeout]);
  assertStrictEquals(line.proxy.count, 1);
}, { client: { closeTimeout: 100 }, server: { idleTimeout: 1_000 } });

test("the line is cut when the client closes", async (line) => {
  const ended = line.both("disconnect", "disconnect");
  line.proxy.swallow();
  line.client.close(4001, "bye");
  line.proxy.cut();
  await ended;
  assertEquals(line.ofClient, ["connect", LOST]);
  assertEquals(line.ofServer, ["connect", LOST]);
  assertStrictEquals(line.proxy.count, 1);
});

test("there is no server for a while", async (line) => {
  const back = line.both("connect", "connect");
  line.proxy.refuse();
  line.proxy.cut();
  await line.client.waitFor("reconnecting", { filter: (count) => count === 4 });
  line.proxy.heal();
  await back;
  assertEquals(line.ofClient.slice(0, 6), [
    "connect",
    LOST,
    "reconnecting 1",
    "reconnecting 2",
    "reconnecting 3",
    "reconnecting 4",
  ]);
  assertStrictEquals(line.ofClient.at(-1), "connect");
  assertEquals(line.ofServer, ["connect", LOST, "connect"]);
});

test("nobody answers for a while", async (line) => {
  const back = line.both("connect", "connect");
  line.proxy.swallow();
  line.proxy.cut();
  await line.client.waitFor("reconnecting", { filter: (count) => count === 2 });
  line.proxy.heal();
  await back;
  assertEquals(line.ofClient.slice(0, 3), ["connect", LOST, "reconnecting 1"]);
}, { client: { connectTimeout: 1_000 } });

test("there is no server any more", async (line) => {
  const given = line.client.waitFor("giveup");
  line.proxy.refuse();
  line.proxy.cut();
  await deadline(given, 60_000);
  assertEquals(line.ofClient, [
    "connect",
    LOST,
    "reconnecting 1",
    "reconnecting 2",
    "giveup",
  ]);
  assertEquals(line.ofServer, ["connect", LOST]);
}, { client: { reconnect: { ...QUICKLY, maxAttempts: 2 } } });

test("the line is cut again and again while messages are sent", async (line) => {
  const rounds = 8;
  let number = 0;
  for (let round = 0; round < rounds; round++) {
    const back = line.client.waitFor("connect");
    for (let i = 0; i < 200; i++) {
      // The network has its turn now and then.
      if (i % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
      if (i === 100) line.proxy.cut();
      await line.client.send(`${number++}`);
    }
    await deadline(back, 60_000);
  }
  const last = line.server.waitFor("message", {
    filter: ({ content }) => content === "last",
  });
  await line.client.send("last");
  await deadline(last, 60_000);
  // What was on its way is lost with the line; nothing comes twice or too late.
  const numbers = line.received.slice(0, -1).map(Number);
  assertEquals(numbers, [...new Set(numbers)].sort((a, b) => a - b));
  assert(numbers.length > 0 && numbers.length <= number);
  const count = (what: string) =>
    line.ofClient.filter((text) => text === what).length;
  assertEquals([count("connect"), count(LOST)], [rounds + 1, rounds]);
});
