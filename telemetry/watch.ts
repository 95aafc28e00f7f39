/**
 * The instrumentation of one socket.
 *
 * @module
 */

import {
  type Attributes,
  diag,
  type Link,
  ROOT_CONTEXT,
  SpanKind,
  trace,
} from "@opentelemetry/api";
import type { AdapterState } from "../core/events/event_types.ts";
import { type ConnectionEnd, isThenable } from "../core/events/errors.ts";
import type {
  Instrumentation,
  InstrumentedConnection,
} from "../core/events/instrumentation.ts";
import {
  currentTracer,
  errorType,
  RequestSpan,
  runInContext,
} from "./calls.ts";
import {
  addToTotals,
  type AttributeGroup,
  type Meters,
  type ObservedSocket,
} from "./meters.ts";

/** The offline queue of a client. */
export interface ClientTotals {
  /** The number of bytes that wait, with or without a connection. */
  readonly bufferedAmount: number;
  /** The number of messages that were dropped without a connection. */
  readonly droppedOffline: number;
  /** The live connection. */
  readonly connection: InstrumentedConnection | undefined;
}

/** What a server has that is not of a connection. */
export interface AdapterTotals {
  /** The state of the adapter; undefined without one. */
  readonly adapterState: AdapterState | undefined;
}

/**
 * Instruments one socket. Errors of an exporter or an SDK are reported to the diagnostics
 * of OpenTelemetry only.
 */
export class SocketInstrumentation implements Instrumentation, ObservedSocket {
  /** The live connections and their groups. */
  readonly live: Map<InstrumentedConnection, AttributeGroup> = new Map();
  readonly #meters: Meters;
  readonly #client: ClientTotals | undefined;
  readonly #adapter: AdapterTotals | undefined;
  /** The active span when a connection was created: on a server, that of the upgrade. */
  readonly #origins = new WeakMap<InstrumentedConnection, Link>();
  /** The group of the offline queue. */
  #group: AttributeGroup | undefined;
  /** The number of dropped offline messages that have been counted. */
  #dropped: number;

  /**
   * Starts the instrumentation. Earlier events are not counted.
   *
   * @param connections The live connections.
   * @param offline The offline queue, on a client.
   * @param adapter The state of the adapter, on a server.
   */
  constructor(
    meters: Meters,
    connections: Iterable<InstrumentedConnection>,
    offline?: ClientTotals,
    adapter?: AdapterTotals,
  ) {
    this.#meters = meters;
    this.#adapter = adapter;
    this.#client = offline;
    this.#dropped = offline?.droppedOffline ?? 0;
    for (const connection of connections) {
      const group = this.#addConnection(connection);
      if (group) addToTotals(group.ended, connection, -1);
    }
    meters.watch(this);
    runGuarded(() => meters.instruments);
  }

  /** Whether the broker of the adapter is reached; undefined without an adapter. */
  adapterState(): "up" | "down" | undefined {
    return this.#adapter?.adapterState?.state;
  }

  /** Stops the instrumentation. Totals remain. */
  stop(): void {
    this.queued();
    this.#meters.unwatch(this);
    for (const [connection, { ended }] of this.live) {
      addToTotals(ended, connection, 1);
    }
    this.live.clear();
  }

  /** Returns the size of the offline queue, and counts its dropped messages. */
  queued():
    | { readonly bytes: number; readonly group: AttributeGroup }
    | undefined {
    const group = this.#group;
    const offline = this.#client;
    if (!group || !offline) return undefined;
    const { bufferedAmount, droppedOffline: dropped, connection } = offline;
    group.ended.droppedOutgoing += dropped - this.#dropped;
    this.#dropped = dropped;
    const own = connection?.bufferedAmount ?? 0;
    return { bytes: bufferedAmount - own, group };
  }

  /** Creates a connection outside of the active context, as it outlives it. */
  detach<T>(create: () => T): T {
    return runInContext(ROOT_CONTEXT, create);
  }

  /** Stores the span that a connection was created in. */
  connectionCreated(connection: InstrumentedConnection): void {
    runGuarded(() => {
      const context = trace.getActiveSpan()?.spanContext();
      if (context) this.#origins.set(connection, { context });
    });
  }

  /** Counts a connection. */
  connectionOpened(connection: InstrumentedConnection): void {
    this.#addConnection(connection);
    runGuarded(() => this.#meters.instruments);
  }

  /** Counts an end, and records the span of the connection. */
  connectionEnded(
    connection: InstrumentedConnection,
    end: ConnectionEnd,
  ): void {
    const group = this.live.get(connection);
    if (!group) return;
    this.live.delete(connection);
    addToTotals(group.ended, connection, 1);
    runGuarded(() => this.#recordEnd(connection, group.attributes, end));
  }

  /** Counts a batch. */
  batched(direction: "receive" | "transmit", count: number): void {
    runGuarded(() =>
      this.#meters.instruments.batches.record(count, {
        "network.io.direction": direction,
      })
    );
  }

