/**
 * Peers made by others, as processes of their own: npm `ws` and Python's
 * `websockets`, each as a client of our server and as a server of our client.
 */

import { assertEquals, assertStrictEquals } from "@std/assert";
import { deadline } from "@std/async";
import { ClientSocket } from "../../client.ts";
import {
  type Connection,
  type Message,
  type ServerOptions,
  ServerSocket,
} from "../../server.ts";
import { lacksPermission } from "../support/permissions.ts";
import { lackingOf } from "../support/programs.ts";
import { Program } from "../support/program.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";

const ignore = await lacksPermission("net", "run", "read");
const missing = await lackingOf({ "Python websockets": "python3-websockets" });

/** What a peer tells. */
interface Told {
  readonly on: "listening" | "open" | "text" | "binary" | "close";
  readonly port?: number;
  readonly protocol?: string;
  /** Not told by Python. */
  readonly extensions?: string;
  readonly text?: string;
  readonly hex?: string;
  readonly code?: number;
  readonly reason?: string;
}

/** How a peer is run. A part that is missing fails the test: see `.ci/run`. */
const PEERS: Record<string, (...args: string[]) => Program> = {
  "npm ws": (...args) =>
    new Program([
      "run",
      "--allow-net",
      "--allow-env",
      "--allow-read",
      "tests/support/npm_ws.js",
      ...args,
    ]),
  "Python websockets": (...args) =>
    new Program(["tests/support/python_websockets.py", ...args], {
      command: "/usr/bin/python3",
    }),
};

/** Our end, and the peer at the other. */
class Meeting implements AsyncDisposable {
  /** `close 4000 "bye" local`, as our socket has told it. */
  readonly ends: string[] = [];
  readonly #end = Promise.withResolvers<void>();

  constructor(
    readonly peer: Program,
    readonly socket: ServerSocket | ClientSocket,
    readonly connection: Connection,
  ) {
    for (const type of ["close", "disconnect"] as const) {
      connection.on(type, (code, reason, cause) => {
        this.ends.push(`${type} ${code} "${reason}" ${cause}`);
        this.#end.resolve();
      });
    }
  }

  /** The next thing that the peer tells. */
  async told(): Promise<Told> {
    return JSON.parse(await this.peer.line(""));
  }

  /** Has the peer do something. */
  async order(command: Record<string, unknown>): Promise<void> {
    await this.peer.write(JSON.stringify(command));
  }

