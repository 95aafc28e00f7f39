/**
 * What happens to brokers, one fault after the other: three servers share a Redis or a
 * NATS, send all the time, and have clients that stay and clients that are away meanwhile.
 * For each fault it prints what clients have missed without being told (gaps), got twice
 * (doubles), and the seconds until the event `adapter` told the reason.
 *
 *     deno run --allow-all trials/fleet_faults.ts [clients back at once] [part of a fault's name]
 */

import { verdict } from "./faulty_fleet.ts";
import { natsFaults } from "./nats_faults.ts";
import { redisFaults } from "./redis_faults.ts";
import { argument } from "./support.ts";

const back = argument(0, 1_000);
const only = Deno.args[1] ?? "";

for (
  const [broker, faults] of [
    ["redis", redisFaults(back)],
    ["nats", natsFaults(back)],
  ] as const
) {
  for (const [fault, run] of Object.entries(faults)) {
    const name = `${broker}: ${fault}`;
    if (!name.includes(only)) continue;
    console.log(name);
    await run();
  }
}
verdict.finish();
