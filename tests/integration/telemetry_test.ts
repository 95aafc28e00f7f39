/** What `instrument()` tells OpenTelemetry, as its own SDK hears it. */

import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { stub } from "@std/testing/mock";
import {
  context,
  type ContextManager,
  diag,
  DiagLogLevel,
  metrics,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base";
import {
  ClientSocket,
  type Connection,
  RequestError,
  type ServerOptions,
  ServerSocket,
} from "../../mod.ts";
import { instrument } from "../../telemetry.ts";
import { runInContext } from "../../telemetry/calls.ts";
import { BoundedValues } from "../../telemetry/meters.ts";
import { bundle } from "../support/bundle.ts";
import { FakeBroker } from "../support/fake_broker.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { TelemetryRecorder } from "../support/telemetry_recorder.ts";
import { lacksPermission } from "../support/permissions.ts";
import { RawPeer } from "../support/raw_peer.ts";

// The SDK reads the environment.
const ignore = await lacksPermission("net", "env");

/** A server that is instrumented, and what is told. */
class Watched implements AsyncDisposable {
  readonly server: ServerSocket;
  readonly told: TelemetryRecorder;
  readonly telemetry: Disposable;
  readonly clients: ClientSocket[] = [];

  private constructor(options: ServerOptions) {
    this.told = new TelemetryRecorder();
    this.server = new ServerSocket(options);
    this.telemetry = instrument(this.server);
  }

  static async begin(options: ServerOptions = {}): Promise<Watched> {
    const watched = new Watched(options);
    await watched.server.listen("127.0.0.1", 0);
    await watched.told.changes(); // whatever other tests have left
    return watched;
  }

  /** Somebody comes, who is not instrumented. */
  async enter(plain = true): Promise<[ClientSocket, Connection]> {
    const client = new ClientSocket({ plain });
    this.clients.push(client);
    const connected = this.server.waitFor("connect");
    await client.connect(`${this.server.url}/live?token=secret`);
    return [client, (await connected)[0]];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.clients) await client.close();
    await this.server.close();
    this.telemetry[Symbol.dispose]();
    this.told[Symbol.dispose]();
  }
}

function test(
  name: string,
  fn: (watched: Watched) => Promise<void>,
  options?: ServerOptions,
): void {
  Deno.test({
    name: `instrument() ${name}`,
    ignore,
    fn: async () => {
      await using watched = await Watched.begin(options);
      await fn(watched);
    },
  });
}

test("tells of connections, and how they end", async (watched) => {
  const { server, told } = watched;
  const [one] = await watched.enter();
  await watched.enter();
  assertEquals(await told.changes(), {
    "websocket.server.active_connections ws": 2,
  });
  const closed = server.waitFor("close");
  await one.close(4001, "bye");
  await closed;
  for (const client of server.clients) client.terminate();
  assertEquals(await told.changes(), {
    "websocket.server.active_connections ws": -2,
    "websocket.server.connection.duration ws peer close": 1,
    "websocket.server.connection.duration ws local disconnect": 1,
    "websocket.server.ends ws 4001 peer close": 1,
    "websocket.server.ends ws 1006 local disconnect": 1,
  });
});

test("tells of messages and bytes, in and out", async (watched) => {
  const { server, told } = watched;
  server.on("message", async ({ author }) => {
    await author.send("you");
    await author.send("and you");
  });
  const [client] = await watched.enter();
  const heard = client.collect("message", { limit: 2 });
  await client.send("hello");
  await heard;
  const expected = {
    "websocket.server.messages receive ws": 1,
    "websocket.server.messages transmit ws": 2,
    "websocket.server.io receive ws": 5,
    "websocket.server.io transmit ws": 10,
  };
  assertEquals(await told.changes(), {
    "websocket.server.active_connections ws": 1,
    ...expected,
  });
  // What has been carried stays counted when the connection is gone.
  const closed = server.waitFor("close");
  await client.close();
  await closed;
  const changes = await told.changes();
  assertStrictEquals(changes["websocket.server.ends ws 1000 peer close"], 1);
  assert(!Object.keys(changes).some((key) => key.includes("receive")));
});

