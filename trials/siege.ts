/**
 * All attacks at once, and a healthy peer beside them: afterwards each connect has had
 * its one end, memory and descriptors are where they were, and the server shuts down at
 * once.
 *
 *     deno run --allow-all trials/siege.ts [seconds] [seed]
 */

import { deadline, delay } from "@std/async";
import {
  frame,
  HANDSHAKE,
  RawPeer,
  request,
} from "../tests/support/raw_peer.ts";
import { SeededRandom } from "../tests/support/seeded_random.ts";
import { ATTACKS, drain } from "./attacks.ts";
import type { Stats } from "./server.ts";
import {
  argument,
  isSeenOff,
  percentile,
  sum,
  Target,
  Verdict,
} from "./support.ts";

const SECONDS = argument(0, 60);
const SEED = argument(1, 20_261_128);
/** How many hostile peers there are at a time. */
const AT_ONCE = 16;

const random = new SeededRandom(SEED);
const encoder = new TextEncoder();

/** Writes a handshake as far as some byte, and leaves. */
async function leave(port: number): Promise<void> {
  using peer = await RawPeer.connect(port);
  const all = encoder.encode(request(HANDSHAKE));
  const isWhole = random.next() < 0.5;
  await peer.write(isWhole ? all : all.subarray(0, random.integer(all.length)));
  if (random.next() < 0.5) await peer.tcp.closeWrite().catch(() => {});
}

/** Sends headers that are long, and slow to read for a careless parser. */
async function pad(port: number): Promise<void> {
  const header = random.pick([
    "Upgrade",
    "Connection",
    "Sec-WebSocket-Protocol",
    "X-Forwarded-For",
    "Origin",
    "Cookie",
  ]);
  const filling = random.pick([" ", "\t", ", ", ":", "a,", "%2e/"]);
  const value = `x${filling.repeat(40_000 / filling.length)}x`;
  using peer = await RawPeer.connect(port);
  await peer.write(request({ ...HANDSHAKE, [header]: value }));
  await deadline(peer.end(), 500).catch(() => {});
}

/** Says that it comes back, with a session and a position that it made up. */
async function pretend(port: number): Promise<void> {
  const word = () =>
    Array.from(random.bytes(8), (byte) => byte.toString(36)).join("");
  const resume = random.pick([
    `resume.${word()}`,
    `resume.${word()}.${word()}.0.0`,
    `resume.${word()}.${word()}.${random.integer(1e9)}.1.${word()}`,
    `resume.${"a".repeat(random.integer(10_000))}`,
  ]);
  using peer = await RawPeer.connect(port);
  await peer.write(
    request({
      ...HANDSHAKE,
      "Sec-WebSocket-Protocol": `events.v1, ${resume}`,
    }, "GET /room/lobby HTTP/1.1"),
  );
  await deadline(peer.end(), 100).catch(() => {});
}

/** Fills a room of its own, which history stores, and leaves. */
async function fill(port: number): Promise<void> {
  const room = `${random.integer(1e9)}`.padEnd(random.integer(900), "r");
  using peer = await RawPeer.open(port, `/into/${room}`);
  const reading = drain(peer);
  for (let i = 0; i < 20; i++) {
    if (!await peer.write(frame(1, random.bytes(1).fill(97)))) break;
    if (!await peer.write(frame(1, "x".repeat(30_000)))) break;
  }
  peer.close();
  await reading;
}

/** Is sent much, and reads none of it. */
async function stall(port: number): Promise<void> {
  using peer = await RawPeer.open(port, "/offer/4");
  await delay(random.integer(400));
  await peer.write(frame(1, "close"));
}

/** Sends frames that are none, or not quite. */
async function garble(port: number): Promise<void> {
  using peer = await RawPeer.open(port);
  for (let i = random.integer(8); i > 0; i--) {
    const opcode = random.integer(16);
    const options = {
      fin: random.next() < 0.7,
      rsv: random.pick([0, 0, 0x40]),
    };
    if (
      !await peer.write(
        frame(opcode, random.bytes(random.integer(120)), options),
      )
    ) {
      break;
    }
  }
  await deadline(peer.end(), 20).catch(() => {});
}

