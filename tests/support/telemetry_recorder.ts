/** The SDK of OpenTelemetry, with all that it is told kept in memory. */

import { context, metrics, propagation, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import {
  DataPointType,
  MeterProvider,
  type MetricData,
  MetricReader,
} from "@opentelemetry/sdk-metrics";
import {
  BasicTracerProvider,
  type ReadableSpan,
} from "@opentelemetry/sdk-trace-base";

class ManualReader extends MetricReader {
  protected override async onShutdown(): Promise<void> {}
  protected override async onForceFlush(): Promise<void> {}
}

/** What one point has come to: a sum, or what a histogram has. */
export type Value = number | { readonly count: number; readonly sum: number };

/** All that is told, registered for the process, until it is disposed of. */
export class TelemetryRecorder implements Disposable {
  readonly #reader = new ManualReader();
  #spans: ReadableSpan[] = [];
  #counts = new Map<string, number>();
  readonly #contexts = new AsyncLocalStorageContextManager().enable();

  /** @param isMetered Whether metrics are told from the beginning. */
  constructor(isMetered = true) {
    if (isMetered) this.meter();
    trace.setGlobalTracerProvider(
      new BasicTracerProvider({
        spanProcessors: [{
          onStart() {},
          onEnd: (span) => this.#spans.push(span),
          async forceFlush() {},
          async shutdown() {},
        }],
      }),
    );
    context.setGlobalContextManager(this.#contexts);
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  }

  /** From now on metrics are told. */
  meter(): void {
    metrics.setGlobalMeterProvider(
      new MeterProvider({ readers: [this.#reader] }),
    );
  }

  /** The spans that have ended, and are told once. */
  spans(): ReadableSpan[] {
    return this.#spans.splice(0);
  }

  /** All metrics. */
  async metrics(): Promise<MetricData[]> {
    const { resourceMetrics, errors } = await this.#reader.collect();
    if (errors.length > 0) throw errors[0];
    return resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics);
  }

  /** All points: by the name, and the values of the attributes in order of their names. */
  async points(): Promise<Record<string, Value>> {
    const points: Record<string, Value> = {};
    for (const metric of await this.metrics()) {
      for (const { attributes, value } of metric.dataPoints) {
        const sorted = Object.entries(attributes).sort(([a], [b]) =>
          a < b ? -1 : 1
        );
        const values = sorted.map(([, value]) => value).join(" ");
        const key = `${metric.descriptor.name} ${values}`.trim();
        if (typeof value === "number") points[key] = value;
        else if (metric.dataPointType === DataPointType.HISTOGRAM) {
          points[key] = { count: value.count, sum: value.sum ?? NaN };
        }
      }
    }
    return points;
  }

  /** What has become more or less since it was last asked; of histograms, how often. */
  async changes(): Promise<Record<string, number>> {
    const counts = new Map<string, number>();
    for (const [key, value] of Object.entries(await this.points())) {
      counts.set(key, typeof value === "number" ? value : value.count);
    }
    const changes: Record<string, number> = {};
    for (const [key, count] of counts) {
      const change = count - (this.#counts.get(key) ?? 0);
      if (change !== 0) changes[key] = change;
    }
    this.#counts = counts;
    return changes;
  }

  [Symbol.dispose](): void {
    metrics.disable();
    trace.disable();
    context.disable();
    propagation.disable();
  }
}
