import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { stub } from "@std/testing/mock";
import { ClientSocket, ConnectError } from "../../client.ts";
import {
  type Connection,
  ConnectionEndedError,
  Message,
  ServerSocket,
} from "../../server.ts";
import { lacksPermission } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { CERTIFICATE, KEY } from "../support/certificate.ts";

const ignore = await lacksPermission("net");

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore, fn });
}

/** A server that listens on a free port of loopback. */
async function listening(
  ...options: ConstructorParameters<typeof ServerSocket>
): Promise<ServerSocket> {
  const server = new ServerSocket(...options);
  await server.listen("127.0.0.1", 0);
  return server;
}

/** A client, and its connection as the server has it. */
async function connected(
  server: ServerSocket,
  path = "",
): Promise<[ClientSocket, Connection]> {
  const client = new ClientSocket();
  const connect = server.waitFor("connect");
  await client.connect(server.url + path);
  return [client, (await connect)[0]];
}

Deno.test("ServerSocket rejects invalid numbers", () => {
  const names = ["closeTimeout", "idleTimeout", "maxDisconnectedClients"];
  for (const name of names) {
    for (const value of [-1, NaN]) {
      assertThrows(
        () => new ServerSocket({ [name]: value }),
        RangeError,
        `Cannot use "${name}"`,
      );
    }
  }
});

Deno.test("ServerSocket has no address before it listens", () => {
  const server = new ServerSocket();
  for (const property of ["address", "port", "url"] as const) {
    assertThrows(() => server[property], Error, "await listen() first");
  }
});

test("ServerSocket.listen() emits ready, then resolves", async () => {
  await using server = new ServerSocket();
  let isReady = false;
  server.on("ready", () => isReady = true);
  await server.listen("127.0.0.1", 0);
  assert(isReady);
  assertStrictEquals(server.address, "127.0.0.1");
  assert(server.port > 0);
  assertStrictEquals(server.url, `ws://127.0.0.1:${server.port}`);
});

test("ServerSocket.url is set for each kind of address", async () => {
  const cases: [string, RegExp][] = [
    ["0.0.0.0", /^ws:\/\/localhost:\d+$/],
    ["localhost", /^ws:\/\/127\.0\.0\.1:\d+$/],
    ["::1", /^ws:\/\/\[::1\]:\d+$/],
  ];
  for (const [hostname, url] of cases) {
    await using server = new ServerSocket();
    await server.listen(hostname, 0);
    assertMatch(server.url, url);
    const [client, peer] = await connected(server);
    assertMatch(peer.remoteAddress, /^(\[::1\]|127\.0\.0\.1):\d+$/);
    await client.close();
  }
});

test("ServerSocket.listen() rejects if the port is in use", async () => {
  await using server = await listening();
  const other = new ServerSocket();
  await assertRejects(
    () => other.listen("127.0.0.1", server.port),
    Deno.errors.AddrInUse,
  );
  await other.listen("127.0.0.1", 0); // and may try again
  await other.close();
});

test("ServerSocket.listen() rejects the second time and after close()", async () => {
  const server = await listening();
  await assertRejects(
    () => server.listen("127.0.0.1", 0),
    Error,
    "is already listening",
  );
  await server.close();
  await assertRejects(() => server.listen("127.0.0.1", 0), Error, "was closed");
});

Deno.test({
  name: "ServerSocket.listen() with reusePort shares a port",
  ignore: await lacksPermission("net", "run", "read"),
  fn: async () => {
    await using program = new Program([
      "run",
      "--allow-net",
      "--unstable-net",
      "tests/support/shared_port.ts",
    ]);
    await program.line("shared");
    assertStrictEquals(await program.exit(), 0);
  },
});

test("ServerSocket.listen() with cert and key speaks TLS", async () => {
  await using server = new ServerSocket();
  await server.listen("localhost", 0, { cert: CERTIFICATE, key: KEY });
  assertStringIncludes(server.url, "wss://");
  using http = Deno.createHttpClient({ caCerts: [CERTIFICATE] });
  const connect = server.waitFor("connect");
  const socket = new WebSocket(`wss://localhost:${server.port}`, {
    client: http,
  });
  const closed = Promise.withResolvers<CloseEvent>();
  socket.onclose = closed.resolve;
  const [client] = await connect;
  assertStringIncludes(client.url, "wss://localhost");
  await client.close(4000, "bye");
  assertStrictEquals((await closed.promise).code, 4000);
});

