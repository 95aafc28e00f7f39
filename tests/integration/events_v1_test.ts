/** What our own two ends say to each other, and what a plain peer sees. */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { assertSpyCalls, spy, stub } from "@std/testing/mock";
import { FakeTime } from "@std/testing/time";
import { decode, encode } from "@msgpack/msgpack";
import {
  ClientSocket,
  type Codec,
  ConnectError,
  MessageDroppedError,
  RequestError,
  type ServerOptions,
  ServerSocket,
} from "../../mod.ts";
import { resolveWriterLimits } from "../../core/sending/flow_options.ts";
import type { Side } from "../../core/runtime/websocket.ts";
import { encodeHex } from "../support/hex.ts";
import {
  createFixture,
  createPair,
  type Fixture,
  type FixtureInit,
} from "../support/fake_socket.ts";
import { lacksPermission } from "../support/permissions.ts";
import { frame, RawPeer } from "../support/raw_peer.ts";

const ignore = await lacksPermission("net");

const EVENTS = { negotiated: { protocol: "", isEvents: true } };

/** All that a test has opened. */
let parties: Fixture[] = [];

/** One open end of `events.v1`, whose peer is the test. */
function own(side: Side = "server", init: FixtureInit = {}): Fixture {
  const self = createFixture(side, { ...EVENTS, ...init });
  parties.push(self);
  self.socket.open();
  return self;
}

/** A test without any network, whose timers are turned by hand. */
function test(
  name: string,
  fn: (time: FakeTime) => void | Promise<void>,
): void {
  Deno.test(name, async () => {
    using time = new FakeTime();
    await fn(time);
    for (const { connection } of parties) connection.terminate();
    parties = [];
    await time.runMicrotasks();
  });
}

/** Lets all be sent that is to be sent in this turn. */
async function turn(): Promise<void> {
  for (let i = 0; i < 5; i++) await Promise.resolve();
}

Deno.test({
  name: "a plain peer sees plain frames",
  ignore,
  fn: async () => {
    await using server = new ServerSocket();
    server.on("message", async ({ author, content }) => {
      author.send(content);
      author.send("\u0001?1,x");
      author.send({ a: [1, "\u001e"] });
      author.send(new Uint8Array([0xc1, 0x5b]));
      author.send(new Blob(["b"]));
      server.broadcast("all");
      await assertRejects(() => author.request("x"), DOMException);
      author.close(4000, "bye");
    });
    await server.listen("127.0.0.1", 0);
    for (const protocol of [undefined, "plain, chat", "events.v2", "x"]) {
      using peer = await RawPeer.open(server.port, "/", protocol);
      await peer.write(frame(1, "\u0001[a\u001eb"));
      const heard: [opcode: number, payload: string][] = [];
      for (;;) {
        const received = await peer.receive();
        if (received === undefined || received.opcode === 8) break;
        heard.push([received.opcode, encodeHex(received.payload)]);
      }
      assertEquals(heard, [
        [1, "015b611e62"],
        [1, "013f312c78"],
        [1, encodeHex(new TextEncoder().encode('{"a":[1,"\\u001e"]}'))],
        [2, "c15b"],
        [2, "62"],
        [1, "616c6c"],
      ]);
    }
  },
});

test("requests and replies are not replaced by messages of a socket that keeps the latest", async () => {
  const self = own("server", {
    ...EVENTS,
    options: { writerLimits: resolveWriterLimits({ overflow: "latest" }, 0) },
  });
  const { connection, socket, owner } = self;
  owner.handler = ({ data }) => data;
  socket.isStalled = true;
  connection.send("x".repeat(2 ** 20)); // fills the buffer of the socket
  await turn();
  socket.receive('\u0001?1,"one"');
  socket.receive('\u0001?2,"two"');
  const asked = [connection.request("a"), connection.request("b")];
  connection.send("old").catch(() => {});
  connection.send("new").catch(() => {});
  await turn();
  assertEquals(connection.dropped.outgoing, 1); // "old"
  socket.isStalled = false;
  socket.bufferedAmount = 0;
  for (let i = 0; i < 3; i++) await turn();
  socket.receive("\u0001+1000000");
  await turn();
  connection.terminate();
  for (const one of asked) {
    await assertRejects(() => one, Error, "ended");
  }
  assertEquals(connection.dropped.outgoing, 1);
});

