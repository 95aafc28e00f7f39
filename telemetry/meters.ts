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
export const OTHER = "_OTHER";

/** How many different values of one attribute are told, where others may pick them. */
const MOST_VALUES = 100;

/** The bounds of durations of calls, in seconds. */
export const CALL_BOUNDS: number[] = [
  ...[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1],
  ...[0.25, 0.5, 1, 2.5, 5, 10],
];

/** The bounds of durations of connections, in seconds: up to a day. */
const CONNECTION_BOUNDS = [
  ...[1, 5, 15, 30, 60, 120, 300],
  ...[900, 1_800, 3_600, 14_400, 86_400],
];

const BATCH_BOUNDS = [2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];

/** Values of which there may be too many: each new one is a time series of its own. */
export class Few<T> {
  readonly #values = new Set<T>();

  /**
   * Whether a value is one of the first.
   *
   * @param value The value.
   * @returns False if it is one too many.
   */
  has(value: T): boolean {
    if (this.#values.size < MOST_VALUES) this.#values.add(value);
    return this.#values.has(value);
  }
}

/** Something that was made of a provider. */
interface Made<T> {
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
export class Metered<T> {
  readonly #make: (meter: Meter) => T;
  readonly #unmake: (meter: Meter, made: T) => void;
  #made: Made<T> | undefined;

  /**
   * Nothing is made yet.
   *
   * @param make Makes it.
   * @param unmake Takes it back when another provider is there.
   */
  constructor(
    make: (meter: Meter) => T,
    unmake: (meter: Meter, made: T) => void = () => {},
  ) {
    this.#make = make;
    this.#unmake = unmake;
  }

  /** What was made of the provider that is registered now. */
  get current(): T {
    const provider = metrics.getMeterProvider();
    const made = this.#made;
    if (made?.provider === provider) return made.value;
    const value = this.#renew(provider);
    // Where one notices that there is another, all do.
    for (const renew of renewals) renew(provider);
    renewals.add(this.#notice);
    return value;
  }

  /** Whether there is a provider that makes something of it. */
  get isHeard(): boolean {
    const { current: _current } = this;
    return this.#made?.meter !== NOBODY;
  }

  readonly #notice = (provider: MeterProvider): void => {
    if (this.#made?.provider !== provider) this.#renew(provider);
  };

  #renew(provider: MeterProvider): T {
    const made = this.#made;
    this.#made = undefined;
    if (made) this.#unmake(made.meter, made.value);
    const meter = provider.getMeter(SCOPE);
    const value = this.#make(meter);
    this.#made = { provider, meter, value };
    return value;
  }
}

/** The meter that there is without a provider. */
const NOBODY = createNoopMeter();

/** Makes all anew that was made. */
const renewals = new Set<(provider: MeterProvider) => void>();

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
export class Group {
  /** What they have in common. */
  readonly attributes: Attributes;
  /** What was carried by those that are looked at no more. */
  readonly gone: Totals = {
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
export function add(
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
export interface Observed {
  /** The live connections, each with its group. */
  readonly live: ReadonlyMap<InstrumentedConnection, Group>;
  /**
   * What waits and has no connection.
   *
   * @returns How many bytes, and in whose group; undefined where there is no such thing.
   */
  waiting(): { readonly bytes: number; readonly group: Group } | undefined;
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
  readonly #groups = new Map<string, Group>();
  readonly #observed = new Set<Observed>();
  readonly #addresses = new Few<string>();
  readonly #codes = new Few<number>();
  readonly #instruments = new Metered(
    (meter) => this.#make(meter),
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
  watch(observed: Observed): void {
    this.#observed.add(observed);
  }

  /**
   * Looks no more.
   *
   * @param observed At what.
   */
  unwatch(observed: Observed): void {
    this.#observed.delete(observed);
  }

  /**
   * The group of a connection. Of a server's it is the scheme that says so, of a
   * client's also where to; not the path, which may be anything.
   *
   * @param url The URL of the connection.
   * @returns The group.
   */
  groupOf(url: string): Group {
    if (this.#side === "server") {
      return this.#group({ "url.scheme": url.slice(0, url.indexOf(":")) });
    }
    const { protocol, hostname, port } = new URL(url);
    const scheme = protocol.slice(0, -1);
    const isTold = this.#addresses.has(`${hostname}:${port}`);
    return this.#group({
      "url.scheme": scheme,
      "server.address": isTold ? hostname : OTHER,
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

  #group(attributes: Attributes): Group {
    const key = Object.values(attributes).join(" ");
    const known = this.#groups.get(key);
    if (known) return known;
    const group = new Group(attributes);
    this.#groups.set(key, group);
    return group;
  }

  /** What all connections have carried, by group. */
  #sum(): Map<Group, Totals> {
    const waiting = [...this.#observed].map((one) => one.waiting());
    const sums = new Map<Group, Totals>();
    for (const group of this.#groups.values()) {
      sums.set(group, { ...group.gone });
    }
    for (const one of waiting) {
      const totals = one && sums.get(one.group);
      if (totals) totals.waiting += one.bytes;
    }
    for (const { live } of this.#observed) {
      for (const [connection, group] of live) {
        const totals = sums.get(group);
        if (!totals) continue;
        add(totals, connection, 1);
        totals.connections++;
        totals.waiting += connection.bufferedAmount;
      }
    }
    return sums;
  }

  #make(meter: Meter): Instruments {
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
      for (const [{ attributes }, totals] of this.#sum()) {
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
        advice: { explicitBucketBoundaries: CONNECTION_BOUNDS },
      }),
      batches: meter.createHistogram(`${prefix}.batch.size`, {
        unit: "{message}",
        description: "Messages in a frame of events.v1 that has several",
        advice: { explicitBucketBoundaries: BATCH_BOUNDS },
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
export const servers: Meters = new Meters("server");

/** What is counted of all clients of this process. */
export const clients: Meters = new Meters("client");
