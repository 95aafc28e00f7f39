/**
 * The handlers that answer requests.
 *
 * @module
 */

import { assertKnown, assertType, optionNames } from "../events/errors.ts";
import type { Message, MessageAuthor } from "../../message.ts";
import type { HandlerResult, OfType } from "../values/types.ts";

/** Options of `handle`. */
export interface HandleOptions {
  /** Removes the handler when it is aborted. */
  readonly signal?: AbortSignal;
}

function hasType<
  Data,
  Outgoing,
  From extends MessageAuthor<Outgoing>,
  Type extends string,
>(
  message: Message<Data, Outgoing, From>,
  type: Type,
): message is
  & Message<Data, Outgoing, From>
  & Message<OfType<Data, Type>, Outgoing, From> {
  return typeOf(message.data) === type;
}

/**
 * The `type` of some data, if it has one that is a string.
 *
 * @param data The data.
 */
export function typeOf(data: unknown): string | undefined {
  return typeof data === "object" && data !== null && "type" in data &&
      typeof data.type === "string"
    ? data.type
    : undefined;
}

/**
 * What answers requests, by what it returns.
 *
 * @typeParam Request The type of a request.
 * @typeParam Outgoing What can be sent.
 */
export interface RequestHandler<Request, Outgoing> {
  (request: Request): HandlerResult<Outgoing>;
  /** The type of requests that it answers, if it is not for all. */
  readonly type?: string | undefined;
}

/**
 * The handlers of one socket: one for each type of request, and one for all others.
 *
 * @typeParam Data The type of a request's data.
 * @typeParam Outgoing What can be sent.
 * @typeParam From The type of a request's author.
 */
export class RequestHandlers<
  Data,
  Outgoing,
  From extends MessageAuthor<Outgoing>,
> {
  readonly #byType = new Map<
    string | undefined,
    RequestHandler<Message<Data, Outgoing, From>, Outgoing>
  >();

  /**
   * Adds one.
   *
   * @typeParam Type The type of requests that it answers.
   * @param first That type; or the handler, if it answers all others.
   * @param second The handler; or the options.
   * @param third The options.
   * @throws {TypeError} If the handler is no function.
   * @throws {Error} If there is one for that already.
   */
  add<Type extends string>(
    first: Type | RequestHandler<Message<Data, Outgoing, From>, Outgoing>,
    second:
      | RequestHandler<Message<OfType<Data, Type>, Outgoing, From>, Outgoing>
      | HandleOptions
      | undefined,
    third: HandleOptions | undefined,
  ): void {
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
      hasType(request, first) ? second(request) : undefined;
    const handler = Object.assign(respond, { type: first });
    this.#add(first, subject, handler, third);
  }

  /**
   * Who answers a request.
   *
   * @param request The request.
   * @returns The handler, if there is one for it.
   */
  find(
    request: Message<Data, Outgoing, From>,
  ): RequestHandler<Message<Data, Outgoing, From>, Outgoing> | undefined {
    const { size } = this.#byType;
    const any = this.#byType.get(undefined);
    // Its data need not be looked at where that makes no difference.
    return size === 0 || (any && size === 1)
      ? any
      : this.#byType.get(typeOf(request.data) ?? "") ?? any;
  }

  #add(
    type: string | undefined,
    subject: string,
    handler: RequestHandler<Message<Data, Outgoing, From>, Outgoing>,
    options: HandleOptions = {},
  ): void {
    assertKnown("handle()", options, HANDLE_OPTIONS);
    const { signal } = options;
    if (this.#byType.has(type)) {
      throw new Error(
        `Cannot handle ${subject} twice, as a request has one answer: remove the other handler by its signal first`,
      );
    }
    if (signal?.aborted) return;
    this.#byType.set(type, handler);
    signal?.addEventListener("abort", () => this.#byType.delete(type), {
      once: true,
    });
  }
}

const HANDLE_OPTIONS = optionNames<HandleOptions>({ signal: true });