/** Floods the server for a moment. */
async function flood(port: number): Promise<void> {
  const { again, first, plain } = random.pick(ATTACKS);
  using peer = await RawPeer.open(port, "/", plain ? undefined : "events.v1");
  const reading = drain(peer);
  if (first) await peer.write(first);
  const end = performance.now() + random.integer(300);
  while (again && performance.now() < end) {
    const written = await deadline(peer.write(again), 300).catch(() => false);
    if (!written) break;
  }
  peer.close();
  await reading;
}

const ATTACKERS = [leave, pad, pretend, fill, stall, garble, flood];

/** Round trips of a peer that does nothing wrong. */
async function beHealthy(port: number, signal: AbortSignal): Promise<number[]> {
  using peer = await RawPeer.open(port, "/healthy");
  const took: number[] = [];
  while (!signal.aborted) {
    const start = performance.now();
    await peer.write(frame(1, "hello"));
    if (await peer.receive() === undefined) throw new Error("It was cut");
    took.push(performance.now() - start);
    await delay(5);
  }
  return took.sort((a, b) => a - b);
}

/** All attackers, for so many seconds. */
async function besiege(port: number, seconds: number): Promise<number> {
  const end = performance.now() + seconds * 1_000;
  let count = 0;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (; performance.now() < end; count++) {
      try {
        await random.pick(ATTACKERS)(port);
      } catch {
        // It was refused, or cut.
      }
    }
  }));
  return count;
}

/** A short run is one of the tests, on a machine that is busy. */
const isFull = SECONDS >= 60;

const verdict = new Verdict();
console.log(`siege: ${SECONDS} s, ${AT_ONCE} at once, seed ${SEED}`);
await using target = await Target.start({
  history: { maxBytes: 1024 * 1024 }, // so that it is full before
  trustProxy: 1,
  idleTimeout: 2_000,
  closeTimeout: 500,
  maxConnections: 1_000,
});
const idle = await target.stats();
const isOver = (stats: Stats) => isSeenOff(stats, idle, true, isFull);
await besiege(target.port, Math.ceil(SECONDS / 6)); // warms up what is held in the end
const before = await target.settled(isOver);

const stop = new AbortController();
const healthy = beHealthy(target.port, stop.signal);
const attacks = await besiege(target.port, SECONDS);
stop.abort();
const took = await healthy;
const after = await target.settled(isOver);

verdict.note("attacks", attacks);
verdict.note("ends", after.ends);
verdict.note("refusals", after.refusals);
// It shares its process, and the machine, with the attackers.
verdict.note("healthy p50, p99, longest, in ms", [
  percentile(took, 0.5).toFixed(1),
  percentile(took, 0.99).toFixed(1),
  percentile(took, 1).toFixed(1),
]);
verdict.note("peak memory", `${after.peakRss.toFixed(0)} MiB`);
verdict.claim(
  "each connect has had its one end",
  after.connects === sum(after.ends) && after.doubles === 0 &&
    after.clients === 0,
);
verdict.compare(before, after, idle, false, true);
if (isFull) {
  verdict.claim(
    "at most 1 descriptor in 10 peers is left behind",
    isSeenOff(after, idle, true),
  );
  verdict.claim(
    "the heap has grown by less than 4 MiB",
    after.heap - before.heap < 4,
  );
}
const start = performance.now();
await fetch(`http://127.0.0.1:${target.port}/close`);
await target.program.exit();
const shutdown = performance.now() - start;
verdict.note("shutdown, in ms", Math.round(shutdown));
if (isFull) {
  verdict.claim("the server shuts down within a second", shutdown < 1_000);
}
verdict.finish();