test(
  "tells of what waits, and what is dropped",
  async (watched) => {
    const { server, told } = watched;
    const connected = server.waitFor("connect");
    await using peer = await RawPeer.open(server.port, "/");
    const [client] = await connected;
    const text = "x".repeat(8 * 1024 * 1024);
    for (let i = 0; i < 4; i++) client.send(text).catch(() => {});
    const changes = await told.changes();
    assertStrictEquals(
      changes["websocket.server.queue.size ws"],
      client.bufferedAmount,
    );
    assert(client.dropped.outgoing > 0);
    assertStrictEquals(
      changes["websocket.server.dropped_messages ws outgoing"],
      client.dropped.outgoing,
    );
    peer.close();
    client.terminate();
    const after = await told.changes();
    assert((after["websocket.server.queue.size ws"] ?? 0) < 0);
  },
  { highWaterMark: 1024, maxBufferedAmount: 4096, overflow: "drop-newest" },
);

test(
  "tells of messages that come in and are dropped",
  async (watched) => {
    const { server, told } = watched;
    server.on("message", ({ author }) => author.send("first"));
    const [client, connection] = await watched.enter();
    const first = client.waitFor("message");
    for (let i = 0; i < 3; i++) await client.send("hello");
    await first;
    const closed = connection.waitFor("close");
    await client.close();
    await closed;
    const { "websocket.server.dropped_messages ws incoming": dropped } =
      await told.changes();
    assertStrictEquals(dropped, 2);
  },
  { messageRate: { perSecond: 0.001, burst: 1, policy: "drop" } },
);

test(
  "tells of refused upgrades by their status",
  async (watched) => {
    const { server, told } = watched;
    const url = server.url.replace("ws", "http");
    for (const path of ["/live", "/live", "/other"]) {
      await (await fetch(url + path)).text();
    }
    const client = new ClientSocket();
    await assertRejects(() => client.connect(`${server.url}/nowhere`));
    assertEquals(await told.changes(), {
      "websocket.server.refused_upgrades 426": 3,
      "websocket.server.refused_upgrades 404": 1,
    });
  },
  { paths: ["/live"] },
);

test("tells of errors, and listens to none of them", async (watched) => {
  const { server, told } = watched;
  using written = stub(console, "error");
  server.on("message", () => {
    throw new RangeError("oops");
  });
  const [client, connection] = await watched.enter();
  const heard = connection.waitFor("message");
  await client.send("hello");
  await heard;
  assertStrictEquals(written.calls.length, 1); // as nobody listens to `error`
  server.on("error", () => {});
  server.handle(() => {
    throw new TypeError("oops");
  });
  const [other] = await watched.enter(false);
  await assertRejects(() => other.request("x"), RequestError);
  const changes = await told.changes();
  assertStrictEquals(
    changes["websocket.server.errors RangeError message"],
    1,
  );
  assertStrictEquals(changes["websocket.server.errors TypeError request"], 1);
  assertStrictEquals(written.calls.length, 1);
});

test("tells of errors of a client", async (watched) => {
  const { server, told } = watched;
  const client = new ClientSocket();
  watched.clients.push(client);
  using _telemetry = instrument(client);
  const failed = client.waitFor("error");
  client.on("message", () => {
    throw new RangeError("oops");
  });
  server.on("connect", (connection) => connection.send("hello"));
  await client.connect(server.url);
  await failed;
  const changes = await told.changes();
  assertStrictEquals(
    changes["websocket.client.errors RangeError message"],
    1,
  );
});

