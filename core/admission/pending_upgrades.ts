/**
 * Upgrades that have not opened yet. If a client leaves before the runtime has written
 * the 101, its socket emits no event at all, ever: only time tells that it is lost.
 *
 * @module
 */

/** What a pending upgrade is to this module. */
interface Terminable {
  /** Gives it up. */
  terminate(): void;
}

/** How often to look for lost upgrades, in milliseconds. */
const LOOK_EVERY = 1_000;

/**
 * At how many looks an upgrade has to be pending to be lost. The event loop reads the
 * network between two looks, and a good upgrade opens within a millisecond.
 */
const LOOKS = 2;

/** How many upgrades may be pending before each further client is looked at first. */
const MAX_PENDING = 8;

/** For how long a lost upgrade makes the server careful, in milliseconds. */
const CAREFUL_FOR = 60_000;

/**
 * The upgrades of one server that have not opened yet. Those that never will are
 * terminated one to two seconds after the upgrade.
 *
 * @typeParam Client The connections.
 */
export class PendingUpgrades<Client extends Terminable> {
  /** Each with the number of the look that finds it lost. */
  readonly #pending = new Map<Client, number>();
  #looks = 0;
  #lost = 0;
  #carefulUntil = -Infinity;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** How many upgrades were lost so far. */
  get lost(): number {
    return this.#lost;
  }

  /**
   * Whether so many upgrades do not open that clients seem to leave on purpose. An
   * upgrade that is lost costs the runtime a file descriptor for good, so then it is
   * worth a turn of the event loop to find out whether the next client is still there.
   */
  get isSuspicious(): boolean {
    return this.#pending.size >= MAX_PENDING ||
      performance.now() < this.#carefulUntil;
  }

  /**
   * Adds an upgrade that has just been answered.
   *
   * @param client The connection.
   */
  add(client: Client): void {
    this.#pending.set(client, this.#looks + LOOKS);
    this.#timer ??= setInterval(() => this.#look(), LOOK_EVERY);
  }

  /**
   * Removes an upgrade: it has opened or failed.
   *
   * @param client The connection.
   */
  delete(client: Client): void {
    this.#pending.delete(client);
    if (this.#pending.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Terminates all of them. */
  terminate(): void {
    for (const client of this.#pending.keys()) this.#lose(client);
  }

  #look(): void {
    this.#looks++;
    for (const [client, look] of this.#pending) {
      if (look > this.#looks) break; // those behind are younger
      this.#lose(client);
    }
  }

  #lose(client: Client): void {
    this.#lost++;
    this.#carefulUntil = performance.now() + CAREFUL_FOR;
    this.delete(client);
    client.terminate();
  }
}