test("ServerSocket.listen() rejects TLS with a Unix socket", async () => {
  const server = new ServerSocket();
  await assertRejects(
    () => server.listen("", 0, { path: "x", cert: CERTIFICATE, key: KEY }),
    TypeError,
    'remove "cert" and "key"',
  );
  await assertRejects(
    () => server.listen("", 0, { path: "" }),
    TypeError,
    "a Unix socket whose path is empty",
  );
});

test("ServerSocket.listen() rejects cert without key", async () => {
  const server = new ServerSocket();
  await assertRejects(
    () => server.listen("127.0.0.1", 0, { cert: CERTIFICATE }),
    TypeError,
    'as "key" is missing',
  );
  await assertRejects(
    () => server.listen("127.0.0.1", 0, { key: KEY }),
    TypeError,
    'as "cert" is missing',
  );
});

Deno.test({
  name: "ServerSocket.listen() with path binds a Unix socket",
  ignore: await lacksPermission("net", "read", "write"),
  fn: async () => {
    const folder = await Deno.makeTempDir();
    const path = `${folder}/socket`;
    await using cleanup = new AsyncDisposableStack();
    cleanup.defer(() => Deno.remove(folder, { recursive: true }));
    await using server = new ServerSocket();
    server.on("message", (message) => message.reply(message.content));
    await server.listen(undefined, undefined, { path });
    assertEquals([server.address, server.port], [path, 0]);
    assertStrictEquals(server.url, `ws+unix:${path}`);
    using http = Deno.createHttpClient({ proxy: { transport: "unix", path } });
    const socket = new WebSocket("ws://localhost/", { client: http });
    const echo = Promise.withResolvers<MessageEvent>();
    const closed = Promise.withResolvers<CloseEvent>();
    socket.onopen = () => socket.send("echo");
    socket.onmessage = echo.resolve;
    socket.onclose = closed.resolve;
    assertStrictEquals((await echo.promise).data, "echo");
    for (const client of server.clients) {
      assertStrictEquals(client.remoteAddress, "unknown");
      await client.close();
    }
    await closed.promise;
  },
});

test("ServerSocket emits connect with the client and its path", async () => {
  await using server = await listening({
    keepHeaders: ["Sec-WebSocket-Version"],
  });
  const connect = server.waitFor("connect");
  const client = new ClientSocket();
  await client.connect(`${server.url}/a%20b/c?query=1`);
  const [peer, path] = await connect;
  assertStrictEquals(path, "/a%20b/c");
  assertStrictEquals(peer.path, path);
  assertStrictEquals(peer.url, `${server.url}/a%20b/c?query=1`);
  assertStrictEquals(peer.headers.get("sec-websocket-version"), "13");
  assertMatch(peer.remoteAddress, /^127\.0\.0\.1:\d+$/);
  assertEquals([...server.clients], [peer]);
  await client.close();
});

test("ServerSocket emits message with its author", async () => {
  await using server = await listening();
  server.on("message", async (message) => {
    assert(message instanceof Message);
    await message.author.send({ got: message.data });
    await message.reply("again");
    await server.send(message.author, "and again");
  });
  const [client] = await connected(server);
  const replies = client.collect("message", { limit: 3 });
  await client.send([1]);
  assertEquals(
    (await replies).map(([message]) => message.data),
    [{ got: [1] }, "again", "and again"],
  );
  await client.close();
});

test("ServerSocket calls the listeners of the server, then those of the client", async () => {
  await using server = await listening();
  const [client, peer] = await connected(server);
  const calls: string[] = [];
  peer.on("message", () => calls.push("client"));
  server.on("message", () => calls.push("server"));
  peer.on("close", () => calls.push("client closed"));
  server.on("close", () => calls.push("server closed"));
  const got = peer.waitFor("message");
  await client.send("x");
  await got;
  const closed = peer.waitFor("close");
  await client.close();
  await closed;
  assertEquals(calls, ["server", "client", "server closed", "client closed"]);
});

