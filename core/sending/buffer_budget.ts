/**
 * Bounds what waits for all peers of a server together.
 *
 * @module
 */

/** What a message may cost beside its payload, in bytes: in the runtime most. */
export const MESSAGE_COST = 1024;

/**
 * What is left: when it is used up, what really waits is measured again. It grows only
 * where messages are added to queues, so nothing has to be counted as they leave.
 *
 * @typeParam Holder Who has queues.
 */
export class BufferBudget<Holder> {
  readonly #max: number;
  readonly #holders: () => Iterable<Holder>;
  readonly #heldBy: (holder: Holder) => number;
  readonly #end: (holder: Holder) => void;
  #left: number;
  #isChecking = false;

  /**
   * Creates a budget.
   *
   * @param max How many bytes may be held.
   * @param holders All who have queues.
   * @param heldBy How many bytes one of them holds.
   * @param end Ends one that holds too much; it holds nothing then.
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

  /** How many bytes are held by all. */
  get held(): number {
    let held = 0;
    for (const holder of this.#holders()) held += this.#heldBy(holder);
    return held;
  }

  /**
   * Counts what has been added to a queue. If all queues together hold too much then,
   * those that hold most are ended until the others hold less.
   *
   * @param bytes At least as many as it takes.
   */
  spend(bytes: number): void {
    this.#left -= bytes;
    if (this.#left < 0 && !this.#isChecking) this.#check();
  }

  #check(): void {
    // To measure costs time, so a part of the budget is free after that.
    const target = this.#max - this.#max / 16;
    this.#isChecking = true;
    try {
      // Listeners that hear of an end may send to others.
      while (this.held > target && this.#endLargest(target)) continue;
    } finally {
      this.#isChecking = false;
      this.#left = Math.max(this.#max - this.held, this.#max - target);
    }
  }

  /** Ends those that hold most. Tells whether that has freed something. */
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

/** What bounds the queues of all connections, as one of them sees it. */
export type Spender = Pick<BufferBudget<never>, "spend">;
