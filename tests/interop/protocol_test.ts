/**
 * `docs/protocol.md` and our server, as a client in Python finds them that was
 * made from that page alone.
 */

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { deadline } from "@std/async";
import {
  type Connection,
  RequestError,
  type ServerOptions,
  ServerSocket,
} from "../../mod.ts";
import { channels } from "../../channels.ts";
import { slotOf } from "../../core/events/instrumentation.ts";
import { lacksPermission } from "../support/permissions.ts";
import { lacksProgram } from "../support/programs.ts";
import { Program } from "../support/program.ts";
import { InstrumentationRecorder } from "../support/instrumentation_recorder.ts";
import vectors from "../vectors.json" with { type: "json" };

const ignore = await lacksPermission("net", "run", "read") ||
  await lacksProgram("python3-websockets");

type Written = { readonly text: string } | { readonly hex: string };

/** A message, or a request if it has a tag; perhaps several times. */
type Item = Written & { readonly tag?: string; readonly times?: number };

/** What the client does, as it is told. */
type Order =
  | { readonly do: "send"; readonly items: readonly Item[] }
  | { readonly do: "ping"; readonly text: string }
  | { readonly do: "join"; readonly name: string; readonly data: unknown }
  | {
    readonly do: "retry";
    /** What is asked besides what is sent again. */
    readonly data?: unknown;
    /** Whether it takes the number of the request before. */
    readonly renumber?: boolean;
  }
  | ({ readonly do: "post" } & Written)
  | { readonly do: "held" | "close" };

/** What the client tells. */
interface Told {
  readonly on: string;
  readonly [more: string]: unknown;
}

/** How the client connects. */
interface Joining {
  readonly protocols?: readonly string[];
  readonly handles?: boolean;
  /** What it lets the server send; null leaves it at 1,024. */
  readonly limit?: number | null;
}

/** The client, a process that makes one connection after the other. */
class Python implements AsyncDisposable {
  readonly #program: Program;

  constructor(...args: string[]) {
    this.#program = new Program(
      ["-B", "tests/support/python_events.py", ...args],
      { command: "/usr/bin/python3" },
    );
  }

  /** Connects to a server. */
  async connect(url: string, joining: Joining = {}): Promise<Told> {
    await this.#program.write(JSON.stringify({ url, ...joining }));
    return await this.told();
  }

  async order(order: Order): Promise<void> {
    await this.#program.write(JSON.stringify(order));
  }

  async send(...items: Item[]): Promise<void> {
    await this.order({ do: "send", items });
  }

  /** The next thing that it tells. */
  async told(): Promise<Told> {
    return JSON.parse(await this.#program.line(""));
  }

  /** So many things that it tells next. */
  async tells(count: number): Promise<Told[]> {
    const all: Told[] = [];
    while (all.length < count) all.push(await this.told());
    return all;
  }

  async exit(): Promise<number> {
    return await this.#program.exit();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
  }
}

/** Our server, the client in Python, and what the server calls it. */
class Meeting implements AsyncDisposable {
  constructor(
    readonly server: ServerSocket,
    readonly python: Python,
    readonly client: Connection,
  ) {}

  static async open(
    options: ServerOptions = {},
    joining?: Joining,
  ): Promise<Meeting> {
    const server = new ServerSocket(options);
    await server.listen("127.0.0.1", 0);
    const python = new Python();
    const connected = server.waitFor("connect");
    assertEquals(await python.connect(server.url, joining), {
      on: "open",
      speaks: true,
    });
    const [client] = await connected;
    return new Meeting(server, python, client);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.python[Symbol.asyncDispose]();
    await this.server.close();
  }
}

function test(
  name: string,
  fn: (meeting: Meeting) => Promise<void>,
  options?: ServerOptions,
  joining?: Joining,
): void {
  Deno.test({
    name: `a client made from protocol.md ${name}`,
    ignore,
    fn: async () => {
      await using meeting = await Meeting.open(options, joining);
      await deadline(fn(meeting), 60_000);
    },
  });
}

/** What the next messages of a client are: texts, or bytes in digits. */
async function heard(client: Connection, limit: number): Promise<string[]> {
  const messages = await client.collect("message", { limit });
  return messages.map(([message]) => {
    assert(!message.isRequest);
    return message.isBinary ? message.bytes.toHex() : message.content;
  });
}

