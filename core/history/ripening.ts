/**
 * Waits for the bytes of `Blob`s, and keeps the order of what comes behind them.
 *
 * @module
 */

import type { Frame } from "../values/codec.ts";
import type { Body } from "./envelope.ts";
import { RESOLVED } from "../events/errors.ts";

/** Hands on what is sent when its bytes are there. */
export class Ripening {
  #waiting = 0;
  #done: Promise<void> = RESOLVED;

  /** Resolves when all so far has been handed on. */
  get done(): Promise<void> {
    return this.#done;
  }

  /**
   * Takes a message.
   *
   * @param frame The message.
   * @param action What to do with it, at once if it is there and nothing waits.
   * @param failed Hears why it cannot be read.
   */
  take(
    frame: Frame,
    action: (body: Body) => void,
    failed: (error: unknown) => void,
  ): void {
    if (!(frame instanceof Blob) && this.#waiting === 0) return action(frame);
    this.#waiting++;
    this.#done = this.#takeLater(this.#done, frame, action, failed);
  }

  async #takeLater(
    before: Promise<void>,
    frame: Frame,
    action: (body: Body) => void,
    failed: (error: unknown) => void,
  ): Promise<void> {
    await before;
    try {
      action(frame instanceof Blob ? await frame.bytes() : frame);
    } catch (error) {
      failed(error);
    }
    this.#waiting--;
  }
}
