import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { stub } from "@std/testing/mock";
import {
  ConnectError,
  type Connection,
  ConnectionEndedError,
  type Message,
} from "../../client.ts";
import { ClientSocket, testClients } from "../support/client_classes.ts";
import { ServerSocket } from "../../server.ts";
import { lacksPermission } from "../support/permissions.ts";

const ignore = await lacksPermission("net");

/** A test of what a page cannot do, or does not hear of. */
function testOther(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore, fn });
}

function test(name: string, fn: () => Promise<void>): void {
  testClients(name, { ignore }, fn);
}

async function listening(): Promise<ServerSocket> {
  const server = new ServerSocket();
  await server.listen("127.0.0.1", 0);
  return server;
}

for (const options of [{}, { plain: true }, { requireEvents: true }]) {
  const shown = JSON.stringify(options);
  const name =
    `ClientSocket.connect() rejects with a ConnectError if it is refused: ${shown}`;
  // Nothing tells a page the status.
  Deno.test({
    name,
    ignore,
    fn: async () => {
      await using server = new ServerSocket({ paths: ["/in"] });
      server.on("refused", () => {});
      await server.listen("127.0.0.1", 0);
      const error = await assertRejects(
        () => new ClientSocket(options).connect(`${server.url}/out`),
        ConnectError,
      );
      assertStrictEquals(error.status, 404);
    },
  });
}

testClients("ClientSocket rejects an invalid closeTimeout", () => {
  for (const closeTimeout of [-1, NaN]) {
    assertThrows(
      () => new ClientSocket({ closeTimeout }),
      RangeError,
      `Cannot use "closeTimeout" unless it is 0 or more: current value is ${closeTimeout}`,
    );
  }
});

testClients(
  "ClientSocket without a connection sends nothing and is closed",
  async () => {
    const client = new ClientSocket();
    assertStrictEquals(client.connection, undefined);
    assertStrictEquals(client.disconnection, undefined);
    await assertRejects(
      () => client.send("x"),
      ConnectionEndedError,
      "Cannot send without a connection: await connect() first",
    );
    client.send("nobody awaits this"); // and it is no unhandled rejection
    client.terminate();
    await client.close();
  },
);

testClients("ClientSocket.connect() rejects an invalid URL", async () => {
  const client = new ClientSocket();
  for (const url of ["no url", "ftp://localhost", "ws://localhost/#hash"]) {
    const error = await assertRejects(() => client.connect(url), DOMException);
    assertStrictEquals(error.name, "SyntaxError");
  }
});

test("ClientSocket.connect() emits connect, then resolves", async () => {
  await using server = await listening();
  const client = new ClientSocket();
  const seen: unknown[] = [];
  client.on("connect", (connection, path) => {
    seen.push(connection === client.connection, path);
  });
  await client.connect(`${server.url}/path?query`);
  assertEquals(seen, [true, "/path"]);
  const { connection } = client;
  assertStrictEquals(connection?.remoteAddress, `127.0.0.1:${server.port}`);
  assertStrictEquals(connection?.url, `${server.url}/path?query`);
  assertStrictEquals(connection?.readyState, 1);
  await client.close();
  assertStrictEquals(client.connection, undefined);
});

test("ClientSocket.connect() accepts URL objects and http: URLs", async () => {
  await using server = await listening();
  const client = new ClientSocket();
  await client.connect(new URL(server.url));
  await client.close();
  await client.connect(server.url.replace("ws:", "http:"));
  await client.close();
});

test("ClientSocket.connect() rejects if nothing listens, and can be called again", async () => {
  const server = await listening();
  const { url } = server;
  await server.close();
  const client = new ClientSocket();
  const seen: string[] = [];
  client.on("close", () => seen.push("close"));
  client.on("disconnect", () => seen.push("disconnect"));
  const connect = client.waitFor("connect");
  const error = await assertRejects(() => client.connect(url), ConnectError);
  assertStrictEquals(error.url, `${url}/`);
  assertInstanceOf(error.cause, Error);
  assertEquals(seen, []); // no connect, so no end
  await assertRejects(() => connect, ConnectError);
  await using again = await listening();
  await client.connect(again.url);
  await client.close();
});

