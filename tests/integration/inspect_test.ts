/** What `inspect()` shows of a server, and whom it lets close a connection. */

import {
  assert,
  assertEquals,
  assertMatch,
  assertNotMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { stub } from "@std/testing/mock";
import { FakeTime } from "@std/testing/time";
import { ClientSocket, ConnectError } from "../../client.ts";
import { broadcastChannel } from "../../adapters/broadcast_channel.ts";
import { inspect } from "../../inspect.ts";
import type { Field } from "../../inspect/history.ts";
import { type ServerOptions, ServerSocket } from "../../server.ts";
import { lacksPermission } from "../support/permissions.ts";
import { HANDSHAKE, RawPeer, request } from "../support/raw_peer.ts";

const ignore = await lacksPermission("net");

/** A part of a list, as the page gets it. */
interface Part<T> {
  total: number;
  rows: T[];
}

/** What the page gets. */
interface Shown {
  time: number;
  rates: Record<Field, number>;
  history: Record<Field, number[]> & { every: number };
  connections: Part<Record<string, unknown>> & { matching: number };
  rooms: Part<{ room: string; size: number }>;
  ends: Record<string, unknown>[];
  refusals: Record<string, unknown>[];
  servers: Record<string, unknown>[];
}

/** A server that is looked into, at `/inspect`. */
class Inspected implements AsyncDisposable {
  readonly clients: ClientSocket[] = [];

  private constructor(
    readonly server: ServerSocket,
    readonly page: (request: Request) => Response,
  ) {}

  static async begin(options: ServerOptions = {}): Promise<Inspected> {
    const server = new ServerSocket({
      fallback: (request) => page(request),
      ...options,
    });
    const page: (request: Request) => Response = inspect(server);
    server.on("connect", (client, path) => {
      for (const room of path.split("/").slice(2)) {
        client.join(decodeURIComponent(room));
      }
    });
    server.on("message", ({ author, content }) => author.send(content));
    await server.listen("127.0.0.1", 0);
    return new Inspected(server, page);
  }

  /** Somebody connects, and joins the rooms that the path names. */
  async enter(path: string): Promise<ClientSocket> {
    const client = new ClientSocket({ plain: true });
    const connected = this.server.waitFor("connect");
    await client.connect(this.server.url + path);
    await connected;
    this.clients.push(client);
    return client;
  }

  /** Asks the handler. */
  ask(
    query: string,
    init: RequestInit = {},
    url = "http://example.test/inspect",
  ): Response {
    return this.page(new Request(`${url}${query}`, init));
  }

  async look(query = ""): Promise<Shown> {
    const response = this.ask(`?state${query}`);
    assertStrictEquals(response.status, 200, await response.clone().text());
    return await response.json();
  }

  /** The paths of the connections that are listed. */
  async paths(query: string): Promise<unknown[]> {
    const { connections } = await this.look(query);
    return connections.rows.map(({ path }) => path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close();
  }
}

function test(
  name: string,
  fn: (inspected: Inspected) => Promise<void>,
  options: ServerOptions = {},
): void {
  Deno.test({
    name: `inspect() ${name}`,
    ignore,
    fn: async () => {
      await using inspected = await Inspected.begin(options);
      await fn(inspected);
    },
  });
}

test("tells of connections and rooms", async (inspected) => {
  await inspected.enter("/ada/garden/lobby");
  const grace = await inspected.enter("/grace/lobby");
  const echo = grace.waitFor("message");
  await grace.send("hello");
  await echo;
  const { connections, rooms, time } = await inspected.look();
  const [own] = [...inspected.server.clients].slice(-1);
  assert(own);
  assertEquals({ ...connections, rows: connections.rows.slice(0, 1) }, {
    total: 2,
    matching: 2,
    rows: [{
      id: own.id,
      remoteAddress: own.remoteAddress,
      path: "/grace/lobby",
      age: time - own.connectedAt.getTime(),
      protocol: "",
      speaksEvents: false,
      readyState: 1,
      bufferedAmount: 0,
      roomCount: 1,
      rooms: ["lobby"],
      received: { messages: 1, bytes: 5 },
      sent: { messages: 1, bytes: 5 },
    }],
  });
  assertEquals(rooms, {
    total: 2,
    rows: [{ room: "lobby", size: 2 }, { room: "garden", size: 1 }],
  });
});

test("tells how connections have ended, the last first", async (inspected) => {
  const { server } = inspected;
  const ada = await inspected.enter("/ada");
  const grace = await inspected.enter("/grace");
  const ids = Array.from(server.clients, ({ id }) => id);
  const closed = server.waitFor("close");
  await ada.close(4001, "bye");
  await closed;
  const lost = server.waitFor("disconnect");
  grace.terminate();
  await lost;
  const { ends, connections } = await inspected.look();
  assertStrictEquals(connections.total, 0);
  const seen = ends.map(({ id, path, type, code, reason, cause }) => [
    id,
    path,
    type,
    code,
    reason,
    cause,
  ]);
  assertEquals(seen, [
    [ids[1], "/grace", "disconnect", 1006, "", "network"],
    [ids[0], "/ada", "close", 4001, "bye", "peer"],
  ]);
});

test("tells who was refused, without the query", async (inspected) => {
  using peer = await RawPeer.connect(inspected.server.port);
  await peer.write(request(HANDSHAKE, "GET /no?token=secret HTTP/1.1"));
  await peer.head();
  const [refusal, ...more] = (await inspected.look()).refusals;
  assert(refusal);
  const { time, remoteAddress, ...rest } = refusal;
  assertEquals(rest, {
    status: 404,
    reason: "There is no WebSocket endpoint at /no",
    method: "GET",
    path: "/no",
  });
  assertMatch(String(remoteAddress), /^127\.0\.0\.1:\d+$/);
  assert(typeof time === "number" && time <= Date.now());
  assertEquals(more, []);
}, { paths: ["/live"] });

test("remembers a hundred ends, and cuts what is long", async (inspected) => {
  const { server } = inspected;
  for (let i = 0; i < 101; i++) {
    const client = await inspected.enter(`/${i}`);
    const closed = server.waitFor("close");
    await client.close();
    await closed;
  }
  await inspected.enter(`/long/${"x".repeat(500)}`);
  const { ends, rooms, connections } = await inspected.look();
  assertStrictEquals(ends.length, 100);
  assertEquals([ends[0]?.path, ends[99]?.path], ["/100", "/1"]);
  assertStrictEquals(rooms.rows[0]?.room, `${"x".repeat(200)}…`);
  assertStrictEquals(String(connections.rows[0]?.path).length, 201);
});

test(
  "shows the address of the proxy where it has not told one",
  async (inspected) => {
    const { server } = inspected;
    const told = "9".repeat(500);
    const shown = /^127\.0\.0\.1:\d+$/;
    const enter = async (path: string) => {
      await using client = new ClientSocket({
        plain: true,
        headers: { "x-forwarded-for": told },
      });
      const connected = server.waitFor("connect");
      await client.connect(server.url + path);
      await connected;
      const { connections } = await inspected.look();
      assertMatch(String(connections.rows[0]?.remoteAddress), shown);
    };
    const ended = server.waitFor("close");
    await enter("/in");
    await ended;
    await assertRejects(() => enter("/out"), ConnectError);
    const { ends, refusals } = await inspected.look();
    assertMatch(String(ends[0]?.remoteAddress), shown);
    assertMatch(String(refusals[0]?.remoteAddress), shown);
  },
  { trustProxy: 1, paths: ["/in"] },
);

test("lists a page at a time", async (inspected) => {
  for (const name of ["a", "b", "c", "d", "e"]) {
    await inspected.enter(`/${name}`);
  }
  assertEquals(await inspected.paths("&limit=2"), ["/e", "/d"]);
  assertEquals(await inspected.paths("&limit=2&offset=2"), ["/c", "/b"]);
  assertEquals(await inspected.paths("&limit=2&offset=4"), ["/a"]);
  assertEquals(await inspected.paths("&limit=2&offset=9"), []);
  const { connections } = await inspected.look("&limit=2&offset=2");
  assertEquals([connections.total, connections.matching], [5, 5]);
});

test("never lists more than a hundred", async (inspected) => {
  for (let i = 0; i < 101; i++) await inspected.enter(`/${i}`);
  assertStrictEquals((await inspected.paths("&limit=1000")).length, 100);
  assertStrictEquals((await inspected.paths("")).length, 50);
});

test("searches, and shows who is in a room", async (inspected) => {
  for (const path of ["/ada/lobby", "/grace/Garden", "/edith/lobby/x"]) {
    await inspected.enter(path);
  }
  assertEquals(await inspected.paths("&search=garden"), ["/grace/Garden"]);
  assertEquals(await inspected.paths("&search=EDI"), ["/edith/lobby/x"]);
  assertEquals(await inspected.paths("&room=lobby"), [
    "/edith/lobby/x",
    "/ada/lobby",
  ]);
  assertEquals(await inspected.paths("&room=lob"), []);
  const [first] = inspected.server.clients;
  for (const text of [first?.id, first?.remoteAddress]) {
    assertEquals(await inspected.paths(`&search=${text}`), ["/ada/lobby"]);
  }
  const { connections } = await inspected.look("&room=lobby&search=ada");
  assertEquals([connections.total, connections.matching], [3, 1]);
});

test("sorts", async (inspected) => {
  const sizes = new Map([["/b", 3], ["/a/x", 9], ["/c/y/z", 1]]);
  for (const [path, size] of sizes) {
    const client = await inspected.enter(path);
    const echo = client.waitFor("message");
    await client.send("x".repeat(size));
    await echo;
  }
  const orders: [string, string[]][] = [
    ["age", ["/c/y/z", "/a/x", "/b"]],
    ["-age", ["/b", "/a/x", "/c/y/z"]],
    ["path", ["/a/x", "/b", "/c/y/z"]],
    ["-path", ["/c/y/z", "/b", "/a/x"]],
    ["-received", ["/a/x", "/b", "/c/y/z"]],
    ["sent", ["/c/y/z", "/b", "/a/x"]],
    ["-rooms", ["/c/y/z", "/a/x", "/b"]],
  ];
  for (const [order, expected] of orders) {
    assertEquals(await inspected.paths(`&sort=${order}`), expected, order);
  }
});

test("says what is wrong with what it is asked", async (inspected) => {
  const wrong: [string, RequestInit, number, RegExp][] = [
    ["?state&sort=size", {}, 400, /Cannot sort by "size": use one of address/],
    ["?state&sort=toString", {}, 400, /Cannot sort by "toString"/],
    ["?state&limit=-1", {}, 400, /Cannot use "-1" as "limit"/],
    ["?state&offset=1e9", {}, 400, /Cannot use "1e9" as "offset"/],
    ["?garbage", {}, 404, /Cannot find "\?garbage="/],
    ["?../../etc/passwd", {}, 404, /Cannot find/],
    [
      "",
      { method: "POST" },
      405,
      /Cannot use the method POST here: use GET, HEAD/,
    ],
    ["?state", { method: "DELETE" }, 405, /Cannot use the method DELETE here/],
    ["?close=x", {}, 405, /Cannot use the method GET here: use POST/],
  ];
  for (const [query, init, status, why] of wrong) {
    const response = inspected.ask(query, init);
    assertStrictEquals(response.status, status, query);
    assertMatch(await response.text(), why);
    assertStrictEquals(response.headers.has("allow"), status === 405);
  }
});

/** Who asks to close a connection, and whether it is closed. */
const ASKERS: [string, Record<string, string>, boolean][] = [
  ["the page", {
    "Sec-Fetch-Site": "same-origin",
    Origin: "http://example.test",
  }, true],
  ["the page, through a proxy that has a name of its own", {
    "Sec-Fetch-Site": "same-origin",
    Origin: "https://public.example",
  }, true],
  ["the page, in an older browser or in the clear", {
    Origin: "http://example.test",
  }, true],
  ["a page of another site", {
    "Sec-Fetch-Site": "cross-site",
    Origin: "https://evil.example",
  }, false],
  ["a page of another name of the same site", {
    "Sec-Fetch-Site": "same-site",
    Origin: "http://other.example.test",
  }, false],
  ["who says to be both", {
    "Sec-Fetch-Site": "cross-site",
    Origin: "http://example.test",
  }, false],
  ["a person who types", { "Sec-Fetch-Site": "none" }, false],
  ["a page of another site, in an older browser", {
    Origin: "https://evil.example",
  }, false],
  ["a page of another port, in an older browser", {
    Origin: "http://example.test:8080",
  }, false],
  ["a page without an origin", { Origin: "null" }, false],
  ["who does not say from where", {}, false],
];

for (const [who, headers, isClosed] of ASKERS) {
  test(
    `${isClosed ? "closes" : "does not close"} a connection for ${who}`,
    async (inspected) => {
      const client = await inspected.enter("/ada");
      const [own] = inspected.server.clients;
      const response = inspected.ask(`?close=${own?.id}`, {
        method: "POST",
        headers: { Host: "example.test", ...headers },
      });
      assertStrictEquals(response.status, isClosed ? 204 : 403);
      assertStrictEquals(own?.readyState, isClosed ? 2 : 1);
      if (!isClosed) return;
      const [code, reason] = await client.waitFor("close");
      assertEquals([code, reason], [1000, "Closed by an administrator"]);
    },
  );
}

test("closes nobody whom it does not know", async (inspected) => {
  await inspected.enter("/ada");
  const headers = { "Sec-Fetch-Site": "same-origin" };
  for (const id of ["", "x", "%3Cscript%3E"]) {
    const response = inspected.ask(`?close=${id}`, { method: "POST", headers });
    assertStrictEquals(response.status, 404);
    assertStrictEquals(
      response.headers.get("content-type"),
      "text/plain; charset=utf-8",
    );
    assertMatch(await response.text(), /Cannot find the connection/);
  }
  assertStrictEquals([...inspected.server.clients][0]?.readyState, 1);
});

test("gives a page that may run nothing but its own", async (inspected) => {
  const [first, second] = [inspected.ask(""), inspected.ask("")];
  const policy = first.headers.get("content-security-policy") ?? "";
  const [, nonce = ""] = /script-src 'nonce-([^']+)'/.exec(policy) ?? [];
  assertStrictEquals(
    policy,
    [
      "default-src 'none'",
      `script-src 'nonce-${nonce}'`,
      `style-src 'nonce-${nonce}'`,
      "connect-src 'self'",
      "img-src data:",
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
      "require-trusted-types-for 'script'",
      "trusted-types 'none'",
    ].join("; "),
  );
  assert(nonce.length >= 32);
  assert(!second.headers.get("content-security-policy")?.includes(nonce));
  for (const response of [first, inspected.ask("?state")]) {
    const { headers } = response;
    assertStrictEquals(headers.get("cache-control"), "no-store");
    assertStrictEquals(headers.get("x-content-type-options"), "nosniff");
    assertStrictEquals(headers.get("referrer-policy"), "no-referrer");
    assertStrictEquals(
      headers.get("cross-origin-resource-policy"),
      "same-origin",
    );
  }
  // Nothing is loaded from elsewhere, nor from a path that is not its own.
  const text = await first.text();
  const links = [...text.matchAll(/\b(?:src|href|action)\s*=\s*"([^"]*)"/g)];
  assertEquals(links.map(([, link]) => link), ["data:,"]);
  const urls = [...text.matchAll(/[a-z]+:\/\/[^"]*/g)].map(([url]) => url);
  assertEquals(urls, ["http://www.w3.org/2000/svg"]); // the name of SVG
  assertNotMatch(
    text,
    /innerHTML|insertAdjacent|document\.write|@import|url\(/,
  );
  assertStrictEquals(
    text.match(/<(script|style) /g)?.length,
    text.split(`nonce="${nonce}"`).length - 1,
  );
});

test("answers wherever it is mounted", async (inspected) => {
  for (const path of ["", "/", "/deep/in/there", "/deep/in/there/"]) {
    const url = `https://example.test${path}`;
    assertStrictEquals(inspected.ask("", {}, url).status, 200);
    const response = inspected.ask("?state", {}, url);
    assertStrictEquals((await response.json()).connections.total, 0);
  }
});

/** A clock that goes when the test says so. */
function fakeClock() {
  const time = new FakeTime();
  const start = time.now;
  const now = stub(performance, "now", () => time.now - start);
  return {
    time,
    [Symbol.dispose]() {
      now.restore();
      time.restore();
    },
  };
}

test("describes one connection, without credentials", async (inspected) => {
  const { server } = inspected;
  await inspected.enter("/live/a/b");
  const [own] = server.clients;
  const look = async (id: string | undefined) => {
    const response = inspected.ask(`?state&client=${id}`);
    return (await response.json()).client;
  };
  const client = await look(own?.id);
  assertStrictEquals(client.id, own?.id);
  assertEquals(client.rooms, ["a", "b"]);
  assertEquals(client.dropped, { incoming: 0, outgoing: 0, replies: 0 });
  assertEquals(
    client.headers,
    [
      ["user-agent", `Deno/${Deno.version.deno}`],
      ["authorization", "(hidden)"],
    ].filter(([name = ""]) => own?.headers.has(name)),
  );
  assertStrictEquals(await look("nobody"), null);
}, { keepHeaders: ["user-agent", "authorization"] });

test("has a label, memory, uptime and drops", async (inspected) => {
  const page = inspect(inspected.server, { label: "north" });
  const response = page(new Request("http://example.test/?state"));
  const { server } = await response.json();
  assertStrictEquals(server.label, "north");
  assertStrictEquals(server.dropped, 0);
  assert(server.memory > 0 && server.uptime > 0);
});

test("closes nobody if it is read-only", async (inspected) => {
  const { server } = inspected;
  const page = inspect(server, { readOnly: true });
  await inspected.enter("/live");
  const [own] = server.clients;
  const response = page(
    new Request(`http://example.test/?close=${own?.id}`, {
      method: "POST",
      headers: { "Sec-Fetch-Site": "same-origin" },
    }),
  );
  assertStrictEquals(response.status, 403);
  assertMatch(await response.text(), /read-only/);
  assertStrictEquals(own?.readyState, 1);
  const misspelled: object = { readonly: true };
  assertThrows(
    () => inspect(server, misspelled),
    TypeError,
    'did you mean "readOnly"?',
  );
});

Deno.test({
  name: "inspect() shows the last five minutes, and keeps no timer for nobody",
  ignore,
  fn: async () => {
    using clock = fakeClock();
    const { time } = clock;
    await using inspected = await Inspected.begin();
    await time.tickAsync(4_000);
    const ada = await inspected.enter("/ada");
    const say = async (text: string) => {
      const echo = ada.waitFor("message");
      await ada.send(text);
      await echo;
    };
    await say("12345678");
    await time.tickAsync(2_000);
    await say("1234");
    await time.tickAsync(2_000);
    const { history, rates } = await inspected.look();
    assertEquals(history, {
      every: 2_000,
      connections: [0, 0, 1, 1],
      connects: [0, 0, 1, 0],
      ends: [0, 0, 0, 0],
      refusals: [0, 0, 0, 0],
      messagesReceived: [0, 0, 1, 1],
      bytesReceived: [0, 0, 8, 4],
      messagesSent: [0, 0, 1, 1],
      bytesSent: [0, 0, 8, 4],
    });
    assertStrictEquals(rates.bytesReceived, 12 / 8);
    assertStrictEquals(rates.connections, 1);
    await say("12");
    const closed = inspected.server.waitFor("close");
    await ada.close();
    await closed;
    await time.tickAsync(2_000);
    const after = await inspected.look();
    assertEquals(after.history.connections.slice(-2), [1, 0]);
    assertEquals(after.history.ends.slice(-2), [0, 1]);
    assertEquals(after.history.bytesReceived.slice(-2), [4, 2]);
    await time.tickAsync(600_000);
    const later = await inspected.look();
    assertStrictEquals(later.history.connections.length, 150);
    assertEquals(new Set(later.history.bytesReceived), new Set([0]));
  },
});

Deno.test({
  name: "inspect() lists all servers that an adapter connects",
  ignore,
  async fn() {
    const adapter = () => broadcastChannel({ name: "inspected" });
    await using inspected = await Inspected.begin({ adapter: adapter() });
    await using other = new ServerSocket({ adapter: adapter() });
    inspect(other, { label: "other <b>" });
    await other.listen("127.0.0.1", 0);
    await using plain = new ServerSocket({ adapter: adapter() });
    await plain.listen("127.0.0.1", 0);
    await using client = new ClientSocket();
    const connected = other.waitFor("connect");
    await client.connect(other.url);
    const [connection] = await connected;
    connection.join("lobby");

    // Counting finds the other servers.
    assertEquals(await inspected.server.count(), 1);
    assertEquals((await inspected.look()).servers.length, 1);
    await inspected.server.count(); // answered after what the page has asked
    const { servers } = await inspected.look();
    assertEquals(
      servers.map(({ label, connections, rooms }) => [
        label ?? "unknown",
        connections,
        rooms,
      ]).sort(),
      [["", 0, 0], ["other <b>", 1, 1], ["unknown", 0, undefined]],
    );
    assertEquals(servers[0]?.url, inspected.server.url);
    assertEquals(servers.map(({ isThis }) => isThis === true), [
      true,
      false,
      false,
    ]);
  },
});

test("lists no servers without an adapter", async (inspected) => {
  assertEquals((await inspected.look()).servers, []);
});
