/** Who may come into a server, and what those hear who may not. */

import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { stub } from "@std/testing/mock";
import { FakeTime } from "@std/testing/time";
import { ClientSocket, ConnectError } from "../../client.ts";
import { sameOrigin, ServerSocket } from "../../server.ts";
import { lacksPermission } from "../support/permissions.ts";
import { frame, HANDSHAKE, RawPeer, request } from "../support/raw_peer.ts";

const ignore = await lacksPermission("net");

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore, fn });
}

/** A server that listens, and the refusals that it has told. */
async function listening(
  ...options: ConstructorParameters<typeof ServerSocket<{ context: unknown }>>
) {
  const server = new ServerSocket<{ context: unknown }>(...options);
  const refusals: string[] = [];
  server.on("refused", (request, status, reason) => {
    refusals.push(`${request.method} ${status} ${reason}`);
  });
  await server.listen("127.0.0.1", 0);
  return {
    server,
    refusals,
    async [Symbol.asyncDispose]() {
      await server.close();
    },
  };
}

/** The whole answer to a request, without the date. */
async function answer(port: number, text: string): Promise<string> {
  using peer = await RawPeer.connect(port);
  await peer.write(text);
  const head = await peer.head();
  const length = /^content-length: (\d+)$/im.exec(head)?.[1] ?? "0";
  const body = await peer.text(Number(length));
  return `${head.replace(/\r\ndate: .*/i, "")}\r\n\r\n${body}`;
}

/** An answer of this library. */
function refusal(
  status: string,
  why: string,
  headers: readonly string[] = [],
): string {
  return [
    `HTTP/1.1 ${status}`,
    ...headers,
    "content-type: text/plain;charset=UTF-8",
    `content-length: ${why.length + 1}`,
    "",
    `${why}\n`,
  ].join("\r\n");
}

/** An answer of the runtime, which no handler has seen. */
const NO_HTTP =
  "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

const UPGRADE = ["upgrade: websocket", "connection: upgrade"];
const RETRY = ["retry-after: 5"];
const GOOD = { ...HANDSHAKE, Origin: "https://good.example", Token: "ada" };

/** With a header more, as it stands there. */
function withLine(line: string): string {
  return request(GOOD, "GET /live HTTP/1.1").replace(
    "\r\n\r\n",
    `\r\n${line}\r\n\r\n`,
  );
}

function live(
  headers: Readonly<Record<string, string | undefined>>,
  line = "GET /live HTTP/1.1",
): string {
  return request({ ...GOOD, ...headers }, line);
}

const NONE =
  "Cannot respond without an upgrade, as this is a WebSocket endpoint";
const KEY = "Cannot upgrade: Sec-WebSocket-Key must be 16 bytes in Base64";
const VERSION = "Cannot use this version of WebSocket: use version 13";
const V13 = [...UPGRADE, "sec-websocket-version: 13"];

