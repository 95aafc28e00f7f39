/**
 * Many idle connections beside live traffic.
 *
 *     deno run --allow-all trials/load.ts [connections]
 *
 * Each takes a descriptor here and one in the server: `ulimit -n` has to allow
 * for them.
 */

import { frame, RawPeer } from "../tests/support/raw_peer.ts";
import {
  argument,
  mib,
  percentile,
  sum,
  Target,
  times,
  Verdict,
} from "./support.ts";

const COUNT = argument(0, 10_000);
const LIVE = 100;

const verdict = new Verdict();
console.log(`load: ${COUNT} idle connections beside ${LIVE} that talk`);
await using target = await Target.start({ idleTimeout: 0 });

const live = await Promise.all(
  Array.from({ length: LIVE }, () => RawPeer.open(target.port)),
);

/** Everybody who talks says something fifty times, and waits for the answer. */
async function talk(): Promise<number[]> {
  const waits: number[] = [];
  await Promise.all(live.map(async (peer) => {
    for (let i = 0; i < 50; i++) {
      const start = performance.now();
      await peer.write(frame(1, "hello"));
      await peer.receive();
      waits.push(performance.now() - start);
    }
  }));
  return waits.sort((a, b) => a - b);
}

await talk();
const without = await talk();
const idle: RawPeer[] = [];
await times(
  COUNT / 10,
  16,
  async () => void idle.push(await RawPeer.open(target.port)),
);
const before = await target.stats();
await times(
  COUNT * 9 / 10,
  16,
  async () => void idle.push(await RawPeer.open(target.port)),
);
const full = await target.stats();
const beside = await talk();
const each = (full.rss - before.rss) * 1024 / (full.clients - before.clients);

for (
  const [what, waits] of [["without", without], ["beside ", beside]] as const
) {
  verdict.note(
    `echoes ${what} the idle ones`,
    `median ${percentile(waits, 0.5).toFixed(2)} ms, p99 ${
      percentile(waits, 0.99).toFixed(2)
    } ms`,
  );
}
verdict.note(
  "memory",
  `${mib(full.rss)}, ${each.toFixed(1)} KiB an idle connection`,
);
verdict.claim("all are there", full.clients === COUNT + LIVE);
for (const peer of [...idle, ...live]) peer.close();
const after = await target.settled(({ clients }) => clients === 0);
verdict.claim(
  "each has had its one end",
  sum(after.ends) === COUNT + LIVE && after.doubles === 0 &&
    after.clients === 0,
);
verdict.claim("no error", after.errors.length === 0);
verdict.finish();
