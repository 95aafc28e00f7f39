/**
 * What telemetry sees of one socket.
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

/** What a client has that waits for a connection. */
export interface ClientTotals {
  /** How many bytes wait, for a connection or for the server. */
  readonly bufferedAmount: number;
  /** How many messages were dropped meanwhile. */
  readonly droppedOffline: number;
  /** The live connection. */
  readonly connection: InstrumentedConnection | undefined;
}

/**
 * Watches one socket. Whatever fails here, in an exporter for one, is told to the
 * diagnostics of OpenTelemetry, and to nobody else.
 */
export class SocketInstrumentation implements Instrumentation, ObservedSocket {
  /** The live connections, each with its group. */
  readonly live: Map<InstrumentedConnection, AttributeGroup> = new Map();
  readonly #meters: Meters;
  readonly #client: ClientTotals | undefined;
  /** What was being done when a connection began: on a server, its upgrade. */
  readonly #origins = new WeakMap<InstrumentedConnection, Link>();
  /** Whose the backlog is. */
  #group: AttributeGroup | undefined;
  /** How many of the backlog's drops are counted. */
  #dropped: number;

  /**
   * Begins to watch. What was before is not counted.
   *
   * @param meters What counts.
   * @param connections The live connections.
   * @param backlog What waits for a connection, on a client's side.
   */
  constructor(
    meters: Meters,
    connections: Iterable<InstrumentedConnection>,
    backlog?: ClientTotals,
  ) {
    this.#meters = meters;
    this.#client = backlog;
    this.#dropped = backlog?.droppedOffline ?? 0;
    for (const connection of connections) {
      const group = this.#addConnection(connection);
      if (group) addToTotals(group.ended, connection, -1);
    }
    meters.watch(this);
    runGuarded(() => meters.instruments);
  }

  /** Watches no more. What was counted stays. */
  stop(): void {
    this.queued();
    this.#meters.unwatch(this);
    for (const [connection, { ended: gone }] of this.live) {
      addToTotals(gone, connection, 1);
    }
    this.live.clear();
  }

  /** What waits for a connection, and what was dropped of that is counted. */
  queued():
    | { readonly bytes: number; readonly group: AttributeGroup }
    | undefined {
    const group = this.#group;
    const backlog = this.#client;
    if (!group || !backlog) return undefined;
    const { bufferedAmount, droppedOffline: dropped, connection } = backlog;
    group.ended.droppedOutgoing += dropped - this.#dropped;
    this.#dropped = dropped;
    const own = connection?.bufferedAmount ?? 0;
    return { bytes: bufferedAmount - own, group };
  }

  /** A connection is no part of what the program did when it began. */
  detach<T>(begin: () => T): T {
    return runInContext(ROOT_CONTEXT, begin);
  }

  /** Remembers what a connection began in. */
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

  /** Counts an end, and tells of the connection by a span. */
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

  /** Follows a request from here. */
  traceRequest<T>(
    connection: InstrumentedConnection,
    data: unknown,
    ask: (trace?: string) => Promise<T>,
  ): Promise<T> {
    const call = runGuarded(() =>
      RequestSpan.ask(data, this.live.get(connection)?.attributes ?? {})
    );
    if (!call) return ask();
    let answer: Promise<T>;
    try {
      answer = ask(runGuarded(() => call.trace));
    } catch (error) {
      runGuarded(() => call.fail(error));
      throw error;
    }
    settleSpan(call, answer);
    return answer;
  }

  /** Follows a request of the peer's. */
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
    let said: unknown;
    try {
      said = call.run(handle);
    } catch (error) {
      runGuarded(() => call.fail(error));
      throw error;
    }
    if (!isThenable(said)) {
      runGuarded(() => call.succeed());
      return said;
    }
    // What can be awaited may begin its work each time that it is.
    const answer = Promise.resolve(said);
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

  /**
   * Counts a request that has not become a WebSocket.
   *
   * @param status The status of the answer.
   */
  readonly refused = (_request: Request, status: number): void => {
    runGuarded(() =>
      this.#meters.instruments.refused.add(1, {
        "http.response.status_code": status,
      })
    );
  };

  /** Counts an attempt to come back. */
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

/** Who is at the other end; for spans only, as there are many. */
function peerAttributes({ remoteAddress }: InstrumentedConnection): Attributes {
  const [, address = remoteAddress, port] =
    /^\[?(.*?)\]?:(\d+)$/.exec(remoteAddress) ?? [];
  return {
    "network.peer.address": address,
    ...port !== undefined && { "network.peer.port": Number(port) },
  };
}

/** Ends a call when its answer is there, or why there is none. */
function settleSpan(call: RequestSpan, answer: Promise<unknown>): void {
  answer.then(
    () => runGuarded(() => call.succeed()),
    (error) => runGuarded(() => call.fail(error)),
  );
}

/** Does what may fail, and harms nobody. */
function runGuarded<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    try {
      diag.error("Cannot tell of @ws/events:", error);
    } catch {
      // Nobody is left to be told.
    }
    return undefined;
  }
}