test("ServerSocket holds messages for a connect listener that awaits first", async () => {
  await using server = await listening();
  const seen: unknown[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  server.on("connect", async (client) => {
    const [first] = await client.waitFor("message");
    seen.push(first.data);
    await fetchNothing(server);
    client.on("message", ({ data }) => {
      seen.push(data);
      if (seen.length === 3) resolve();
    });
  });
  const client = new ClientSocket();
  await client.connect(server.url);
  for (const n of [1, 2, 3]) await client.send(n);
  await promise;
  assertEquals(seen, [1, 2, 3]);
  await client.close();
});

/** Something that takes a while, on the same server. */
async function fetchNothing(server: ServerSocket): Promise<void> {
  const response = await fetch(server.url.replace("ws", "http"));
  await response.body?.cancel();
}

test("ServerSocket.disconnectedClients lists the last lost clients", async () => {
  await using server = await listening({ maxDisconnectedClients: 2 });
  const ids: string[] = [];
  for (let i = 0; i < 3; i++) {
    const [client, peer] = await connected(server, `/${i}`);
    ids.push(peer.id);
    const lost = client.waitFor("disconnect");
    peer.terminate();
    await lost;
  }
  const [kept] = await connected(server);
  await kept.close(); // closed, not lost
  assertEquals(server.disconnectedClients.map(({ id }) => id), ids.slice(1));
  const [first] = server.disconnectedClients;
  assertEquals(
    { ...first, remoteAddress: "", time: first?.time instanceof Date },
    {
      id: ids[1] ?? "",
      remoteAddress: "",
      path: "/1",
      type: "disconnect",
      code: 1006,
      reason: "",
      cause: "local",
      time: true,
    },
  );
  assertEquals(server.clients.size, 0);
});

test("ServerSocket.disconnectedClients is empty with a limit of 0", async () => {
  await using server = await listening({ maxDisconnectedClients: 0 });
  const [client, peer] = await connected(server);
  const lost = client.waitFor("disconnect");
  peer.terminate();
  await lost;
  assertEquals(server.disconnectedClients, []);
});

test("ServerSocket.close() with a client closes that client", async () => {
  await using server = await listening();
  const [one, first] = await connected(server);
  const [other] = await connected(server);
  const closed = one.waitFor("close");
  await server.close(first, 4001, "bye");
  assertEquals(await closed, [4001, "bye", "peer"]);
  assertEquals(server.clients.size, 1);
  const [second] = server.clients;
  assert(second);
  const closedToo = other.waitFor("close");
  await server.close(second);
  assertEquals((await closedToo)[0], 1000);
});

test("ServerSocket.close() closes all clients and frees the port", async () => {
  const server = await listening();
  const { port } = server;
  const clients = await Promise.all(
    Array.from({ length: 20 }, () => connected(server)),
  );
  const closes = clients.map(([client]) => client.waitFor("close"));
  const causes = server.collect("close");
  await Promise.all([server.close(4000, "over"), server.close()]);
  for (const close of closes) assertEquals(await close, [4000, "over", "peer"]);
  assertEquals(
    (await causes).map(([, , , cause]) => cause),
    clients.map(() => "shutdown"),
  );
  assertEquals(server.clients.size, 0);
  await using next = new ServerSocket();
  await next.listen("127.0.0.1", port);
});

test("ServerSocket.close() sends queued messages, then 1001", async () => {
  const server = await listening();
  const [client, peer] = await connected(server);
  const messages = client.collect("message");
  const closed = client.waitFor("close");
  for (let i = 0; i < 1_000; i++) peer.send(i);
  await server.close();
  assertEquals((await closed)[0], 1001);
  assertEquals((await messages).length, 1_000);
});

test("ServerSocket.close() does not wait for connect listeners", async () => {
  const server = await listening();
  const busy = Promise.withResolvers<void>();
  const told: string[] = [];
  server.on("connect", async (client) => {
    await busy.promise;
    await client.waitFor("message").catch(() => told.push("too late"));
  });
  server.on("close", () => told.push("close"));
  const [client] = await connected(server);
  const closed = server.waitFor("close");
  client.send("unheard");
  await client.close(4000);
  await closed;
  await server.close();
  busy.resolve();
  await busy.promise;
  await Promise.resolve();
  await Promise.resolve();
  assertEquals(told, ["close", "too late"]);
});

test("ServerSocket.close() throws for invalid codes", async () => {
  await using server = await listening();
  assertThrows(() => server.close(1005), RangeError, "code 1005");
  const [client] = await connected(server);
  await client.close();
});

test("ServerSocket.close() before listen() closes the server", async () => {
  const server = new ServerSocket();
  await server.close();
  await assertRejects(() => server.listen("127.0.0.1", 0), Error, "was closed");
});

test("ServerSocket.close() rejects pending waitFor()", async () => {
  const server = await listening();
  const waiting = server.waitFor("message");
  const loop = Array.fromAsync(server.events("connect"));
  await server.close();
  await assertRejects(() => waiting, ConnectionEndedError, "was closed");
  assertEquals(await loop, []);
});

test("ServerSocket.close() limits the wait for the fallback", async () => {
  const busy = Promise.withResolvers<Response>();
  const called = Promise.withResolvers<void>();
  const server = await listening({
    closeTimeout: 50,
    fallback: () => {
      called.resolve();
      return busy.promise;
    },
  });
  const answer = fetch(server.url.replace("ws", "http"));
  await called.promise;
  await server.close();
  busy.resolve(new Response("late"));
  await assertRejects(() => answer, TypeError);
});

test("ServerSocket.fetch() upgrades requests of any server", async () => {
  const server = new ServerSocket();
  const { fetch } = server;
  await using http = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request, info) =>
      new URL(request.url).pathname === "/live"
        ? fetch(request, info)
        : new Response("page"),
  );
  const { port } = http.addr;
  const page = await globalThis.fetch(`http://127.0.0.1:${port}/`);
  assertStrictEquals(await page.text(), "page");
  const connect = server.waitFor("connect");
  const client = new ClientSocket();
  await client.connect(`ws://127.0.0.1:${port}/live`);
  assertMatch((await connect)[0].remoteAddress, /^127\.0\.0\.1:\d+$/);
  const closed = client.waitFor("close");
  await server.close();
  assertEquals((await closed)[0], 1001);
  const late = await assertRejects(
    () => client.connect(`ws://127.0.0.1:${port}/live`),
    ConnectError,
  );
  assertStringIncludes(late.message, "503");
});

