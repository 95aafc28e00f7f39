/**
 * What a client learns of a server: whether it takes a handshake that offers
 * `events.v1`. Runtimes other than Deno fail a handshake whose server selects none of
 * the offered subprotocols (RFC 6455, section 4.1, step 6 of the answer's validation),
 * and some servers refuse what they do not know. Pure.
 *
 * @module
 */

import type { ConnectFailure } from "../runtime/connect_failure.ts";

/** Whether the offer was the reason why a handshake failed. */
export type OfferBlame =
  /** Yes: the server's choice of a subprotocol was the problem. */
  | "certain"
  /** Probably: the server answered that the request was not acceptable. */
  | "likely"
  /** Nobody knows: the runtime says nothing, or the server only hung up. */
  | "possible"
  /** No: the server was not reached, or refused for another reason. */
  | "none";

/** The statuses with which a server may refuse a subprotocol that it does not know. */
const LIKELY_STATUSES: readonly number[] = [400, 406, 415, 417, 426, 501];

/**
 * Tells whether the offer was the reason for a failure.
 *
 * @param hasCodec Whether the client has a codec: a server of this library refuses one
 * that it does not have with 400, and must not be misunderstood instead.
 */
export function blameOffer(
  { kind, status, isSubprotocol, isCutOff }: ConnectFailure,
  hasCodec: boolean,
): OfferBlame {
  if (isSubprotocol) return "certain";
  if (hasCodec) return "none";
  if (status !== undefined) {
    if (status === 500) return "possible";
    return LIKELY_STATUSES.includes(status) ? "likely" : "none";
  }
  return isCutOff || kind === undefined ? "possible" : "none";
}

/** What a client has learnt of one server. */
export class ServerMemory {
  #takesOffers: boolean | undefined;
  #isPlainNext = false;
  #hasRetried = false;

  /** Whether it is known that the server takes the offer, or that it does not. */
  get isKnown(): boolean {
    return this.#takesOffers !== undefined;
  }

  /** Whether the next handshake is to offer `events.v1`. */
  get isOffering(): boolean {
    return this.#takesOffers ?? !this.#isPlainNext;
  }

  /** Learns what the server takes. */
  learn(takesOffers: boolean): void {
    this.#takesOffers = takesOffers;
  }

  /**
   * Learns of a handshake that failed.
   *
   * @param isOffering Whether it offered `events.v1`.
   * @param willRetry Whether the client makes another attempt later.
   * @returns Whether to try at once without the offer.
   */
  failed(
    isOffering: boolean,
    blame: OfferBlame,
    willRetry: boolean,
  ): boolean {
    if (this.isKnown || blame === "none") return false;
    if (isOffering && blame === "certain") {
      this.#takesOffers = false;
      return true;
    }
    this.#isPlainNext = isOffering;
    if (!isOffering || this.#hasRetried) return false;
    if (willRetry && blame === "possible") return false;
    this.#hasRetried = true;
    return true;
  }
}

/** The number of servers that a client remembers. */
const MAX_SERVERS = 32;

/** What a client has learnt of all servers, by address and path. */
export class ServerMemories {
  readonly #memories = new Map<string, ServerMemory>();

  /** Finds what is known of a server. */
  of(url: string | URL): ServerMemory {
    const key = String(url).replace(/[?#].*$/s, "");
    const known = this.#memories.get(key);
    if (known) return known;
    const [oldest] = this.#memories.keys();
    if (this.#memories.size >= MAX_SERVERS && oldest !== undefined) {
      this.#memories.delete(oldest);
    }
    const memory = new ServerMemory();
    this.#memories.set(key, memory);
    return memory;
  }
}
