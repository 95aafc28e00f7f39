/**
 * Connections that come, exchange something and end, in all ways, many times.
 *
 *     deno run --allow-all trials/soak.ts [count] [seed]
 */

import { SeededRandom } from "../tests/support/seeded_random.ts";
import {
  closeFrame,
  frame,
  HANDSHAKE,
  RawPeer,
  request,
} from "../tests/support/raw_peer.ts";
import { argument, isSeenOff, sum, Target, times, Verdict } from "./support.ts";

const COUNT = argument(0, 100_000);
const SEED = argument(1, 20_261_123);
const AT_ONCE = 64;

const chance = new SeededRandom(SEED);

type Way = (peer: RawPeer) => Promise<unknown>;

/** Closes by the book. */
const clean: Way = async (peer) => {
  await peer.write(closeFrame(1000, "bye"));
  await peer.end();
};

/** Is closed by the server, and answers. */
const closed: Way = async (peer) => {
  await peer.write(frame(1, "close"));
  await peer.end();
  await peer.write(closeFrame(4000));
};

/** Is let go by the server. */
const terminated: Way = async (peer) => {
  await peer.write(frame(1, "terminate"));
  await peer.end();
};

/** Ends TCP without a word, as a killed process does. */
const killed: Way = () => Promise.resolve();

/** Ends TCP with something unread, which resets it. */
const reset: Way = async (peer) => {
  await peer.write(frame(1, "unread".repeat(100)));
  try {
    await peer.tcp.read(new Uint8Array(1));
  } catch (error) {
    // On a machine that is busy the server may have given it up before.
    if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
  }
};

/** Ends in the midst of a frame. */
const torn: Way = async (peer) => {
  await peer.write(frame(1, "x".repeat(100)).subarray(0, 50));
};

/** Breaks the protocol. */
const broken: Way = async (peer) => {
  await peer.write(frame(1, [0xff]));
  await peer.end();
};

/** Says no more, and answers no ping. */
const silent: Way = async (peer) => {
  await peer.end();
};

/** Does not answer the server's close. */
const stubborn: Way = async (peer) => {
  await peer.write(frame(1, "close"));
  for (;;) if (await peer.receive() === undefined) return;
};

const WAYS: readonly Way[] = [
  clean,
  closed,
  terminated,
  killed,
  reset,
  torn,
  broken,
];
const PATIENT: readonly Way[] = [silent, stubborn];

async function cycle(port: number, i: number): Promise<void> {
  using peer = await RawPeer.open(port);
  for (let n = chance.integer(3); n > 0; n--) {
    await peer.write(frame(1 + chance.integer(2), `hello ${i}`));
    await peer.receive();
  }
  await (chance.next() < 0.01 ? chance.pick(PATIENT) : chance.pick(WAYS))(peer);
}

/** Leaves in the midst of the handshake; which is no connect. */
async function half(port: number): Promise<void> {
  using peer = await RawPeer.connect(port);
  const text = request(HANDSHAKE);
  await peer.write(text.slice(0, chance.integer(text.length)));
}

/** A short run is over before a process has all that it will ever hold. */
const isFull = COUNT >= 50_000;

const verdict = new Verdict();
console.log(`soak: ${COUNT} connections, ${AT_ONCE} at once, seed ${SEED}`);
await using target = await Target.start({
  idleTimeout: 500,
  closeTimeout: 500,
});
const idle = await target.stats();
const run = async () => {
  await times(COUNT / 2, AT_ONCE, (i) => cycle(target.port, i));
  await times(COUNT / 200, AT_ONCE, () => half(target.port));
  // Those that left in mid-handshake are seen off a moment later.
  return await target.settled((stats) => isSeenOff(stats, idle));
};
const start = performance.now();
const before = await run();
const after = await run();
const took = performance.now() - start;

verdict.note("connections a second", Math.round(COUNT / took * 1000));
verdict.note("ends", after.ends);
verdict.claim(
  "as many connects as connections",
  after.connects === Math.floor(COUNT / 2) * 2,
);
verdict.claim(
  "as many ends as connects, none twice",
  sum(after.ends) === after.connects && after.doubles === 0,
);
verdict.claim("nobody is left", after.clients === 0);
verdict.claim("no error", after.errors.length === 0);
verdict.compare(before, after, idle, isFull);
verdict.finish();
