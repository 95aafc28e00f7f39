/** Requests and their answers, between our own two ends. */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { deadline } from "@std/async";
import {
  type ClientOptions,
  ClientSocket,
  type Connection,
  ConnectionEndedError,
  RequestError,
  type ServerOptions,
  ServerSocket,
} from "../../mod.ts";
import { PendingRequests } from "../../core/requests/pending_requests.ts";
import { lacksPermission } from "../support/permissions.ts";
import { frame, RawPeer } from "../support/raw_peer.ts";
import { listenForTest } from "../support/listen_for_test.ts";

const ignore = await lacksPermission("net");

/** A server and a client of it. */
class Pair implements AsyncDisposable {
  /** What both told as `error`. */
  readonly errors: [error: unknown, from: string][] = [];

  constructor(
    readonly server: ServerSocket,
    readonly client: ClientSocket,
    /** What the server calls the client. */
    readonly peer: Connection,
    readonly url: string,
  ) {
    server.on("error", (error, from) => this.errors.push([error, from]));
    client.on("error", (error, from) => this.errors.push([error, from]));
  }

  static async open(
    ofServer: ServerOptions = {},
    ofClient: ClientOptions = {},
  ): Promise<Pair> {
    const server = new ServerSocket(ofServer);
    const url = await listenForTest(server);
    const client = new ClientSocket(ofClient);
    const connected = server.waitFor("connect");
    await client.connect(url);
    const [peer] = await connected;
    return new Pair(server, client, peer, url);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
    await this.server.close();
  }
}

function test(
  name: string,
  fn: (pair: Pair) => Promise<void>,
  ofServer?: ServerOptions,
  ofClient?: ClientOptions,
): void {
  Deno.test({
    name,
    fn: async () => {
      await using pair = await Pair.open(ofServer, ofClient);
      await deadline(fn(pair), 20_000);
    },
  });
}

test("request() resolves with the result of the handler", async ({ server, client }) => {
  server.handle(({ data }) => ({ got: data }));
  server.handle("later", async ({ data }) => {
    await Promise.resolve();
    return data;
  });
  server.handle("nothing", () => {});
  server.handle("bytes", () => new Uint8Array([1, 2, 3]));
  assertEquals(await client.request({ a: 1 }), { got: { a: 1 } });
  assertEquals(await client.request("text"), { got: "text" });
  assertEquals(await client.request({ type: "later", b: 2 }), {
    type: "later",
    b: 2,
  });
  assertStrictEquals(await client.request({ type: "nothing" }), null);
  const bytes = new Uint8Array([1, 2, 3]);
  assertEquals(await client.request({ type: "bytes" }), bytes);
  assertEquals(await client.request(bytes), {
    got: { "0": 1, "1": 2, "2": 3 },
  });
});

test("request() works from server to client", async ({ client, peer }) => {
  client.handle(({ content }) => content.toUpperCase());
  assertStrictEquals(await peer.request("ada"), "ADA");
  assertStrictEquals(await peer.request(new Blob(["blob"])), "BLOB");
});

test("Message.reply() replies to a request, or sends a message", async ({ server, client, errors }) => {
  const seen: boolean[] = [];
  server.on("message", async (message) => {
    seen.push(message.isRequest);
    await message.reply(`re: ${message.content}`);
    if (!message.isRequest) return;
    assertThrows(() => message.reply("again"), Error, "twice");
  });
  const heard = client.waitFor("message");
  assertStrictEquals(await client.request("ask"), "re: ask");
  await client.send("tell");
  const [message] = await heard;
  assertStrictEquals(message.content, "re: tell");
  assertStrictEquals(message.isRequest, false);
  assertEquals(seen, [true, false]);
  assertEquals(errors, []);
});

test("handle() keeps requests from being emitted as message", async ({ server, client }) => {
  const messages: string[] = [];
  server.on("message", ({ content }) => messages.push(content));
  server.handle("sum", () => 3);
  assertStrictEquals(await client.request({ type: "sum" }), 3);
  await assertRejects(() => client.request({ type: "other" }), RequestError);
  await client.send("sent");
  await server.waitFor("message", { filter: (m) => m.content === "sent" });
  assertEquals(messages, ["sent"]);
});