test("tells of answers that come too late", async (watched) => {
  const { server, told } = watched;
  const answer = Promise.withResolvers<string>();
  server.handle("slow", () => answer.promise);
  server.handle("quick", () => null);
  const client = new ClientSocket();
  watched.clients.push(client);
  using _telemetry = instrument(client);
  await client.connect(server.url);
  const aborter = new AbortController();
  const asked = client.request({ type: "slow" }, { signal: aborter.signal });
  await client.request({ type: "quick" }); // both have been asked
  aborter.abort();
  await assertRejects(() => asked, DOMException);
  answer.resolve("late");
  await client.request({ type: "quick" });
  const changes = await told.changes();
  const address = `127.0.0.1 ${server.port} ws`;
  assertStrictEquals(
    changes[`websocket.client.dropped_messages ${address} reply`],
    1,
  );
});

test("tells of batches by their size", async (watched) => {
  const { server, told } = watched;
  server.on("message", ({ author, content }) => author.send(content));
  const [client] = await watched.enter(false);
  const heard = client.collect("message", { limit: 3 });
  await Promise.all([client.send("1"), client.send("2"), client.send("3")]);
  await heard;
  const points = await told.points();
  assertEquals(points["websocket.server.batch.size receive"], {
    count: 1,
    sum: 3,
  });
  assertEquals(points["websocket.server.batch.size transmit"], {
    count: 1,
    sum: 3,
  });
});

test("tells of a client, and how often it comes back", async (watched) => {
  const { server, told } = watched;
  const client = new ClientSocket({ reconnect: { initialDelay: 1 } });
  watched.clients.push(client);
  using _telemetry = instrument(client);
  await client.connect(server.url);
  const address = `127.0.0.1 ${server.port} ws`;
  assertStrictEquals(
    (await told.changes())[`websocket.client.active_connections ${address}`],
    1,
  );
  const again = client.waitFor("connect");
  for (const one of server.clients) one.terminate();
  await again;
  const sent = client.send("hello");
  await sent;
  await client.close();
  const changes = await told.changes();
  const own = Object.entries(changes).filter(([key]) =>
    key.startsWith("websocket.client")
  );
  assertEquals(Object.fromEntries(own), {
    [`websocket.client.active_connections ${address}`]: -1,
    [`websocket.client.connection.duration ${address} network disconnect`]: 1,
    [`websocket.client.connection.duration ${address} local close`]: 1,
    [`websocket.client.ends ${address} 1006 network disconnect`]: 1,
    [`websocket.client.ends ${address} 1000 local close`]: 1,
    [`websocket.client.reconnects ${address}`]: 1,
    [`websocket.client.messages transmit ${address}`]: 1,
    [`websocket.client.io transmit ${address}`]: 5,
  });
});

test("tells of what waits for a connection, and is dropped then", async (watched) => {
  const { server, told } = watched;
  const client = new ClientSocket({
    reconnect: { initialDelay: 60_000 },
    maxBufferedAmount: 10,
    overflow: "drop-newest",
  });
  using telemetry = instrument(client);
  await client.connect(server.url);
  const lost = client.waitFor("reconnecting");
  for (const one of server.clients) one.terminate();
  await lost;
  await told.changes();
  client.send("12345678");
  client.send("12345678").catch(() => {});
  const address = `127.0.0.1 ${server.port} ws`;
  assertEquals(await told.changes(), {
    [`websocket.client.queue.size ${address}`]: 8,
    [`websocket.client.dropped_messages ${address} outgoing`]: 1,
  });
  client.send("12345678").catch(() => {});
  telemetry[Symbol.dispose]();
  assertEquals(await told.changes(), {
    [`websocket.client.queue.size ${address}`]: -8,
    [`websocket.client.dropped_messages ${address} outgoing`]: 1,
  });
  await client.close();
});

/** A span by its kind; there has to be one. */
function find(
  spans: ReturnType<TelemetryRecorder["spans"]>,
  kind: SpanKind,
): ReturnType<TelemetryRecorder["spans"]>[number] {
  const span = spans.find((span) => span.kind === kind);
  assert(span, `There is no span of kind ${kind}`);
  return span;
}

