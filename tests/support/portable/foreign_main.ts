/** The program of `foreign.ts` for runtimes with arguments. */

import process from "node:process";
import { tryForeign } from "./foreign.ts";

for (const url of process.argv.slice(2)) {
  console.log(JSON.stringify(await tryForeign(url)));
}
console.log("done");
process.exit();