test("handle() accepts handlers that reply by themselves", async ({ server, client, peer, errors }) => {
  server.handle(async (message) => {
    await message.reply("by reply");
  });
  assertStrictEquals(await client.request(1), "by reply");
  // What it returns then is one answer too many.
  server.handle("both", async (message) => {
    await message.reply("first");
    return "second";
  });
  server.handle("throws", async (message) => {
    await message.reply("first");
    throw new RequestError("too late");
  });
  for (const type of ["both", "throws"]) {
    assertStrictEquals(await client.request({ type }), "first");
  }
  await client.request(1);
  assertStrictEquals(client.connection?.dropped.replies, 0);
  assertEquals(errors.map(([error]) => String(error)), [
    `Error: Cannot reply twice to a request from ${peer.remoteAddress}`,
  ]);
});

test("handle() does not reveal errors of the handler", async ({ server, client, errors }) => {
  const secret = new Error("the password is 1234");
  server.handle("throws", () => {
    throw secret;
  });
  server.handle("rejects", () => Promise.reject(secret));
  server.handle("unsendable", () => ({ big: 1n }));
  for (const type of ["throws", "rejects", "unsendable"]) {
    const error = await assertRejects(
      () => client.request({ type }),
      RequestError,
    );
    assertStrictEquals(error.code, "internal");
    assert(!error.message.includes("1234"));
  }
  assertEquals(errors.map(([, from]) => from), Array(3).fill("request"));
  assertStrictEquals(errors[0]?.[0], secret);
  assertStrictEquals(errors[1]?.[0], secret);
  assertInstanceOf(errors[2]?.[0], TypeError);
});

test("handle() sends a RequestError to the peer", async ({ server, client, errors }) => {
  server.handle("sync", () => {
    throw new RequestError("No such fruit", "unknown-fruit");
  });
  server.handle("async", () => Promise.reject(new RequestError("No")));
  const error = await assertRejects(
    () => client.request({ type: "sync" }),
    RequestError,
    "No such fruit",
  );
  assertStrictEquals(error.code, "unknown-fruit");
  const other = await assertRejects(
    () => client.request({ type: "async" }),
    RequestError,
    "No",
  );
  assertStrictEquals(other.code, undefined);
  assertEquals(errors, []);
});

test("request() rejects at once without a handler", async ({ server, client }) => {
  const error = await assertRejects(() => client.request(1), RequestError);
  assertStrictEquals(error.code, "unhandled");
  const controller = new AbortController();
  server.handle(() => 1, { signal: controller.signal });
  assertStrictEquals(await client.request(1), 1);
  controller.abort();
  await assertRejects(() => client.request(1), RequestError);
  server.handle(() => 2);
  assertStrictEquals(await client.request(1), 2);
  assertThrows(() => server.handle(() => 3), Error, "twice");
  server.handle("a", () => 4);
  assertThrows(() => server.handle("a", () => 5), Error, '"a" twice');
});

test("request() rejects at once if handlers exist and none matches", async ({ server, client, peer }) => {
  const heard: unknown[] = [];
  server.on("message", ({ data }) => heard.push(data));
  server.on("message:other", ({ data }) => heard.push(data));
  const controller = new AbortController();
  server.handle("sum", () => 1, { signal: controller.signal });
  for (const data of [{ type: "other" }, { type: 1 }, "text", null]) {
    const error = await assertRejects(
      () => client.request(data, { timeout: Infinity }),
      RequestError,
      "No handler matches",
    );
    assertStrictEquals(error.code, "unhandled");
  }
  assertEquals(heard, []);
  assertStrictEquals(await client.request({ type: "sum" }), 1);
  client.on("message", () => {});
  client.handle("sum", () => 2);
  await assertRejects(() => peer.request("?"), RequestError, "No handler");
  // Without a handler, a listener replies.
  controller.abort();
  server.on("message", (message) => message.reply("by a listener"));
  assertStrictEquals(await client.request("text"), "by a listener");
  assertEquals(heard, ["text"]);
});

