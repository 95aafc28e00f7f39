/** Who is blamed for a message that cannot be read, or that a listener fails on. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import {
  type MessageOptions,
  resolveOptions,
} from "../../core/connection/connection_options.ts";
import type { SocketTypes } from "../../core/values/types.ts";
import { createFixture, FakeOwner } from "../support/fake_socket.ts";

/** Data whose type cannot be read. */
const TRAP = {
  get type(): string {
    throw new Error("no type");
  },
};

const codec = {
  name: "picky",
  encode: (value: unknown) => JSON.stringify(value),
  decode(frame: string | Uint8Array): unknown {
    if (frame === "garbage") throw new Error("cannot decode");
    return frame === "trap" ? TRAP : frame;
  },
};

const schema = {
  "~standard": {
    version: 1 as const,
    vendor: "test",
    validate: (value: unknown) =>
      value === "wrong" ? { issues: [{ message: "wrong" }] } : { value },
  },
};

const READERS: Record<string, MessageOptions> = {
  neither: {},
  "a codec": { codec },
  "a schema": { schema },
  both: { codec, schema },
};

function open(options: MessageOptions) {
  const one = createFixture(
    "server",
    {
      options: resolveOptions<SocketTypes>(
        { ...options, onInvalid: "close" },
        0,
        {
          maxPayload: Infinity,
          closeTimeout: 10_000,
          idleTimeout: () => 0,
        },
      ),
      negotiated: { protocol: "", isEvents: true },
    },
    new FakeOwner(true),
  );
  one.socket.open();
  return one;
}

/** Lets promises settle. */
async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await null;
}

for (const [name, options] of Object.entries(READERS)) {
  Deno.test(`Connection with ${name} does not blame the peer for a listener that throws after it read the data`, async () => {
    const { socket, owner, connection } = open(options);
    connection.on("message", ({ data }) => {
      throw new Error(`after ${data}`);
    });
    connection.on("message", async ({ data }) => {
      await null;
      throw new Error(`later, after ${data}`);
    });
    socket.receive("text");
    await settle();
    assertEquals(owner.errors.map(String), [
      "Error: after text",
      "Error: later, after text",
    ]);
    assertEquals(socket.closes, []);
    connection.terminate();
  });

  Deno.test(`Connection with ${name} does not blame the peer for a handler that throws after it read the data`, async () => {
    const { socket, owner, connection } = open(options);
    owner.handler = ({ data }) => {
      throw new Error(`after ${data}`);
    };
    socket.receive("\u0001?1,text");
    await settle();
    assertEquals(owner.errors.map(String), ["Error: after text"]);
    assertEquals(socket.sent, [
      '\u0001~1,{"message":"The request has failed","code":"internal"}',
    ]);
    assertEquals(socket.closes, []);
    connection.terminate();
  });
}

Deno.test("Connection does not blame the peer for data whose getters throw", async () => {
  for (const options of [{ codec }, { codec, schema }]) {
    const { socket, owner, connection } = open(options);
    owner.findHandler = () => {
      throw new Error("no type");
    };
    connection.on("message:chat", () => {});
    socket.receive("trap");
    socket.receive("\u0001?1,trap");
    await settle();
    assertEquals(owner.errors.map(String), [
      "Error: no type",
      "Error: no type",
    ]);
    assertEquals(socket.sent.length, 1);
    assertStringIncludes(`${socket.sent[0]}`, '"code":"internal"');
    assertEquals(socket.closes, []);
    connection.terminate();
  }
});

Deno.test("Connection does not blame the peer for an asynchronous codec or schema", async () => {
  const later = { ...codec, decode: () => Promise.reject(new Error("later")) };
  const validate = () => Promise.reject(new Error("later"));
  const laterSchema = { "~standard": { ...schema["~standard"], validate } };
  for (
    const options of [
      { codec: later },
      { codec: later, schema },
      { schema: laterSchema },
    ]
  ) {
    const { socket, owner, connection } = open(options);
    socket.receive("\u0001?1,text");
    await settle();
    assertEquals(owner.errors.length, 1);
    assertStringIncludes(`${owner.errors[0]}`, "asynchronous");
    assertStringIncludes(`${socket.sent[0]}`, '"code":"internal"');
    assertEquals(socket.closes, []);
    connection.terminate();
  }
});

Deno.test("onInvalid closes a peer whose message does not match the schema, or cannot be decoded for it", async () => {
  for (
    const [options, text] of [[{ schema }, "wrong"], [
      READERS.both,
      "garbage",
    ]] as const
  ) {
    for (const frame of [text, `\u0001?1,${text}`]) {
      const { socket, owner, connection } = open(options ?? {});
      socket.receive(frame);
      await settle();
      assertEquals(owner.errors.length, 1);
      assertEquals(owner.events, ["connect"]);
      assertEquals(socket.closes, [[
        1008,
        "A message does not match the schema",
      ]]);
      assert(frame === text || `${socket.sent[0]}`.includes('"invalid"'));
      connection.terminate();
    }
  }
});

Deno.test("Connection with a codec alone leaves a message that it cannot decode to the listener", async () => {
  const { socket, owner, connection } = open({ codec });
  socket.receive("garbage");
  assertEquals(owner.events, ["connect", "garbage"]);
  assertEquals(owner.errors, []);
  connection.on("message", ({ data }) => data);
  socket.receive("garbage");
  await settle();
  assertEquals(
    owner.errors.map(String),
    [
      "Error: cannot decode",
      "Error: cannot decode",
    ],
  );
  assertEquals(socket.closes, []);
  connection.terminate();
});
