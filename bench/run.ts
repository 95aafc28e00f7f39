/**
 * What this library costs over the bare runtime, in CPU time and memory of the
 * server's process.
 *
 *     deno task bench [rounds]
 *
 * Each server runs fresh for each measurement, in turn, pinned to one core where
 * `taskset` is there; the load comes from this process, over raw TCP, with frames
 * that are made once. The ratio is taken round by round. Linux only: the figures
 * are the kernel's, from `/proc`.
 */

import { delay } from "@std/async";
import { Program } from "../tests/support/program.ts";
import { frame, RawPeer } from "../tests/support/raw_peer.ts";

const ROUNDS = Number(Deno.args[0] ?? 5);
const CONNECTIONS = 64;
const DEPTH = 8;
const MESSAGES = 400_000;
const AUDIENCE = 1_000;
const BROADCASTS = 200;
const HANDSHAKES = 8_000;
const IDLE = 2_000;

const TEXT = '{"type":"chat","text":"hello there, how are you doing?","n":123}';

/** A server's process. */
class Target implements AsyncDisposable {
  private constructor(readonly program: Program, readonly port: number) {}

  static async start(script: string): Promise<Target> {
    const deno = [Deno.execPath(), "run", "--allow-net", `bench/${script}`];
    const all = canPin ? ["taskset", "-c", "0", ...deno] : deno;
    const [command = "", ...args] = all;
    const program = new Program(args, { command });
    return new Target(program, Number(await program.line("")));
  }

  /** The CPU time so far, in microseconds. */
  cpu(): number {
    const stat = Deno.readTextFileSync(`/proc/${this.program.pid}/stat`);
    const [user = 0, system = 0] = stat.slice(stat.lastIndexOf(")") + 2)
      .split(" ").slice(11, 13).map(Number);
    return (user + system) * 10_000; // ticks of a hundredth of a second
  }

  /** The memory that it holds, in KiB. */
  memory(): number {
    const status = Deno.readTextFileSync(`/proc/${this.program.pid}/status`);
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.program[Symbol.asyncDispose]();
  }
}

async function echo(target: Target): Promise<number> {
  const one = frame(1, TEXT);
  const batch = new Uint8Array(one.length * DEPTH);
  for (let i = 0; i < DEPTH; i++) batch.set(one, i * one.length);
  const expected = (TEXT.length + 2) * DEPTH;
  const peers = await open(target, CONNECTIONS);
  const run = (messages: number) =>
    Promise.all(peers.map(async ({ tcp }) => {
      const buffer = new Uint8Array(65_536);
      for (let i = 0; i < messages / CONNECTIONS / DEPTH; i++) {
        await tcp.write(batch);
        for (let got = 0; got < expected;) {
          got += await tcp.read(buffer) ?? expected;
        }
      }
    }));
  await run(MESSAGES / 4); // warms the server up
  const before = target.cpu();
  await run(MESSAGES);
  const cost = (target.cpu() - before) / MESSAGES;
  for (const peer of peers) peer.close();
  return cost;
}

/** What one sends to all goes to each of the others, who take it at once. */
async function broadcast(target: Target): Promise<number> {
  const peers = await open(target, AUDIENCE);
  const sender = await RawPeer.open(target.port, "/all");
  const one = frame(1, TEXT);
  const size = TEXT.length + 2;
  const run = async (count: number) => {
    const all = Promise.all(peers.map(async ({ tcp }) => {
      const buffer = new Uint8Array(16_384);
      for (let got = 0; got < size * count;) {
        got += await tcp.read(buffer) ?? Infinity;
      }
    }));
    for (let i = 0; i < count; i++) await sender.write(one);
    await all;
  };
  await run(BROADCASTS / 4);
  const before = target.cpu();
  await run(BROADCASTS);
  const cost = (target.cpu() - before) / BROADCASTS / AUDIENCE;
  for (const peer of [sender, ...peers]) peer.close();
  return cost;
}

async function handshakes(target: Target): Promise<number> {
  const close = frame(8, [3, 232]);
  const run = (count: number) =>
    Promise.all(Array.from({ length: 8 }, async () => {
      for (let i = 0; i < count / 8; i++) {
        using peer = await RawPeer.open(target.port);
        await peer.write(close);
        await peer.end();
      }
    }));
  await run(HANDSHAKES / 4);
  const before = target.cpu();
  await run(HANDSHAKES);
  return (target.cpu() - before) / HANDSHAKES;
}

async function idle(target: Target): Promise<number> {
  const first = await open(target, IDLE / 4);
  await delay(1_000);
  const before = target.memory();
  const rest = await open(target, IDLE);
  await delay(1_000);
  const cost = (target.memory() - before) / IDLE;
  for (const peer of [...first, ...rest]) peer.close();
  return cost;
}

async function open(target: Target, count: number): Promise<RawPeer[]> {
  const peers: RawPeer[] = [];
  for (let i = 0; i < count; i++) peers.push(await RawPeer.open(target.port));
  return peers;
}

function isThere(command: string): boolean {
  try {
    return new Deno.Command(command, { args: ["--version"] }).outputSync()
      .success;
  } catch {
    return false;
  }
}

const canPin = isThere("taskset");

const WORK: [string, string, (target: Target) => Promise<number>][] = [
  ["echo of 64 bytes", "us of CPU a message", echo],
  ["broadcast to 1,000", "us of CPU a delivery", broadcast],
  ["handshake and close", "us of CPU a connection", handshakes],
  ["idle connection", "KiB of memory", idle],
];

function spread(values: number[], digits: number): string {
  const sorted = values.toSorted((a, b) => a - b);
  const show = (i: number) => (sorted[i] ?? NaN).toFixed(digits);
  const middle = show(Math.floor(sorted.length / 2));
  return `${middle} (${show(0)} to ${show(sorted.length - 1)})`;
}

console.log(
  `Deno ${Deno.version.deno}, V8 ${Deno.version.v8}, ${navigator.hardwareConcurrency} cores, ${ROUNDS} rounds, ${
    canPin ? "server pinned to core 0" : "nothing pinned"
  }`,
);
console.log("median (least to most)\n");
for (const [name, unit, measure] of WORK) {
  const costs = { bare: [] as number[], ours: [] as number[] };
  for (let round = 0; round < ROUNDS; round++) {
    const order = ["bare", "ours"] as const;
    for (const side of Math.random() < 0.5 ? order : order.toReversed()) {
      await using target = await Target.start(`${side}.ts`);
      costs[side].push(await measure(target));
    }
  }
  const ratios = costs.ours.map((cost, i) => cost / (costs.bare[i] ?? NaN));
  console.log(`${name}, ${unit}`);
  console.log(`  bare runtime  ${spread(costs.bare, 2)}`);
  console.log(`  @ws/events    ${spread(costs.ours, 2)}`);
  console.log(`  ratio         ${spread(ratios, 2)}`);
}
Deno.exit(); // the runtime's own sockets may still be on their way out
