/**
 * What this library costs beside the bare runtime and its peers, in CPU time and
 * memory of the server's process. Linux only.
 *
 *     deno task bench [--quick] [--rounds n] [--deno flag] [part of a figure's name]
 *     deno task bench --sends
 *     deno task bench --stalls [part of a figure's name]
 *
 * Each measurement has a fresh server on core 0 and the load on core 1; in each
 * round the sides come in random order, and ratios are taken round by round. A run
 * of everything, without `--quick`, writes `bench/results.json` and the picture.
 * `--deno` runs the servers that are on Deno with one more flag of Deno's, as in
 * `--deno=--v8-flags=--no-opt`. `--sends` counts system calls instead, by strace;
 * `--stalls` prints for how long the event loop of the server stood still at most.
 */

import { parseArgs } from "node:util";
import { delay } from "@std/async";
import { drawPlots } from "./plot.ts";
import {
  digits,
  keep,
  machine,
  ratios,
  show,
  shuffled,
  table,
  TOO_BUSY,
} from "./report.ts";
import {
  canPin,
  compileLoad,
  installSides,
  load,
  outputOf,
  type Side,
  SIDES,
  type Speech,
  Target,
} from "./sides.ts";
import {
  type Figure,
  type Goal,
  GOALS,
  type Results,
  speechOf,
  spreadOf,
  type Workload,
  WORKLOADS,
} from "./workloads.ts";

/** Measures one side once. */
async function measure(
  workload: Workload,
  side: Side,
  times: Readonly<Record<string, number>>,
  results: Results,
): Promise<void> {
  await using target = await Target.start(side, workload.settings);
  const speech = speechOf(workload, side.name);
  const options = { ...times, ...workload.options, speech };
  const stages = await load(target, workload.mode, options);
  for (const { id, read, stage } of workload.figures) {
    const one = stages[stage];
    if (one === undefined) throw new Error(`The load left out ${id}`);
    const sides = results.figures[id] ??= {};
    const { values, rates, busy, waited } = sides[side.name] ??= {
      values: [],
      rates: [],
      busy: [],
      waited: [],
    };
    values.push(read(stages));
    rates.push(one.units / one.seconds);
    busy.push(one.load / one.seconds);
    waited.push(one.waited / one.seconds);
  }
}

/** Prints what one figure is for each side. */
function printFigure(
  { id, title, unit }: Figure,
  { figures }: Results,
): void {
  const sides = figures[id] ?? {};
  console.log(`\n${title}, ${unit}`);
  for (const name of SIDES) {
    const measured = sides[name];
    if (measured === undefined) {
      console.log(`  ${name.padEnd(11)} -`);
      continue;
    }
    const cost = show(spreadOf(measured.values)).padEnd(25);
    const bare = sides["bare Deno"];
    const ratio = bare === undefined
      ? ""
      : `${show(spreadOf(ratios(measured.values, bare.values)))} x bare`;
    const rate = unit.startsWith("us of CPU")
      ? `${digits(spreadOf(measured.rates).median)} a second`
      : "";
    const busy = spreadOf(measured.busy).median;
    const used = busy > 0 ? `load ${Math.round(busy * 100)} % busy` : "";
    const warning = busy > TOO_BUSY ? ", so the load is the limit" : "";
    console.log(
      `  ${name.padEnd(11)} ${cost} ${ratio.padEnd(29)} ${
        rate.padEnd(17)
      } ${used}${warning}`
        .trimEnd(),
    );
  }
}

/** All figures and all sides. */
function overview(shown: readonly Figure[], { figures }: Results): string {
  const rows = shown.map(({ id, title, unit }) => [
    title,
    unit,
    ...SIDES.map((name) => {
      const measured = figures[id]?.[name];
      return measured === undefined
        ? "-"
        : digits(spreadOf(measured.values).median);
    }),
  ]);
  return table([["work", "unit", ...SIDES], ...rows]);
}

