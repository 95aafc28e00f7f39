/**
 * Remembers whether servers accept a handshake that offers `events.v1`; pure. Runtimes
 * other than Deno fail a handshake whose server selects none of the offered subprotocols
 * (RFC 6455, section 4.1), and some servers refuse unknown subprotocols.
 *
 * @module
 */

import type { ConnectFailure } from "../runtime/connect_report.ts";

/** Whether the offer was the reason why a handshake failed. */
export type OfferBlame =
  /** Yes: the server's choice of a subprotocol was the problem. */
  | "certain"
  /** Probably: the server answered that the request was not acceptable. */
  | "likely"
  /**
   * Unknown: the runtime does not report a reason, or the server only closed the
   * connection.
   */
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

/** The memory of one server. */
export class ServerMemory {
  #takesOffers: boolean | undefined;
  #isPlainNext = false;
  #hasRetried = false;

  /** Whether the server accepts the offer; undefined if unknown. */
  get isKnown(): boolean {
    return this.#takesOffers !== undefined;
  }

  /** Whether the next handshake is to offer `events.v1`. */
  get isOffering(): boolean {
    return this.#takesOffers ?? !this.#isPlainNext;
  }

  /** Notes whether the server accepts the offer. */
  learn(takesOffers: boolean): void {
    this.#takesOffers = takesOffers;
  }

  /**
   * Notes that a handshake failed.
   *
   * @param isOffering Whether it offered `events.v1`.
   * @param willRetry Whether the client will make another attempt later.
   * @returns Whether to retry immediately without the offer.
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

/** The memories of all servers, by address and path. */
export class ServerMemories {
  readonly #memories = new Map<string, ServerMemory>();

  /** Returns the memory of a server. */
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
