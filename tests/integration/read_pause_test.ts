/**
 * Deno reads all frames that have arrived in one turn of the event loop. These tests show
 * that a server does not: a flood of one peer is read bit by bit, and nothing is lost.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { delay } from "@std/async";
import { pauseReading } from "../../core/runtime/read_pause.ts";
import { continueLater } from "../../core/runtime/time_slices.ts";
import { ServerSocket } from "../../server.ts";
import { createFixture } from "../support/fake_socket.ts";
import { lacksPermission } from "../support/permissions.ts";
import { frame, RawPeer } from "../support/raw_peer.ts";

const ignore = await lacksPermission("net");

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore, fn });
}

/** So many small text frames. */
function frames(count: number): Uint8Array {
  const parts = Array.from({ length: count }, (_, i) => [...frame(1, `${i}`)]);
  return Uint8Array.from(parts.flat());
}

/** A server of the bare runtime that calls back with its only socket. */
function serve(opened: (socket: WebSocket) => void): Deno.HttpServer {
  return Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    (request) => {
      const { socket, response } = Deno.upgradeWebSocket(request);
      opened(socket);
      return response;
    },
  );
}

function portOf(server: Deno.HttpServer): number {
  assert("port" in server.addr);
  return server.addr.port;
}

test("pauseReading() stops reading until a later turn, and loses nothing", async () => {
  const texts: string[] = [];
  const ends: CloseEvent[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const readIn: number[] = [];
  let turn = 0;
  const reader = { resumed: () => void turn++ };
  await using server = serve((socket) => {
    socket.addEventListener("message", ({ data }) => {
      texts.push(data);
      readIn.push(turn);
      if (texts.length % 3 === 0) assert(pauseReading(socket, reader));
    });
    socket.addEventListener("close", (event) => {
      ends.push(event);
      resolve();
    });
  });
  using peer = await RawPeer.open(portOf(server));
  await peer.write(frames(10));
  peer.close(); // its end is noticed, too
  await promise;
  await delay(10);
  assertEquals(texts, Array.from({ length: 10 }, (_, i) => `${i}`));
  assertEquals(readIn, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]);
  assertEquals(ends.length, 1);
});

test("pauseReading() does not keep a socket from sending and closing", async () => {
  await using server = serve((socket) => {
    socket.addEventListener("message", () => {
      queueMicrotask(() => {
        socket.send("paused");
        socket.close(4000, "bye");
      });
      pauseReading(socket, { resumed() {} });
    });
  });
  using peer = await RawPeer.open(portOf(server));
  await peer.write(frames(1));
  assertEquals(
    (await peer.receive())?.payload,
    new TextEncoder().encode("paused"),
  );
  await peer.write(frame(8, [4000 >> 8, 4000 & 255]));
  assertEquals(await peer.end(), "4000 bye");
});

Deno.test("pauseReading() returns false for a socket that is not Deno's", () => {
  const { socket } = createFixture("server");
  assertEquals(pauseReading(socket, { resumed() {} }), false);
});

test("ServerSocket receives all that a fast plain client sends, in order", async () => {
  await using server = new ServerSocket({ messageRate: false });
  const texts: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  server.on("message", ({ content }) => {
    texts.push(content);
    if (texts.length === 20_000) resolve();
  });
  await server.listen("127.0.0.1", 0);
  using peer = await RawPeer.open(server.port);
  const [sent] = await Promise.all([peer.write(frames(20_000)), promise]);
  assert(sent);
  assertEquals(texts, Array.from({ length: 20_000 }, (_, i) => `${i}`));
});

Deno.test("Connection stops reading after 128 frames of a peer in one turn", () => {
  const pausedAfter: number[] = [];
  let received = 0;
  const { socket, connection } = createFixture("server", {
    options: { limits: { maxPayload: 1_000_000, messageRate: undefined } },
    driver: {
      side: "server",
      close: () => () => {},
      pauseReading: () => pausedAfter.push(received) > 0,
    },
  });
  socket.open();
  for (received = 1; received <= 500; received++) socket.receive("x");
  assertEquals(pausedAfter.map((count) => Math.round(count / 128)), [1, 2, 3]);
  // So it does while it closes, when nothing is handed out any more.
  connection.close(1008);
  pausedAfter.length = 0;
  for (received = 1; received <= 300; received++) socket.receive("x");
  assert(pausedAfter.length >= 2);
  connection.terminate();
});

test("messageRate allows what came while the server stood still", async () => {
  await using server = new ServerSocket({
    messageRate: { perSecond: 1_000, burst: 100 },
    idleTimeout: 640, // which is how late a stall is noticed at most, 64 times
  });
  let count = 0;
  const all = Promise.withResolvers<void>();
  server.on("message", () => {
    if (++count === 600) all.resolve();
  });
  await server.listen("127.0.0.1", 0);
  using peer = await RawPeer.open(server.port);
  const end = peer.end();
  const written = peer.write(frames(600));
  const until = performance.now() + 1_000;
  while (performance.now() < until);
  assert(await written);
  await Promise.race([all.promise, end]);
  assertEquals(count, 600);
  // It is no licence: the same again at once is too much.
  await peer.write(frames(1_500));
  assertMatch(await end, /^1008 /);
});

test("continueLater() lets sockets be read between slices", async () => {
  await using server = new ServerSocket();
  let isOver = false;
  server.on("message", () => void (isOver = true));
  await server.listen("127.0.0.1", 0);
  using peer = await RawPeer.open(server.port);
  await peer.write(frames(1));
  await server.waitFor("message", { timeout: 10_000 }).catch(() => {});
  isOver = false;
  const end = Promise.withResolvers<number>();
  let slices = 0;
  continueLater((until) => {
    while (performance.now() < until);
    slices++;
    if (isOver) end.resolve(slices);
    return !isOver;
  });
  await peer.write(frames(1));
  assert(await end.promise < 40, `${slices} slices`);
});