test("ServerSocket.fetch() responds with 500 if the upgrade fails", async () => {
  const server = new ServerSocket();
  const errors: unknown[] = [];
  server.addEventListener("error", ({ error, from, connection }) => {
    errors.push(error instanceof Error, from, connection);
  });
  const statuses: number[] = [];
  await using http = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    async (request, info) => {
      const first = await server.fetch(request, info);
      const second = await server.fetch(request, info);
      statuses.push(first.status, second.status);
      return first;
    },
  );
  const client = new ClientSocket();
  await client.connect(`ws://127.0.0.1:${http.addr.port}`);
  assertEquals(statuses, [101, 500]);
  assertEquals(errors, [true, "upgrade", undefined]);
  await client.close();
  await server.close();
});

test("ServerSocket.fetch() without info sets an unknown address", async () => {
  const server = new ServerSocket();
  await using http = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) => server.fetch(request),
  );
  const connect = server.waitFor("connect");
  const client = new ClientSocket();
  await client.connect(`ws://127.0.0.1:${http.addr.port}`);
  assertStrictEquals((await connect)[0].remoteAddress, "unknown");
  await server.close();
});

Deno.test({
  name: "ServerSocket is a default export for deno serve, without permissions",
  ignore: await lacksPermission("net", "run", "read"),
  fn: async () => {
    await using program = new Program(
      [
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "tests/support/deno_serve.ts",
      ],
      { output: "stderr" },
    );
    const url = await program.line("deno serve: Listening on");
    const client = new ClientSocket();
    await client.connect(url);
    const answer = client.waitFor("message");
    await client.send("who am I?");
    assertMatch((await answer)[0].content, /^127\.0\.0\.1:\d+$/);
    await client.close(4000);
    const page = await fetch(url);
    assertStrictEquals(await page.text(), "page");
  },
});

test("ServerSocket option fallback handles other requests", async () => {
  await using server = await listening({
    fallback: (request, { remoteAddr }) =>
      new Response(`${new URL(request.url).pathname} ${remoteAddr?.hostname}`),
  });
  const response = await fetch(`http://127.0.0.1:${server.port}/page`);
  assertStrictEquals(await response.text(), "/page 127.0.0.1");
  const [client] = await connected(server);
  await client.close();
});

