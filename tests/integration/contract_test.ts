/** Contracts: what both ends import. */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { assertType, type IsExact } from "@std/testing/types";
import { type } from "arktype";
import * as v from "valibot";
import { z } from "zod";
import {
  ClientSocket,
  type Codec,
  RequestError,
  SchemaError,
  ServerSocket,
} from "../../mod.ts";
import {
  type ClientTypes,
  contract,
  type ServerTypes,
} from "../../contract.ts";
import { channel, channels } from "../../channels.ts";
import { MemoryNetwork } from "../../testing.ts";

const ZOD = contract({
  client: {
    say: z.object({ text: z.string() }),
    typing: z.object({}),
    sum: {
      data: z.object({ numbers: z.array(z.number()) }),
      reply: z.number(),
    },
  },
  server: {
    said: z.object({ text: z.string() }),
    confirm: { data: z.object({ what: z.string() }), reply: z.boolean() },
  },
});

const VALIBOT = contract({
  client: {
    say: v.object({ text: v.string() }),
    typing: v.object({}),
    sum: {
      data: v.object({ numbers: v.array(v.number()) }),
      reply: v.number(),
    },
  },
  server: {
    said: v.object({ text: v.string() }),
    confirm: { data: v.object({ what: v.string() }), reply: v.boolean() },
  },
});

const ARKTYPE = contract({
  client: {
    say: type({ text: "string" }),
    typing: type({}),
    sum: { data: type({ numbers: "number[]" }), reply: type("number") },
  },
  server: {
    said: type({ text: "string" }),
    confirm: { data: type({ what: "string" }), reply: type("boolean") },
  },
});

/** The sockets of one library, behind types that all three have to agree with. */
const LIBRARIES = {
  zod: () => ({
    server: new ServerSocket({ contract: ZOD }),
    client: new ClientSocket({ contract: ZOD }),
  }),
  valibot: () => ({
    server: new ServerSocket({ contract: VALIBOT }),
    client: new ClientSocket({ contract: VALIBOT }),
  }),
  arktype: () => ({
    server: new ServerSocket({ contract: ARKTYPE }),
    client: new ClientSocket({ contract: ARKTYPE }),
  }),
};

/** A client without types and schemas. */
async function plainClient(network: MemoryNetwork): Promise<ClientSocket> {
  const client = new ClientSocket();
  await client.connect(network.url);
  return client;
}

