/**
 * Peers over bare TCP: those that break the protocol, fall silent, or vanish
 * half way. Each `connect` has its one end, and the server serves on.
 */

import { assertEquals, assertMatch, assertStrictEquals } from "@std/assert";
import { deadline } from "@std/async";
import { ClientSocket } from "../../client.ts";
import { ServerSocket } from "../../server.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { lacksPermission } from "../support/permissions.ts";
import {
  closeFrame,
  frame,
  HANDSHAKE,
  RawPeer,
  request,
} from "../support/raw_peer.ts";

const ignore = await lacksPermission("net");

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore, fn });
}

/** What the runtime itself has under way to a peer that does not read ends later. */
function stalledTest(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore, fn, sanitizeOps: false });
}

/** A server that listens, and the ends that it has told. */
async function listening(
  ...options: ConstructorParameters<typeof ServerSocket>
) {
  const server = new ServerSocket(...options);
  const ends: string[] = [];
  for (const type of ["close", "disconnect"] as const) {
    server.on(type, (_, code, reason, cause) => {
      ends.push(`${type} ${code} "${reason}" ${cause}`);
    });
  }
  await server.listen("127.0.0.1", 0);
  return {
    server,
    ends,
    async [Symbol.asyncDispose]() {
      await server.close();
    },
  };
}

/** The next end of either kind. */
function nextEnd(server: ServerSocket): Promise<unknown> {
  return deadline(
    Promise.race([server.waitFor("close"), server.waitFor("disconnect")]),
    60_000,
  );
}

const BROKEN: [string, Uint8Array[], string, string][] = [
  ["text that is no UTF-8", [frame(1, [0xff, 0xfe])], "EOF", "protocol"],
  [
    "text that ends within a character",
    [frame(1, [0xe2, 0x82])],
    "EOF",
    "protocol",
  ],
  ["a reserved bit", [frame(1, "x", { rsv: 0x40 })], "EOF", "protocol"],
  ["an unknown data opcode", [frame(3, "x")], "EOF", "protocol"],
  ["an unknown control opcode", [frame(11, "x")], "EOF", "protocol"],
  ["a ping of 126 bytes", [frame(9, "x".repeat(126))], "EOF", "protocol"],
  ["a ping in fragments", [frame(9, "x", { fin: false })], "EOF", "protocol"],
  ["a continuation of nothing", [frame(0, "x")], "EOF", "protocol"],
  [
    "a new message within another",
    [frame(1, "x", { fin: false }), frame(1, "y")],
    "EOF",
    "protocol",
  ],
  [
    "a frame of 64 MiB",
    [Uint8Array.from([0x82, 0xff, 0, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 4])],
    "EOF",
    "limit",
  ],
  ["the close code 1005", [closeFrame(1005)], "1002 ", "protocol"],
  ["the close code 999", [closeFrame(999)], "1002 ", "protocol"],
  ["a close frame of one byte", [frame(8, [3])], "EOF", "protocol"],
  [
    "a close reason that is no UTF-8",
    [frame(8, [3, 232, 0xff, 0xfe])],
    "EOF",
    "protocol",
  ],
];

for (const [what, frames, seen, cause] of BROKEN) {
  test(`raw peer: ${what} is a disconnect by ${cause}`, async () => {
    await using context = await listening();
    const { server, ends } = context;
    const end = nextEnd(server);
    using peer = await RawPeer.open(server.port);
    await peer.write(...frames);
    assertStrictEquals(await peer.end(), seen);
    await end;
    assertEquals(ends, [`disconnect 1006 "" ${cause}`]);
  });
}

const GONE: [string, Uint8Array[]][] = [
  ["TCP ends at once", []],
  ["TCP ends after a message", [frame(1, "x")]],
  ["TCP ends within a frame's head", [Uint8Array.from([0x82])]],
  ["TCP ends within a frame", [frame(1, "x".repeat(100)).subarray(0, 50)]],
  ["TCP ends within a message", [frame(1, "x", { fin: false })]],
];

