import {
  assert,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { ClientSocket } from "../../../client.ts";

/** Calls with whatever a program in plain JavaScript may pass. */
function connect(...args: unknown[]): Promise<unknown> {
  const client = new ClientSocket({ reconnect: true });
  return Reflect.apply(client.connect, client, args);
}

function create(...args: unknown[]): unknown {
  return Reflect.construct(ClientSocket, args);
}

const CONNECTS: readonly (readonly [unknown[], string])[] = [
  [["localhost", 3000], 'connect("ws://localhost:3000")'],
  [[3000], 'connect("ws://localhost:3000")'],
  [[], "Cannot connect to undefined: pass a URL"],
  [[null], "Cannot connect to null: pass a URL"],
  [[{ url: "ws://x" }], "Cannot connect to a value of type object"],
  [[Promise.resolve("ws://x")], "or a function that returns one"],
  [["ws://x", "chat"], 'new ClientSocket({ protocols: "chat" })'],
  [["ws://x", ["a", "b"]], 'new ClientSocket({ protocols: ["a","b"] })'],
  [["ws://x", { protocols: [] }], "new ClientSocket({ protocols })"],
  [["ws://x", { headers: {} }], "new ClientSocket({ headers })"],
  [["ws://x", { sginal: null }], 'did you mean "signal"?'],
  [["ws://x", 3000], 'Cannot use "options" unless it is an object'],
  [[() => null], "Cannot connect to null: the function for the URL must"],
  [[() => {}], "Cannot connect to undefined: the function for the URL must"],
  [[() => Promise.resolve({})], "Cannot connect to a value of type object"],
];

for (const [args, text] of CONNECTS) {
  const shown = Deno.inspect(args, { colors: false }).slice(2, -2);
  Deno.test(`ClientSocket.connect() rejects (${shown}) as what it is`, async () => {
    const error = await assertRejects(() => connect(...args), TypeError);
    assertStringIncludes(error.message, text);
  });
}

for (const url of ["localhost:3000", "ftp://x", "localhost", ""]) {
  Deno.test(`ClientSocket.connect() rejects the URL "${url}"`, async () => {
    const error = await assertRejects(() => connect(url), DOMException);
    assert(error.name === "SyntaxError");
    assertStringIncludes(error.message, "ws://localhost:3000/live");
  });
}

Deno.test("new ClientSocket() says where a URL goes", () => {
  const error = assertThrows(() => create({ url: "ws://a:b@x" }), TypeError);
  assertStringIncludes(error.message, "pass it to connect()");
  assert(!error.message.includes("a:b"), "a secret is told");
  assertThrows(() => create("ws://x"), TypeError, "pass the URL to connect()");
});

Deno.test("ClientSocket rejects subprotocols that are no list", async () => {
  for (const protocols of [5, null, () => null]) {
    const client = create({ protocols });
    assertInstanceOf(client, ClientSocket);
    await assertRejects(
      () => client.connect("ws://127.0.0.1:1"),
      TypeError,
      'Cannot use "protocols" unless it is a string or an array',
    );
  }
});
