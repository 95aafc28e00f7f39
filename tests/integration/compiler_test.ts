/** What the compiler prints about a mistake, and what a subclass can see. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { documented } from "../../tools/package.ts";
import { ServerSocket } from "../../mod.ts";
import { SERVER_EVENT_NAMES } from "../../core/server/server_events.ts";
import { lacksPermission } from "../support/permissions.ts";

const ignore = await lacksPermission("run", "read", "write");

/** The errors of a program, a line each, without the names of files. */
async function errorsOf(program: string): Promise<string[]> {
  const lines = (await outputOf(program)).split("\n");
  return lines.filter((line) => line.startsWith("TS"));
}

/** All that the compiler prints about a program. */
async function outputOf(program: string): Promise<string> {
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    const entry = new URL("../../mod.ts", import.meta.url);
    await Deno.writeTextFile(
      file,
      `import { Audience, ClientSocket, ServerSocket } from ${
        JSON.stringify(entry)
      };\n` +
        program,
    );
    const { stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["check", file],
      env: { NO_COLOR: "1" },
    }).output();
    return new TextDecoder().decode(stderr);
  } finally {
    await Deno.remove(file);
  }
}

Deno.test({
  name: "the compiler lists the names of the events for a wrong one",
  ignore,
  async fn() {
    const calls = [
      'new ServerSocket().on("conect", () => {})',
      'new ServerSocket().once("conect", () => {})',
      'new ServerSocket().off("conect", () => {})',
      'new ServerSocket().waitFor("conect")',
      'new ServerSocket().collect("conect")',
      'new ServerSocket().events("conect")',
      'new ServerSocket().addEventListener("conect", () => {})',
      'new ServerSocket().on("connect", (one) => one.on("conect", () => {}))',
      'new ClientSocket().on("conect", () => {})',
      'new ServerSocket<{ incoming: { type: "chat" } }>().on("conect", () => {})',
    ];
    const errors = await errorsOf(calls.join(";\n"));
    assertEquals(errors.length, calls.length);
    for (const error of errors) {
      assertMatch(error, /"conect"' is not assignable to parameter of type '"/);
      for (const name of ["message", "close", "disconnect", "end", "error"]) {
        assert(error.includes(`"${name}"`), error);
      }
    }
    const [first = "", ...others] = errors;
    for (const name of SERVER_EVENT_NAMES) assert(first.includes(`"${name}"`));
    assertMatch(others.at(-1) ?? "", /"message:chat"/);
  },
});

Deno.test({
  name:
    "the compiler refuses misspelt names of types, and says which there are",
  ignore,
  async fn() {
    const misspelt = [
      "new ServerSocket<{ incoming: number; outgoin: string }>()",
      "new ClientSocket<{ incomming: number }>()",
      "type Sub = ServerSocket<{ contxt: string }>",
    ];
    const output = await outputOf(misspelt.join(";\n"));
    const errors = output.match(/does not satisfy the constraint/g) ?? [];
    assertEquals(errors.length, misspelt.length, output);
    for (const name of ["outgoin", "incomming", "contxt"]) {
      assertMatch(
        output,
        new RegExp(`readonly ${name}: "no such name: the names are incoming`),
      );
    }
    const fine = [
      "new ServerSocket()",
      "new ServerSocket<{ incoming: number; outgoing: string }>()",
      "new ClientSocket<{ reply: number; context: 1; presence: 2 }>()",
      `const schema = {
        "~standard": {
          version: 1,
          vendor: "",
          validate: () => ({ value: 1 }),
        },
        parse: () => 1,
      } as const`,
      `new ServerSocket({ schema }).on("message", ({ data }) => data.toFixed())`,
    ];
    assertEquals(await errorsOf(fine.join(";\n")), []);
  },
});

/** The members that classes have on their own account. */
function membersOf(value: object): string[] {
  const names: string[] = [];
  for (
    let one = value;
    one !== Object.prototype && one !== EventTarget.prototype;
    one = Object.getPrototypeOf(one)
  ) names.push(...Object.getOwnPropertyNames(one));
  return names;
}

Deno.test("a server shows a subclass no helper of its own", () => {
  const names = membersOf(new ServerSocket());
  assert(names.includes("fetch") && names.includes("shutdown"));
  assertEquals(names.filter((name) => /^[_#]|^emit/.test(name)), []);
});

Deno.test({
  name: "an audience cannot be created, only selected",
  ignore,
  async fn() {
    const [error = "", ...others] = await errorsOf("new Audience()");
    assertMatch(error, /Constructor of class 'Audience<.*>' is private/);
    assertEquals(others, []);
  },
});

Deno.test({
  name: "each event of a socket has a doc comment",
  ignore,
  async fn() {
    const { symbols = [] } = (await documented()).get(".") ?? {};
    for (const socket of ["Server", "Client", "Connection"]) {
      const [map] = symbols.find(({ name }) => name === `${socket}Events`)
        ?.declarations ?? [];
      const events = map?.def.properties ?? [];
      assert(events.length >= 4, socket);
      const bare = events.filter(({ jsDoc }) => !jsDoc?.doc);
      assertEquals(bare.map(({ name }) => name), []);
    }
  },
});
