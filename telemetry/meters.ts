/**
 * What is counted. The sockets of a process share the instruments, so that two servers
 * add up, and what they have carried is read when it is exported, not when it comes.
 *
 * @module
 */

import {
  type Attributes,
  type BatchObservableCallback,
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

/** The name of the scope. */
export const SCOPE = "@ws/events";

/** What stands for all that is one too many. */
export const OTHER_VALUE = "_OTHER";

/** How many different values of one attribute are told, where others may pick them. */
const MAX_VALUES = 100;

/** The bounds of durations of calls, in seconds. */
export const REQUEST_SECONDS_BOUNDS: number[] = [
  ...[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1],
  ...[0.25, 0.5, 1, 2.5, 5, 10],
];

/** The bounds of durations of connections, in seconds: up to a day. */
const CONNECTION_SECONDS_BOUNDS = [
  ...[1, 5, 15, 30, 60, 120, 300],
  ...[900, 1_800, 3_600, 14_400, 86_400],
];

const BATCH_SIZE_BOUNDS = [2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];

/** Values of which there may be too many: each new one is a time series of its own. */
export class BoundedValues<T> {
  readonly #values = new Set<T>();

  /**
   * Whether a value is one of the first.
   *
   * @param value The value.
   * @returns False if it is one too many.
   */
  has(value: T): boolean {
    if (this.#values.size < MAX_VALUES) this.#values.add(value);
    return this.#values.has(value);
  }
}

/** Something that was made of a provider. */
interface ProviderValue<T> {
  readonly provider: MeterProvider;
  readonly meter: Meter;
  readonly value: T;
}

/**
 * What is made of the provider that is registered. The API tells nobody when one is, so
 * it is asked each time.
 *
 * @typeParam T What is made.
 */
export class PerProvider<T> {
  readonly #create: (meter: Meter) => T;
  readonly #dispose: (meter: Meter, made: T) => void;
  #created: ProviderValue<T> | undefined;

  /**
   * Nothing is made yet.
   *
   * @param create Makes it.
   * @param dispose Takes it back when another provider is there.
   */
  constructor(
    create: (meter: Meter) => T,
    dispose: (meter: Meter, made: T) => void = () => {},
  ) {
    this.#create = create;
    this.#dispose = dispose;
  }

  /** What was made of the provider that is registered now. */
  get current(): T {
    const provider = metrics.getMeterProvider();
    const made = this.#created;
    if (made?.provider === provider) return made.value;
    const value = this.#recreate(provider);
    // Where one notices that there is another, all do.
    for (const renew of providerListeners) renew(provider);
    providerListeners.add(this.#onProvider);
    return value;
  }

  /** Whether there is a provider that makes something of it. */
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

/** The meter that there is without a provider. */
const NOOP_METER = createNoopMeter();

/** Makes all anew that was made. */
const providerListeners = new Set<(provider: MeterProvider) => void>();

/** What is read off connections. */
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

/** Connections of the same attributes. */
export class AttributeGroup {
  /** What they have in common. */
  readonly attributes: Attributes;
  /** What was carried by those that are looked at no more. */
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

  /**
   * Creates an empty group.
   *
   * @param attributes What they have in common.
   */
  constructor(attributes: Attributes) {
    this.attributes = attributes;
  }
}

/**
 * Adds what a connection has carried, or takes it off.
 *
 * @param totals Where to.
 * @param connection The connection.
 * @param sign Which of the two.
 */
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

/** What the instruments of one side look at. */
export interface ObservedSocket {
  /** The live connections, each with its group. */
  readonly live: ReadonlyMap<InstrumentedConnection, AttributeGroup>;
  /**
   * What waits and has no connection.
   *
   * @returns How many bytes, and in whose group; undefined where there is no such thing.
   */
  queued():
    | { readonly bytes: number; readonly group: AttributeGroup }
    | undefined;
}

/** The instruments of one side. */
interface Instruments {
  /** Connections that have ended. */
  readonly ends: Counter;
  /** How long they have lived. */
  readonly durations: Histogram;
  /** How many frames a batch has. */
  readonly batches: Histogram;
  /** What has become an `error` event. */
  readonly errors: Counter;
  /** Requests that have not become a WebSocket. */
  readonly refused: Counter;
  /** Attempts to come back. */
  readonly reconnects: Counter;
  readonly observables: (ObservableCounter | ObservableUpDownCounter)[];
  readonly observe: BatchObservableCallback;
}

/** All that is counted of one side. */
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

  /**
   * Counts nothing yet.
   *
   * @param side Which side.
   */
  constructor(side: "server" | "client") {
    this.#side = side;
  }

  /** The instruments. */
  get instruments(): Instruments {
    return this.#instruments.current;
  }

  /**
   * Begins to look at a socket.
   *
   * @param observed What to look at.
   */
  watch(observed: ObservedSocket): void {
    this.#observed.add(observed);
  }

  /**
   * Looks no more.
   *
   * @param observed At what.
   */
  unwatch(observed: ObservedSocket): void {
    this.#observed.delete(observed);
  }

  /**
   * The group of a connection. Of a server's it is the scheme that says so, of a
   * client's also where to; not the path, which may be anything.
   *
   * @param url The URL of the connection.
   * @returns The group.
   */
  groupOf(url: string): AttributeGroup {
    if (this.#side === "server") {
      return this.#group({ "url.scheme": url.slice(0, url.indexOf(":")) });
    }
    const { protocol, hostname, port } = new URL(url);
    const scheme = protocol.slice(0, -1);
    const isTold = this.#addresses.has(`${hostname}:${port}`);
    return this.#group({
      "url.scheme": scheme,
      "server.address": isTold ? hostname : OTHER_VALUE,
      ...isTold && {
        "server.port": Number(port) || (scheme === "wss" ? 443 : 80),
      },
    });
  }

  /**
   * A close code, unless there are too many: peers pick them.
   *
   * @param code The code.
   * @returns It as an attribute, or none.
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

  /** What all connections have carried, by group. */
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

  #createInstruments(meter: Meter): Instruments {
    const prefix = `websocket.${this.#side}`;
    const connections = meter.createObservableUpDownCounter(
      `${prefix}.active_connections`,
      { unit: "{connection}", description: "Connections that are open" },
    );
    const waiting = meter.createObservableUpDownCounter(
      `${prefix}.queue.size`,
      { unit: "By", description: "Bytes that wait for peers to take them" },
    );
    const messages = meter.createObservableCounter(`${prefix}.messages`, {
      unit: "{message}",
      description: "Messages that have come in and gone out",
    });
    const bytes = meter.createObservableCounter(`${prefix}.io`, {
      unit: "By",
      description: "Bytes of messages that have come in and gone out",
    });
    const dropped = meter.createObservableCounter(
      `${prefix}.dropped_messages`,
      { unit: "{message}", description: "Messages that were dropped" },
    );
    const observables = [connections, waiting, messages, bytes, dropped];
    const observe: BatchObservableCallback = (result) => {
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
        description: "Connections that have ended",
      }),
      durations: meter.createHistogram(`${prefix}.connection.duration`, {
        unit: "s",
        description: "How long connections have lived that have ended",
        advice: { explicitBucketBoundaries: CONNECTION_SECONDS_BOUNDS },
      }),
      batches: meter.createHistogram(`${prefix}.batch.size`, {
        unit: "{message}",
        description: "Messages in a frame of events.v1 that has several",
        advice: { explicitBucketBoundaries: BATCH_SIZE_BOUNDS },
      }),
      errors: meter.createCounter(`${prefix}.errors`, {
        unit: "{error}",
        description: "Errors of listeners and handlers, and all other ones",
      }),
      refused: meter.createCounter(`${prefix}.refused_upgrades`, {
        unit: "{request}",
        description: "Requests that have not become a WebSocket",
      }),
      reconnects: meter.createCounter(`${prefix}.reconnects`, {
        unit: "{attempt}",
        description: "Attempts to come back",
      }),
    };
  }
}

/** What is counted of all servers of this process. */
export const serverMeters: Meters = new Meters("server");

/** What is counted of all clients of this process. */
export const clientMeters: Meters = new Meters("client");
