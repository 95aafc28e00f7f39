/**
 * Recognizes messages that arrive more than once: those of this server itself, and those
 * to several rooms, which are published for each room.
 *
 * @module
 */

import {
  encodeEnvelopeStart,
  type SequencedBroadcast,
} from "../history/envelope.ts";
import { addBounded } from "../util/bounded_set.ts";

/** The number of messages to several rooms to remember. */
const MAX_SEEN_MESSAGES = 4096;

/** The filter of one server. */
export class DuplicateFilter {
  /** What the messages of this server begin with. */
  readonly #ownStart: Uint8Array;
  /** Messages to several rooms that have been received. */
  readonly #seen = new Set<string>();

  constructor(name: string) {
    this.#ownStart = encodeEnvelopeStart(name);
  }

  /** Returns whether this server has sent a message, without decoding it. */
  isOwn(message: Uint8Array): boolean {
    const start = this.#ownStart;
    if (message.length < start.length) return false;
    for (let i = start.length - 1; i >= 0; i--) {
      if (message[i] !== start[i]) return false;
    }
    return true;
  }

  /** Whether a message was received before, in the channel of another room. */
  isDuplicate({ target: { rooms }, from, id }: SequencedBroadcast): boolean {
    if (rooms === undefined || rooms.length < 2) return false;
    return !addBounded(this.#seen, `${from} ${id}`, MAX_SEEN_MESSAGES);
  }
}
