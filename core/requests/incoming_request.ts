/**
 * A request of the peer's, which wants one answer.
 *
 * @module
 */

import type { Frame } from "../values/codec.ts";
import { isThenable, RequestError } from "../events/errors.ts";
import type { RequestFailure } from "../protocol/frames.ts";

/** What a question needs of its connection. */
export interface Answerer {
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
export class Question {
  readonly #id: number;
  readonly #answerer: Answerer;
  /** Which trace it is part of, if its sender says so. */
  readonly trace: string | undefined;
  #isAnswered = false;

  /**
   * Creates one.
   *
   * @param id Its id.
   * @param answerer The connection.
   * @param trace Which trace it is part of, if its sender says so.
   */
  constructor(id: number, answerer: Answerer, trace?: string) {
    this.#id = id;
    this.#answerer = answerer;
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
  answer(data: unknown): Promise<void> {
    const { name } = this.#answerer;
    if (this.#isAnswered) {
      throw new Error(`Cannot answer a request of ${name} twice`);
    }
    const frame = this.#answerer.encode(data);
    this.#isAnswered = true;
    return this.#answerer.reply(this.#id, frame);
  }

  /**
   * Tells the peer that there is no answer, if there was none.
   *
   * @param failure Why.
   */
  refuse(failure: RequestFailure): void {
    if (this.#isAnswered) return;
    this.#isAnswered = true;
    this.#answerer.refuse(this.#id, failure);
  }

  /**
   * Lets a handler answer it.
   *
   * @param handle Gives the answer, or a promise of it.
   * @returns A promise if that takes time; it never rejects.
   */
  respond(handle: () => unknown): Promise<void> | undefined {
    try {
      const said = handle();
      if (!isThenable(said)) this.#say(said);
      else {
        return Promise.resolve(said)
          .then((later) => this.#say(later))
          .catch((error) => this.#fail(error));
      }
    } catch (error) {
      this.#fail(error);
    }
    return undefined;
  }

  /** Answers by what a handler has returned, unless it has answered itself. */
  #say(said: unknown): void {
    if (said !== undefined || !this.#isAnswered) this.answer(said ?? null);
  }

  /** A handler has failed. What it has not meant for the peer stays here. */
  #fail(error: unknown): void {
    if (!(error instanceof RequestError)) {
      this.refuse(INTERNAL);
      this.#answerer.failed(error);
    } else {
      const { message, code } = error;
      this.refuse(code === undefined ? { message } : { message, code });
    }
  }
}

/** What a peer is told of a failure that is none of its business. */
const INTERNAL: RequestFailure = {
  message: "The request has failed",
  code: "internal",
};
