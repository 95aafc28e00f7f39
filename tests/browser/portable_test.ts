/** The cases that every runtime passes, in each browser, against a server in Deno. */

import {
  BROWSERS,
  evaluateInBrowser,
  findBrowser,
} from "../support/browser_page.ts";
import { bundle } from "../support/bundle.ts";
import { BROKER_PERMISSIONS, lacksPermission } from "../support/permissions.ts";
import type { Outcome } from "../support/portable/cases.ts";
import { reportOutcomes } from "../support/portable/report.ts";
import { serve } from "../support/portable/server.ts";

const mayRun = !await lacksPermission(...BROKER_PERMISSIONS);

for (const name of BROWSERS) {
  const command = mayRun ? await findBrowser(name) ?? "" : "";
  Deno.test({
    name: `ClientSocket in ${name} passes the portable tests`,
    ignore: !command,
    fn: async (t) => {
      await using server = await serve();
      const script = await bundle(
        "--platform=browser",
        "tests/support/portable/page.ts",
      );
      const outcomes = await evaluateInBrowser<Outcome[]>(
        name,
        command,
        script,
        `runCases("${server.url}")`,
      );
      await reportOutcomes(t, outcomes);
    },
  });
}