for (const [what, frames] of GONE) {
  test(`raw peer: ${what}, which is a disconnect`, async () => {
    await using context = await listening();
    const { server, ends } = context;
    const end = nextEnd(server);
    const peer = await RawPeer.open(server.port);
    await peer.write(...frames);
    peer.close();
    await end;
    assertEquals(ends, ['disconnect 1006 "" network']);
  });
}

test("raw peer: half of TCP is closed, which is a disconnect", async () => {
  await using context = await listening();
  const { server, ends } = context;
  const end = nextEnd(server);
  using peer = await RawPeer.open(server.port);
  await peer.tcp.closeWrite();
  await end;
  assertStrictEquals(await peer.end(), "EOF");
  assertEquals(ends, ['disconnect 1006 "" network']);
});

const CLOSES: [number | undefined, string, string][] = [
  [1000, "", 'close 1000 "" peer'],
  [4001, "bye", 'close 4001 "bye" peer'],
  [1011, "oops", 'close 1011 "oops" peer'],
  [undefined, "", 'close 1005 "" peer'],
];

for (const [code, reason, told] of CLOSES) {
  test(`raw peer: a close frame with ${code} "${reason}" is echoed`, async () => {
    await using context = await listening();
    const { server, ends } = context;
    const end = nextEnd(server);
    using peer = await RawPeer.open(server.port);
    await peer.write(closeFrame(code, reason));
    assertStrictEquals(
      await peer.end(),
      code === undefined ? "none " : `${code} ${reason}`,
    );
    await end;
    assertEquals(ends, [told]);
  });
}

test("raw peer: answers a close with another code, and the server's counts", async () => {
  await using context = await listening();
  const { server, ends } = context;
  server.on("connect", (client) => client.close(4000, "bye"));
  using peer = await RawPeer.open(server.port);
  assertStrictEquals(await peer.end(), "4000 bye");
  const end = nextEnd(server);
  await peer.write(closeFrame(1000));
  await end;
  assertEquals(ends, ['close 4000 "bye" local']);
});

test("raw peer: sends messages and then answers a close, which is a close", async () => {
  await using context = await listening();
  const { server, ends } = context;
  server.on("message", (message) => message.author.close(4000, "bye"));
  using peer = await RawPeer.open(server.port);
  const messages = Array.from({ length: 1_000 }, () => frame(1, "x"));
  await peer.write(...messages);
  assertStrictEquals(await peer.end(), "4000 bye");
  const end = nextEnd(server);
  await peer.write(...messages, closeFrame(4000, "bye"));
  await end;
  assertEquals(ends, ['close 4000 "bye" local']);
});

test("raw peer: had closed when the server closes, and its code counts", async () => {
  for (const code of [4001, undefined]) {
    await using context = await listening();
    const { server, ends } = context;
    server.on("message", (message) => message.author.close(4000, "late"));
    const end = nextEnd(server);
    using peer = await RawPeer.open(server.port);
    // Both in one segment: the runtime has the close when it tells the message.
    const both = [...frame(1, "x"), ...closeFrame(code)];
    await peer.write(Uint8Array.from(both));
    const seen = await peer.end();
    await end;
    // Which of the two is first is the runtime's choice, but both sides agree.
    assertEquals(
      [seen, ...ends],
      seen === "4000 late"
        ? [seen, 'close 4000 "late" local']
        : code === undefined
        ? ["none ", 'close 1005 "" peer']
        : ["4001 ", 'close 4001 "" peer'],
    );
  }
});

test("raw peer: never answers a close, and is cut off", async () => {
  await using context = await listening({ closeTimeout: 50 });
  const { server, ends } = context;
  server.on("connect", (client) => client.close(4000));
  const end = nextEnd(server);
  using peer = await RawPeer.open(server.port);
  await end;
  assertEquals(ends, ['disconnect 1006 "" timeout']);
  assertStrictEquals(await peer.end(), "4000 ");
  assertStrictEquals(await peer.end(), "EOF"); // TCP is gone, too
});

test("raw peer: vanishes instead of answering a close", async () => {
  await using context = await listening();
  const { server, ends } = context;
  server.on("connect", (client) => client.close(4000));
  const peer = await RawPeer.open(server.port);
  assertStrictEquals(await peer.end(), "4000 ");
  const end = nextEnd(server);
  peer.close();
  await end;
  assertEquals(ends, ['disconnect 1006 "" network']);
});

