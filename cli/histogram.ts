/**
 * Counts latencies in buckets that grow by a constant factor; pure.
 *
 * @module
 */

/** Buckets for each doubling: a quantile is off by at most 9 %. */
const PER_DOUBLING = 8;

/** The lower bound of the first bucket, in milliseconds. */
const MIN_MS = 0.001;

/** A bucket: latencies of at most `upTo` milliseconds, and more than the last one's. */
export interface Bucket {
  /** The upper bound, in milliseconds. */
  readonly upTo: number;
  /** How many there were. */
  readonly count: number;
}

/** The distribution of latencies. */
export class Histogram {
  readonly #counts: number[] = [];
  #count = 0;
  #max = 0;

  /** How many latencies there are. */
  get count(): number {
    return this.#count;
  }

  /** Adds a latency, in milliseconds. */
  add(ms: number): void {
    const index = indexOf(ms);
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    this.#count++;
    this.#max = Math.max(this.#max, ms);
  }

  /**
   * The latency that a share of all does not exceed, in milliseconds.
   *
   * @param share From 0 to 1.
   * @returns The upper bound of its bucket; NaN without any latency.
   */
  quantile(share: number): number {
    if (this.#count === 0) return NaN;
    let left = Math.max(1, Math.ceil(share * this.#count));
    for (const [index, count = 0] of this.#counts.entries()) {
      left -= count;
      if (left <= 0) return Math.min(boundOf(index), this.#max);
    }
    return this.#max;
  }

  /** The buckets that hold something, one for each doubling. */
  buckets(): Bucket[] {
    const buckets: Bucket[] = [];
    for (let i = 0; i < this.#counts.length; i += PER_DOUBLING) {
      let count = 0;
      for (let j = i; j < i + PER_DOUBLING; j++) count += this.#counts[j] ?? 0;
      if (count > 0) {
        buckets.push({ upTo: boundOf(i + PER_DOUBLING - 1), count });
      }
    }
    return buckets;
  }

  /** Draws the buckets as bars of at most `width` characters. */
  draw(width: number): string[] {
    const buckets = this.buckets();
    const most = Math.max(...buckets.map(({ count }) => count));
    return buckets.map(({ upTo, count }) => {
      const bar = "#".repeat(Math.max(1, Math.round(count / most * width)));
      return `${upTo.toPrecision(3).padStart(9)} ms ${bar} ${count}`;
    });
  }
}

function indexOf(ms: number): number {
  const doublings = Math.log2(Math.max(ms, MIN_MS) / MIN_MS);
  return Math.max(0, Math.ceil(doublings * PER_DOUBLING) - 1);
}

function boundOf(index: number): number {
  return MIN_MS * 2 ** ((index + 1) / PER_DOUBLING);
}
