/**
 * Requests to JetStream about one stream, and its errors.
 *
 * @module
 */

import {
  type Msg,
  type NatsConnection,
  RequestError,
} from "@nats-io/nats-core";

/**
 * The longest times to wait for an answer of JetStream, in milliseconds. A request that is
 * sent while the stream has no leader is lost, so it is sent again.
 */
const REQUEST_TIMEOUTS_MS = [500, 1_000, 1_000, 1_500];

/** JetStream counts times in nanoseconds. */
export const NANOSECONDS_PER_MS = 1_000_000;

/** Error codes of JetStream. */
export const STREAM_NOT_FOUND = 10_059;
export const STREAM_NAME_IN_USE = 10_058;
export const TOO_LARGE = 10_054;

/** An answer of JetStream. */
export interface ApiAnswer {
  readonly error?: {
    readonly err_code?: number;
    readonly description?: string;
  };
}

/** JetStream has refused a request. */
export class ApiError extends Error {
  readonly code: number;

  constructor(message: string, code: number, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** JetStream does not answer; perhaps the stream has no leader now. */
export class NoAnswerError extends Error {}

/** The configuration of the stream, as far as the adapter sets or reads it. */
export interface StreamConfig {
  readonly name: string;
  /** The name of the log, which only servers know. NATS before 2.10 has no metadata. */
  readonly description?: string;
  readonly subjects: readonly string[];
  readonly republish: { readonly src: string; readonly dest: string };
  readonly max_msgs_per_subject: number;
  readonly max_age: number;
  readonly duplicate_window: number;
  readonly num_replicas: number;
}

/** An answer of JetStream about the stream or a consumer. */
export interface StreamAnswer extends ApiAnswer {
  /** Of a stream. */
  readonly config?: StreamConfig;
  readonly state?: {
    readonly first_seq?: number;
    readonly last_seq?: number;
  };
  /** Of a consumer. */
  readonly name?: string;
  /** Of a consumer: how many messages it will send. */
  readonly num_pending?: number;
}

/** Sends requests, and tries again if JetStream does not answer. */
export class JetStreamApi {
  /** The name of the stream. */
  readonly stream: string;
  #connection: NatsConnection | undefined;

  constructor(stream: string) {
    this.stream = stream;
  }

  /** Uses a connection from now on, or none. */
  connect(connection: NatsConnection | undefined): void {
    this.#connection = connection;
  }

  /**
   * The connection.
   *
   * @throws {Error} If there is no connection.
   */
  get connection(): NatsConnection {
    if (this.#connection) return this.#connection;
    throw new Error("Cannot store messages: NATS is not connected");
  }

  /** Sends a request to JetStream that has the same effect when it is sent twice. */
  request(api: string, body?: unknown): Promise<StreamAnswer> {
    return this.retry((timeout) => this.ask(api, body, timeout));
  }

  /** Tries again if JetStream does not answer. */
  async retry<Result>(
    action: (timeout: number) => Promise<Result>,
    timeouts: readonly number[] = REQUEST_TIMEOUTS_MS,
  ): Promise<Result> {
    let last: unknown;
    for (const timeout of timeouts) {
      try {
        return await action(timeout);
      } catch (error) {
        if (!(error instanceof NoAnswerError)) throw error;
        last = error;
      }
    }
    throw last;
  }

  /** Sends a request to JetStream about the stream. */
  async ask(
    api: string,
    body: unknown,
    timeout: number,
  ): Promise<StreamAnswer> {
    const message = await this.send(
      `$JS.API.${api}.${this.stream}`,
      body === undefined ? "" : JSON.stringify(body),
      timeout,
      api,
    );
    const answer: StreamAnswer = message.json();
    if (!answer.error) return answer;
    const { description = "no reason", err_code = 0 } = answer.error;
    throw new ApiError(
      `Cannot store messages in NATS: JetStream refuses ${api}: ${description}`,
      err_code,
    );
  }

  /** @param what The name of the request, for an error message. */
  async send(
    subject: string,
    data: string | Uint8Array,
    timeout: number,
    what: string,
  ): Promise<Msg> {
    try {
      return await this.connection.request(subject, data, { timeout });
    } catch (cause) {
      const isMissing = cause instanceof RequestError &&
        cause.isNoResponders();
      const problem =
        `Cannot store messages in NATS: JetStream does not answer ${what}`;
      if (isMissing) {
        throw new Error(`${problem}: start it with nats-server -js`, { cause });
      }
      throw new NoAnswerError(problem, { cause });
    }
  }
}
