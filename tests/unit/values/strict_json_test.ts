import { assertEquals, assertThrows } from "@std/assert";
import { ClientSocket, type Connection, ServerSocket } from "../../../mod.ts";
import { assertJson } from "../../../core/values/strict_json.ts";
import { MemoryNetwork } from "../../../testing.ts";

class Point {
  constructor(readonly x: number, readonly y: number) {}
}

Deno.test("assertJson() accepts what JSON represents", () => {
  const circle: Record<string, unknown> = {};
  circle.self = circle; // JSON.stringify throws an error of its own
  for (
    const value of [
      null,
      true,
      "",
      -1.5,
      [],
      {},
      [1, [null, { a: [] }]],
      { a: undefined },
      Object.create(null),
      new Point(1, 2),
      undefined, // encodeValue() refuses it
      circle,
      { "a b": { [Symbol()]: 1n } },
    ]
  ) assertJson(value);
});

Deno.test("assertJson() names the path to what JSON would change", () => {
  const cases: [value: unknown, message: string][] = [
    [
      { a: { b: [0, new Map()] } },
      "data.a.b[1] as JSON would make {} of a Map",
    ],
    [[new Set([1])], "data[0] as JSON would make {} of a Set"],
    [{ at: new Date(0) }, "data.at as JSON would send what its toJSON()"],
    [{ url: new URL("ws://a") }, "toJSON() returns instead of the URL"],
    [{ raw: new Uint8Array(2) }, "an object of the bytes of a Uint8Array"],
    [{ raw: new DataView(new ArrayBuffer(1)) }, "of a DataView"],
    [{ raw: new ArrayBuffer(2) }, "{} of a ArrayBuffer"],
    [{ n: 1n }, "data.n as JSON has no bigint"],
    [{ n: NaN }, "data.n as JSON would make null of NaN"],
    [{ n: -Infinity }, "null of -Infinity"],
    [{ f() {} }, "data.f as JSON would omit a function"],
    [{ s: Symbol("s") }, "data.s as JSON would omit a symbol"],
    [[1, undefined], "data[1] as JSON would make null of undefined"],
    [new Array(1), "data[0] as JSON would make null of undefined"],
    [{ e: new Error("lost") }, "data.e as JSON would make {} of a Error"],
    [{ e: Object.assign(new Error("lost"), { code: 1 }) }, "of a Error"],
    [{ p: Promise.resolve() }, "data.p as JSON would make {} of a Promise"],
    [{ r: /a/ }, "data.r as JSON would make {} of a RegExp"],
    [NaN, "Cannot send data as"],
  ];
  for (const [value, message] of cases) {
    assertThrows(() => assertJson(value), TypeError, message);
  }
});

Deno.test("assertJson() is not stopped by depth or names", () => {
  let deep: unknown = new Map();
  for (let i = 0; i < 900; i++) deep = [deep];
  assertThrows(() => assertJson(deep), TypeError, "of a Map");
  for (let i = 0; i < 20_000; i++) deep = [deep];
  assertJson(deep); // too deep to check, but no error of the stack
  const error = assertThrows(
    () => assertJson({ "\u0007\n": new Map() }),
    TypeError,
  );
  assertEquals(error.message.includes("\n"), false);
});

Deno.test("strictJson checks all that a socket sends", async () => {
  await using server = new ServerSocket({ strictJson: true });
  await using network = new MemoryNetwork(server);
  const errors: unknown[] = [];
  server.on("error", (error) => errors.push(error));
  server.on("message", ({ data, author }) => void author.send({ got: data }));
  await using client = new ClientSocket({ strictJson: true });
  await client.connect(network.url);
  const [peer]: Connection[] = [...server.clients];
  const bad = { list: [new Map()] };
  const message = "data.list[0]";
  for (
    const send of [
      () => client.send(bad),
      () => client.request(bad),
      () => client.connection?.send(bad),
      () => peer?.send(bad),
      () => peer?.request(bad),
      () => server.broadcast(bad),
      () => server.to("room").send(bad),
    ]
  ) assertThrows(send, TypeError, message);
  const echo = client.waitFor("message");
  await client.send({ list: [1] });
  assertEquals((await echo)[0].data, { got: { list: [1] } });
  const bytes = client.waitFor("message");
  await peer?.send(new Uint8Array([7]));
  assertEquals((await bytes)[0].data, new Uint8Array([7]));
  const text = client.waitFor("message");
  await peer?.send("{no JSON");
  assertEquals((await text)[0].data, "{no JSON");
  server.handle("bad", () => bad);
  const failed = await client.request({ type: "bad" }).catch(({ code }) =>
    code
  );
  assertEquals(failed, "internal");
  assertEquals(errors.length, 1);
});

Deno.test("strictJson is off by default, and understood by any peer", async () => {
  await using server = new ServerSocket({ strictJson: true });
  await using network = new MemoryNetwork(server);
  const heard = server.waitFor("message");
  await using client = new ClientSocket();
  await client.connect(network.url);
  await client.send({ map: new Map() });
  assertEquals((await heard)[0].data, { map: {} });
});
