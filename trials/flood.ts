/**
 * One hostile peer beside a healthy one: how long the server's event loop stands
 * still at most, how much memory it takes, and how long the healthy peer waits.
 *
 *     deno run --allow-all trials/flood.ts [seconds] [name of one attack]
 */

import { deadline, delay } from "@std/async";
import {
  encodeAddressed,
  encodePing,
  encodeTextBatch,
} from "../core/protocol/frames.ts";
import { Program } from "../tests/support/program.ts";
import { closeFrame, frame, RawPeer } from "../tests/support/raw_peer.ts";
import type { Lag } from "./flood_server.ts";
import { argument, mib, percentile, Verdict } from "./support.ts";

const SECONDS = argument(0, 3);
const ONLY = Deno.args[1];
/** The longest that the loop may stand still, in milliseconds. */
const MAX_STALL = 50;

/** What a peer does, until the server ends it or its time is over. */
interface Attack {
  readonly name: string;
  /** What it sends, again and again; the first is sent once. */
  readonly first?: Uint8Array;
  readonly again?: Uint8Array;
  readonly plain?: boolean;
  readonly options?: Record<string, unknown>;
  /** Whether it reads what the server sends. */
  readonly reads?: boolean;
}

/** A frame of any size. */
function large(opcode: number, bytes: Uint8Array): Uint8Array {
  if (bytes.length < 65_536) return frame(opcode, bytes);
  const all = new Uint8Array(14 + bytes.length);
  all.set([0x80 | opcode, 0x80 | 127]);
  new DataView(all.buffer).setBigUint64(2, BigInt(bytes.length));
  all.set(bytes, 14); // the mask is 0
  return all;
}

const encoder = new TextEncoder();
const text = (content: string) => large(1, encoder.encode(content));

/** The same, many times in a row. */
function repeat(bytes: Uint8Array, count: number): Uint8Array {
  const all = new Uint8Array(bytes.length * count);
  for (let i = 0; i < count; i++) all.set(bytes, i * bytes.length);
  return all;
}

const MIB = 1024 * 1024;
const numbers = `[${Array(200_000).fill("1").join()}]`;
const batchOf = (count: number) =>
  text(encodeTextBatch(Array.from({ length: count }, () => "x")));

const ATTACKS: readonly Attack[] = [
  { name: "nothing" },
  { name: "one batch of 32,766", first: batchOf(32_766) },
  { name: "one batch of 1,024", first: batchOf(1_024) },
  { name: "batches of 1,024", again: batchOf(1_024) },
  {
    name: "batches of 1,024, one after the other",
    again: batchOf(1_024),
    options: { concurrency: 1 },
  },
  { name: "small messages", again: repeat(frame(1, "x"), 10_000) },
  {
    name: "small messages, plain",
    plain: true,
    again: repeat(frame(1, "x"), 10_000),
  },
  { name: "empty frames", plain: true, again: repeat(frame(2), 10_000) },
  {
    name: "empty frames, dropped",
    plain: true,
    again: repeat(frame(2), 10_000),
    options: { messageRate: { perSecond: 100, burst: 100, policy: "drop" } },
  },
  { name: "pings of RFC 6455", again: repeat(frame(9), 10_000) },
  { name: "pongs of RFC 6455", again: repeat(frame(10), 10_000) },
  {
    name: "pings of events.v1",
    again: repeat(text(encodePing("ping", "x")), 5_000),
  },
  {
    name: "pongs of events.v1",
    again: repeat(text(encodePing("pong", "x")), 5_000),
  },
  { name: "unknown kinds", again: repeat(text("\u0001z"), 10_000) },
  {
    name: "requests without end",
    again: repeat(text(`${encodeAddressed("request", 1, "x")}`), 5_000),
  },
  { name: "too large frames", again: large(2, new Uint8Array(4 * MIB)) },
  { name: "the largest messages", again: large(2, new Uint8Array(MIB)) },
  {
    name: "wrong numbers, in requests",
    again: text(`${encodeAddressed("request", 1, numbers)}`),
    options: { isChecked: true },
  },
  {
    name: "deep JSON, in requests",
    again: text(`${encodeAddressed("request", 1, "[".repeat(MIB - 100))}`),
  },
  {
    name: "a close amid messages",
    again: new Uint8Array([
      ...repeat(frame(1, "x"), 5_000),
      ...closeFrame(1000, "bye"),
      ...repeat(frame(1, "x"), 5_000),
    ]),
  },
];

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
  return took.sort((a, b) => a - b);
}

/** Reads and forgets. */
async function drain(peer: RawPeer): Promise<void> {
  const chunk = new Uint8Array(65_536);
  try {
    while (await peer.tcp.read(chunk) !== null);
  } catch {
    // It was cut.
  }
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
  const stop = new AbortController();
  const healthy = beHealthy(port, stop.signal);
  await delay(500);
  await lag();
  const wasEnded = await attack(port, one);
  await delay(500);
  stop.abort();
  const sorted = await healthy;
  const { stall, rss, messages, errors, ends } = await lag();
  const p99 = percentile(sorted, 0.99);
  if (one.name === "nothing") quiet = p99;
  console.log(`${one.name}:`);
  verdict.note("longest stall", `${stall.toFixed(0)} ms`);
  verdict.note("peak memory", mib(rss));
  verdict.note(
    "healthy p50, p99",
    `${percentile(sorted, 0.5).toFixed(1)}, ${p99.toFixed(1)} ms (${
      (p99 / quiet).toFixed(1)
    } x)`,
  );
  verdict.note("messages, lines of errors", [messages, errors]);
  verdict.note("ends", wasEnded ? ends : "none");
  verdict.claim(`no stall over ${MAX_STALL} ms`, stall <= MAX_STALL);
  for (const member of members) member.close();
  await Promise.all(draining);
}
verdict.finish();
