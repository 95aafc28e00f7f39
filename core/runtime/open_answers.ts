/**
 * Answers to HTTP requests that are still being made or sent, so that a shutdown knows
 * what it waits for.
 *
 * @module
 */

import { withTimeout } from "../util/timer.ts";

/** Counts the answers of one server that are under way, and ends those without end. */
export class OpenAnswers {
  /** How many are under way. */
  #count = 0;
  /** What ends the streams of events. */
  readonly #streams = new Set<() => void>();
  readonly #failed: (error: unknown) => void;
  #isEnded = false;
  #finished: (() => void) | undefined;

  /**
   * Creates one.
   *
   * @param failed Hears what a stream throws when it is ended.
   */
  constructor(failed: (error: unknown) => void) {
    this.#failed = failed;
  }

  /** Whether {@linkcode OpenAnswers.end} was called. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  /**
   * Counts an answer until it was sent.
   *
   * @param request The request.
   * @param answer Makes the answer.
   * @param completed Settles when the answer was sent, where the runtime tells that.
   * @returns The answer, to be given to the runtime.
   */
  async track(
    request: Request,
    answer: () => Promise<Response>,
    completed: PromiseLike<unknown> | undefined,
  ): Promise<Response> {
    const isHead = request.method === "HEAD"; // whose body is never read
    this.#count++;
    const over = Promise.withResolvers<void>();
    // It rejects if the client has left.
    if (completed) completed.then(() => over.resolve(), () => over.resolve());
    try {
      const response = await answer();
      return isHead ? response : this.#endable(response);
    } finally {
      if (!completed) over.resolve();
      over.promise.then(() => this.#done());
    }
  }

  #done(): void {
    if (--this.#count === 0) this.#finished?.();
  }

  /** Ends all streams of events: they last for as long as both sides want them to. */
  end(): void {
    this.#isEnded = true;
    for (const end of this.#streams) end();
  }

  /**
   * Waits until nothing is under way.
   *
   * @param timeout How long to wait at most, in milliseconds.
   * @returns Whether all answers have been sent.
   */
  async settled(timeout: number): Promise<boolean> {
    if (this.#count > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#finished = resolve;
      await withTimeout(timeout, promise);
    }
    return this.#count === 0;
  }

  /** A stream of events that can be ended here; any other answer as it is. */
  #endable(response: Response): Response {
    const type = response.headers.get("content-type") ?? "";
    if (!/^text\/event-stream\b/i.test(type)) return response;
    if (response.body === null) return response;
    const reader = response.body.getReader();
    const streams = this.#streams;
    let end = () => {};
    const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
      start: (controller) => {
        end = () => {
          streams.delete(end);
          controller.close();
          reader.cancel().catch(this.#failed);
        };
        streams.add(end);
      },
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (!streams.has(end)) return;
          if (done) end();
          else controller.enqueue(value);
        } catch (error) {
          streams.delete(end);
          throw error;
        }
      },
      cancel(reason) {
        streams.delete(end);
        return reader.cancel(reason);
      },
    });
    if (this.#isEnded) end();
    return new Response(body, response);
  }
}
