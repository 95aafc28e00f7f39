/** A server that answers nothing does not keep a program, in any runtime. */

import { assert, assertStrictEquals } from "@std/assert";
import { deadline } from "@std/async";
import { bundle } from "../support/bundle.ts";
import { MuteServer } from "../support/mute_server.ts";
import { lacksPermission } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { findRuntime } from "../support/runtimes.ts";

const mayRun = !await lacksPermission("net", "run", "read", "write", "env");

const RUNTIMES = {
  deno: async () => await [Deno.execPath(), "run", "--allow-all"],
  node: async () => [await findRuntime("node") ?? ""],
  bun: async () => [await findRuntime("bun") ?? ""],
};

for (const [name, find] of Object.entries(RUNTIMES)) {
  const [command = "", ...args] = mayRun ? await find() : [];
  Deno.test({
    name: `ClientSocket in ${name} leaves no socket, and lets the program end`,
    ignore: !command,
    fn: async () => {
      await using server = new MuteServer();
      const file = await Deno.makeTempFile({ suffix: ".mjs" });
      try {
        const script = await bundle("tests/support/portable/mute_main.ts");
        await Deno.writeTextFile(file, script);
        await using program = new Program([...args, file, server.url], {
          command,
        });
        await program.line("done");
        await deadline(server.deserted(), 20_000);
        assert(server.count >= 8, `${server.count} connections`);
        await program.write("end");
        assertStrictEquals(await program.exit(), 0);
      } finally {
        await Deno.remove(file);
      }
    },
  });
}
