/** Requests with the option `retry`, over connections that are lost at any moment. */

import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { deadline } from "@std/async";
import {
  type ClientOptions,
  ClientSocket,
  ConnectionEndedError,
  MessageDroppedError,
  RequestError,
  type ServerOptions,
  ServerSocket,
} from "../../mod.ts";
import { FakeTime } from "@std/testing/time";
import { advance, MemoryNetwork, settle } from "../../testing.ts";

/** A server, a network that can be cut, and a client that comes back. */
class Line implements AsyncDisposable {
  readonly network: MemoryNetwork;
  /** How often the handler of each number has begun. */
  readonly runs = new Map<string, number>();
  readonly errors: unknown[] = [];
  readonly #waiting = new Map<number, PromiseWithResolvers<void>>();
  /** Opens the gate that the handler of `wait` stands at. */
  gate = Promise.withResolvers<void>();
  /** Resolves when the handler of `wait` has begun. */
  begun = Promise.withResolvers<void>();

  constructor(readonly server: ServerSocket, readonly client: ClientSocket) {
    this.network = new MemoryNetwork(server);
    this.handleOn(server);
    client.on("error", (error) => this.errors.push(error));
  }

  handleOn(server: ServerSocket): void {
    server.on("error", (error) => this.errors.push(error));
    server.handle(({ data, requestId }) => {
      this.#count(requestId);
      return { data, requestId };
    });
    server.handle("wait", async ({ data, requestId }) => {
      this.#count(requestId);
      this.begun.resolve();
      await this.gate.promise;
      return { data, requestId };
    });
    server.handle("refuse", ({ requestId }) => {
      this.#count(requestId);
      throw new RequestError("No apples", "stock");
    });
    server.handle("fail", ({ requestId }) => {
      this.#count(requestId);
      throw new Error("A mistake");
    });
  }

  #count(requestId = ""): void {
    this.runs.set(requestId, (this.runs.get(requestId) ?? 0) + 1);
    this.#waiting.get(this.runs.size)?.resolve();
  }

  /** Resolves when so many requests have come to a handler. */
  ran(count: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (this.runs.size >= count) resolve();
    else this.#waiting.set(count, { promise, resolve, reject });
    return promise;
  }

  /** Cuts the connection, and waits for the next one. */
  async lose(): Promise<void> {
    const connected = this.client.waitFor("connect");
    this.network.link.cut();
    await connected;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.gate.resolve();
    await this.client.close();
    await this.server.close();
    const server = this.network.server;
    if (server instanceof ServerSocket) await server.close();
    await this.network[Symbol.asyncDispose]();
  }
}

const RECONNECT = { initialDelay: 1, maxDelay: 2, minUptime: 0 };

function test(
  name: string,
  fn: (line: Line) => Promise<void>,
  ofServer: ServerOptions = {},
  ofClient: ClientOptions = {},
): void {
  Deno.test(name, async () => {
    await using line = new Line(
      new ServerSocket(ofServer),
      new ClientSocket({ reconnect: RECONNECT, ...ofClient }),
    );
    await line.client.connect(line.network.url);
    await deadline(fn(line), 20_000);
  });
}

const RETRY = { retry: true };

test("request() with retry gives the handler an id, another for each request", async ({ client, runs }) => {
  await client.request("a", RETRY);
  await client.request("a", RETRY);
  const ids = [...runs.keys()];
  assertEquals(ids.length, 2);
  assertMatch(ids[0] ?? "", /^[0-9a-f]{32}-1$/);
  assertEquals(ids[1], ids[0]?.replace("-1", "-2"));
});

test("request() without retry has no id", async ({ client }) => {
  assertEquals(await client.request("a"), { data: "a" });
  assertEquals(await client.request("a", { retry: false }), { data: "a" });
});

test("request() with retry is answered on the next connection while its handler runs", async (line) => {
  const reply = line.client.request({ type: "wait" }, RETRY);
  await line.begun.promise;
  await line.lose();
  line.gate.resolve();
  await reply;
  assertEquals([...line.runs.values()], [1]);
});

test("request() with retry is handled if it was lost on its way", async (line) => {
  await line.client.request("first", RETRY);
  line.network.link.toServer.stall();
  const reply = line.client.request("second", RETRY);
  await line.lose();
  assertEquals((await reply as { data: unknown }).data, "second");
  assertEquals([...line.runs.values()], [1, 1]);
});

test("request() with retry gets the remembered answer if that was lost on its way", async (line) => {
  await line.client.request("first", RETRY);
  line.network.link.toClient.stall();
  const reply = line.client.request("second", RETRY);
  await line.ran(2);
  await line.lose();
  assertEquals((await reply as { data: unknown }).data, "second");
  assertEquals([...line.runs.values()], [1, 1]);
});

