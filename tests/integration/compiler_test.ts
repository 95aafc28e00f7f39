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

const CONTRACT = `
import { contract, type ClientTypes, type ServerTypes } from ${
  JSON.stringify(new URL("../../contract.ts", import.meta.url))
};
import { z } from ${JSON.stringify(import.meta.resolve("zod"))};
interface Chat {
  client: {
    say: { text: string };
    sum(data: { numbers: number[] }): number;
    root(data: { of: number }): number | null;
  };
  server: { said: { text: string } };
  presence: { name: string };
}
const server = new ServerSocket<ServerTypes<Chat>>();
const client = new ClientSocket<ClientTypes<Chat>>();
const chat = contract({
  client: {
    say: z.object({ text: z.string() }),
    sum: { data: z.object({ numbers: z.array(z.number()) }), reply: z.number() },
    root: { data: z.object({ of: z.number() }), reply: z.number().nullable() },
  },
  server: { said: z.object({ text: z.string() }) },
});
const checked = {
  server: new ServerSocket({ contract: chat }),
  client: new ClientSocket({ contract: chat }),
};
`;

Deno.test({
  name: "the compiler refuses what a contract does not have, in one message",
  ignore,
  async fn() {
    const mistakes: [code: string, message: RegExp][] = [
      [
        `client.request({ type: "sum", numbers: "1" })`,
        /Type 'string' is not assignable to type 'number\[\]'/,
      ],
      [
        `client.request({ type: "sum" })`,
        /Argument of type '\{ type: "sum"; \}' is not assignable/,
      ],
      [
        `client.request({ type: "sum", numbers: [], more: 1 })`,
        /'more' does not exist in type/,
      ],
      [
        `client.request({ type: "product" })`,
        /Type '"product"' is not assignable to type '"(sum" \| "root|root" \| "sum)"'/,
      ],
      [
        `client.request({ type: "say", text: "" })`,
        /Type '"say"' is not assignable to type '"(sum" \| "root|root" \| "sum)"'/,
      ],
      [
        `client.send({ type: "say", txt: "" })`,
        /'txt' does not exist in type '\{ type: "say"; text: string; \}'. Did you mean to write 'text'\?/,
      ],
      [
        `client.send({ type: "sum", numbers: [] })`,
        /'(sum"|"sum")' is not assignable to type '"say"'/,
      ],
      [
        `client.request({ type: "sum", numbers: [] }).then((sum: string) => sum)`,
        /Argument of type '\(sum: string\) => string' is not assignable to parameter of type '\(value: number\)/,
      ],
      [
        `server.broadcast({ type: "said", text: 1 })`,
        /Type 'number' is not assignable to type 'string'/,
      ],
      [
        `server.on("message:sya", () => {})`,
        /'"message:sya"' is not assignable to parameter of type .*"message:say"/,
      ],
      [
        `server.handle("sum", () => ({ text: "no number" }))`,
        /Type '\{ text: string; \}' is not assignable to type 'number \| PromiseLike<number>'/,
      ],
      [
        `server.handle("sum", () => {})`,
        /Argument of type '\(\) => void' is not assignable/,
      ],
      [
        `server.handle("product", () => 1)`,
        /'"product"' is not assignable to parameter of type '"(sum" \| "root|root" \| "sum)"'/,
      ],
      [
        `server.handle({ sum: () => 1 })`,
        /Argument of type '\{ sum: \(\) => number; \}' is not assignable/,
      ],
      [
        `server.handle({ sum: () => 1, root: () => "1" })`,
        /Type 'string' is not assignable to type 'number \| PromiseLike<number \| null> \| null'/,
      ],
      [
        `server.handle(() => 1)`,
        /Argument of type '\(\) => number' is not assignable/,
      ],
      [
        `server.handle("sum", (request) => { request.reply("1"); return 1; })`,
        /Argument of type 'string' is not assignable to parameter of type 'number'/,
      ],
    ];
    const both = mistakes.flatMap(([code, message]) => [
      { code, message },
      { code: `checked.${code}`, message },
    ]);
    const program = both.map(({ code }) => code).join(";\n");
    const output = await outputOf(`${CONTRACT}\n${program};
    server.on("join", ({ data }) => data.age);`);
    const errors = output.split("\n").filter((line) => line.startsWith("TS"));
    assertEquals(errors.length, both.length + 1, output);
    for (const [i, { message }] of both.entries()) {
      assertMatch(errors[i] ?? "", message);
    }
    assertMatch(output, /Property 'root' is missing in type '\{ sum: /);
    assertMatch(output, /'age' does not exist on type '\{ name: string; \}'/);
  },
});

Deno.test({
  name: "the compiler refuses values in a contract that JSON would change",
  ignore,
  async fn() {
    const changed: [type: string, schema: string, message: string][] = [
      ["Date", "z.date()", "JSON makes a string of a Date"],
      ["Map<string, 1>", "z.map(z.string(), z.literal(1))", "{} of a Map"],
      ["Set<string>", "z.set(z.string())", "JSON makes {} of a Set"],
      ["Uint8Array", "z.instanceof(Uint8Array)", "JSON cannot hold bytes"],
      ["bigint", "z.bigint()", "JSON has no bigint"],
      ["symbol", "z.symbol()", "JSON has no symbols"],
      ["() => void", "z.custom<() => void>()", "JSON omits functions"],
      ["Promise<1>", "z.promise(z.literal(1))", "{} of a promise"],
      ["(1 | undefined)[]", "z.undefined()", "null of undefined"],
    ];
    const types = [
      (type: string) => `{ client: { say: { deep: { at: ${type} }[] } } }`,
      (type: string) => `{ server: { ask(data: { at: ${type} }): number } }`,
      (type: string) => `{ client: { ask(data: { of: 1 }): { at: ${type} } } }`,
      (type: string) => `{ presence: { at: ${type} } }`,
    ];
    const schemas = [
      (schema: string) =>
        `{ client: { say: z.object({ at: z.array(${schema}) }) } }`,
      (schema: string) =>
        `{ client: { ask: { data: z.object({}), reply: z.array(${schema}) } } }`,
    ];
    const programs = changed.flatMap(([type, schema, message]) => [
      ...types.map((wrap) => ({
        code: `new ServerSocket<ServerTypes<${wrap(type)}>>();`,
        message,
      })),
      ...schemas.map((wrap) => ({
        code: `contract(${wrap(schema)});`,
        message,
      })),
    ]);
    const output = await outputOf(
      CONTRACT + programs.map(({ code }) => `${code}\n`).join(""),
    );
    const errors = output.split(/^TS/m).slice(1);
    assertEquals(errors.length, programs.length, output);
    for (const [i, { message }] of programs.entries()) {
      assert(errors[i]?.includes(message), `${message}: ${errors[i]}`);
    }
    const fine = `
    type Json = string | number | boolean | null | Json[] | { [name: string]: Json };
    interface Tree { name: string; children: Tree[] }
    interface Fine {
      client: {
        a: { tree: Tree; json: Json; id: string & { readonly brand: "id" } };
        b: { maybe?: string; pair: [number, string]; any: unknown };
        c: { error: { name: string; message: string }; list: readonly 1[] };
        d: { kind: "x"; x: number } | { kind: "y"; y: string };
        e(data: { tree: Tree; pair: [1, 2] }): Json;
        f: Record<string, never>;
      };
    }
    new ServerSocket<ServerTypes<Fine>>();
    new ClientSocket<ClientTypes<Fine>>().send({ type: "d", kind: "x", x: 1 });
    new ClientSocket<ClientTypes<Fine>>().send({ type: "f" });
    contract({ client: { a: z.object({ at: z.coerce.date() }) } });
    contract({ codec: "msgpack", client: { a: z.object({ at: z.date() }) } });
    new ServerSocket<ServerTypes<{ codec: "x"; client: { a: { at: Date } } }>>();`;
    assertEquals(await errorsOf(CONTRACT + fine), []);
  },
});

Deno.test({
  name: "the compiler refuses misspelt names in a contract",
  ignore,
  async fn() {
    const output = await outputOf(`${CONTRACT}
    new ServerSocket<ServerTypes<{ clent: { say: { text: string } } }>>();
    contract({ serer: { said: z.object({}) } });
    contract({ client: { ask: { data: z.object({}) } } });
    contract({ client: { say: z.string() } });
    new ServerSocket<ServerTypes<{ client: { say: string } }>>();`);
    assertEquals(output.match(/^TS\d+/gm)?.length, 5, output);
    const names = output.match(/no such name: the names are client, server/g);
    assert((names?.length ?? 0) >= 2, output);
    assertMatch(output, /Property 'reply' is missing in type '\{ data: /);
    assertMatch(output, /data is an object, as its type is a property beside/);
  },
});
