/**
 * Echo servers made of other libraries, as processes of their own: see `foreign/`.
 */

import type { Outcomes } from "./foreign/cases.ts";
import { Program } from "./program.ts";
import { findRuntime } from "./runtimes.ts";

const PYTHON = "/usr/bin/python3";

/** Where `.ci/run` puts the packages of npm. */
const NPM = new URL("../../.runtimes/foreign/", import.meta.url).pathname;

/** Where Debian puts the sources of Go's packages. */
const GO_PATH = "/usr/share/gocode";

/** How to run a program. */
type Run = readonly [command: string, ...args: string[]];

/** A library, and where it comes from. */
interface Library {
  /** Gives what to run, after it was built in a folder; undefined if a part is missing. */
  find(folder: string): Promise<Run | undefined>;
}

/** Whether a program runs, and ends well. */
async function succeeds(...[command, ...args]: Run): Promise<boolean> {
  try {
    const env = { GOPATH: GO_PATH, GO111MODULE: "off" };
    const options = { args, env, stdin: "null", stderr: "null" } as const;
    return (await new Deno.Command(command, options).output()).success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function python(library: string): Library {
  const run: Run = [PYTHON, "tests/support/foreign/python.py", library];
  return {
    find: async () =>
      await succeeds(PYTHON, "-c", `import ${library}`) ? run : undefined,
  };
}

function npm(library: string): Library {
  return {
    async find() {
      const node = await findRuntime("node");
      if (!node || !await exists(`${NPM}node_modules/${library}`)) {
        return undefined;
      }
      return [node, "tests/support/foreign/node.mjs", library, NPM];
    },
  };
}

function go(name: string, module: string): Library {
  return {
    async find(folder) {
      if (!await exists(`${GO_PATH}/src/${module}`)) return undefined;
      const file = `tests/support/foreign/go/${name}.go`;
      const program = `${folder}/${name}`;
      return await succeeds("go", "build", "-o", program, file)
        ? [program]
        : undefined;
    },
  };
}

/** All of them, by name. */
export const FOREIGN_SERVERS: Readonly<Record<string, Library>> = {
  "python websockets": python("websockets"),
  "aiohttp": python("aiohttp"),
  "tornado": python("tornado"),
  "autobahn": python("autobahn"),
  "npm websocket": npm("websocket"),
  "npm faye-websocket": npm("faye-websocket"),
  "npm ws": npm("ws"),
  "gorilla": go("gorilla", "github.com/gorilla/websocket"),
  "nhooyr": go("nhooyr", "nhooyr.io/websocket"),
  "libwebsockets": {
    async find(folder) {
      const program = `${folder}/libwebsockets`;
      const file = "tests/support/foreign/libwebsockets.c";
      return await succeeds("cc", "-o", program, file, "-lwebsockets")
        ? [program]
        : undefined;
    },
  },
  "Bun": {
    async find() {
      const bun = await findRuntime("bun");
      if (!bun) return undefined;
      return [bun, "tests/support/foreign/node.mjs", "bun"];
    },
  },
};

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** One server that runs, until a client has had it killed. */
export class ForeignServer implements AsyncDisposable {
  private constructor(readonly program: Program, readonly url: string) {}

  static async start([command, ...args]: Run): Promise<ForeignServer> {
    const program = new Program(args, { command });
    const { port } = JSON.parse(await program.line(""));
    return new ForeignServer(program, `ws://127.0.0.1:${port}`);
  }

  /**
   * Adds what the server has seen to what the client has: it must have been told
   * the code and the reason that the client closed with.
   */
  async verify(outcomes: Outcomes): Promise<Outcomes> {
    try {
      this.program.kill("SIGKILL");
    } catch {
      // It has ended, as the client told it to.
    }
    const closes = (await this.program.rest()).map((line) => JSON.parse(line));
    const isTold = closes.some(({ code, reason }) =>
      code === 4001 && reason === "bye"
    );
    if (isTold || outcomes["client closes"] !== "") return outcomes;
    const told = closes.map(({ code, reason }) => `${code} "${reason}"`);
    return { ...outcomes, "client closes": `the server was told ${told}` };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.program[Symbol.asyncDispose]();
  }
}

export type { Run };
