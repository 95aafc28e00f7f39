/**
 * The requests of a client that are sent again after a loss, until they are settled.
 *
 * @module
 */

import { type Connection, coreOf } from "../connection/connection.ts";
import type { ConnectionOptions } from "../connection/connection_options.ts";
import { schemaFeature } from "../connection/invalid_messages.ts";
import {
  assertKnown,
  assertSize,
  ConnectionEndedError,
  ignoreRejection,
  MessageDroppedError,
  optionNames,
  rejected,
  RequestError,
} from "../events/errors.ts";
import type { Payload } from "../protocol/frames.ts";
import {
  encodeOpening,
  encodeRetried,
  parseOpened,
} from "../protocol/retry_frames.ts";
import type { RequestOptions } from "../requests/session.ts";
import { MESSAGE_COST } from "../sending/buffer_budget.ts";
import { type Deferred, withResolvers } from "../util/deferred.ts";
import { startTimer, type Timer } from "../util/timer.ts";
import {
  decodeWith,
  encodeWith,
  type Frame,
  memoryOf,
} from "../values/codec.ts";
import type { StandardSchema } from "../values/schema.ts";
import { typeOf } from "../values/type_of.ts";
import type { SocketTypes } from "../values/types.ts";
import { RETRY_LATER, UNCERTAIN, UNSUPPORTED } from "./retry_codes.ts";
import type { ClientRetries } from "./retry_feature.ts";

/** The default timeout, in milliseconds: long enough for some attempts to reconnect. */
const RETRY_TIMEOUT_MS = 60_000;

/** The delay before what the server could not do now is asked again, in milliseconds. */
const RETRY_LATER_MS = 1_000;

/** How long a server has to open a session, in milliseconds. */
const OPEN_TIMEOUT_MS = 10_000;

const RETRIED_OPTIONS = optionNames<
  RequestOptions & { readonly schema?: StandardSchema; readonly retry: boolean }
>({ timeout: true, signal: true, schema: true, retry: true });

/** A request that is not settled. */
interface RetriedRequest {
  readonly data: unknown;
  readonly frame: Frame;
  readonly cost: number;
  readonly answer: Deferred<Payload>;
  /** Its number in the session; undefined until it is first sent. */
  number: number | undefined;
  /** Whether it waits for an answer on the connection. */
  isSent: boolean;
  /** Whether it is settled. */
  isOver: boolean;
  /** When it times out, by the monotonic clock. */
  readonly deadline: number;
  /** Stops its timers and listeners. */
  release(): void;
}

