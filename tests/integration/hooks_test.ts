/** Hooks around what clients send: `ServerSocket.use`. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  ClientSocket,
  type Connection,
  type Message,
  RequestError,
  type ServerOptions,
  ServerSocket,
} from "../../mod.ts";
import { channel, channels } from "../../channels.ts";
import { MemoryNetwork } from "../../testing.ts";
import { readProperty } from "../../core/util/read_property.ts";

/** A server in memory, one client, and what the server's listeners have heard. */
class Pair implements AsyncDisposable {
  readonly server: ServerSocket;
  readonly client = new ClientSocket({ concurrency: 64 });
  readonly network: MemoryNetwork;
  readonly heard: unknown[] = [];
  readonly errors: string[] = [];

  constructor(options: ServerOptions = {}) {
    this.server = new ServerSocket(options);
    this.network = new MemoryNetwork(this.server);
    this.server.on("message", ({ data }) => this.heard.push(data));
    this.server.on("error", (error, from) => {
      this.errors.push(
        `${from}: ${error instanceof Error ? error.message : error}`,
      );
    });
  }

  async connect(): Promise<Connection> {
    const connected = this.server.waitFor("connect");
    await this.client.connect(this.network.url);
    const [connection] = await connected;
    return connection;
  }

  /** Waits until the server has heard so many messages. */
  async hears(count: number): Promise<unknown[]> {
    while (this.heard.length < count) await this.server.waitFor("message");
    return this.heard;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
    await this.server.close();
    await this.network[Symbol.asyncDispose]();
  }
}

async function codeOf(reply: Promise<unknown>): Promise<string> {
  const error = await assertRejects(() => reply, RequestError);
  return `${error.code}: ${error.message}`;
}

Deno.test("ServerSocket.use() calls hooks in order, around messages and requests", async () => {
  await using pair = new Pair();
  const { server, client } = pair;
  const log: string[] = [];
  server.on("message:say", () => log.push("listener"));
  server.handle("sum", () => {
    log.push("handler");
    return 3;
  });
  for (const name of ["a", "b"]) {
    server.use(async ({ kind, type, data, channel }, next) => {
      log.push(`${name} ${kind} ${type} ${readProperty(data, "n")} ${channel}`);
      await next();
      log.push(`${name} done`);
    });
  }
  await pair.connect();
  client.send({ type: "say", n: 1 });
  assertEquals(await client.request({ type: "sum", n: 2 }), 3);
  const of = (kind: string) => log.filter((line) => line.includes(kind));
  assertEquals(of(" message").concat(of("listener")), [
    "a message say 1 undefined",
    "b message say 1 undefined",
    "listener",
  ]);
  assertEquals(of(" request").concat(of("handler")), [
    "a request sum 2 undefined",
    "b request sum 2 undefined",
    "handler",
  ]);
  assertEquals(of("done").length, 4);
  assert(log.indexOf("listener") < log.indexOf("a request sum 2 undefined"));
  assert(log.indexOf("b done") < log.indexOf("a done"));
  assertThrows(
    () => Reflect.apply(server.use, server, [{}]),
    TypeError,
    'Cannot use "hook" unless it is a function',
  );
});

Deno.test("ServerSocket.use() lets next() wait for asynchronous listeners and handlers", async () => {
  await using pair = new Pair();
  const { server, client } = pair;
  const log: string[] = [];
  const gates = [1, 2].map(() => Promise.withResolvers<void>());
  server.on("message", async () => {
    await gates[0]?.promise;
    log.push("listener");
  });
  server.handle(async () => {
    await gates[1]?.promise;
    log.push("handler");
    return 1;
  });
  const ended: string[] = [];
  server.use(async ({ kind }, next) => {
    await next();
    ended.push(kind);
  });
  await pair.connect();
  client.send("x");
  const reply = client.request("y");
  await pair.hears(1);
  assertEquals([log, ended], [[], []]);
  gates[0]?.resolve();
  gates[1]?.resolve();
  await reply;
  await new Promise((done) => setTimeout(done, 0));
  assertEquals(log, ["listener", "handler"]);
  assertEquals(ended, ["message", "request"]);
});

Deno.test("ServerSocket.use() keeps the order of messages, whatever the hooks wait for", async () => {
  await using pair = new Pair();
  const { server, client } = pair;
  const started: unknown[] = [];
  server.use(async ({ data }, next) => {
    started.push(data);
    // The later ones would be faster.
    await new Promise((done) => setTimeout(done, 10 - Number(data) * 2));
    await next();
  });
  server.use(({ data }, next) => Number(data) % 2 ? next() : void next());
  await pair.connect();
  for (let i = 0; i < 5; i++) client.send(i);
  assertEquals(await pair.hears(5), [0, 1, 2, 3, 4]);
  assertEquals(started, [0, 1, 2, 3, 4]);
});

