/**
 * What `@ws/events/telemetry` costs, in CPU time of the server's process, beside the
 * library without it. Linux only.
 *
 *     deno task bench:otel [rounds]
 *
 * In each round the sides come in another order, each with a fresh server on core 0
 * and the load on core 1; ratios are taken round by round.
 */

import {
  canPin,
  compileLoad,
  load,
  type Side,
  type Speech,
  Target,
} from "./sides.ts";
import { spreadOf } from "./workloads.ts";

interface Work {
  readonly title: string;
  readonly speech: Speech;
  readonly options: Readonly<Record<string, number>>;
}

const WORKS: readonly Work[] = [
  { title: "echo of 64 bytes, plain", speech: "plain", options: {} },
  { title: "echo in bursts of 8, events.v1", speech: "events", options: {} },
  {
    title: "request and reply, 8 at once",
    speech: "events",
    options: { requests: 1 },
  },
];

// A collector that takes all, and looks at nothing.
await using collector = Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen() {} },
  async (request) => {
    await request.arrayBuffer();
    return new Response(null, {
      headers: { "Content-Type": "application/x-protobuf" },
    });
  },
);

const EXPORTING = [
  "env",
  "OTEL_DENO=true",
  `OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:${collector.addr.port}`,
  "OTEL_METRIC_EXPORT_INTERVAL=1000",
];

function side(script: string, ...before: string[]): Side {
  const command = [...before, Deno.execPath(), "run", "-A", script];
  return { name: "@ws/events", version: "", command };
}

const PLAIN = "without it";
const SIDES: ReadonlyMap<string, Side> = new Map([
  [PLAIN, side("ours.ts")],
  ["without it, the API loaded", side("api.ts")],
  ["with it, nothing registered", side("instrumented.ts")],
  ["with it, OTEL_DENO", side("instrumented.ts", ...EXPORTING)],
  [
    "the same, a hundredth of traces",
    side(
      "instrumented.ts",
      ...EXPORTING,
      "OTEL_TRACES_SAMPLER=parentbased_traceidratio",
      "OTEL_TRACES_SAMPLER_ARG=0.01",
    ),
  ],
]);

/** Microseconds of CPU a message. */
async function measure(side: Side, work: Work): Promise<number> {
  await using target = await Target.start(side);
  const { speech, options } = work;
  const times = { warm: 0.4, seconds: 0.8 };
  const all = { ...times, depth: 8, ...options, speech };
  const [stage] = await load(target, "echo", all);
  if (!stage) throw new Error("The load has measured nothing");
  return stage.server * 1e6 / stage.units;
}

if (!compileLoad()) throw new Error("Cannot measure without a C compiler");
if (!canPin) console.log("Nothing is pinned: the load may get in the way");
const rounds = Number(Deno.args[0] ?? 5);
for (const work of WORKS) {
  const measured = new Map<string, number[]>();
  for (let round = 0; round < rounds; round++) {
    const all = [...SIDES];
    const order = [...all.slice(round % all.length), ...all].slice(
      0,
      all.length,
    );
    for (const [name, side] of order) {
      const values = measured.get(name) ?? [];
      measured.set(name, [...values, await measure(side, work)]);
    }
  }
  const base = measured.get(PLAIN) ?? [];
  console.log(`\n${work.title}: us of CPU, and the ratio`);
  for (const name of SIDES.keys()) {
    const values = measured.get(name) ?? [];
    const { median } = spreadOf(values);
    const ratio = spreadOf(values.map((value, i) => value / (base[i] ?? NaN)));
    const [middle, least, most] = [ratio.median, ratio.least, ratio.most]
      .map((one) => one.toFixed(2));
    console.log(
      `  ${name.padEnd(33)} ${
        median.toFixed(2)
      }  ${middle} (${least} to ${most})`,
    );
  }
}
