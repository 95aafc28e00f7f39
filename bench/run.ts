/**
 * What this library costs over the bare runtime, and what a request costs beside one
 * of socket.io, in CPU time and memory of the server's process.
 *
 *     deno task bench [rounds] [part of a name]
 *
 * Each server runs fresh for each measurement, in turn, pinned to one core where
 * `taskset` is there; the load comes from this process, over raw TCP, with frames
 * that are made once. The ratio is taken round by round. Linux only: the figures
 * are the kernel's, from `/proc`.
 */

import { delay } from "@std/async";
import { Program } from "../tests/support/program.ts";
import { frame, RawPeer } from "../tests/support/raw_peer.ts";
import { batchTexts, credit } from "../core/frames.ts";
import { findRuntime } from "../tests/support/runtimes.ts";

const ROUNDS = Number(Deno.args[0] ?? 5);
/** Part of the name of what is to be measured; all by default. */
const only = Deno.args[1];
const CONNECTIONS = 64;
const DEPTH = 8;
const MESSAGES = 400_000;
const AUDIENCE = 1_000;
const BROADCASTS = 200;
const HANDSHAKES = 8_000;
const IDLE = 2_000;

const PAIRS = 200_000;
const BURSTS = 50;

const TEXT = '{"type":"chat","text":"hello there, how are you doing?","n":123}';

/** A server's process. */
class Target implements AsyncDisposable {
  private constructor(
    readonly program: Program,
    readonly port: number,
    /** Whether it is asked for what only this library has. */
    readonly speaksEvents: boolean,
  ) {}