Deno.test("ServerSocket.use() does not let one client wait for another", async () => {
  await using pair = new Pair();
  const { server, network } = pair;
  await using other = new ClientSocket();
  const gate = Promise.withResolvers<void>();
  server.use(async ({ data }, next) => {
    if (data === "slow") await gate.promise;
    await next();
  });
  await pair.connect();
  await other.connect(network.url);
  pair.client.send("slow");
  pair.client.send("behind it");
  other.send("fast");
  assertEquals(await pair.hears(1), ["fast"]);
  gate.resolve();
  assertEquals(await pair.hears(3), ["fast", "slow", "behind it"]);
});

Deno.test("ServerSocket.use() drops and refuses what a hook does not pass on", async () => {
  await using pair = new Pair();
  const { server, client } = pair;
  server.handle(() => "handled");
  server.use(async ({ data }, next) => {
    if (data === "sync") return;
    await null;
    if (data === "async") return;
    if (data === "refused") throw new RequestError("Not now", "busy");
    if (data === "uncoded") throw new RequestError("No code");
    if (data === "thrown") throw new TypeError("a bug");
    await next();
  });
  const connection = await pair.connect();
  const forbidden = "forbidden: Not authorized";
  assertEquals(await codeOf(client.request("sync")), forbidden);
  assertEquals(await codeOf(client.request("async")), forbidden);
  assertEquals(await codeOf(client.request("refused")), "busy: Not now");
  assertEquals(await codeOf(client.request("uncoded")), "undefined: No code");
  assertEquals(
    await codeOf(client.request("thrown")),
    "internal: The request has failed",
  );
  assertEquals(await client.request("fine"), "handled");
  assertEquals(connection.dropped.incoming, 0);
  for (const data of ["sync", "async", "refused", "thrown", "fine"]) {
    client.send(data);
  }
  assertEquals(await pair.hears(1), ["fine"]);
  assertEquals(connection.dropped.incoming, 4);
  assertEquals(pair.errors, ["use: a bug", "use: a bug"]);
});

Deno.test("ServerSocket.use() reports what a hook throws after next(), and a second next()", async () => {
  await using pair = new Pair();
  const { server, client } = pair;
  server.handle(() => "handled");
  server.use(async ({ data }, next) => {
    await next();
    if (data === "late") throw new Error("after it");
    if (data === "twice") await next();
  });
  await pair.connect();
  assertEquals(await client.request("late"), "handled");
  assertEquals(await client.request("twice"), "handled");
  await client.request("fine");
  assertEquals(pair.errors, [
    "use: after it",
    "use: Cannot call next() twice: each hook passes a message on once",
  ]);
});

Deno.test("ServerSocket.use() lets a hook handle the errors of later hooks", async () => {
  await using pair = new Pair();
  const { server, client } = pair;
  server.handle(() => "handled");
  const caught: unknown[] = [];
  server.use(async ({ data }, next) => {
    if (data === "not awaited") return void next();
    try {
      await next();
    } catch (error) {
      caught.push(error instanceof Error ? error.message : error);
      throw new RequestError("Translated", "other");
    }
  });
  server.use(async ({ data }, next) => {
    await null;
    if (data !== "fine") throw new Error(`no ${data}`);
    await next();
  });
  await pair.connect();
  assertEquals(await codeOf(client.request("x")), "other: Translated");
  assertEquals(caught, ["no x"]);
  // Nobody awaits it: the error is not lost, and ends no process.
  assertEquals(
    await codeOf(client.request("not awaited")),
    "internal: The request has failed",
  );
  assertEquals(pair.errors, ["use: no not awaited"]);
  assertEquals(await client.request("fine"), "handled");
});

Deno.test("ServerSocket.use() sees the output of the schema, and nothing invalid", async () => {
  await using pair = new Pair({
    schema: {
      "~standard": {
        version: 1,
        vendor: "test",
        validate: (value: unknown) =>
          typeof value === "number"
            ? { value: { type: "number", value } }
            : { issues: [{ message: "no number" }] },
      },
    },
  });
  const seen: unknown[] = [];
  pair.server.use(({ data, type }, next) => {
    seen.push([type, data]);
    return next();
  });
  await pair.connect();
  pair.client.send("text");
  pair.client.send(4);
  assertEquals(await pair.hears(1), [{ type: "number", value: 4 }]);
  assertEquals(seen, [["number", { type: "number", value: 4 }]]);
});

