/** What is measured: the workloads, the figures that each gives, and the goals. */

import { type SideName, SIDES, type Speech, type Stage } from "./sides.ts";

/** One figure of a workload. */
export interface Figure {
  readonly id: string;
  readonly title: string;
  readonly unit: string;
  readonly read: (stages: readonly Stage[]) => number;
  /** Which stage's rate stands beside it. */
  readonly stage: number;
}

export interface Workload {
  readonly mode: "echo" | "fanout" | "handshake" | "idle";
  readonly options: Readonly<Record<string, string | number>>;
  readonly sides: readonly SideName[];
  /** Variables of the environment of the servers, such as `NAME=value`. */
  readonly settings?: readonly string[];
  /** Measured once, for so many seconds of CPU; unless the run is a quick one. */
  readonly seconds?: number;
  /** Whether this library is spoken to by `events.v1`. */
  readonly own?: boolean;
  readonly figures: readonly Figure[];
}

/** What is to be reached: a figure of this library's beside another. */
export interface Goal {
  readonly figure: string;
  readonly against: SideName;
  /** The figure it is compared with, if not the same. */
  readonly other?: string;
  readonly atMost: number;
}

function cpu(id: string, title: string, per: string, stage = 0): Figure {
  const read = (stages: readonly Stage[]) => {
    const { server, units } = stages[stage] ?? { server: NaN, units: 1 };
    return server * 1e6 / units;
  };
  return { id, title, unit: `us of CPU a ${per}`, read, stage };
}

function time(id: string, title: string, which: "median" | "p99"): Figure {
  const read = ([stage]: readonly Stage[]) => stage?.[which] ?? NaN;
  return { id, title, unit: "us", read, stage: 0 };
}

function memory(id: string, title: string, stage: number): Figure {
  const read = (stages: readonly Stage[]) => stages[stage]?.kib ?? NaN;
  return { id, title, unit: "KiB a connection", read, stage };
}

/** What each connection takes beyond the first thousand, when all code is compiled. */
function memoryOfMore(
  id: string,
  title: string,
  from: number,
  to: number,
): Figure {
  const read = ([first, second]: readonly Stage[]) => {
    const sum = (stage: Stage | undefined) =>
      (stage?.kib ?? NaN) *
      (stage?.units ?? NaN);
    return (sum(second) - sum(first)) / (to - from);
  };
  return { id, title, unit: "KiB a connection", read, stage: 1 };
}

function faults(id: string, title: string): Figure {
  const read = ([stage]: readonly Stage[]) =>
    stage ? stage.faults / stage.units : NaN;
  return { id, title, unit: "a message", read, stage: 0 };
}

/** How much memory is left over from so many connections that are gone. */
function growth(id: string, title: string, units: number): Figure {
  const read = ([stage]: readonly Stage[]) => (stage?.kib ?? NaN) * units;
  return {
    id,
    title,
    unit: `KiB of ${units.toLocaleString("en")}`,
    read,
    stage: 0,
  };
}

/** Keeps the allocator from giving memory back that the next message needs again. */
const PINNED_MALLOC = [
  "MALLOC_MMAP_THRESHOLD_=1073741824",
  "MALLOC_TRIM_THRESHOLD_=4294967296",
  "MALLOC_TOP_PAD_=67108864",
];

const TWO = ["@ws/events", "bare Deno", "bare again"] as const;
const WITHOUT_PINGS = SIDES.filter((name) => name !== "bare, no pings");

