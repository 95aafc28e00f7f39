/**
 * Lines that are slow, but carry on, and those that do not. A message here takes
 * several times as long on its way as a peer may be silent.
 */

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { deadline, delay } from "@std/async";
import { ClientSocket } from "../../client.ts";
import { type ServerOptions, ServerSocket } from "../../server.ts";
import { advance, pair } from "../../testing.ts";
import { FakeTime } from "@std/testing/time";
import { CERTIFICATE, KEY } from "../support/certificate.ts";
import { lacksPermission } from "../support/permissions.ts";
import { lackingOf } from "../support/programs.ts";
import { Program } from "../support/program.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { RawPeer } from "../support/raw_peer.ts";

const ignore = await lacksPermission("net", "run", "read");
const missing = await lackingOf({ "Python websockets": "python3-websockets" });

function test(
  name: string,
  fn: () => Promise<void>,
  isMissing = false,
): void {
  Deno.test({ name, ignore: ignore || isMissing, fn });
}

/** How fast a slow line is, in bytes per second. */
const RATE = 40_000;

/** How many milliseconds a peer may be silent here. */
const IDLE_TIMEOUT = 400;

/** A message that takes three times as long. */
const LARGE = "x".repeat(RATE * IDLE_TIMEOUT / 1000 * 3);

/** A server behind a slow line, and what it has told. */
class Line implements AsyncDisposable {
  readonly told: string[] = [];
  readonly #end = Promise.withResolvers<void>();

  constructor(readonly server: ServerSocket, readonly proxy: TcpProxy) {
    for (const type of ["close", "disconnect"] as const) {
      server.on(type, (_client, code, _reason, cause) => {
        this.told.push(`${type} ${code} ${cause}`);
        this.#end.resolve();
      });
    }
  }

  static async open(options: ServerOptions = {}): Promise<Line> {
    const server = new ServerSocket({ idleTimeout: IDLE_TIMEOUT, ...options });
    await server.listen("127.0.0.1", 0);
    const proxy = new TcpProxy(server.port);
    proxy.rate = RATE;
    return new Line(server, proxy);
  }

  /** The port of the slow line. */
  get port(): number {
    return Number(new URL(this.proxy.url).port);
  }

