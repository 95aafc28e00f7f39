/**
 * One hostile peer beside a healthy one: how long the server's event loop stands
 * still at most, how much memory it takes, and how long the healthy peer waits. What it
 * claims is the median of the later rounds, as others use this machine, too.
 *
 *     deno run --allow-all trials/flood.ts [seconds] [name of one attack]
 */

import { deadline, delay } from "@std/async";
import { Program } from "../tests/support/program.ts";
import { frame, RawPeer } from "../tests/support/raw_peer.ts";
import { type Attack, ATTACKS, drain } from "./attacks.ts";
import type { Lag } from "./flood_server.ts";
import { argument, mib, percentile, Verdict } from "./support.ts";

const SECONDS = argument(0, 3);
const ONLY = Deno.args[1];
/** How often each attack is made. */
const ROUNDS = 4;
/** The longest that the loop may stand still, in milliseconds. */
const MAX_STALL = 50;

/** Round trips of a peer that does nothing wrong, until it is stopped. */
async function beHealthy(port: number, signal: AbortSignal): Promise<number[]> {
  using peer = await RawPeer.open(port, "/healthy");
  const message = frame(1, "hello");
  const took: number[] = [];
  while (!signal.aborted) {
    const start = performance.now();
    await peer.write(message);
    await peer.receive();
    took.push(performance.now() - start);
    await delay(2);
  }
  return took;
}

async function attack(port: number, attack: Attack): Promise<boolean> {
  const protocol = attack.plain ? undefined : "events.v1";
  using peer = await RawPeer.open(port, "/", protocol);
  let isEnded = false;
  const reading = attack.reads === false
    ? undefined
    : drain(peer).then(() => isEnded = true);
  const end = performance.now() + SECONDS * 1000;
  if (attack.first) await peer.write(attack.first);
  while (performance.now() < end && !isEnded) {
    if (!attack.again) await delay(10);
    else if (!await deadline(peer.write(attack.again), 30_000)) break;
  }
  const wasEnded = isEnded || performance.now() < end;
  peer.close();
  await reading;
  return wasEnded;
}

const verdict = new Verdict();
let quiet = NaN;
for (const one of ATTACKS) {
  if (ONLY !== undefined && one.name !== ONLY && one.name !== "nothing") {
    continue;
  }
  await using program = new Program([
    "run",
    "--allow-all",
    "trials/flood_server.ts",
    JSON.stringify(one.options ?? {}),
  ]);
  const port = Number.parseInt(await program.line(""));
  const members = await Promise.all(
    Array.from({ length: 30 }, () => RawPeer.open(port, "/member")),
  );
  const draining = members.map(drain);
  const lag = async (): Promise<Lag> =>
    (await fetch(`http://127.0.0.1:${port}/lag`)).json();
  const stalls: number[] = [];
  const trips: number[] = [];
  let peak = 0;
  console.log(`${one.name}:`);
  // The first time, the engine compiles the code that the attack needs.
  for (let round = 0; round < ROUNDS; round++) {
    const stop = new AbortController();
    const healthy = beHealthy(port, stop.signal);
    await delay(500);
    await lag();
    const wasEnded = await attack(port, one);
    await delay(500);
    stop.abort();
    const took = await healthy;
    const { stall, rss, messages, errors, ends } = await lag();
    stalls.push(stall);
    peak = Math.max(peak, rss);
    if (round > 0) trips.push(...took);
    if (round < ROUNDS - 1) continue;
    const sorted = trips.sort((a, b) => a - b);
    const p99 = percentile(sorted, 0.99);
    if (one.name === "nothing") quiet = p99;
    verdict.note(
      "healthy p50, p99",
      `${percentile(sorted, 0.5).toFixed(1)}, ${p99.toFixed(1)} ms (${
        (p99 / quiet).toFixed(1)
      } x)`,
    );
    verdict.note("messages, lines of errors", [messages, errors]);
    verdict.note("ends", wasEnded ? ends : "none");
  }
  const [first = 0, ...later] = stalls;
  later.sort((a, b) => a - b);
  const usual = percentile(later, 0.5);
  verdict.note(
    "longest stall",
    `${usual.toFixed(0)} ms (at first ${first.toFixed(0)}, at most ${
      Math.max(...stalls).toFixed(0)
    })`,
  );
  verdict.note("peak memory", mib(peak));
  if (one.work) verdict.note("the work is done by", one.work);
  else verdict.claim(`no stall over ${MAX_STALL} ms`, usual <= MAX_STALL);
  for (const member of members) member.close();
  await Promise.all(draining);
}
verdict.finish();
