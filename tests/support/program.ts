/** A program that runs as a process of its own, and is read line by line. */

import { deadline } from "@std/async";

/** How long a line may take to come, in milliseconds: far more than it takes. */
const LINE_TIMEOUT_MS = 60_000;

export class Program implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #seen: string[] = [];

  /**
   * @param args The arguments, with paths from the root of the repository.
   * @param options Which program it is, if not Deno, which of its outputs to read,
   * and which folder it is in instead.
   */
  constructor(
    args: string[],
    {
      command = Deno.execPath(),
      output = "stdout",
      cwd = new URL("../..", import.meta.url),
    }: {
      command?: string;
      output?: "stdout" | "stderr";
      cwd?: string | URL;
    } = {},
  ) {
    this.#process = new Deno.Command(command, {
      args,
      cwd,
      ...environment(),
      stdin: "piped",
      stdout: output === "stdout" ? "piped" : "null",
      stderr: output === "stderr" ? "piped" : "inherit",
    }).spawn();
    this.#input = this.#process.stdin.getWriter();
    this.#lines = this.#process[output]
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(lines())
      .getReader();
  }

  /** Runs a script with the permission to use the network. */
  static run(script: string, ...args: string[]): Program {
    return new Program(["run", "--allow-net", script, ...args]);
  }

  /** The process's number. */
  get pid(): number {
    return this.#process.pid;
  }

  /** All lines that come before one that is a text. */
  async linesUntil(last: string): Promise<string[]> {
    const before = this.#seen.length;
    await this.line(last);
    return this.#seen.slice(before, -1);
  }

  /** Waits for a line that begins with a text, and gives the rest of it. */
  async line(start: string): Promise<string> {
    for (;;) {
      const { value, done } = await deadline(
        this.#lines.read(),
        LINE_TIMEOUT_MS,
      );
      if (done) {
        throw new Error(
          `There is no line "${start}" among: ${this.#seen.join(" | ")}`,
        );
      }
      this.#seen.push(value);
      if (value.startsWith(start)) return value.slice(start.length).trim();
    }
  }

  /** Waits until the process says no more, and gives the lines that were left. */
  async rest(): Promise<string[]> {
    const rest: string[] = [];
    for (;;) {
      const { value, done } = await deadline(
        this.#lines.read(),
        LINE_TIMEOUT_MS,
      );
      if (done) return rest;
      rest.push(value);
    }
  }

  /** Writes a line. */
  async write(line: string): Promise<void> {
    await this.#input.write(new TextEncoder().encode(`${line}\n`));
  }

  /** Sends a signal. */
  kill(signal: Deno.Signal): void {
    this.#process.kill(signal);
  }

  /** Waits for the end of the process, and gives its exit code. */
  async exit(): Promise<number> {
    return (await deadline(this.#process.status, LINE_TIMEOUT_MS)).code;
  }

  /** Ends the process, if it has not ended yet. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#process.status;
    await this.#input.abort().catch(() => {});
    await this.#lines.cancel();
  }
}

function lines(): TransformStream<string, string> {
  let rest = "";
  return new TransformStream(
    {
      transform(chunk, controller) {
        const parts = (rest + chunk).split("\n");
        rest = parts.pop() ?? "";
        for (const part of parts) controller.enqueue(part);
      },
      flush(controller) {
        if (rest) controller.enqueue(rest);
      },
      // Read whatever comes: a full pipe would hold the program up.
    },
    undefined,
    { highWaterMark: Infinity },
  );
}

/**
 * This process's environment, without what makes Deno collect coverage, if it may
 * be read: a process that is killed while it writes that leaves half a file.
 */
function environment(): { env: Record<string, string>; clearEnv: boolean } {
  const { state } = Deno.permissions.querySync({ name: "env" });
  const clearEnv = state === "granted";
  const all = clearEnv ? Object.entries(Deno.env.toObject()) : [];
  const kept = all.filter(([name]) => !name.includes("COVERAGE"));
  // The number of workers of `deno serve --parallel`, whatever runs these tests.
  const env = { ...Object.fromEntries(kept), NO_COLOR: "1", DENO_JOBS: "2" };
  return { env, clearEnv };
}
