/** What Deno's own exporter makes of what `instrument()` tells: real OTLP. */

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { deadline } from "@std/async";
import { lacksPermission } from "../support/permissions.ts";
import { lacksProgram } from "../support/programs.ts";
import { Program } from "../support/program.ts";

const ignore = await lacksPermission("net", "run", "read") ||
  await lacksProgram("sh");

/** What OTLP has of a value. */
interface Value {
  readonly stringValue?: string;
  readonly intValue?: string | number;
  readonly doubleValue?: number;
}

interface Attributed {
  readonly attributes: readonly { key: string; value: Value }[];
}

interface Point extends Attributed {
  readonly asInt?: string | number;
  readonly asDouble?: number;
  readonly count?: string | number;
  readonly sum?: number;
}

interface Metric {
  readonly name: string;
  readonly unit: string;
  readonly sum?: { dataPoints: Point[]; isMonotonic: boolean };
  readonly histogram?: { dataPoints: Point[] };
}

interface Span extends Attributed {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly links: readonly { traceId: string; spanId: string }[];
}

interface Scoped {
  readonly scope: { readonly name: string };
}

interface Body {
  readonly resourceMetrics?: {
    scopeMetrics: (Scoped & { metrics: Metric[] })[];
  }[];
  readonly resourceSpans?: { scopeSpans: (Scoped & { spans: Span[] })[] }[];
}

/** The kinds of spans, in OTLP. */
const SERVER = 2;
const CLIENT = 3;

/** A collector that keeps all that comes by OTLP/HTTP, as JSON. */
class Collector implements AsyncDisposable {
  readonly spans: (Span & { scope: string })[] = [];
  /** The last that was told of each metric of this library. */
  readonly metrics = new Map<string, Metric>();
  readonly #awaited = new Set<() => void>();
  readonly #server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    async (request) => {
      const body: Body = await request.json();
      for (const { scopeSpans } of body.resourceSpans ?? []) {
        for (const { scope, spans } of scopeSpans) {
          for (const span of spans) {
            this.spans.push({ ...span, scope: scope.name });
          }
        }
      }
      for (const { scopeMetrics } of body.resourceMetrics ?? []) {
        for (const { scope, metrics } of scopeMetrics) {
          if (scope.name !== "@ws/events") continue;
          for (const metric of metrics) this.metrics.set(metric.name, metric);
        }
      }
      for (const look of this.#awaited) look();
      return Response.json({});
    },
  );

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  /** The value of the points of a metric that have some attributes. */
  value(name: string, wanted: Record<string, string> = {}): number {
    const metric = this.metrics.get(name);
    const points = (metric?.sum ?? metric?.histogram)?.dataPoints ?? [];
    let value = 0;
    for (const point of points) {
      const all = attributesOf(point);
      const isWanted = Object.entries(wanted).every(([key, value]) =>
        all[key] === value
      );
      if (!isWanted) continue;
      value += Number(point.asInt ?? point.asDouble ?? point.count);
    }
    return value;
  }

  /** Waits until what has come is enough. */
  async until(isEnough: () => boolean): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = () => isEnough() && resolve();
    this.#awaited.add(look);
    look();
    await deadline(promise, 60_000);
    this.#awaited.delete(look);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

function attributesOf({ attributes }: Attributed): Record<string, string> {
  return Object.fromEntries(attributes.map(({ key, value }) => [
    key,
    String(value.stringValue ?? value.intValue ?? value.doubleValue),
  ]));
}

Deno.test({
  name:
    "instrument() under OTEL_DENO tells a collector of connections, ends, latencies, and a trace through both ends",
  ignore,
  fn: async () => {
    await using collector = new Collector();
    await using program = new Program([
      "OTEL_DENO=true",
      "OTEL_EXPORTER_OTLP_PROTOCOL=http/json",
      `OTEL_EXPORTER_OTLP_ENDPOINT=${collector.url}`,
      "OTEL_METRIC_EXPORT_INTERVAL=50",
      "OTEL_BSP_SCHEDULE_DELAY=50",
      Deno.execPath(),
      ...["run", "--allow-net", "examples/telemetry.ts"],
    ], { command: "env" });
    const url = new URL(await program.line("Connected to"));
    assertStrictEquals(await program.line("1 ="), "1");
    const ins = { "network.io.direction": "receive" };
    await collector.until(() =>
      collector.value("websocket.server.active_connections") === 1 &&
      collector.value("websocket.client.active_connections") === 1 &&
      collector.value("websocket.server.messages", ins) >= 1
    );
    program.kill("SIGINT");
    await program.line("Closed.");
    // Before it ends it exports all that was recorded, but does not look again.
    assertStrictEquals(await program.exit(), 0);
    for (const [side, cause] of [["server", "peer"], ["client", "local"]]) {
      const end = {
        "websocket.end.type": "close",
        "websocket.end.cause": `${cause}`,
        "url.scheme": "ws",
      };
      const code = { "websocket.close.code": "1000" };
      const ends = `websocket.${side}.ends`;
      const durations = `websocket.${side}.connection.duration`;
      assertStrictEquals(collector.value(ends, { ...end, ...code }), 1);
      assertStrictEquals(collector.value(durations, end), 1);
    }
    assert(collector.value("websocket.server.io", ins) >= 28);
    const method = { "rpc.method": "sum", "rpc.system.name": "events.v1" };
    for (const side of ["client", "server"]) {
      const name = `rpc.${side}.call.duration`;
      assert(collector.value(name, method) >= 1);
      assertStrictEquals(collector.metrics.get(name)?.unit, "s");
    }
    assertEquals(
      collector.value("rpc.client.call.duration", {
        "server.address": url.hostname,
        "server.port": url.port,
      }),
      collector.value("rpc.client.call.duration"),
    );

    const { spans } = collector;
    const own = spans.filter(({ scope }) => scope === "@ws/events");
    const asked = own.find(({ kind }) => kind === CLIENT);
    const handled = own.find((span) =>
      span.kind === SERVER && span.parentSpanId === asked?.spanId
    );
    assert(asked && handled);
    assertEquals([asked.name, handled.name], ["sum", "sum"]);
    assertStrictEquals(handled.traceId, asked.traceId);
    const upgrade = spans.find((span) =>
      span.kind === SERVER && span.scope !== "@ws/events"
    );
    assert(upgrade, "There is no span of Deno.serve's own");
    const connections = own.filter(({ name }) =>
      name === "websocket connection"
    );
    assertStrictEquals(connections.length, 2);
    const linked = [handled, ...connections].filter(({ links }) =>
      links.some(({ spanId }) => spanId === upgrade.spanId)
    );
    assertStrictEquals(linked.length, 2); // the server's; no client has an upgrade
    for (const span of own) {
      assert(span.traceId !== upgrade.traceId, "part of the upgrade");
    }
    for (const { startTimeUnixNano, endTimeUnixNano } of connections) {
      const life = Number(BigInt(endTimeUnixNano) - BigInt(startTimeUnixNano));
      assert(life > 0 && life < 60e9, `${life} ns`);
    }
  },
});
