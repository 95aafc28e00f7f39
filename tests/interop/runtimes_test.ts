/**
 * The client in other runtimes, against a server in Deno. Each is a program of its
 * own: `.ci/run` installs what is missing.
 */

import { bundle } from "../support/bundle.ts";
import { cases, type Outcome } from "../support/portable/cases.ts";
import { reportOutcomes } from "../support/portable/report.ts";
import { serve } from "../support/portable/server.ts";
import { lacksPermission } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { findRuntime } from "../support/runtimes.ts";

Deno.test({
  name: "the client in Deno",
  ignore: await lacksPermission("net"),
  fn: async (t) => {
    await using server = await serve();
    for (const [name, run] of Object.entries(cases)) {
      await t.step(name, () => run(server.url));
    }
  },
});

const mayRun = !await lacksPermission("net", "run", "read", "write", "env");

for (const name of ["node", "bun"] as const) {
  const command = mayRun ? await findRuntime(name) ?? "" : "";
  Deno.test({
    name: `the client in ${name}`,
    ignore: !command,
    fn: async (t) => {
      await using server = await serve();
      const file = await Deno.makeTempFile({ suffix: ".mjs" });
      try {
        const script = await bundle("tests/support/portable/main.ts");
        await Deno.writeTextFile(file, script);
        await using program = new Program([file, server.url], { command });
        const lines = await program.linesUntil("done");
        const outcomes: Outcome[] = lines.map((line) => JSON.parse(line));
        await reportOutcomes(t, outcomes);
      } finally {
        await Deno.remove(file);
      }
    },
  });
}
