/**
 * Queues the messages that this server publishes while the broker is down.
 *
 * @module
 */

/** A message, and the channels that it is published on. */
export interface Publication {
  readonly channels: readonly string[];
  readonly message: Uint8Array<ArrayBuffer>;
}

/** The limit of queued bytes, in addition to the limit of queued messages. */
const MAX_QUEUED_BYTES = 64 * 1024 * 1024;

/** The memory that a queued message takes beside its bytes, in bytes. */
const QUEUED_COST = 512;

/** Holds the newest messages. */
export class OutageQueue {
  readonly #maxMessages: number;
  readonly #queued: Publication[] = [];
  #size = 0;

  /** Creates an empty queue. */
  constructor(maxMessages: number) {
    this.#maxMessages = maxMessages;
  }

  /** Adds a message. Returns how many old ones were dropped for it. */
  push(publication: Publication): number {
    this.#queued.push(publication);
    this.#size += QUEUED_COST + publication.message.length;
    let dropped = 0;
    while (
      this.#queued.length > this.#maxMessages || this.#size > MAX_QUEUED_BYTES
    ) {
      const oldest = this.#queued.shift();
      this.#size -= QUEUED_COST + (oldest?.message.length ?? 0);
      dropped++;
    }
    return dropped;
  }

  /** Removes and returns all messages. */
  takeAll(): Publication[] {
    this.#size = 0;
    return this.#queued.splice(0);
  }
}
