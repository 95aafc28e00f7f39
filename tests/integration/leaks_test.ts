import { assert, assertEquals } from "@std/assert";
import { lacksPermission } from "../support/permissions.ts";
import { Program } from "../support/program.ts";

const ignore = await lacksPermission("net", "run", "read");

/** What a script of `tests/support` tells, which may have rubbish collected. */
function test(
  name: string,
  script: string,
  judge: (lines: string[]) => void,
): void {
  Deno.test({
    name,
    ignore,
    fn: async () => {
      await using program = new Program([
        "run",
        "--v8-flags=--expose-gc",
        "--allow-net",
        `tests/support/${script}.ts`,
      ]);
      judge(await program.linesUntil("done"));
    },
  });
}

test(
  "ended connections and their sockets are released",
  "leaks",
  (lines) => {
    assert(lines.length >= 8, lines.join("; "));
    assertEquals(lines.filter((line) => !/^0 of|: 0 of/.test(line)), []);
  },
);

test(
  "a reconnecting client is released",
  "client_cycles",
  ([sockets, connections, grown]) => {
    assertEquals(sockets, "sockets: 0 of 1000 held");
    assertEquals(connections, "connections: 0 of 1000 held");
    const [, size] = /^grown: (-?\d+) KiB$/.exec(grown ?? "") ?? [];
    // A thousand of anything would be more than that.
    assert(Number(size) < 128, grown);
  },
);
