/**
 * Upgrades that have not opened yet. If a client disconnects before the runtime has
 * written the 101 response, its socket never emits an event, so a lost upgrade is
 * detected by a timeout.
 *
 * @module
 */

/** A connection that can be terminated. */
interface Terminable {
  /** Drops the connection. */
  terminate(): void;
}

/** The interval of checks, in milliseconds. */
const CHECK_INTERVAL_MS = 1_000;

/**
 * The number of checks at which an upgrade must be pending to be lost. The event loop
 * reads from the network between two checks, and a good upgrade opens within a
 * millisecond.
 */
const CHECKS = 2;

/** The number of pending upgrades from which on clients are suspicious. */
const MAX_PENDING = 8;

/** How long clients are suspicious after a lost upgrade, in milliseconds. */
const SUSPICIOUS_MS = 60_000;

/**
 * The pending upgrades of a server. Lost ones are terminated one to two seconds after the
 * upgrade.
 *
 * @typeParam Client The type of the connections.
 */
export class PendingUpgrades<Client extends Terminable> {
  /** Each with the number of the check at which it is lost. */
  readonly #pending = new Map<Client, number>();
  #checks = 0;
  #lost = 0;
  #suspiciousUntil = -Infinity;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** The number of lost upgrades. */
  get lost(): number {
    return this.#lost;
  }

  /**
   * Whether clients seem to disconnect during the upgrade on purpose. Each lost upgrade
   * leaks a file descriptor of the runtime, so the server should then wait for a turn of
   * the event loop to check that a client is still connected.
   */
  get isSuspicious(): boolean {
    return this.#pending.size >= MAX_PENDING ||
      performance.now() < this.#suspiciousUntil;
  }

  /** Adds an upgrade whose response was just returned. */
  add(client: Client): void {
    this.#pending.set(client, this.#checks + CHECKS);
    this.#timer ??= setInterval(() => this.#check(), CHECK_INTERVAL_MS);
  }

  /** Removes an upgrade that has opened or failed. */
  delete(client: Client): void {
    this.#pending.delete(client);
    if (this.#pending.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Terminates all pending upgrades. */
  terminate(): void {
    for (const client of this.#pending.keys()) this.#lose(client);
  }

  #check(): void {
    this.#checks++;
    for (const [client, checkNumber] of this.#pending) {
      if (checkNumber > this.#checks) break; // later ones are newer
      this.#lose(client);
    }
  }

  #lose(client: Client): void {
    this.#lost++;
    this.#suspiciousUntil = performance.now() + SUSPICIOUS_MS;
    this.delete(client);
    client.terminate();
  }
}
