/** How a server shuts down, and what its clients hear of it. */

import {
  assert,
  assertEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { ClientSocket } from "../../client.ts";
import { ServerSocket, type ShutdownOptions } from "../../server.ts";
import { lacksPermission } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { RawPeer } from "../support/raw_peer.ts";

const ignore = await lacksPermission("net");

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore, fn });
}

/** A server with so many clients, and what all of them hear of their end. */
async function crowd(
  size: number,
  ...options: ConstructorParameters<typeof ServerSocket>
) {
  const server = new ServerSocket(...options);
  await server.listen("127.0.0.1", 0);
  const heard: string[] = [];
  const clients: ClientSocket[] = [];
  for (let i = 0; i < size; i++) {
    const client = new ClientSocket();
    for (const type of ["close", "disconnect"] as const) {
      client.on(type, (code, reason) => {
        heard.push(`${type} ${code} ${reason}`);
      });
    }
    const connect = server.waitFor("connect");
    await client.connect(server.url);
    await connect;
    clients.push(client);
  }
  return { server, clients, heard };
}

test("ServerSocket.shutdown() supports each option", async () => {
  const cases: [ShutdownOptions, string][] = [
    [{}, "close 1001 "],
    [{ reason: "bye" }, "close 1001 bye"],
    [{ code: 4000 }, "close 4000 "],
    [{ retryAfter: 4_200 }, "close 1001 retry-after=5"],
    [
      { retryAfter: 0, reason: "deploy", code: 1013 },
      "close 1013 deploy; retry-after=0",
    ],
    [{ drain: { batch: 9, every: 9 } }, "close 1001 "],
  ];
  for (const [options, expected] of cases) {
    const { server, clients, heard } = await crowd(2);
    const ended = server.collect("close", { limit: 2 });
    await server.shutdown(options);
    for (const [, code, reason, cause] of await ended) {
      assertStrictEquals(`close ${code} ${reason}`, expected);
      assertStrictEquals(cause, "shutdown");
    }
    for (const client of clients) await client.close();
    assertEquals(heard, [expected, expected]);
    const hint = /retry-after=(\d+)/.exec(expected)?.[1];
    assertStrictEquals(
      clients[0]?.disconnection?.retryAfter,
      hint === undefined ? undefined : Number(hint) * 1000,
    );
  }
});

Deno.test("ServerSocket.shutdown() throws for invalid options", async () => {
  const server = new ServerSocket();
  const cases: [object, string][] = [
    [{ code: 1006 }, "code 1006"],
    [{ reason: "x".repeat(124) }, "124 bytes"],
    // The hint has to fit, too.
    [{ reason: "x".repeat(120), retryAfter: 1_000 }, "135 bytes"],
    [{ retryAfter: -1 }, '"retryAfter" unless it is 0 or more'],
    [{ drain: { batch: 0, every: 1 } }, '"drain.batch" unless it is 1'],
    [{ drain: { batch: 1, every: -1 } }, '"drain.every" unless it is 0'],
    [{ drain: { batch: 1, every: Infinity } }, "unless it is finite"],
    [{ retryAfter: Infinity }, "unless it is finite"],
  ];
  for (const [options, message] of cases) {
    assertThrows(() => server.shutdown(options), RangeError, message);
  }
  const response = await server.fetch(new Request("http://localhost"));
  assertStrictEquals(response.status, 426); // and not 503
  await server.close();
});

test("ServerSocket.shutdown() with drain closes in batches", async () => {
  const { server, clients, heard } = await crowd(7);
  /** How many were left when each was closed. */
  const left: number[] = [];
  server.on("close", () => left.push(server.clients.size));
  let isOver = false;
  const start = performance.now();
  const closing = server.shutdown({ drain: { batch: 3, every: 50 } })
    .then(() => isOver = true);
  // Those whose turn has not come are served on.
  const last = clients.at(-1);
  const echo = last?.waitFor("message");
  for (const client of server.clients) client.send("still here");
  await echo;
  assertStrictEquals(isOver, false);
  await closing;
  assert(performance.now() - start > 90, "two waits between three batches");
  assertEquals(left, [6, 5, 4, 3, 2, 1, 0]);
  for (const client of clients) await client.close();
  assertEquals(heard, Array(7).fill("close 1001 "));
});

test("ServerSocket.shutdown() with drain keeps the causes of other ends", async () => {
  const { server, clients } = await crowd(2);
  const causes = server.collect("close", { limit: 2 });
  const closing = server.shutdown({ drain: { batch: 1, every: 50 } });
  const [, second] = server.clients;
  second?.close(4000, "for another reason");
  await closing;
  assertEquals(
    (await causes).map(([, code, , cause]) => `${code} ${cause}`).sort(),
    ["1001 shutdown", "4000 local"],
  );
  for (const client of clients) await client.close();
});