test("follows a request through both ends", async (watched) => {
  const { server, told } = watched;
  const client = new ClientSocket();
  watched.clients.push(client);
  using _telemetry = instrument(client);
  const tracer = trace.getTracer("test");
  server.handle("sum", async () => {
    await Promise.resolve();
    tracer.startSpan("work").end();
    return 3;
  });
  await client.connect(server.url);
  await tracer.startActiveSpan("page", async (span) => {
    const data = { type: "sum", numbers: [1, 2] };
    assertStrictEquals(await client.request(data), 3);
    span.end();
  });
  const spans = told.spans();
  assertEquals(spans.map(({ name }) => name), ["work", "sum", "sum", "page"]);
  const asked = find(spans, SpanKind.CLIENT);
  const handled = find(spans, SpanKind.SERVER);
  const [work] = spans;
  const page = spans.at(-1);
  const { traceId } = asked.spanContext();
  for (const span of spans) {
    assertStrictEquals(span.spanContext().traceId, traceId);
  }
  assertStrictEquals(
    asked.parentSpanContext?.spanId,
    page?.spanContext().spanId,
  );
  assertStrictEquals(
    handled.parentSpanContext?.spanId,
    asked.spanContext().spanId,
  );
  assertStrictEquals(handled.parentSpanContext?.isRemote, true);
  assertStrictEquals(
    work?.parentSpanContext?.spanId,
    handled.spanContext().spanId,
  );
  const common = {
    "rpc.system.name": "events.v1",
    "rpc.method": "sum",
    "network.protocol.name": "websocket",
  };
  assertEquals(asked.attributes, {
    ...common,
    "url.scheme": "ws",
    "server.address": "127.0.0.1",
    "server.port": server.port,
  });
  const { "network.peer.port": port, ...attributes } = handled.attributes;
  assertStrictEquals(typeof port, "number");
  assertEquals(attributes, { ...common, "network.peer.address": "127.0.0.1" });
  assertStrictEquals(handled.status.code, SpanStatusCode.UNSET);
  const points = await told.points();
  for (
    const key of [
      `rpc.client.call.duration sum events.v1 127.0.0.1 ${server.port} ws`,
      "rpc.server.call.duration sum events.v1",
    ]
  ) {
    const value = points[key];
    assert(typeof value === "object", key);
    assertStrictEquals(value.count, 1);
    assert(value.sum > 0 && value.sum < 60, "seconds");
  }
});

test("follows requests of the server's to clients, too", async (watched) => {
  const { server, told } = watched;
  const client = new ClientSocket();
  watched.clients.push(client);
  using _telemetry = instrument(client);
  client.handle(({ content }) => `re: ${content}`);
  const connected = server.waitFor("connect");
  await client.connect(server.url);
  const [connection] = await connected;
  assertStrictEquals(await connection.request("x"), "re: x");
  const [handled, asked] = told.spans();
  assertEquals([handled?.kind, asked?.kind], [
    SpanKind.SERVER,
    SpanKind.CLIENT,
  ]);
  assertStrictEquals(handled?.name, "events.v1");
  assertStrictEquals(handled?.attributes["rpc.method"], "_OTHER");
  assertStrictEquals(
    handled?.parentSpanContext?.spanId,
    asked?.spanContext().spanId,
  );
});

test("tells why a request has no answer", async (watched) => {
  const { server, told } = watched;
  using _written = stub(console, "error");
  server.handle("no", () => {
    throw new RequestError("No", "not-today");
  });
  server.handle("crash", () => Promise.reject(new RangeError("oops")));
  server.handle("never", () => new Promise(() => {}));
  const client = new ClientSocket();
  watched.clients.push(client);
  using _telemetry = instrument(client);
  await client.connect(server.url);
  for (const type of ["no", "crash", "never", "circle"]) {
    const data: Record<string, unknown> = { type };
    if (type === "circle") data.self = data;
    const timeout = type === "never" ? 20 : Infinity;
    await assertRejects(() =>
      Promise.try(() => client.request(data, { timeout }))
    );
  }
  const spans = told.spans().map(({ kind, name, status, attributes }) => [
    SpanKind[kind],
    name,
    SpanStatusCode[status.code],
    attributes["error.type"],
    attributes["rpc.response.status_code"],
  ]);
  assertEquals(spans, [
    ["SERVER", "no", "UNSET", "not-today", "not-today"],
    ["CLIENT", "no", "ERROR", "not-today", "not-today"],
    ["SERVER", "crash", "ERROR", "RangeError", undefined],
    ["CLIENT", "crash", "ERROR", "internal", "internal"],
    ["CLIENT", "never", "ERROR", "TimeoutError", undefined],
    ["CLIENT", "circle", "ERROR", "TypeError", undefined],
  ]);
  const plain = new ClientSocket({ plain: true });
  watched.clients.push(plain);
  using _other = instrument(plain);
  await plain.connect(server.url);
  await assertRejects(() => plain.request("x"), DOMException);
  const [span] = told.spans();
  assertStrictEquals(span?.attributes["error.type"], "NotSupportedError");
});