test("ClientSocket.connect() rejects for any other response", async () => {
  await using http = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    () => new Response("no", { status: 403 }),
  );
  const client = new ClientSocket();
  const error = await assertRejects(
    () => client.connect(`ws://127.0.0.1:${http.addr.port}`),
    ConnectError,
  );
  assert(error.message.includes("403"), error.message);
});

test("ClientSocket.connect() rejects while connected", async () => {
  await using server = await listening();
  const client = new ClientSocket();
  const connecting = client.connect(server.url);
  const early = await assertRejects(() => client.connect(server.url), Error);
  assertMatch(early.message, /client is connecting to ws:.*close it first/);
  await connecting;
  const late = await assertRejects(() => client.connect(server.url), Error);
  assertMatch(late.message, /client is connected to ws:.*close it first/);
  await client.close();
});

test("ClientSocket.connect() rejects when the signal is aborted", async () => {
  // It accepts, but never answers the handshake.
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepted = listener.accept();
  const client = new ClientSocket();
  const controller = new AbortController();
  const { signal } = controller;
  const url = `ws://127.0.0.1:${listener.addr.port}`;
  const connecting = client.connect(url, { signal });
  const tcp = await accepted;
  controller.abort(new Error("enough"));
  await assertRejects(() => connecting, Error, "enough");
  await assertRejects(() => client.connect(url, { signal }), Error, "enough");
  assertStrictEquals(client.connection, undefined);
  tcp.close();
});

test("ClientSocket.connect() ignores the signal in connect listeners", async () => {
  await using server = await listening();
  const client = new ClientSocket();
  const controller = new AbortController();
  client.on("connect", () => controller.abort());
  await client.connect(server.url, { signal: controller.signal });
  assertStrictEquals(client.connection?.readyState, 1);
  await client.close();
});

test("ClientSocket.connect() resolves even if a connect listener terminates", async () => {
  await using server = await listening();
  const client = new ClientSocket();
  const seen: string[] = [];
  client.on("connect", (connection) => connection.terminate());
  client.on("connect", () => seen.push(`connect ${!!client.connection}`));
  client.on("disconnect", () => seen.push("disconnect"));
  await client.connect(server.url);
  assertEquals(seen, ["connect true", "disconnect"]);
  assertStrictEquals(client.connection, undefined);
});

test("ClientSocket.connect() ignores the signal after connect", async () => {
  await using server = await listening();
  const client = new ClientSocket();
  const controller = new AbortController();
  await client.connect(server.url, { signal: controller.signal });
  controller.abort();
  assertStrictEquals(client.connection?.readyState, 1);
  await client.close();
});

test("ClientSocket.close() cancels connecting", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepted = listener.accept();
  const client = new ClientSocket();
  const connecting = client.connect(`ws://127.0.0.1:${listener.addr.port}`);
  const tcp = await accepted;
  const rejected = assertRejects(() => connecting, ConnectError);
  await client.close();
  await rejected;
  tcp.close();
});

test("ClientSocket holds early messages for the next listener", async () => {
  await using server = await listening();
  server.on("connect", async (client) => {
    client.send("first");
    client.send("second");
    await client.close(4000, "that is all");
  });
  const client = new ClientSocket();
  await client.connect(server.url);
  const ends: unknown[] = [];
  client.on("close", (...args) => ends.push(args));
  const messages = await client.collect("message");
  assertEquals(messages.map(([{ content }]) => content), ["first", "second"]);
  assertEquals(ends, [[4000, "that is all", "peer"]]);
});

test("ClientSocket.disconnection describes the last end", async () => {
  await using server = await listening();
  const client = new ClientSocket();
  await client.connect(server.url);
  await client.close(4001, "bye");
  const closed = client.disconnection;
  assert(closed?.time instanceof Date);
  assertEquals({ ...closed, time: 0 }, {
    type: "close",
    code: 4001,
    reason: "bye",
    cause: "local",
    wasClean: true,
    time: 0,
    retryAfter: undefined,
  });
  await client.connect(server.url);
  const lost = client.waitFor("disconnect");
  for (const peer of server.clients) peer.terminate();
  assertEquals(await lost, [1006, "", "network"]);
  assertEquals(client.disconnection?.wasClean, false);
  assertEquals(client.disconnection?.code, 1006);
  const error = await assertRejects(
    () => client.send("x"),
    ConnectionEndedError,
  );
  assertStrictEquals(error.end?.code, 1006);
});