for (const [type, code] of [["refuse", "stock"], ["fail", "internal"]]) {
  test(`request() with retry gets the remembered failure "${code}"`, async (line) => {
    await line.client.request("first", RETRY);
    line.network.link.toClient.stall();
    const reply = line.client.request({ type }, RETRY);
    await line.ran(2);
    await line.lose();
    const error = await assertRejects(() => reply, RequestError);
    assertEquals(error.code, code);
    assertEquals([...line.runs.values()], [1, 1]);
    assertEquals(line.errors.length, type === "fail" ? 1 : 0);
  });
}

test("request() with retry keeps bytes, and their order", async (line) => {
  await line.client.request("first", RETRY);
  line.network.link.toServer.stall();
  const bytes = new Uint8Array([0xc1, 0, 255]);
  const replies = Array.from(
    { length: 5 },
    (_, i) => line.client.request(i % 2 ? bytes : { i }, RETRY),
  );
  await line.lose();
  await Promise.all(replies);
  const numbers = Array.from(line.runs.keys(), (id) => id.split("-")[1]);
  assertEquals(numbers, ["1", "2", "3", "4", "5", "6"]);
});

test("request() with retry waits for a client that connects later", async () => {
  const server = new ServerSocket();
  server.handle(({ content }) => content);
  await using network = new MemoryNetwork(server);
  const client = new ClientSocket({ reconnect: RECONNECT });
  const reply = client.request("early", RETRY);
  await client.connect(network.url);
  assertEquals(await reply, "early");
  await client.close();
  await server.close();
});

test("request() with retry says that it is uncertain if the server was restarted", async (line) => {
  const reply = line.client.request({ type: "wait" }, RETRY);
  await line.begun.promise;
  await using second = new ServerSocket();
  line.handleOn(second);
  line.network.server = second;
  await line.lose();
  const error = await assertRejects(() => reply, RequestError);
  assertEquals(error.code, "uncertain");
  assertEquals([...line.runs.values()], [1]);
  // The next one is another request, of another session.
  await line.client.request("next", RETRY);
  assertEquals([...line.runs.values()], [1, 1]);
});

test("request() with retry that was never sent is sent to the next server", async (line) => {
  await line.client.request("first", RETRY);
  await using second = new ServerSocket();
  line.handleOn(second);
  const connected = line.client.waitFor("connect");
  const lost = line.client.waitFor("disconnect");
  line.network.server = undefined;
  line.network.link.cut();
  await lost;
  const reply = line.client.request("second", RETRY);
  line.network.server = second;
  await connected;
  assertEquals((await reply as { data: unknown }).data, "second");
});

test("request() with retry times out while the client is away", async (line) => {
  line.network.server = undefined;
  const lost = line.client.waitFor("disconnect");
  line.network.link.cut();
  await lost;
  const error = await assertRejects(
    () => line.client.request("late", { retry: true, timeout: 5 }),
    DOMException,
  );
  assertEquals(error.name, "TimeoutError");
  line.network.server = line.server;
  await line.client.request("next", RETRY);
  assertEquals(line.runs.size, 1);
});

test("request() with retry can be aborted while its handler runs, and while away", async (line) => {
  const first = new AbortController();
  const running = line.client.request({ type: "wait" }, {
    retry: true,
    signal: first.signal,
  });
  await line.begun.promise;
  first.abort(new Error("enough"));
  await assertRejects(() => running, Error, "enough");
  const second = new AbortController();
  line.network.link.toServer.stall();
  const away = line.client.request("away", {
    retry: true,
    signal: second.signal,
  });
  const lost = line.client.waitFor("disconnect");
  const connected = line.client.waitFor("connect");
  line.network.link.cut();
  await lost;
  second.abort(new Error("enough"));
  await assertRejects(() => away, Error, "enough");
  await connected;
  await line.client.request("next", RETRY);
  assertEquals(line.runs.size, 2);
  await assertRejects(
    () =>
      line.client.request("never", {
        retry: true,
        signal: AbortSignal.abort(new Error("before")),
      }),
    Error,
    "before",
  );
});

test("request() with retry rejects when the client is closed, and without one", async (line) => {
  const reply = line.client.request({ type: "wait" }, RETRY);
  await line.begun.promise;
  line.client.close();
  await assertRejects(() => reply, ConnectionEndedError);
  await line.client.close();
  await assertRejects(
    () => line.client.request("closed", RETRY),
    ConnectionEndedError,
  );
});

