/**
 * A server that closes while its clients are in mid-stream: what `send` has
 * promised must arrive.
 *
 *     deno run --allow-all trials/drain.ts [clients]
 */

import { delay } from "@std/async";
import { ClientSocket } from "@ws/events/client";
import type { Stats } from "./server.ts";
import { argument, sum, Target, Verdict } from "./support.ts";

const CLIENTS = argument(0, 100);

interface Numbered {
  i: number;
}

const verdict = new Verdict();
console.log(`drain: ${CLIENTS} clients in mid-stream`);
await using target = await Target.start({ closeTimeout: 20_000 });

/** The last number that each has had, by its path; and how it ended. */
const had = new Map<string, number>();
const ends: Record<string, number> = {};
let gaps = 0;

await Promise.all(Array.from({ length: CLIENTS }, async (_, n) => {
  const path = `/push/${n}`;
  const client = new ClientSocket<{ incoming: Numbered }>();
  client.on("message", ({ data }) => {
    if (data.i !== (had.get(path) ?? -1) + 1) gaps++;
    had.set(path, data.i);
  });
  for (const type of ["close", "disconnect"] as const) {
    client.on(type, (code, _reason, cause) => {
      const kind = `${type} ${code} ${cause}`;
      ends[kind] = (ends[kind] ?? 0) + 1;
    });
  }
  await client.connect(`ws://127.0.0.1:${target.port}${path}`);
}));
await delay(500);
await (await fetch(`http://127.0.0.1:${target.port}/close`)).body?.cancel();
const { pushed, stats }: { pushed: [string, number][]; stats: Stats } = JSON
  .parse("{" + await target.program.line("{"));
while (sum(ends) < CLIENTS) await delay(10);

const promised = pushed.reduce((total, [, last]) => total + last + 1, 0);
const lost = pushed.filter(([path, last]) => (had.get(path) ?? -1) < last);
verdict.note("messages whose send resolved", promised);
verdict.note("ends at the server", stats.ends);
verdict.note("ends at the clients", ends);
verdict.claim(
  "all clients were in mid-stream",
  pushed.length === CLIENTS && pushed.every(([, last]) => last > 10),
);
verdict.claim(
  "what was promised has arrived, in order",
  lost.length === 0 && gaps === 0,
);
verdict.claim(
  "both sides heard a close with 1001",
  ends["close 1001 peer"] === CLIENTS &&
    stats.ends["close 1001 shutdown"] === CLIENTS,
);
verdict.finish();