Deno.test("messages that look like frames of events.v1 arrive unchanged", async () => {
  const [one, other] = createPair("server", EVENTS);
  const marked = new Uint8Array([0xc1, 0x5b, 0]);
  const heard: unknown[] = [];
  other.connection.on("message", (message) => {
    heard.push(message.isBinary ? [...message.bytes] : message.content);
  });
  const sent = ["\u0001[", "\u0001", "\u001e", "a\u001eb", "", "\u0001=x"];
  for (const text of sent) one.connection.send(text);
  one.connection.send(marked);
  one.connection.send(marked.buffer);
  await one.connection.send(new Blob([marked]));
  await turn();
  const bytes = [0xc1, 0x5b, 0];
  assertEquals(heard, [...sent, bytes, bytes, bytes]);
});

test("messages of one turn share a frame, and a single message is unchanged", async () => {
  const { connection, socket } = own();
  connection.send("a");
  connection.send({ b: 1 });
  connection.request("c").catch(() => {});
  assertStrictEquals(connection.bufferedAmount, 1 + 7 + 5);
  await turn();
  connection.send("d");
  await turn();
  assertEquals(socket.sent, ['\u0001[a\u001e{"b":1}\u001e\u0001?1,c', "d"]);
});

test("messages are sent before the close frame", async () => {
  const { connection, socket } = own();
  connection.send("a");
  connection.send("b");
  connection.close();
  assertEquals(socket.sent, ["\u0001[a\u001eb"]);
  assertEquals(socket.closes, [[1000, ""]]);
  await assertRejects(() => connection.send("c"));
});

test("nothing is sent after the end", async () => {
  const { connection, socket } = own();
  connection.send("a");
  connection.terminate();
  await turn();
  assertEquals(socket.sent, []);
});

test("a batch is dispatched as messages while the connection is open", () => {
  const { connection, socket, owner } = own();
  connection.on("message", ({ content }) => {
    if (content === "c") connection.close();
  });
  socket.receive("\u0001[a\u001e\u0001=\u0001b\u001ec\u001ed");
  assertEquals(owner.events, ["connect", "a", "\u0001b", "c"]);
});

for (
  const [role, code] of [["server", 1002], ["client", 4002]] as const
) {
  test(`a malformed frame closes a ${role} with ${code}`, () => {
    const malformed = [
      "\u0001?0,x",
      "\u0001",
      "\u0001A",
      "\u0001[a\u001e\u0001[b",
      "\u0001!1,nobody has asked",
      "\u0001[\u0001~9,{}",
      new Uint8Array([0xc1]).buffer,
    ];
    for (const bad of malformed) {
      const { socket, owner } = own(role);
      socket.receive(bad);
      assertStrictEquals(socket.closes[0]?.[0], code, Deno.inspect(bad));
      socket.end(true, code);
      assertStrictEquals(owner.ends[0]?.cause, "protocol");
    }
  });
}

test("frames of later versions and pongs are ignored", async () => {
  const { socket, owner } = own();
  for (const text of ["\u0001z", "\u0001q1,2", "\u0001>any", "plain"]) {
    socket.receive(text);
  }
  await turn();
  assertEquals(socket.sent, []);
  assertEquals(owner.events, ["connect", "plain"]);
});

test("a ping is answered with its text, after queued messages", async () => {
  const { connection, socket } = own();
  connection.send("a");
  socket.receive("\u0001<there?");
  await turn();
  assertEquals(socket.sent, ["\u0001[a\u001e\u0001>there?"]);
});

test("unlimited credit is granted before the initial credit is used", async () => {
  const { socket } = own();
  for (let n = 0; n < 511; n++) socket.receive("x");
  await turn();
  assertEquals(socket.sent, []);
  socket.receive("x");
  await turn();
  assertEquals(socket.sent, ["\u0001+9007199254740991"]);
  for (let n = 0; n < 5_000; n++) socket.receive("x");
  await turn();
  assertStrictEquals(socket.sent.length, 1);
});

test("credit is granted in steps with concurrency", async () => {
  const { connection, socket } = own("server", {
    options: { concurrency: 1 },
  });
  connection.on("message", () => {});
  for (let n = 0; n < 511; n++) socket.receive("x");
  await turn();
  assertEquals(socket.sent, []);
  for (let n = 0; n < 600; n++) socket.receive("x");
  await turn();
  assertEquals(socket.sent, ["\u0001[\u0001+1536\u001e\u0001+2048"]);
});

