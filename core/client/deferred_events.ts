/**
 * The order of `giveup` and the other events of a client.
 *
 * @module
 */

/**
 * Delays `giveup` while another event is being emitted, so that listeners get both
 * events in the order in which they happened.
 */
export class DeferredEvents {
  #isEmitting = false;
  #deferred: (() => void) | undefined;
  readonly #cleanups: (() => void)[] = [];

  /** Runs an action that emits events, then emits the events deferred meanwhile. */
  run(action: () => void): void {
    if (this.#isEmitting) return action();
    this.#isEmitting = true;
    try {
      action();
      while (this.#deferred) this.flush();
    } finally {
      this.#isEmitting = false;
      for (const cleanup of this.#cleanups.splice(0)) cleanup();
    }
  }

  /** Emits after the current event, and cleans up after all deferred events. */
  defer(emit: () => void, cleanup: () => void): void {
    this.run(() => {
      this.#deferred = emit;
      this.#cleanups.push(cleanup);
    });
  }

  /** Emits deferred events now, because a new attempt begins. */
  flush(): void {
    const emit = this.#deferred;
    this.#deferred = undefined;
    emit?.();
  }
}