test("raw peer: answers no ping, and is lost once", async () => {
  await using context = await listening({ idleTimeout: 100 });
  const { server, ends } = context;
  const end = nextEnd(server);
  using peer = await RawPeer.open(server.port);
  assertStrictEquals((await peer.receive())?.opcode, 9);
  await end;
  assertMatch(await peer.end(), /^1001 /); // the runtime's parting word
  assertStrictEquals(await peer.end(), "EOF");
  assertEquals(ends, ['disconnect 1006 "" timeout']);
});

test("raw peer: answers pings, and is kept", async () => {
  await using context = await listening({ idleTimeout: 600 });
  const { server, ends } = context;
  using peer = await RawPeer.open(server.port);
  for (let i = 0; i < 3; i++) {
    assertStrictEquals((await peer.receive())?.opcode, 9);
    await peer.write(frame(10));
  }
  assertEquals(ends, []);
  const end = nextEnd(server);
  await peer.write(closeFrame(1000));
  await end;
  assertEquals(ends, ['close 1000 "" peer']);
});

stalledTest(
  "raw peer: does not read what it gets, and is cut off when closed",
  async () => {
    await using context = await listening({
      closeTimeout: 50,
      maxBufferedAmount: Infinity,
    });
    const { server, ends } = context;
    const connect = server.waitFor("connect");
    using _peer = await RawPeer.open(server.port);
    const [client] = await connect;
    const data = new Uint8Array(1024 * 1024);
    let waiting: Promise<void> = Promise.resolve();
    // Until loopback's own buffers are full, and a little more.
    for (let i = 0; i < 64; i++) waiting = client.send(data);
    const rejected = waiting.then(() => "sent", (error) => error.name);
    const end = nextEnd(server);
    await client.close(4000);
    await end;
    assertEquals(ends, ['disconnect 1006 "" timeout']);
    assertStrictEquals(await rejected, "ConnectionEndedError");
  },
);

stalledTest(
  "raw peer: does not read what it gets, and does not hold up a shutdown",
  async () => {
    const { server, ends } = await listening({
      closeTimeout: 50,
      maxBufferedAmount: Infinity,
    });
    const connect = server.waitFor("connect");
    using _peer = await RawPeer.open(server.port);
    const [client] = await connect;
    for (let i = 0; i < 64; i++) client.send(new Uint8Array(1024 * 1024));
    await server.close();
    assertEquals(ends, ['disconnect 1006 "" timeout']);
  },
);

test("raw peer: is let go by terminate()", async () => {
  await using context = await listening();
  const { server, ends } = context;
  server.on("connect", (client) => client.terminate());
  using peer = await RawPeer.open(server.port);
  assertStrictEquals(await peer.end(), "EOF");
  assertEquals(ends, ['disconnect 1006 "" local']);
});

const REFUSED: [string, string, string, string][] = [
  ["a plain GET", request({ Host: "x" }), "426", "upgrade: websocket"],
  [
    "a POST",
    request({ Host: "x", "Content-Length": "0" }, "POST / HTTP/1.1"),
    "426",
    "upgrade: websocket",
  ],
  [
    "no Connection",
    request({ ...HANDSHAKE, Connection: undefined }),
    "400",
    "",
  ],
  [
    "version 8",
    request({ ...HANDSHAKE, "Sec-WebSocket-Version": "8" }),
    "426",
    "sec-websocket-version: 13",
  ],
  [
    "no version",
    request({ ...HANDSHAKE, "Sec-WebSocket-Version": undefined }),
    "426",
    "sec-websocket-version: 13",
  ],
  [
    "a key of 15 bytes",
    request({ ...HANDSHAKE, "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAA" }),
    "400",
    "",
  ],
  [
    "no key",
    request({ ...HANDSHAKE, "Sec-WebSocket-Key": undefined }),
    "400",
    "",
  ],
  ["no host", request({ ...HANDSHAKE, Host: undefined }), "400", ""],
  ["a host that is none", request({ ...HANDSHAKE, Host: "a b<>" }), "400", ""],
  [
    "two protocols to upgrade to",
    request({ ...HANDSHAKE, Upgrade: "h2c, websocket" }),
    "400",
    "",
  ],
];

