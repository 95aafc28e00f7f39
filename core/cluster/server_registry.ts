/**
 * Which other servers there are, and what they are asked: how many connections they
 * have, and to close one. It knows neither adapters nor connections.
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

/** What servers say to each other. */
type ClusterMessage =
  /** I am here. Who has just come wants to hear it of all others, too. */
  | { readonly type: "pulse"; readonly isNew: boolean }
  /** I am gone. */
  | { readonly type: "bye" }
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

type SignedClusterMessage = ClusterMessage & {
  readonly version: 1;
  readonly from: string;
};

/** How often a server says that it is here, in milliseconds. */
const HEARTBEAT_MS = 2_000;

/** After how many of them it is taken for dead. */
const MAX_MISSED_HEARTBEATS = 3;

/** How long others may take to answer, in milliseconds. */
const QUERY_TIMEOUT_MS = 1_000;

/** Somebody who waits for the others' answers. */
interface PendingQuery {
  readonly answers: ClusterAnswer[];
  /** Who has not answered yet. */
  readonly awaited: Set<string>;
  readonly done: () => void;
}

/** One server among others. */
export class ServerRegistry {
  readonly #name: string;
  readonly #host: Pick<ClusterHost, "answer">;
  readonly #publishText: (text: string) => void;
  readonly #presence: Presence | undefined;
  /** How many pulses the others have missed. */
  readonly #missedHeartbeats = new Map<string, number>();
  readonly #queries = new Map<number, PendingQuery>();
  #lastQueryId = 0;
  #timer: Timer | undefined;

  /**
   * Creates a registry that knows of no other server.
   *
   * @param name The name of this server.
   * @param host Answers queries for this server.
   * @param publish Sends a text to all other servers.
   * @param presence Is told of servers that come and go.
   */
  constructor(
    name: string,
    host: Pick<ClusterHost, "answer">,
    publish: (text: string) => void,
    presence?: Presence,
  ) {
    this.#name = name;
    this.#host = host;
    this.#publishText = publish;
    this.#presence = presence;
  }

  /** How many servers there are, this one included. */
  get size(): number {
    return this.#missedHeartbeats.size + 1;
  }

  /** Says that this server is here, now and from time to time. */
  start(): void {
    this.stop();
    this.#publish({ type: "pulse", isNew: true });
    this.#timer = setInterval(() => this.#sendHeartbeat(), HEARTBEAT_MS);
  }

  /** Says nothing any more; nobody can be heard either. */
  stop(): void {
    clearInterval(this.#timer);
    for (const name of [...this.#missedHeartbeats.keys()]) {
      this.#removeServer(name);
    }
  }

  /** Says goodbye. */
  leave(): void {
    this.#publish({ type: "bye" });
    this.stop();
  }

  /**
   * Asks all servers, this one included.
   *
   * @param query What to ask.
   * @returns The sum of the answers. Who does not answer in time is not counted.
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
      members: answers.flatMap(({ members = [] }) => members),
    };
  }

  /**
   * Hears what a server says.
   *
   * @param text What it says; what is none of this version is passed over.
   * @throws {SyntaxError} If it is no JSON.
   */
  receive(text: string): void {
    const message: unknown = JSON.parse(text);
    if (!isClusterMessage(message) || message.from === this.#name) return;
    const { from } = message;
    switch (message.type) {
      case "bye":
        return this.#removeServer(from);
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

  /**
   * Something has come from a server.
   *
   * @param name Its name.
   */
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
    const signed: SignedClusterMessage = {
      ...message,
      version: 1,
      from: this.#name,
    };
    this.#publishText(JSON.stringify(signed));
  }
}

/** Whether something has come of another server of this version. */
function isClusterMessage(value: unknown): value is SignedClusterMessage {
  return typeof value === "object" && value !== null && "version" in value &&
    value.version === 1 && "from" in value && typeof value.from === "string" &&
    "type" in value;
}