Deno.test("ServerSocket.use() reports a codec that cannot decode a message", async () => {
  const codec = {
    name: "test",
    encode: (value: unknown) => JSON.stringify(value),
    decode: (text: string | Uint8Array) => {
      if (text === '"bad"') throw new Error("undecodable");
      return JSON.parse(String(text));
    },
  };
  const server = new ServerSocket({ codec });
  await using network = new MemoryNetwork(server);
  await using client = new ClientSocket({ codec });
  const errors: string[] = [];
  server.on("error", (error, from) => errors.push(`${from} ${error}`));
  server.handle(() => "handled");
  let calls = 0;
  server.use((inbound, next) => {
    calls++;
    assertEquals(inbound.type, undefined);
    return next();
  });
  const connected = server.waitFor("connect");
  await client.connect(network.url);
  const [connection] = await connected;
  client.send("bad");
  assertEquals(
    await codeOf(client.request("bad")),
    "invalid: The request could not be read",
  );
  assertEquals(await client.request("good"), "handled");
  assertEquals(errors, [
    "use Error: undecodable",
    "message Error: undecodable",
  ]);
  assertEquals([calls, connection.dropped.incoming], [2, 1]);
  await client.close();
  await server.close();
});

Deno.test("ServerSocket.use() applies to open connections, with events and iterators", async () => {
  await using pair = new Pair();
  const { server, client } = pair;
  const connection = await pair.connect();
  client.send("before");
  await connection.waitFor("message");
  server.use(async ({ data }, next) => {
    await null;
    if (data !== "no") await next();
  });
  const iterator = connection.messages();
  const first: Promise<IteratorResult<Message, undefined>> = iterator.next();
  const typed = connection.waitFor("message:say");
  client.send("no");
  client.send({ type: "say" });
  assertEquals((await first).value?.data, { type: "say" });
  await typed;
  await iterator.return?.();
});

for (const concurrency of [1, 2, Infinity]) {
  Deno.test(`ServerSocket.use() with the concurrency ${concurrency} keeps order`, async () => {
    await using pair = new Pair({ concurrency });
    const { server, client } = pair;
    let running = 0;
    let most = 0;
    server.use(async (_inbound, next) => {
      most = Math.max(most, ++running);
      await new Promise((done) => setTimeout(done, 1));
      await next();
      running--;
    });
    let handled = 0;
    server.on("message", async () => {
      await new Promise((done) => setTimeout(done, 2));
      handled++;
    });
    await pair.connect();
    const all = Array.from({ length: 20 }, (_, i) => i);
    for (const i of all) client.send(i);
    assertEquals(await pair.hears(20), all);
    while (handled < 20 || running > 0) {
      await new Promise((done) => setTimeout(done, 1));
    }
    if (concurrency === 1) assertEquals(most, 1);
  });
}

Deno.test("ServerSocket.use() slows down a client of this library while a hook waits", async () => {
  await using pair = new Pair({ messageRate: false });
  const { server, client } = pair;
  const gate = Promise.withResolvers<void>();
  server.use(async (_inbound, next) => {
    await gate.promise;
    await next();
  });
  const connection = await pair.connect();
  const count = 30_000;
  const full = server.waitFor("error"); // the credit is withheld from now on
  for (let i = 0; i < count; i++) client.send(i);
  await full;
  const received = () => connection.traffic.received.messages;
  for (let before = -1; received() > before;) {
    before = received();
    await new Promise((done) => setTimeout(done, 100));
  }
  assert(received() < 20_000, `${received()}`);
  assertEquals([pair.heard.length, pair.errors.length], [0, 1]);
  gate.resolve();
  assertEquals((await pair.hears(count)).at(-1), count - 1);
  assertEquals(connection.dropped.incoming, 0);
});

Deno.test("ServerSocket.use() delivers what was received before the end", async () => {
  await using pair = new Pair();
  const { server, client, network } = pair;
  const gate = Promise.withResolvers<void>();
  server.use(async (_inbound, next) => {
    await gate.promise;
    await next();
  });
  await pair.connect();
  const events: unknown[] = [];
  server.on("message", ({ data }) => events.push(data));
  server.on("end", (_client, { type }) => events.push(type));
  await client.send(1);
  await client.send(2);
  await client.close();
  assertEquals(events, []);
  assertEquals(network.links.length, 0);
  const ended = server.waitFor("end");
  gate.resolve();
  await ended;
  assertEquals(events, [1, 2, "close"]);
});

