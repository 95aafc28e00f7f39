/**
 * The metrics. All sockets of a process share the instruments. Traffic is read when
 * metrics are exported, not when messages are received.
 *
 * @module
 */

import {
  type Attributes,
  type BatchObservableCallback,
  type BatchObservableResult,
  type Counter,
  createNoopMeter,
  type Histogram,
  type Meter,
  type MeterProvider,
  metrics,
  type ObservableCounter,
  type ObservableUpDownCounter,
} from "@opentelemetry/api";
import type { InstrumentedConnection } from "../core/events/instrumentation.ts";

/** The name of the instrumentation scope. */
export const SCOPE = "@ws/events";

/** The attribute value that replaces values above the limit. */
export const OTHER_VALUE = "_OTHER";

/** The maximum number of distinct values of an attribute that peers control. */
const MAX_VALUES = 100;

/** The bucket boundaries of the duration of requests, in seconds. */
export const REQUEST_SECONDS_BOUNDS: number[] = [
  ...[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1],
  ...[0.25, 0.5, 1, 2.5, 5, 10],
];

/** The bucket boundaries of the duration of connections, in seconds: up to a day. */
const CONNECTION_SECONDS_BOUNDS = [
  ...[1, 5, 15, 30, 60, 120, 300],
  ...[900, 1_800, 3_600, 14_400, 86_400],
];

const BATCH_SIZE_BOUNDS = [2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];

/** A limited set of values, as each new attribute value creates a time series. */
export class BoundedValues<T> {
  readonly #values = new Set<T>();

  /** Whether a value is within the limit. Adds it if there is space. */
  has(value: T): boolean {
    if (this.#values.size < MAX_VALUES) this.#values.add(value);
    return this.#values.has(value);
  }
}

/** A value that was created for a provider. */
interface ProviderValue<T> {
  readonly provider: MeterProvider;
  readonly meter: Meter;
  readonly value: T;
}

/**
 * A value that is created again whenever another provider is registered. The API does not
 * report that, so the provider is compared on each access.
 *
 * @typeParam T The type of the value.
 */
export class PerProvider<T> {
  readonly #create: (meter: Meter) => T;
  readonly #dispose: (meter: Meter, made: T) => void;
  #created: ProviderValue<T> | undefined;

  /**
   * @param create Creates the value.
   * @param dispose Disposes of the value when another provider is registered.
   */
  constructor(
    create: (meter: Meter) => T,
    dispose: (meter: Meter, made: T) => void = () => {},
  ) {
    this.#create = create;
    this.#dispose = dispose;
  }

  /** The value for the registered provider. */
  get current(): T {
    const provider = metrics.getMeterProvider();
    const made = this.#created;
    if (made?.provider === provider) return made.value;
    const value = this.#recreate(provider);
    // If one notices a new provider, all change.
    for (const renew of providerListeners) renew(provider);
    providerListeners.add(this.#onProvider);
    return value;
  }

  /** Whether a provider is registered. */
  get isRecorded(): boolean {
    const { current: _current } = this;
    return this.#created?.meter !== NOOP_METER;
  }

  readonly #onProvider = (provider: MeterProvider): void => {
    if (this.#created?.provider !== provider) this.#recreate(provider);
  };

  #recreate(provider: MeterProvider): T {
    const made = this.#created;
    this.#created = undefined;
    if (made) this.#dispose(made.meter, made.value);
    const meter = provider.getMeter(SCOPE);
    const value = this.#create(meter);
    this.#created = { provider, meter, value };
    return value;
  }
}

/** The meter without a provider. */
const NOOP_METER = createNoopMeter();

/** Functions that create values again. */
const providerListeners = new Set<(provider: MeterProvider) => void>();

/** The totals of connections. */
interface Totals {
  connections: number;
  waiting: number;
  messagesReceived: number;
  bytesReceived: number;
  messagesSent: number;
  bytesSent: number;
  droppedIncoming: number;
  droppedOutgoing: number;
  droppedReplies: number;
}

/** The connections with the same attributes. */
export class AttributeGroup {
  /** The common attributes. */
  readonly attributes: Attributes;
  /** The totals of connections that are no longer observed. */
  readonly ended: Totals = {
    connections: 0,
    waiting: 0,
    messagesReceived: 0,
    bytesReceived: 0,
    messagesSent: 0,
    bytesSent: 0,
    droppedIncoming: 0,
    droppedOutgoing: 0,
    droppedReplies: 0,
  };

