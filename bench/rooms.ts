/**
 * Whether many rooms slow a message to one of them, and what a room takes, here and at
 * a broker. Linux only.
 *
 *     deno task bench:rooms [--quick] [--rounds n]
 *
 * Without `--quick` it writes what it has measured to `bench/fleet.json`.
 */

import { parseArgs } from "node:util";
import { brokers } from "../tests/support/brokers.ts";
import {
  about,
  digits,
  keepParts,
  ratios,
  shown,
  shuffled,
  table,
} from "./report.ts";
import type { Rooms } from "./servers/rooms.ts";
import { startServer } from "./sides.ts";
import { spreadOf } from "./workloads.ts";

const KINDS = ["none", "broadcast-channel", "redis", "nats"] as const;

/** What one side has given, a value for each round. */
type Measured = Record<
  | keyof Rooms
  /** Bytes of the broker's memory for a room. */
  | "broker"
  /** Milliseconds from when a broker is back until all rooms are subscribed to. */
  | "back",
  number[]
>;

/** The memory that a process holds, in bytes. */
function memoryOf(pid: number): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(/^VmRSS:\s*(\d+)/m.exec(status)?.[1]) * 1024;
}

async function measure(
  kind: string,
  rooms: number,
  milliseconds: number,
): Promise<Record<keyof Measured, number>> {
  await using broker = await brokers[kind]?.();
  const pid = broker?.pid ?? 0;
  const before = pid ? memoryOf(pid) : 0;
  await using server = startServer([
    ...[Deno.execPath(), "run", "-A", "--v8-flags=--expose-gc"],
    ...["bench/servers/rooms.ts", kind, `${rooms}`, `${milliseconds}`],
    broker?.address ?? "",
  ], "0");
  const found: Rooms = JSON.parse(`{${await server.line("{")}`);
  if (!broker || !pid) return { ...found, broker: 0, back: 0 };
  const memory = (memoryOf(pid) - before) / rooms;
  await broker.kill();
  await broker.start();
  const start = performance.now();
  await server.line("back");
  return { ...found, broker: memory, back: performance.now() - start };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    args: Deno.args,
    options: { quick: { type: "boolean" }, rounds: { type: "string" } },
  });
  const quick = values.quick ?? false;
  const rounds = Number(values.rounds ?? (quick ? 1 : 5));
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new RangeError(`Cannot measure that often: ${values.rounds}`);
  }
  const counts = quick ? [10, 1_000] : [10, 1_000, 100_000];
  const milliseconds = quick ? 100 : 1_000;
  const sides = KINDS.flatMap((kind) =>
    counts.map((count) => ({ kind, count }))
  );
  const all: Record<string, Measured> = {};
  const nameOf = (kind: string, count: number) => `${kind}, ${count} rooms`;
  for (let round = 0; round < rounds; round++) {
    for (const { kind, count } of shuffled(sides)) {
      const one = await measure(kind, count, milliseconds);
      const lists = all[nameOf(kind, count)] ??= {
        few: [],
        any: [],
        heap: [],
        joining: [],
        broker: [],
        back: [],
      };
      lists.few.push(one.few);
      lists.any.push(one.any);
      lists.heap.push(one.heap);
      lists.joining.push(one.joining);
      lists.broker.push(one.broker);
      lists.back.push(one.back);
    }
  }
  const median = (list: readonly number[] = []) => spreadOf(list).median;
  const rows = sides.map(({ kind, count }) => {
    const one = all[nameOf(kind, count)];
    const first = all[nameOf(kind, counts[0] ?? 0)];
    return [
      kind,
      count.toLocaleString("en"),
      digits(median(one?.few)),
      shown(ratios(one?.few, first?.few)),
      digits(median(one?.any)),
      shown(ratios(one?.any, first?.any)),
      digits(median(one?.heap)),
      digits(median(one?.joining)),
      ...[one?.broker, one?.back].map((list) =>
        median(list) > 0 ? digits(median(list)) : "-"
      ),
    ];
  });
  console.log(`many rooms of three: ${rounds} rounds, median (least to most)`);
  console.log(table([
    [
      "adapter",
      "rooms",
      "to the same ten, us",
      "x 10 rooms",
      "to any, us",
      "x 10 rooms",
      "heap, bytes a room",
      "joining, us a room",
      "broker, bytes a room",
      "back, ms",
    ],
    ...rows,
  ]));
  if (quick) return;
  const title = "many rooms of three";
  const report = { ...about("rooms", rounds), title, sides: all };
  keepParts("fleet.json", { rooms: report });
}

if (import.meta.main) {
  await main();
  Deno.exit();
}