test("requests share one timer", async (time) => {
  using _now = stub(performance, "now", () => time.now);
  const { connection } = own();
  const told: string[] = [];
  const ask = (timeout: number) => {
    connection.request("x", { timeout }).catch(({ name }) => {
      told.push(`${name} ${timeout}`);
    });
  };
  for (const timeout of [100, 1_000, 50, Infinity]) ask(timeout);
  const expected = ["TimeoutError 50", "TimeoutError 100", "TimeoutError 1000"];
  for (const [index, wait] of [[0, 49], [1, 3], [2, 50], [3, 900]] as const) {
    await time.tickAsync(wait);
    await turn();
    assertEquals(told, expected.slice(0, index));
  }
  ask(10);
  await time.tickAsync(12);
  await turn();
  assertEquals(told.at(-1), "TimeoutError 10");
});

test("a request releases its signal", async () => {
  const { connection, socket } = own();
  const { signal } = new AbortController();
  using added = spy(signal, "addEventListener");
  using removed = spy(signal, "removeEventListener");
  const asked = [1, 2].map((n) => connection.request(n, { signal }));
  assertSpyCalls(added, 2);
  socket.receive('\u0001[\u0001!1,ok\u001e\u0001~2,{"message":"no"}');
  assertStrictEquals(await asked[0], "ok");
  await assertRejects(async () => await asked[1], RequestError, "no");
  assertSpyCalls(removed, 2);
});

test("late replies count towards limits", async () => {
  const messageRate = { perSecond: 0, burst: 1, policy: "drop" } as const;
  const { connection, socket } = own("server", {
    options: { limits: { maxPayload: 99, messageRate } },
  });
  await assertRejects(() =>
    connection.request("x", { signal: AbortSignal.abort() })
  );
  const controller = new AbortController();
  const asked = connection.request("y", { signal: controller.signal });
  controller.abort();
  await asked.catch(() => {});
  for (let n = 0; n < 3; n++) socket.receive("\u0001!1,late");
  assertEquals(connection.dropped, { incoming: 2, outgoing: 0, replies: 3 });
});

test("a dropped request rejects at once", async () => {
  const flow = resolveWriterLimits(
    { highWaterMark: 1, maxBufferedAmount: 1, overflow: "drop-newest" },
    0,
  );
  const { connection, socket } = own("server", {
    options: { writerLimits: flow },
  });
  socket.isStalled = true;
  connection.send("x");
  await turn();
  await assertRejects(() => connection.request("y"), MessageDroppedError);
});

test("credit is granted while this side waits to close", async () => {
  const { connection, socket } = own();
  const sent = Array.from({ length: 1_026 }, (_, n) => connection.send(`${n}`));
  const closing = connection.close(4000);
  await turn();
  assertEquals(socket.closes, []);
  socket.receive("\u0001[dropped\u001e\u0001+1025");
  socket.receive("\u0001+1026");
  await turn();
  assertEquals(socket.closes, [[4000, ""]]);
  await Promise.all(sent);
  socket.end(true, 4000);
  await closing;
});

test("limits count each message of a batch and all other frames", () => {
  const limits = { maxPayload: 5, messageRate: undefined };
  const first = own("server", { options: { limits } });
  first.socket.receive("\u0001[12345\u001e\u0001?1,12345\u001e123456");
  assertEquals(first.owner.events, ["connect", "12345", "12345"]);
  assertStrictEquals(first.socket.closes[0]?.[0], 1009);
  const messageRate = { perSecond: 0, burst: 3, policy: "drop" } as const;
  const second = own("server", {
    options: { limits: { maxPayload: 5, messageRate } },
  });
  second.socket.receive("\u0001[1\u001e\u0001<\u001e\u0001z\u001e2\u001e3");
  assertEquals(second.owner.events, ["connect", "1"]);
  assertStrictEquals(second.connection.dropped.incoming, 2);
  const huge = own("server", { options: { limits } });
  huge.socket.receive(`\u0001[${"\u001e".repeat(70_000)}`);
  assertEquals(huge.owner.events, ["connect"]);
  assertStrictEquals(huge.socket.closes[0]?.[0], 1009);
});

test("a silent server is pinged", async (time) => {
  const idleTimeout = (canAsk: boolean) => canAsk ? 1_000 : 0;
  const { socket, owner } = own("client", { options: { idleTimeout } });
  await time.tickAsync(500);
  assertEquals(socket.sent, ["\u0001<"]);
  socket.receive("\u0001>");
  await time.tickAsync(1_000);
  assertStrictEquals(socket.sent.length, 2);
  assertEquals(owner.events, ["connect"]);
  await time.tickAsync(500);
  assertEquals(owner.events, ["connect", "disconnect"]);
  assertStrictEquals(owner.ends[0]?.cause, "timeout");
  // Of a plain one nothing can be asked.
  const plain = createFixture("client", { options: { idleTimeout } });
  plain.socket.open();
  await time.tickAsync(10_000);
  assertEquals(plain.owner.events, ["connect"]);
});

