/**
 * Mutated handshakes and sequences of frames, over raw TCP.
 *
 *     deno run --allow-all trials/fuzz.ts [count] [seed]
 */

import { deadline } from "@std/async";
import { encodeTextBatch } from "../core/protocol/frames.ts";
import { SeededRandom } from "../tests/support/seeded_random.ts";
import {
  closeFrame,
  frame,
  HANDSHAKE,
  RawPeer,
  request,
} from "../tests/support/raw_peer.ts";
import type { Stats } from "./server.ts";
import { argument, isSeenOff, sum, Target, times, Verdict } from "./support.ts";

const COUNT = argument(0, 100_000);
const SEED = argument(1, 20_261_123);
const AT_ONCE = 32;

const chance = new SeededRandom(SEED);

/** A request that is none, or not quite. */
function handshake(): Uint8Array {
  const headers: Record<string, string | undefined> = { ...HANDSHAKE };
  const names = Object.keys(HANDSHAKE);
  let line = "GET / HTTP/1.1";
  for (let i = chance.integer(3); i >= 0; i--) {
    const name = names[chance.integer(names.length)] ?? "Host";
    switch (chance.integer(8)) {
      case 0:
        headers[name] = undefined;
        break;
      case 1:
        headers[name] = `${headers[name]}, ${headers[name]}`;
        break;
      case 2:
        headers[name] = String.fromCharCode(...chance.bytes(20)).replace(
          /[\r\n]/g,
          "",
        );
        break;
      case 3:
        headers[`X-${chance.integer(1_000)}`] = "x".repeat(
          chance.integer(5_000),
        );
        break;
      case 4:
        line = chance.pick([
          "POST / HTTP/1.1",
          "GET  HTTP/1.1",
          "GET / HTTP/1.0",
          "GET / HTTP/9",
          "GET //// HTTP/1.1",
          "GET /%00%ff HTTP/1.1",
          "GET http://[::1 HTTP/1.1",
          "PRI * HTTP/2.0",
        ]);
        break;
      case 5:
        headers["Content-Length"] = chance.pick([
          "0",
          "5",
          "-1",
          "1e9",
          "99999999999999999999",
        ]);
        break;
      case 6:
        headers.Origin = chance.pick(["null", "http://x", "", "\u00ff"]);
        break;
      case 7:
        headers[name] = `x${
          chance.pick([" ", "\t", " ,", "\t "]).repeat(chance.integer(10_000))
        }x`;
        break;
    }
  }
  return mutate(new TextEncoder().encode(request(headers, line)), 0.3);
}

/** A session and a position that were never given out. */
function resume(): string {
  const word = (length: number) =>
    Array.from(
      { length },
      () => chance.pick([..."0123456789abcdef"]),
    ).join("");
  const token = chance.pick([
    "0",
    word(chance.integer(50)),
    word(68 + 8 * chance.integer(4)),
    word(3_000),
  ]);
  const offset = chance.pick(["0", "7", "9007199254740993", "-1", ""]);
  return chance.pick([
    `resume.${token}`,
    `resume.${token}.${word(32)}.${offset}.0`,
    `resume.${token}.0.${offset}.${chance.integer(1e6)}`,
  ]);
}

/** Changes, cuts or doubles a few bytes, or leaves them. */
function mutate(bytes: Uint8Array, likelihood: number): Uint8Array {
  if (chance.next() > likelihood || bytes.length === 0) return bytes;
  const copy = bytes.slice();
  for (let i = chance.integer(4); i >= 0; i--) {
    const at = chance.integer(copy.length);
    const value = copy[at] ?? 0;
    copy[at] = chance.next() < 0.5
      ? value ^ (1 << chance.integer(8))
      : chance.integer(256);
  }
  if (chance.next() < 0.2) return copy.subarray(0, chance.integer(copy.length));
  return copy;
}