test("request() rejects after the timeout and counts a late reply", async ({ server, client }) => {
  const late = Promise.withResolvers<string>();
  server.handle(() => late.promise);
  const error = await assertRejects(
    () => client.request("slow", { timeout: 20 }),
    DOMException,
    "20 ms have passed",
  );
  assertStrictEquals(error.name, "TimeoutError");
  const { connection } = client;
  assertStrictEquals(connection?.dropped.replies, 0);
  late.resolve("at last");
  server.broadcast("after");
  await client.waitFor("message");
  assertStrictEquals(connection?.dropped.replies, 1);
  assertStrictEquals(connection?.readyState, 1);
});

test("request() rejects with the reason of its signal", async ({ server, client }) => {
  const late = Promise.withResolvers<string>();
  server.handle(() => late.promise);
  const controller = new AbortController();
  const pending = client.request("x", { signal: controller.signal });
  controller.abort("enough");
  assertStrictEquals(await pending.catch((reason) => reason), "enough");
  const none = client.request("x", { signal: controller.signal });
  assertStrictEquals(await none.catch((reason) => reason), "enough");
  late.resolve("");
});

test("request() rejects when the connection ends", async ({ server, client, peer, url }) => {
  server.handle(() => new Promise(() => {}));
  const first = client.request(1, { timeout: Infinity });
  await client.close(4000, "bye");
  const error = await assertRejects(() => first, ConnectionEndedError);
  assertStrictEquals(error.end?.code, 4000);
  await assertRejects(() => peer.request(1), ConnectionEndedError);
  await assertRejects(() => client.request(1), ConnectionEndedError);
  const connected = server.waitFor("connect");
  await client.connect(url);
  const [next] = await connected;
  const second = client.request(2);
  next.terminate();
  const lost = await assertRejects(() => second, ConnectionEndedError);
  assertStrictEquals(lost.end?.type, "disconnect");
});

test("request() causes no unhandled rejection", async ({ server, client }) => {
  server.handle(() => new Promise(() => {}));
  client.request(1);
  client.request(2, { timeout: 1 });
  await client.close();
  client.request(3);
});

test("request() supports 10,000 pending requests", async ({ server, client }) => {
  const waiting: (() => void)[] = [];
  const all = Promise.withResolvers<void>();
  server.handle(({ data }) =>
    new Promise((resolve) => {
      if (waiting.push(() => resolve(Number(data) * 2)) === 10_000) {
        all.resolve();
      }
    })
  );
  const asked = Array.from(
    { length: 10_000 },
    (_, n) => client.request(n, { timeout: Infinity }),
  );
  await all.promise;
  // In any order.
  for (const answer of waiting.reverse()) answer();
  const answers = await Promise.all(asked);
  assert(answers.every((answer, n) => answer === n * 2));
});

for (
  const [who, ofServer, ofClient] of [
    ["client", {}, { plain: true }],
    ["server", { plain: true }, {}],
  ] as const
) {
  test(
    `request() rejects at once without events.v1: plain ${who}`,
    async ({ client, peer }) => {
      for (const one of [client, peer]) {
        const error = await assertRejects(
          () => one.request(1),
          DOMException,
          "does not support events.v1",
        );
        assertStrictEquals(error.name, "NotSupportedError");
      }
      assertStrictEquals(peer.speaksEvents, false);
    },
    ofServer,
    ofClient,
  );
}

Deno.test({
  name: "ClientSocket.request() waits for the connection",
  ignore,
  fn: async () => {
    await using server = new ServerSocket();
    await server.listen("127.0.0.1", 0);
    server.handle(({ data }) => Number(data));
    await using client = new ClientSocket();
    await assertRejects(() => client.request(0), ConnectionEndedError);
    const connecting = client.connect(server.url);
    const answer = client.request(1);
    assertThrows(() => client.request({ big: 1n }), TypeError);
    await connecting;
    assertStrictEquals(await answer, 1);
    await client.close();
    const failing = client.connect("ws://127.0.0.1:1");
    failing.catch(() => {});
    await assertRejects(() => client.request(2));
    const silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const never = client.connect(`ws://127.0.0.1:${silent.addr.port}`);
    never.catch(() => {});
    const error = await assertRejects(
      () => client.request(3, { timeout: 10 }),
      DOMException,
    );
    assertMatch(error.name, /TimeoutError/);
    silent.close();
    await client.close();
  },
});