Deno.test({
  name: "a client made from protocol.md reads and writes all vectors",
  ignore,
  fn: async () => {
    await using python = new Python("tests/vectors.json");
    const count = [vectors, vectors.channels, vectors.retries].reduce(
      (sum, { frames, read, malformed }) =>
        sum + frames.length + read.length + malformed.length,
      0,
    );
    assertEquals(await python.told(), { on: "checked", count, wrong: [] });
    assertStrictEquals(await python.exit(), 0);
  },
});

test("gets replies to its requests", async ({ server, python }) => {
  server.handle("sum", () => 3);
  server.handle("fail", () => {
    throw new RequestError("No such fruit", "unknown-fruit");
  });
  server.handle("crash", () => {
    throw new Error("secret");
  });
  server.handle("nothing", () => {});
  server.handle((message) =>
    message.isBinary ? message.bytes.reverse() : `re: ${message.content}`
  );
  const failures = server.collect("error", { limit: 1 });
  await python.send(
    { tag: "json", text: '{"type":"sum"}' },
    { tag: "text", text: "a,b\u001e\u{1f600}" },
    { tag: "marked text", text: "\u0001=x" },
    { tag: "bytes", hex: "00c1" },
    { tag: "no bytes", hex: "" },
    { tag: "nothing", text: '{"type":"nothing"}' },
    { tag: "fail", text: '{"type":"fail"}' },
    { tag: "crash", text: '{"type":"crash"}' },
  );
  const told = await python.tells(9);
  const of = (tag: string): Told | undefined =>
    told.find((one) => one.tag === tag);
  const reply = { on: "reply" };
  assertEquals(of("json"), { ...reply, tag: "json", value: 3 });
  assertEquals(of("text"), {
    ...reply,
    tag: "text",
    value: "re: a,b\u001e\u{1f600}",
  });
  assertEquals(of("marked text"), {
    ...reply,
    tag: "marked text",
    value: "re: \u0001=x",
  });
  assertEquals(of("bytes"), { ...reply, tag: "bytes", hex: "c100" });
  assertEquals(of("no bytes"), { ...reply, tag: "no bytes", hex: "" });
  assertEquals(of("nothing"), { ...reply, tag: "nothing", value: null });
  assertEquals(of("fail"), {
    on: "failure",
    tag: "fail",
    message: "No such fruit",
    code: "unknown-fruit",
  });
  assertStrictEquals(of("crash")?.code, "internal");
  await failures;
});

test("gets an error for requests without a handler", async ({ python }) => {
  await python.send({ tag: "a", text: "x" });
  const { on, tag, code } = await python.told();
  assertEquals([on, tag, code], ["failure", "a", "unhandled"]);
});

test("answers the server's requests", async ({ client }) => {
  const bytes = Uint8Array.of(0xc1, 61, 0);
  const answers = await Promise.allSettled([
    client.request({ a: [1, null] }),
    client.request("a,b\u001e\u{e9}"),
    client.request("\u0001x"),
    client.request(bytes),
    client.request("fail"),
    client.request("crash"),
  ]);
  const values = answers.map((answer) => {
    if (answer.status === "fulfilled") return answer.value;
    const { reason } = answer;
    assert(reason instanceof RequestError);
    return [reason.message, reason.code];
  });
  assertEquals(values, [
    { got: { a: [1, null] } },
    "\u{e9}\u001eb,a",
    "x\u0001",
    Uint8Array.of(0, 61, 0xc1),
    ["No such fruit", "unknown-fruit"],
    ["It failed", "internal"],
  ]);
});

test(
  "refuses the server's requests",
  async ({ client }) => {
    const error = await client.request("x").catch((error: unknown) => error);
    assert(error instanceof RequestError);
    assertStrictEquals(error.code, "unhandled");
  },
  {},
  { handles: false },
);

test("gets pongs for its pings", async ({ python }) => {
  for (
    const text of ["", "are you there?", "\u{1f600}".repeat(31), "a\u001e"]
  ) {
    await python.order({ do: "ping", text });
    assertEquals(await python.told(), { on: "pong", text });
  }
});

test("answers requests with a trace, which it ignores", async ({ server, client }) => {
  const instrumentation = new InstrumentationRecorder(
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  );
  const place = slotOf(server);
  assert(place);
  place.instrumentation = instrumentation;
  const texts = Array.from({ length: 2_000 }, (_, i) => `${i + 10_000}x`);
  const answers = await Promise.all(texts.map((text) => client.request(text)));
  assertEquals(answers, texts.map((text) => [...text].reverse().join("")));
});

