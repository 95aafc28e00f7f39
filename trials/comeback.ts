/**
 * Many clients that lose their server at once, and come back: first when it is
 * killed, then when it restarts and says so. Shows when they try.
 *
 *     deno run --allow-all trials/comeback.ts [clients] [milliseconds without server]
 */

import { delay } from "@std/async";
import { ClientSocket } from "@ws/events/client";
import { argument, percentile, Target, times, Verdict } from "./support.ts";

const CLIENTS = argument(0, 1_000);
const DOWN = argument(1, 5_000);

/** What the clients do when their server is gone, and when they do it. */
class Observed {
  /** When each attempt was made, in milliseconds since the server was gone. */
  readonly attempts: number[] = [];
  /** The delay that each client has drawn first. */
  readonly first: number[] = [];
  /** When each client was back. */
  readonly backs: number[] = [];
  #start = performance.now();

  begin(): void {
    this.attempts.length = this.first.length = this.backs.length = 0;
    this.#start = performance.now();
  }

  get now(): number {
    return performance.now() - this.#start;
  }

  /** The most attempts within so many milliseconds. */
  crowd(span: number): number {
    const spans = Map.groupBy(this.attempts, (at) => Math.floor(at / span));
    return Math.max(...[...spans.values()].map(({ length }) => length));
  }

  /** A line for each moment: how many tried, and how many were back. */
  show(): void {
    const last = Math.max(...this.attempts, ...this.backs);
    const step = Math.ceil(last / 24 / 250) * 250;
    for (let from = 0; from <= last; from += step) {
      const count = (times: readonly number[]) =>
        times.filter((time) => time >= from && time < from + step).length;
      const [tried, back] = [count(this.attempts), count(this.backs)];
      const bar = "#".repeat(Math.ceil(tried / CLIENTS * 50));
      console.log(
        `  ${`${from}`.padStart(6)} ms: ${`${tried}`.padStart(5)} tried, ${
          `${back}`.padStart(5)
        } back  ${bar}`,
      );
    }
  }
}

const verdict = new Verdict();
console.log(`comeback: ${CLIENTS} clients, ${DOWN} ms without their server`);
let target = await Target.start({ idleTimeout: 60_000 });
const { port } = target;
const observed = new Observed();

const clients = Array.from({ length: CLIENTS }, () => {
  const client = new ClientSocket({ reconnect: { minUptime: 0 } });
  client.on("connect", () => observed.backs.push(observed.now));
  client.on("reconnecting", (attempt, delay) => {
    if (attempt === 1) observed.first.push(delay);
  });
  return client;
});

/** The URL is asked for at each attempt. */
const url = () => {
  observed.attempts.push(observed.now);
  return `ws://127.0.0.1:${port}`;
};
await times(CLIENTS, 50, async (i) => await clients[i]?.connect(url));

/** Waits until all are back, and gives what they have drawn first. */
async function allBack(): Promise<readonly number[]> {
  for (let i = 0; i < 600 && observed.backs.length < CLIENTS; i++) {
    await delay(100);
  }
  observed.show();
  const backs = observed.backs.toSorted((a, b) => a - b);
  const after = (part: number) => `${percentile(backs, part).toFixed(0)} ms`;
  verdict.note("most attempts in 250 ms", observed.crowd(250));
  verdict.note("half were back after", after(0.5));
  verdict.note("all were back after", after(1));
  const { clients: there, connects } = await target.stats();
  verdict.note("attempts a client", observed.attempts.length / CLIENTS);
  verdict.claim("all are back", there === CLIENTS);
  verdict.claim("each came back once", connects === CLIENTS);
  verdict.claim("each drew one first delay", observed.first.length === CLIENTS);
  return observed.first;
}

/** The largest part of all that has drawn the same tenth of a span. */
function crowd(delays: readonly number[], from: number, to: number): number {
  const tenths = Array<number>(10).fill(0);
  for (const delay of delays) {
    const tenth = Math.floor((delay - from) / (to - from) * 10);
    tenths[tenth] = (tenths[tenth] ?? 0) + 1;
  }
  return Math.max(...tenths) / delays.length;
}

console.log("  the server is killed, and started again");
observed.begin();
await target[Symbol.asyncDispose]();
await delay(DOWN);
target = await Target.start({ idleTimeout: 60_000 }, port);
const killed = await allBack();
verdict.claim("first delays below a second", Math.max(...killed) < 1_000);
verdict.claim(
  "no tenth of it is drawn by a fifth of them",
  crowd(killed, 0, 1_000) < 0.2,
);
verdict.claim(
  "attempts become rare: fewer than 8 a client and 5 seconds",
  observed.attempts.length / CLIENTS < 8 * Math.max(1, DOWN / 5_000),
);

console.log("  the server restarts, and asks for a second");
observed.begin();
await fetch(`http://127.0.0.1:${port}/restart`);
await target.program.exit();
await target[Symbol.asyncDispose]();
target = await Target.start({ idleTimeout: 60_000 }, port);
const asked = await allBack();
verdict.claim(
  "first delays from one second to three",
  Math.min(...asked) >= 1_000 && Math.max(...asked) < 3_000,
);
// Two delays add up: about the middle there are more, some 19 % in a tenth of it.
verdict.claim(
  "no fifth of a second is drawn by a third of them",
  crowd(asked, 1_000, 3_000) < 1 / 3,
);

await Promise.all(clients.map((client) => client.close()));
await target[Symbol.asyncDispose]();
verdict.finish();