  constructor(attributes: Attributes) {
    this.attributes = attributes;
  }
}

/** Adds the totals of a connection, or subtracts them. */
export function addToTotals(
  totals: Totals,
  connection: InstrumentedConnection,
  sign: 1 | -1,
): void {
  const { received, sent } = connection.traffic;
  const { incoming, outgoing, replies } = connection.dropped;
  totals.messagesReceived += sign * received.messages;
  totals.bytesReceived += sign * received.bytes;
  totals.messagesSent += sign * sent.messages;
  totals.bytesSent += sign * sent.bytes;
  totals.droppedIncoming += sign * incoming;
  totals.droppedOutgoing += sign * outgoing;
  totals.droppedReplies += sign * replies;
}

/** A socket that metrics are read from. */
export interface ObservedSocket {
  /** The live connections and their groups. */
  readonly live: ReadonlyMap<InstrumentedConnection, AttributeGroup>;
  /** Whether the broker of the adapter is reached; undefined without an adapter. */
  adapterState(): "up" | "down" | undefined;
  /**
   * Returns the number of bytes queued without a connection; undefined if there is no
   * such queue.
   */
  queued():
    | { readonly bytes: number; readonly group: AttributeGroup }
    | undefined;
}

/** The instruments of one side. */
interface Instruments {
  /** Ended connections. */
  readonly ends: Counter;
  /** The duration of ended connections. */
  readonly durations: Histogram;
  /** The number of frames in a batch. */
  readonly batches: Histogram;
  /** Errors that were dispatched as `error` events. */
  readonly errors: Counter;
  /** Rejected upgrade requests. */
  readonly refused: Counter;
  /** Attempts to reconnect. */
  readonly reconnects: Counter;
  readonly observables: (ObservableCounter | ObservableUpDownCounter)[];
  readonly observe: BatchObservableCallback;
}

/** The metrics of one side. */
export class Meters {
  readonly #side: "server" | "client";
  readonly #groups = new Map<string, AttributeGroup>();
  readonly #observed = new Set<ObservedSocket>();
  readonly #addresses = new BoundedValues<string>();
  readonly #codes = new BoundedValues<number>();
  readonly #instruments = new PerProvider(
    (meter) => this.#createInstruments(meter),
    (meter, { observe, observables }) =>
      meter.removeBatchObservableCallback(observe, observables),
  );

  constructor(side: "server" | "client") {
    this.#side = side;
  }

  get instruments(): Instruments {
    return this.#instruments.current;
  }

  /** Starts to observe a socket. */
  watch(observed: ObservedSocket): void {
    this.#observed.add(observed);
  }

  /** Stops to observe a socket. */
  unwatch(observed: ObservedSocket): void {
    this.#observed.delete(observed);
  }

