/**
 * The trials of `trials/`, each in a short run. What they claim of the memory
 * of a long one, and of time, counts in a full run only.
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
);

const TRIALS: [string, ...string[]][] = [
  ["fuzz", "5000"],
  ["leave", "1"],
  ["siege", "4"],
  ["soak", "4000"],
  ["load", "1000"],
  ["drain", "20"],
  ["slow_readers", "10", "16"],
  ["comeback", "200", "1000"],
  ["herd", "100", "1"],
  ["fleet", "8", "50", "1500"],
  ["retries", "2", "6"],
  ["inspect", "500", "2"],
  ["slow_lines", "200000", "100000"],
  ["memory", "10"],
  ["ticker", "1"],
];

const lacksBrokers = await lacksProgram("redis-server", "nats-server");
const needsBrokers = new Set(["fleet", "retries"]);

for (const [name, ...args] of TRIALS) {
  Deno.test({
    name: `trial: ${name} ${args.join(" ")}`,
    ignore: ignore || needsBrokers.has(name) && lacksBrokers,
    fn: async () => {
      const script = `trials/${name}.ts`;
      await using program = new Program([
        "run",
        "--allow-all",
        script,
        ...args,
      ]);
      await program.line("  all holds");
      assertStrictEquals(await program.exit(), 0);
    },
  });
}
