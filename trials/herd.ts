/**
 * Many clients whose server is down, or refuses them: how often they knock, beside what
 * the backoff allows. What a client does to learn whether a server speaks `events.v1`
 * must not add to that.
 *
 *     deno run --allow-all trials/herd.ts [clients] [seconds]
 */

import { delay } from "@std/async";
import { ClientSocket } from "@ws/events";
import { backoff } from "../core/reconnect/retry_delay.ts";
import { type RawBehaviour, RawServer } from "../tests/support/raw_server.ts";
import { argument, Verdict } from "./support.ts";

const CLIENTS = argument(0, 1_000);
const SECONDS = argument(1, 20);

/** How often clients have tried, per client. */
interface Counts {
  /** Attempts: the first one, and one after each `reconnecting`. */
  readonly attempts: number;
  /** Handshakes that clients have begun. */
  readonly begun: number;
  /** Handshakes that have come to the server. */
  readonly seen: number;
  /** Clients that go on trying, of all. */
  readonly trying: number;
}

/** A socket that does not say why it failed, like that of a browser. */
class SilentWebSocket extends WebSocket {
  override addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | AddEventListenerOptions,
  ): void {
    const silent = () => {
      const event = new Event(type);
      if (typeof listener === "function") listener(event);
      else listener.handleEvent(event);
    };
    super.addEventListener(
      type,
      type === "error" ? silent : listener,
      options,
    );
  }
}

/** Lets many clients try to connect for a time, or until none does any more. */
async function run(
  url: string,
  seen: () => number,
  seconds: number | undefined,
  webSocket = {},
): Promise<Counts> {
  let begun = 0;
  let waits = 0;
  const settled: Promise<void>[] = [];
  const clients = Array.from({ length: CLIENTS }, () => {
    const client = new ClientSocket({ reconnect: true, webSocket });
    client.on("reconnecting", () => waits++);
    const connecting = client.connect(() => {
      begun++;
      return url;
    });
    settled.push(connecting.catch(() => {}));
    return client;
  });
  if (seconds === undefined) await Promise.all(settled);
  else await delay(seconds * 1_000);
  const waiting = clients.filter(({ state }) => state === "waiting").length;
  const trying = clients.filter(({ state }) => state !== "closed").length;
  const counts = {
    attempts: (CLIENTS + waits - waiting) / CLIENTS,
    begun: begun / CLIENTS,
    seen: seen() / CLIENTS,
    trying: trying / CLIENTS,
  };
  await Promise.all(clients.map((client) => client.close()));
  return counts;
}

/**
 * The most attempts that the backoff allows a client in that time on average, but for
 * chance: its mean, and four times the deviation of the mean of so many clients.
 */
function allowed(): number {
  const options = {
    initialDelay: 1_000,
    maxDelay: 30_000,
    maxAttempts: Infinity,
    maxDuration: Infinity,
  };
  const counts = Array.from({ length: 20_000 }, () => {
    const source = { random: Math.random, elapsed: () => 0 };
    let time = 0;
    let attempts = 1;
    for (const delay of backoff(options, source)) {
      time += delay;
      if (time > SECONDS * 1_000) break;
      attempts++;
    }
    return attempts;
  });
  const mean = (values: readonly number[]) =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  const average = mean(counts);
  const variance = mean(counts.map((count) => (count - average) ** 2));
  return average + 4 * Math.sqrt(variance / CLIENTS);
}

const verdict = new Verdict();
const most = allowed();
console.log(
  `herd: ${CLIENTS} clients, ${SECONDS} s; the backoff allows ${
    most.toFixed(2)
  } attempts a client`,
);

const silent = { WebSocket: SilentWebSocket };

/** What a client meets, and what it uses. */
const CASES: readonly (readonly [string, RawBehaviour | undefined, object])[] =
  [
    ["nobody listens", undefined, {}],
    ["the server hangs up", "down", {}],
    ["status 503", "status-503", {}],
    ["status 500", "status-500", {}],
    ["nobody listens, in a browser", undefined, silent],
    ["status 503, in a browser", "status-503", silent],
    ["status 401, in a browser", "status-401", silent],
  ];
/** Refusals for good, and how many handshakes they take. */
const FINAL: readonly (readonly [RawBehaviour, number])[] = [
  ["status-401", 1],
  ["status-403", 1],
  ["status-404", 1],
  // It may mean the subprotocols, so each client tries once without its own.
  ["status-400", 2],
];

for (const [what, behaviour, webSocket] of CASES) {
  await using server = new RawServer();
  const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  closed.close();
  const url = behaviour
    ? server.url(behaviour)
    : `ws://127.0.0.1:${closed.addr.port}`;
  const counts = await run(
    url,
    () => server.handshakes.length,
    SECONDS,
    webSocket,
  );
  verdict.note(what, show(counts));
  verdict.claim(
    `${what}: one handshake an attempt`,
    counts.begun <= counts.attempts,
  );
  verdict.claim(
    `${what}: no more attempts than the backoff allows`,
    counts.attempts <= most,
  );
  verdict.claim(`${what}: all go on`, counts.trying === 1);
}
for (const [behaviour, handshakes] of FINAL) {
  await using server = new RawServer();
  const counts = await run(
    server.url(behaviour),
    () => server.handshakes.length,
    undefined,
  );
  verdict.note(behaviour, show(counts));
  verdict.claim(
    `${behaviour}: ${handshakes} a client, and no more`,
    counts.seen === handshakes && counts.trying === 0,
  );
}
verdict.finish();

function show({ attempts, begun, seen, trying }: Counts): string {
  return `attempts ${attempts.toFixed(2)}, handshakes ${begun.toFixed(2)} (${
    seen.toFixed(2)
  } came), still trying ${(trying * 100).toFixed(0)} %`;
}