for (const [name, create] of Object.entries(LIBRARIES)) {
  Deno.test(`contract() of ${name} types and validates both ends`, async () => {
    const ends = create();
    await using server = ends.server;
    await using client = ends.client;
    await using network = new MemoryNetwork(server);
    server.on("message:say", ({ data }) => {
      assertType<IsExact<typeof data, { type: "say"; text: string }>>(true);
      server.broadcast({ type: "said", text: data.text.toUpperCase() });
    });
    server.handle({
      sum: ({ data }) => {
        assertType<
          IsExact<typeof data, { type: "sum"; numbers: number[] }>
        >(true);
        return data.numbers.reduce((a, b) => a + b, 0);
      },
    });
    client.handle({ confirm: ({ data }) => data.what === "yes" });
    await client.connect(network.url);
    const said = client.waitFor("message:said");
    await client.send({ type: "say", text: "hello" });
    const [{ data }] = await said;
    assertEquals(data, { type: "said", text: "HELLO" });
    const sum = await client.request({ type: "sum", numbers: [1, 2, 3] });
    assertType<IsExact<typeof sum, number>>(true);
    assertStrictEquals(sum, 6);
    const [peer] = server.clients;
    assert(peer);
    const isSure = await peer.request({ type: "confirm", what: "yes" });
    assertType<IsExact<typeof isSure, boolean>>(true);
    assertStrictEquals(isSure, true);
  });

  Deno.test(`contract() of ${name} rejects what the other end may not send`, async () => {
    await using server = create().server;
    await using network = new MemoryNetwork(server);
    const heard: unknown[] = [];
    const errors: unknown[] = [];
    server.on("message", ({ data }) => heard.push(data));
    server.on("error", (error) => errors.push(error));
    server.handle({ sum: ({ data }) => data.numbers.length });
    await using client = await plainClient(network);
    for (
      const bad of [
        { type: "say", text: 1 },
        { type: "say" },
        { type: "nothing" },
        { type: "toString" },
        { type: "said", text: "that of the server" },
        { type: "sum", numbers: [] }, // a request
        { text: "no type" },
        "text",
        [1],
      ]
    ) await client.send(bad);
    for (
      const [request, text] of [
        [{ type: "sum", numbers: ["1"] }, "numbers"],
        [{ type: "sum" }, "numbers"],
        [{ type: "say", text: "a message" }, '"say"'],
        [{ type: "product" }, '"product"'],
        ["text", "type"],
      ] as const
    ) {
      const error = await assertRejects(
        () => client.request(request),
        RequestError,
        text,
      );
      assertStrictEquals(error.code, "invalid");
    }
    assertStrictEquals(
      await client.request({ type: "sum", numbers: [1] }),
      1,
    );
    await client.send({ type: "say", text: "good" });
    await client.send({ type: "typing" });
    await client.request({ type: "sum", numbers: [] });
    assertEquals(heard, [{ type: "say", text: "good" }, { type: "typing" }]);
    assertStrictEquals(errors.length, 9 + 5);
    for (const error of errors) assertInstanceOf(error, SchemaError);
  });

  Deno.test(`contract() of ${name} validates replies where they arrive`, async () => {
    // A server of another version: it replies with something else.
    await using server = new ServerSocket();
    server.handle("sum", () => "six");
    server.on("connect", (client) => client.send({ type: "said", text: 1 }));
    await using network = new MemoryNetwork(server);
    await using client = create().client;
    const failed = client.waitFor("error");
    client.on("message", () => {
      throw new Error("An invalid message was emitted");
    });
    await client.connect(network.url);
    assertInstanceOf((await failed)[0], SchemaError);
    const error = await assertRejects(
      () => client.request({ type: "sum", numbers: [] }),
      SchemaError,
    );
    assertStrictEquals(error.issueCount, 1);
  });
}

Deno.test("contract() validates the replies of many clients", async () => {
  await using server = new ServerSocket({ contract: ZOD });
  await using network = new MemoryNetwork(server);
  await using good = new ClientSocket({ contract: ZOD });
  good.handle({ confirm: () => true });
  await good.connect(network.url);
  await using bad = await plainClient(network);
  bad.handle(() => "perhaps");
  server.on("connect", (client) => client.join("all"));
  for (const client of server.clients) client.join("all");
  const { replies, failures } = await server.to("all")
    .request({ type: "confirm", what: "?" });
  assertType<IsExact<typeof replies, ReadonlyMap<string, boolean>>>(true);
  assertEquals([...replies.values()], [true]);
  const [failure] = failures.values();
  assertInstanceOf(failure, SchemaError);
  assertStrictEquals(failures.size, 1);
});

Deno.test("contract() sends the input of a schema and receives its output", async () => {
  const shared = contract({
    client: {
      at: z.object({ time: z.iso.datetime().transform((s) => new Date(s)) }),
      page: {
        data: z.object({ size: z.number().default(10) }),
        reply: z.object({ total: z.number().default(0) }),
      },
    },
  });
  await using server = new ServerSocket({ contract: shared });
  await using network = new MemoryNetwork(server);
  const heard = server.waitFor("message:at");
  server.handle({
    page: ({ data }) => {
      assertType<IsExact<typeof data, { type: "page"; size: number }>>(true);
      assertStrictEquals(data.size, 10);
      return {};
    },
  });
  await using client = new ClientSocket({ contract: shared });
  await client.connect(network.url);
  await client.send({ type: "at", time: new Date(0).toISOString() });
  const [{ data }] = await heard;
  assertType<IsExact<typeof data, { type: "at"; time: Date }>>(true);
  assertEquals(data, { type: "at", time: new Date(0) });
  const reply = await client.request({ type: "page" });
  assertType<IsExact<typeof reply, { total: number }>>(true);
  assertEquals(reply, { total: 0 });
});

