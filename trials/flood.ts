/**
 * One hostile peer beside a healthy one: how long the server's event loop stands
 * still at most, how much memory it takes, and how long the healthy peer waits. A second
 * healthy peer talks to a server that nobody attacks, which shows what the machine
 * contributes. The attacker and the room that hears it run with a lower priority, as they
 * would on other machines. What it claims is the median of the later rounds, as others use
 * this machine, too.
 *
 *     deno run --allow-all trials/flood.ts [seconds] [name of one attack]
 */

import { delay } from "@std/async";
import { Program } from "../tests/support/program.ts";
import { frame, RawPeer } from "../tests/support/raw_peer.ts";
import { ATTACKS } from "./attacks.ts";
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

/** Starts a program that gives way to the server and to those who measure. */
function inBackground(args: string[]): Program {
  const command = Deno.build.os === "windows" ? undefined : "nice";
  return command
    ? new Program(["-n", "10", Deno.execPath(), ...args], { command })
    : new Program(args);
}

function startServer(options: Record<string, unknown> = {}): Program {
  return new Program([
    "run",
    "--allow-all",
    "trials/flood_server.ts",
    JSON.stringify(options),
  ]);
}

const verdict = new Verdict();
// Nobody attacks this one: what its peer waits for is not the attacked server.
await using other = startServer();
const otherPort = Number.parseInt(await other.line(""));
for (const one of ATTACKS) {
  if (ONLY !== undefined && one.name !== ONLY && one.name !== "nothing") {
    continue;
  }
  await using program = startServer(one.options);
  const port = Number.parseInt(await program.line(""));
  await using peers = inBackground([
    "run",
    "--allow-net",
    "trials/flood_peers.ts",
    `${port}`,
    one.name,
    `${SECONDS}`,
  ]);
  await peers.line("ready");
  const lag = async (): Promise<Lag> =>
    (await fetch(`http://127.0.0.1:${port}/lag`)).json();
  const stalls: number[] = [];
  const trips: number[] = [];
  const otherTrips: number[] = [];
  let peak = 0;
  console.log(`${one.name}:`);
  // The first time, the engine compiles the code that the attack needs.
  for (let round = 0; round < ROUNDS; round++) {
    const stop = new AbortController();
    const healthy = beHealthy(port, stop.signal);
    const unaffected = beHealthy(otherPort, stop.signal);
    await delay(500);
    await lag();
    await peers.write("attack");
    const wasEnded = await peers.line("ended ") === "true";
    await delay(500);
    stop.abort();
    const took = await healthy;
    const otherTook = await unaffected;
    const { stall, rss, messages, errors, ends } = await lag();
    stalls.push(stall);
    peak = Math.max(peak, rss);
    if (round > 0) {
      trips.push(...took);
      otherTrips.push(...otherTook);
    }
    if (round < ROUNDS - 1) continue;
    const p99 = p99Of(trips);
    const otherP99 = p99Of(otherTrips);
    verdict.note(
      "p99 of a healthy peer, and of one of a server that is not attacked",
      `${p99.toFixed(1)}, ${otherP99.toFixed(1)} ms (${
        (p99 / otherP99).toFixed(1)
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
}
verdict.finish();

function p99Of(times: number[]): number {
  return percentile(times.sort((a, b) => a - b), 0.99);
}
