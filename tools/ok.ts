// Does all that CI does, and closes with the count of the tests. With names of steps
// it does only those.

interface Step {
  readonly name: string;
  readonly args: readonly string[];
  /** What the step's output must be like; a sentence if it is not. */
  readonly verify?: (output: string) => string | undefined;
}

interface Summary {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** The closing line of `deno test`, as in `ok | 9 passed | 0 failed (1s)`. */
const SUMMARY = /^(?:ok|FAILED) \| (\d+) passed\b.*? \| (\d+) failed\b.*$/gm;

function summarize(output: string): Summary | undefined {
  const line = [...output.matchAll(SUMMARY)].at(-1);
  if (line === undefined) return undefined;
  let skipped = 0;
  // Steps count too, as in `1 ignored (2 steps)`.
  for (
    const [, tests, steps = 0] of line[0].matchAll(
      /(\d+) (?:ignored|filtered out)(?: \((\d+) steps?\))?/g,
    )
  ) {
    skipped += Number(tests) + Number(steps);
  }
  return { passed: Number(line[1]), failed: Number(line[2]), skipped };
}

let total: Summary | undefined;

const steps: Step[] = [
  { name: "format", args: ["fmt", "--check"] },
  { name: "lint", args: ["task", "lint"] },
  { name: "types", args: ["task", "check"] },
  { name: "documentation", args: ["task", "doc"] },
  { name: "pages", args: ["task", "docs"] },
  { name: "imports", args: ["task", "imports"] },
  { name: "browser", args: ["task", "browser"] },
  {
    name: "tests",
    args: ["task", "test"],
    verify(output) {
      total = summarize(output);
      if (total === undefined) return "The tests gave no summary";
      if (total.passed === 0) return "No test was run";
      if (total.skipped > 0) return `Tests or steps not run: ${total.skipped}`;
      return undefined;
    },
  },
  {
    name: "tests without permissions",
    args: ["test"],
    verify(output) {
      if (summarize(output)?.passed) return undefined;
      return "No test was run without permissions";
    },
  },
  {
    name: "fresh machine",
    args: ["task", "sealed"],
  },
  { name: "package", args: ["task", "publish:check"] },
  { name: "coverage", args: ["task", "coverage"] },
];

/** Runs a step with its output shown; what is wrong, if anything is. */
async function run(step: Step): Promise<string | undefined> {
  console.log(`\n=== ${step.name}: deno ${step.args.join(" ")}`);
  const child = new Deno.Command("deno", {
    args: [...step.args],
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const decoder = new TextDecoder();
  let output = "";
  for await (const chunk of child.stdout) {
    for (let at = 0; at < chunk.length;) {
      at += await Deno.stdout.write(chunk.subarray(at));
    }
    output += decoder.decode(chunk, { stream: true });
  }
  const { code } = await child.status;
  return step.verify?.(output) ??
    (code === 0 ? undefined : `Exit code ${code}`);
}

const problems: string[] = [];
for (const name of Deno.args) {
  if (!steps.some((step) => step.name === name)) {
    problems.push(`${name}: There is no such step`);
  }
}
for (const step of steps) {
  if (Deno.args.length > 0 && !Deno.args.includes(step.name)) continue;
  const problem = await run(step);
  if (problem !== undefined) problems.push(`${step.name}: ${problem}`);
}

console.log(problems.length === 0 ? "\n=== all is well" : "\n=== problems");
for (const problem of problems) console.log(problem);
if (total !== undefined) {
  const { passed, failed, skipped } = total;
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
}
if (problems.length > 0) Deno.exit(1);