test("raw peer: who does not ask properly gets an HTTP answer", async () => {
  await using context = await listening();
  const { server } = context;
  const seen: string[] = [];
  server.on("connect", () => seen.push("connect"));
  server.on("error", (error) => seen.push(String(error)));
  for (const [what, text, status, header] of REFUSED) {
    using peer = await RawPeer.connect(server.port);
    await peer.write(text);
    const head = (await peer.head()).toLowerCase();
    assertStrictEquals(head.split(" ")[1], status, what);
    if (!head.includes(header)) throw new Error(`${what}: ${head}`);
  }
  assertEquals(seen, []);
});

test("raw peer: 200 that misbehave differently leave a server that serves", async () => {
  const seed = 20_261_123;
  const seeded = new SeededRandom(seed);
  const next = () => seeded.next();
  const pick = <T>(list: readonly T[]) => seeded.pick(list);
  const noise = (size: number) => seeded.bytes(size);
  const broken = BROKEN.flatMap(([, frames]) => frames);
  /** One act of a peer. */
  const acts: (() => Uint8Array)[] = [
    () => frame(1, "hello ".repeat(next() * 100)),
    () => frame(2, noise(next() * 1_000)),
    () => noise(1 + next() * 200),
    () => pick(broken),
    () => frame(Math.floor(next() * 16), noise(next() * 130)),
    () => frame(1, "x", { fin: false }),
    () => frame(0, "y", { fin: next() < 0.5 }),
    () => frame(9, noise(next() * 125)),
    () => frame(1, "unmasked", { masked: false }),
    () => closeFrame(pick([1000, 1001, 1005, 4000, 4999, 5000, 0])),
    () => pick(broken).slice(0, 1 + next() * 5),
  ];
  const handshakes = [
    request(HANDSHAKE),
    request(HANDSHAKE),
    request(HANDSHAKE),
    request(HANDSHAKE),
    ...REFUSED.map(([, text]) => text),
    request(HANDSHAKE).slice(0, 60),
    "\x16\x03\x01\x02",
    "GET",
  ];

  await using context = await listening({
    closeTimeout: 200,
    idleTimeout: 200,
  });
  const { server } = context;
  const open = new Map<string, number>();
  const problems: unknown[] = [];
  server.on("error", (...args) => problems.push(args));
  server.on("connect", (client) => {
    open.set(client.id, 0);
    if (next() < 0.1) client.close(4000, "no");
    if (next() < 0.1) client.terminate();
  });
  server.on("message", (message) => {
    message.reply(message.bytes);
    if (next() < 0.1) message.author.close(4002);
  });
  for (const type of ["close", "disconnect"] as const) {
    server.on(type, ({ id }) => open.set(id, (open.get(id) ?? 100) + 1));
  }

  await Promise.all(Array.from({ length: 200 }, async () => {
    using peer = await RawPeer.connect(server.port);
    const text = pick(handshakes);
    if (!await peer.write(text)) return;
    if (text.startsWith("GET / HTTP/1.1\r\n") && text.endsWith("\r\n\r\n")) {
      await peer.head();
    }
    for (let i = next() * 8; i > 0; i--) {
      if (!await peer.write(pick(acts)())) break;
    }
    const parting = next();
    // Who was not let in is not timed out either: HTTP waits for more.
    const isIn = text === request(HANDSHAKE);
    if (!isIn || parting < 0.3) await peer.tcp.closeWrite().catch(() => {});
    if (parting < 0.6) await peer.end(); // waits for the server to be fed up
  }));

  const client = new ClientSocket();
  await client.connect(server.url);
  await client.close();
  await server.close();
  assertEquals(problems, [], `seed ${seed}`);
  assertStrictEquals(server.clients.size, 0);
  const counts = new Set(open.values());
  assertEquals(counts, new Set([1]), `seed ${seed}`);
});
