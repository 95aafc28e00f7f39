/** Chance that is the same in every run. */

export class SeededRandom {
  #seed: number;

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** A number from 0 to 1. */
  next(): number {
    this.#seed = (Math.imul(this.#seed, 1_664_525) + 1_013_904_223) >>> 0;
    return this.#seed / 2 ** 32;
  }

  /** A whole number below a bound. */
  integer(bound: number): number {
    return Math.floor(this.next() * bound);
  }

  /** One of a list. */
  pick<T>(list: readonly T[]): T {
    const value = list[this.integer(list.length)];
    if (value === undefined) throw new Error("An empty list");
    return value;
  }

  /** So many bytes. */
  bytes(size: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(Array(Math.floor(size)), () => this.integer(256));
  }
}