test("sends a trace", async ({ server, python }) => {
  const instrumentation = new InstrumentationRecorder();
  const place = slotOf(server);
  assert(place);
  place.instrumentation = instrumentation;
  server.handle(({ content }) => content);
  await python.order({ do: "post", text: "\u0001t1,the trace" });
  await python.send({ tag: "a", text: "x" });
  assertEquals(await python.told(), { on: "reply", tag: "a", value: "x" });
  assertEquals(instrumentation.seen, ["handle undefined in the trace"]);
});

test("sends batches, mixed with requests, that arrive as single messages", async ({ server, client, python }) => {
  server.handle(({ content }) => content.toUpperCase());
  const come = heard(client, 9);
  await python.send(
    { text: "one" },
    { text: "" },
    { tag: "a", text: "ask" },
    { text: '{"n":2}' },
    { text: "no\u001eitem" },
    { hex: "" },
    { hex: "0102" },
    { tag: "b", hex: "616263" },
    { hex: "c13d" },
    { text: "\u0001[x" },
    { text: "last" },
  );
  assertEquals(await come, [
    "one",
    "",
    '{"n":2}',
    "no\u001eitem",
    "",
    "0102",
    "c13d",
    "\u0001[x",
    "last",
  ]);
  const told = await python.tells(3);
  assertEquals(
    told.filter(({ on }) => on === "reply").map(({ value }) => value),
    ["ASK", "ABC"],
  );
});

test("receives batches", async ({ client, python }) => {
  const bytes = [Uint8Array.of(), Uint8Array.of(0xc1), Uint8Array.of(0xc1, 91)];
  const sent = [
    "one",
    "",
    { n: 2 },
    "\u0001",
    "\u0001[x",
    ...bytes,
    "a\u001eb",
  ];
  for (const value of sent) client.send(value);
  const asked = client.request("abc");
  const told = await python.tells(sent.length);
  assertEquals(
    told.map(({ value, hex }) => value ?? hex),
    ["one", "", { n: 2 }, "\u0001", "\u0001[x", "", "c1", "c15b", "a\u001eb"],
  );
  // What was sent in one go came in fewer frames.
  const frames = new Set(told.map(({ frame }) => frame));
  assert(frames.size < sent.length, `${frames.size} frames`);
  assertStrictEquals(await asked, "cba");
});

test("sends and receives messages that must be escaped", async ({ client, python }) => {
  for (const text of ["\u0001", "\u0001=x", "\u0001?1,x", "\u0001[a\u001eb"]) {
    const come = heard(client, 1);
    await python.send({ text });
    assertEquals(await come, [text]);
    assertStrictEquals((await python.told()).on, "sent");
    await client.send(text);
    assertStrictEquals((await python.told()).value, text);
  }
  for (const hex of ["c1", "c13d", "c15b00000000", "c1c1"]) {
    const come = heard(client, 1);
    await python.send({ hex });
    assertEquals(await come, [hex]);
    assertStrictEquals((await python.told()).on, "sent");
    await client.send(Uint8Array.fromHex(hex));
    assertStrictEquals((await python.told()).hex, hex);
  }
});

/** Has a listener wait while the client sends more than there is room for. */
async function holdBack(
  { client, python }: Meeting,
  items: readonly Item[],
): Promise<void> {
  const sent = items.flatMap((item) =>
    Array<string>(item.times ?? 1).fill("text" in item ? item.text : item.hex)
  );
  const gate = Promise.withResolvers<void>();
  const all = Promise.withResolvers<void>();
  const seen: string[] = [];
  let running = 0;
  client.on("message", async (message) => {
    assertStrictEquals(++running, 1);
    await gate.promise;
    running--;
    seen.push(message.isBinary ? message.bytes.toHex() : message.content);
    if (seen.length === sent.length) all.resolve();
  });
  await python.send(...items);
  await python.order({ do: "held" });
  assertEquals(await python.told(), { on: "held", spent: 1_024 });
  // What is free goes both ways meanwhile.
  await python.order({ do: "ping", text: "held?" });
  assertEquals(await python.told(), { on: "pong", text: "held?" });
  assertStrictEquals(await client.request("abc"), "cba");
  assertEquals(seen, []);
  gate.resolve();
  await all.promise;
  assert(seen.every((one, i) => one === sent[i]), "not in order");
  assertStrictEquals((await python.told()).on, "sent");
}

test("waits for credit and loses nothing", async (meeting) => {
  const items = Array.from(
    Array(3_000),
    (_, i) =>
      i % 100 < 50 ? { text: `${i}` } : { hex: `${i}`.padStart(8, "0") },
  );
  await holdBack(meeting, items);
}, { concurrency: 1 });

