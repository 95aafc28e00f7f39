/**
 * Fifty clients that never read, while 1 GiB is offered to each, and what those
 * feel that are beside them.
 *
 *     deno run --allow-all trials/slow_readers.ts [clients] [MiB]
 */

import { delay } from "@std/async";
import { frame, RawPeer } from "../tests/support/raw_peer.ts";
import { argument, mib, percentile, sum, Target, Verdict } from "./support.ts";

const CLIENTS = argument(0, 50);
const OFFERED = argument(1, 1024);
const MARK = 64 * 1024;
const BOUND = 1024 * 1024;
/** What V8 and the allocator keep in reserve, in MiB, however little is held. */
const GARBAGE = 128;
/** Longer than it takes to offer it all. */
const IDLE_TIMEOUT = 1_000 + OFFERED * 40;

/** How long healthy clients wait for an echo, in milliseconds, sorted. */
async function roundTrips(port: number): Promise<number[]> {
  const times: number[] = [];
  await Promise.all(Array.from({ length: 8 }, async () => {
    using peer = await RawPeer.open(port);
    const message = frame(1, "how are you?");
    for (let i = 0; i < (isFull ? 500 : 50); i++) {
      const start = performance.now();
      await peer.write(message);
      await peer.receive();
      times.push(performance.now() - start);
      await delay(5);
    }
  }));
  return times.sort((a, b) => a - b);
}

/** The same three times, and of these the middle one: a machine has hiccups. */
async function usual(port: number): Promise<number[]> {
  const runs = [];
  for (let i = 0; i < 3; i++) runs.push(await roundTrips(port));
  const p99 = (times: readonly number[]) => percentile(times, 0.99);
  return runs.sort((a, b) => p99(a) - p99(b))[1] ?? [];
}

function shown(times: readonly number[]): string {
  const [half, most] = [percentile(times, 0.5), percentile(times, 0.99)];
  return `median ${half.toFixed(2)} ms, p99 ${most.toFixed(2)} ms`;
}

/** Of a short run the clock says nothing. */
const isFull = OFFERED >= 1024;

const verdict = new Verdict();

for (const overflow of ["drop-oldest", "terminate"] as const) {
  console.log(
    `slow readers: ${CLIENTS}, ${OFFERED} MiB offered to each, ${overflow}`,
  );
  await using target = await Target.start({
    idleTimeout: IDLE_TIMEOUT,
    highWaterMark: MARK,
    maxBufferedAmount: BOUND,
    overflow,
  });
  await roundTrips(target.port); // warms up
  const alone = await usual(target.port);
  const before = await target.stats();
  const peers = await Promise.all(
    Array.from(
      { length: CLIENTS },
      () => RawPeer.open(target.port, `/offer/${OFFERED}`),
    ),
  );
  // Until then their kernels take some megabytes each, which is work.
  if (isFull) await delay(2_000);
  const beside = await usual(target.port);
  const after = await target.settled(({ clients }) => clients === 0);
  // What may wait for one: the bound, and a message that is under way.
  const allowed = CLIENTS * (BOUND + (isFull ? 262_144 : 65_536)) / 1024 / 1024;
  const grown = after.peakRss - before.rss;
  verdict.note("round trips alone ", shown(alone));
  verdict.note("round trips beside", shown(beside));
  verdict.note("ends", after.ends);
  verdict.note("messages dropped", after.dropped);
  verdict.note(
    "memory before, at most, now",
    [before.rss, after.peakRss, after.rss].map(mib).join(", "),
  );
  verdict.claim(
    `memory grows by less than the sum of the bounds, ${
      mib(allowed)
    }, and what V8 lets lie, ${mib(GARBAGE)}`,
    grown < allowed + GARBAGE,
  );
  if (isFull) {
    verdict.claim(
      "p99 of the others is within twice what it is alone, or 10 ms",
      percentile(beside, 0.99) < Math.max(2 * percentile(alone, 0.99), 10),
    );
  }
  const cause = overflow === "terminate" ? "backpressure" : "timeout";
  verdict.claim(
    "each of them is cut off, for what it did",
    after.ends[`disconnect 1006 ${cause}`] === CLIENTS,
  );
  verdict.claim(
    "nobody else is",
    sum(after.ends) === after.connects && after.clients === 0,
  );
  for (const peer of peers) peer.close();
}
verdict.finish();