  /** Waits for our end, and until nothing more can come. */
  async ended(): Promise<string[]> {
    await deadline(this.#end.promise, 60_000);
    await this.socket.close();
    return this.ends;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.peer[Symbol.asyncDispose]();
    await this.socket.close();
  }
}

interface Options {
  readonly closeTimeout?: number;
  /** The subprotocols of our end, and of the peer's. */
  readonly protocols?: [string[], string[]];
  /** What our end is told besides, as a server. */
  readonly server?: ServerOptions;
}

type Role = "server" | "client";

async function meet(name: string, role: Role, options: Options = {}) {
  const run = PEERS[name];
  if (!run) throw new Error(`There is no peer called ${name}`);
  const { closeTimeout = 10_000, protocols = [[], []] } = options;
  const [ours, theirs] = protocols;
  if (role === "server") {
    const server = new ServerSocket({
      closeTimeout,
      protocols: ours,
      ...options.server,
    });
    await server.listen("127.0.0.1", 0);
    const connect = server.waitFor("connect");
    const peer = run("client", server.url, ...theirs);
    const open: Told = JSON.parse(await peer.line(""));
    return { open, meeting: new Meeting(peer, server, (await connect)[0]) };
  }
  const peer = run("server", ...theirs);
  const { port }: Told = JSON.parse(await peer.line(""));
  const client = new ClientSocket({ closeTimeout, protocols: ours });
  const connect = client.waitFor("connect");
  await client.connect(`ws://127.0.0.1:${port}`);
  const open: Told = JSON.parse(await peer.line(""));
  return { open, meeting: new Meeting(peer, client, (await connect)[0]) };
}

function test(
  what: string,
  run: (meeting: Meeting, role: Role) => Promise<void>,
  { roles = ["server", "client"], peers = Object.keys(PEERS), ...options }:
    & Options
    & { roles?: Role[]; peers?: string[] } = {},
): void {
  for (const peer of peers) {
    for (const role of roles) {
      Deno.test({
        name: `${peer} and our ${role}: ${what}`,
        ignore: ignore || missing.has(peer),
        fn: async () => {
          const { meeting } = await meet(peer, role, options);
          await using _ = meeting;
          await run(meeting, role);
        },
      });
    }
  }
}

const MIB = 1024 * 1024;
const TEXTS = [
  "",
  "text",
  "{}",
  "[]",
  "\u{1f600} \u00e9 \0 \u2028",
  "\ufeffmarked",
  "x".repeat(MIB),
];
const BYTES = [[], [0, 1, 254, 255], Array<number>(MIB).fill(7)]
  .map((bytes) => Uint8Array.from(bytes));

test("send messages unchanged", async (meeting) => {
  const { connection } = meeting;
  for (const text of TEXTS) {
    await connection.send(text);
    assertEquals(await meeting.told(), { on: "text", text });
  }
  await connection.send({ status: "Okay", list: [1, null] });
  const text = '{"status":"Okay","list":[1,null]}';
  assertEquals(await meeting.told(), { on: "text", text });
  for (const bytes of BYTES) {
    await connection.send(bytes);
    assertEquals(await meeting.told(), { on: "binary", hex: bytes.toHex() });
  }
});

test("receive messages unchanged", async (meeting) => {
  const next = async (): Promise<Message> => {
    const [message] = await meeting.connection.waitFor("message", {
      timeout: 60_000,
    });
    return message;
  };
  for (const text of TEXTS) {
    const message = next();
    await meeting.order({ do: "send", text });
    const { content, isBinary } = await message;
    assertEquals([content, isBinary], [text, false]);
  }
  for (const bytes of BYTES) {
    const message = next();
    await meeting.order({ do: "send", hex: bytes.toHex() });
    const { data, isBinary } = await message;
    assertEquals([data, isBinary], [bytes, true]);
  }
});

test("keep the order of 1,000 messages, both ways", async (meeting) => {
  const numbers = Array.from(Array(1_000).keys());
  const come = meeting.connection.collect("message", { limit: 1_000 });
  for (const number of numbers) {
    meeting.connection.send(number);
    await meeting.order({ do: "send", text: `${number}` });
  }
  for (const number of numbers) {
    assertStrictEquals((await meeting.told()).text, `${number}`);
  }
  assertEquals((await come).map(([{ data }]) => data), numbers);
});

/** Of all codes, a client of ours may send those from here on only. */
const CODES: [number, string][] = [
  [1001, ""],
  [1011, "oops"],
  [1000, ""],
  [4000, ""],
  [4001, "bye"],
  [4999, "\u00e9".repeat(61) + "x"],
];

for (const [code, reason] of CODES) {
  test(
    `report our close with ${code} "${reason.slice(0, 9)}"`,
    async (meeting) => {
      await meeting.connection.close(code, reason);
      assertEquals(await meeting.told(), { on: "close", code, reason });
      assertEquals(await meeting.ended(), [`close ${code} "${reason}" local`]);
    },
    { roles: code < 3000 && code > 1000 ? ["server"] : ["server", "client"] },
  );

  test(`report the peer's close with ${code} "${reason.slice(0, 9)}"`, async (meeting) => {
    await meeting.order({ do: "close", code, reason });
    assertEquals(await meeting.told(), { on: "close", code, reason });
    assertEquals(await meeting.ended(), [`close ${code} "${reason}" peer`]);
  });
}

test("report a close without a code", async (meeting) => {
  await meeting.order({ do: "close" });
  assertEquals(await meeting.ended(), ['close 1005 "" peer']);
}, { peers: ["npm ws"] });

test("report the end of TCP as a loss", async (meeting) => {
  await meeting.order({ do: "terminate" });
  assertEquals(await meeting.ended(), ['disconnect 1006 "" network']);
});

test("report a killed process as a loss", async (meeting) => {
  meeting.peer.kill("SIGKILL");
  assertEquals(await meeting.ended(), ['disconnect 1006 "" network']);
});

test("report terminate() as a loss", async (meeting) => {
  meeting.connection.terminate();
  assertEquals(await meeting.ended(), ['disconnect 1006 "" local']);
  const { code, reason } = await meeting.told();
  assertEquals([code, reason], [1006, ""]);
});

test(
  "report a peer that never answers our close as a loss",
  async (meeting) => {
    meeting.peer.kill("SIGSTOP");
    await meeting.connection.close(4000);
    assertEquals(await meeting.ended(), ['disconnect 1006 "" timeout']);
  },
  { closeTimeout: 50 },
);

test("close in a message listener, in the middle of a burst", async (meeting) => {
  const { connection } = meeting;
  connection.once("message", () => connection.close(4000, "bye"));
  await meeting.order({ do: "send", text: "x".repeat(100), count: 2_000 });
  const { code, reason } = await meeting.told();
  assertEquals([code, reason], [4000, "bye"]);
  assertEquals(await meeting.ended(), ['close 4000 "bye" local']);
});

test("report a close in the middle of our burst", async (meeting) => {
  for (let i = 0; i < 2_000; i++) meeting.connection.send("x".repeat(100));
  await meeting.order({ do: "close", code: 4002, reason: "enough" });
  assertEquals(await meeting.ended(), ['close 4002 "enough" peer']);
});

for (const name of Object.keys(PEERS)) {
  for (const role of ["server", "client"] as const) {
    Deno.test({
      name: `${name} and our ${role}: agree on a subprotocol`,
      ignore: ignore || missing.has(name),
      fn: async () => {
        const { open, meeting } = await meet(name, role, {
          protocols: [["a", "b"], ["b"]],
        });
        await using _ = meeting;
        assertEquals([open.protocol, meeting.connection.protocol], ["b", "b"]);
        // npm `ws` offers compression, and connects without it.
        assertEquals(open.extensions ?? "", "");
      },
    });
  }
}

test("report the shutdown of our server", async (meeting) => {
  await meeting.socket.close();
  assertEquals(await meeting.told(), { on: "close", code: 1001, reason: "" });
  assertEquals(meeting.ends, ['close 1001 "" shutdown']);
}, { roles: ["server"] });

test("report 1009 for a message that is too large", async (meeting) => {
  await meeting.order({ do: "send", text: "x".repeat(100) });
  await meeting.order({ do: "send", text: "x".repeat(101), count: 50 });
  const reason = "A message may have at most 100 bytes";
  assertEquals(await meeting.told(), { on: "close", code: 1009, reason });
  assertEquals(await meeting.ended(), [`close 1009 "${reason}" limit`]);
}, { roles: ["server"], server: { maxPayload: 100 } });

test("report 1008 for a flood", async (meeting) => {
  await meeting.order({ do: "send", text: "x", count: 1_000 });
  const reason = "At most 1 messages a second may be sent";
  assertEquals(await meeting.told(), { on: "close", code: 1008, reason });
  assertEquals(await meeting.ended(), [`close 1008 "${reason}" limit`]);
}, { roles: ["server"], server: { messageRate: { perSecond: 1, burst: 9 } } });

test("report 1001 and when to reconnect", async (meeting) => {
  const { socket } = meeting;
  if (!(socket instanceof ServerSocket)) throw new Error("Not a server");
  await socket.shutdown({ reason: "deploy", retryAfter: 3_000 });
  const reason = "deploy; retry-after=3";
  assertEquals(await meeting.told(), { on: "close", code: 1001, reason });
  assertEquals(await meeting.ended(), [`close 1001 "${reason}" shutdown`]);
}, { roles: ["server"] });

test(
  "deliver all that was sent at once, above the high-water mark",
  async (meeting) => {
    const sent = [];
    for (let i = 0; i < 200; i++) {
      sent.push(meeting.connection.send(`${i} `.repeat(5_000)));
    }
    await Promise.all(sent);
    for (let i = 0; i < 200; i++) {
      const { text } = await meeting.told();
      assertStrictEquals(text, `${i} `.repeat(5_000));
    }
    await meeting.connection.close(4000);
    assertEquals(await meeting.ended(), ['close 4000 "" local']);
  },
  { server: { highWaterMark: 65_536 } },
);

for (const [name, run] of Object.entries(PEERS)) {
  Deno.test({
    name:
      `${name} and our client: reconnect to a killed server with what was sent meanwhile`,
    ignore: ignore || missing.has(name),
    fn: async () => {
      const started = async () => {
        const peer = run("server");
        const told = async (): Promise<Told> => JSON.parse(await peer.line(""));
        const { port = 0 } = await told();
        return { peer, told, port };
      };
      const first = await started();
      await using _first = first.peer;
      await using proxy = new TcpProxy(first.port);
      await using client = new ClientSocket({
        reconnect: { initialDelay: 20, maxDelay: 40 },
      });
      const ends: string[] = [];
      for (const type of ["close", "disconnect"] as const) {
        client.on(type, (code, _reason, cause) => {
          ends.push(`${type} ${code} ${cause}`);
        });
      }
      client.on("connect", (connection) => connection.send("hello"));
      await client.connect(proxy.url);
      await client.send("one");
      for (const text of [undefined, "hello", "one"]) {
        assertStrictEquals((await first.told()).text, text);
      }
      const lost = client.waitFor("disconnect");
      first.peer.kill("SIGKILL");
      await deadline(lost, 60_000);
      client.send("two");
      const second = await started();
      await using _second = second.peer;
      client.send("three");
      const back = client.waitFor("connect");
      proxy.target = second.port;
      await deadline(back, 60_000);
      client.send("four");
      for (const text of [undefined, "hello", "two", "three", "four"]) {
        assertStrictEquals((await second.told()).text, text);
      }
      await client.close(4001, "bye");
      const { on, code } = await second.told();
      assertEquals([on, code], ["close", 4001]);
      assertEquals(ends, ["disconnect 1006 network", "close 4001 local"]);
    },
  });
}
