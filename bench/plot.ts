/**
 * Draws what `bench/run.ts` has measured: `docs/performance.svg`. By itself, it
 * draws `bench/results.json`.
 */

import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { type SideName, SIDES } from "./sides.ts";
import { type Results, spreadOf } from "./workloads.ts";

/** One bar of a panel. */
interface Bar {
  readonly label: string;
  readonly side: SideName;
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** What a panel shows: a figure, and perhaps another of this library's. */
interface Panel {
  readonly title: string;
  readonly figure: string;
  /** This library's own by `events.v1`, and how its bar is called. */
  readonly own?: readonly [figure: string, label: string];
}

const PANELS: readonly Panel[] = [
  {
    title: "Echo of 64 bytes: microseconds of CPU a message",
    figure: "echo",
    own: ["echo-bursts", "@ws/events *"],
  },
  {
    title: "Fan-out to 1,000: microseconds of CPU a delivery",
    figure: "fanout",
    own: ["fanout-bursts", "@ws/events *"],
  },
  {
    title: "Handshake and close: microseconds of CPU a connection",
    figure: "handshake",
  },
  { title: "Idle memory at 5,000: KiB a connection", figure: "idle-5000" },
  { title: "Echo of 1 MiB: microseconds of CPU a message", figure: "large" },
  {
    title: "Request and reply, 8 at once: microseconds of CPU a pair",
    figure: "requests",
  },
];

/** Without the repetitions of the bare runtime. */
const SHOWN_SIDES = SIDES.filter((side) => !/^bare(?! Deno)/.test(side));

const WIDTH = 960;
const ROW = 26;
const OURS = "#1f6feb";
const BARE = "#57606a";
const OTHERS = "#afb8c1";
const FONT = "font-family:system-ui,sans-serif";

const page: object = parseHTML("<!doctype html><html></html>");
const document: unknown = Reflect.get(page, "document");

function barsOf(results: Results, { figure, own }: Panel): Bar[] {
  const bar = (id: string, side: SideName, label: string): Bar[] => {
    const measured = results.figures[id]?.[side];
    return measured ? [{ label, side, ...spreadOf(measured.values) }] : [];
  };
  return [
    ...(own ? bar(own[0], "@ws/events", own[1]) : []),
    ...SHOWN_SIDES.flatMap((side) => bar(figure, side, side)),
  ];
}

function colorOf({ side }: Bar): string {
  if (side === "@ws/events") return OURS;
  return side === "bare Deno" ? BARE : OTHERS;
}

function valueOf({ median }: Bar): string {
  return median >= 100
    ? Math.round(median).toLocaleString("en")
    : median.toFixed(median < 10 ? 2 : 1);
}

function heightOf(bars: readonly Bar[]): number {
  return 46 + bars.length * ROW;
}

/** One panel, as SVG. */
function panel(bars: readonly Bar[], x: number, y: number): string {
  const most = Math.max(...bars.map((bar) => bar.most));
  const drawn = Plot.plot({
    document,
    width: WIDTH / 2 - 20,
    height: heightOf(bars),
    marginLeft: 150,
    marginTop: 4,
    marginBottom: 28,
    style: { fontSize: "12px", background: "white", color: "#1f2328" },
    x: { domain: [0, most * 1.2], label: null, ticks: 5, grid: true },
    y: { domain: bars.map(({ label }) => label), label: null, tickSize: 0 },
    marks: [
      Plot.barX(bars, {
        x1: 0,
        x2: "median",
        y: "label",
        fill: colorOf,
        insetTop: 2,
        insetBottom: 2,
      }),
      Plot.ruleY(bars, { x1: "least", x2: "most", y: "label" }),
      Plot.text(bars, {
        x: "most",
        y: "label",
        text: valueOf,
        dx: 5,
        textAnchor: "start",
      }),
      Plot.ruleX([0]),
    ],
  });
  drawn.setAttribute("x", String(x));
  drawn.setAttribute("y", String(y));
  return drawn.outerHTML;
}

function text(x: number, y: number, size: number, content: string): string {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const weight = size > 12 ? 600 : 400;
  return `<text x="${x}" y="${y}" fill="#1f2328" style="${FONT};font-size:${size}px;font-weight:${weight}">${escaped}</text>`;
}

/** All panels, in two columns. */
function picture(results: Results): string {
  const parts: string[] = [
    text(16, 30, 18, "What a server costs: less is better"),
    text(
      16,
      50,
      12,
      `${results.date}, ${results.rounds} rounds: medians; the thin lines are the least and the most. ${results.machine}`,
    ),
  ];
  let y = 66;
  for (let i = 0; i < PANELS.length; i += 2) {
    let height = 0;
    for (const [column, one] of PANELS.slice(i, i + 2).entries()) {
      const bars = barsOf(results, one);
      if (bars.length === 0) continue;
      const x = 10 + column * WIDTH / 2;
      parts.push(text(x + 6, y + 18, 13, one.title));
      parts.push(panel(bars, x, y + 26));
      height = Math.max(height, heightOf(bars) + 40);
    }
    y += height;
  }
  const versions = SHOWN_SIDES.flatMap((side) => {
    const version = results.versions[side];
    return version === undefined ? [] : [`${side}: ${version}`];
  });
  const half = Math.ceil(versions.length / 2);
  const notes = [
    "* Bursts of 8 that travel in one frame, by events.v1; all others have the same 8 in flight as 8 frames.",
    versions.slice(0, half).join("; "),
    versions.slice(half).join("; "),
  ];
  for (const [i, note] of notes.entries()) {
    parts.push(text(16, y + 12 + i * 18, 12, note));
  }
  const height = y + 64;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}">
<rect width="${WIDTH}" height="${height}" fill="white"/>
${parts.join("\n")}
</svg>
`;
}

/** Writes the picture. */
export function drawPlots(results: Results): void {
  const place = new URL("../docs/performance.svg", import.meta.url);
  Deno.writeTextFileSync(place, picture(results));
  new Deno.Command(Deno.execPath(), { args: ["fmt", place.pathname] })
    .outputSync();
}

if (import.meta.main) {
  const file = new URL("results.json", import.meta.url);
  const results: Results = JSON.parse(Deno.readTextFileSync(file));
  drawPlots(results);
}
