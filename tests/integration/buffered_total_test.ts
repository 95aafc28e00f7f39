/** `maxBufferedTotal`: what all connections of a server may hold together. */

import "../../core/features/full.ts";
import { assert, assertEquals } from "@std/assert";
import {
  ClientSocket,
  type Connection,
  type ServerOptions,
  ServerSocket,
} from "@ws/events";
import { coreOf } from "../../core/connection/connection.ts";
import { lacksPermission } from "../support/permissions.ts";
import { frame, RawPeer } from "../support/raw_peer.ts";

const ignore = await lacksPermission("net");

const MIB = 1024 * 1024;

/** What the connections of a server hold, as it counts itself. */
function heldBy(server: ServerSocket): number {
  let held = 0;
  for (const client of server.clients) held += coreOf(client).memory;
  return held;
}

/** A server and its ends, whose paths say who they are. */
function serverOf(options: ServerOptions) {
  const server = new ServerSocket(options);
  const ends: string[] = [];
  server.on("disconnect", ({ path }, _code, _reason, cause) => {
    ends.push(`${path} ${cause}`);
  });
  const clientAt = (path: string): Connection => {
    for (const client of server.clients) {
      if (client.path === path) return client;
    }
    throw new Error(`Nobody is at ${path}`);
  };
  return { server, ends, clientAt };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

for (const protocol of ["events.v1", undefined]) {
  Deno.test({
    name: `maxBufferedTotal ends the connections with the largest queues (${
      protocol ?? "plain"
    })`,
    ignore,
    async fn() {
      const { server, ends, clientAt } = serverOf({
        maxBufferedTotal: 32 * MIB,
        maxBufferedAmount: 1024 * MIB,
      });
      await using _server = server;
      await server.listen("127.0.0.1", 0);
      // Neither reads, nor gives credit.
      using _first = await RawPeer.open(server.port, "/first", protocol);
      using _second = await RawPeer.open(server.port, "/second", protocol);
      const healthy = new ClientSocket({ plain: protocol === undefined });
      let count = 0;
      healthy.on("message", () => count++);
      await healthy.connect(`${server.url}/healthy`);
      const slow = [clientAt("/first"), clientAt("/second")];
      const well = clientAt("/healthy");
      let peak = 0;
      for (let i = 0; i < 3_000; i++) {
        slow[0]?.send("x".repeat(20_000));
        slow[1]?.send("x".repeat(5_000));
        await well.send("small");
        peak = Math.max(peak, heldBy(server));
        if (i % 100 === 0) await turn();
      }
      while (count < 3_000) await healthy.waitFor("message");
      await healthy.close();
      assertEquals(ends, ["/first backpressure"]);
      assertEquals(count, 3_000);
      assert(peak <= 32 * MIB, `${peak / MIB} MiB`);
      assert(peak > 25 * MIB, `${peak / MIB} MiB`);
    },
  });
}

Deno.test({
  name: "maxBufferedTotal counts the overhead of small messages",
  ignore,
  async fn() {
    const { server, ends, clientAt } = serverOf({ maxBufferedTotal: 8 * MIB });
    await using _server = server;
    await server.listen("127.0.0.1", 0);
    using _peer = await RawPeer.open(server.port, "/small", "events.v1");
    const client = clientAt("/small");
    let sent = 0;
    while (client.readyState === 1 && sent < 100_000) {
      client.send("");
      sent++;
    }
    await turn();
    assertEquals(ends, ["/small backpressure"]);
    assert(sent > 8_000 && sent < 20_000, `${sent} messages`);
  },
});

Deno.test({
  name: "maxBufferedTotal does not count sent messages",
  ignore,
  async fn() {
    const { server, ends } = serverOf({
      maxBufferedTotal: MIB,
      highWaterMark: MIB / 4,
    });
    await using _server = server;
    await server.listen("127.0.0.1", 0);
    const client = new ClientSocket();
    let size = 0;
    client.on("message", ({ content }) => size += content.length);
    await client.connect(server.url);
    const [peer] = server.clients;
    for (let i = 0; i < 200; i++) await peer?.send("x".repeat(50_000));
    while (size < 10_000_000) await client.waitFor("message");
    await client.close();
    assertEquals([size, ends], [10_000_000, []]);
  },
});

Deno.test({
  name: "maxBufferedTotal counts messages that wait for concurrency",
  ignore,
  async fn() {
    const { server, ends } = serverOf({
      maxBufferedTotal: MIB,
      concurrency: 1,
    });
    await using _server = server;
    const hold = Promise.withResolvers<void>();
    server.on("message", () => hold.promise);
    await server.listen("127.0.0.1", 0);
    using peer = await RawPeer.open(server.port, "/flood");
    using quiet = await RawPeer.open(server.port, "/quiet");
    await quiet.write(frame(1, "one"));
    const ended = server.waitFor("disconnect");
    for (let i = 0; i < 40; i++) {
      if (!await peer.write(frame(1, "x".repeat(60_000)))) break;
    }
    await ended;
    hold.resolve();
    assertEquals(ends, ["/flood limit"]);
  },
});

Deno.test({
  name: "maxBufferedTotal counts messages that wait in iterators",
  ignore,
  async fn() {
    const { server, ends } = serverOf({ maxBufferedTotal: MIB });
    await using _server = server;
    server.on("connect", (client) => void client.messages());
    await server.listen("127.0.0.1", 0);
    using peer = await RawPeer.open(server.port, "/flood");
    using quiet = await RawPeer.open(server.port, "/quiet");
    await quiet.write(frame(1, "one"));
    const ended = server.waitFor("disconnect");
    for (let i = 0; i < 40; i++) {
      if (!await peer.write(frame(1, "x".repeat(60_000)))) break;
    }
    await ended;
    assertEquals(ends, ["/flood limit"]);
  },
});

Deno.test({
  name: "maxBufferedTotal counts the parts of incomplete messages, too",
  ignore,
  async fn() {
    const { server, ends } = serverOf({
      maxBufferedTotal: MIB,
      maxPayload: 64 * MIB,
    });
    await using _server = server;
    await server.listen("127.0.0.1", 0);
    using peer = await RawPeer.open(server.port, "/parts", "events.v1-parts");
    using quiet = await RawPeer.open(server.port, "/quiet", "events.v1");
    await quiet.write(frame(1, `\u0001-${"x".repeat(16_384)}`));
    const ended = server.waitFor("disconnect");
    for (let i = 0; i < 80; i++) {
      const part = `\u0001-${"x".repeat(16_384)}`;
      if (!await peer.write(frame(1, part))) break;
    }
    await ended;
    assertEquals(ends, ["/parts limit"]);
  },
});

Deno.test({
  name: "maxBufferedTotal counts requests that are being handled, too",
  ignore,
  async fn() {
    const { server, ends } = serverOf({ maxBufferedTotal: MIB });
    await using _server = server;
    const hold = Promise.withResolvers<void>();
    server.handle(() => hold.promise);
    await server.listen("127.0.0.1", 0);
    using peer = await RawPeer.open(server.port, "/asks", "events.v1");
    using quiet = await RawPeer.open(server.port, "/quiet", "events.v1");
    await quiet.write(frame(1, "\u0001?1,1"));
    const ended = server.waitFor("disconnect");
    for (let id = 1; id < 40; id++) {
      const question = `\u0001?${id},${"x".repeat(60_000)}`;
      if (!await peer.write(frame(1, question))) break;
    }
    await ended;
    hold.resolve();
    assertEquals(ends, ["/asks limit"]);
  },
});

for (const protocol of ["events.v1", undefined]) {
  Deno.test({
    name: `maxBufferedTotal counts messages whose listeners are running, too (${
      protocol ?? "plain"
    })`,
    ignore,
    async fn() {
      const { server, ends } = serverOf({ maxBufferedTotal: MIB });
      await using _server = server;
      const hold = Promise.withResolvers<void>();
      server.on("message", () => hold.promise);
      await server.listen("127.0.0.1", 0);
      using peer = await RawPeer.open(server.port, "/busy", protocol);
      using quiet = await RawPeer.open(server.port, "/quiet", protocol);
      await quiet.write(frame(1, "x"));
      const ended = server.waitFor("disconnect");
      for (let i = 0; i < 40; i++) {
        if (!await peer.write(frame(1, "x".repeat(60_000)))) break;
      }
      await ended;
      hold.resolve();
      assertEquals(ends, ["/busy limit"]);
    },
  });
}