/** What is sent, and the exact answer. */
const REFUSED: [string, string, string][] = [
  [
    "a plain GET",
    request({ Host: "x" }, "GET /live HTTP/1.1"),
    refusal("426 Upgrade Required", NONE, UPGRADE),
  ],
  [
    "a plain POST",
    request({ Host: "x", "Content-Length": "0" }, "POST /live HTTP/1.1"),
    refusal("426 Upgrade Required", NONE, UPGRADE),
  ],
  [
    "a POST that asks for an upgrade",
    live({}, "POST /live HTTP/1.1"),
    refusal(
      "405 Method Not Allowed",
      "Cannot upgrade a POST request: use GET",
      ["allow: GET"],
    ),
  ],
  [
    "another page",
    live({ Origin: "https://evil.example" }),
    refusal(
      "403 Forbidden",
      "Pages from https://evil.example may not connect to this server",
    ),
  ],
  [
    "two origins",
    withLine("Origin: https://evil.example"),
    refusal(
      "403 Forbidden",
      "Pages from https://good.example, https://evil.example may not connect to this server",
    ),
  ],
  [
    "no token",
    live({ Token: undefined }),
    "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer\r\n" +
    "content-type: text/plain;charset=UTF-8\r\ncontent-length: 12\r\n\r\nlog in first",
  ],
  [
    "a token of nobody's",
    live({ Token: "nobody" }),
    refusal("403 Forbidden", "Not authorized"),
  ],
  [
    "a check that throws",
    live({ Token: "throw" }),
    refusal("500 Internal Server Error", "Internal server error"),
  ],
  [
    "a check that hangs",
    live({ Token: "hang" }),
    refusal(
      "504 Gateway Timeout",
      "The authorization took too long",
    ),
  ],
  [
    "another path",
    live({}, "GET /live/x HTTP/1.1"),
    refusal("404 Not Found", "There is no WebSocket endpoint at /live/x"),
  ],
  [
    "a path that climbs",
    live({}, "GET /live/%2e%2e/etc HTTP/1.1"),
    refusal(
      "400 Bad Request",
      'Cannot use a path with the segments "." or "..": resolve them first',
    ),
  ],
  [
    "version 8",
    live({ "Sec-WebSocket-Version": "8" }),
    refusal("426 Upgrade Required", VERSION, V13),
  ],
  [
    "two versions",
    withLine("Sec-WebSocket-Version: 13"),
    refusal("426 Upgrade Required", VERSION, V13),
  ],
  [
    "no key",
    live({ "Sec-WebSocket-Key": undefined }),
    refusal("400 Bad Request", KEY),
  ],
  [
    "two keys",
    withLine("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
    refusal("400 Bad Request", KEY),
  ],
  [
    "a key of 15 bytes",
    live({ "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAA" }),
    refusal("400 Bad Request", KEY),
  ],
  [
    "no Connection",
    live({ Connection: "close" }),
    refusal(
      "400 Bad Request",
      'Cannot upgrade: the Connection header does not contain "Upgrade"',
    ).replace(/\r\n\r\n/, "\r\nconnection: close\r\n\r\n"),
  ],
  [
    "something else to upgrade to, too",
    live({ Upgrade: "h2c, websocket" }),
    refusal(
      "400 Bad Request",
      'Cannot upgrade: the Upgrade header must be exactly "websocket"',
    ),
  ],
  [
    "no Host",
    live({ Host: undefined }),
    refusal("400 Bad Request", "Cannot upgrade: the Host header is missing"),
  ],
  [
    "a Host that is none",
    live({ Host: "a, b" }),
    refusal(
      "400 Bad Request",
      "Cannot parse the URL or the Host header",
    ),
  ],
  [
    "a space that is none in HTTP",
    live({ Connection: "\u00a0Upgrade" }),
    refusal(
      "400 Bad Request",
      'Cannot upgrade: the Connection header does not contain "Upgrade"',
    ),
  ],
  // What the runtime refuses by itself, before any handler:
  ["two Hosts", withLine("Host: evil.example"), NO_HTTP],
  ["a body", live({ "Content-Length": "4" }) + "body", NO_HTTP],
  [
    "a body in chunks",
    live({ "Transfer-Encoding": "chunked" }) + "0\r\n\r\n",
    NO_HTTP,
  ],
  [
    "a body of two lengths",
    live({ "Content-Length": "4", "Transfer-Encoding": "chunked" }) + "body",
    NO_HTTP,
  ],
  ["a space before the colon", withLine("Origin : x"), NO_HTTP],
  ["a folded line", withLine("Origin: https://\r\n good.example"), NO_HTTP],
  ["a header with a NUL", withLine("X: \0"), NO_HTTP],
  ["two mebibytes of headers", withLine(`X: ${"x".repeat(2 ** 21)}`), NO_HTTP],
  ["no HTTP", "\x16\x03\x01\x02\x00\r\n\r\n", NO_HTTP],
];

test("refused: each has its exact answer, and all but the runtime's are told", async () => {
  const errors: unknown[] = [];
  await using context = await listening({
    origins: ["https://good.example"],
    paths: ["/live"],
    authorizeTimeout: 20,
    authorize({ headers }) {
      const token = headers.get("token");
      if (token === "throw") throw new Error("no database");
      if (token === "hang") return new Promise(() => {});
      if (token !== null) return token === "ada" && { user: token };
      const options = {
        status: 401,
        headers: { "www-authenticate": "Bearer" },
      };
      return new Response("log in first", options);
    },
  });
  const { server, refusals } = context;
  let connects = 0;
  server.on("connect", () => connects++);
  server.on("error", (error, from) => errors.push([String(error), from]));
  let told = 0;
  for (const [what, text, expected] of REFUSED) {
    const seen = await answer(server.port, text);
    assertEquals(seen.toLowerCase(), expected.toLowerCase(), what);
    if (expected !== NO_HTTP) told++;
    assertStrictEquals(refusals.length, told, what);
    if (expected !== NO_HTTP) {
      const status = expected.split(" ")[1] ?? "";
      assertStrictEquals(refusals.at(-1)?.split(" ")[1], status);
    }
  }
  assertEquals(errors, [["Error: no database", "authorize"]]);
  assertStrictEquals(connects, 0);
  using good = await RawPeer.connect(server.port);
  await good.write(live({}));
  assert((await good.head()).startsWith("HTTP/1.1 101 "));
});

test("refused: HTTP/1.0 is upgraded, as the runtime does not tell the version", async () => {
  await using context = await listening();
  const seen = await answer(
    context.server.port,
    request(HANDSHAKE, "GET / HTTP/1.0"),
  );
  assertStrictEquals(seen.split("\r\n")[0], "HTTP/1.0 101 Switching Protocols");
});

test("refused: once the server closes, with Retry-After, on the same TCP, too", async () => {
  const { server, refusals } = await listening({ closeTimeout: 5_000 });
  // A connection that was there before, and keeps the server from being done.
  using held = await RawPeer.open(server.port);
  using peer = await RawPeer.connect(server.port);
  await peer.write(request({ Host: "x" }));
  assert((await peer.head()).startsWith("HTTP/1.1 426"));
  await peer.text(NONE.length + 1);
  const closing = server.shutdown({ retryAfter: 2_500 });
  await peer.write(request(HANDSHAKE));
  const head = await peer.head();
  assert(head.startsWith("HTTP/1.1 503"), head);
  assert(head.includes("retry-after: 3"), head);
  assertEquals(refusals.length, 2);
  assertStrictEquals(await held.end(), "1001 retry-after=3");
  held.close();
  peer.close();
  await closing;
});

test("refused: at maxConnections, until one ends in whatever way", async () => {
  await using context = await listening({ maxConnections: 1 });
  const { server } = context;
  const full = refusal(
    "503 Service Unavailable",
    "There are too many connections",
    RETRY,
  ).toLowerCase();
  const ways: ((client: ClientSocket) => unknown)[] = [
    (client) => client.close(),
    (client) => client.terminate(),
    () => server.clients.forEach((client) => client.close(4000)),
    () => server.clients.forEach((client) => client.terminate()),
  ];
  for (const end of ways) {
    const client = new ClientSocket();
    const connected = server.waitFor("connect");
    await client.connect(server.url);
    await connected;
    const seen = await answer(server.port, request(HANDSHAKE));
    assertStrictEquals(seen.toLowerCase(), full);
    const ended = Promise.race([
      server.waitFor("close"),
      server.waitFor("disconnect"),
    ]);
    end(client);
    await ended;
    await client.close();
  }
});

test("refused: at maxConnectionsPerAddress", async () => {
  await using context = await listening({ maxConnectionsPerAddress: 2 });
  const { server } = context;
  using _one = await RawPeer.open(server.port);
  using _other = await RawPeer.open(server.port);
  assertStrictEquals(
    (await answer(server.port, request(HANDSHAKE))).toLowerCase(),
    refusal(
      "429 Too Many Requests",
      "There are too many connections from 127.0.0.1",
      RETRY,
    ).toLowerCase(),
  );
});

test("authorize returns client.context", async () => {
  await using context = await listening({
    keepHeaders: ["Sec-WebSocket-Version"],
    authorize: async ({ headers }, { path, remoteAddr, remoteAddress }) => {
      await Promise.resolve();
      const host = headers.get("host");
      return { host, path, remoteAddress, hostname: remoteAddr?.hostname };
    },
  });
  const { server } = context;
  const connected = server.waitFor("connect");
  const client = new ClientSocket();
  await client.connect(`${server.url}/live`);
  const [peer] = await connected;
  assertEquals(peer.context, {
    host: `127.0.0.1:${server.port}`,
    path: "/live",
    remoteAddress: peer.remoteAddress,
    hostname: "127.0.0.1",
  });
  assertStrictEquals(peer.headers.get("sec-websocket-version"), "13");
  assertStrictEquals(client.connection?.context, undefined);
  await client.close();
});

test("authorize does not lose messages received meanwhile", async () => {
  const decision = Promise.withResolvers<boolean>();
  await using context = await listening({ authorize: () => decision.promise });
  const { server } = context;
  const messages = server.collect("message", { limit: 2 });
  using peer = await RawPeer.connect(server.port);
  const early = Uint8Array.from([0x81, 0x81, 0, 0, 0, 0, 0x31]);
  await peer.write(request(HANDSHAKE), early, early);
  decision.resolve(true);
  assertEquals((await messages).map(([{ data }]) => data), [1, 1]);
});

test("authorize releases the connection of a client that disconnects", async () => {
  const asked = Promise.withResolvers<AbortSignal>();
  await using context = await listening({
    maxConnections: 1,
    authorize: async ({ signal }) => {
      asked.resolve(signal);
      if (!signal.aborted) await new Promise((go) => signal.onabort = go);
      return true;
    },
  });
  const { server, refusals } = context;
  let connects = 0;
  server.on("connect", () => connects++);
  using peer = await RawPeer.connect(server.port);
  await peer.write(request(HANDSHAKE));
  await asked.promise;
  const refused = server.waitFor("refused");
  peer.close();
  const [, status] = await refused;
  assertStrictEquals(status, 499);
  assertEquals(refusals, ["GET 499 The client has disconnected"]);
  assertStrictEquals(connects, 0);
  // And the place is free: this one is asked about.
  using next = await RawPeer.connect(server.port);
  await next.write(request(HANDSHAKE));
  next.close();
  await server.waitFor("refused", { filter: (_, code) => code === 499 });
});

test("origins compares the Origin header", async () => {
  await using context = await listening({ origins: sameOrigin });
  const { server, refusals } = context;
  const own = server.url.replace("ws", "http");
  using page = await RawPeer.connect(server.port);
  const Host = `127.0.0.1:${server.port}`;
  await page.write(request({ ...HANDSHAKE, Host, Origin: own }));
  assert((await page.head()).startsWith("HTTP/1.1 101"));
  using other = await RawPeer.connect(server.port);
  await other.write(request({ ...HANDSHAKE, Host, Origin: "null" }));
  assert((await other.head()).startsWith("HTTP/1.1 403"));
  const socket = new WebSocket(server.url, {
    headers: { origin: "https://evil.example" },
  });
  await new Promise((resolve) => socket.onclose = resolve);
  assertEquals(refusals.map((text) => text.slice(0, 7)), [
    "GET 403",
    "GET 403",
  ]);
  // No page, no origin.
  const client = new ClientSocket();
  await client.connect(server.url);
  await client.close();
});

test("origins that throws responds with 500 and emits error", async () => {
  await using context = await listening({
    origins: () => {
      throw new Error("oops");
    },
  });
  const { server, refusals } = context;
  const failed = server.waitFor("error");
  const seen = await answer(server.port, live({}));
  assert(seen.startsWith("HTTP/1.1 500 "));
  const [error, from] = await failed;
  assertEquals([String(error), from], ["Error: oops", "upgrade"]);
  assertEquals(refusals, ["GET 500 Internal server error"]);
});

test("refused is not emitted for requests of the fallback", async () => {
  await using context = await listening({
    paths: ["/live"],
    fallback: () => new Response("page"),
  });
  const { server, refusals } = context;
  const page = await answer(server.port, request({ Host: "x" }));
  assert(page.endsWith("\r\n\r\npage"));
  const client = new ClientSocket();
  await assertRejects(() => client.connect(server.url), ConnectError);
  assertEquals(refusals, ["GET 404 There is no WebSocket endpoint at /"]);
});

test("refused is dispatched as an Event", async () => {
  await using context = await listening();
  const { server } = context;
  const told = Promise.withResolvers<unknown[]>();
  server.addEventListener("refused", (event) => {
    const { type, request, status, reason, remoteAddress } = event;
    told.resolve([type, request.method, status, reason, remoteAddress]);
  });
  using peer = await RawPeer.connect(server.port);
  await peer.write(request({ Host: "x" }));
  const address = peer.tcp.localAddr;
  assertEquals(await told.promise, [
    "refused",
    "GET",
    426,
    NONE,
    `${address.hostname}:${address.port}`,
  ]);
});

Deno.test("maxConnections releases an upgrade that never opens", async () => {
  using time = new FakeTime();
  const server = new ServerSocket({ maxConnections: 1 });
  // A request that no server has made is upgraded, too, and never opens.
  const ask = async () => {
    const url = "http://localhost/";
    const asked = new Request(url, { headers: HANDSHAKE });
    return (await server.fetch(asked)).status;
  };
  assertEquals([await ask(), await ask()], [101, 503]);
  await time.tickAsync(1_999);
  assertEquals(await ask(), 503);
  await time.tickAsync(1);
  // From now on it waits a moment whether a client stays.
  const next = ask();
  await time.tickAsync(25);
  assertEquals(await next, 101);
  await server.close();
});

test("authorize can return the same Response each time", async () => {
  const no = new Response("log in first", { status: 401 });
  await using context = await listening({ authorize: () => no });
  for (let i = 0; i < 3; i++) {
    const seen = await answer(context.server.port, live({}));
    assert(seen.startsWith("HTTP/1.1 401 "), seen);
    assert(seen.endsWith("log in first"), seen);
  }
});

test("authorize admits no client to a server that is closing", async () => {
  const { server, refusals } = await listening({
    authorize: () => Promise.resolve(true),
  });
  let connects = 0;
  server.on("connect", () => connects++);
  // Whenever it is told to close between the decision and the upgrade.
  const url = "http://localhost/";
  const statuses: number[] = [];
  const asked = [0, 1, 2, 3, 4].map(async () => {
    const response = await server.fetch(
      new Request(url, { headers: HANDSHAKE }),
    );
    statuses.push(response.status);
  });
  server.close();
  await Promise.all(asked);
  assertEquals(statuses, Array(5).fill(503));
  assertEquals([connects, refusals.length], [0, 5]);
  await server.close();
});

test("authorize adds headers to the upgrade, with separate cookies", async () => {
  await using context = await listening({
    authorize(_request, { responseHeaders }) {
      responseHeaders.append("set-cookie", "a=1; HttpOnly");
      responseHeaders.append("set-cookie", "b=2");
      responseHeaders.set("x-served-by", "a");
      return true;
    },
  });
  using peer = await RawPeer.connect(context.server.port);
  await peer.write(live({}));
  const head = await peer.head();
  assertMatch(head, /^HTTP\/1\.1 101 /);
  assertMatch(head, /^set-cookie: a=1; HttpOnly\r?$/im);
  assertMatch(head, /^set-cookie: b=2\r?$/im);
  assertMatch(head, /^x-served-by: a\r?$/im);
});

test("origins: a foreign page with a cookie is refused, and the console names the option", async () => {
  using warn = stub(console, "warn");
  await using server = new ServerSocket();
  await server.listen("127.0.0.1", 0);
  const foreign = { Origin: "https://evil.example", Cookie: "id=1" };
  for (let i = 0; i < 2; i++) {
    assertMatch(await answer(server.port, live(foreign)), /^HTTP\/1\.1 403 /);
  }
  assertStrictEquals(warn.calls.length, 1);
  assertMatch(String(warn.calls[0]?.args[0]), /evil\.example.*"origins"/);
  await answer(server.port, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  assertMatch(
    String(warn.calls[1]?.args[0]),
    /^Refused 127\.0\.0\.1:\d+: 426 /,
  );
  server.on("refused", () => {});
  await answer(server.port, live({ "Sec-WebSocket-Key": "x" }));
  assertStrictEquals(warn.calls.length, 2);
});

test("remoteAddress: an IPv4 peer of a dual-stack server has an IPv4 address", async () => {
  await using server = new ServerSocket();
  await server.listen("::", 0);
  await using client = new ClientSocket();
  const connected = server.waitFor("connect");
  await client.connect(`ws://127.0.0.1:${server.port}`);
  const [{ remoteAddress }] = await connected;
  assertMatch(remoteAddress, /^127\.0\.0\.1:\d+$/);
});

Deno.test({
  name:
    "ServerSocket warns once about a client that fails for its subprotocols",
  ignore,
  fn: async () => {
    using warn = stub(console, "warn");
    for (const protocols of [[], ["other"], ["chat"]]) {
      await using server = new ServerSocket({ protocols });
      await server.listen("127.0.0.1", 0);
      /** Lets a client do something and leave. */
      const visit = async (
        offered: string | undefined,
        ...sent: Uint8Array[]
      ) => {
        const ended = server.waitFor("end");
        const peer = await RawPeer.open(server.port, "/", offered);
        await peer.write(...sent);
        peer.close();
        return (await ended)[1].type;
      };
      const before = warn.calls.length;
      assertStrictEquals(await visit(undefined), "disconnect");
      assertStrictEquals(await visit("chat", frame(1, "x")), "disconnect");
      assertStrictEquals(await visit("chat", frame(8, [3, 232])), "close");
      assertStrictEquals(warn.calls.length, before);
      for (const offered of ["chat", "chat, v2"]) await visit(offered);
      const isSelected = protocols.includes("chat");
      assertStrictEquals(warn.calls.length, before + (isSelected ? 0 : 1));
      if (isSelected) continue;
      assertMatch(
        String(warn.calls.at(-1)?.args[0]),
        /^Lost 127\.0\.0\.1.*\("chat"\) is in the option "protocols" \(\[.*\]\)/,
      );
    }
  },
});