  static async start(side: Side): Promise<Target> {
    const own = COMMANDS[side];
    const all = canPin ? ["taskset", "-c", "0", ...own] : own;
    const [command = "", ...args] = all;
    const program = new Program(args, { command });
    const port = Number(await program.line(""));
    return new Target(program, port, side === "ours");
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

/** What a load sends again and again, and how many bytes answer it. */
interface Round {
  readonly peers: readonly RawPeer[];
  readonly bytes: Uint8Array;
  readonly expected: number;
  /** How many messages, or pairs of them, it is. */
  readonly units: number;
}

/** Sends it until so many units are done, and gives the cost of one. */
async function repeat(
  target: Target,
  { peers, bytes, expected, units }: Round,
  total: number,
): Promise<number> {
  const run = (total: number) =>
    Promise.all(peers.map(async ({ tcp }) => {
      const buffer = new Uint8Array(65_536);
      for (let i = 0; i < total / peers.length / units; i++) {
        await tcp.write(bytes);
        for (let got = 0; got < expected;) {
          got += await tcp.read(buffer) ?? expected;
        }
      }
    }));
  await run(total / 4); // warms the server up
  const before = target.cpu();
  await run(total);
  const cost = (target.cpu() - before) / total;
  for (const peer of peers) peer.close();
  return cost;
}

/** One after the other, as bytes. */
function joined(frames: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(frames.flatMap((bytes) => [...bytes]));
}

/** How many bytes a server's frame of a text takes. */
function sizeOf(text: string): number {
  return text.length + (text.length < 126 ? 2 : 4);
}

/** As many texts as are sent in one turn. */
const BURST = Array.from({ length: DEPTH }, () => TEXT);

/** The same in one frame of `events.v1`. */
const PACKED = batchTexts(BURST);

async function echo(target: Target): Promise<number> {
  const peers = await open(target, CONNECTIONS);
  const bytes = joined(BURST.map((text) => frame(1, text)));
  const expected = sizeOf(TEXT) * DEPTH;
  return repeat(target, { peers, bytes, expected, units: DEPTH }, MESSAGES);
}

/** One message after the other, where those that are sent together would wait. */
async function lone(target: Target): Promise<number> {
  const protocol = target.speaksEvents ? "events.v1" : undefined;
  const peers = await open(target, CONNECTIONS, protocol);
  const bytes = frame(1, TEXT);
  const expected = sizeOf(TEXT);
  return repeat(target, { peers, bytes, expected, units: 1 }, MESSAGES);
}

async function burst(target: Target): Promise<number> {
  if (!target.speaksEvents) return echo(target);
  const peers = await open(target, CONNECTIONS, "events.v1");
  const bytes = frame(1, PACKED);
  const expected = sizeOf(PACKED);
  return repeat(target, { peers, bytes, expected, units: DEPTH }, MESSAGES);
}

/** What one sends to all goes to each of the others, who take it at once. */
async function broadcast(target: Target): Promise<number> {
  const peers = await open(target, AUDIENCE);
  const sender = await RawPeer.open(target.port, "/all");
  return spreadOut(target, peers, sender, [frame(1, TEXT)], sizeOf(TEXT));
}

async function burstToAll(target: Target): Promise<number> {
  const { speaksEvents } = target;
  const protocol = speaksEvents ? "events.v1" : undefined;
  const peers = await open(target, AUDIENCE, protocol);
  const sender = await RawPeer.open(target.port, "/all", protocol);
  const frames = speaksEvents
    ? [frame(1, PACKED)]
    : BURST.map((text) => frame(1, text));
  const size = speaksEvents ? sizeOf(PACKED) : sizeOf(TEXT) * DEPTH;
  const cost = await spreadOut(target, peers, sender, frames, size, BURSTS);
  return cost / DEPTH;
}

async function spreadOut(
  target: Target,
  peers: readonly RawPeer[],
  sender: RawPeer,
  frames: readonly Uint8Array[],
  size: number,
  times: number = BROADCASTS,
): Promise<number> {
  const bytes = joined(frames);
  const run = async (count: number) => {
    const all = Promise.all(peers.map(async ({ tcp }) => {
      const buffer = new Uint8Array(16_384);
      for (let got = 0; got < size * count;) {
        got += await tcp.read(buffer) ?? Infinity;
      }
    }));
    for (let i = 0; i < count; i++) await sender.write(bytes);
    await all;
  };
  await run(Math.ceil(times / 4));
  const before = target.cpu();
  await run(times);
  const cost = (target.cpu() - before) / times / AUDIENCE;
  for (const peer of [sender, ...peers]) peer.close();
  return cost;
}

/** Asks so many in one turn; each is answered with what it has asked. */
async function ask(target: Target): Promise<number> {
  const ids = Array.from({ length: DEPTH }, (_, i) => i + 1);
  if (target.speaksEvents) {
    const peers = await open(target, CONNECTIONS, "events.v1");
    const asked = ids.map((id) => `\u0001?${id},${TEXT}`);
    const answers = ids.map((id) => `\u0001!${id},${TEXT}`);
    const bytes = frame(1, batchTexts(asked));
    const expected = sizeOf(batchTexts(answers));
    return repeat(target, { peers, bytes, expected, units: DEPTH }, PAIRS);
  }
  const peers: RawPeer[] = [];
  for (let i = 0; i < CONNECTIONS; i++) {
    const path = "/socket.io/?EIO=4&transport=websocket";
    const peer = await RawPeer.open(target.port, path);
    await peer.receive(); // its handshake
    await peer.write(frame(1, "40"));
    await peer.receive();
    peers.push(peer);
  }
  const asked = ids.map((id) => `42${id}["ask",${TEXT}]`);
  const answers = ids.map((id) => `43${id}[${TEXT}]`);
  const bytes = joined(asked.map((text) => frame(1, text)));
  const expected = answers.reduce((sum, text) => sum + sizeOf(text), 0);
  return repeat(target, { peers, bytes, expected, units: DEPTH }, PAIRS);
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

async function open(
  { port }: Target,
  count: number,
  protocol?: string,
): Promise<RawPeer[]> {
  const peers: RawPeer[] = [];
  for (let i = 0; i < count; i++) {
    const peer = await RawPeer.open(port, "/", protocol);
    // It takes all that comes.
    if (protocol) await peer.write(frame(1, credit(Number.MAX_SAFE_INTEGER)));
    peers.push(peer);
  }
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

const deno = [Deno.execPath(), "run", "--allow-net"];

/** What is measured, and how it is started. */
const COMMANDS = {
  bare: [...deno, "bench/bare.ts"],
  ours: [...deno, "bench/ours.ts"],
  socketIo: [await findRuntime("node") ?? "node", "bench/socket_io.mjs"],
} as const;

type Side = keyof typeof COMMANDS;

const NAMES: Record<Side, string> = {
  bare: "bare runtime",
  ours: "@ws/events",
  socketIo: "socket.io",
};

type Measure = (target: Target) => Promise<number>;

const WORK: [name: string, unit: string, measure: Measure, other: Side][] = [
  ["echo of 64 bytes", "us of CPU a message", echo, "bare"],
  ["echo, one at a time, by events.v1", "us of CPU a message", lone, "bare"],
  ["echo in bursts of 8", "us of CPU a message", burst, "bare"],
  ["broadcast to 1,000", "us of CPU a delivery", broadcast, "bare"],
  ["the same in bursts of 8", "us of CPU a delivery", burstToAll, "bare"],
  ["request and answer", "us of CPU a pair", ask, "socketIo"],
  ["handshake and close", "us of CPU a connection", handshakes, "bare"],
  ["idle connection", "KiB of memory", idle, "bare"],
];

function spread(values: number[], digits: number): string {
  const sorted = values.toSorted((a, b) => a - b);
  const show = (i: number) => (sorted[i] ?? NaN).toFixed(digits);
  const middle = show(Math.floor(sorted.length / 2));
  return `${middle} (${show(0)} to ${show(sorted.length - 1)})`;
}

/** Installs what is measured beside this library. */
async function install(): Promise<void> {
  const { success } = await new Deno.Command("npm", {
    args: ["install", "--prefix", ".runtimes", "--no-save", "socket.io@4.8.4"],
    stdout: "null",
    stderr: "null",
  }).output();
  if (!success) throw new Error("Cannot install socket.io: is npm there?");
}

await install();
console.log(
  `Deno ${Deno.version.deno}, V8 ${Deno.version.v8}, socket.io 4.8.4, ${navigator.hardwareConcurrency} cores, ${ROUNDS} rounds, ${
    canPin ? "server pinned to core 0" : "nothing pinned"
  }`,
);
console.log("median (least to most)\n");
for (const [name, unit, measure, other] of WORK) {
  if (only && !name.includes(only)) continue;
  const order = [other, "ours"] as const;
  const costs: Record<string, number[]> = { [other]: [], ours: [] };
  for (let round = 0; round < ROUNDS; round++) {
    for (const side of Math.random() < 0.5 ? order : order.toReversed()) {
      await using target = await Target.start(side);
      costs[side]?.push(await measure(target));
    }
  }
  const { [other]: theirs = [], ours = [] } = costs;
  const ratios = ours.map((cost, i) => cost / (theirs[i] ?? NaN));
  console.log(`${name}, ${unit}`);
  console.log(`  ${NAMES[other].padEnd(13)} ${spread(theirs, 2)}`);
  console.log(`  ${NAMES.ours.padEnd(13)} ${spread(ours, 2)}`);
  console.log(`  ratio         ${spread(ratios, 2)}`);
}
Deno.exit(); // the runtime's own sockets may still be on their way out
