/**
 * A ticker of 1,000 updates a second to a client that is slower than that: for how long
 * values were out of date when the client handled them.
 *
 *     deno run --allow-all trials/ticker.ts [seconds]
 */

import { delay } from "@std/async";
import { ClientSocket, type Connection, ServerSocket } from "@ws/events";
import { Program } from "../tests/support/program.ts";
import { argument, Verdict } from "./support.ts";

/** A value, and after how many milliseconds the next one with its key is sent. */
interface Update {
  readonly key: string;
  readonly at: number;
  readonly period: number;
}

interface Result {
  readonly handled: number;
  /** The age of the oldest value when its handler began, in milliseconds. */
  readonly oldest: number;
  /** For how long the worst one had been replaced by then, in milliseconds. */
  readonly stalest: number;
}

interface Run {
  readonly by: "send" | "broadcast";
  readonly keys: number;
  readonly listener: "waits" | "blocks";
  readonly ms: number;
  readonly seconds: number;
}

/** Of a shorter run the clock says nothing. */
const FULL_SECONDS = 5;

if (Deno.args[0] === "client") {
  await runClient(JSON.parse(Deno.args[1] ?? ""), Deno.args[2] ?? "");
} else await runTrial();

async function runClient(
  { listener, ms, seconds }: Run,
  url: string,
): Promise<void> {
  const client = new ClientSocket<{ incoming: Update }>(
    listener === "waits" ? { concurrency: 1 } : {},
  );
  let handled = 0;
  let oldest = 0;
  let stalest = 0;
  const end = Date.now() + seconds * 1_000;
  client.on("message", ({ data: { at, period } }) => {
    if (Date.now() > end) return void client.close();
    const age = Date.now() - at;
    handled++;
    oldest = Math.max(oldest, age);
    stalest = Math.max(stalest, age - period);
    if (listener === "waits") return delay(ms);
    for (const until = performance.now() + ms; performance.now() < until;);
    return undefined;
  });
  await client.connect(url);
  await client.waitFor("close");
  const result: Result = { handled, oldest, stalest };
  console.log(JSON.stringify(result));
}

async function measure(run: Run): Promise<Result> {
  await using server = new ServerSocket();
  server.on("connect", (client) => client.join("prices"));
  const connected = server.waitFor("connect");
  await server.listen("127.0.0.1", 0);
  const args = ["client", JSON.stringify(run), server.url];
  await using program = new Program([
    "run",
    "--allow-net",
    "trials/ticker.ts",
    ...args,
  ]);
  const [client] = await connected;
  await send(run, server, client);
  return JSON.parse(await program.line(""));
}

/** Sends 1,000 updates a second, to one key after the other. */
async function send(
  { by, keys }: Run,
  server: ServerSocket,
  client: Connection,
): Promise<void> {
  const start = performance.now();
  for (let sent = 0; client.readyState === 1;) {
    await delay(1);
    for (; sent < performance.now() - start; sent++) {
      const key = `${sent % keys}`;
      const update: Update = { key, at: Date.now(), period: keys };
      const options = { overflow: "latest", key } as const;
      if (by === "send") client.send(update, options);
      else server.to("prices").send(update, options);
    }
  }
}

async function runTrial(): Promise<void> {
  const seconds = argument(0, 10);
  const verdict = new Verdict();
  console.log(`ticker: 1,000 updates a second for ${seconds} s`);
  for (const by of ["send", "broadcast"] as const) {
    for (const keys of [1, 1_000]) {
      for (const ms of seconds < FULL_SECONDS ? [25] : [25, 100]) {
        for (const listener of ["waits", "blocks"] as const) {
          const run = { by, keys, listener, ms, seconds };
          const { handled, oldest, stalest } = await measure(run);
          const name =
            `${by}, ${keys} keys, a listener that ${listener} ${ms} ms`;
          verdict.note(
            name,
            `${handled} handled, the oldest ${oldest} ms old, replaced for ${
              Math.max(0, stalest)
            } ms`,
          );
          // A loaded machine adds to the round trip.
          const isFresh = stalest <= 2 * ms + 100;
          if (seconds >= FULL_SECONDS) {
            verdict.claim("no value is out of date", isFresh);
          }
        }
      }
    }
  }
  verdict.finish();
}
