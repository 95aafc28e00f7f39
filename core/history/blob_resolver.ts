/**
 * Waits for the bytes of `Blob`s, and keeps the order of what comes behind them.
 *
 * @module
 */

import type { Frame } from "../values/codec.ts";
import type { BroadcastBody } from "./envelope.ts";
import { RESOLVED } from "../events/errors.ts";

/** Hands on what is sent when its bytes are there. */
export class BlobResolver {
  #waiting = 0;
  #idle: Promise<void> = RESOLVED;

  /** Resolves when all so far has been handed on. */
  get idle(): Promise<void> {
    return this.#idle;
  }

  /**
   * Takes a message.
   *
   * @param frame The message.
   * @param action What to do with it, at once if it is there and nothing waits.
   * @param onError Hears why it cannot be read.
   */
  resolve(
    frame: Frame,
    action: (body: BroadcastBody) => void,
    onError: (error: unknown) => void,
  ): void {
    if (!(frame instanceof Blob) && this.#waiting === 0) return action(frame);
    this.#waiting++;
    this.#idle = this.#resolveLater(this.#idle, frame, action, onError);
  }

  async #resolveLater(
    before: Promise<void>,
    frame: Frame,
    action: (body: BroadcastBody) => void,
    onError: (error: unknown) => void,
  ): Promise<void> {
    await before;
    try {
      action(frame instanceof Blob ? await frame.bytes() : frame);
    } catch (error) {
      onError(error);
    }
    this.#waiting--;
  }
}
