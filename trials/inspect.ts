/**
 * What the page of `inspect()` costs a server with many connections: nobody records,
 * nobody looks, somebody looks, and somebody searches and sorts.
 *
 *     deno run --allow-all trials/inspect.ts [connections] [seconds]
 *
 * Each connection takes a descriptor here and one in the server: `ulimit -n` has to
 * allow for them. It reads the server's CPU time from /proc, so it is for Linux.
 */

import { delay } from "@std/async";
import { RawPeer } from "../tests/support/raw_peer.ts";
import { argument, percentile, Target, times, Verdict } from "./support.ts";

const COUNT = argument(0, 10_000);
const SECONDS = argument(1, 20);

/** How often the page asks, in milliseconds. */
const EVERY = 2_000;

/** Linux counts CPU time in hundredths of a second. */
const TICKS = 100;

/** In a short run the ticks are too coarse. */
const isFull = COUNT >= 10_000 && SECONDS >= 10;

const verdict = new Verdict();
console.log(`inspect: ${COUNT} connections, ${SECONDS} seconds each way`);
await using target = await Target.start({ idleTimeout: 0 });

/** The CPU time that the server has taken, in seconds. */
async function cpuTime(): Promise<number> {
  const stat = await Deno.readTextFile(`/proc/${target.program.pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/** The share of a core that the server takes while somebody asks this, or nobody. */
async function share(what: string, query?: string): Promise<number> {
  const url = `http://127.0.0.1:${target.port}/inspect${query ?? ""}`;
  const waits: number[] = [];
  let bytes = 0;
  const before = await cpuTime();
  const start = performance.now();
  for (let at = 0; at < SECONDS * 1_000; at += EVERY) {
    await delay(Math.max(0, start + at - performance.now()));
    if (query === undefined) continue;
    const asked = performance.now();
    bytes = (await (await fetch(url)).bytes()).length;
    waits.push(performance.now() - asked);
  }
  await delay(Math.max(0, start + SECONDS * 1_000 - performance.now()));
  const part = (await cpuTime() - before) / SECONDS;
  waits.sort((a, b) => a - b);
  verdict.note(
    what,
    `${(part * 100).toFixed(2)} % of a core` +
      (query === undefined
        ? ""
        : `, an answer takes ${percentile(waits, 0.5).toFixed(1)} ms and ${
          (bytes / 1024).toFixed(0)
        } KiB`),
  );
  return part;
}

const peers: RawPeer[] = [];
await times(COUNT, 16, async (i) => {
  peers.push(await RawPeer.open(target.port, `/room/${i % 1_000}`));
});
await delay(EVERY); // what the handshakes have left behind

const nothing = await share("nobody records");
// The server begins to record when it is first asked.
const first = await fetch(`http://127.0.0.1:${target.port}/inspect`);
verdict.claim("the page is there", (await first.text()).includes("</html>"));
const idle = await share("nobody looks");
const looked = await share("somebody looks", "?state");
const searched = await share(
  "somebody searches and sorts",
  "?state&search=room&sort=-buffered",
);
if (isFull) {
  verdict.claim("nobody looks: less than 1 % more", idle - nothing < 0.01);
  verdict.claim("somebody looks: less than 2 % more", looked - nothing < 0.02);
  verdict.claim(
    "somebody searches: less than 5 % more",
    searched - nothing < 0.05,
  );
}
const { clients, errors } = await target.stats();
verdict.claim("all are still there", clients === COUNT);
verdict.claim("no error", errors.length === 0);
for (const peer of peers) peer.close();
verdict.finish();
