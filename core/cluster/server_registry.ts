/**
 * Keeps the list of servers in the cluster by heartbeats, and sends queries to them. It
 * knows neither adapters nor connections.
 *
 * @module
 */

import { isThenable } from "../events/errors.ts";
import type { BroadcastBody } from "../history/envelope.ts";
import { addBounded } from "../util/bounded_set.ts";
import { startTimer, type Timer } from "../util/timer.ts";
import type {
  ClusterAnswer,
  ClusterHost,
  ClusterQuery,
} from "./cluster_host.ts";
import type { Presence } from "./presence.ts";
import {
  decodeServerMessage,
  encodeServerMessage,
  type ServerMessage,
} from "./server_messages.ts";

/** The interval between heartbeats, in milliseconds. */
const HEARTBEAT_MS = 2_000;

/** A server that misses more heartbeats than this is removed. */
const MAX_MISSED_HEARTBEATS = 3;

/**
 * How long the other servers have to answer the first heartbeat, in milliseconds. Until
 * then it is not known which servers there are.
 */
const DISCOVERY_MS = 1_000;

/**
 * The longest time to wait for answers, in milliseconds. A server that is lost is removed
 * before, so one that does not answer by then does not answer at all.
 */
const QUERY_TIMEOUT_MS = 10_000;

/** The number of queries to remember that must not be run twice. */
const MAX_HANDLED = 4_096;

/** How a {@linkcode ServerRegistry} sends messages. */
export interface RegistryTransport {
  /**
   * Sends a message to one server, or to all others. It throws or rejects if the message
   * could not be sent.
   *
   * @param to The name of the server; undefined for all.
   */
  send(
    message: Uint8Array<ArrayBuffer>,
    to: string | undefined,
  ): void | Promise<void>;
  /** Sends a message as `send` does, and reports errors. */
  sendQuietly(message: Uint8Array<ArrayBuffer>, to: string | undefined): void;
}

/** How to wait for the answers to a query. */
export interface QueryOptions {
  /** Sent with the query. */
  readonly body?: BroadcastBody;
  /** The longest time to wait, in milliseconds. */
  readonly timeout?: number;
  /**
   * Takes each part of an answer.
   *
   * @returns Whether no more answers are needed.
   */
  received(
    answer: ClusterAnswer,
    body: BroadcastBody | undefined,
    from: string,
  ): boolean | void;
}

/** What the pulses of a {@linkcode ServerRegistry} tell about its server. */
export interface RegistryOptions {
  /** Is told which servers come and go. */
  readonly presence?: Presence<unknown> | undefined;
  /** Whether this server stores messages in the broker. */
  readonly usesLog?: boolean;
}

/** How many servers have not answered a query. */
export interface QueryResult {
  /** Those that were lost before, with their connections. */
  readonly lost: number;
  /** Those that have not answered in time, or do not know the query. */
  readonly unanswered: number;
}

type Pulse = Extract<ServerMessage, { readonly type: "pulse" }>;

/** A query that waits for answers. */
interface PendingQuery {
  readonly message: Uint8Array<ArrayBuffer>;
  readonly received: QueryOptions["received"];
  /** The known servers that have not answered. */
  readonly awaited: Set<string>;
  /** The servers that have answered. */
  readonly answered: Set<string>;
  /** The servers that were lost before they answered. */
  readonly lost: Set<string>;
  /** The servers that do not know the query. */
  readonly unable: Set<string>;
  isDiscovering: boolean;
  readonly settled: PromiseWithResolvers<void>;
}

/** The part of the server that a registry calls. */
type RegistryHost = Pick<
  ClusterHost,
  "answer" | "appMessage" | "failed" | "sendPositions"
>;

/** The servers of a cluster, as one of them sees it. */
export class ServerRegistry {
  readonly #name: string;
  readonly #host: RegistryHost;
  readonly #transport: RegistryTransport;
  readonly #presence: Presence<unknown> | undefined;
  readonly #usesLog: boolean;
  #isMixReported = false;
  /** The number of heartbeats that each other server has missed. */
  readonly #missedHeartbeats = new Map<string, number>();
  readonly #queries = new Map<number, PendingQuery>();
  #lastQueryId = 0;
  /** Queries that this server has run, and must not run again. */
  readonly #handled = new Set<string>();
  #timer: Timer | undefined;
  /** Ends the discovery of other servers; undefined when it has ended. */
  #discovery: Timer | undefined;