// Each costs 2: 16,384 UTF-16 code units, and so many bytes with the mark.
test(
  "computes the cost of large messages as the server does",
  async (meeting) => {
    const text = "\u{1f600}".repeat(8_192);
    const hex = "c1".repeat(16_382);
    await holdBack(meeting, [{ text, times: 500 }, { hex, times: 500 }]);
  },
  { concurrency: 1 },
);

test(
  "slows the server down by credit",
  async ({ client, python }) => {
    const texts = Array.from(Array(1_500), (_, i) => `#${i}`);
    for (const text of texts) client.send(text);
    const first = await python.tells(1_024);
    // The pong comes after all that the server had credit for.
    await python.order({ do: "ping", text: "all?" });
    assertEquals(await python.told(), { on: "pong", text: "all?" });
    await python.order({ do: "post", text: "\u0001+1000" }); // less than before
    await python.order({ do: "post", text: "\u0001+1500" });
    const rest = await python.tells(texts.length - 1_024);
    assertEquals([...first, ...rest].map(({ value }) => value), texts);
  },
  {},
  { limit: null },
);

test(
  "receives no more large messages than it has room for",
  async ({ client, python }) => {
    // Each costs 2, with its mark.
    const bytes = new Uint8Array(16_382).fill(0xc1);
    for (let i = 0; i < 513; i++) client.send(bytes);
    await python.tells(512);
    await python.order({ do: "ping", text: "all?" });
    assertEquals(await python.told(), { on: "pong", text: "all?" });
    await python.order({ do: "post", text: "\u0001+1025" });
    assertStrictEquals((await python.told()).on, "message");
  },
  {},
  { limit: null },
);

test("may send unknown kinds of frames", async ({ client, python }) => {
  const come = heard(client, 1);
  for (const text of ["\u0001a", "\u0001z1,x", "\u0001[\u0001b\u001e\u0001c"]) {
    await python.order({ do: "post", text });
  }
  for (const hex of ["c161", "c17a00ff", "c15b00000002c162"]) {
    await python.order({ do: "post", hex });
  }
  await python.send({ text: "after" });
  assertEquals(await come, ["after"]);
});

/** Frames that are malformed only in their place, besides those of the vectors. */
const MISPLACED: readonly Written[] = [
  { text: "\u0001!1,x" },
  { text: '\u0001~1,{"message":""}' },
  { hex: "c12100000001" },
  { text: "\u0001[\u0001A" },
  { text: "\u0001[a\u001e\u0001?0,x" },
  { hex: "c15b00000002c141" },
];

test("is closed with 1002 for a malformed frame, which affects no other client", async ({ server, python }) => {
  server.handle(({ content }) => content);
  const frames = [...vectors.malformed.map(({ frame }) => frame), ...MISPLACED];
  for (const frame of frames) {
    const ended = server.waitFor("close");
    await python.order({ do: "post", ...frame });
    assertEquals(
      await python.told(),
      { on: "close", code: 1002 },
      Deno.inspect(frame),
    );
    assertStrictEquals((await ended)[1], 1002);
    assertStrictEquals((await python.connect(server.url)).on, "open");
    await python.send({ tag: "on", text: "on" });
    const [reply] = await python.tells(2);
    assertEquals(reply, { on: "reply", tag: "on", value: "on" });
  }
});

test(
  "negotiates the subprotocol of the application, too",
  async ({ server, client, python }) => {
    assertEquals([client.protocol, client.speaksEvents], ["chat", true]);
    await python.order({ do: "close" });
    assertStrictEquals((await python.told()).on, "close");
    const connected = server.waitFor("connect");
    await python.connect(server.url, { protocols: ["other"] });
    const [other] = await connected;
    assertEquals([other.protocol, other.speaksEvents], ["", true]);
  },
  { protocols: ["chat"] },
  { protocols: ["chat"] },
);

Deno.test({
  name: "a client made from protocol.md talks to a server without it",
  ignore,
  fn: async () => {
    await using server = new ServerSocket({ plain: true });
    await server.listen("127.0.0.1", 0);
    await using python = new Python();
    const connected = server.waitFor("connect");
    assertEquals(await python.connect(server.url), {
      on: "open",
      speaks: false,
    });
    const [client] = await connected;
    const come = heard(client, 2);
    await python.send({ text: "\u0001?1,x" }, { hex: "c1" });
    assertEquals(await come, ["\u0001?1,x", "c1"]);
    assertStrictEquals((await python.told()).on, "sent");
    await client.send("\u0001A");
    assertStrictEquals((await python.told()).value, "\u0001A");
  },
});

