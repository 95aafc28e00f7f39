/** How measurements are shown and kept. */

import { outputOf } from "./sides.ts";
import type { Spread } from "./workloads.ts";

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

/** The machine, in a line. */
export function machine(): string {
  const info = Deno.readTextFileSync("/proc/cpuinfo");
  const [, model = "unknown CPU"] = /^model name\s*:\s*(.+)$/m.exec(info) ?? [];
  const gib = Math.round(Deno.systemMemoryInfo().total / 2 ** 30);
  const { hardwareConcurrency: cores } = navigator;
  return `${model}, ${cores} cores, ${gib} GiB, Linux ${Deno.osRelease()}`;
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

/** Five digits are enough. */
function shortened(_name: string, value: unknown): unknown {
  return typeof value === "number" ? Number(value.toPrecision(5)) : value;
}
