/**
 * The limits on the number of connections.
 *
 * @module
 */

import type { Refusal } from "./handshake.ts";
import { networkOf } from "./remote_address.ts";

/** The `Retry-After` of a request that exceeds a limit, in seconds. */
export const RETRY_AFTER_SECONDS = 5;

/** Counts connections, in total and per network. */
export class ConnectionLimits {
  readonly #max: number;
  readonly #maxPerAddress: number;
  #count = 0;
  readonly #countByNetwork = new Map<string, number>();

  constructor(max: number, maxPerAddress: number) {
    this.#max = max;
    this.#maxPerAddress = maxPerAddress;
  }

  acquire(remoteAddress: string): Refusal | undefined {
    const headers = { "retry-after": `${RETRY_AFTER_SECONDS}` };
    if (this.#count >= this.#max) {
      return { status: 503, reason: "There are too many connections", headers };
    }
    if (this.#maxPerAddress < Infinity) {
      const network = networkOf(remoteAddress);
      const taken = this.#countByNetwork.get(network) ?? 0;
      if (taken >= this.#maxPerAddress) {
        const reason = `There are too many connections from ${network}`;
        return { status: 429, reason, headers };
      }
      this.#countByNetwork.set(network, taken + 1);
    }
    this.#count++;
    return undefined;
  }

  release(remoteAddress: string): void {
    this.#count--;
    if (this.#maxPerAddress === Infinity) return;
    const network = networkOf(remoteAddress);
    const taken = (this.#countByNetwork.get(network) ?? 0) - 1;
    if (taken > 0) this.#countByNetwork.set(network, taken);
    else this.#countByNetwork.delete(network);
  }
}