const MSGPACK: Codec = {
  name: "msgpack",
  encode: (value) => encode(value),
  decode: (frame) => typeof frame === "string" ? frame : decode(frame),
};

Deno.test({
  name: "a codec encodes messages, broadcasts and requests",
  ignore,
  fn: async () => {
    const options: ServerOptions = { codec: MSGPACK, protocols: ["chat"] };
    await using server = new ServerSocket(options);
    server.handle(({ data }) => ({ echo: data, at: new Date(7) }));
    server.on("message", ({ data }) => server.broadcast({ all: data }));
    await server.listen("127.0.0.1", 0);
    await using client = new ClientSocket({
      codec: MSGPACK,
      protocols: "chat",
    });
    await client.connect(server.url);
    assertStrictEquals(client.connection?.protocol, "chat");
    const bytes = new Uint8Array([0xc1, 1]);
    const heard = client.waitFor("message");
    await client.send({ bytes, text: "\u0001" });
    const [message] = await heard;
    assertEquals(message.data, { all: { bytes, text: "\u0001" } });
    assertStrictEquals(message.isBinary, true);
    assertEquals(await client.request("123"), {
      echo: "123",
      at: new Date(7),
    });
    assertThrows(
      () => client.send(new Blob([])),
      TypeError,
      'Cannot send a Blob with the codec "msgpack"',
    );
    assertThrows(() => server.broadcast({ f: () => {} }), TypeError, "msgpack");
  },
});

Deno.test({
  name: "connect() rejects with the reason if there is no common codec",
  ignore,
  fn: async () => {
    await using packed = new ServerSocket({ codec: MSGPACK });
    await using json = new ServerSocket();
    await using plain = new ServerSocket({ plain: true });
    for (const server of [packed, json, plain]) {
      await server.listen("127.0.0.1", 0);
    }
    const refused = packed.waitFor("refused");
    await using client = new ClientSocket();
    await assertRejects(() => client.connect(packed.url), ConnectError);
    const [, status, reason] = await refused;
    assertStrictEquals(status, 400);
    assertMatch(reason, /ask for the subprotocol events\.v1\.msgpack/);
    await using other = new ClientSocket({ codec: MSGPACK });
    await assertRejects(() => other.connect(json.url), ConnectError);
    await assertRejects(() => other.connect(plain.url), ConnectError);
  },
});

Deno.test({
  name: "a codec works with servers without events.v1",
  ignore,
  fn: async () => {
    const bare = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      (request) => {
        const { socket, response } = Deno.upgradeWebSocket(request);
        socket.onmessage = ({ data }) => socket.send(data);
        return response;
      },
    );
    await using ours = new ServerSocket({ codec: MSGPACK, plain: true });
    ours.on("message", ({ author }) => author.send({ n: [1, 2] }));
    await ours.listen("127.0.0.1", 0);
    for (const url of [`ws://127.0.0.1:${bare.addr.port}`, ours.url]) {
      for (const plain of [false, true]) {
        await using client = new ClientSocket({ codec: MSGPACK, plain });
        await client.connect(url);
        const echoed = client.waitFor("message");
        await client.send({ n: [1, 2] });
        const [message] = await echoed;
        assertStrictEquals(message.isBinary, true);
        assertEquals(message.data, { n: [1, 2] });
        assertStrictEquals(client.connection?.protocol, "");
        assertStrictEquals(client.connection?.speaksEvents, false);
      }
    }
    await bare.shutdown();
  },
});

test("errors of a codec are thrown to its user", async () => {
  const codec: Codec = {
    name: "x",
    encode: () => {
      throw new Error("too hard");
    },
    decode: () => {
      throw new Error("too strange");
    },
  };
  const { connection, socket, owner } = own("server", { options: { codec } });
  const error = assertThrows(() => connection.send(1), TypeError, "too hard");
  assertInstanceOf(error.cause, Error);
  assertThrows(() => connection.request(1), TypeError, "too hard");
  connection.on("message", (message) => message.data);
  socket.receive("text");
  await turn();
  assertMatch(String(owner.errors[0]), /too strange/);
  // A request is refused before a handler sees it.
  owner.handler = () => "never";
  socket.receive("\u0001?1,x");
  await turn();
  assertMatch(String(owner.errors[1]), /too strange/);
  assertEquals(socket.sent, [
    '\u0001~1,{"message":"The request could not be read","code":"invalid"}',
  ]);
  assertThrows(
    () => new ServerSocket({ codec: { ...codec, name: "a b" } }),
    TypeError,
    'current value is "a b"',
  );
  assert(connection.readyState === 1);
});