test(
  "request() with retry rejects at once if the server has no events.v1",
  async (line) => {
    const error = await assertRejects(
      () => line.client.request("plain", RETRY),
      DOMException,
      "does not support events.v1",
    );
    assertEquals(error.name, "NotSupportedError");
  },
  { plain: true },
);

test(
  "request() with retry rejects at once if the server remembers nothing",
  async (line) => {
    const error = await assertRejects(
      () => line.client.request("a", RETRY),
      DOMException,
      "does not remember requests",
    );
    assertEquals(error.name, "NotSupportedError");
    assertEquals(line.runs.size, 0);
    assertEquals(await line.client.request("a"), { data: "a" });
  },
  { retries: false },
);

test("Connection.request() refuses the option retry", async ({ client }) => {
  const { connection } = client;
  assert(connection);
  // Plain JavaScript, or an object with more properties, gets there.
  const options: { timeout: number; retry: boolean } = {
    timeout: 1,
    retry: true,
  };
  assertThrows(
    () => connection.request("a", options),
    TypeError,
    "request() of a ClientSocket",
  );
  await client.request("a");
});

test("request() with retry checks its options, its data, and the reply", async ({ client }) => {
  const options: { retry: boolean; timeOut: number } = {
    retry: true,
    timeOut: 1,
  };
  assertThrows(() => client.request("a", options), TypeError, "timeOut");
  assertThrows(
    () => client.request("a", { retry: true, timeout: NaN }),
    RangeError,
  );
  const circle: Record<string, unknown> = {};
  circle.circle = circle;
  assertThrows(() => client.request(circle, RETRY), TypeError);
  await client.request("a", RETRY);
});

test("ServerOptions.retries is validated", () => {
  const options: [unknown, typeof Error][] = [
    [{ maxAge: 0 }, RangeError],
    [{ maxBytes: Infinity }, RangeError],
    [{ maxByte: 1 }, TypeError],
    [1, TypeError],
  ];
  for (const [retries, ErrorType] of options) {
    const init = { retries };
    assertThrows(
      // @ts-expect-error: plain JavaScript gets there
      () => new ServerSocket(init),
      ErrorType,
      "retries",
    );
  }
  return Promise.resolve();
});

test(
  "request() with retry is told to be uncertain, and not handled again, after its session has expired",
  async (line) => {
    const reply = line.client.request({ type: "wait" }, RETRY);
    await line.begun.promise;
    const connected = line.client.waitFor("connect");
    const lost = line.client.waitFor("disconnect");
    line.network.server = undefined;
    line.network.link.cut();
    await lost;
    await new Promise((resolve) => setTimeout(resolve, 60));
    line.network.server = line.server;
    await connected;
    const error = await assertRejects(() => reply, RequestError);
    assertEquals(error.code, "uncertain");
    assertEquals([...line.runs.values()], [1]);
  },
  { retries: { maxAge: 50 } },
);

test(
  "request() with retry is told to be uncertain if its answer was forgotten",
  async (line) => {
    await line.client.request("first", RETRY);
    line.network.link.toClient.stall();
    const answer = "x".repeat(1_000);
    const replies = Array.from(
      { length: 8 },
      (_, i) => line.client.request({ i, answer }, RETRY),
    );
    await line.ran(9);
    await line.lose();
    const settled = await Promise.allSettled(replies);
    const codes = settled.map((one) =>
      one.status === "fulfilled" ? "" : one.reason.code
    );
    // The oldest are forgotten, and no handler has run twice.
    const remembered = codes.indexOf("");
    assert(remembered > 0, `${codes}`);
    assertEquals(codes, [
      ...Array(remembered).fill("uncertain"),
      ...Array(8 - remembered).fill(""),
    ]);
    assertEquals([...line.runs.values()], Array(9).fill(1));
  },
  { retries: { maxBytes: 8_000 } },
);

test(
  "request() with retry gets an answer that is too large to be remembered, but once",
  async (line) => {
    const answer = "x".repeat(3_000);
    await line.client.request({ answer }, RETRY);
    line.network.link.toClient.stall();
    const reply = line.client.request({ answer }, RETRY);
    await line.ran(2);
    await line.lose();
    const error = await assertRejects(() => reply, RequestError);
    assertEquals(error.code, "uncertain");
    assertEquals([...line.runs.values()], [1, 1]);
  },
  { retries: { maxBytes: 8_000 } },
);

test(
  "request() with retry does not grow what the server remembers, as answers are confirmed",
  async (line) => {
    const answer = "x".repeat(1_000);
    for (let i = 0; i < 50; i++) {
      await line.client.request({ i, answer }, RETRY);
    }
    line.network.link.toClient.stall();
    const reply = line.client.request({ answer }, RETRY);
    await line.ran(51);
    await line.lose();
    await reply;
    assertEquals([...line.runs.values()], Array(51).fill(1));
  },
  { retries: { maxBytes: 8_000 } },
);

