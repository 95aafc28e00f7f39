/**
 * A request of the peer's, which wants one answer.
 *
 * @module
 */

import type { Frame } from "../values/codec.ts";
import { isThenable, RequestError } from "../events/errors.ts";
import type { RequestFailure } from "../protocol/frames.ts";

/** What a request needs of its connection. */
export interface Responder {
  /** The peer, for an error's text. */
  readonly name: string;
  /**
   * Turns an answer into what is sent.
   *
   * @param data The answer.
   */
  encode(data: unknown): Frame;
  /**
   * Sends an answer.
   *
   * @param id Which request it answers.
   * @param frame The answer.
   */
  reply(id: number, frame: Frame): Promise<void>;
  /**
   * Tells the peer that there is no answer.
   *
   * @param id Which request has none.
   * @param failure Why.
   */
  refuse(id: number, failure: RequestFailure): void;
  /**
   * Hears of what a handler has thrown, and has not meant for the peer.
   *
   * @param error The error.
   */
  failed(error: unknown): void;
}

/** One request. */
export class IncomingRequest {
  readonly #id: number;
  readonly #responder: Responder;
  /** Which trace it is part of, if its sender says so. */
  readonly trace: string | undefined;
  #isAnswered = false;

  /**
   * Creates one.
   *
   * @param id Its id.
   * @param responder The connection.
   * @param trace Which trace it is part of, if its sender says so.
   */
  constructor(id: number, responder: Responder, trace?: string) {
    this.#id = id;
    this.#responder = responder;
    this.trace = trace;
  }

  /** Whether it has its answer. */
  get isAnswered(): boolean {
    return this.#isAnswered;
  }

  /**
   * Answers it.
   *
   * @param data The answer.
   * @returns As `send`.
   * @throws {TypeError} If the answer cannot be sent.
   * @throws {Error} If it has been answered.
   */
  reply(data: unknown): Promise<void> {
    const { name } = this.#responder;
    if (this.#isAnswered) {
      throw new Error(`Cannot answer a request of ${name} twice`);
    }
    const frame = this.#responder.encode(data);
    this.#isAnswered = true;
    return this.#responder.reply(this.#id, frame);
  }

  /**
   * Tells the peer that there is no answer, if there was none.
   *
   * @param failure Why.
   */
  refuse(failure: RequestFailure): void {
    if (this.#isAnswered) return;
    this.#isAnswered = true;
    this.#responder.refuse(this.#id, failure);
  }

  /**
   * Lets a handler answer it.
   *
   * @param handle Gives the answer, or a promise of it.
   * @returns A promise if that takes time; it never rejects.
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

  /** Answers by what a handler has returned, unless it has answered itself. */
  #replyWith(result: unknown): void {
    if (result !== undefined || !this.#isAnswered) this.reply(result ?? null);
  }

  /** A handler has failed. What it has not meant for the peer stays here. */
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

/** What a peer is told of an error of the program. */
export const INTERNAL_FAILURE: RequestFailure = {
  message: "The request has failed",
  code: "internal",
};