test("ServerSocket.shutdown() with drain does not wait for silent clients", async () => {
  const { server } = await crowd(0, { closeTimeout: 3_600_000 });
  using mute = await RawPeer.open(server.port);
  const clients = [new ClientSocket(), new ClientSocket()];
  for (const client of clients) await client.connect(server.url);
  const closes = server.collect("close", { limit: clients.length });
  const closing = server.shutdown({ drain: { batch: 1, every: 1 } });
  await closes;
  assertStrictEquals(server.clients.size, 1);
  mute.close();
  await closing;
});

test("ServerSocket.shutdown() with drain resolves when there are no clients", async () => {
  const { server, clients } = await crowd(3);
  // Nobody would wait for this.
  const closing = server.shutdown({ drain: { batch: 1, every: 3_600_000 } });
  for (const client of clients) await client.close();
  await closing;
});

test("ServerSocket.shutdown() is idempotent", async () => {
  const { server, clients, heard } = await crowd(2);
  const first = server.shutdown({ drain: { batch: 1, every: 20 }, code: 4001 });
  assertStrictEquals(server.close(4002), first);
  await first;
  await server.close();
  for (const client of clients) await client.close();
  assertEquals(heard, ["close 4001 ", "close 4001 "]);
});

test("ServerSocket.shutdown() refuses requests that authorize is deciding on", async () => {
  const asked = Promise.withResolvers<void>();
  const decision = Promise.withResolvers<boolean>();
  const { server } = await crowd(0, {
    authorize: () => {
      asked.resolve();
      return decision.promise;
    },
  });
  const refused = server.waitFor("refused");
  const client = new ClientSocket();
  const connecting = client.connect(server.url).then(
    () => "connected",
    (error) => error.name,
  );
  await asked.promise;
  const closing = server.close();
  decision.resolve(true);
  const [, status] = await refused;
  assertStrictEquals(status, 503);
  assertStrictEquals(await connecting, "ConnectError");
  await closing;
});

Deno.test({
  name:
    "ServerSocket.shutdown() waits for a slow reader and drops a stalled one",
  ignore,
  sanitizeOps: false, // what the runtime has under way to the stalled one
  fn: async () => {
    const { server } = await crowd(0, {
      closeTimeout: 3_000,
      highWaterMark: 65_536,
    });
    const ends = server.collect("close");
    const losses = server.collect("disconnect");
    const total = 140 * 60_000;
    const fates: string[] = [];
    server.on("connect", (client, path) => {
      for (let sent = 0; sent < total; sent += 60_000) {
        client.send(new Uint8Array(60_000)).then(
          () => fates.push(`${path} sent`),
          () => fates.push(`${path} lost`),
        );
      }
    });
    using slow = await RawPeer.open(server.port, "/slow");
    using stalled = await RawPeer.open(server.port, "/stalled");
    const closing = server.close(1001);
    const frames = total / 60_000;
    for (let i = 0; i < frames; i++) {
      assertStrictEquals((await slow.receive())?.payload.length, 60_000);
    }
    assertStrictEquals(await slow.end(), "1001 ");
    await slow.write(Uint8Array.from([0x88, 0x82, 0, 0, 0, 0, 3, 233]));
    await closing;
    stalled.close();
    assertEquals((await ends).map(([{ path }, code]) => [path, code]), [
      ["/slow", 1001],
    ]);
    assertEquals(
      (await losses).map(([{ path }, code, , cause]) => [path, code, cause]),
      [["/stalled", 1006, "timeout"]],
    );
    const count = (fate: string) => fates.filter((f) => f === fate).length;
    assertStrictEquals(count("/slow sent"), frames);
    assert(count("/stalled lost") > 0);
  },
});

Deno.test({
  name:
    "ServerSocket.shutdown() at SIGTERM in `deno serve` closes both sides alike",
  ignore: await lacksPermission("net", "run", "read"),
  fn: async () => {
    await using program = new Program(
      ["serve", "--host=127.0.0.1", "--port=0", "tests/support/deno_serve.ts"],
      { output: "stderr" },
    );
    const url = await program.line("deno serve: Listening on");
    const clients = Array.from({ length: 5 }, () => new ClientSocket());
    for (const client of clients) await client.connect(url);
    const closes = clients.map((client) => client.waitFor("close"));
    program.kill("SIGTERM");
    for (const close of closes) {
      assertEquals(await close, [1001, "Server shutting down", "peer"]);
    }
    const ends = await program.linesUntil("closed");
    const told = 'ended: close 1001 "Server shutting down" shutdown';
    assertEquals(ends, Array(5).fill(told));
    assertStrictEquals(await program.exit(), 0);
  },
});
