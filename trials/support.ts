/** What the trials share: the server's process, chance, and a verdict. */

import { delay } from "@std/async";
import type { ServerOptions } from "@ws/events/server";
import { Program } from "../tests/support/program.ts";
import type { Stats } from "./server.ts";

/** The server under trial. */
export class Target implements AsyncDisposable {
  private constructor(readonly program: Program, readonly port: number) {}

  static async start(options: ServerOptions = {}, at = 0): Promise<Target> {
    const program = new Program([
      "run",
      "--v8-flags=--expose-gc",
      "--allow-all", // Deno wants no less for /proc
      "trials/server.ts",
      JSON.stringify(options),
      `${at}`,
    ]);
    return new Target(program, Number(await program.line("")));
  }

  async stats(): Promise<Stats> {
    const response = await fetch(`http://127.0.0.1:${this.port}/stats`);
    return await response.json();
  }

  /** The stats, once they are as they should be, or have had 40 seconds. */
  async settled(isSettled: (stats: Stats) => boolean): Promise<Stats> {
    for (let i = 0;; i++) {
      const stats = await this.stats();
      if (i === 200 || isSettled(stats)) return stats;
      await delay(200);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.program[Symbol.asyncDispose]();
  }
}

/** Writes down what was found, and whether it is as it must be. */
export class Verdict {
  #isGood = true;

  /** A figure for the reader. */
  note(what: string, value: unknown): void {
    console.log(
      `  ${what}: ${typeof value === "string" ? value : show(value)}`,
    );
  }

  /** A claim. */
  claim(what: string, holds: boolean): void {
    console.log(`  ${holds ? "holds" : "BROKEN"}: ${what}`);
    this.#isGood &&= holds;
  }

  /**
   * The memory and descriptors of a server, then and now. A short run's memory says
   * nothing, and how many descriptors the runtime loses to leavers depends on how busy
   * the machine is, so both are claims of a full run.
   */
  compare(
    before: Stats,
    after: Stats,
    idle: Stats,
    isFull: boolean,
    hasLeavers = false,
  ): void {
    const shown = ({ rss, heap, descriptors }: Stats) =>
      `${mib(rss)}, of it heap ${mib(heap)}; ${descriptors} descriptors`;
    this.note("memory before", shown(before));
    this.note("memory after ", shown(after));
    if (isFull) {
      const isFlat = (then: number, now: number) => now < then * 1.1;
      this.claim(
        "the heap is within 10 % of where it was",
        isFlat(before.heap, after.heap),
      );
      this.claim(
        "memory is within 10 % of where it was",
        isFlat(before.rss, after.rss),
      );
    }
    if (hasLeavers && !isFull) return;
    this.claim(
      hasLeavers
        ? "at most 1 descriptor in 10 peers is left behind"
        : "no descriptor is left behind",
      isSeenOff(after, idle, hasLeavers),
    );
  }

  /** Sees to it that the program ends with 1 if a claim is broken. */
  finish(): void {
    console.log(this.#isGood ? "  all holds" : "  broken");
    Deno.exitCode = this.#isGood ? 0 : 1;
  }
}

function show(value: unknown): string {
  return Deno.inspect(value, { breakLength: 100, colors: false });
}

/**
 * Whether nobody is left, and no descriptor of theirs. The runtime never closes the
 * descriptor of a client that leaves in the very turn in which it is upgraded, so
 * a full run with such clients allows for one in ten. A busy machine loses more, so a
 * short run, which is one of the tests, does not look at them.
 */
export function isSeenOff(
  stats: Stats,
  idle: Stats,
  hasLeavers = false,
  isFull = true,
): boolean {
  if (hasLeavers && !isFull) return stats.clients === 0;
  const peers = stats.connects + sum(stats.refusals);
  const lost = hasLeavers ? Math.ceil(peers * 0.1) : 0;
  return stats.clients === 0 &&
    stats.descriptors <= idle.descriptors + 4 + lost;
}

/** How many ends there were in all. */
export function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

/** The value that so large a part of sorted values stays below. */
export function percentile(sorted: readonly number[], part: number): number {
  return sorted[Math.floor((sorted.length - 1) * part)] ?? NaN;
}

/** MiB, for a reader. */
export function mib(value: number): string {
  return `${value.toFixed(1)} MiB`;
}

/** A whole number from the command line. */
export function argument(at: number, fallback: number): number {
  const given = Deno.args[at];
  const value = given === undefined ? fallback : Number(given);
  if (!Number.isInteger(value) || value <= 0) {
    throw new RangeError(
      `Cannot use ${given} as a count: write a whole number`,
    );
  }
  return value;
}

/** Does something so many times, so many at once. */
export async function times(
  count: number,
  atOnce: number,
  act: (i: number) => Promise<void>,
): Promise<void> {
  let i = 0;
  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (i < count) await act(i++);
  }));
}
