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

/** The name of the RPC system. */
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
      description: "Duration of outgoing requests",
    }),
    server: meter.createHistogram("rpc.server.call.duration", {
      ...options,
      description: "Duration of request handlers",
    }),
  };
});

/** The cached tracer. */
let cachedTracer:
  | { readonly provider: TracerProvider; readonly tracer: Tracer }
  | undefined;

/** Returns the tracer of the registered provider; undefined if there is none. */
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
 * Returns the attribute `error.type` of an error: the code of a {@linkcode RequestError},
 * or the name of any other error.
 */
export function errorType(error: unknown): string {
  const isRefusal = error instanceof RequestError && error.code;
  const name = isRefusal || (error instanceof Error ? error.name : OTHER_VALUE);
  return types.has(name) ? name : OTHER_VALUE;
}

/**
 * Runs an action with an active context. The action runs exactly once, even if there is
 * no context manager, or it fails.
 *
 * @throws {unknown} The error of the action.
 */
export function runInContext<T>(active: Context, action: () => T): T {
  let hasStarted = false;
  let outcome: { readonly value: T } | undefined;
  try {
    return context.with(active, () => {
      hasStarted = true;
      const value = action();
      outcome = { value };
      return value;
    });
  } catch (error) {
    if (outcome) return outcome.value;
    if (hasStarted) throw error;
    return action();
  }
}

/** The span of a sent or received request. */
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
   * Starts the span of a sent request.
   *
   * @param data The data of the request.
   * @param attributes The attributes of the connection.
   * @returns The span; undefined if nothing records it.
   */
  static start(data: unknown, attributes: Attributes): RequestSpan | undefined {
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
   * Starts the span of a received request.
   *
   * @param kind The type of the requests that its handler is for.
   * @param text The trace context from the sender.
   * @param attributes Returns the attributes of the sender.
   * @param links The links of the span.
   * @returns The span; undefined if nothing records it.
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

  /** The trace context to send to the peer; undefined if there is none. */
  get trace(): string | undefined {
    const { traceparent, tracestate } = traceFields(this.#context);
    if (!traceparent) return undefined;
    return tracestate ? `${traceparent},${tracestate}` : traceparent;
  }

  /** Runs an action in the context of the span. */
  run<T>(action: () => T): T {
    return runInContext(this.#context, action);
  }

  /** Ends the span of a request with a reply. */
  succeed(): void {
    this.#end();
  }

  /** Ends the span of a request that failed. */
  fail(error: unknown): void {
    const span = this.#span;
    const isRefusal = error instanceof RequestError;
    const type = errorType(error);
    // A handler that throws a RequestError has worked as intended.
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

/** Returns the type of a request, which the application chooses. */
function requestType(data: unknown): string | undefined {
  return typeof data === "object" && data !== null && "type" in data &&
      typeof data.type === "string"
    ? data.type
    : undefined;
}

/** Injects a context. Only the fields of the trace context are sent. */
function traceFields(active: Context): Record<string, string> {
  const fields: Record<string, string> = {};
  propagation.inject(active, fields);
  return fields;
}

/** Extracts the context from a peer. */
function parseTrace(text: string): Context {
  const [traceparent = "", ...rest] = text.split(",");
  const tracestate = rest.join(",");
  return propagation.extract(ROOT_CONTEXT, {
    traceparent,
    ...tracestate && { tracestate },
  });
}
