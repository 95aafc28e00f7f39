// Tries the client in each runtime and browser with servers made of other libraries,
// at its defaults, and prints what came of it as the table of docs/compatibility.md.
// With names it tries only those runtimes.

import { CASES } from "../tests/support/foreign/cases.ts";
import {
  CLIENT_RUNTIMES,
  tryForeignServers,
} from "../tests/support/foreign_runs.ts";
import { FOREIGN_SERVERS } from "../tests/support/foreign_servers.ts";

const runtimes = Object.keys(CLIENT_RUNTIMES).filter((name) =>
  Deno.args.length === 0 || Deno.args.includes(name)
);
const rows = new Map(
  Object.keys(FOREIGN_SERVERS).map((name): [string, string[]] => [name, []]),
);
const notes: string[] = [];

/** A cell's number of a note, which is told once. */
function noteOf(text: string): string {
  if (!notes.includes(text)) notes.push(text);
  return `[${notes.indexOf(text) + 1}]`;
}

for (const runtime of runtimes) {
  const run = await CLIENT_RUNTIMES[runtime]?.();
  const outcomes = run && await tryForeignServers(run);
  for (const [name, cells] of rows) {
    const outcome = outcomes?.get(name);
    if (!outcome) {
      cells.push(noteOf("not tried, as a program is missing"));
      continue;
    }
    const failed = CASES.filter((one) => outcome[one] !== "");
    const passed = CASES.length - failed.length;
    const reasons = failed
      .filter((one) => outcome[one] !== "not connected")
      .map((one) => noteOf(`${one}: ${outcome[one].replace(/:\d{4,5}/g, "")}`));
    cells.push([passed, ...reasons].join(" "));
  }
}

console.log(`| server | ${runtimes.join(" | ")} |`);
console.log(`| --- | ${runtimes.map(() => "---").join(" | ")} |`);
for (const [name, cells] of rows) {
  console.log(`| ${name} | ${cells.join(" | ")} |`);
}
console.log(`\nOf ${CASES.length} cases: ${CASES.join(", ")}.\n`);
for (const [at, note] of notes.entries()) console.log(`${at + 1}. ${note}`);
