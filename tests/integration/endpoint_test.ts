/** Events for messages of one type, overrides, and names of events that do not exist. */

import { assertEquals, assertThrows } from "@std/assert";
import type { Connection, SocketMessage, SocketTypes } from "../../mod.ts";
import { ClientSocket, ServerSocket } from "../../mod.ts";
import { MemoryNetwork, pair } from "../../testing.ts";
import { nearest } from "../../core/util/nearest.ts";
import { lacksPermission } from "../support/permissions.ts";

type Talk = { type: "chat"; text: string } | { type: "typing" };

Deno.test("on() of message:type is called right after message", async () => {
  await using ends = await pair<{ incoming: Talk }, { incoming: Talk }>();
  const heard: string[] = [];
  ends.server.on("message", ({ data }) => heard.push(`any ${data.type}`));
  ends.server.on("message:chat", ({ data }) => heard.push(data.text));
  ends.server.once("message:typing", () => heard.push("typing"));
  const last = ends.server.waitFor("message:chat", {
    filter: ({ data }) => data.text === "end",
  });
  ends.client.send({ type: "typing" });
  ends.client.send({ type: "typing" });
  ends.client.send({ type: "chat", text: "hello" });
  ends.client.send(["no type"]);
  ends.client.send({ type: "chat", text: "end" });
  await last;
  assertEquals(heard, [
    "any typing",
    "typing",
    "any typing",
    "any chat",
    "hello",
    "any undefined",
    "any chat",
    "end",
  ]);
});

Deno.test("message:type does not decode messages without a listener", async () => {
  let decoded = 0;
  const codec = {
    name: "counted",
    encode: (value: unknown) => JSON.stringify(value),
    decode: (frame: string | Uint8Array) => {
      decoded++;
      return JSON.parse(String(frame));
    },
  };
  await using ends = await pair({ server: { codec }, client: { codec } });
  const next = ends.server.waitFor("message");
  ends.client.send({ type: "chat" });
  await next;
  assertEquals(decoded, 0);
  const typed = ends.server.waitFor("message:chat");
  ends.client.send({ type: "chat" });
  await typed;
  assertEquals(decoded, 1);
});

Deno.test("message:type reports messages that the codec cannot decode, on both sides", async () => {
  const codec = {
    name: "picky",
    encode: (value: unknown) => value === "bad" ? "{" : JSON.stringify(value),
    decode: (frame: string | Uint8Array) => JSON.parse(String(frame)),
  };
  await using server = new ServerSocket({ codec });
  await using network = new MemoryNetwork(server);
  await using client = new ClientSocket({ codec });
  const connected = server.waitFor("connect");
  await client.connect(network.url);
  const [connection] = await connected;
  const failures: string[] = [];
  const fail = (error: unknown, from: string) => {
    failures.push(`${from}: ${String(error).split(":")[0]}`);
  };
  server.on("error", fail).on("message:chat", () => {});
  client.on("error", fail).on("message:chat", () => {});
  for (let i = 0; i < 2; i++) { // the first is early for the connection
    const next = server.waitFor("message");
    client.send("bad");
    await next;
    connection.on("message:chat", () => {});
  }
  const answer = client.waitFor("message:chat");
  connection.send("bad");
  connection.send({ type: "chat" });
  await answer;
  // The server and its connection hear both, and the client one.
  assertEquals(failures, Array(5).fill("message: SyntaxError"));
  assertEquals([client.connection?.readyState, connection.readyState], [1, 1]);
});

Deno.test("message:type delivers early messages to its first listener", async () => {
  await using ends = await pair();
  ends.client.send({ type: "chat", text: "early" });
  const [message] = await ends.server.waitFor("message:chat");
  assertEquals(message.data, { type: "chat", text: "early" } as object);
});

Deno.test({
  name: "Overridden methods and fields are called before listeners",
  ignore: await lacksPermission("net"),
  fn: testOverrides,
});

