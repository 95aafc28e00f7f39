/** Data that is checked, by schemas of real libraries. */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { assertType, type IsExact } from "@std/testing/types";
import { deadline } from "@std/async";
import { type } from "arktype";
import * as v from "valibot";
import { z } from "zod";
import {
  type ClientOptions,
  ClientSocket,
  RequestError,
  SchemaError,
  ServerSocket,
  type StandardSchema,
} from "../../mod.ts";
import { lacksPermission } from "../support/permissions.ts";

const ignore = await lacksPermission("net");

interface Chat {
  type: "chat";
  text: string;
}

const ZOD = z.object({ type: z.literal("chat"), text: z.string() });
const VALIBOT = v.object({ type: v.literal("chat"), text: v.string() });
const ARKTYPE = type({ type: "'chat'", text: "string" });

const SCHEMAS: [name: string, schema: StandardSchema<Chat>][] = [
  ["zod", ZOD],
  ["valibot", VALIBOT],
  ["arktype", ARKTYPE],
];

/** A client that is connected, and what ends with it. */
async function connect(
  server: { url: string },
  options: ClientOptions = {},
): Promise<ClientSocket> {
  const client = new ClientSocket(options);
  await client.connect(server.url);
  return client;
}

for (const [name, schema] of SCHEMAS) {
  Deno.test({
    name: `schema of ${name} accepts only valid data`,
    ignore,
    fn: async () => {
      await using server = new ServerSocket({ schema });
      const heard: Chat[] = [];
      const errors: unknown[][] = [];
      server.on("message", ({ data }) => heard.push(data));
      server.on("error", (...args) => errors.push(args));
      server.handle(({ data }) => data.text.length);
      await server.listen("127.0.0.1", 0);
      const connected = server.waitFor("connect");
      await using client = new ClientSocket();
      await client.connect(server.url);
      const [author] = await connected;
      await client.send({ type: "chat", text: 1 });
      await client.send({ type: "chat", text: "good" });
      await client.send("no JSON");
      await client.send(new Uint8Array([1]));
      assertStrictEquals(
        await client.request({ type: "chat", text: "four" }),
        4,
      );
      const error = await assertRejects(
        () => client.request({ type: "chat" }),
        RequestError,
        "does not match the schema: text: ",
      );
      assertStrictEquals(error.code, "invalid");
      assertEquals(heard, [{ type: "chat", text: "good" }]);
      assertStrictEquals(errors.length, 4);
      for (const [error, from, client] of errors) {
        assertInstanceOf(error, SchemaError);
        assert(error.issues.length > 0);
        assertStrictEquals(from, "message");
        assertStrictEquals(client, author);
      }
      const [[first] = []] = errors;
      assertInstanceOf(first, SchemaError);
      const [step] = first.issues[0]?.path ?? [];
      assertEquals(typeof step === "object" ? step.key : step, "text");
      assertStrictEquals(author.readyState, 1);
    },
  });
}

Deno.test("schema determines the type of data", () => {
  const servers = () => {
    new ServerSocket({ schema: ZOD }).on("message", ({ data }) => {
      assertType<IsExact<typeof data, Chat>>(true);
    });
    new ServerSocket({ schema: VALIBOT }).on("message", ({ data }) => {
      assertType<IsExact<typeof data, Chat>>(true);
    });
    new ServerSocket({ schema: ARKTYPE }).on("message", ({ data }) => {
      assertType<IsExact<typeof data, Chat>>(true);
    });
    new ClientSocket({ schema: ZOD }).on("message", ({ data }) => {
      assertType<IsExact<typeof data, Chat>>(true);
    });
    new ServerSocket<{ incoming: Chat; context: string }>({
      schema: ZOD,
      authorize: () => "ada",
    }).on("message", ({ data, author }) => {
      assertType<IsExact<typeof data, Chat>>(true);
      assertType<IsExact<typeof author.context, string>>(true);
    });
    // @ts-expect-error the schema lets something else pass
    new ServerSocket<{ incoming: { text: number } }>({ schema: ZOD });
    // @ts-expect-error no schema
    new ServerSocket<{ incoming: Chat }>({ schema: { parse: () => {} } });
  };
  assertStrictEquals(typeof servers, "function");
});

