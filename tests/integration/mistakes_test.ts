/**
 * The mistakes that beginners make most, in plain JavaScript and in TypeScript: each is
 * an error that says what to write instead.
 */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { stub } from "@std/testing/mock";
import {
  ClientSocket,
  ConnectError,
  RequestError,
  ServerSocket,
} from "@ws/events";
import { listenForTest } from "../support/listen_for_test.ts";
import { lacksPermission } from "../support/permissions.ts";

const ignore = await lacksPermission("net");

/** Calls a method as JavaScript would, with whatever arguments. */
function call(target: object, method: string, ...args: unknown[]): unknown {
  const action: unknown = Reflect.get(target, method);
  assert(typeof action === "function", `there is no ${method}()`);
  return Reflect.apply(action, target, args);
}

/** Constructs as JavaScript would, with whatever options. */
function make(
  Class: typeof ServerSocket | typeof ClientSocket,
  options: unknown,
): unknown {
  return Reflect.construct(Class, [options]);
}

Deno.test("paths refuses a string that looks like a pattern", () => {
  for (const path of ["/chat/:room", "/files/*"]) {
    assertThrows(
      () => new ServerSocket({ paths: [path] }),
      TypeError,
      `Cannot use "${path}" in "paths" as a string is not a pattern: use new URLPattern({ pathname: "${path}" })`,
    );
  }
});

Deno.test("paths refuses a URLPattern that has more than a pathname", () => {
  for (
    const pattern of [
      new URLPattern({ pathname: "/chat", hostname: "a.example" }),
      new URLPattern({ pathname: "/chat", search: "?a" }),
      new URLPattern("wss://a.example:8443/chat"),
    ]
  ) {
    assertThrows(
      () => new ServerSocket({ paths: [pattern] }),
      TypeError,
      'use new URLPattern({ pathname: "/chat" })',
    );
  }
});

Deno.test({
  name: "paths admits what a URLPattern matches, and nothing else",
  ignore,
  async fn() {
    const paths = [new URLPattern({ pathname: "/chat/:room" }), "/live"];
    await using server = new ServerSocket({ paths });
    server.on("refused", () => {});
    await server.listen("127.0.0.1", 0);
    for (const path of ["/chat/a", "/chat/caf%c3%a9?token=1", "/live"]) {
      await using client = new ClientSocket();
      await client.connect(server.url + path);
    }
    for (const path of ["/chat", "/chat/a/b", "/x/chat/a", "/chat/"]) {
      await using client = new ClientSocket();
      await assertRejects(
        () => client.connect(server.url + path),
        ConnectError,
        "404",
      );
    }
  },
});

Deno.test("origins refuses the wildcard of CORS", () => {
  assertThrows(
    () => make(ServerSocket, { origins: "*" }),
    TypeError,
    'Cannot use "origins" unless it is a list or a function',
  );
  assertThrows(
    () => new ServerSocket({ origins: ["*"] }),
    TypeError,
    "or () => true to allow all",
  );
});

Deno.test("ServerSocket.send() refuses data without a connection", () => {
  assertThrows(
    () => call(new ServerSocket(), "send", { text: "hello" }),
    TypeError,
    "Cannot send to something other than a connection: current value is of type object: broadcast() sends to all",
  );
});

Deno.test("send() refuses the name of an event before the data", async () => {
  await using server = new ServerSocket();
  await using client = new ClientSocket();
  await client.connect(await listenForTest(server));
  assertThrows(
    () => call(client, "send", "chat", { text: "hello" }),
    TypeError,
    'Cannot use "text" as an option of send(data, options)',
  );
});

Deno.test("on() warns of events that need presence, once for each", () => {
  using warn = stub(console, "warn");
  const server = new ServerSocket();
  server.on("join", () => {}).on("join", () => {}).on("message", () => {});
  new ServerSocket({ presence: ({ id }) => ({ id }) }).on("leave", () => {});
  assertEquals(warn.calls.map(({ args }) => args), [[
    'The event "join" is not emitted without the option "presence": pass, for example, presence: (client) => ({ id: client.id })',
  ]]);
});

Deno.test("onmessage and its like cannot be set", () => {
  const targets = [new ServerSocket(), new ClientSocket()];
  for (const target of targets) {
    for (
      const [name, listener] of [
        ["onopen", 'on("connect", () => {})'],
        ["onmessage", 'on("message", ({ data }) => {})'],
        ["onclose", 'on("close", ...) and on("disconnect", ...)'],
        ["onerror", 'on("error", (error) => {})'],
      ] as const
    ) {
      assertThrows(
        () => Object.assign(target, { [name]: () => {} }),
        TypeError,
        `Cannot set "${name}" as there is no such property: use ${listener}`,
      );
    }
  }
  class Own extends ClientSocket {
    onmessage(): string {
      return "a member of one's own";
    }
  }
  assertEquals(new Own().onmessage(), "a member of one's own");
});

