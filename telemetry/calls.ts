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
import { CALL_BOUNDS, Few, Metered, OTHER, SCOPE } from "./meters.ts";

/** What asks and answers is called so. */
const SYSTEM = "events.v1";

const methods = new Few<string>();
const types = new Few<string>();

const durations = new Metered((meter) => {
  const options = {
    unit: "s",
    advice: { explicitBucketBoundaries: CALL_BOUNDS },
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
let known:
  | { readonly provider: TracerProvider; readonly tracer: Tracer }
  | undefined;

/**
 * The tracer of the provider that is registered.
 *
 * @returns The tracer; undefined if there is no such provider.
 */
export function tracerOf(): Tracer | undefined {
  const provider = trace.getTracerProvider();
  if (known?.provider === provider) return known.tracer;
  const tracer = provider instanceof ProxyTracerProvider
    ? provider.getDelegateTracer(SCOPE)
    : provider.getTracer(SCOPE);
  if (tracer) known = { provider, tracer };
  return tracer;
}

/**
 * What an error is called among attributes.
 *
 * @param error The error.
 * @returns The code of a {@linkcode RequestError}, or the name of any other one.
 */
export function typeOf(error: unknown): string {
  const isRefusal = error instanceof RequestError && error.code;
  const name = isRefusal || (error instanceof Error ? error.name : OTHER);
  return types.has(name) ? name : OTHER;
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
export function within<T>(active: Context, action: () => T): T {
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
export class Call {
  readonly #role: "client" | "server";
  readonly #span: Span;
  readonly #context: Context;
  readonly #attributes: Attributes;
  readonly #histogram: Histogram;
  readonly #start = performance.now();

  private constructor(
    role: "client" | "server",
    kind: string | undefined,
    attributes: Attributes,
    more: Attributes,
    parent: Context,
    links: Link[],
  ) {
    const method = kind !== undefined && methods.has(kind) ? kind : OTHER;
    this.#role = role;
    this.#attributes = {
      ...attributes,
      "rpc.system.name": SYSTEM,
      "rpc.method": method,
    };
    this.#histogram = durations.current[role];
    this.#span = (tracerOf() ?? trace.getTracer(SCOPE)).startSpan(
      method === OTHER ? SYSTEM : method,
      {
        kind: role === "client" ? SpanKind.CLIENT : SpanKind.SERVER,
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
  static ask(data: unknown, attributes: Attributes): Call | undefined {
    if (!tracerOf() && !durations.isHeard) return undefined;
    const parent = context.active();
    return new Call("client", kindOf(data), attributes, {}, parent, []);
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
  ): Call | undefined {
    if (!tracerOf() && !durations.isHeard) return undefined;
    const parent = text === undefined ? ROOT_CONTEXT : readTrace(text);
    return new Call("server", kind, {}, attributes(), parent, links);
  }

  /** The trace that it is part of, to be told to the peer; undefined if there is none. */
  get trace(): string | undefined {
    const { traceparent, tracestate } = fieldsOf(this.#context);
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
    return within(this.#context, action);
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
    const type = typeOf(error);
    // A handler that says no has done its work.
    if (this.#role === "client" || !isRefusal) {
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
function kindOf(data: unknown): string | undefined {
  return typeof data === "object" && data !== null && "type" in data &&
      typeof data.type === "string"
    ? data.type
    : undefined;
}

/** What the propagator makes of a context; only what tells of a trace is sent. */
function fieldsOf(active: Context): Record<string, string> {
  const fields: Record<string, string> = {};
  propagation.inject(active, fields);
  return fields;
}

/** The context that a peer tells of, if the propagator makes sense of it. */
function readTrace(text: string): Context {
  const [traceparent = "", ...rest] = text.split(",");
  const tracestate = rest.join(",");
  return propagation.extract(ROOT_CONTEXT, {
    traceparent,
    ...tracestate && { tracestate },
  });
}