  /** Records a sent request. */
  traceRequest<T>(
    connection: InstrumentedConnection,
    data: unknown,
    send: (trace?: string) => Promise<T>,
  ): Promise<T> {
    const call = runGuarded(() =>
      RequestSpan.start(data, this.live.get(connection)?.attributes ?? {})
    );
    if (!call) return send();
    let answer: Promise<T>;
    try {
      answer = send(runGuarded(() => call.trace));
    } catch (error) {
      runGuarded(() => call.fail(error));
      throw error;
    }
    settleSpan(call, answer);
    return answer;
  }

  /** Records a received request. */
  traceHandler(
    connection: InstrumentedConnection,
    kind: string | undefined,
    trace: string | undefined,
    handle: () => unknown,
  ): unknown {
    const call = runGuarded(() => {
      const origin = this.#origins.get(connection);
      const attributes = () => peerAttributes(connection);
      return RequestSpan.handle(
        kind,
        trace,
        attributes,
        origin ? [origin] : [],
      );
    });
    if (!call) return handle();
    let result: unknown;
    try {
      result = call.run(handle);
    } catch (error) {
      runGuarded(() => call.fail(error));
      throw error;
    }
    if (!isThenable(result)) {
      runGuarded(() => call.succeed());
      return result;
    }
    // A thenable may start its work on each `then`, so call it once.
    const answer = Promise.resolve(result);
    settleSpan(call, answer);
    return answer;
  }

  /** Counts an error. */
  listenerFailed(error: unknown, from: string): void {
    runGuarded(() =>
      this.#meters.instruments.errors.add(1, {
        "websocket.event": from,
        "error.type": errorType(error),
      })
    );
  }

  /** Counts a rejected request. */
  readonly refused = (_request: Request, status: number): void => {
    runGuarded(() =>
      this.#meters.instruments.refused.add(1, {
        "http.response.status_code": status,
      })
    );
  };

  /** Counts an attempt to reconnect. */
  readonly reconnecting = (): void => {
    runGuarded(() =>
      this.#meters.instruments.reconnects.add(1, this.#group?.attributes)
    );
  };

  #addConnection(
    connection: InstrumentedConnection,
  ): AttributeGroup | undefined {
    return runGuarded(() => {
      if (this.#group) this.queued();
      const group = this.#group = this.#meters.groupOf(connection.url);
      this.live.set(connection, group);
      return group;
    });
  }

  #recordEnd(
    connection: InstrumentedConnection,
    attributes: Attributes,
    end: ConnectionEnd,
  ): void {
    const { ends, durations } = this.#meters.instruments;
    const now = Date.now();
    const start = connection.connectedAt.getTime();
    const kind = {
      ...attributes,
      "websocket.end.type": end.type,
      "websocket.end.cause": end.cause,
    };
    durations.record(Math.max(0, now - start) / 1_000, kind);
    ends.add(1, { ...kind, ...this.#meters.code(end.code) });
    const { received, sent } = connection.traffic;
    const origin = this.#origins.get(connection);
    currentTracer()?.startSpan("websocket connection", {
      root: true,
      kind: SpanKind.INTERNAL,
      startTime: start,
      links: origin ? [origin] : [],
      attributes: {
        ...kind,
        ...peerAttributes(connection),
        "network.protocol.name": "websocket",
        "url.path": connection.path,
        "websocket.close.code": end.code,
        "websocket.messages.received": received.messages,
        "websocket.messages.sent": sent.messages,
      },
    }, ROOT_CONTEXT).end(now);
  }
}

/** Returns the address of the peer, for spans only, as there are many values. */
function peerAttributes({ remoteAddress }: InstrumentedConnection): Attributes {
  const [, address = remoteAddress, port] =
    /^\[?(.*?)\]?:(\d+)$/.exec(remoteAddress) ?? [];
  return {
    "network.peer.address": address,
    ...port !== undefined && { "network.peer.port": Number(port) },
  };
}

/** Ends a span when a promise settles. */
function settleSpan(call: RequestSpan, answer: Promise<unknown>): void {
  answer.then(
    () => runGuarded(() => call.succeed()),
    (error) => runGuarded(() => call.fail(error)),
  );
}

/** Runs an action, and reports its error to the diagnostics. */
function runGuarded<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    try {
      diag.error("Cannot record telemetry of @ws/events:", error);
    } catch {
      // There is nowhere else to report it.
    }
    return undefined;
  }
}