Deno.test("send() refuses what JSON would turn into an empty object", async () => {
  await using server = new ServerSocket();
  await using client = new ClientSocket();
  await client.connect(await listenForTest(server));
  const cases: [data: unknown, message: string][] = [
    [new Map(), "an instance of Map as JSON would serialize it as {}"],
    [new Set(), "an instance of Set as JSON would serialize it as {}"],
    [new Error("x"), "an instance of Error as JSON would serialize it as {}"],
    [Promise.resolve(1), "an instance of Promise"],
    [undefined, "a value that JSON cannot represent: its type is undefined"],
    [10n, "a value that JSON cannot represent"],
  ];
  for (const [data, message] of cases) {
    assertThrows(() => call(client, "send", data), TypeError, message);
  }
  assertThrows(
    () => call(client, "send", Promise.resolve(1)),
    TypeError,
    "await it first",
  );
});

Deno.test("a misspelled option throws with the name that was meant", () => {
  assertThrows(
    () => make(ServerSocket, { maxPaylod: 1 }),
    TypeError,
    'Cannot use "maxPaylod" as an option of ServerSocket as there is no such option: did you mean "maxPayload"?',
  );
});

Deno.test("on() throws for a misspelled event, and for those of other libraries", () => {
  const cases: [target: object, event: string, message: string][] = [
    [new ServerSocket(), "conect", 'did you mean "connect"?'],
    [new ServerSocket(), "connection", 'did you mean "connect"?'],
    [new ClientSocket(), "open", 'the events are "connect", "message"'],
  ];
  for (const [target, event, message] of cases) {
    assertThrows(() => call(target, "on", event, () => {}), TypeError, message);
  }
});

Deno.test("a misspelled type key does not compile", () => {
  // Never called: the compiler checks it.
  const compiles = () => {
    // @ts-expect-error it is "incoming"
    new ServerSocket<{ incomming: { type: "chat" } }>();
    // @ts-expect-error it is "outgoing"
    new ClientSocket<{ outgoin: { type: "chat" } }>();
  };
  assert(compiles);
});

Deno.test("ServerSocket.shutdown() refuses a retryAfter that was meant in seconds", async () => {
  await using server = new ServerSocket();
  for (const retryAfter of [2, 30, 999, 0.5]) {
    assertThrows(
      () => server.shutdown({ retryAfter }),
      RangeError,
      `it is in milliseconds, and current value is ${retryAfter}`,
    );
  }
  await server.shutdown({ retryAfter: 1_000 });
});

Deno.test({
  name: "ClientSocket.connect() says that authorize has refused",
  ignore,
  async fn() {
    await using server = new ServerSocket({ authorize: () => false });
    server.on("refused", () => {});
    await server.listen("127.0.0.1", 0);
    await using client = new ClientSocket();
    const error = await assertRejects(
      () => client.connect(server.url),
      ConnectError,
      "403",
    );
    assertEquals(error.status, 403);
  },
});

Deno.test({
  name: "ServerSocket.listen() names the port that is in use",
  ignore,
  async fn() {
    await using first = new ServerSocket();
    await first.listen("127.0.0.1", 0);
    await using second = new ServerSocket();
    await assertRejects(
      () => second.listen("127.0.0.1", first.port),
      Deno.errors.AddrInUse,
      `Cannot listen at 127.0.0.1:${first.port} as another program does`,
    );
  },
});

Deno.test("ServerSocket.listen() throws if it gets the port alone", async () => {
  await assertRejects(
    async () => await call(new ServerSocket(), "listen", 3000),
    TypeError,
    'as in listen("localhost", 3000)',
  );
});

Deno.test("ClientSocket throws if it is constructed with a URL", () => {
  const url = "ws://localhost:3000";
  assertThrows(
    () => make(ClientSocket, url),
    TypeError,
    "pass the URL to connect()",
  );
  assertThrows(
    () => make(ClientSocket, { url }),
    TypeError,
    'as in client.connect("ws://localhost:3000/")',
  );
});

Deno.test("a client that nobody has connected refuses to send", async () => {
  await using client = new ClientSocket();
  await assertRejects(
    async () => await client.send("hello"),
    Error,
    "Cannot send without a connection: await connect() first",
  );
});

Deno.test("a client whose connect() was not awaited sends when it is connected", async () => {
  await using server = new ServerSocket();
  const url = await listenForTest(server);
  const received = server.waitFor("message");
  await using client = new ClientSocket();
  const connected = client.connect(url);
  await client.send("hello");
  const [message] = await received;
  assertEquals(message.data, "hello");
  await connected;
});

Deno.test("handle() throws without a handler", () => {
  assertThrows(
    () => call(new ServerSocket(), "handle", "time"),
    TypeError,
    'Cannot handle requests of "time" with something other than a function',
  );
});

Deno.test("request() rejects if the other side has no handler for it", async () => {
  await using server = new ServerSocket();
  await using client = new ClientSocket();
  await client.connect(await listenForTest(server));
  const fails = async (message: string): Promise<void> => {
    const error = await assertRejects(
      () => client.request("time"),
      RequestError,
      message,
    );
    assertEquals(error.code, "unhandled");
  };
  await fails("No handler for this request: add one with handle()");
  server.handle("tim", () => Date.now());
  await fails("No handler matches the request");
});