Deno.test({
  name: "schema transforms data",
  ignore,
  fn: async () => {
    const schema = z.object({
      at: z.coerce.date(),
      note: z.string().default("-"),
    });
    await using server = new ServerSocket({ schema });
    await server.listen("127.0.0.1", 0);
    const heard = server.waitFor("message");
    await using client = await connect(server);
    await client.send({ at: 0, more: true });
    const [message] = await heard;
    assertEquals(message.data, { at: new Date(0), note: "-" });
    assertStrictEquals(message.content, '{"at":0,"more":true}');
  },
});

Deno.test({
  name: "onInvalid: close closes a connection with invalid data",
  ignore,
  fn: async () => {
    await using server = new ServerSocket({ schema: ZOD, onInvalid: "close" });
    server.on("error", () => {});
    await server.listen("127.0.0.1", 0);
    await using client = await connect(server);
    const ofServer = server.waitFor("close");
    const ofClient = client.waitFor("close");
    await client.send("bad");
    const [, code, reason, cause] = await deadline(ofServer, 5_000);
    assertEquals([code, reason, cause], [
      1008,
      "A message does not match the schema",
      "protocol",
    ]);
    assertEquals((await ofClient)[0], 1008);
    // A client may not send that code: it sends another.
    await using strict = new ClientSocket({ schema: ZOD, onInvalid: "close" });
    strict.on("error", () => {});
    const connected = server.waitFor("connect");
    await strict.connect(server.url);
    const [peer] = await connected;
    const ended = peer.waitFor("close");
    await peer.send("bad");
    assertEquals((await deadline(ended, 5_000))[0], 4008);
  },
});

Deno.test({
  name: "request() validates the reply by its schema",
  ignore,
  fn: async () => {
    await using server = new ServerSocket();
    server.handle(() => ({ price: "12" }));
    await server.listen("127.0.0.1", 0);
    await using client = new ClientSocket<{ reply: { price: number } }>();
    await client.connect(server.url);
    const schema = z.object({ price: z.coerce.number() });
    const answer = await client.request("apple", { schema });
    assertType<IsExact<typeof answer, { price: number }>>(true);
    assertStrictEquals(answer.price, 12);
    const error = await assertRejects(
      () => client.request("apple", { schema: z.string() }),
      SchemaError,
    );
    assertStrictEquals(error.issues.length, 1);
    const unchecked = await client.request("apple");
    assertType<IsExact<typeof unchecked, { price: number }>>(true);
  },
});

Deno.test({
  name: "schema that is asynchronous or throws is an error of the application",
  ignore,
  fn: async () => {
    const boom = new Error("boom");
    const slow = z.string().refine(() => Promise.resolve(true));
    const schema: StandardSchema<string> = {
      "~standard": {
        version: 1,
        vendor: "test",
        validate: (value) => {
          if (value === "throw") throw boom;
          return slow["~standard"].validate(value);
        },
      },
    };
    // It is not the peer's fault, so the connection is not closed.
    await using server = new ServerSocket({ schema, onInvalid: "close" });
    const errors: unknown[] = [];
    server.on("error", (error) => errors.push(error));
    server.on("message", () => assert(false, "nothing fits"));
    await server.listen("127.0.0.1", 0);
    await using client = await connect(server);
    await client.send("throw");
    const error = await assertRejects(
      () => client.request("slow"),
      RequestError,
      "The request has failed",
    );
    assertStrictEquals(error.code, "internal");
    assertStrictEquals(errors[0], boom);
    assertInstanceOf(errors[1], TypeError);
    assertStrictEquals(errors.length, 2);
  },
});

Deno.test("schema and onInvalid are validated by the constructor", () => {
  const fake = { parse: () => {} };
  assertThrows(
    // @ts-expect-error no schema
    () => new ServerSocket({ schema: fake }),
    TypeError,
    'Cannot use "schema" unless it follows Standard Schema',
  );
  assertThrows(
    // @ts-expect-error no such word
    () => new ClientSocket({ onInvalid: "shrug" }),
    RangeError,
    "current value is shrug",
  );
});