Deno.test("contract() closes a connection with invalid data under onInvalid", async () => {
  await using server = new ServerSocket({ contract: ZOD, onInvalid: "close" });
  server.on("error", () => {});
  await using network = new MemoryNetwork(server);
  await using client = await plainClient(network);
  const closed = client.waitFor("close");
  await client.send({ type: "nothing" });
  assertStrictEquals((await closed)[0], 1008);
});

Deno.test("contract() refuses what is no contract, where it is passed", () => {
  const plain: object = { client: { say: z.object({}) } };
  const untyped: (definition: object) => object = contract;
  const parts = { client: { say: { text: "string" } } };
  assertThrows(() => untyped(parts), TypeError, "Standard Schema");
  assertThrows(() => untyped({ clint: {} }), TypeError, '"clint"');
  assertThrows(() => untyped({ client: 1 }), TypeError, '"client"');
  assertThrows(() => untyped({ codec: 1 }), TypeError, '"codec"');
  const half = { client: { sum: { data: z.object({}) } } };
  assertThrows(() => untyped(half), TypeError, "Standard Schema");
  for (const Socket of [ServerSocket, ClientSocket]) {
    assertThrows(
      () => Reflect.construct(Socket, [{ contract: plain }]),
      TypeError,
      "contract() of @ws/events/contract",
    );
    assertThrows(
      () => Reflect.construct(Socket, [{ contract: ZOD, schema: z.string() }]),
      TypeError,
      'Cannot use "schema" together with "contract"',
    );
  }
});

const UPPER: Codec = {
  name: "upper",
  encode: (value) => JSON.stringify(value),
  decode: (frame) => typeof frame === "string" ? JSON.parse(frame) : frame,
};

Deno.test("contract() requires the codec that it names", () => {
  const binary = contract({
    codec: "upper",
    client: { blob: z.object({ bytes: z.instanceof(Uint8Array) }) },
  });
  new ServerSocket({ contract: binary, codec: UPPER });
  assertThrows(
    () => new ServerSocket({ contract: binary }),
    TypeError,
    'a contract for the codec "upper" with JSON',
  );
  assertThrows(
    () => new ClientSocket({ contract: ZOD, codec: UPPER }),
    TypeError,
    'a contract for JSON with the codec "upper"',
  );
});

interface Chat {
  client: {
    say: { text: string };
    sum(data: { numbers: number[] }): number;
    leave(): void;
  };
  server: {
    said: { text: string };
    confirm(data: { what: string }): boolean;
  };
  presence: { name: string };
}

Deno.test("a contract of types works without schemas", async () => {
  await using server = new ServerSocket<
    ServerTypes<Chat> & { context: { name: string } }
  >({
    authorize: () => ({ name: "ada" }),
    presence: ({ context }) => ({ name: context.name }),
  });
  await using network = new MemoryNetwork(server);
  const left: string[] = [];
  server.handle({
    sum: async ({ data }) => await Promise.resolve(data.numbers.length),
    leave: ({ author }) => void left.push(author.context.name),
  });
  server.on("join", ({ data }) => {
    assertType<IsExact<typeof data, { name: string }>>(true);
  });
  await using client = new ClientSocket<ClientTypes<Chat>>();
  client.handle("confirm", ({ data }) => data.what === "yes");
  await client.connect(network.url);
  assertStrictEquals(await client.request({ type: "sum", numbers: [1] }), 1);
  const nothing = await client.request({ type: "leave" });
  assertType<IsExact<typeof nothing, null>>(true);
  assertStrictEquals(nothing, null);
  assertEquals(left, ["ada"]);
});

