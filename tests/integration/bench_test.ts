/**
 * The benchmarks that need several servers, for a moment: that they still run. What
 * they measure counts in a full run only.
 */

import { assertStrictEquals } from "@std/assert";
import { lacksPermission } from "../support/permissions.ts";
import { lacksProgram } from "../support/programs.ts";
import { Program } from "../support/program.ts";

const ignore = await lacksPermission(
  "net",
  "run",
  "read",
  "env",
  "sys",
  "write",
) || await lacksProgram("redis-server", "nats-server");

const BENCHES: [script: string, part: string, ...rows: string[]][] = [
  [
    "fleet",
    "the way of a message",
    "| @ws/events, redis, 2 nodes",
    "| @ws/events, nats, 2 nodes",
    "| @ws/events, broadcast-channel, 2 nodes",
    "| socket.io, redis, 2 nodes",
    "| socket.io, redis-streams, 2 nodes",
  ],
  ["fleet", "on one core and on two", "| @ws/events, redis, 2 nodes"],
  ["rooms", "", "| none", "| broadcast-channel", "| redis", "| nats"],
];

for (const [script, part, ...rows] of BENCHES) {
  Deno.test({
    name: `bench: ${script} ${part}`.trim(),
    ignore: ignore || Deno.build.os !== "linux",
    fn: async () => {
      await using program = new Program([
        "run",
        "--allow-all",
        `bench/${script}.ts`,
        "--quick",
        ...part ? [part] : [],
      ]);
      for (const row of rows) await program.line(row);
      assertStrictEquals(await program.exit(), 0);
    },
  });
}
