/**
 * What it costs to pass messages on between servers, beside socket.io, and what a
 * second server brings. Linux only.
 *
 *     deno task bench:fleet [--quick] [--rounds n] [part of a workload's title]
 *
 * As in `bench/run.ts` each measurement has fresh servers and a fresh broker, the sides
 * come in random order in each round, and ratios are taken round by round. Without
 * `--quick` it writes what it has measured to `bench/fleet.json`.
 */

import { parseArgs } from "node:util";
import { brokers } from "../tests/support/brokers.ts";
import type { Program } from "../tests/support/program.ts";
import { findRuntime } from "../tests/support/runtimes.ts";
import {
  about,
  digits,
  keepParts,
  ratios,
  shown,
  shuffled,
  table,
  TOO_BUSY,
} from "./report.ts";
import {
  compileLoad,
  install,
  outputOf,
  pinned,
  runLoad,
  type Speech,
  type Stage,
  startServer,
} from "./sides.ts";
import { spreadOf } from "./workloads.ts";

/** By what servers are joined. */
type Kind = "none" | "redis" | "redis-streams" | "nats" | "broadcast-channel";

/** Servers that are measured. */
interface Side {
  readonly name: string;
  readonly library: "@ws/events" | "socket.io" | "bare Deno";
  readonly kind: Kind;
  readonly nodes: number;
  /** Whether clients speak `events.v1`. */
  readonly own?: boolean;
}

function side(
  library: Side["library"],
  kind: Kind,
  nodes: number,
  own = false,
): Side {
  const by = kind === "none" ? "" : `, ${kind}`;
  const speech = own ? ", events.v1" : "";
  const name = `${library}${by}, ${nodes} node${nodes > 1 ? "s" : ""}${speech}`;
  return { name, library, kind, nodes, own };
}

const OURS = side("@ws/events", "redis", 2);
const ALONE = side("@ws/events", "none", 1);
const THEIRS = side("socket.io", "redis", 2);
const THEIRS_ALONE = side("socket.io", "none", 1);
const NATS = side("@ws/events", "nats", 2);
const WORKERS = side("@ws/events", "broadcast-channel", 2);
const STREAMS = side("socket.io", "redis-streams", 2);
const OWN_ALONE = side("@ws/events", "none", 1, true);
const OWN = side("@ws/events", "redis", 2, true);
/** What the runtime and the client of Redis cost by themselves. */
const BARE = side("bare Deno", "redis", 2);
const BARE_ALONE = side("bare Deno", "none", 1);

interface Workload {
  readonly id: string;
  readonly title: string;
  readonly options: Readonly<Record<string, number>>;
  readonly sides: readonly Side[];
  /** Whether each server has a core of its own, which the load shares. */
  readonly isSpread?: boolean;
}

const JOINED = [OURS, NATS, WORKERS, THEIRS, STREAMS];

/** Where all servers send alike, so that none of them does more than another. */
const ALIKE = [
  ALONE,
  OURS,
  NATS,
  BARE_ALONE,
  BARE,
  THEIRS_ALONE,
  THEIRS,
];

const WORKLOADS: readonly Workload[] = [
  {
    id: "large-room",
    title: "one room of 1,000, 8 messages at once",
    options: { connections: 1_000, rooms: 1, depth: 8 },
    sides: [...JOINED, ALONE, THEIRS_ALONE, OWN_ALONE, OWN],
  },
  {
    id: "small-rooms",
    title: "100 rooms of 10, a message each at once",
    options: { connections: 1_000, rooms: 100 },
    sides: [
      ...JOINED,
      ALONE,
      THEIRS_ALONE,
      BARE,
      BARE_ALONE,
      side("@ws/events", "redis", 1),
      side("@ws/events", "redis", 4),
    ],
  },
  {
    id: "way",
    title: "the way of a message to a client of the other server",
    options: { connections: 2, rooms: 2, latency: 1 },
    sides: JOINED,
  },
  {
    id: "cores",
    title: "deliveries a second on one core and on two, 8 rooms of 125",
    options: { connections: 1_000, rooms: 8, depth: 32, lazy: 20 },
    sides: [ALONE, OURS, NATS, WORKERS, THEIRS_ALONE, THEIRS],
    isSpread: true,
  },
  {
    id: "alike-100",
    title: "both send: 10 rooms of 100",
    options: { connections: 1_000, rooms: 10, depth: 8, alike: 1 },
    sides: ALIKE,
  },
  {
    id: "alike-10",
    title: "both send: 100 rooms of 10",
    options: { connections: 1_000, rooms: 100, alike: 1 },
    sides: ALIKE,
  },
];

