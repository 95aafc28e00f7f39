/**
 * The client at its defaults, against servers made of other libraries. `deno task
 * matrix` tries the same in browsers, too, and the servers that need Go.
 */

import { assert, assertEquals } from "@std/assert";
import { CASES } from "../support/foreign/cases.ts";
import { CLIENT_RUNTIMES, tryForeignServers } from "../support/foreign_runs.ts";
import { FOREIGN_SERVERS } from "../support/foreign_servers.ts";
import { lacksPermission } from "../support/permissions.ts";
import { requiresPrograms } from "../support/programs.ts";

const ignore = await lacksPermission("net", "run", "read", "write", "env");

/** Need a compiler that `.ci/run` does not install. */
const OPTIONAL = ["gorilla", "nhooyr"];

for (const runtime of ["Deno", "Node", "Bun"]) {
  const run = ignore ? undefined : await CLIENT_RUNTIMES[runtime]?.();
  Deno.test({
    name: `ClientSocket in ${runtime} connects to servers of other libraries`,
    ignore: ignore || !run,
    fn: async (t) => {
      assert(run);
      const outcomes = await tryForeignServers(run);
      for (const name of Object.keys(FOREIGN_SERVERS)) {
        const outcome = outcomes.get(name);
        if (!outcome && OPTIONAL.includes(name)) continue;
        await t.step({
          name,
          ignore: !outcome && !await requiresPrograms(),
          fn: () => {
            assert(outcome, "It is missing: see .ci/run");
            const failed = CASES.filter((one) => outcome[one] !== "");
            assertEquals(failed.map((one) => `${one}: ${outcome[one]}`), []);
          },
        });
      }
    },
  });
}
