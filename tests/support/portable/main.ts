/**
 * Tries all cases as a program, and prints what came of each as a line of JSON.
 * The last argument is the server's URL. Bundled, it runs in Node and in Bun.
 */

import process from "node:process";
import { runCases } from "./cases.ts";

const outcomes = await runCases(process.argv.at(-1) ?? "");
for (const outcome of outcomes) console.log(JSON.stringify(outcome));
console.log("done");
process.exit();