test("does what can be awaited once", async (watched) => {
  const { server } = watched;
  let count = 0;
  /** A query that is sent when somebody awaits it. */
  class Query implements PromiseLike<string> {
    then<A, B>(
      resolve?: ((value: string) => A | PromiseLike<A>) | null,
      reject?: ((reason: unknown) => B | PromiseLike<B>) | null,
    ): PromiseLike<A | B> {
      return Promise.resolve(`${++count}`).then(resolve, reject);
    }
  }
  server.handle(() => new Query());
  const [client] = await watched.enter(false);
  assertStrictEquals(await client.request("x"), 1);
});

Deno.test({
  name:
    "instrument() links connections and requests to their upgrade, and makes them no part of it",
  ignore,
  fn: async () => {
    using told = new TelemetryRecorder();
    await using server = new ServerSocket();
    using _telemetry = instrument(server);
    const tracer = trace.getTracer("test");
    const active: unknown[] = [];
    const look = () => active.push(trace.getActiveSpan());
    server.on("connect", look);
    server.on("message", look);
    server.on("close", look);
    server.handle(() => null);
    await using outer = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      (request, info) =>
        tracer.startActiveSpan("upgrade", async (span) => {
          const response = await server.fetch(request, info);
          span.end();
          return response;
        }),
    );
    const client = new ClientSocket();
    await client.connect(`ws://127.0.0.1:${outer.addr.port}/live`);
    const before = Date.now();
    const heard = server.waitFor("message");
    await client.send("message");
    await heard;
    await client.request("x"); // its client tells of no trace
    const closed = server.waitFor("close");
    await client.close(4000);
    await closed;
    assertEquals(active, [undefined, undefined, undefined]);
    const [upgrade, handled, connection, ...more] = told.spans();
    assertEquals(more, []);
    assert(upgrade && handled && connection);
    const { traceId, spanId } = upgrade.spanContext();
    for (const span of [handled, connection]) {
      assertEquals(
        span.links.map(({ context }) => [context.traceId, context.spanId]),
        [[traceId, spanId]],
      );
      assertStrictEquals(span.parentSpanContext, undefined);
      assert(span.spanContext().traceId !== traceId);
    }
    assertStrictEquals(connection.name, "websocket connection");
    const [seconds, nanoseconds] = connection.startTime;
    assert(seconds * 1_000 + nanoseconds / 1e6 <= before);
    const { "network.peer.port": port, ...attributes } = connection.attributes;
    assertStrictEquals(typeof port, "number");
    assertEquals(attributes, {
      "url.scheme": "ws",
      "url.path": "/live",
      "network.protocol.name": "websocket",
      "network.peer.address": "127.0.0.1",
      "websocket.end.type": "close",
      "websocket.end.cause": "peer",
      "websocket.close.code": 4000,
      "websocket.messages.received": 2,
      "websocket.messages.sent": 1,
    });
  },
});