Deno.test("handle() takes the handlers of all types, and of some without a contract", async () => {
  await using server = new ServerSocket();
  await using network = new MemoryNetwork(server);
  const controller = new AbortController();
  server.handle({ one: () => 1, two: () => 2 }, { signal: controller.signal });
  assertThrows(() => server.handle({ two: () => 2 }), Error, '"two" twice');
  await using client = await plainClient(network);
  assertStrictEquals(await client.request({ type: "one" }), 1);
  assertStrictEquals(await client.request({ type: "two" }), 2);
  controller.abort();
  server.handle({ three: () => 3 });
  await assertRejects(() => client.request({ type: "one" }), RequestError);
  assertStrictEquals(await client.request({ type: "three" }), 3);
  assertThrows(
    () => Reflect.apply(server.handle, server, [{ four: 4 }]),
    TypeError,
    '"four"',
  );
});

Deno.test("contract() validates requests that survive a loss, and their replies", async () => {
  await using server = new ServerSocket({
    contract: ZOD,
    retries: true,
  });
  server.on("error", () => {});
  let reply: number = 6;
  server.handle({ sum: () => reply });
  await using network = new MemoryNetwork(server);
  await using client = new ClientSocket({ contract: ZOD, reconnect: true });
  await client.connect(network.url);
  const sum = await client.request(
    { type: "sum", numbers: [1] },
    { retry: true },
  );
  assertType<IsExact<typeof sum, number>>(true);
  assertStrictEquals(sum, 6);
  reply = NaN; // which JSON makes null of
  await assertRejects(
    () => client.request({ type: "sum", numbers: [1] }, { retry: true }),
    SchemaError,
  );
  await using other = new ClientSocket({ reconnect: true });
  await other.connect(network.url);
  const error = await assertRejects(
    () => other.request({ type: "sum" }, { retry: true }),
    RequestError,
  );
  assertStrictEquals(error.code, "invalid");
});

interface Orders {
  client: {
    note: { text: string };
    sum(data: { extra: number }): string;
  };
  server: { moved: { to: string } };
}

Deno.test("a contract of types types a channel, apart from that of its socket", async () => {
  await using server = new ServerSocket({ contract: ZOD });
  server.on("error", () => {});
  const orders = channels(server).channel<ServerTypes<Orders>>("orders/:id", {
    join: () => true,
  });
  orders.on("message:note", ({ data, author }) => {
    assertType<IsExact<typeof data, { type: "note"; text: string }>>(true);
    author.send({ type: "moved", to: data.text });
  });
  orders.handle({
    sum: ({ data, author }) => {
      assertType<IsExact<typeof data, { type: "sum"; extra: number }>>(true);
      return `${author.name}: ${data.extra}`;
    },
  });
  await using network = new MemoryNetwork(server);
  await using client = new ClientSocket({ contract: ZOD });
  await client.connect(network.url);
  const order = channel<ClientTypes<Orders>>(client, "orders/42");
  const moved = order.waitFor("message:moved");
  await order.send({ type: "note", text: "door" });
  const [{ data }] = await moved;
  assertType<IsExact<typeof data, { type: "moved"; to: string }>>(true);
  assertEquals(data, { type: "moved", to: "door" });
  // The contract of the socket has a request of that type with another reply.
  const sum = await order.request({ type: "sum", extra: 1 });
  assertType<IsExact<typeof sum, string>>(true);
  assertStrictEquals(sum, "orders/42: 1");
  const mistakes = () => {
    // @ts-expect-error no number
    order.request({ type: "sum", extra: "1" });
    // @ts-expect-error no message
    order.send({ type: "sum", extra: 1 });
    // @ts-expect-error another reply
    orders.handle("sum", () => 1);
    // @ts-expect-error a handler is missing
    orders.handle({});
  };
  assertStrictEquals(typeof mistakes, "function");
});