Deno.test({
  name: "a client made from protocol.md joins channels",
  ignore,
  fn: async () => {
    await using server = new ServerSocket();
    const rooms = channels(server).channel("rooms/:id", {
      join({ params, data }) {
        if (params.id !== "0") return data === "token";
        throw new RequestError("Not here", "mine");
      },
      snapshot: ({ params }) => ({ id: params.id }),
    });
    await server.listen("127.0.0.1", 0);
    await using python = new Python();
    await python.connect(server.url);
    const join = async (name: string, data: string) => {
      await python.order({ do: "join", name, data });
      return await python.told();
    };
    assertEquals(await join("rooms/0", "token"), {
      on: "refused",
      message: "Not here",
      code: "mine",
    });
    const received = rooms.waitFor("message");
    assertEquals(await join("rooms/7", "token"), {
      on: "joined",
      value: { id: "7" },
    });
    const [{ author, data }] = await received;
    assertEquals(data, { hello: "channel" });
    server.to("rooms/7").send("\u0001=");
    assertEquals(await python.told(), { on: "inner", value: "\u0001=" });
    author.send(new Uint8Array([0xc1]));
    assertEquals(await python.told(), { on: "inner", hex: "c1" });
    const left = rooms.waitFor("leave");
    author.send("bye");
    assertEquals(await python.told(), { on: "inner", value: "bye" });
    await left;
    await join("rooms/8", "token");
    server.to("rooms/8").members[0]?.leave("rooms/8");
    assertEquals((await python.told()).code, "removed");
  },
});

test("gets the remembered reply to a request that it sends again", async ({ server, client, python }) => {
  const begun = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const runs: unknown[] = [];
  server.handle(async ({ data, requestId }) => {
    runs.push([data, requestId]);
    begun.resolve();
    await gate.promise;
    if (data === "fail") throw new RequestError("No apples", "stock");
    return { run: runs.length };
  });
  // The connection is lost while the handler runs.
  await python.order({ do: "retry", data: { order: 7 } });
  await begun.promise;
  client.terminate();
  assertEquals(
    (await python.tells(2)).map(({ on }) => on).toSorted(),
    ["close", "lost"],
  );
  gate.resolve();
  await python.connect(server.url);
  await python.order({ do: "retry", data: "fail" });
  assertEquals(await python.tells(2), [
    { on: "reply", number: 1, value: { run: 1 } },
    { on: "failure", number: 2, code: "stock" },
  ]);
  assertEquals(runs.length, 2);
  // A number that was used for something else.
  await python.order({ do: "retry", data: "other", renumber: true });
  assertEquals(await python.told(), {
    on: "failure",
    number: 2,
    code: "reused",
  });
  assertEquals(runs.length, 2);
});

test("is closed with 1002 for a malformed frame of a session", async ({ server, python }) => {
  server.handle(({ content }) => content);
  for (const { frame, why } of vectors.retries.malformed) {
    await python.order({ do: "post", ...frame });
    assertEquals(await python.told(), { on: "close", code: 1002 }, why);
    await python.connect(server.url);
  }
  // A request before the session is opened.
  await python.order({ do: "post", text: "\u0001q1,1,0,x" });
  assertEquals(await python.told(), { on: "close", code: 1002 });
});

Deno.test({
  name: "a client made from protocol.md closes with 1002 itself",
  ignore,
  fn: async () => {
    const sockets: Promise<WebSocket>[] = [];
    await using server = Deno.serve({
      hostname: "127.0.0.1",
      port: 0,
      onListen: () => {},
    }, (request) => {
      const { socket, response } = Deno.upgradeWebSocket(request, {
        protocol: "events.v1",
      });
      const { promise, resolve } = Promise.withResolvers<WebSocket>();
      socket.onopen = () => resolve(socket);
      sockets.push(promise);
      return response;
    });
    await using python = new Python();
    const url = `ws://127.0.0.1:${server.addr.port}`;
    const frames = vectors.malformed.map(({ frame }) => frame);
    for (const frame of [...frames, ...MISPLACED]) {
      assertStrictEquals((await python.connect(url)).on, "open");
      const socket = await sockets.pop();
      assert(socket !== undefined);
      const { promise, resolve } = Promise.withResolvers<CloseEvent>();
      socket.onclose = resolve;
      socket.send("text" in frame ? frame.text : Uint8Array.fromHex(frame.hex));
      const { code } = await deadline(promise, 60_000);
      assertStrictEquals(code, 1002, Deno.inspect(frame));
      let told = await python.told();
      if (told.on === "message") told = await python.told(); // the item before
      assertEquals(told, { on: "close", code: 1002 });
    }
  },
});