test("adds servers up, and counts one that is instrumented twice once", async (watched) => {
  const { server, told } = watched;
  await using other = new ServerSocket();
  using _other = instrument(other);
  const twice = instrument(server);
  await other.listen("127.0.0.1", 0);
  const client = new ClientSocket();
  const connected = other.waitFor("connect");
  await client.connect(other.url);
  await connected;
  await watched.enter();
  assertEquals(await told.changes(), {
    "websocket.server.active_connections ws": 2,
  });
  twice[Symbol.dispose]();
  twice[Symbol.dispose](); // twice is once
  await watched.enter();
  assertEquals(await told.changes(), {
    "websocket.server.active_connections ws": 1,
  });
  await client.close();
});

test("counts connections that are there already, from now on", async (watched) => {
  const { server, told, telemetry } = watched;
  server.on("message", ({ author }) => author.send("!"));
  const [client] = await watched.enter();
  const echo = async () => {
    const heard = client.waitFor("message");
    await client.send("hello");
    await heard;
  };
  telemetry[Symbol.dispose]();
  await told.changes();
  await echo();
  assertEquals(await told.changes(), {}); // nobody looks
  {
    using _telemetry = instrument(server);
    await echo();
    assertEquals(await told.changes(), {
      "websocket.server.active_connections ws": 1,
      "websocket.server.messages receive ws": 1,
      "websocket.server.messages transmit ws": 1,
      "websocket.server.io receive ws": 5,
      "websocket.server.io transmit ws": 1,
    });
  }
  // What was counted stays, and what comes then does not count.
  await echo();
  const closed = server.waitFor("close");
  await client.close();
  await closed;
  await (await fetch(server.url.replace("ws", "http"))).text();
  assertEquals(await told.changes(), {
    "websocket.server.active_connections ws": -1,
  });
});

Deno.test({
  name: "instrument() takes a provider that is registered later",
  ignore,
  fn: async () => {
    await using server = new ServerSocket();
    using _telemetry = instrument(server);
    server.handle(() => null);
    await server.listen("127.0.0.1", 0);
    const client = new ClientSocket();
    await client.connect(server.url);
    await client.request("nobody is told");
    using told = new TelemetryRecorder(false);
    assertEquals(
      await told.changes().catch(() => "no provider"),
      "no provider",
    );
    told.meter();
    await client.request("somebody is");
    const changes = await told.changes();
    assertStrictEquals(
      changes["rpc.server.call.duration _OTHER events.v1"],
      1,
    );
    assertStrictEquals(changes["websocket.server.active_connections ws"], 1);
    assertStrictEquals(told.spans().length, 1);
    const closed = server.waitFor("close");
    await client.close();
    await closed;
  },
});

Deno.test({
  name: "instrument() changes nothing if whatever is registered fails",
  ignore,
  fn: async () => {
    const told: unknown[] = [];
    const fail = () => {
      throw new Error("The exporter has failed");
    };
    metrics.setGlobalMeterProvider({ getMeter: fail });
    trace.setGlobalTracerProvider(
      new BasicTracerProvider({
        spanProcessors: [{
          onStart() {},
          onEnd: fail,
          forceFlush: () => Promise.resolve(),
          shutdown: () => Promise.resolve(),
        }],
      }),
    );
    const contexts: ContextManager = {
      active: fail,
      with: fail,
      bind: fail,
      enable: () => contexts,
      disable: () => contexts,
    };
    context.setGlobalContextManager(contexts);
    diag.setLogger({
      error: (...args) => told.push(args),
      warn() {},
      info() {},
      debug() {},
      verbose() {},
    }, { logLevel: DiagLogLevel.ERROR, suppressOverrideMessage: true });
    try {
      await using server = new ServerSocket();
      using _telemetry = instrument(server);
      const errors: unknown[] = [];
      server.on("error", (error) => errors.push(error));
      server.handle("ok", () => 1);
      server.handle("no", () => {
        throw new RequestError("No");
      });
      server.on("message", ({ author, content }) => author.send(content));
      await server.listen("127.0.0.1", 0);
      const client = new ClientSocket();
      using _other = instrument(client);
      await client.connect(server.url);
      const heard = client.collect("message", { limit: 2 });
      client.send("a");
      client.send("b");
      await heard;
      assertStrictEquals(await client.request({ type: "ok" }), 1);
      await assertRejects(
        () => client.request({ type: "no" }),
        RequestError,
        "No",
      );
      await (await fetch(server.url.replace("ws", "http"))).text();
      const closed = server.waitFor("close");
      await client.close();
      await closed;
      assertEquals(errors, []);
      assert(told.length > 0);
    } finally {
      metrics.disable();
      trace.disable();
      context.disable();
      diag.disable();
    }
  },
});

