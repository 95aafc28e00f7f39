/** Does what the documentation tells its reader to type. */

/** How long a command may take, in milliseconds: far more than it takes. */
const PATIENCE = 120_000;

/** The one command that cannot be what it says before the package is published. */
const ADD = "deno add jsr:@ws/events";

/** A program that goes on until it is stopped. */
interface Staying {
  readonly command: string;
  readonly child: Deno.ChildProcess;
  readonly ended: Promise<number>;
}

/** A folder, and the programs that were started in it. */
export class Terminal implements AsyncDisposable {
  #folder: string;
  #staying: Staying[] = [];
  /** Whether the last commands stay. */
  #isStaying = false;
  /** What has been written since the last commands began. */
  #lines: string[] = [];
  /** How often something has been written that is no warning. */
  #said = 0;
  #more = Promise.withResolvers<void>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Where the next command is done. */
  get folder(): string {
    return this.#folder;
  }

  /** Goes on in another folder. */
  move(folder: string): void {
    this.#folder = folder;
  }

  /** Does one command after the other; each must end, with 0. */
  async run(commands: readonly string[]): Promise<void> {
    this.#lines = [];
    this.#isStaying = false;
    for (const command of commands) {
      if (command === ADD) await this.#add();
      else await this.#run(command);
    }
  }

  /** Starts programs that stay, each when the one before has said something. */
  async start(commands: readonly string[]): Promise<void> {
    await this.stop();
    this.#lines = [];
    this.#isStaying = true;
    for (const command of commands) {
      const before = this.#said;
      const child = this.#spawn(command);
      const read = [this.#read(child.stdout, 1), this.#read(child.stderr, 0)];
      const ended = Promise.all([child.status, ...read])
        .then(([{ code }]) => code);
      this.#staying.push({ command, child, ended });
      await this.#until(() => this.#said > before, command);
    }
  }

  /**
   * Looks for lines among those that the last commands have written, or are still
   * to write if they stay; `...` stands for anything.
   */
  async expect(expected: readonly string[]): Promise<void> {
    const patterns = expected.map((line) =>
      new RegExp(`^${line.split("...").map(RegExp.escape).join(".*")}$`)
    );
    const isThere = () =>
      patterns.every((pattern) =>
        this.#lines.some((line) => pattern.test(line.trimEnd()))
      );
    const what = `What should say:\n${expected.join("\n")}`;
    if (this.#isStaying) await this.#until(isThere, what);
    else if (!isThere()) throw this.#error(what, 0);
  }

  /** Stops what stays, the last one first; none of it may have ended before. */
  async stop(): Promise<void> {
    for (const { command, child, ended } of this.#staying.splice(0).reverse()) {
      if (!kill(child, "SIGINT")) throw this.#error(command, await ended);
      await deadline(ended, () => {
        child.kill("SIGKILL");
        return this.#error(command);
      });
    }
  }

  /** Ends what stays, if a step has failed. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const { child, ended } of this.#staying.splice(0)) {
      kill(child, "SIGKILL");
      await ended;
    }
  }

  async #run(command: string): Promise<void> {
    const [, folder] = /^cd (\S+)$/.exec(command) ?? [];
    if (folder !== undefined) {
      this.#folder = await Deno.realPath(`${this.#folder}/${folder}`);
      return;
    }
    const child = this.#spawn(command);
    const read = [this.#read(child.stdout, 1), this.#read(child.stderr, 0)];
    const ended = Promise.all([child.status, ...read]);
    const [{ code }] = await deadline(ended, () => {
      child.kill("SIGKILL");
      return this.#error(command);
    });
    if (code !== 0) throw this.#error(command, code);
  }

  /** A shell that does a single command becomes it, so that signals reach it. */
  #spawn(script: string): Deno.ChildProcess {
    return new Deno.Command("bash", {
      args: ["-c", script],
      cwd: this.#folder,
      env: { NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  }

  /** Takes all that a program writes. */
  async #read(
    output: ReadableStream<Uint8Array<ArrayBuffer>>,
    weight: number,
  ): Promise<void> {
    let rest = "";
    for await (const text of output.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      this.#lines.push(...lines);
      this.#said += weight * lines.length;
      this.#more.resolve();
      this.#more = Promise.withResolvers();
    }
    if (rest !== "") this.#lines.push(rest);
  }

  /** Waits for something that a program of those that stay is to write. */
  async #until(isThere: () => boolean, what: string): Promise<void> {
    const ends = this.#staying.map(({ ended }) => ended);
    while (!isThere()) {
      const news = Promise.race([this.#more.promise, ...ends]);
      const code = await deadline(news, () => this.#error(what));
      if (code !== undefined && !isThere()) throw this.#error(what, code);
    }
  }

  #error(what: string, code?: number): Error {
    const end = code === undefined ? "takes too long" : `ended with ${code}`;
    const output = this.#lines.map((line) => `\n    | ${line}`).join("");
    return new Error(`${what}\n  ${end}, and said:${output}`);
  }

  /** As if the package had been added: its entry points are those of the checkout. */
  async #add(): Promise<void> {
    const root = new URL("../", import.meta.url);
    const path = `${this.#folder}/deno.json`;
    const own = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
    const config = await Deno.readTextFile(path).then(JSON.parse, () => ({}));
    config.imports ??= {};
    for (const [name, module] of Object.entries<string>(own.exports)) {
      config.imports[own.name + name.slice(1)] = new URL(module, root).href;
    }
    await Deno.writeTextFile(path, JSON.stringify(config));
  }
}

/** Sends a signal; false if the program has ended. */
function kill(child: Deno.ChildProcess, signal: Deno.Signal): boolean {
  try {
    child.kill(signal);
    return true;
  } catch (error) {
    if (error instanceof TypeError) return false;
    throw error;
  }
}

/** Rejects with an error if a promise takes too long. */
async function deadline<T>(
  promise: Promise<T>,
  late: () => Error,
): Promise<T> {
  const { promise: over, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(late()), PATIENCE);
  try {
    return await Promise.race([promise, over]);
  } finally {
    clearTimeout(timer);
  }
}
