/**
 * Code that a page loads only if it imports it.
 *
 * @module
 */

/**
 * A place for code that most pages do without. The entry points that contain the code
 * provide it: `@ws/events/client` all of it, `@ws/events/client/lean` none.
 *
 * @typeParam Code What the code offers.
 */
export class Feature<Code> {
  readonly #entryPoint: string;
  #code: Code | undefined;

  /**
   * @param entryPoint The name of the entry point below `@ws/events/client` that provides
   * the code.
   */
  constructor(entryPoint: string) {
    this.#entryPoint = entryPoint;
  }

  /** The code, if it is loaded. */
  get code(): Code | undefined {
    return this.#code;
  }

  /** Provides the code. */
  provide(code: Code): void {
    this.#code = code;
  }

  /**
   * Returns the code.
   *
   * @param use What it is needed for, for the error message.
   * @throws {Error} If it is not loaded.
   */
  require(use: string): Code {
    if (this.#code) return this.#code;
    throw new Error(
      `Cannot use ${use} as its code is not loaded: import "@ws/events/client/${this.#entryPoint}" first`,
    );
  }
}
