/**
 * Attacks on a server's memory. Prints for each of them what was offered, what the
 * server holds after it (after a garbage collection), and the documented bound. `rss` is a
 * figure only: V8 and the allocator keep what was freed for later.
 *
 *     deno run --allow-all trials/memory.ts [percent]
 */

import { delay } from "@std/async";
import type { ServerOptions } from "@ws/events/server";
import { HANDSHAKE, RawPeer, request } from "../tests/support/raw_peer.ts";
import { frame } from "../tests/support/raw_peer.ts";
import { argument, mib, Target, times, Verdict } from "./support.ts";
import type { Stats } from "./server.ts";

const PERCENT = argument(0, 100);
const isFull = PERCENT >= 100;
const MIB = 1024 * 1024;
/** What V8 keeps beside what is asked of it, in MiB: compiled code, for one. */
const GARBAGE = 8;

const verdict = new Verdict();

/** What an attack leaves in the server. */
interface Attack {
  readonly name: string;
  readonly options: ServerOptions;
  /** The documented bound in MiB. */
  readonly bound: number;
  /** Attacks; tells how many bytes it has offered. Peers end with the stack. */
  run(port: number, peers: DisposableStack): Promise<number>;
  /** What else has to be true. */
  check?(stats: Stats): void;
}

function scaled(count: number): number {
  return Math.ceil(count * PERCENT / 100);
}

/** A room's, or a path's, name that no other has. */
function name(i: number, length = 0): string {
  return `${i}-`.padEnd(length, "x");
}

/** Opens a connection, and does not read what comes. */
async function open(
  port: number,
  peers: DisposableStack,
  path: string,
  headers: Record<string, string> = {},
): Promise<number> {
  const peer = peers.use(await RawPeer.connect(port));
  const text = request({ ...HANDSHAKE, ...headers }, `GET ${path} HTTP/1.1`);
  await peer.write(text);
  await peer.head();
  return text.length;
}

/** One after the other sends messages into a room of its own, and leaves. */
async function churn(
  port: number,
  clients: number,
  messages: number,
  size: number,
  length: number,
): Promise<number> {
  const message = frame(1, "x".repeat(size));
  await times(clients, 4, async (i) => {
    using peer = await RawPeer.open(port, `/into/${name(i, length)}`);
    for (let j = 0; j < messages; j++) await peer.write(message);
    // They have been sent to the room once they have come back.
    for (let j = 0; j < messages; j++) await peer.receive();
  });
  return clients * messages * size;
}

const HISTORY = { maxBytes: 32 * MIB };

const ATTACKS: readonly Attack[] = [
  {
    name: "rooms that are left, with 100 messages of 60 KB each",
    options: { history: HISTORY },
    bound: 32,
    run: (port) => churn(port, scaled(60), 100, 60_000, 0),
  },
  {
    name: "rooms that are left, with names of 1,000 bytes and a small message",
    options: { history: HISTORY },
    bound: 32,
    run: (port) => churn(port, scaled(10_000), 1, 10, 1_000),
  },
  {
    name: "rooms with names of 8,000 bytes, which nobody may join",
    options: { history: HISTORY },
    bound: 1,
    async run(port) {
      const clients = scaled(500);
      await times(clients, 4, async (i) => {
        using _peer = await RawPeer.open(port, `/into/${name(i, 8_000)}`);
      });
      return clients * 8_000;
    },
  },
  ...["events.v1", undefined].flatMap((protocol): Attack[] =>
    [20_000, 0].map((size) => ({
      name: `200 clients that do not read, ${
        size === 0 ? "many small messages" : "messages of 20 KB"
      }, ${protocol ?? "plain"}`,
      options: {
        maxBufferedTotal: 64 * MIB,
        highWaterMark: 64 * 1024,
        maxBufferedAmount: MIB,
        overflow: "drop-newest",
        idleTimeout: 0,
      },
      bound: 64,
      async run(port, peers) {
        const clients = scaled(200);
        const count = size === 0 ? 4_096 : 400;
        await times(clients, 10, async () => {
          await open(port, peers, `/hoard/${count}/${size}`, {
            ...protocol !== undefined &&
              { "Sec-WebSocket-Protocol": protocol },
          });
        });
        await delay(isFull ? 5_000 : 500);
        return clients * count * Math.max(size, 1);
      },
    }))
  ),
  {
    name: "2,000 clients with 60 KB of headers",
    options: {},
    bound: scaled(2_000) * 16 / 1024,
    async run(port, peers) {
      const offered: number[] = [];
      await times(scaled(2_000), 4, async (i) => {
        offered.push(
          await open(port, peers, "/", {
            "X-Large": name(i, 60_000),
          }),
        );
      });
      return offered.reduce((sum, size) => sum + size, 0);
    },
    check: ({ clients }) =>
      verdict.claim("they are all connected", clients === scaled(2_000)),
  },
  {
    name: "2,000 clients with URLs of 8,000 characters",
    options: {},
    bound: scaled(2_000) * 32 / 1024,
    async run(port, peers) {
      const offered: number[] = [];
      await times(scaled(2_000), 4, async (i) => {
        offered.push(await open(port, peers, `/${name(i, 8_000)}`));
      });
      return offered.reduce((sum, size) => sum + size, 0);
    },
  },
  {
    name: "URLs of 60,000 characters, of clients that vanish",
    options: {},
    bound: 1,
    async run(port) {
      const offered: number[] = [];
      await times(scaled(2_000), 4, async (i) => {
        using peer = await RawPeer.connect(port);
        const text = request(HANDSHAKE, `GET /${name(i, 60_000)} HTTP/1.1`);
        offered.push(text.length);
        await peer.write(text);
        await peer.head();
      });
      return offered.reduce((sum, size) => sum + size, 0);
    },
    check: ({ refusals }) =>
      verdict.claim(
        "they are refused with 414",
        refusals[414] === scaled(2_000),
      ),
  },
  {
    name: "clients that are lost, one after the other, with long paths",
    options: {},
    bound: 100 * 32 / 1024,
    async run(port) {
      const offered: number[] = [];
      await times(scaled(5_000), 4, async (i) => {
        using peers = new DisposableStack();
        offered.push(await open(port, peers, `/${name(i, 8_000)}`));
      });
      return offered.reduce((sum, size) => sum + size, 0);
    },
  },
];

for (const { name, options, bound, run, check } of ATTACKS) {
  console.log(`memory: ${name}`);
  await using target = await Target.start(options);
  {
    // Compiles what is used, so that it is not taken for what the attack holds.
    using peers = new DisposableStack();
    await times(50, 4, async () => {
      await open(target.port, peers, "/into/warm");
    });
  }
  const before = await target.settled(({ clients }) => clients === 0);
  using peers = new DisposableStack();
  const offered = await run(target.port, peers);
  await delay(200);
  await target.stats(); // a second collection frees what the first has finalised
  const after = await target.stats();
  const held = after.heap + after.external - before.heap - before.external;
  verdict.note(
    "offered, held (heap and external), rss, bound",
    [offered / MIB, held, after.rss - before.rss, bound].map(mib).join(", "),
  );
  verdict.claim(
    `no more is held than the bound, and ${mib(GARBAGE)} for V8`,
    held < bound + GARBAGE,
  );
  check?.(after);
}
verdict.finish();