Deno.test("ServerSocket.use() emits nothing after the end, however late next() is", async () => {
  await using pair = new Pair({ closeTimeout: 20 });
  const { server, client } = pair;
  const gate = Promise.withResolvers<void>();
  const passed: unknown[] = [];
  server.use(async ({ data }, next) => {
    await gate.promise;
    await next();
    passed.push(data);
  });
  const connection = await pair.connect();
  client.send("lost");
  client.send("lost too");
  while (connection.traffic.received.messages < 2) {
    await new Promise((done) => setTimeout(done, 1));
  }
  // The server ends it: what waits is dropped.
  await server.close(connection, 4000);
  gate.resolve();
  await new Promise((done) => setTimeout(done, 0));
  assertEquals(pair.heard, []);
  assertEquals(passed, ["lost"]);
  // The peer ends it, and the hook takes longer than it may.
  const stuck = Promise.withResolvers<void>();
  server.use(async (_inbound, next) => {
    await stuck.promise;
    await next();
  });
  await pair.connect();
  await client.send("lost");
  const ended = server.waitFor("end");
  await client.close();
  await ended;
  stuck.resolve();
  await new Promise((done) => setTimeout(done, 0));
  assertEquals(pair.heard, []);
  assertEquals(pair.errors.length, 1);
  assert(pair.errors[0]?.includes("Cannot deliver the last 1 messages"));
});

Deno.test("ServerSocket.use() may close the client", async () => {
  await using pair = new Pair();
  const { server, client } = pair;
  server.use(async ({ client: from, data }, next) => {
    if (data === "close") from.close(4001, "enough");
    if (data === "terminate") from.terminate();
    await next();
  });
  for (const data of ["close", "terminate"]) {
    await pair.connect();
    const ended = server.waitFor("end");
    const own = client.waitFor("end");
    client.send(data);
    client.send("after it");
    await ended;
    await own;
  }
  assertEquals(pair.heard, []);
});

Deno.test("ServerSocket.use() runs around joins of channels, and what is sent in them", async () => {
  await using pair = new Pair();
  const { server, client } = pair;
  const live = channels(server);
  const log: unknown[] = [];
  const rooms = live.channel("rooms/:id", { join: () => true });
  rooms.on("join", ({ name }) => log.push(`joins ${name}`));
  rooms.on("message", ({ data }) => log.push(data));
  rooms.on("leave", ({ name }) => log.push(`leaves ${name}`));
  rooms.handle("ask", () => "answer");
  server.use(async ({ kind, channel, data, type, client: from }, next) => {
    log.push(`${kind} ${channel} ${type}`);
    assert(server.clients.has(from));
    await new Promise((done) => setTimeout(done, 1));
    if (channel === "rooms/closed") {
      throw new RequestError("Closed today", "closed");
    }
    if (channel === "rooms/secret") return;
    if (data !== "no") await next();
  });
  const connection = await pair.connect();
  const one = channel(client, "rooms/1", { token: 1 });
  await one.joined;
  one.send("hello");
  one.send("no");
  assertEquals(await one.request({ type: "ask" }), "answer");
  assertEquals(connection.dropped.incoming, 1);
  for (const [name, code] of [["closed", "closed"], ["secret", "forbidden"]]) {
    const error = await assertRejects(
      () => channel(client, `rooms/${name}`).joined,
      RequestError,
    );
    assertEquals(error.code, code);
  }
  assertEquals(log, [
    "join rooms/1 undefined",
    "joins rooms/1",
    "message rooms/1 undefined",
    "hello",
    "message rooms/1 undefined",
    "request rooms/1 ask",
    "join rooms/closed undefined",
    "join rooms/secret undefined",
  ]);
  log.length = 0;
  // What was sent before it left is heard before it leaves.
  one.send("last");
  one.leave();
  const left = rooms.waitFor("leave");
  await left;
  assertEquals(log, ["message rooms/1 undefined", "last", "leaves rooms/1"]);
});

Deno.test("ServerSocket.use() runs around requests that survive a loss", async () => {
  await using pair = new Pair();
  const { server, client } = pair;
  const log: unknown[] = [];
  server.handle(({ data }) => `answer ${data}`);
  server.use(async ({ kind, data }, next) => {
    log.push(`${kind} ${data}`);
    await null;
    if (data === "no") throw new RequestError("Not now", "busy");
    await next();
  });
  await pair.connect();
  const ask = (data: string) => client.request(data, { retry: true });
  assertEquals(await ask("x"), "answer x");
  assertEquals(await codeOf(ask("no")), "busy: Not now");
  assertEquals(log, ["request x", "request no"]);
});

Deno.test("ServerSocket.use() passes nothing on from a member that was removed meanwhile", async () => {
  await using pair = new Pair();
  const { server, client } = pair;
  const heard: unknown[] = [];
  const rooms = channels(server).channel("room", { join: () => true });
  rooms.on("message", ({ data }) => heard.push(data));
  const gate = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  server.use(async ({ kind }, next) => {
    if (kind === "message") held.resolve();
    if (kind !== "join") await gate.promise;
    await next();
  });
  const connection = await pair.connect();
  const own = channel(client, "room");
  await own.joined;
  own.send("late");
  const reply = own.request("late");
  await held.promise;
  connection.leave("room");
  gate.resolve();
  await assertRejects(() => reply);
  assertEquals(heard, []);
});