test("ClientSocket rejects pending waitFor() after an end", async () => {
  await using server = await listening();
  const client = new ClientSocket();
  await client.connect(server.url);
  const message = client.waitFor("message");
  await client.close(4000);
  const error = await assertRejects(() => message, ConnectionEndedError);
  assertStrictEquals(error.end?.code, 4000);
  const connect = client.waitFor("connect"); // the next one can be waited for
  await client.connect(server.url);
  await connect;
  await client.close();
});

test("ClientSocket.connect() works in a listener of the end", async () => {
  await using server = await listening();
  const client = new ClientSocket();
  let connects = 0;
  client.on("connect", () => connects++);
  const again = Promise.withResolvers<void>();
  client.on("disconnect", async () => {
    await client.connect(server.url);
    again.resolve();
  }, { once: true });
  await client.connect(server.url);
  for (const peer of server.clients) peer.terminate();
  await again.promise;
  assertStrictEquals(connects, 2);
  await client.close();
});

testOther("ClientSocket.terminate() drops the connection", async () => {
  await using server = await listening();
  const client = new ClientSocket();
  const gone = server.waitFor("disconnect");
  await client.connect(server.url);
  const ends: unknown[] = [];
  client.on("disconnect", (...args) => ends.push(args));
  client.terminate();
  assertEquals(ends, [[1006, "", "local"]]);
  assertEquals((await gone).slice(1), [1006, "", "network"]);
});

test("ClientSocket emits errors of listeners with the connection", async () => {
  await using server = await listening();
  server.on("connect", (client) => client.send("x"));
  const client = new ClientSocket();
  const errors: unknown[] = [];
  client.on("error", (...args) => errors.push(args));
  client.on("message", () => {
    throw "message";
  });
  client.on("connect", (connection) => {
    connection.on("message", () => Promise.reject("connection"));
  });
  const got = client.waitFor("message");
  await client.connect(server.url);
  const { connection } = client;
  await got;
  await client.close();
  assertEquals(errors, [
    ["message", "message", connection],
    ["connection", "message", connection],
  ]);
});

test("ClientSocket logs errors without a listener", async () => {
  using written = stub(console, "error");
  await using server = await listening();
  const client = new ClientSocket();
  client.on("connect", () => {
    throw new Error("unheard");
  });
  await client.connect(server.url);
  await client.close();
  assertEquals(written.calls.length, 1);
});

test("ClientSocket dispatches events with the same values", async () => {
  await using server = await listening();
  server.on("message", (message) => message.reply(message.content));
  const client = new ClientSocket();
  const seen: unknown[] = [];
  client.addEventListener("connect", ({ connection, path }) => {
    seen.push(connection.remoteAddress, path);
  });
  client.addEventListener("message", ({ message }) => seen.push(message.data));
  client.addEventListener("close", ({ code, reason, wasClean, cause }) => {
    seen.push(code, reason, wasClean, cause);
  });
  await client.connect(server.url);
  await client.send([1]);
  await client.waitFor("message");
  await client.close(4000, "bye");
  assertEquals(seen, [
    `127.0.0.1:${server.port}`,
    "/",
    [1],
    4000,
    "bye",
    true,
    "local",
  ]);
});

test("ClientSocket methods can be overridden", async () => {
  await using server = await listening();
  server.on("message", (message) => message.reply(message.content));
  const calls: unknown[] = [];
  class Chatty extends ClientSocket {
    protected override onConnect(connection: Connection, path: string): void {
      calls.push(path);
      connection.send("hello");
    }
    protected override onMessage(message: Message): void {
      calls.push(message.content);
    }
    protected override onClose(code: number, reason: string): void {
      calls.push(code, reason);
    }
    protected override onDisconnect(code: number): void {
      calls.push(code);
    }
  }
  const client = new Chatty();
  await client.connect(server.url);
  await client.waitFor("message");
  await client.close(4000, "bye");
  await client.connect(server.url);
  const lost = client.waitFor("disconnect");
  for (const peer of server.clients) peer.terminate();
  await lost;
  assertEquals(calls.slice(0, 4), ["/", "hello", 4000, "bye"]);
  assertStrictEquals(calls.at(-1), 1006);
});

test("ClientSocket is async disposable", async () => {
  await using server = await listening();
  const closed = server.waitFor("close");
  {
    await using client = new ClientSocket();
    await client.connect(server.url);
  }
  assertEquals((await closed)[1], 1000);
});
