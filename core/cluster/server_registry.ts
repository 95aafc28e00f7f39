/**
 * Keeps the list of servers in the cluster by heartbeats, and sends queries to them. It
 * knows neither adapters nor connections.
 *
 * @module
 */

import type {
  ClusterAnswer,
  ClusterHost,
  ClusterQuery,
} from "./cluster_host.ts";
import type { Presence } from "./presence.ts";
import { startTimer, type Timer } from "../util/timer.ts";

/** A message between servers. */
type ClusterMessage =
  /** A heartbeat. A server that has just come up wants one from all others. */
  | { readonly type: "pulse"; readonly isNew: boolean }
  /** The sender leaves the cluster. */
  | { readonly type: "bye" }
  /** Messages of the sender are lost, and those that it sends from now on follow. */
  | { readonly type: "gap" }
  | {
    readonly type: "ask";
    readonly id: number;
    readonly inquiry: ClusterQuery;
  }
  | ClusterAnswer & {
    readonly type: "answer";
    readonly id: number;
    readonly to: string;
  };

type AddressedClusterMessage = ClusterMessage & {
  readonly version: 1;
  readonly from: string;
};

/** The interval between heartbeats, in milliseconds. */
const HEARTBEAT_MS = 2_000;

/** A server that misses more heartbeats than this is removed. */
const MAX_MISSED_HEARTBEATS = 3;

/** The longest time to wait for answers, in milliseconds. */
const QUERY_TIMEOUT_MS = 1_000;

/** A query that waits for answers. */
interface PendingQuery {
  readonly answers: ClusterAnswer[];
  /** The servers that have not answered. */
  readonly awaited: Set<string>;
  readonly done: () => void;
}

/** The servers of a cluster, as one of them sees it. */
export class ServerRegistry {
  readonly #name: string;
  readonly #host: Pick<ClusterHost, "answer" | "sendPositions">;
  readonly #publishText: (text: string) => void;
  readonly #presence: Presence<unknown> | undefined;
  /** The number of heartbeats that each other server has missed. */
  readonly #missedHeartbeats = new Map<string, number>();
  readonly #queries = new Map<number, PendingQuery>();
  #lastQueryId = 0;
  #timer: Timer | undefined;

  /**
   * Creates a registry that knows of no other server.
   *
   * @param presence Is told which servers come and go.
   */
  constructor(
    name: string,
    host: Pick<ClusterHost, "answer" | "sendPositions">,
    publish: (text: string) => void,
    presence?: Presence<unknown>,
  ) {
    this.#name = name;
    this.#host = host;
    this.#publishText = publish;
    this.#presence = presence;
  }

  /** The number of servers, including this one. */
  get size(): number {
    return this.#missedHeartbeats.size + 1;
  }

  /** Sends heartbeats from now on. */
  start(): void {
    this.stop();
    this.#publish({ type: "pulse", isNew: true });
    this.#timer = setInterval(() => this.#sendHeartbeat(), HEARTBEAT_MS);
  }

  /** Stops sending heartbeats and forgets the other servers. */
  stop(): void {
    clearInterval(this.#timer);
    for (const name of [...this.#missedHeartbeats.keys()]) {
      this.#removeServer(name);
    }
  }

  /** Tells the other servers that they may have missed messages of this one. */
  publishGap(): void {
    this.#publish({ type: "gap" });
  }

  /** Tells the other servers that this one leaves, and stops. */
  leave(): void {
    this.#publish({ type: "bye" });
    this.stop();
  }

  /**
   * Asks all servers, including this one.
   *
   * @returns The sum of the answers that arrive within a second.
   */
  async query(query: ClusterQuery): Promise<ClusterAnswer> {
    const own = this.#host.answer(query);
    if (this.#missedHeartbeats.size === 0) return own;
    const id = ++this.#lastQueryId;
    const { promise, resolve } = Promise.withResolvers<void>();
    const awaited = new Set(this.#missedHeartbeats.keys());
    const pending: PendingQuery = { answers: [own], awaited, done: resolve };
    this.#queries.set(id, pending);
    const timer = startTimer(resolve, QUERY_TIMEOUT_MS);
    this.#publish({ type: "ask", id, inquiry: query });
    await promise;
    clearTimeout(timer);
    this.#queries.delete(id);
    const { answers } = pending;
    return {
      number: answers.reduce((sum, { number }) => sum + number, 0),
      entries: answers.flatMap(({ entries = [] }) => entries),
      unchanged: answers.flatMap(({ unchanged = [] }) => unchanged),
    };
  }

  /**
   * Handles a message from a server. Messages of another version are ignored.
   *
   * @throws {SyntaxError} If the text is not valid JSON.
   */
  receive(text: string): void {
    const message: unknown = JSON.parse(text);
    if (!isClusterMessage(message) || message.from === this.#name) return;
    const { from } = message;
    switch (message.type) {
      case "bye":
        return this.#removeServer(from);
      case "gap":
        return this.#host.sendPositions(undefined, false);
      case "pulse":
        if (message.isNew && this.#missedHeartbeats.has(from)) {
          this.#presence?.serverBack(from);
        }
        this.serverHeard(from);
        if (message.isNew) this.#publish({ type: "pulse", isNew: false });
        return;
      case "ask": {
        const answer = this.#host.answer(message.inquiry);
        return this.#publish({
          type: "answer",
          id: message.id,
          to: from,
          ...answer,
        });
      }
      case "answer":
        if (message.to === this.#name) {
          this.#addAnswer(message.id, from, message);
        }
    }
  }

  #sendHeartbeat(): void {
    for (const [name, missed] of this.#missedHeartbeats) {
      if (missed >= MAX_MISSED_HEARTBEATS) this.#removeServer(name);
      else this.#missedHeartbeats.set(name, missed + 1);
    }
    this.#publish({ type: "pulse", isNew: false });
  }

  /** A message has arrived from a server, of whatever kind. */
  serverHeard(name: string): void {
    const isNew = !this.#missedHeartbeats.has(name);
    this.#missedHeartbeats.set(name, 0);
    if (isNew) this.#presence?.serverFound(name);
  }

  #removeServer(name: string): void {
    if (this.#missedHeartbeats.delete(name)) this.#presence?.serverLost(name);
    for (const id of this.#queries.keys()) {
      this.#addAnswer(id, name, { number: 0 });
    }
  }

  #addAnswer(id: number, from: string, answer: ClusterAnswer): void {
    const query = this.#queries.get(id);
    if (!query?.awaited.delete(from)) return;
    query.answers.push(answer);
    if (query.awaited.size === 0) query.done();
  }

  #publish(message: ClusterMessage): void {
    const signed: AddressedClusterMessage = {
      ...message,
      version: 1,
      from: this.#name,
    };
    this.#publishText(JSON.stringify(signed));
  }
}

function isClusterMessage(value: unknown): value is AddressedClusterMessage {
  return typeof value === "object" && value !== null && "version" in value &&
    value.version === 1 && "from" in value && typeof value.from === "string" &&
    "type" in value;
}