/** What one side has given for one workload, a value for each round. */
type Measured = Record<
  /** Microseconds of CPU of all servers, a delivery. */
  | "cost"
  /** The same of the server that has used most. */
  | "busiest"
  /** Microseconds of CPU of the broker, a message. */
  | "broker"
  /** Deliveries a second. */
  | "rate"
  /** Which part of a core the load has used. */
  | "busy"
  /** Microseconds until a client of the same server has a message, and of another. */
  | "near"
  | "nearP99"
  | "far"
  | "farP99",
  number[]
>;

/** All that was measured of a workload. */
type Sides = Record<string, Measured>;

/** Starts servers; where each of them is, and the processes that they are. */
async function startNodes(
  { library, kind, nodes }: Side,
  address: string,
  coreOf: (node: number) => string,
): Promise<{ programs: Program[]; ports: string[] }> {
  const script = library === "bare Deno" ? "node_bare.ts" : "node.ts";
  const runtime = library === "socket.io"
    ? [await findRuntime("node") ?? "node", "bench/servers/node_socket_io.mjs"]
    : [Deno.execPath(), "run", "-A", `bench/servers/${script}`];
  const command = [...runtime, kind, address];
  const isOne = kind === "broadcast-channel"; // a process with workers
  const programs = Array.from(
    { length: isOne ? 1 : nodes },
    (_, node) =>
      startServer(command, isOne ? `${coreOf(0)},${coreOf(1)}` : coreOf(node)),
  );
  const ports = await Promise.all(programs.map((one) => one.line("")));
  return { programs, ports };
}

/** Starts a broker; what it keeps, if anything, is not written to a disk. */
async function startBroker(kind: Kind, cores: string) {
  const broker = await brokers[kind === "redis-streams" ? "redis" : kind]?.();
  if (!broker || broker.pid === 0) return broker;
  const [program, ...args] = pinned(cores);
  if (program) outputOf(program, "-a", "-p", ...args, `${broker.pid}`);
  if (kind === "redis-streams") {
    const { port } = new URL(broker.address);
    using tcp = await Deno.connect({ hostname: "127.0.0.1", port: +port });
    const command = "CONFIG SET appendonly no\r\n";
    await tcp.write(new TextEncoder().encode(command));
    await tcp.read(new Uint8Array(100));
  }
  return broker;
}

function speechOf({ library, own }: Side): Speech {
  return library === "socket.io" ? library : own ? "events" : "plain";
}

/** Measures one side once. */
async function measure(
  { options, isSpread = false }: Workload,
  side: Side,
  times: Readonly<Record<string, number>>,
): Promise<Record<keyof Measured, number>> {
  const isAmongServers = isSpread && side.nodes > 1;
  const rest = isAmongServers ? "0,1" : "1";
  await using broker = await startBroker(side.kind, rest);
  const { programs, ports } = await startNodes(
    side,
    broker?.address ?? "",
    (node) => isAmongServers ? `${node % 2}` : "0",
  );
  try {
    const pids = programs.map(({ pid }) => pid);
    if (broker?.pid) pids.push(broker.pid);
    const [stage] = await runLoad("rooms", {
      ...times,
      ...options,
      speech: speechOf(side),
      ports: ports.join(),
      pids: pids.join(),
    }, rest);
    if (!stage) throw new Error("The load has measured nothing");
    return read(stage, side, (options.connections ?? 1) / (options.rooms ?? 1));
  } finally {
    for (const program of programs) await program[Symbol.asyncDispose]();
  }
}