const PARTED = { negotiated: { protocol: "", isEvents: true, hasParts: true } };
const FULL_PART = "x".repeat(4096);

test("a large message is sent in parts and received in order", async () => {
  const { socket, connection } = own("server", PARTED);
  const large = "y".repeat(64 * 1024 + 1);
  const bytes = new Uint8Array(64 * 1024 + 1).fill(7);
  for (const data of ["a", large, "b", bytes]) connection.send(data);
  await turn();
  assertStrictEquals(socket.sent.length, 1 + 5 + 1 + 5);
  const other = own("server", PARTED);
  const heard: (string | number)[] = [];
  other.connection.on("message", ({ content, size }) => {
    heard.push(size > 10 ? size : content);
  });
  for (const data of socket.sent) {
    if (typeof data === "string") other.socket.receive(data);
    else if (data instanceof Uint8Array) {
      other.socket.receive(data.slice().buffer);
    }
  }
  assertEquals(heard, ["a", 65_537, "b", 65_537]);
  assertStrictEquals(other.connection.traffic.received.messages, 4);
});

test("a small message, or one to a peer without parts, is sent as a whole", async () => {
  for (
    const [init, size] of [[PARTED, 65_536], [EVENTS, 200_000]] as const
  ) {
    const { socket, connection } = own("server", init);
    connection.send("y".repeat(size));
    await turn();
    assertStrictEquals(socket.sent.length, 1);
  }
});

test("malformed parts close with 1002, and too large ones with 1009", () => {
  const limits = { maxPayload: 100_000, messageRate: undefined };
  const cases: [frames: (string | ArrayBuffer)[], code: number][] = [
    [["\u0001-short"], 1002],
    [["\u0001."], 1002],
    [[`\u0001-${FULL_PART}`, new Uint8Array([0xc1, 0x2e, 1]).buffer], 1002],
    [["\u0001.\u0001.x"], 1002], // a part of a part
    [["\u0001[\u0001.x"], 1002], // a part in a batch
    [["\u0001.\u0001[\u0001[b"], 1002],
    [Array(100).fill(`\u0001-${FULL_PART}`), 1009],
    // As UTF-8 it is larger than it seems.
    [[...Array(15).fill(`\u0001-${"\u20ac".repeat(4096)}`), "\u0001.x"], 1009],
  ];
  for (const [frames, code] of cases) {
    const { socket, owner } = own("server", {
      ...PARTED,
      options: { limits },
    });
    for (const frame of frames) socket.receive(frame);
    assertStrictEquals(socket.closes[0]?.[0], code, `${frames[0]}`.slice(0, 9));
    assertEquals(owner.events, ["connect"]);
  }
  const none = own("server", EVENTS);
  none.socket.receive(`\u0001-${FULL_PART}`);
  assertStrictEquals(none.socket.closes[0]?.[0], 1002);
});

test("pings are answered between parts", async () => {
  let now = 0;
  using _ = stub(performance, "now", () => now);
  const { socket, owner } = own("server", PARTED);
  socket.receive(`\u0001-${FULL_PART}`);
  socket.receive("\u0001<?");
  now = 999;
  socket.receive(`\u0001-${FULL_PART}`);
  now = 1_000;
  socket.receive(`\u0001-${FULL_PART}`);
  now = 1_999;
  socket.receive(`\u0001-${FULL_PART}`);
  assertEquals(owner.events, ["connect"]);
  socket.receive("\u0001.end");
  assertStrictEquals(owner.events.length, 2);
  await turn();
  const sent = socket.sent.join("\u001e");
  assertStrictEquals(sent.split("\u0001>?").length, 2);
  assertStrictEquals(sent.split("\u0001>parts").length, 2);
});

test("credit in parts counts while this side waits to close", async () => {
  const { connection, socket } = own("server", PARTED);
  const sent = Array.from({ length: 1_025 }, (_, n) => connection.send(`${n}`));
  const closing = connection.close(4000);
  await turn();
  assertEquals(socket.closes, []);
  socket.receive(`\u0001-${FULL_PART}`);
  socket.receive("\u0001.dropped");
  socket.receive("\u0001.\u0001+1025");
  await turn();
  assertEquals(socket.closes, [[4000, ""]]);
  await Promise.all(sent);
  socket.end(true, 4000);
  await closing;
});