test("ServerSocket responds with 500 if the fallback throws", async () => {
  await using server = await listening({
    fallback: () => {
      throw new Error("fallback");
    },
  });
  const error = server.waitFor("error");
  const response = await fetch(`http://127.0.0.1:${server.port}/`);
  assertStrictEquals(response.status, 500);
  assertStringIncludes(await response.text(), "Internal server error");
  assertMatch(String(await error), /Error: fallback,fallback/);
});

test("ServerSocket responds with 500 if the fallback returns no Response", async () => {
  const nothing: () => Response = () => JSON.parse("null");
  await using server = await listening({ fallback: nothing });
  const error = server.waitFor("error");
  const response = await fetch(`http://127.0.0.1:${server.port}/`);
  await response.body?.cancel();
  assertStrictEquals(response.status, 500);
  assertStringIncludes(String((await error)[0]), "other than a Response");
});

test("ServerSocket without a fallback responds with 426", async () => {
  await using server = await listening();
  const response = await fetch(`http://127.0.0.1:${server.port}/`);
  assertStrictEquals(response.status, 426);
  assertStrictEquals(response.headers.get("upgrade"), "websocket");
  assertStringIncludes(await response.text(), "this is a WebSocket endpoint");
});

test("ServerSocket option protocols selects the client's first choice", async () => {
  await using server = await listening({ protocols: ["b", "a"] });
  const connect = server.waitFor("connect");
  const client = new ClientSocket({ protocols: ["x", "a", "b"] });
  await client.connect(server.url);
  const [peer] = await connect;
  assertStrictEquals(peer.protocol, "a");
  assertStrictEquals(client.connection?.protocol, "a");
  await client.close();
});

test("ServerSocket emits errors of listeners with the client", async () => {
  await using server = await listening();
  const errors: unknown[] = [];
  server.on(
    "error",
    (error, from, client) => errors.push([error, from, client]),
  );
  server.on("connect", () => Promise.reject("connect"));
  server.on("message", () => {
    throw "message";
  });
  server.addEventListener("message", () => {
    throw "handler";
  });
  server.on("close", () => {
    throw "close";
  });
  server.addEventListener("close", () => Promise.reject("late"));
  const [client, peer] = await connected(server);
  peer.on("message", () => Promise.reject("client"));
  const got = server.waitFor("message");
  await client.send("x");
  await got;
  const closed = peer.waitFor("close");
  await client.close();
  await closed;
  await connected(server).then(([client]) => client.close());
  assertEquals(errors.slice(0, 6), [
    ["connect", "connect", peer],
    ["message", "message", peer],
    ["handler", "message", peer],
    ["client", "message", peer],
    ["close", "close", peer],
    ["late", "close", peer],
  ]);
});

test("ServerSocket logs errors without a listener", async () => {
  using written = stub(console, "error");
  await using server = await listening();
  server.on("ready", () => {});
  server.on("connect", () => {
    throw new Error("unheard");
  });
  const [client] = await connected(server);
  await client.close();
  assertEquals(written.calls.map(({ args }) => args[0]), [
    'Unhandled error in "connect":',
  ]);
});

test("ServerSocket methods can be overridden", async () => {
  const calls: unknown[] = [];
  class Echo extends ServerSocket {
    protected override onReady(): void {
      calls.push(`ready ${this.port > 0}`);
    }
    protected override onConnect(client: Connection, path: string): void {
      calls.push(`connect ${path}`);
      client.send("welcome");
    }
    protected override onMessage(message: Message): void {
      calls.push(`message ${message.content}`);
      message.reply(message.content);
    }
    protected override onClose(_: Connection, code: number): void {
      calls.push(`close ${code}`);
    }
    protected override onDisconnect(_: Connection, code: number): void {
      calls.push(`disconnect ${code}`);
    }
  }
  await using server = new Echo();
  server.on("connect", () => calls.push("listener"));
  await server.listen("127.0.0.1", 0);
  const client = new ClientSocket();
  await client.connect(server.url + "/echo");
  const messages = client.collect("message", { limit: 2 });
  await client.send("hello");
  await messages;
  const closed = server.waitFor("close");
  await client.close(4000);
  await closed;
  await client.connect(server.url);
  const lost = client.waitFor("disconnect");
  for (const peer of server.clients) peer.terminate();
  await lost;
  assertEquals(calls, [
    "ready true",
    "connect /echo",
    "listener",
    "message hello",
    "close 4000",
    "connect /",
    "listener",
    "disconnect 1006",
  ]);
});
