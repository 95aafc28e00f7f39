/** What a peer may send: `maxPayload` and `messageRate`. */

import {
  assertEquals,
  assertMatch,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { byteLengthOf, isLargerThan } from "../../core/values/codec.ts";
import { resolveMessageRate } from "../../core/connection/rate_limiter.ts";
import { ClientSocket } from "../../client.ts";
import { type MessageRate, ServerSocket } from "../../server.ts";
import {
  createFixture,
  FakeOwner,
  type Fixture,
  type InboundLimits,
} from "../support/fake_socket.ts";
import { lacksPermission } from "../support/permissions.ts";
import { frame, RawPeer } from "../support/raw_peer.ts";
import { RawServer } from "../support/raw_server.ts";

const ignore = await lacksPermission("net");

/** An open connection with such limits. */
function limited(limits: Partial<InboundLimits>): Fixture {
  const self = createFixture("server", {
    options: { limits: { maxPayload: 10, messageRate: undefined, ...limits } },
  });
  self.socket.open();
  return self;
}

Deno.test("byteLengthOf() and isLargerThan() count UTF-8 bytes", () => {
  const cases: [string | ArrayBuffer, number][] = [
    ["", 0],
    ["abc", 3],
    ["é", 2],
    ["€€", 6],
    ["😀", 4],
    ["\ud800", 3], // half a character goes out as U+FFFD
    [new ArrayBuffer(5), 5],
  ];
  for (const [data, size] of cases) {
    assertStrictEquals(byteLengthOf(data), size);
    assertStrictEquals(isLargerThan(data, size), false);
    if (size > 0) assertStrictEquals(isLargerThan(data, size - 1), true);
  }
  assertStrictEquals(byteLengthOf(new Blob(["é"])), 2);
  assertStrictEquals(byteLengthOf(new Uint8Array(8).subarray(1, 4)), 3);
});

Deno.test("maxPayload accepts messages up to the limit and closes with 1009 beyond it", () => {
  const cases: [string | ArrayBuffer, string | ArrayBuffer][] = [
    ["1234567890", "1234567890a"],
    ["12345678é", "123456789é"],
    [new ArrayBuffer(10), new ArrayBuffer(11)],
  ];
  for (const [fits, larger] of cases) {
    const { socket, connection, owner } = limited({});
    let heard = 0;
    connection.on("message", () => heard++);
    socket.receive(fits);
    assertEquals([heard, owner.events.length, socket.closes], [1, 2, []]);
    socket.receive(larger);
    socket.receive(fits); // nor anything after it
    assertEquals([heard, owner.events.length], [1, 2]);
    const reason = "A message may have at most 10 bytes";
    assertEquals(socket.closes, [[1009, reason]]);
    socket.end(true, 1009, reason);
    assertEquals(owner.ends, [
      { type: "close", code: 1009, reason, cause: "limit" },
    ]);
  }
});

Deno.test("maxPayload delivers earlier messages", async () => {
  const { socket, connection } = limited({});
  socket.receive("before");
  socket.receive("too large a message");
  const seen: string[] = [];
  connection.on("message", ({ content }) => seen.push(content));
  await Promise.resolve();
  assertEquals(seen, ["before"]);
  socket.end(true, 1009);
});

Deno.test("maxPayload emits the end while a connect listener hangs", async () => {
  using time = new FakeTime();
  const owner = new FakeOwner();
  owner.pending = [new Promise(() => {})];
  const limits = { maxPayload: 10, messageRate: undefined };
  const init = { options: { limits, closeTimeout: 300 } };
  const { socket } = createFixture("server", init, owner);
  socket.open();
  socket.receive("kept");
  socket.receive("too large a message");
  await time.tickAsync(200);
  socket.end(true, 1009);
  assertEquals([owner.events.at(-1), owner.isLingering], ["close", true]);
  await time.tickAsync(299);
  assertStrictEquals(owner.isLingering, true);
  await time.tickAsync(1);
  assertStrictEquals(owner.isLingering, false);
});

function rate(
  options: Partial<Required<MessageRate>>,
): { readonly messageRate: Required<MessageRate> } {
  const all = { perSecond: 1e-9, burst: 3, policy: "close" } as const;
  return { messageRate: { ...all, ...options } };
}

Deno.test("messageRate closes with 1008 beyond the limit", () => {
  const { socket, connection, owner } = limited(rate({}));
  for (const text of ["1", "2", "3"]) socket.receive(text);
  assertEquals([owner.events, socket.closes], [["connect", "1", "2", "3"], []]);
  socket.receive("4");
  socket.receive("5");
  assertStrictEquals(owner.events.length, 4);
  const [close] = socket.closes;
  assertStrictEquals(close?.[0], 1008);
  assertMatch(close?.[1] ?? "", /^At most .* messages a second may be sent$/);
  socket.end(true, 1008);
  assertEquals(owner.ends.map(({ cause }) => cause), ["limit"]);
  assertEquals(connection.dropped, { incoming: 0, outgoing: 0, replies: 0 });
});

Deno.test("messageRate with drop drops and counts messages", () => {
  const { socket, connection, owner } = limited(rate({ policy: "drop" }));
  for (const text of ["1", "2", "3", "4", "5"]) socket.receive(text);
  assertEquals(owner.events, ["connect", "1", "2", "3"]);
  assertEquals(socket.closes, []);
  assertEquals(connection.dropped, { incoming: 2, outgoing: 0, replies: 0 });
  connection.terminate();
});

Deno.test("messageRate allows more messages over time", async () => {
  const { socket, connection, owner } = limited(
    rate({ perSecond: 1e12, burst: 1 }),
  );
  for (let i = 0; i < 100; i++) {
    const now = performance.now();
    while (performance.now() === now); // a tick of the clock
    socket.receive("x");
    await new Promise<void>((go) => setImmediate(go));
  }
  assertEquals(socket.closes, []);
  assertStrictEquals(owner.events.length, 101);
  connection.terminate();
});

Deno.test("messageRate terminates a peer that continues to send", () => {
  for (const size of [0, 1024 * 1024]) {
    const { socket, owner } = limited({
      maxPayload: 1024 ** 2,
      ...rate({ burst: 1 }),
    });
    const data = new ArrayBuffer(size);
    socket.receive(data);
    socket.receive(data); // one too many
    assertEquals(socket.closes.map(([code]) => code), [1008]);
    // What was under way already is no reason.
    socket.receive(data);
    assertEquals(owner.ends, []);
    let count = 0;
    while (owner.ends.length === 0 && count++ < 4_000) socket.receive(data);
    assertEquals(owner.ends.map(({ type, cause }) => [type, cause]), [
      ["disconnect", "limit"],
    ]);
    assertEquals(owner.events.filter((name) => name === "connect").length, 1);
  }
});

Deno.test("closeTimeout ends a flooding peer without timers", () => {
  const { socket, connection, owner } = createFixture("server", {
    options: { closeTimeout: 20 },
  });
  socket.open();
  connection.close();
  const end = performance.now() + 1_000;
  while (owner.ends.length === 0 && performance.now() < end) socket.receive("");
  assertEquals(owner.ends.map(({ type, cause }) => [type, cause]), [
    ["disconnect", "timeout"],
  ]);
});

Deno.test("messageRate closes a flood even with drop", () => {
  const { socket, connection, owner } = limited(rate({ policy: "drop" }));
  for (let i = 0; i < 2_003; i++) socket.receive("");
  assertEquals(socket.closes, []);
  assertStrictEquals(connection.dropped.incoming, 2_000);
  const start = performance.now();
  // Some of the tokens have come back meanwhile.
  while (socket.closes.length === 0 && performance.now() < start + 5_000) {
    socket.receive("");
  }
  assertEquals(socket.closes.map(([code]) => code), [1008]);
  connection.terminate();
  assertEquals(owner.events.length, 1 + 3 + 1);
});

Deno.test("resolveMessageRate() has a default and can be disabled", () => {
  assertEquals(resolveMessageRate(undefined), {
    perSecond: 50_000,
    burst: 2_000,
    policy: "close",
  });
  assertStrictEquals(resolveMessageRate(false), undefined);
  assertStrictEquals(resolveMessageRate({ perSecond: Infinity }), undefined);
});

Deno.test("messageRate rejects invalid values", () => {
  const cases: [object, string][] = [
    [{ perSecond: -1 }, '"messageRate.perSecond" unless it is 0 or more'],
    [{ perSecond: 1, burst: 0.5 }, '"messageRate.burst" unless it is 1'],
    [{ perSecond: 1, policy: "ignore" }, '"messageRate.policy" unless it'],
  ];
  for (const [messageRate, message] of cases) {
    const options: object = { messageRate };
    assertThrows(() => new ServerSocket(options), RangeError, message);
  }
  new ServerSocket({ messageRate: { perSecond: 0.1 } }); // bursts of one
});

/** What a raw peer hears in the end, of a server with such options. */
async function fate(
  options: ConstructorParameters<typeof ServerSocket>[0],
  ...frames: Uint8Array[]
): Promise<{ heard: number; end: string; peer: string }> {
  await using server = new ServerSocket({ closeTimeout: 5_000, ...options });
  let heard = 0;
  server.on("message", () => heard++);
  const ended = Promise.withResolvers<string>();
  for (const type of ["close", "disconnect"] as const) {
    server.on(type, (_client, code, _reason, cause) => {
      ended.resolve(`${type} ${code} ${cause}`);
    });
  }
  await server.listen("127.0.0.1", 0);
  using peer = await RawPeer.open(server.port);
  await peer.write(...frames);
  const told = await peer.end();
  await peer.write(frame(8, [3, 241])); // answers
  return { heard, end: await ended.promise, peer: told };
}

Deno.test({
  name: "maxPayload closes a real peer with 1009",
  ignore,
  fn: async () => {
    const reason = "A message may have at most 100 bytes";
    const ended = { heard: 1, end: "close 1009 limit", peer: `1009 ${reason}` };
    const options = { maxPayload: 100 };
    const fits = frame(2, new Uint8Array(100));
    const larger = frame(2, new Uint8Array(101));
    assertEquals(await fate(options, fits, larger), ended);
    // In the midst of a burst, and in parts of which each would fit.
    const burst = Array.from({ length: 50 }, () => larger);
    assertEquals(await fate(options, fits, ...burst), ended);
    const first = frame(1, "x".repeat(60), { fin: false });
    const last = frame(0, "x".repeat(60));
    assertEquals(await fate(options, fits, first, last), ended);
  },
});

/** A server that sends a client what it is given, and how the client's connection ends. */
async function sendToClient(
  maxPayload: number | undefined,
  frames: readonly Uint8Array[],
): Promise<{ heard: number; end: unknown; answer: string }> {
  await using server = new RawServer();
  const client = new ClientSocket({
    reconnect: true,
    ...maxPayload !== undefined && { maxPayload },
  });
  let heard = -1; // its greeting
  client.on("message", () => heard++);
  const ended = client.waitFor("end");
  await client.connect(server.url("ignore"));
  for (const one of frames) await server.write(one);
  const [{ type, code, cause }] = await ended;
  await client.close();
  const answer = await server.closed.promise;
  return { heard, end: `${type} ${code} ${cause}`, answer };
}

Deno.test({
  name: "ClientOptions.maxPayload closes a server of another library with 4009",
  ignore,
  fn: async () => {
    const whole = (size: number) =>
      frame(2, new Uint8Array(size), { masked: false });
    const fragments = (...sizes: number[]) =>
      sizes.map((size, i) =>
        frame(i === 0 ? 1 : 0, "x".repeat(size), {
          fin: i === sizes.length - 1,
          masked: false,
        })
      );
    const bye = frame(8, [3, 232], { masked: false });
    const reason = "A message may have at most 100 bytes";
    const fits = { heard: 1, end: "close 1000 peer", answer: "1000 " };
    const larger = {
      heard: 0,
      end: "close 4009 limit",
      answer: `4009 ${reason}`,
    };
    assertEquals(await sendToClient(100, [whole(100), bye]), fits);
    assertEquals(await sendToClient(100, [...fragments(60, 40), bye]), fits);
    assertEquals(await sendToClient(100, [whole(101), whole(1)]), larger);
    assertEquals(await sendToClient(100, fragments(60, 41)), larger);
    const flood = Array.from({ length: 20 }, () => whole(60_000));
    assertEquals((await sendToClient(100, flood)).end, "close 4009 limit");
    const large = Array<number>(32).fill(65_535);
    assertEquals(
      await sendToClient(undefined, [...fragments(...large), bye]),
      fits,
    );
  },
});

Deno.test({
  name: "maxPayload is 1 MiB by default",
  ignore,
  fn: async () => {
    /** One message, in a frame for each of its parts. */
    const message = (...parts: number[]) =>
      parts.map((size, i) => {
        const fin = i === parts.length - 1;
        return frame(i === 0 ? 2 : 0, new Uint8Array(size), { fin });
      });
    const mebibyte = Array<number>(32).fill(32_768);
    const { heard, peer } = await fate(
      {},
      ...message(...mebibyte),
      ...message(1, ...mebibyte),
    );
    assertEquals([heard, peer], [
      1,
      "1009 A message may have at most 1048576 bytes",
    ]);
  },
});

Deno.test({
  name: "maxPayload limits fragmented messages",
  ignore,
  fn: async () => {
    // The runtime refuses one frame of 64 MiB, but puts together any number of
    // small ones, in memory, before it tells of them: a Deno that does not would
    // end this as it ends the large frame.
    const more = frame(0, new Uint8Array(65_535), { fin: false });
    const { heard, end } = await fate(
      {},
      frame(2, [], { fin: false }),
      ...Array<typeof more>(1_100).fill(more),
      frame(0, []),
    );
    assertEquals([heard, end], [0, "close 1009 limit"]);
  },
});

Deno.test({
  name: "messageRate closes a real peer with 1008",
  ignore,
  fn: async () => {
    const messageRate = { perSecond: 1e-6, burst: 5 };
    const flood = Array.from({ length: 200 }, () => frame(1, "x"));
    const { heard, end, peer } = await fate({ messageRate }, ...flood);
    assertEquals([heard, end], [5, "close 1008 limit"]);
    assertMatch(peer, /^1008 At most/);
  },
});

Deno.test({
  name: "ServerSocket terminates a peer that floods it with pongs",
  ignore,
  fn: async () => {
    await using server = new ServerSocket();
    const ended = server.waitFor("disconnect");
    await server.listen("127.0.0.1", 0);
    using peer = await RawPeer.open(server.port);
    // As a heartbeat they are in order (RFC 6455, 5.5.3).
    await peer.write(frame(10), frame(1, "x"));
    const pong = frame(10);
    const pongs = new Uint8Array(pong.length * 1_000);
    for (let i = 0; i < 1_000; i++) pongs.set(pong, i * pong.length);
    while (await peer.write(pongs));
    const [_client, code, _reason, cause] = await ended;
    assertEquals([code, cause], [1006, "limit"]);
  },
});
