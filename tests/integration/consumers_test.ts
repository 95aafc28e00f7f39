/**
 * The package as JSR serves it to npm, with its JavaScript and types, in programs
 * of others: `deno pack` makes the same files.
 */

import { assertEquals, assertStrictEquals } from "@std/assert";
import { ServerSocket } from "../../server.ts";
import { lacksPermission } from "../support/permissions.ts";
import { findRuntime } from "../support/runtimes.ts";

/** Where `.ci/run` puts TypeScript and the types of Node. */
const CONSUMER = new URL("../../.runtimes/consumer/", import.meta.url).pathname;

const ROOT = new URL("../../", import.meta.url).pathname;

const mayRun = !await lacksPermission("net", "run", "read", "write", "env");

const node = mayRun ? await findRuntime("node") ?? "" : "";

const bun = mayRun ? await findRuntime("bun") ?? "" : "";

/** Runs a program, and gives all that it says. */
async function run(
  command: string,
  args: string[],
  cwd: string,
): Promise<string> {
  const { stdout, stderr } = await new Deno.Command(command, {
    args,
    cwd,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return decoder.decode(stdout) + decoder.decode(stderr);
}

/** Makes a folder of a program that has installed the package. */
async function install(): Promise<string> {
  // Within, so that what is installed there is found.
  const folder = await Deno.makeTempDir({ dir: CONSUMER });
  const archive = `${folder}/package.tgz`;
  await run(Deno.execPath(), [
    "pack",
    "--quiet",
    "--allow-dirty",
    `--output=${archive}`,
  ], ROOT);
  const target = `${folder}/node_modules/@ws/events`;
  await Deno.mkdir(target, { recursive: true });
  const args = ["-xzf", archive, "-C", target, "--strip-components=1"];
  assertStrictEquals(await run("tar", args, folder), "");
  await Deno.writeTextFile(`${folder}/package.json`, '{"type":"module"}');
  for (const name of ["page.ts", "server.ts"]) {
    await Deno.copyFile(
      `${ROOT}tests/support/consumers/${name}`,
      `${folder}/${name}`,
    );
  }
  return folder;
}

/** The settings of programs that have to compile, by what is special about them. */
const SETTINGS: Record<string, [file: string, options: object]> = {
  "a page, nodenext": ["page.ts", {
    lib: ["es2022", "dom"],
    types: [],
    module: "nodenext",
  }],
  "a page, bundler": ["page.ts", {
    lib: ["es2022", "dom"],
    types: [],
    module: "preserve",
    moduleResolution: "bundler",
  }],
  "a page, all of today's library": ["page.ts", {
    lib: ["esnext", "dom", "dom.iterable", "dom.asynciterable"],
    types: [],
    module: "nodenext",
  }],
  "Node without dom": ["page.ts", {
    lib: ["es2022"],
    types: ["node"],
    module: "nodenext",
  }],
  "a server, without dom": ["server.ts", {
    lib: ["es2022"],
    types: ["node"],
    module: "nodenext",
  }],
  "a server, dom": ["server.ts", {
    lib: ["es2022", "dom"],
    types: [],
    module: "nodenext",
  }],
};

/** A program in JavaScript that does without what older runtimes lack. */
const PROGRAM = `
delete Promise.withResolvers;
const { ClientSocket, ConnectError } = await import("@ws/events/client");
const all = await import("@ws/events");
const client = new ClientSocket();
await client.connect(process.argv[2]);
const answer = client.waitFor("message");
client.send({ hello: "server" });
const [message] = await answer;
console.log(JSON.stringify(message.data), all.ClientSocket === ClientSocket);
await client.close(4001, "bye");
await client.connect("ws://127.0.0.1:1").catch((error) => {
  console.log(error instanceof ConnectError);
});
`;

Deno.test({
  name: "the package on npm compiles in programs of others, and runs in theirs",
  ignore: !node || !bun,
  async fn(t) {
    const folder = await install();
    try {
      for (const [name, [file, options]] of Object.entries(SETTINGS)) {
        await t.step(`types: ${name}`, async () => {
          const config = {
            compilerOptions: {
              target: "es2022",
              strict: true,
              exactOptionalPropertyTypes: true,
              skipLibCheck: false,
              noEmit: true,
              ...options,
            },
            files: [file],
          };
          const path = `${folder}/tsconfig.json`;
          await Deno.writeTextFile(path, JSON.stringify(config));
          const compiler = `${CONSUMER}node_modules/typescript/bin/tsc`;
          assertEquals(await run(node, [compiler, "-p", path], folder), "");
        });
      }
      for (const [name, command] of Object.entries({ node, bun })) {
        await t.step(`runs: ${name}`, async () => {
          await using server = new ServerSocket();
          server.on("message", ({ author, content }) => author.send(content));
          await server.listen("127.0.0.1", 0);
          const ended = server.waitFor("close");
          await Deno.writeTextFile(`${folder}/program.mjs`, PROGRAM);
          assertEquals(
            await run(command, ["program.mjs", server.url], folder),
            '{"hello":"server"} true\ntrue\n',
          );
          const [, ...end] = await ended;
          assertEquals(end, [4001, "bye", "peer"]);
        });
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
