import { assert, assertEquals } from "@std/assert";
import { lacks } from "./support/permissions.ts";
import { Program } from "./support/program.ts";

Deno.test({
  name: "what has ended is let go, however it ended, and its socket, too",
  ignore: await lacks("net", "run", "read"),
  fn: async () => {
    await using program = new Program([
      "run",
      "--v8-flags=--expose-gc",
      "--allow-net",
      "tests/support/lets_go.ts",
    ]);
    const lines = await program.linesUntil("done");
    assert(lines.length >= 8, lines.join("; "));
    assertEquals(lines.filter((line) => !/^0 of|: 0 of/.test(line)), []);
  },
});

Deno.test({
  name: "a client that comes, is lost, comes back and goes leaves nothing",
  ignore: await lacks("net", "run", "read"),
  fn: async () => {
    await using program = new Program([
      "run",
      "--v8-flags=--expose-gc",
      "--allow-net",
      "tests/support/client_cycles.ts",
    ]);
    const lines = await program.linesUntil("done");
    assertEquals(lines.slice(0, 2), [
      "sockets: 0 of 1000 held",
      "connections: 0 of 1000 held",
    ]);
    const [, grown] = /^grown: (-?\d+) KiB$/.exec(lines[2] ?? "") ?? [];
    // A thousand of anything would be more than that.
    assert(Number(grown) < 128, lines[2]);
  },
});