/** Something like a frame. */
function act(): Uint8Array {
  switch (chance.integer(12)) {
    case 0:
      return frame(1, "hello ".repeat(chance.integer(50)));
    case 1:
      return frame(2, chance.bytes(chance.integer(500)));
    case 2:
      return frame(chance.integer(16), chance.bytes(chance.integer(140)));
    case 3:
      return frame(1, "x", { fin: false });
    case 4:
      return frame(0, "y", { fin: chance.next() < 0.5 });
    case 5:
      return frame(1, "z", { rsv: chance.pick([0x10, 0x20, 0x40]) });
    case 6:
      return closeFrame(
        chance.pick([1000, 1001, 1005, 1006, 4000, 5000, 0]),
        "why",
      );
    case 7:
      return frame(1, chance.pick(["close", "terminate"]));
    case 8:
      return frame(1, chance.bytes(chance.integer(30)));
    case 9:
      return frame(
        1,
        encodeTextBatch(
          Array.from({ length: chance.integer(1_200) }, () => "x"),
        ),
      );
    case 10:
      return flood(frame(chance.pick([1, 2, 9, 10]), "x"), chance.integer(500));
    default:
      return chance.bytes(1 + chance.integer(60));
  }
}

/** The same frame, many times in a row. */
function flood(bytes: Uint8Array, count: number): Uint8Array {
  const all = new Uint8Array(bytes.length * count);
  for (let i = 0; i < count; i++) all.set(bytes, i * bytes.length);
  return all;
}

async function attack(port: number): Promise<void> {
  using peer = await RawPeer.connect(port);
  if (chance.next() < 0.4) {
    await peer.write(handshake());
    if (chance.next() < 0.5) {
      await peer.write(chance.bytes(chance.integer(100)));
    }
  } else {
    const path = chance.pick(["/", "/", "/", "/room/a", "/slowly"]);
    const headers = chance.next() < 0.3
      ? { ...HANDSHAKE, "Sec-WebSocket-Protocol": `events.v1, ${resume()}` }
      : HANDSHAKE;
    await peer.write(request(headers, `GET ${path} HTTP/1.1`));
    for (let i = chance.integer(6); i > 0; i--) {
      if (!await peer.write(mutate(act(), 0.3))) break;
    }
  }
  const parting = chance.next();
  if (parting < 0.2) await peer.tcp.closeWrite().catch(() => {});
  // Some wait for the server to be fed up, or for a moment.
  if (parting < 0.3) await deadline(peer.end(), 20).catch(() => {});
}

/** A short run is over before a process has all that it will ever hold. */
const isFull = COUNT >= 50_000;

const verdict = new Verdict();
console.log(`fuzz: ${COUNT} peers, ${AT_ONCE} at once, seed ${SEED}`);
await using target = await Target.start({
  idleTimeout: 2_000,
  closeTimeout: 500,
  history: true,
});

const idle = await target.stats();
const isOver = (stats: Stats) => isSeenOff(stats, idle, true, isFull);
// The first fifth warms up what any server holds in the end.
await times(COUNT / 5, AT_ONCE, () => attack(target.port));
const before = await target.settled(isOver);
const start = performance.now();
await times(COUNT * 4 / 5, AT_ONCE, () => attack(target.port));
const took = performance.now() - start;
const after = await target.settled(isOver);

verdict.note("attacks a second", Math.round(COUNT * 0.8 / took * 1000));
verdict.note("connects", after.connects);
verdict.note("ends", after.ends);
verdict.note("refusals", after.refusals);
verdict.claim(
  "each connect has had its one end",
  after.connects === sum(after.ends) && after.doubles === 0 &&
    after.clients === 0,
);
verdict.claim("no error but the peers' own", after.errors.length === 0);
if (after.errors.length > 0) verdict.note("errors", after.errors.slice(0, 5));
verdict.compare(before, after, idle, isFull, true);
using good = await RawPeer.open(target.port);
await good.write(frame(1, "still there?"));
const echo = await good.receive();
verdict.claim(
  "the server serves on",
  new TextDecoder().decode(echo?.payload) === "still there?",
);
verdict.finish();