Deno.test({
  name: "instrument() goes without the API's providers",
  ignore: await lacksPermission("net"),
  fn: async () => {
    await using server = new ServerSocket();
    using _telemetry = instrument(server);
    server.handle(() => null);
    await server.listen("127.0.0.1", 0);
    const client = new ClientSocket();
    using _other = instrument(client);
    await client.connect(server.url);
    const [connection] = server.clients;
    assertStrictEquals(await client.request("x"), null);
    assertStrictEquals(connection?.traffic.received.messages, 1);
    assertStrictEquals(client.connection?.traffic.sent.messages, 1); // no trace
    await client.close();
  },
});

Deno.test("instrument() throws at what is no socket", () => {
  const strange = Object.create(ServerSocket.prototype);
  assertThrows(
    () => instrument(strange),
    TypeError,
    "Cannot instrument a value that is neither",
  );
});

Deno.test("withTimeout() acts once, whoever manages contexts fails", () => {
  const fail = () => {
    throw new Error("The manager has failed");
  };
  let isLate = false;
  const manager: ContextManager = {
    active: () => ROOT_CONTEXT,
    with: (_active, action, self, ...args) => {
      if (isLate) action.call(self ?? undefined, ...args);
      return fail();
    },
    bind: (_active, target) => target,
    enable: () => manager,
    disable: () => manager,
  };
  context.setGlobalContextManager(manager);
  try {
    let count = 0;
    assertStrictEquals(runInContext(ROOT_CONTEXT, () => ++count), 1);
    isLate = true;
    assertStrictEquals(runInContext(ROOT_CONTEXT, () => ++count), 2);
    assertStrictEquals(count, 2);
    const oops = () => {
      count++;
      throw new RangeError("oops");
    };
    assertThrows(() => runInContext(ROOT_CONTEXT, oops), RangeError, "oops");
    assertStrictEquals(count, 3);
  } finally {
    context.disable();
  }
});

Deno.test("BoundedValues lets the first hundred values pass", () => {
  const few = new BoundedValues<number>();
  for (let i = 0; i < 100; i++) assert(few.has(i));
  assert(few.has(99));
  assert(!few.has(100));
  assert(few.has(0));
});

test("tells of close codes that peers pick, but not of too many", async (watched) => {
  const { server, told } = watched;
  for (let i = 0; i < 102; i++) {
    const [client] = await watched.enter();
    const closed = server.waitFor("close");
    await client.close(3_500 + i);
    await closed;
  }
  const changes = await told.changes();
  const codes = Object.keys(changes).filter((key) =>
    /ends ws 3\d{3}/.test(key)
  );
  assert(codes.length <= 100);
  assert((changes["websocket.server.ends ws peer close"] ?? 0) >= 2);
});

Deno.test({
  name: "instrument() brings nothing of a server into a browser",
  ignore: await lacksPermission("run", "read"),
  fn: async () => {
    const script = await bundle("telemetry.ts", "--platform=browser");
    assert(script.includes("active_connections"));
    assert(!script.includes("upgradeWebSocket"));
  },
});

test("tells whether the broker of an adapter is reached", async ({ told }) => {
  const { link, adapter } = new FakeBroker(new SeededRandom(1)).plainLink();
  const server = new ServerSocket({ adapter });
  server.on("adapter", () => {});
  using _telemetry = instrument(server);
  const name = "websocket.server.adapters";
  assertEquals((await told.changes())[`${name} down`], 1);
  link.reach();
  const up = await told.changes();
  assertEquals([up[`${name} up`], up[`${name} down`]], [1, -1]);
  await server.close();
});