Deno.test("request() with retry is asked again when the server can remember it", async () => {
  using time = new FakeTime();
  const line = new Line(
    new ServerSocket({ retries: { maxBytes: 2_000 } }),
    new ClientSocket({ reconnect: RECONNECT }),
  );
  line.client.connect(line.network.url);
  await settle();
  const replies = Array.from(
    { length: 20 },
    () => line.client.request({ type: "wait" }, RETRY),
  );
  await settle();
  const before = line.runs.size;
  assert(before > 0 && before < 20, `${before}`);
  line.gate.resolve();
  await advance(time, 5_000);
  await Promise.all(replies);
  assertEquals([...line.runs.values()], Array(20).fill(1));
  const closed = line[Symbol.asyncDispose]();
  await settle();
  await advance(time, 20_000);
  await closed;
});

test(
  "request() with retry rejects above maxBufferedAmount",
  async (line) => {
    const data = { type: "wait", text: "x".repeat(3_000) };
    const first = line.client.request(data, RETRY);
    await line.begun.promise;
    await assertRejects(
      () => line.client.request(data, RETRY),
      MessageDroppedError,
      "maxBufferedAmount",
    );
    line.gate.resolve();
    await first;
    await line.client.request(data, RETRY);
  },
  {},
  { maxBufferedAmount: 5_000 },
);

test(
  "request() with retry rejects if its answer is too large for the client",
  async (line) => {
    const reply = line.client.request("x".repeat(100_000), RETRY);
    const error = await assertRejects(() => reply, ConnectionEndedError);
    assertEquals(error.end?.cause, "limit");
    assertEquals([...line.runs.values()], [1]);
  },
  {},
  {
    maxPayload: 70_000,
    reconnect: { ...RECONNECT, shouldReconnect: () => true },
  },
);

test(
  "request() with retry rejects if it is too large for the server",
  async (line) => {
    const reply = line.client.request("x".repeat(500), RETRY);
    const error = await assertRejects(() => reply, ConnectionEndedError);
    assertEquals(error.end?.code, 1009);
    assertEquals(line.runs.size, 0);
  },
  { maxPayload: 400 },
  {
    reconnect: { ...RECONNECT, shouldReconnect: () => true },
  },
);

test("ServerSocket.shutdown() lets requests with retry that are handled have their answers", async (line) => {
  const reply = line.client.request({ type: "wait" }, RETRY);
  await line.begun.promise;
  const closed = line.server.shutdown({ code: 1012 });
  line.gate.resolve();
  assertEquals((await reply as { data: unknown }).data, { type: "wait" });
  await closed;
});

test(
  "ServerSocket.shutdown() does not wait for a handler that never ends",
  async (line) => {
    const reply = line.client.request({ type: "wait" }, RETRY);
    await line.begun.promise;
    await line.server.shutdown({ code: 4000 });
    await assertRejects(() => reply, ConnectionEndedError);
  },
  { closeTimeout: 20 },
);

test("request() with retry keeps the sessions of two clients apart", async (line) => {
  const other = new ClientSocket({ reconnect: RECONNECT });
  await other.connect(line.network.url);
  await line.client.request("a", RETRY);
  await other.request("b", RETRY);
  const [mine = "", theirs = ""] = line.runs.keys();
  assertMatch(mine, /-1$/);
  assertMatch(theirs, /-1$/);
  assertNotEquals(mine, theirs);
  await other.close();
});

test(
  "request() with retry passes through concurrency, a schema and a codec",
  async (line) => {
    const replies = [1, 2, 3].map((n) => line.client.request({ n }, RETRY));
    await Promise.all(replies);
    line.network.link.toServer.stall();
    const lost = line.client.request({ n: 4 }, RETRY);
    await line.lose();
    await lost;
    assertEquals([...line.runs.values()], [1, 1, 1, 1]);
  },
  { concurrency: 1 },
);

test("Message.reply() answers a request with retry, once", async () => {
  const server = new ServerSocket();
  let runs = 0;
  server.on("message", (message) => {
    runs++;
    message.reply({ isRequest: message.isRequest, id: message.requestId });
  });
  await using network = new MemoryNetwork(server);
  const client = new ClientSocket({ reconnect: RECONNECT });
  await client.connect(network.url);
  assertStringIncludes(
    JSON.stringify(await client.request("a", RETRY)),
    `{"isRequest":true,"id":"`,
  );
  assertEquals(runs, 1);
  await client.close();
  await server.close();
});
