/**
 * Warnings that are written once for each kind.
 *
 * @module
 */

/** The warnings of one kind of event. */
export class OnceWarnings {
  readonly #max: number;
  readonly #seen = new Set<string | number>();

  /**
   * @param max The maximum number of warnings.
   */
  constructor(max: number) {
    this.#max = max;
  }

  /**
   * Writes a warning to the console, unless there was one with the same key.
   *
   * @param message Creates the text.
   */
  warn(key: string | number, message: () => string): void {
    if (this.#seen.has(key) || this.#seen.size >= this.#max) return;
    this.#seen.add(key);
    console.warn(message());
  }
}