  /**
   * Returns the group of a connection. Its attributes are the scheme and, on a client,
   * the server's address; not the path, which may have any value.
   */
  groupOf(url: string): AttributeGroup {
    if (this.#side === "server") {
      return this.#group({ "url.scheme": url.slice(0, url.indexOf(":")) });
    }
    const { protocol, hostname, port } = new URL(url);
    const scheme = protocol.slice(0, -1);
    const isWithinLimit = this.#addresses.has(`${hostname}:${port}`);
    return this.#group({
      "url.scheme": scheme,
      "server.address": isWithinLimit ? hostname : OTHER_VALUE,
      ...isWithinLimit && {
        "server.port": Number(port) || (scheme === "wss" ? 443 : 80),
      },
    });
  }

  /**
   * Returns the attribute of a close code. It is empty above the limit, as peers choose
   * codes.
   */
  code(code: number): Attributes {
    return code < 3_000 || this.#codes.has(code)
      ? { "websocket.close.code": code }
      : {};
  }

  #group(attributes: Attributes): AttributeGroup {
    const key = Object.values(attributes).join(" ");
    const known = this.#groups.get(key);
    if (known) return known;
    const group = new AttributeGroup(attributes);
    this.#groups.set(key, group);
    return group;
  }

  /** Returns the totals by group. */
  #totals(): Map<AttributeGroup, Totals> {
    const waiting = [...this.#observed].map((one) => one.queued());
    const sums = new Map<AttributeGroup, Totals>();
    for (const group of this.#groups.values()) {
      sums.set(group, { ...group.ended });
    }
    for (const one of waiting) {
      const totals = one && sums.get(one.group);
      if (totals) totals.waiting += one.bytes;
    }
    for (const { live } of this.#observed) {
      for (const [connection, group] of live) {
        const totals = sums.get(group);
        if (!totals) continue;
        addToTotals(totals, connection, 1);
        totals.connections++;
        totals.waiting += connection.bufferedAmount;
      }
    }
    return sums;
  }

  #observeAdapters(
    result: BatchObservableResult,
    adapters: ObservableUpDownCounter,
  ): void {
    const states = [...this.#observed].flatMap((one) =>
      one.adapterState() ?? []
    );
    if (states.length === 0) return;
    for (const state of ["up", "down"] as const) {
      const number = states.filter((one) => one === state).length;
      result.observe(adapters, number, { "websocket.adapter.state": state });
    }
  }

  #createInstruments(meter: Meter): Instruments {
    const prefix = `websocket.${this.#side}`;
    const connections = meter.createObservableUpDownCounter(
      `${prefix}.active_connections`,
      { unit: "{connection}", description: "Open connections" },
    );
    const waiting = meter.createObservableUpDownCounter(
      `${prefix}.queue.size`,
      { unit: "By", description: "Bytes that wait to be sent" },
    );
    const messages = meter.createObservableCounter(`${prefix}.messages`, {
      unit: "{message}",
      description: "Received and sent messages",
    });
    const bytes = meter.createObservableCounter(`${prefix}.io`, {
      unit: "By",
      description: "Bytes of received and sent messages",
    });
    const dropped = meter.createObservableCounter(
      `${prefix}.dropped_messages`,
      { unit: "{message}", description: "Dropped messages" },
    );
    const adapters = meter.createObservableUpDownCounter(`${prefix}.adapters`, {
      unit: "{adapter}",
      description: "Adapters, by whether their broker is reached",
    });
    const observables = [
      ...[connections, waiting, messages, bytes, dropped, adapters],
    ];
    const observe: BatchObservableCallback = (result) => {
      this.#observeAdapters(result, adapters);
      for (const [{ attributes }, totals] of this.#totals()) {
        result.observe(connections, totals.connections, attributes);
        result.observe(waiting, totals.waiting, attributes);
        const ins = { ...attributes, "network.io.direction": "receive" };
        const outs = { ...attributes, "network.io.direction": "transmit" };
        result.observe(messages, totals.messagesReceived, ins);
        result.observe(messages, totals.messagesSent, outs);
        result.observe(bytes, totals.bytesReceived, ins);
        result.observe(bytes, totals.bytesSent, outs);
        const drops = {
          incoming: totals.droppedIncoming,
          outgoing: totals.droppedOutgoing,
          reply: totals.droppedReplies,
        };
        for (const [kind, count] of Object.entries(drops)) {
          const of = { ...attributes, "websocket.drop.kind": kind };
          result.observe(dropped, count, of);
        }
      }
    };
    meter.addBatchObservableCallback(observe, observables);
    return {
      observables,
      observe,
      ends: meter.createCounter(`${prefix}.ends`, {
        unit: "{connection}",
        description: "Ended connections",
      }),
      durations: meter.createHistogram(`${prefix}.connection.duration`, {
        unit: "s",
        description: "Duration of ended connections",
        advice: { explicitBucketBoundaries: CONNECTION_SECONDS_BOUNDS },
      }),
      batches: meter.createHistogram(`${prefix}.batch.size`, {
        unit: "{message}",
        description: "Number of messages in a batch",
        advice: { explicitBucketBoundaries: BATCH_SIZE_BOUNDS },
      }),
      errors: meter.createCounter(`${prefix}.errors`, {
        unit: "{error}",
        description: "Errors dispatched as error events",
      }),
      refused: meter.createCounter(`${prefix}.refused_upgrades`, {
        unit: "{request}",
        description: "Rejected upgrade requests",
      }),
      reconnects: meter.createCounter(`${prefix}.reconnects`, {
        unit: "{attempt}",
        description: "Attempts to reconnect",
      }),
    };
  }
}

/** The metrics of all servers of this process. */
export const serverMeters: Meters = new Meters("server");

/** The metrics of all clients of this process. */
export const clientMeters: Meters = new Meters("client");