  /** The end of the connection. */
  async ended(): Promise<string[]> {
    await deadline(this.#end.promise, 60_000);
    return this.told;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close();
    await this.proxy[Symbol.asyncDispose]();
  }
}

test("a slow line downwards is not cut: a raw peer", async () => {
  await using line = await Line.open();
  line.server.on("connect", (client) => client.send(LARGE));
  using peer = await RawPeer.open(line.port);
  const message = await peer.receive();
  assertStrictEquals(message?.payload.length, LARGE.length);
  // The ping has waited behind it.
  assertStrictEquals((await peer.receive())?.opcode, 9);
  assertEquals(line.told, []);
});

test("a slow line downwards is not cut: over TLS", async () => {
  await using server = new ServerSocket({ idleTimeout: IDLE_TIMEOUT });
  const told: string[] = [];
  server.on("disconnect", (_client, _code, _reason, cause) => told.push(cause));
  server.on("connect", (client) => client.send(LARGE));
  await server.listen("localhost", 0, { cert: CERTIFICATE, key: KEY });
  await using proxy = new TcpProxy(server.port);
  proxy.rate = RATE;
  using client = Deno.createHttpClient({ caCerts: [CERTIFICATE] });
  const { port } = new URL(proxy.url);
  const socket = new WebSocket(`wss://localhost:${port}`, { client });
  const received = Promise.withResolvers<string>();
  const ended = Promise.withResolvers<void>();
  socket.onmessage = ({ data }) => received.resolve(data);
  socket.onclose = () => ended.resolve();
  assertStrictEquals(await deadline(received.promise, 60_000), LARGE);
  assertEquals(told, []);
  socket.close();
  await ended.promise;
});

/** Peers made by others, as clients. */
const PEERS: Record<string, (url: string) => Program> = {
  "npm ws": (url) =>
    new Program([
      "run",
      "--allow-net",
      "--allow-env",
      "--allow-read",
      "tests/support/npm_ws.js",
      "client",
      url,
    ]),
  "Python websockets": (url) =>
    new Program(["tests/support/python_websockets.py", "client", url], {
      command: "/usr/bin/python3",
    }),
};

for (const [name, run] of Object.entries(PEERS)) {
  test(`a slow line downwards is not cut: ${name}`, async () => {
    await using line = await Line.open();
    line.server.on("connect", (client) => client.send(LARGE));
    await using peer = run(line.proxy.url);
    for (;;) {
      const { on, text } = JSON.parse(await peer.line(""));
      assert(on === "open" || on === "text", on);
      if (text === LARGE) break;
    }
    assertEquals(line.told, []);
  }, missing.has(name));
}

test("a peer that is dead amid a large message is noticed, within what that takes", async () => {
  await using line = await Line.open();
  line.server.on("connect", (client) => client.send(LARGE));
  using _peer = await RawPeer.open(line.port);
  line.proxy.swallow();
  const start = performance.now();
  assertEquals(await line.ended(), ["disconnect 1006 timeout"]);
  const allowed = IDLE_TIMEOUT + LARGE.length / 16_384 * 1000;
  const taken = performance.now() - start;
  assert(taken > IDLE_TIMEOUT && taken < allowed * 3, `${taken} ms`);
});

test("a peer that is dead and was sent little is noticed as soon as ever", async () => {
  await using line = await Line.open();
  line.server.on("connect", (client) => client.send("hi"));
  using _peer = await RawPeer.open(line.port);
  line.proxy.swallow();
  const start = performance.now();
  assertEquals(await line.ended(), ["disconnect 1006 timeout"]);
  const taken = performance.now() - start;
  assert(taken < IDLE_TIMEOUT * 4, `${taken} ms`);
});

for (
  const [options, lost] of [
    [{}, 30_000 + 64_000],
    [{ maxPayload: 160 * 1024 }, 30_000 + 10_000],
    [{ idleTimeout: 30_000 }, 30_000],
  ] as const
) {
  Deno.test(`by default a plain client may be silent for as long as maxPayload takes: ${JSON.stringify(options)}`, async () => {
    using time = new FakeTime();
    await using both = await pair({
      server: options,
      client: { plain: true, idleTimeout: 0 },
    });
    const told: string[] = [];
    both.server.on("disconnect", (_code, _reason, cause) => told.push(cause));
    both.link.toServer.stall();
    await advance(time, lost - 100);
    assertEquals(told, []);
    await advance(time, 200);
    assertEquals(told, ["timeout"]);
  });
}

/** Large enough to go in parts, and slow enough to take several timeouts. */
const HUGE = "y".repeat(300_000);
const FASTER = { rate: 100_000, idleTimeout: 800 };

/** Just large enough to go in parts. */
const DOOMED = "z".repeat(66_000);

for (const way of ["up", "down"] as const) {
  test(`our own ends keep a slow line while a large message goes ${way}, and do not come back`, async () => {
    const { rate, idleTimeout } = FASTER;
    await using line = await Line.open({ idleTimeout });
    line.proxy.rate = rate;
    const client = new ClientSocket({ idleTimeout, reconnect: true });
    const ends: string[] = [];
    client.on("disconnect", (_code, _reason, cause) => ends.push(cause));
    const connected = line.server.waitFor("connect");
    await client.connect(line.proxy.url);
    const [peer] = await connected;
    const own = client.connection;
    assert(own);
    const [sender, receiver] = way === "up" ? [own, peer] : [peer, own];
    const all = receiver.collect("message", { limit: 3 });
    for (const text of ["before", HUGE, "behind"]) sender.send(text);
    const start = performance.now();
    const texts = (await deadline(all, 60_000)).map(([message]) =>
      message.content
    );
    assert(performance.now() - start > 2 * idleTimeout);
    assertEquals(texts.map((text) => text.length), [6, HUGE.length, 6]);
    assertEquals([line.told, ends, line.proxy.count], [[], [], 1]);
    await client.close();
  });

  test(`our own ends notice a line that dies while a large message goes ${way}`, async () => {
    const { rate, idleTimeout } = FASTER;
    await using line = await Line.open({ idleTimeout });
    line.proxy.rate = rate;
    const client = new ClientSocket({ idleTimeout });
    const connected = line.server.waitFor("connect");
    await client.connect(line.proxy.url);
    const [peer] = await connected;
    const ended = client.waitFor("disconnect");
    (way === "up" ? client : peer).send(DOOMED);
    await delay(idleTimeout / 2);
    line.proxy.swallow();
    const start = performance.now();
    const [, , cause] = await deadline(ended, 60_000);
    assertStrictEquals(cause, "timeout");
    assertEquals(await line.ended(), ["disconnect 1006 timeout"]);
    const allowed = idleTimeout * 2 + DOOMED.length / 16_384 * 1000;
    assert(performance.now() - start < allowed * 2);
  });
}

test("a client made from protocol.md keeps a slow line, too", async () => {
  const { rate, idleTimeout } = FASTER;
  await using line = await Line.open({ idleTimeout });
  line.proxy.rate = rate;
  await using python = new Program(
    ["-B", "tests/support/python_events.py"],
    { command: "/usr/bin/python3" },
  );
  const connected = line.server.waitFor("connect");
  await python.write(JSON.stringify({ url: line.proxy.url }));
  const [peer] = await connected;
  assert(JSON.parse(await python.line("")).on);
  const received = line.server.waitFor("message");
  await python.write(
    JSON.stringify({ do: "send", items: [{ text: HUGE }] }),
  );
  const [{ content }] = await deadline(received, 60_000);
  assertStrictEquals(content, HUGE);
  peer.send(HUGE);
  for (;;) {
    const told = await python.line("");
    if (told.includes(HUGE)) break;
  }
  assertEquals(line.told, []);
}, missing.size > 0);
