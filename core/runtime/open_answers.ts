/**
 * Tracks HTTP responses that are being created or sent, so that a shutdown can wait for
 * them.
 *
 * @module
 */

import { withTimeout } from "../util/timer.ts";

/** Counts the pending responses of a server, and ends event streams. */
export class OpenAnswers {
  /** The number of pending responses. */
  #count = 0;
  /** Functions that end event streams. */
  readonly #streams = new Set<() => void>();
  readonly #failed: (error: unknown) => void;
  #isEnded = false;
  #finished: (() => void) | undefined;

  /**
   * @param failed Called with an error of a stream that was ended.
   */
  constructor(failed: (error: unknown) => void) {
    this.#failed = failed;
  }

  /** Whether {@linkcode OpenAnswers.end} was called. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  /**
   * Counts a response until it was sent.
   *
   * @param answer Creates the response.
   * @param completed Settles when the response was sent, if the runtime reports it.
   */
  async track(
    request: Request,
    answer: () => Promise<Response>,
    completed: PromiseLike<unknown> | undefined,
  ): Promise<Response> {
    const isHead = request.method === "HEAD"; // its body is never read
    this.#count++;
    const over = Promise.withResolvers<void>();
    // It rejects if the client has disconnected.
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

  /** Ends all event streams, now and later, as they would otherwise last indefinitely. */
  end(): void {
    this.#isEnded = true;
    for (const end of this.#streams) end();
  }

  /**
   * Waits until all responses have been sent.
   *
   * @param timeout The maximum time in milliseconds.
   * @returns Whether all have been sent.
   */
  async settled(timeout: number): Promise<boolean> {
    if (this.#count > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#finished = resolve;
      await withTimeout(timeout, promise);
    }
    return this.#count === 0;
  }

  /**
   * Wraps an event stream so that this side can end it. Returns other responses
   * unchanged.
   */
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