  /** Creates a registry that knows of no other server. */
  constructor(
    name: string,
    host: RegistryHost,
    transport: RegistryTransport,
    { presence, usesLog = false }: RegistryOptions = {},
  ) {
    this.#name = name;
    this.#host = host;
    this.#transport = transport;
    this.#presence = presence;
    this.#usesLog = usesLog;
  }

  /** The number of servers, including this one. */
  get size(): number {
    return this.#missedHeartbeats.size + 1;
  }

  /**
   * Whether a server is known to be lost. While other servers are being found, and while the
   * adapter is down, it is not known.
   */
  isLost(name: string): boolean {
    return this.#timer !== undefined && this.#discovery === undefined &&
      !this.#missedHeartbeats.has(name);
  }

  /** Sends heartbeats from now on. */
  start(): void {
    this.stop();
    this.#timer = setInterval(() => this.#sendHeartbeat(), HEARTBEAT_MS);
    this.#discovery = startTimer(() => {
      this.#discovery = undefined;
      for (const query of this.#queries.values()) {
        query.isDiscovering = false;
        settleIfComplete(query);
      }
    }, DISCOVERY_MS);
    this.#sendPulse(true);
  }

  /** Stops sending heartbeats and forgets the other servers. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    clearTimeout(this.#discovery);
    this.#discovery = undefined;
    for (const { settled } of this.#queries.values()) {
      settled.reject(new Error("the adapter is down"));
    }
    for (const name of [...this.#missedHeartbeats.keys()]) {
      this.#removeServer(name);
    }
  }

  /** Tells the other servers that they may have missed messages of this one. */
  publishGap(): void {
    this.#send({ type: "gap" });
  }

  /** Tells the other servers that this one leaves, and stops. */
  leave(): void {
    this.#send({ type: "bye" });
    this.stop();
  }

  /**
   * Asks all other servers, and waits until each of them has answered or is known to be
   * lost. Right after {@linkcode ServerRegistry.start} this includes the time in which
   * other servers are found.
   *
   * @returns A promise of how many servers have not answered. It rejects if the query
   * could not be sent.
   */
  async query(
    query: ClusterQuery,
    { body, timeout = QUERY_TIMEOUT_MS, received }: QueryOptions,
  ): Promise<QueryResult> {
    const id = ++this.#lastQueryId;
    const ask = { type: "ask", id, query } as const;
    const pending: PendingQuery = {
      message: encodeServerMessage(this.#name, ask, body),
      received,
      awaited: new Set(this.#missedHeartbeats.keys()),
      answered: new Set(),
      lost: new Set(),
      unable: new Set(),
      isDiscovering: this.#discovery !== undefined,
      settled: Promise.withResolvers(),
    };
    if (pending.awaited.size === 0 && !pending.isDiscovering) {
      return { lost: 0, unanswered: 0 };
    }
    this.#queries.set(id, pending);
    const timer = startTimer(() => pending.settled.resolve(), timeout);
    try {
      await Promise.all([
        this.#transport.send(pending.message, undefined),
        pending.settled.promise,
      ]);
    } finally {
      clearTimeout(timer);
      this.#queries.delete(id);
    }
    const { awaited, unable, lost } = pending;
    return { lost: lost.size, unanswered: awaited.size + unable.size };
  }

  /** Sends a message of the application to all other servers. */
  async sendAppMessage(body: BroadcastBody): Promise<void> {
    const message = encodeServerMessage(this.#name, { type: "app" }, body);
    await this.#transport.send(message, undefined);
  }

  /**
   * Handles a message from a server. Those of later versions of this library are ignored.
   *
   * @throws {SyntaxError} If its header is not valid JSON.
   * @throws {TypeError} If its header has the wrong fields.
   */
  receive(bytes: Uint8Array): void {
    const received = decodeServerMessage(bytes);
    if (received === undefined || received.from === this.#name) return;
    const { from, message, body } = received;
    if (message.type === "bye") return this.#removeServer(from);
    if (message.type === "gap") {
      return this.#host.sendPositions(undefined, false);
    }
    if (message.type === "app") {
      // It may be sent by a program that is not a server.
      return body === undefined ? undefined : this.#host.appMessage(body);
    }
    if (message.type === "ask") {
      // Before this server is up it cannot answer, and is asked again then.
      if (this.#timer === undefined) return;
      return this.#answer(from, message.id, message.query, body);
    }
    if (message.type === "answer") {
      this.serverHeard(from);
      return this.#addAnswer(from, message, body);
    }
    this.#receivePulse(from, message);
  }

  #receivePulse(from: string, { isNew, clock, usesLog }: Pulse): void {
    if (clock !== undefined) this.#presence?.noteClock(clock);
    if (isNew) {
      if (this.#missedHeartbeats.has(from)) this.#presence?.serverBack(from);
      this.#askAgain(from);
    }
    this.serverHeard(from);
    if (isNew) this.#sendPulse(false, from);
    const isMixed = usesLog !== undefined && usesLog !== this.#usesLog;
    if (!isMixed || this.#isMixReported) return;
    this.#isMixReported = true;
    this.#host.failed(
      new Error(
        "Cannot deliver all messages to all clients as servers with and without the option history share a broker: set history on all of them, or on none",
      ),
    );
  }

  /** A message has arrived from a server, of whatever kind. */
  serverHeard(name: string): void {
    const isNew = !this.#missedHeartbeats.has(name);
    this.#missedHeartbeats.set(name, 0);
    if (isNew) this.#presence?.serverFound(name);
  }

  #sendHeartbeat(): void {
    for (const [name, missed] of this.#missedHeartbeats) {
      if (missed >= MAX_MISSED_HEARTBEATS) this.#removeServer(name);
      else this.#missedHeartbeats.set(name, missed + 1);
    }
    this.#sendPulse(false);
  }

  #removeServer(name: string): void {
    if (this.#missedHeartbeats.delete(name)) this.#presence?.serverLost(name);
    for (const query of this.#queries.values()) {
      if (!query.awaited.delete(name)) continue;
      query.lost.add(name);
      settleIfComplete(query);
    }
  }

  /**
   * A server has come up, and has perhaps missed a query.
   */
  #askAgain(name: string): void {
    for (const query of this.#queries.values()) {
      if (query.isDiscovering && !query.answered.has(name)) {
        query.awaited.add(name);
      }
      if (!query.awaited.has(name)) continue;
      this.#transport.sendQuietly(query.message, name);
    }
  }

  /** Whether this server has run a query before that must not be run twice. */
  #isRepeated(from: string, id: number, query: ClusterQuery): boolean {
    if (query.type !== "send" && query.type !== "request") return false;
    return !addBounded(this.#handled, `${from} ${id}`, MAX_HANDLED);
  }

  #answer(
    from: string,
    id: number,
    query: ClusterQuery | undefined,
    body: BroadcastBody | undefined,
  ): void {
    const send = (
      answer: ClusterAnswer,
      flags: { readonly isPartial?: true; readonly isUnknown?: true } = {},
      body?: BroadcastBody,
    ) => this.#send({ type: "answer", id, answer, ...flags }, from, body);
    if (query === undefined) return send({ number: 0 }, { isUnknown: true });
    if (this.#isRepeated(from, id, query)) return;
    const answer = this.#host.answer(
      query,
      body,
      (part, body) => send(part, { isPartial: true }, body),
    );
    if (!isThenable(answer)) return send(answer);
    Promise.resolve(answer).then(
      (answer) => send(answer),
      (error) => this.#host.failed(error),
    );
  }

  #addAnswer(
    from: string,
    { id, answer, isPartial, isUnknown }: Extract<
      ServerMessage,
      { readonly type: "answer" }
    >,
    body: BroadcastBody | undefined,
  ): void {
    const query = this.#queries.get(id);
    if (!query || query.answered.has(from)) return;
    if (!isPartial) {
      query.awaited.delete(from);
      query.lost.delete(from);
      if (isUnknown) query.unable.add(from);
      query.answered.add(from);
    } else if (!query.lost.has(from)) query.awaited.add(from);
    try {
      const isEnough = query.received(answer, body, from);
      if (isEnough === true) query.settled.resolve();
    } finally {
      settleIfComplete(query);
    }
  }

  #sendPulse(isNew: boolean, to?: string): void {
    const clock = this.#presence?.clock;
    const usesLog = this.#usesLog;
    const pulse = { type: "pulse", isNew, usesLog } as const;
    this.#send(clock === undefined ? pulse : { ...pulse, clock }, to);
  }

  #send(message: ServerMessage, to?: string, body?: BroadcastBody): void {
    const bytes = encodeServerMessage(this.#name, message, body);
    this.#transport.sendQuietly(bytes, to);
  }
}

/** Ends a query if all servers have answered that there are. */
function settleIfComplete(query: PendingQuery): void {
  if (query.awaited.size === 0 && !query.isDiscovering) query.settled.resolve();
}