export const WORKLOADS: readonly Workload[] = [
  {
    mode: "echo",
    options: { depth: 8 },
    sides: SIDES,
    figures: [cpu("echo", "echo of 64 bytes, plain", "message")],
  },
  {
    mode: "echo",
    options: { depth: 8 },
    sides: TWO,
    own: true,
    figures: [
      cpu("echo-bursts", "echo in bursts of 8, events.v1", "message"),
    ],
  },
  {
    mode: "echo",
    options: { depth: 1 },
    sides: TWO,
    own: true,
    figures: [cpu("echo-lone", "echo one at a time, events.v1", "message")],
  },
  {
    mode: "echo",
    options: { connections: 1, latency: 1 },
    sides: SIDES,
    own: true,
    figures: [
      time("trip-median", "round trip, median", "median"),
      time("trip-p99", "round trip, p99", "p99"),
    ],
  },
  {
    mode: "fanout",
    options: { connections: 1_000 },
    sides: SIDES,
    figures: [cpu("fanout", "fan-out to 1,000, plain", "delivery")],
  },
  {
    mode: "fanout",
    options: { connections: 1_000, depth: 8 },
    sides: TWO,
    own: true,
    figures: [
      cpu("fanout-bursts", "fan-out in bursts of 8, events.v1", "delivery"),
    ],
  },
  {
    mode: "handshake",
    options: { connections: 8 },
    sides: WITHOUT_PINGS,
    figures: [cpu("handshake", "handshake and close", "connection")],
  },
  {
    mode: "idle",
    options: { connections: 250, others: "1000,5000" },
    sides: WITHOUT_PINGS,
    figures: [
      memory("idle-1000", "idle memory at 1,000", 0),
      memory("idle-5000", "idle memory at 5,000", 1),
      memoryOfMore("idle-more", "idle memory, 1,000 to 5,000", 1_000, 5_000),
    ],
  },
  {
    mode: "echo",
    options: { connections: 4, size: 2 ** 20 },
    sides: WITHOUT_PINGS,
    settings: PINNED_MALLOC,
    figures: [
      cpu("large", "echo of 1 MiB, binary", "message"),
      faults("large-faults", "page faults of an echo of 1 MiB"),
    ],
  },
  {
    mode: "echo",
    options: { depth: 8, others: "1000,10000" },
    sides: TWO,
    figures: [
      cpu("among-1000", "echo among 1,000 others", "message"),
      cpu("among-10000", "echo among 10,000 others", "message", 1),
    ],
  },
  {
    mode: "echo",
    options: { connections: 100, others: 9_900 },
    sides: TWO,
    figures: [cpu("few-busy", "echo of 1 % of 10,000, plain", "message")],
  },
  {
    mode: "echo",
    options: { depth: 8, path: "/rooms" },
    sides: ["@ws/events", "socket.io"],
    figures: [cpu("joins", "echo that joins or leaves a room", "message")],
  },
  {
    mode: "handshake",
    options: { connections: 8 },
    sides: ["@ws/events", "bare Deno", "ws"],
    seconds: 36,
    figures: [growth("churn", "memory after churn", 100_000)],
  },
  {
    mode: "echo",
    options: { depth: 8, requests: 1 },
    sides: ["@ws/events", "socket.io"],
    own: true,
    figures: [cpu("requests", "request and reply, 8 at once", "pair")],
  },
];

/** What a side is spoken to in. */
export function speechOf({ own }: Workload, side: SideName): Speech {
  if (side === "socket.io") return "socket.io";
  return own && side === "@ws/events" ? "events" : "plain";
}

/** As in the design of the library. */
export const GOALS: readonly Goal[] = [
  { figure: "echo", against: "bare Deno", atMost: 0.98 },
  { figure: "fanout", against: "bare Deno", atMost: 1.03 },
  { figure: "echo-bursts", against: "bare Deno", atMost: 0.18 },
  { figure: "fanout-bursts", against: "bare Deno", atMost: 0.18 },
  { figure: "echo-lone", against: "bare Deno", atMost: 1.02 },
  { figure: "trip-median", against: "bare Deno", atMost: 1.03 },
  { figure: "trip-p99", against: "bare Deno", atMost: 1.03 },
  { figure: "idle-more", against: "bare Deno", atMost: 1.05 },
  { figure: "handshake", against: "bare Deno", atMost: 1.08 },
  { figure: "large", against: "bare Deno", atMost: 1.03 },
  { figure: "few-busy", against: "bare Deno", atMost: 0.98 },
  // The cost does not grow, except by cache misses.
  {
    figure: "among-10000",
    against: "@ws/events",
    other: "among-1000",
    atMost: 1.1,
  },
  { figure: "requests", against: "socket.io", atMost: 0.18 },
];

/** What one side has given for one figure, a value for each round. */
export interface Measured {
  readonly values: number[];
  /** Units a second. */
  readonly rates: number[];
  /** Which part of its core the load has used. */
  readonly busy: number[];
  /** Which part of the time others had the server's core. */
  readonly waited: number[];
}

/** All that a run has measured. */
export interface Results {
  readonly date: string;
  readonly command: string;
  readonly machine: string;
  readonly loadAverage: readonly number[];
  readonly rounds: number;
  readonly versions: Partial<Record<SideName, string>>;
  /** By figure, then by side. */
  readonly figures: Record<string, Partial<Record<SideName, Measured>>>;
}

/** Middle, least and most. */
export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** Sums values up. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (index: number) => sorted[index] ?? NaN;
  const half = (sorted.length - 1) / 2;
  return {
    median: (at(Math.floor(half)) + at(Math.ceil(half))) / 2,
    least: at(0),
    most: at(sorted.length - 1),
  };
}