/** One server of each library, which several are compared with. */
const ALONE_OF = {
  "@ws/events": ALONE,
  "socket.io": THEIRS_ALONE,
  "bare Deno": BARE_ALONE,
} as const;

/** How many connections there are when their memory is looked at. */
const CONNECTIONS = 10_000;

/** Measures what an idle connection takes: KiB of the server, and of the kernel. */
async function measureMemory(
  side: Side,
  warm: number,
): Promise<{ server: number; kernel: number }> {
  const { programs: [program], ports: [port = ""] } = await startNodes(
    side,
    "",
    () => "0",
  );
  if (!program) throw new Error("There is no server");
  await using server = program;
  const [stage] = await runLoad("idle", {
    port,
    pid: server.pid,
    speech: speechOf(side),
    connections: 250,
    others: CONNECTIONS,
    warm,
  }, "1");
  return { server: stage?.kib ?? NaN, kernel: stage?.kernel ?? NaN };
}

function read(
  stage: Stage,
  { nodes, kind }: Side,
  members: number,
): Record<keyof Measured, number> {
  const { units, seconds, processes = [] } = stage;
  const isOne = kind === "broadcast-channel";
  const servers = processes.slice(0, isOne ? 1 : nodes);
  const [broker] = processes.slice(servers.length);
  const cost = servers.reduce((sum, { cpu }) => sum + cpu, 0);
  const busiest = Math.max(
    ...servers.map(({ cpu, busiest }) => isOne ? busiest : cpu),
  );
  return {
    cost: cost * 1e6 / units,
    busiest: busiest * 1e6 / units,
    broker: (broker?.cpu ?? 0) * 1e6 / (units / members),
    rate: units / seconds,
    busy: stage.load / seconds,
    near: stage.median,
    nearP99: stage.p99,
    far: stage.otherMedian ?? 0,
    farP99: stage.otherP99 ?? 0,
  };
}

/** What a list adds to another, round by round. */
function added(to: readonly number[], by: readonly number[]): number[] {
  return by.map((value, i) => value - (to[i] ?? NaN));
}

/** What has been measured of a workload, as a table. */
function tableOf({ id, sides }: Workload, all: Sides): string {
  const isAlike = sides === ALIKE;
  const head = id === "way"
    ? [
      "us",
      "same, p50",
      "p99",
      "other, p50",
      "p99",
      "added, p50",
      "added, p99",
    ]
    : id === "cores"
    ? [
      "",
      "deliveries a second",
      "x one node",
      "cores that they had",
      "by the busiest server's CPU, x one node",
    ]
    : isAlike
    ? [
      "",
      "us of CPU a delivery, all servers",
      "the busiest server",
      "deliveries for a second of its CPU",
      "x one node",
    ]
    : [
      "us of CPU",
      "servers, a delivery",
      "x @ws/events",
      "busiest server",
      "broker, a message",
      "deliveries a second",
    ];
  const rows = sides.flatMap(({ name, library }) => {
    const one = all[name];
    if (one === undefined) return [];
    if (id === "way") {
      const { near, nearP99, far, farP99 } = one;
      return [[
        name,
        ...[near, nearP99, far, farP99].map((values) =>
          digits(spreadOf(values).median)
        ),
        shown(added(near, far)),
        shown(added(nearP99, farP99)),
      ]];
    }
    const alone = all[ALONE_OF[library].name];
    const rate = shown(one.rate);
    if (isAlike) {
      const capacity = one.busiest.map((cost) => 1e6 / cost);
      const gain = ratios(alone?.busiest, one.busiest);
      return [[
        name,
        ...[one.cost, one.busiest, capacity, gain].map(shown),
      ]];
    }
    if (id === "cores") {
      const gain = ratios(one.rate, alone?.rate);
      const byCpu = ratios(alone?.busiest, one.busiest);
      const cores = one.rate.map((rate, i) =>
        rate * (one.cost[i] ?? NaN) / 1e6
      );
      return [[name, rate, shown(gain), shown(cores), shown(byCpu)]];
    }
    const broker = spreadOf(one.broker).median;
    return [[
      name,
      shown(one.cost),
      shown(ratios(one.cost, all[OURS.name]?.cost)),
      shown(one.busiest),
      broker > 0 ? digits(broker) : "-",
      rate,
    ]];
  });
  return table([head, ...rows]);
}