/** Each goal that was measured, whether it is met, and what noise is in it. */
function goals({ figures }: Results): string {
  const all = WORKLOADS.flatMap(({ figures }) => figures);
  const titleOf = (id: string) => all.find((one) => one.id === id)?.title ?? id;
  const row = ({ figure, against, other = figure, atMost }: Goal) => {
    const ours = figures[figure]?.["@ws/events"];
    const values = ratios(ours?.values, figures[other]?.[against]?.values);
    if (values.length === 0 || values.some(Number.isNaN)) return [];
    const spread = spreadOf(values);
    const beside = other === figure ? against : titleOf(other);
    const noise = spreadOf(ratios(
      figures[figure]?.["bare again"]?.values,
      figures[figure]?.["bare Deno"]?.values,
    ));
    const difference = Math.abs(spread.median - 1);
    const isNoisy = difference <
      Math.max(Math.abs(noise.least - 1), Math.abs(noise.most - 1));
    return [[
      titleOf(figure),
      beside,
      `${atMost.toFixed(2)} x`,
      show(spread),
      Number.isNaN(noise.median) ? "-" : show(noise),
      (spread.median <= atMost ? "met" : "missed") +
      (isNoisy ? ", less than the noise" : ""),
    ]];
  };
  const head = ["work", "beside", "at most", "ratio", "bare beside bare", ""];
  return table([head, ...GOALS.flatMap(row)]);
}

/** The system calls by which servers send. */
const SENDING = ["write", "writev", "sendto", "sendmsg"];

/** How often a server asks the kernel to send, for each message that it echoes. */
async function sendsOf(side: Side, speech: Speech): Promise<number> {
  await using target = await Target.start(side);
  const pid = String(target.program.pid);
  const trace = `trace=${SENDING.join()}`;
  const counter = new Deno.Command("strace", {
    args: ["-f", "-c", "-e", trace, "-p", pid],
    stdout: "null",
    stderr: "piped",
  }).spawn();
  await delay(1_000); // until it has attached
  const times = { warm: 0, seconds: 1 };
  const [stage] = await load(target, "echo", { ...times, depth: 8, speech });
  counter.kill("SIGINT");
  const { stderr } = await counter.output();
  const rows = new TextDecoder().decode(stderr).split("\n")
    .map((row) => row.trim().split(/\s+/))
    .filter((row) => SENDING.includes(row.at(-1) ?? ""));
  const calls = rows.reduce((sum, row) => sum + Number(row[3]), 0);
  return calls / (stage?.units ?? NaN);
}

/** Prints that for each side. */
async function countSends(sides: readonly Side[]): Promise<void> {
  if (outputOf("strace", "--version") === undefined) {
    throw new Error("There is no strace: apt-get install strace");
  }
  console.log("\nsystem calls that send, for each message of an echo");
  for (const side of sides) {
    const { name } = side;
    const speech = name === "socket.io" ? name : "plain";
    const sends = digits(await sendsOf(side, speech));
    console.log(`  ${name.padEnd(22)} ${sends}`);
    if (name !== "@ws/events") continue;
    const own = digits(await sendsOf(side, "events"));
    console.log(`  ${`${name}, events.v1`.padEnd(22)} ${own}`);
  }
}

/** Prints for how long the event loop stood still, for our side and the bare runtime. */
async function measureStalls(
  workloads: readonly Workload[],
  times: Readonly<Record<string, number>>,
): Promise<void> {
  const watch = ["--preload", "bench/servers/stalls.ts"];
  const sides = (await installSides(watch))
    .filter(({ name }) => name === "@ws/events" || name === "bare Deno");
  console.log(
    "\nthe longest stall of the server's event loop, in milliseconds",
  );
  for (const workload of workloads) {
    const stalls: string[] = [];
    for (const side of sides) {
      if (!workload.sides.includes(side.name)) continue;
      await using target = await Target.start(side, workload.settings);
      await readStall(target); // that of its start
      const speech = speechOf(workload, side.name);
      await load(target, workload.mode, {
        ...times,
        ...workload.options,
        speech,
      });
      stalls.push(`${side.name} ${digits(await readStall(target))}`);
    }
    const [figure] = workload.figures;
    console.log(`  ${figure?.title.padEnd(36)} ${stalls.join(", ")}`);
  }
}

