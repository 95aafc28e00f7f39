/**
 * Registers request handlers and finds the one for a request.
 *
 * @module
 */

import {
  assertKnown,
  assertType,
  optionNames,
  RequestError,
} from "../events/errors.ts";
import { UNHANDLED_FAILURE } from "./incoming_request.ts";
import type { Message, MessageAuthor } from "../../message.ts";
import { typeOf } from "../values/type_of.ts";

/** Options of {@linkcode Endpoint.handle}. */
export interface HandleOptions {
  /** A signal that removes the handler when it is aborted. */
  readonly signal?: AbortSignal;
}

function hasType<M extends { readonly data: unknown }, Request>(
  message: M,
  type: string,
): message is M & Request {
  return typeOf(message.data) === type;
}

/**
 * A function that handles requests. Its result is the reply.
 *
 * @typeParam Request The type of a request.
 */
export interface RequestHandler<Request> {
  (request: Request): unknown;
  /** The type of the requests that it handles; undefined for all others. */
  readonly type?: string | undefined;
}

/**
 * The handlers of one socket: one for each type of request, and one for all others.
 *
 * @typeParam Data The type of a request's data.
 * @typeParam Outgoing The type of the data that can be sent.
 * @typeParam From The type of a request's author.
 */
export class RequestHandlers<
  Data,
  Outgoing,
  From extends MessageAuthor<Outgoing>,
> {
  readonly #byType = new Map<
    string | undefined,
    RequestHandler<Message<Data, Outgoing, From>>
  >();

  /**
   * Adds a handler, or one for each type.
   *
   * @typeParam Request The type of the requests.
   * @throws {TypeError} If a handler is not a function.
   * @throws {Error} If there already is a handler for a type.
   */
  add<Request>(
    first: string | object | RequestHandler<Message<Data, Outgoing, From>>,
    second: RequestHandler<Request> | HandleOptions | undefined,
    third: HandleOptions | undefined,
  ): void {
    if (typeof first === "object" && first !== null) {
      const options = typeof second === "function" ? undefined : second;
      for (const [type, handler] of Object.entries(first)) {
        this.add(type, handler, options);
      }
      return;
    }
    if (typeof first === "function") {
      const options = typeof second === "function" ? undefined : second;
      this.#add(undefined, "all requests", first, options);
      return;
    }
    assertType("type", first, "string");
    const subject = `requests of "${first}"`;
    if (typeof second !== "function") {
      throw new TypeError(
        `Cannot handle ${subject} with something other than a function: current value is of type ${typeof second}`,
      );
    }
    const respond = (request: Message<Data, Outgoing, From>) =>
      hasType<typeof request, Request>(request, first)
        ? second(request)
        : undefined;
    const handler = Object.assign(respond, { type: first });
    this.#add(first, subject, handler, third);
  }

  /**
   * Returns the handler for a request; undefined if there is no handler at all. Where
   * there are handlers, requests that none of them matches are refused.
   */
  find(
    request: Message<Data, Outgoing, From>,
  ): RequestHandler<Message<Data, Outgoing, From>> | undefined {
    const { size } = this.#byType;
    const any = this.#byType.get(undefined);
    // Avoids decoding the data if all requests have the same handler.
    return size === 0 || (any && size === 1)
      ? any
      : this.#byType.get(typeOf(request.data) ?? "") ?? any ?? refuseUnmatched;
  }

  #add(
    type: string | undefined,
    subject: string,
    handler: RequestHandler<Message<Data, Outgoing, From>>,
    options: HandleOptions = {},
  ): void {
    assertKnown("handle()", options, HANDLE_OPTIONS);
    const { signal } = options;
    if (this.#byType.has(type)) {
      throw new Error(
        `Cannot handle ${subject} twice as a request has one reply: remove the other handler by its signal first`,
      );
    }
    if (signal?.aborted) return;
    this.#byType.set(type, handler);
    signal?.addEventListener("abort", () => this.#byType.delete(type), {
      once: true,
    });
  }
}

function refuseUnmatched(): never {
  const { code } = UNHANDLED_FAILURE;
  throw new RequestError("No handler matches the request", code);
}

const HANDLE_OPTIONS = optionNames<HandleOptions>({ signal: true });
