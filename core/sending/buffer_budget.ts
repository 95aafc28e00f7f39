/**
 * Limits the memory of the queues of all connections of a server. What counts is what
 * each connection reports: see `memory` of `core/connection/connection_core.ts`.
 *
 * @module
 */

/** The maximum overhead of a queued message in bytes, mostly in the runtime. */
export const MESSAGE_COST = 1024;

/**
 * A shared budget. When it is used up, the memory of all queues is measured again. It is
 * spent only when messages are queued, so that nothing has to be counted when they are
 * sent.
 *
 * @typeParam Holder The type of the owners of queues.
 */
export class BufferBudget<Holder> {
  readonly #max: number;
  readonly #holders: () => Iterable<Holder>;
  readonly #heldBy: (holder: Holder) => number;
  readonly #end: (holder: Holder) => void;
  #left: number;
  #isChecking = false;

  /**
   * @param max The maximum number of bytes.
   * @param holders All owners of queues.
   * @param heldBy Returns the memory of one owner's queues, in bytes.
   * @param end Ends an owner that holds too much. Its queues must be empty afterwards.
   */
  constructor(
    max: number,
    holders: () => Iterable<Holder>,
    heldBy: (holder: Holder) => number,
    end: (holder: Holder) => void,
  ) {
    this.#max = max;
    this.#holders = holders;
    this.#heldBy = heldBy;
    this.#end = end;
    this.#left = max;
  }

  /** The number of bytes held by all owners. */
  get held(): number {
    let held = 0;
    for (const holder of this.#holders()) held += this.#heldBy(holder);
    return held;
  }

  /**
   * Counts a queued message. If all queues together exceed the maximum, the owners that
   * hold most are ended until the rest fits.
   *
   * @param bytes At least the memory of the message, in bytes.
   */
  spend(bytes: number): void {
    this.#left -= bytes;
    if (this.#left < 0 && !this.#isChecking) this.#check();
  }

  #check(): void {
    // Measuring is expensive, so free a part of the budget.
    const target = this.#max - this.#max / 16;
    this.#isChecking = true;
    try {
      // Listeners of an end may send messages.
      while (this.held > target && this.#endLargest(target)) continue;
    } finally {
      this.#isChecking = false;
      this.#left = Math.max(this.#max - this.held, this.#max - target);
    }
  }

  /** Ends the owners that hold most. Returns whether this freed memory. */
  #endLargest(target: number): boolean {
    const all: { readonly holder: Holder; readonly held: number }[] = [];
    let total = 0;
    for (const holder of this.#holders()) {
      const held = this.#heldBy(holder);
      if (held === 0) continue;
      all.push({ holder, held });
      total += held;
    }
    all.sort((a, b) => b.held - a.held);
    let hasFreed = false;
    for (const { holder, held } of all) {
      if (total <= target) break;
      this.#end(holder);
      total -= held;
      if (this.#heldBy(holder) < held) hasFreed = true;
    }
    return hasFreed;
  }
}

/** The budget, as a connection uses it. */
export type BudgetAccount = Pick<BufferBudget<never>, "spend">;