/** The longest stall of a server since this was last asked, in milliseconds. */
async function readStall({ program }: Target): Promise<number> {
  program.kill("SIGUSR2");
  return Number(await program.line("stall "));
}

async function main(): Promise<void> {
  const { values, positionals: [part = ""] } = parseArgs({
    args: Deno.args,
    options: {
      quick: { type: "boolean" },
      rounds: { type: "string" },
      sends: { type: "boolean" },
      stalls: { type: "boolean" },
      deno: { type: "string", multiple: true },
    },
    allowPositionals: true,
  });
  const quick = values.quick ?? false;
  const rounds = Number(values.rounds ?? (quick ? 2 : 5));
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new RangeError(`Cannot measure that often: ${values.rounds}`);
  }
  if (!compileLoad()) {
    console.error("There is no C compiler: apt-get install gcc libc6-dev");
    Deno.exit(1);
  }
  const flags = values.deno ?? [];
  const sides = await installSides(flags);
  const chosen = WORKLOADS.filter(({ figures }) =>
    figures.some(({ title }) => title.includes(part))
  );
  const pins = canPin ? "server on core 0, load on core 1" : "nothing pinned";
  const results: Results = {
    date: new Date().toISOString().slice(0, 10),
    command: ["deno task bench", ...Deno.args].join(" "),
    machine: `${machine()}, ${pins}`,
    loadAverage: Deno.loadavg(),
    rounds,
    versions: Object.fromEntries(
      sides.map(({ name, version }) => [name, version]),
    ),
    figures: {},
  };
  console.log(`${results.command}, ${results.date}: ${rounds} rounds`);
  console.log(results.machine);
  console.log(`load average ${results.loadAverage.map(digits).join(", ")}`);
  for (const name of SIDES) {
    const version = results.versions[name] ?? "not there, so left out";
    console.log(`  ${name.padEnd(11)} ${version}`);
  }
  const compiler = outputOf("cc", "--version")?.split("\n")[0] ?? "";
  console.log(`  load        ${compiler}`);

  const times = quick ? { warm: 0.3, seconds: 0.4 } : { warm: 0.5, seconds: 1 };
  if (values.sends) return await countSends(sides);
  if (values.stalls) return await measureStalls(chosen, times);

  for (let round = 1; round <= rounds; round++) {
    const average = Deno.loadavg().map(digits).join(", ");
    console.error(`round ${round}, load average ${average}`);
    for (const workload of chosen) {
      const { seconds } = workload;
      if (seconds !== undefined && round > 1) continue;
      const long = seconds === undefined || quick ? {} : { seconds };
      const those = sides.filter(({ name }) => workload.sides.includes(name));
      for (const side of shuffled(those)) {
        await measure(workload, side, { ...times, ...long }, results);
      }
    }
  }

  const shown = chosen.flatMap(({ figures }) => figures);
  console.log("\nmedian (least to most)");
  for (const figure of shown) printFigure(figure, results);
  console.log(`\n${overview(shown, results)}`);
  console.log(`\n${goals(results)}`);
  const waits = Object.values(results.figures)
    .flatMap((sides) => Object.values(sides)).flatMap(({ waited }) => waited);
  const { median, most } = spreadOf(waits.map((part) => part * 100));
  console.log(
    `\nothers had the server's core for ${digits(median)} % of the time (${
      digits(most)
    } % at most)`,
  );
  console.log(`load average ${Deno.loadavg().map(digits).join(", ")}`);
  if (quick || part !== "" || flags.length > 0) return;
  keep("results.json", results);
  drawPlots(results);
}

if (import.meta.main) {
  await main();
  Deno.exit(); // Deno's own sockets may still be on their way out
}
