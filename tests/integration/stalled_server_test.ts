/**
 * Deno reads all frames that have arrived in one turn of the event loop: what that means for
 * a fast client, after a turn that has lasted long, and while there is much to do.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { continueLater } from "../../core/runtime/time_slices.ts";
import { ServerSocket } from "../../server.ts";
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
  await server.listen("127.0.0.1", 0);
  using peer = await RawPeer.open(server.port);
  let isOver = false;
  let slices = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  continueLater((until) => {
    while (performance.now() < until);
    slices++;
    if (isOver) resolve();
    return !isOver;
  });
  const messages = 10;
  for (let i = 0; i < messages; i++) {
    const received = server.waitFor("message");
    await peer.write(frames(1));
    await received;
  }
  isOver = true;
  await promise;
  // Some 60 for each message, if each slice starts in an immediate.
  assert(slices < 30 * messages, `${slices} slices`);
});
