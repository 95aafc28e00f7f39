/** How measurements are shown and kept. */

import { outputOf } from "./sides.ts";
import { type Spread, spreadOf } from "./workloads.ts";

/** The load is what limits a figure from here on. */
export const TOO_BUSY = 0.95;

/** The same, in random order. */
export function shuffled<T>(values: readonly T[]): T[] {
  return values.map((value) => ({ value, order: Math.random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ value }) => value);
}

/** Three digits that matter. */
export function digits(value: number): string {
  if (value >= 100) return Math.round(value).toLocaleString("en");
  return value.toFixed(value < 10 ? 2 : 1);
}

/** Middle, least and most. */
export function show({ median, least, most }: Spread): string {
  return `${digits(median)} (${digits(least)} to ${digits(most)})`;
}

/** The same of a list, if there is anything in it. */
export function shown(values: readonly number[]): string {
  return values.length > 0 ? show(spreadOf(values)) : "-";
}

/** The ratios of one list to another, round by round. */
export function ratios(
  of: readonly number[] = [],
  to: readonly number[] = [],
): number[] {
  return of.map((value, i) => value / (to[i] ?? NaN));
}

/** The machine, in a line. */
export function machine(): string {
  const info = Deno.readTextFileSync("/proc/cpuinfo");
  const [, model = "unknown CPU"] = /^model name\s*:\s*(.+)$/m.exec(info) ?? [];
  const gib = Math.round(Deno.systemMemoryInfo().total / 2 ** 30);
  const { hardwareConcurrency: cores } = navigator;
  return `${model}, ${cores} cores, ${gib} GiB, Linux ${Deno.osRelease()}`;
}

/**
 * When, how and where something is measured.
 *
 * @param task The task, as in `deno task bench:fleet`.
 * @param rounds How often.
 */
export function about(task: string, rounds: number): Record<string, unknown> {
  return {
    date: new Date().toISOString().slice(0, 10),
    command: [`deno task bench:${task}`, ...Deno.args].join(" "),
    machine: machine(),
    loadAverage: Deno.loadavg(),
    rounds,
  };
}

/** A table in Markdown, its columns as wide as they have to be. */
export function table(rows: readonly (readonly string[])[]): string {
  const [head = []] = rows;
  const widths = head.map((_, i) =>
    Math.max(3, ...rows.map((row) => row[i]?.length ?? 0))
  );
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")} |`;
  const rule = widths.map((width) => "-".repeat(width));
  return [line(head), line(rule), ...rows.slice(1).map(line)].join("\n");
}

/**
 * Writes what was measured.
 *
 * @param name The file's name, in `bench/`.
 * @param results What was measured.
 */
export function keep(name: string, results: unknown): void {
  const { pathname } = new URL(name, import.meta.url);
  Deno.writeTextFileSync(pathname, JSON.stringify(results, shortened));
  outputOf(Deno.execPath(), "fmt", pathname);
}

/**
 * Writes parts of what was measured, and keeps the others as they were.
 *
 * @param name The file's name, in `bench/`.
 * @param parts What was measured.
 */
export function keepParts(
  name: string,
  parts: Readonly<Record<string, unknown>>,
): void {
  const before = JSON.parse(
    Deno.readTextFileSync(new URL(name, import.meta.url)),
  );
  keep(name, { ...before, ...parts });
}

/** Five digits are enough. */
function shortened(_name: string, value: unknown): unknown {
  return typeof value === "number" ? Number(value.toPrecision(5)) : value;
}
