/**
 * Reads the bytes of `Blob`s, and keeps the order of the messages that follow.
 *
 * @module
 */

import type { Frame } from "../values/codec.ts";
import type { BroadcastBody } from "./envelope.ts";
import { RESOLVED } from "../events/errors.ts";

/** Passes messages on, in order, when their bytes have been read. */
export class BlobResolver {
  #waiting = 0;
  #idle: Promise<void> = RESOLVED;

  /** Resolves when all messages so far have been passed on. */
  get idle(): Promise<void> {
    return this.#idle;
  }

  /**
   * Passes a message on.
   *
   * @param action Called with the body; at once if it is no `Blob` and none is being
   * read.
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
