/**
 * Logs in a stream of JetStream that must not be used any more, as not all messages were
 * stored in them. Servers tell each other.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/nats-core";
import { addBounded } from "../core/util/bounded_set.ts";
import type { JetStreamApi } from "./nats_api.ts";

/** How long to wait for other servers that know of lost messages, in milliseconds. */
const ASK_TIMEOUT_MS = 200;

/** The number of lost logs to remember. */
const MAX_LOST_LOGS = 100;

/** What a server tells the others about a log whose messages are not all stored. */
type LostMessage =
  /** This log must not be used any more; undefined if its name is unknown. */
  | { readonly type: "lost"; readonly log?: string }
  /** Which logs must not be used any more? */
  | { readonly type: "ask" };

/** Knows of lost logs, for one server. */
export class LostLogs {
  readonly #api: JetStreamApi;
  readonly #subject: string;
  readonly #onLost: (log: string | undefined) => void;
  readonly #names = new Set<string>();
  /** Whether the log that is found next must not be used, whatever its name is. */
  #isNextLost = false;

  /** @param onLost Called if another server tells of a log; undefined for any. */
  constructor(
    api: JetStreamApi,
    prefix: string,
    onLost: (log: string | undefined) => void,
  ) {
    this.#api = api;
    this.#subject = `${prefix}.lost`;
    this.#onLost = onLost;
  }

  /** Listens to the other servers. */
  listen(connection: NatsConnection): void {
    connection.subscribe(this.#subject, {
      callback: (error, message) => {
        if (!error) this.#receive(message.json());
      },
    });
  }

  has(log: string): boolean {
    return this.#isNextLost || this.#names.has(log);
  }

  /** A log has been opened that is not lost. */
  opened(): void {
    this.#isNextLost = false;
  }

  /** Adds a log, and tells the other servers; undefined for the one that is found next. */
  add(log: string | undefined): void {
    this.#remember(log);
    this.#publish({ type: "lost", ...log !== undefined && { log } });
  }

  /** Asks the other servers, and waits for their answers. */
  async ask(): Promise<void> {
    const { connection } = this.#api;
    this.#publish({ type: "ask" });
    await Promise.race([connection.flush(), connection.closed()]);
    await new Promise((resolve) => setTimeout(resolve, ASK_TIMEOUT_MS));
  }

  #receive(message: LostMessage): void {
    if (message.type === "ask") {
      for (const log of this.#names) this.#publish({ type: "lost", log });
      if (this.#isNextLost) this.#publish({ type: "lost" });
      return;
    }
    this.#remember(message.log);
    this.#onLost(message.log);
  }

  #remember(log: string | undefined): void {
    if (log === undefined) this.#isNextLost = true;
    else addBounded(this.#names, log, MAX_LOST_LOGS);
  }

  #publish(message: LostMessage): void {
    this.#api.connection.publish(this.#subject, JSON.stringify(message));
  }
}