async function testOverrides(): Promise<void> {
  const heard: string[] = [];
  class Methods extends ServerSocket {
    protected override onConnect(client: Connection): void {
      heard.push(`method ${client instanceof Object}`);
    }
    protected override onMessage(
      { author, content }: SocketMessage<SocketTypes>,
    ): void {
      heard.push(`method ${content}`);
      author.close(4000, "enough");
    }
  }
  class Fields extends ClientSocket {
    readonly name = "field";
    protected override onConnect = (connection: Connection) => {
      heard.push(`${this.name} connect`);
      connection.send("hi");
    };
    protected override onClose = (code: number, reason: string) => {
      heard.push(`${this.name} ${code} ${reason}`);
    };
  }
  await using server = new Methods();
  server.on("message", () => heard.push("listener"));
  await server.listen("127.0.0.1", 0);
  await using client = new Fields();
  const closed = client.waitFor("close");
  await client.connect(server.url);
  await closed;
  assertEquals(heard, [
    "method true",
    "field connect",
    "method hi",
    "listener",
    "field 4000 enough",
  ]);
}

Deno.test("on() throws for an unknown event and suggests the nearest", () => {
  const server = new ServerSocket();
  const client = new ClientSocket();
  const call = (target: object, method: string, ...args: unknown[]) => () =>
    Reflect.apply(Reflect.get(target, method), target, args);
  for (const method of ["on", "once", "off", "waitFor", "collect", "events"]) {
    const rest = method.startsWith("o") ? [() => {}] : [];
    const cases: [ServerSocket | ClientSocket, unknown, string][] = [
      [server, "mesage", 'did you mean "message"?'],
      [server, "message:", 'did you mean "message"?'],
      [client, "ready", "the events are"],
      [server, 1, "is not a string: current value is of type number"],
      [server, "constructor", "the events are"],
    ];
    for (const [target, name, text] of cases) {
      assertThrows(call(target, method, name, ...rest), TypeError, text);
    }
  }
  server.addEventListener("message", () => {});
  Reflect.apply(server.addEventListener, server, ["own", () => {}]);
});

Deno.test("ServerSocket and ClientSocket expose no internals", () => {
  for (const socket of [new ServerSocket(), new ClientSocket()]) {
    for (
      const name of ["emit", "isHeard", "iterate", "stopWaiting", "takeWaiting"]
    ) {
      assertEquals(name in socket, false, name);
    }
  }
});

Deno.test("nearest() returns only similar names", () => {
  const names = ["connect", "message", "close", "disconnect"];
  assertEquals(nearest("conect", names), "connect");
  assertEquals(nearest("Message", names), "message");
  assertEquals(nearest("clse", names), "close");
  assertEquals(nearest("xyzzy", names), undefined);
  assertEquals(nearest("x".repeat(1_000_000), names), undefined);
});

Deno.test("ServerSocket.close() throws if the argument is not a connection", async () => {
  const server = new ServerSocket();
  const close = (...args: unknown[]) =>
    Reflect.apply(server.close, server, args);
  for (const value of [undefined, null, {}, "4000", { code: 4000 }]) {
    assertThrows(() => close(value), TypeError, "shutdown(options) end all");
  }
  assertThrows(() => close(undefined, 4000), TypeError);
  await server.close();
});

Deno.test("ServerSocket.shutdown() throws for unknown options", async () => {
  const server = new ServerSocket();
  const shutdown = (options: unknown) =>
    Reflect.apply(server.shutdown, server, [options]);
  assertThrows(
    () => shutdown({ retryafter: 1 }),
    TypeError,
    'did you mean "retryAfter"?',
  );
  assertThrows(
    () => shutdown({ drain: { batch: 1, evry: 1 } }),
    TypeError,
    'did you mean "every"?',
  );
  assertThrows(() => shutdown({ other: 1 }), TypeError, "the options are");
  await server.shutdown({ code: 4000, reason: "done" });
});

Deno.test("send() throws for unknown options", async () => {
  await using ends = await pair();
  const server = new ServerSocket();
  const client = new ClientSocket();
  const call = (method: unknown, target: object, options: unknown) => () =>
    typeof method === "function" &&
    Reflect.apply(method, target, ["chat", options]);
  const targets: [unknown, object][] = [
    [ends.client.send, ends.client],
    [client.send, client],
    [server.broadcast, server],
    [server.to("room").send, server.to("room")],
  ];
  for (const [method, target] of targets) {
    const wrong = call(method, target, { text: "hello" });
    assertThrows(wrong, TypeError, 'the options are "overflow", "key"');
    const misspelt = call(method, target, { overflw: "latest" });
    assertThrows(misspelt, TypeError, 'did you mean "overflow"?');
  }
  await ends.client.send("chat", { overflow: "latest", key: "a" });
});