/** See {@linkcode ClientRetries}. */
export class RetriedRequests<Types extends SocketTypes>
  implements ClientRetries<Types> {
  readonly #options: ConnectionOptions<Types>;
  /** In the order of the calls, which is that of their numbers. */
  readonly #pending = new Set<RetriedRequest>();
  /** The memory of the pending requests, in bytes. */
  #cost = 0;
  #connection: Connection<Types> | undefined;
  /** Whether the session is open on the connection. */
  #isOpen = false;
  #token: string | undefined;
  #lastNumber = 0;
  #laterTimer: Timer | undefined;

  constructor(options: ConnectionOptions<Types>) {
    this.#options = options;
  }

  /** See {@linkcode ClientRetries}. */
  request(
    data: unknown,
    options: RequestOptions & { schema?: StandardSchema },
  ): Promise<unknown> {
    assertKnown("request()", options, RETRIED_OPTIONS);
    const { timeout = RETRY_TIMEOUT_MS, signal } = options;
    assertSize("timeout", timeout);
    const { codec, replySchemas, writerLimits } = this.#options;
    const frame = encodeWith(data, codec);
    const given = options.schema ??
      replySchemas?.get(typeOf(data) ?? "");
    const validation = given && schemaFeature.require('the option "schema"');
    const schema = validation?.toSchema(given);
    const cost = MESSAGE_COST + memoryOf(frame);
    if (signal?.aborted) return rejected(signal.reason);
    if (
      this.#pending.size > 0 &&
      this.#cost + cost > writerLimits.maxBufferedAmount
    ) {
      return rejected(
        new MessageDroppedError(
          `Cannot send another request with "retry" while those without an answer take ${this.#cost} bytes: await them, or raise "maxBufferedAmount"`,
        ),
      );
    }
    const request = this.#add(data, frame, cost, timeout, signal);
    const settled = request.answer.promise.then((payload) => {
      const reply = decodeWith(payload, codec);
      return schema && validation
        ? validation.validate(schema, reply, "The reply")
        : reply;
    });
    if (this.#connection) this.#start(this.#connection, request);
    return ignoreRejection(settled);
  }

  /** See {@linkcode ClientRetries}. */
  connected(connection: Connection<Types>): void {
    this.disconnected();
    this.#connection = connection;
    if (this.#pending.size > 0) this.#startAll(connection);
  }

  /** See {@linkcode ClientRetries}. */
  disconnected(): void {
    clearTimeout(this.#laterTimer);
    this.#laterTimer = undefined;
    this.#connection = undefined;
    this.#isOpen = false;
    for (const request of this.#pending) request.isSent = false;
  }

  /** See {@linkcode ClientRetries}. */
  stop(makeError: () => Error): void {
    this.#rejectAll(makeError);
  }

  #add(
    data: unknown,
    frame: Frame,
    cost: number,
    timeout: number,
    signal: AbortSignal | undefined,
  ): RetriedRequest {
    const abort = () => this.#reject(request, signal?.reason);
    const timer = startTimer(
      () => this.#reject(request, timeoutError(timeout)),
      timeout,
    );
    signal?.addEventListener("abort", abort);
    const request: RetriedRequest = {
      data,
      frame,
      cost,
      answer: withResolvers(),
      number: undefined,
      isSent: false,
      isOver: false,
      deadline: performance.now() + timeout,
      release: () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
      },
    };
    this.#pending.add(request);
    this.#cost += cost;
    return request;
  }

  /** Sends a request if the session is open, and opens it otherwise. */
  #start(connection: Connection<Types>, request: RetriedRequest): void {
    if (this.#isOpen) this.#send(connection, request);
    else if (this.#pending.size === 1) this.#startAll(connection);
  }

  #startAll(connection: Connection<Types>): void {
    if (!connection.speaksEvents) {
      return this.#rejectAll(() => notSupported("does not support events.v1"));
    }
    ignoreRejection(this.#open(connection));
  }

  /** Opens the session on a connection, and sends what waits for that. */
  async #open(connection: Connection<Types>): Promise<void> {
    const opening = { token: this.#token, last: this.#lastNumber };
    let payload: Payload;
    try {
      payload = await coreOf(connection).requestFrame(
        "",
        { timeout: OPEN_TIMEOUT_MS },
        undefined,
        (id) => encodeOpening(id, opening),
      );
    } catch (error) {
      if (connection === this.#connection) this.#openFailed(connection, error);
      return;
    }
    if (connection !== this.#connection) return;
    const token = parseOpened(payload);
    if (token === undefined) {
      return coreOf(connection).receiver.protocolError(
        "The answer to the opening of a session is malformed",
      );
    }
    if (token !== this.#token) this.#changeSession(token);
    this.#isOpen = true;
    for (const request of [...this.#pending]) this.#send(connection, request);
  }

  #openFailed(connection: Connection<Types>, error: unknown): void {
    if (error instanceof ConnectionEndedError) return; // another connection follows
    const code = error instanceof RequestError ? error.code : undefined;
    if (code === UNSUPPORTED) {
      return this.#rejectAll(() => notSupported("does not remember requests"));
    }
    const isTimeout = error instanceof DOMException;
    if (isTimeout && this.#token === undefined) {
      return this.#rejectAll(() =>
        notSupported(
          `has not answered within ${OPEN_TIMEOUT_MS} ms and may not know such requests`,
        )
      );
    }
    if (isTimeout || code === RETRY_LATER) return this.#tryLater(connection);
    this.#rejectAll(() => error);
  }

  /** The server does not know the session any more: it has begun another one. */
  #changeSession(token: string): void {
    this.#token = token;
    this.#lastNumber = 0;
    for (const request of [...this.#pending]) {
      if (request.number !== undefined) this.#reject(request, uncertain());
    }
  }

  #send(connection: Connection<Types>, request: RetriedRequest): void {
    if (request.isOver || request.isSent) return;
    request.isSent = true;
    const number = request.number ??= ++this.#lastNumber;
    const settled = this.#settledNumber();
    const core = coreOf(connection);
    // It times out here first.
    const timeout = request.deadline - performance.now() + RETRY_LATER_MS;
    const send = (trace?: string) =>
      core.requestFrame(
        request.frame,
        { timeout: Math.max(0, timeout) },
        trace,
        (id, frame) => encodeRetried(id, number, settled, frame),
      );
    const { instrumentation } = this.#options;
    const answer = instrumentation
      ? instrumentation.traceRequest(connection, request.data, send)
      : send();
    answer.then(
      (payload) => {
        if (this.#remove(request)) request.answer.resolve(payload);
      },
      (error) => this.#failed(connection, request, error),
    );
  }

  #failed(
    connection: Connection<Types>,
    request: RetriedRequest,
    error: unknown,
  ): void {
    if (request.isOver) return;
    if (error instanceof ConnectionEndedError) {
      const { cause, code } = error.end ?? {};
      // A request that is too large for one side would end each connection.
      if (cause === "limit" || code === 1009) this.#reject(request, error);
      return;
    }
    const isLater = error instanceof RequestError && error.code === RETRY_LATER;
    if (!isLater) return this.#reject(request, error);
    if (connection !== this.#connection) return;
    request.isSent = false;
    this.#tryLater(connection);
  }

  /** Asks again on the same connection after a delay. */
  #tryLater(connection: Connection<Types>): void {
    this.#laterTimer ??= startTimer(() => {
      this.#laterTimer = undefined;
      if (connection !== this.#connection || this.#pending.size === 0) return;
      if (!this.#isOpen) return this.#startAll(connection);
      for (const request of [...this.#pending]) this.#send(connection, request);
    }, RETRY_LATER_MS);
  }

  /** The number below which nothing is pending. */
  #settledNumber(): number {
    for (const { number } of this.#pending) {
      if (number !== undefined) return number - 1;
    }
    return this.#lastNumber;
  }

  /** Removes a request. Returns false if it is settled. */
  #remove(request: RetriedRequest): boolean {
    if (request.isOver) return false;
    request.isOver = true;
    request.release();
    this.#pending.delete(request);
    this.#cost -= request.cost;
    if (this.#pending.size === 0) {
      clearTimeout(this.#laterTimer);
      this.#laterTimer = undefined;
    }
    return true;
  }

  #reject(request: RetriedRequest, reason: unknown): void {
    if (this.#remove(request)) request.answer.reject(reason);
  }

  #rejectAll(makeReason: () => unknown): void {
    for (const request of [...this.#pending]) {
      this.#reject(request, makeReason());
    }
  }
}

function timeoutError(timeout: number): DOMException {
  return new DOMException(
    `Cannot wait any longer for the reply to a request with "retry": ${timeout} ms have passed`,
    "TimeoutError",
  );
}

function notSupported(reason: string): DOMException {
  return new DOMException(
    `Cannot send a request with "retry" as the server ${reason}: send it without that option`,
    "NotSupportedError",
  );
}

function uncertain(): RequestError {
  return new RequestError(
    "It is not known whether the request was handled: the server does not remember it",
    UNCERTAIN,
  );
}
