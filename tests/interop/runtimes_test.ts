/**
 * The client in other runtimes, against a server in Deno. Each is a program of its
 * own: `.ci/run` installs what is missing.
 */

import { assertEquals } from "@std/assert";
import { bundle } from "../support/bundle.ts";
import { cases, type Outcome } from "../support/portable/cases.ts";
import { CERTIFICATE, KEY } from "../support/certificate.ts";
import {
  type ForeignOutcome,
  tryForeign,
} from "../support/portable/foreign.ts";
import { reportOutcomes } from "../support/portable/report.ts";
import { serve } from "../support/portable/server.ts";
import { ServerSocket } from "../../server.ts";
import { lacksPermission } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { type RawBehaviour, RawServer } from "../support/raw_server.ts";
import { findRuntime } from "../support/runtimes.ts";

Deno.test({
  name: "ClientSocket in Deno passes the runtime tests",
  ignore: await lacksPermission("net"),
  fn: async (t) => {
    await using server = await serve();
    for (const [name, run] of Object.entries(cases)) {
      await t.step(name, () => run(server.url));
    }
  },
});

const mayRun = !await lacksPermission("net", "run", "read", "write", "env");

for (const name of ["node", "bun"] as const) {
  const command = mayRun ? await findRuntime(name) ?? "" : "";
  Deno.test({
    name: `ClientSocket in ${name} passes the runtime tests`,
    ignore: !command,
    fn: async (t) => {
      await using server = await serve();
      const file = await Deno.makeTempFile({ suffix: ".mjs" });
      try {
        const script = await bundle("tests/support/portable/main.ts");
        await Deno.writeTextFile(file, script);
        await using program = new Program([file, server.url], { command });
        const lines = await program.linesUntil("done");
        const outcomes: Outcome[] = lines.map((line) => JSON.parse(line));
        await reportOutcomes(t, outcomes);
      } finally {
        await Deno.remove(file);
      }
    },
  });
}

/** How many handshakes a server sees that treats an offer so: in Deno, and elsewhere. */
const HANDSHAKES: readonly (readonly [RawBehaviour, number, number])[] = [
  ["ignore", 1, 2],
  ["empty-close", 1, 2],
  ["first", 1, 1],
  ["wrong", 2, 2],
  ["list", 2, 2],
  ["refuse-400", 2, 2],
  ["hang-up", 3, 3],
];

const REFUSALS = [400, 401, 404, 503] as const;

/** Lets a runtime connect to each URL with default options. */
async function tryAll(
  name: "deno" | "node" | "bun",
  urls: readonly string[],
): Promise<ForeignOutcome[]> {
  if (name === "deno") return await Promise.all(urls.map(tryForeign));
  const file = await Deno.makeTempFile({ suffix: ".mjs" });
  try {
    const script = await bundle("tests/support/portable/foreign_main.ts");
    await Deno.writeTextFile(file, script);
    const command = await findRuntime(name) ?? "";
    await using program = new Program([file, ...urls], { command });
    const lines = await program.linesUntil("done");
    return lines.map((line) => JSON.parse(line));
  } finally {
    await Deno.remove(file);
  }
}

/** Runs a program in a runtime, and returns its lines up to `done`. */
async function runIn(
  command: string,
  module: string,
  urls: readonly string[],
): Promise<string[]> {
  const file = await Deno.makeTempFile({ suffix: ".mjs" });
  try {
    await Deno.writeTextFile(file, await bundle(module));
    const isDeno = command === Deno.execPath();
    const args = [...isDeno ? ["run", "--allow-all"] : [], file, ...urls];
    await using program = new Program(args, { command });
    return await program.linesUntil("done");
  } finally {
    await Deno.remove(file);
  }
}

for (const name of ["deno", "node", "bun"] as const) {
  const command = name === "deno"
    ? Deno.execPath()
    : mayRun && await findRuntime(name) || "";
  Deno.test({
    name:
      `ClientOptions.webSocket uses the classes of ws and undici in ${name}`,
    ignore: !mayRun || !command,
    fn: async () => {
      await using server = await serve();
      await using bare = new RawServer();
      const lines = await runIn(
        command,
        "tests/support/portable/classes_main.ts",
        [server.url, new URL(bare.url("ignore")).origin],
      );
      assertEquals(lines, ["ws", "undici"]);
    },
  });
  // `websocket_options_test.ts` has Deno's.
  if (name === "deno") continue;
  Deno.test({
    name: `ClientOptions.webSocket passes options of TLS in ${name}`,
    ignore: !mayRun || !command,
    fn: async () => {
      await using server = new ServerSocket();
      server.on("connect", (client) => {
        client.send(client.headers.get("X-Test") ?? "");
      });
      await server.listen("localhost", 0, { cert: CERTIFICATE, key: KEY });
      const module = "tests/support/portable/tls_main.ts";
      assertEquals(await runIn(command, module, [server.url]), ["yes", "tls"]);
    },
  });
}

for (const name of ["deno", "node", "bun"] as const) {
  const isThere = name === "deno" || mayRun && await findRuntime(name);
  Deno.test({
    name: `ClientSocket in ${name} connects to any server with default options`,
    ignore: !mayRun || !isThere,
    fn: async () => {
      await using server = new RawServer();
      const secure = Deno.serve({
        hostname: "127.0.0.1",
        port: 0,
        cert: CERTIFICATE,
        key: KEY,
        onListen: () => {},
      }, () => new Response());
      const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const { port } = closed.addr;
      closed.close();
      // Deno cannot tell an empty close frame from a server that is gone.
      const handshakes = HANDSHAKES.filter(([behaviour]) =>
        name !== "deno" || behaviour !== "empty-close"
      );
      const outcomes = await tryAll(name, [
        ...handshakes.map(([behaviour]) => server.url(behaviour)),
        ...REFUSALS.map((status) => server.url(`status-${status}`)),
        `ws://127.0.0.1:${port}/closed`,
        `wss://127.0.0.1:${secure.addr.port}/tls`,
        "ws://no-such-host.invalid/nowhere",
      ]);
      await secure.shutdown();
      const told = new Map(
        outcomes.map(({ path, ...rest }) => [path, rest] as const),
      );
      for (const [behaviour, inDeno, elsewhere] of handshakes) {
        assertEquals(told.get(behaviour), {
          heard: ["hello", { n: 1 }],
          protocol: "",
          end: [4001, "bye", "local"],
        }, behaviour);
        const count = name === "deno" ? inDeno : elsewhere;
        assertEquals(server.offersOf(behaviour).length, count, behaviour);
      }
      for (const status of REFUSALS) {
        const path = `status-${status}` as const;
        assertEquals(told.get(path), { kind: "refused", status });
        const count = status === 400 ? 2 : 1;
        assertEquals(server.offersOf(path).length, count, path);
      }
      for (
        const [path, kind] of [
          ["closed", "unreachable"],
          ["tls", "tls"],
          ["nowhere", "unreachable"],
        ] as const
      ) assertEquals(told.get(path)?.kind, kind, path);
    },
  });
}
