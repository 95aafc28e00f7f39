/**
 * Spans and durations of requests.
 *
 * @module
 */

import {
  type Attributes,
  type Context,
  context,
  type Histogram,
  type Link,
  propagation,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
  type Tracer,
  type TracerProvider,
} from "@opentelemetry/api";
import { RequestError } from "../core/events/errors.ts";
import {
  BoundedValues,
  OTHER_VALUE,
  PerProvider,
  REQUEST_SECONDS_BOUNDS,
  SCOPE,
} from "./meters.ts";

/** What asks and answers is called so. */
const RPC_SYSTEM = "events.v1";

const methods = new BoundedValues<string>();
const types = new BoundedValues<string>();

const durations = new PerProvider((meter) => {
  const options = {
    unit: "s",
    advice: { explicitBucketBoundaries: REQUEST_SECONDS_BOUNDS },
  };
  return {
    client: meter.createHistogram("rpc.client.call.duration", {
      ...options,
      description: "How long it has taken to get an answer",
    }),
    server: meter.createHistogram("rpc.server.call.duration", {
      ...options,
      description: "How long a handler has taken to answer",
    }),
  };
});

/** The tracer of the provider that is registered. */
let cachedTracer:
  | { readonly provider: TracerProvider; readonly tracer: Tracer }
  | undefined;

/**
 * The tracer of the provider that is registered.
 *
 * @returns The tracer; undefined if there is no such provider.
 */
export function currentTracer(): Tracer | undefined {
  const provider = trace.getTracerProvider();
  if (cachedTracer?.provider === provider) return cachedTracer.tracer;
  const tracer = provider instanceof ProxyTracerProvider
    ? provider.getDelegateTracer(SCOPE)
    : provider.getTracer(SCOPE);
  if (tracer) cachedTracer = { provider, tracer };
  return tracer;
}

/**
 * What an error is called among attributes.
 *
 * @param error The error.
 * @returns The code of a {@linkcode RequestError}, or the name of any other one.
 */
export function errorType(error: unknown): string {
  const isRefusal = error instanceof RequestError && error.code;
  const name = isRefusal || (error instanceof Error ? error.name : OTHER_VALUE);
  return types.has(name) ? name : OTHER_VALUE;
}

/**
 * Acts with a context that is active meanwhile.
 *
 * @typeParam T What comes of it.
 * @param active The context.
 * @param action What to do. It is done once, also if there is no such thing as an
 * active context, or who manages it fails.
 * @returns What comes of it.
 * @throws {unknown} What the action throws.
 */
export function runInContext<T>(active: Context, action: () => T): T {
  let isBegun = false;
  let outcome: { readonly value: T } | undefined;
  try {
    return context.with(active, () => {
      isBegun = true;
      const value = action();
      outcome = { value };
      return value;
    });
  } catch (error) {
    if (outcome) return outcome.value;
    if (isBegun) throw error;
    return action();
  }
}

/** One request, from here or from the peer, until it has its answer. */
export class RequestSpan {
  readonly #side: "client" | "server";
  readonly #span: Span;
  readonly #context: Context;
  readonly #attributes: Attributes;
  readonly #histogram: Histogram;
  readonly #start = performance.now();

  private constructor(
    side: "client" | "server",
    kind: string | undefined,
    attributes: Attributes,
    more: Attributes,
    parent: Context,
    links: Link[],
  ) {
    const method = kind !== undefined && methods.has(kind) ? kind : OTHER_VALUE;
    this.#side = side;
    this.#attributes = {
      ...attributes,
      "rpc.system.name": RPC_SYSTEM,
      "rpc.method": method,
    };
    this.#histogram = durations.current[side];
    this.#span = (currentTracer() ?? trace.getTracer(SCOPE)).startSpan(
      method === OTHER_VALUE ? RPC_SYSTEM : method,
      {
        kind: side === "client" ? SpanKind.CLIENT : SpanKind.SERVER,
        attributes: {
          ...this.#attributes,
          ...more,
          "network.protocol.name": "websocket",
        },
        links,
      },
      parent,
    );
    this.#context = trace.setSpan(parent, this.#span);
  }

  /**
   * Begins a request from here, as part of what the program does.
   *
   * @param data What is asked.
   * @param attributes What is known of where to.
   * @returns The request; undefined if nobody hears of it.
   */
  static ask(data: unknown, attributes: Attributes): RequestSpan | undefined {
    if (!currentTracer() && !durations.isRecorded) return undefined;
    const parent = context.active();
    return new RequestSpan(
      "client",
      requestType(data),
      attributes,
      {},
      parent,
      [],
    );
  }

  /**
   * Begins to handle a request of the peer's.
   *
   * @param kind The kind that its handler is for.
   * @param text The trace that its sender says it is part of.
   * @param attributes What is known of its sender.
   * @param links What else it belongs to.
   * @returns The request; undefined if nobody hears of it.
   */
  static handle(
    kind: string | undefined,
    text: string | undefined,
    attributes: () => Attributes,
    links: Link[],
  ): RequestSpan | undefined {
    if (!currentTracer() && !durations.isRecorded) return undefined;
    const parent = text === undefined ? ROOT_CONTEXT : parseTrace(text);
    return new RequestSpan("server", kind, {}, attributes(), parent, links);
  }

  /** The trace that it is part of, to be told to the peer; undefined if there is none. */
  get trace(): string | undefined {
    const { traceparent, tracestate } = traceFields(this.#context);
    if (!traceparent) return undefined;
    return tracestate ? `${traceparent},${tracestate}` : traceparent;
  }

  /**
   * Acts as a part of it.
   *
   * @typeParam T What comes of it.
   * @param action What to do.
   * @returns What comes of it.
   */
  run<T>(action: () => T): T {
    return runInContext(this.#context, action);
  }

  /** It has its answer. */
  succeed(): void {
    this.#end();
  }

  /**
   * It has none.
   *
   * @param error Why.
   */
  fail(error: unknown): void {
    const span = this.#span;
    const isRefusal = error instanceof RequestError;
    const type = errorType(error);
    // A handler that says no has done its work.
    if (this.#side === "client" || !isRefusal) {
      const message = error instanceof Error ? error.message : String(error);
      span.setStatus({ code: SpanStatusCode.ERROR, message });
      if (error instanceof Error) span.recordException(error);
    }
    this.#end({
      "error.type": type,
      ...isRefusal && error.code !== undefined &&
        { "rpc.response.status_code": type },
    });
  }

  #end(more?: Attributes): void {
    const seconds = (performance.now() - this.#start) / 1_000;
    if (more) this.#span.setAttributes(more);
    this.#span.end();
    const attributes = more
      ? { ...this.#attributes, ...more }
      : this.#attributes;
    this.#histogram.record(seconds, attributes, this.#context);
  }
}

/** The kind of what is asked, which the program picks itself. */
function requestType(data: unknown): string | undefined {
  return typeof data === "object" && data !== null && "type" in data &&
      typeof data.type === "string"
    ? data.type
    : undefined;
}

/** What the propagator makes of a context; only what tells of a trace is sent. */
function traceFields(active: Context): Record<string, string> {
  const fields: Record<string, string> = {};
  propagation.inject(active, fields);
  return fields;
}

/** The context that a peer tells of, if the propagator makes sense of it. */
function parseTrace(text: string): Context {
  const [traceparent = "", ...rest] = text.split(",");
  const tracestate = rest.join(",");
  return propagation.extract(ROOT_CONTEXT, {
    traceparent,
    ...tracestate && { tracestate },
  });
}
