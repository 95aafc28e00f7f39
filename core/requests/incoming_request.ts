/**
 * A request from the peer, which gets one reply.
 *
 * @module
 */

import type { Frame } from "../values/codec.ts";
import { isThenable, RequestError } from "../events/errors.ts";
import type { RequestFailure } from "../protocol/frames.ts";

/** The parts of a connection that a request uses. */
export interface Responder {
  /** The name of the peer, for error messages. */
  readonly name: string;
  /** Encodes a reply. */
  encode(data: unknown): Frame;
  /** Sends the reply to the request with this id. */
  reply(id: number, frame: Frame): Promise<void>;
  /** Sends an error reply to the request with this id. */
  refuse(id: number, failure: RequestFailure): void;
  /** Reports an error of a handler that is not sent to the peer. */
  failed(error: unknown): void;
}

/** A request from the peer. */
export class IncomingRequest {
  readonly #id: number;
  readonly #responder: Responder;
  /** The trace context of the request, if its sender provides one. */
  readonly trace: string | undefined;
  #isAnswered = false;

  constructor(id: number, responder: Responder, trace?: string) {
    this.#id = id;
    this.#responder = responder;
    this.trace = trace;
  }

  /** Whether the reply or an error has been sent. */
  get isAnswered(): boolean {
    return this.#isAnswered;
  }

  /**
   * Sends the reply.
   *
   * @throws {TypeError} If the data cannot be encoded.
   * @throws {Error} If the request already has a reply.
   */
  reply(data: unknown): Promise<void> {
    const { name } = this.#responder;
    if (this.#isAnswered) {
      throw new Error(`Cannot reply twice to a request from ${name}`);
    }
    const frame = this.#responder.encode(data);
    this.#isAnswered = true;
    return this.#responder.reply(this.#id, frame);
  }

  /** Sends an error reply, unless the request already has a reply. */
  refuse(failure: RequestFailure): void {
    if (this.#isAnswered) return;
    this.#isAnswered = true;
    this.#responder.refuse(this.#id, failure);
  }

  /**
   * Calls a handler and replies with its result.
   *
   * @returns A promise that never rejects, if the handler is asynchronous.
   */
  run(handle: () => unknown): Promise<void> | undefined {
    try {
      const result = handle();
      if (!isThenable(result)) this.#replyWith(result);
      else {
        return Promise.resolve(result)
          .then((value) => this.#replyWith(value))
          .catch((error) => this.#fail(error));
      }
    } catch (error) {
      this.#fail(error);
    }
    return undefined;
  }

  /** Replies with the result of a handler, unless it is undefined after a reply. */
  #replyWith(result: unknown): void {
    if (result !== undefined || !this.#isAnswered) this.reply(result ?? null);
  }

  /** Sends a `RequestError` to the peer; reports any other error on this side only. */
  #fail(error: unknown): void {
    if (!(error instanceof RequestError)) {
      this.refuse(INTERNAL_FAILURE);
      this.#responder.failed(error);
    } else {
      const { message, code } = error;
      this.refuse(code === undefined ? { message } : { message, code });
    }
  }
}

/** The failure that the peer gets for an error of the application. */
export const INTERNAL_FAILURE: RequestFailure = {
  message: "The request has failed",
  code: "internal",
};

/** The failure that the peer gets for a request without a handler or listener. */
export const UNHANDLED_FAILURE: RequestFailure = {
  message: "No handler for this request: add one with handle()",
  code: "unhandled",
};