Deno.test("PendingRequests.expire() rejects only expired requests", () => {
  const told: string[] = [];
  const requests = new PendingRequests<string>();
  const ask = (name: string, timeout: number, now: number) =>
    requests.add(
      {
        resolve: (answer) => told.push(`${name} ${answer}`),
        reject: (why) => told.push(`${name} ${why}`),
      },
      timeout,
      now,
    );
  assertStrictEquals(requests.deadline, Infinity);
  assertStrictEquals(ask("a", 100, 0), 1);
  assertStrictEquals(ask("b", 10, 5), 2);
  assertStrictEquals(ask("c", 100, 6), 3);
  assertStrictEquals(ask("d", Infinity, 6), 4);
  assertStrictEquals(requests.deadline, 15);
  const why = (timeout: number) => `after ${timeout}`;
  requests.expire(14, why);
  assertEquals(told, []);
  requests.expire(15, why);
  assertEquals(told.splice(0), ["b after 10"]);
  assertStrictEquals(requests.deadline, 100);
  assertStrictEquals(
    requests.settle(1, (asker) => asker.resolve("yes")),
    "awaited",
  );
  assertStrictEquals(requests.settle(1, () => told.push("never")), "late");
  assertStrictEquals(requests.settle(2, () => told.push("never")), "late");
  assertStrictEquals(requests.settle(5, () => told.push("never")), "unasked");
  assertEquals(told.splice(0), ["a yes"]);
  assertStrictEquals(requests.deadline, 106);
  requests.expire(1e9, why);
  assertEquals(told.splice(0), ["c after 100"]);
  assertStrictEquals(requests.deadline, Infinity);
  assertStrictEquals(requests.size, 1);
  requests.rejectAll("end");
  assertEquals(told, ["d end"]);
  assertStrictEquals(requests.size, 0);
  ask("e", 10, 0);
  requests.rejectAll("over");
  assertStrictEquals(requests.deadline, Infinity);
});

/** The requests that are pending when no more credit is given, and those with credit. */
const LIMIT = 16 * 1024 + 1024;

Deno.test({
  name: "a client with very many pending requests is slowed down, not closed",
  ignore,
  fn: async () => {
    await using server = new ServerSocket();
    const hold = Promise.withResolvers<void>();
    const full = Promise.withResolvers<void>();
    let started = 0;
    server.handle(async ({ content }) => {
      if (content !== "other" && ++started === LIMIT) full.resolve();
      if (content !== "other") await hold.promise;
      return 1;
    });
    await server.listen("127.0.0.1", 0);
    await using client = new ClientSocket();
    await using other = new ClientSocket();
    await client.connect(server.url);
    await other.connect(server.url);
    const replies = Array.from(
      { length: LIMIT + 2_000 },
      () => client.request(""),
    );
    await full.promise;
    for (let i = 0; i < 10; i++) await other.request("other");
    assertEquals(started, LIMIT);
    hold.resolve();
    await Promise.all(replies);
    assertEquals(started, LIMIT + 2_000);
  },
});

Deno.test({
  name: "a peer that ignores its credit for requests is closed",
  ignore,
  fn: async () => {
    await using server = new ServerSocket({ messageRate: false });
    const hold = Promise.withResolvers<void>();
    let count = 0;
    server.handle(() => {
      count++;
      return hold.promise;
    });
    await server.listen("127.0.0.1", 0);
    using peer = await RawPeer.open(server.port, "/", "events.v1");
    const ended = server.waitFor("end");
    for (let id = 1; id < 40_000; id++) {
      if (!await peer.write(frame(1, `\u0001?${id},1`))) break;
    }
    const [, { code, cause }] = await ended;
    hold.resolve();
    assertEquals([code, cause], [1006, "limit"]);
    assert(count < LIMIT + 512, `${count}`);
  },
});