/** Warns if the load was what limited a rate. */
function warn(all: Sides): void {
  for (const [name, { busy }] of Object.entries(all)) {
    const { median } = spreadOf(busy);
    const limit = median > TOO_BUSY ? ", so the load is the limit" : "";
    console.log(`  ${name}: load ${Math.round(median * 100)} % busy${limit}`);
  }
}

async function main(): Promise<void> {
  const { values, positionals: [part = ""] } = parseArgs({
    args: Deno.args,
    options: { quick: { type: "boolean" }, rounds: { type: "string" } },
    allowPositionals: true,
  });
  const quick = values.quick ?? false;
  const rounds = Number(values.rounds ?? (quick ? 1 : 5));
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new RangeError(`Cannot measure that often: ${values.rounds}`);
  }
  if (!compileLoad()) {
    console.error("There is no C compiler: apt-get install gcc libc6-dev");
    Deno.exit(1);
  }
  await install();
  const times = quick ? { warm: 0.1, seconds: 0.2 } : { warm: 0.7, seconds: 1 };
  const reports: Record<string, unknown> = {};
  for (const workload of WORKLOADS) {
    if (!workload.title.includes(part)) continue;
    const sides: Sides = {};
    for (let round = 0; round < rounds; round++) {
      for (const side of shuffled(workload.sides)) {
        const values = await measure(workload, side, times);
        const all = sides[side.name] ??= {
          cost: [],
          busiest: [],
          broker: [],
          rate: [],
          busy: [],
          near: [],
          nearP99: [],
          far: [],
          farP99: [],
        };
        for (const [name, list] of Object.entries(all)) {
          const value = new Map<string, number>(Object.entries(values)).get(
            name,
          );
          if (value !== undefined) list.push(value);
        }
      }
    }
    console.log(
      `\n${workload.title}: ${rounds} rounds, median (least to most)`,
    );
    console.log(tableOf(workload, sides));
    warn(sides);
    reports[workload.id] = {
      ...about("fleet", rounds),
      title: workload.title,
      sides,
    };
  }
  const memory = "memory of a connection among 10,000";
  if (memory.includes(part)) {
    const sides: Record<string, { server: number[]; kernel: number[] }> = {};
    for (let round = 0; round < rounds; round++) {
      for (const side of shuffled([ALONE, THEIRS_ALONE])) {
        const { server, kernel } = await measureMemory(side, times.warm);
        const one = sides[side.name] ??= { server: [], kernel: [] };
        one.server.push(server);
        one.kernel.push(kernel);
      }
    }
    console.log(`\n${memory}: ${rounds} rounds, median (least to most)`);
    console.log(table([
      ["KiB", "server", "kernel, a socket"],
      ...Object.entries(sides).map(([name, { server, kernel }]) => [
        name,
        shown(server),
        shown(kernel),
      ]),
    ]));
    reports["memory"] = { ...about("fleet", rounds), title: memory, sides };
  }
  if (!quick) keepParts("fleet.json", reports);
}

if (import.meta.main) {
  await main();
  Deno.exit();
}
