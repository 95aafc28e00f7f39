/**
 * What a server remembers of one session of a client: which requests were handled, and how
 * they were answered; pure.
 *
 * @module
 */

import type { Payload, RequestFailure } from "../protocol/frames.ts";
import { memoryOf } from "../values/codec.ts";

/** How a request was answered. */
export type Outcome =
  | { readonly kind: "reply"; readonly payload: Payload }
  | { readonly kind: "failure"; readonly failure: RequestFailure }
  /** It was answered, and the answer is too large to be remembered. */
  | { readonly kind: "forgotten" };

/** A request that is remembered. */
export interface RequestEntry {
  /** Identifies its content, so that its number is not used for another request. */
  readonly digest: string;
  /** The server that handles it. */
  readonly owner: string;
  /** Its answer; undefined while it is handled. */
  readonly outcome: Outcome | undefined;
}

/** The state of the request with a number. */
export type Finding =
  /** Remembered. */
  | RequestEntry
  /** It was never handled. */
  | "new"
  /** It was handled and is forgotten, or may have been. */
  | "forgotten"
  /** The number was used for a request with other content. */
  | "reused";

/** The memory of a session beside its entries, in bytes. */
export const SESSION_COST = 512;

/** The memory of an entry beside its answer, in bytes. */
const REMEMBERED_COST = 256;

/** The requests of one session. */
export class SessionRecord {
  /** In the order in which they were claimed. */
  readonly #entries = new Map<number, RequestEntry>();
  #forgotten: number;
  #size: number = SESSION_COST;

  /** @param forgotten Numbers up to this one may have been handled. */
  constructor(forgotten = 0) {
    this.#forgotten = forgotten;
  }

  /** The entries, by their numbers. */
  get entries(): ReadonlyMap<number, RequestEntry> {
    return this.#entries;
  }

  /** Numbers up to this one that have no entry may have been handled. */
  get forgotten(): number {
    return this.#forgotten;
  }

  /** The approximate memory, in bytes. */
  get size(): number {
    return this.#size;
  }

  /** The state of the request with a number. */
  find(number: number, digest: string): Finding {
    const entry = this.#entries.get(number);
    if (entry) return entry.digest === digest ? entry : "reused";
    return number > this.#forgotten ? "new" : "forgotten";
  }

  /** Sets the entry of a number. */
  set(number: number, entry: RequestEntry): void {
    this.#size += costOf(entry) - costOf(this.#entries.get(number));
    this.#entries.set(number, entry);
  }

  /** Remembers the answer to a request, unless it has one or is forgotten. */
  settle(number: number, outcome: Outcome): void {
    const entry = this.#entries.get(number);
    if (entry && !entry.outcome) this.set(number, { ...entry, outcome });
  }

  /** Removes the entry of a request that was not handled: its number is new again. */
  withdraw(number: number): void {
    this.#delete(number);
  }

  /** Forgets the requests up to a number. */
  forgetTo(number: number): void {
    if (number <= this.#forgotten) return;
    this.#forgotten = number;
    for (const known of [...this.#entries.keys()]) {
      if (known <= number) this.#delete(known);
    }
  }

  /**
   * Forgets the oldest answers until the size is below a limit, or none is left. Requests
   * that are being handled are not forgotten.
   */
  shrink(limit: number): void {
    for (const [number, { outcome }] of [...this.#entries]) {
      if (this.#size <= limit) return;
      if (!outcome) continue;
      this.#delete(number);
      this.#forgotten = Math.max(this.#forgotten, number);
    }
  }

  /** Whether a request is being handled. */
  get isBusy(): boolean {
    for (const { outcome } of this.#entries.values()) {
      if (!outcome) return true;
    }
    return false;
  }

  /** Returns an independent copy. */
  copy(): SessionRecord {
    const copy = new SessionRecord(this.#forgotten);
    for (const [number, entry] of this.#entries) copy.set(number, entry);
    return copy;
  }

  #delete(number: number): void {
    this.#size -= costOf(this.#entries.get(number));
    this.#entries.delete(number);
  }
}

function costOf(entry: RequestEntry | undefined): number {
  if (!entry) return 0;
  const { outcome } = entry;
  switch (outcome?.kind) {
    case "reply":
      return REMEMBERED_COST + memoryOf(outcome.payload);
    case "failure": {
      const { message, code = "" } = outcome.failure;
      return REMEMBERED_COST + memoryOf(message) + memoryOf(code);
    }
    default:
      return REMEMBERED_COST;
  }
}

/**
 * Identifies the content of a request: its type, its size, and a hash of 53 bits. The hash
 * finds mistakes; a client that wants two contents with one hash only deceives itself.
 */
export function digestOf(payload: Payload): string {
  const isText = typeof payload === "string";
  const bytes = isText ? undefined : new Uint8Array(payload);
  const length = isText ? payload.length : payload.byteLength;
  let high = 0xdeadbeef, low = 0x41c6ce57;
  for (let i = 0; i < length; i++) {
    const unit = isText ? payload.charCodeAt(i) : bytes?.[i] ?? 0;
    high = Math.imul(high ^ unit, 2654435761);
    low = Math.imul(low ^ unit, 1597334677);
  }
  high = Math.imul(high ^ high >>> 16, 2246822507) ^
    Math.imul(low ^ low >>> 13, 3266489909);
  low = Math.imul(low ^ low >>> 16, 2246822507) ^
    Math.imul(high ^ high >>> 13, 3266489909);
  const hash = 2 ** 32 * (2 ** 21 - 1 & low) + (high >>> 0);
  return `${isText ? "t" : "b"}${length}.${hash.toString(36)}`;
}
