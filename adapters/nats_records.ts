/**
 * Stores the records that servers share in a stream of JetStream, which keeps the last
 * message of each subject.
 *
 * @module
 */

import {
  headers,
  type NatsConnection,
  NoRespondersError,
  RequestError,
} from "@nats-io/nats-core";
import type { AdapterRecord, AdapterRecords } from "../core/cluster/adapter.ts";
import {
  ApiError,
  JetStreamApi,
  NANOSECONDS_PER_MS,
  STREAM_NAME_IN_USE,
  STREAM_NOT_FOUND,
} from "./nats_api.ts";

/** The longest time to wait for an answer of JetStream, in milliseconds. */
const ANSWER_TIMEOUT_MS = 2_000;

/** Error codes of JetStream. */
const WRONG_LAST_SEQUENCE = 10_071;
const NO_MESSAGE_FOUND = 10_037;

/** An answer to a message, or to a request for one. */
interface RecordAnswer {
  readonly seq?: number;
  readonly message?: { readonly seq: number; readonly data?: string };
  readonly error?: {
    readonly err_code?: number;
    readonly description?: string;
  };
}

/** The records of one server. */
export class NatsRecords implements AdapterRecords {
  readonly #api: JetStreamApi;
  readonly #subject: string;
  readonly #replicas: number;
  #connection: NatsConnection | undefined;
  /** For how long the stream stores records, in milliseconds; 0 if it is not known. */
  #maxAge = 0;

  constructor(prefix: string, replicas: number) {
    const stream = `${prefix.replaceAll(/[^\w-]/g, "_")}_requests`;
    this.#api = new JetStreamApi(stream);
    this.#subject = `${prefix}.requests`;
    this.#replicas = replicas;
  }

  /** Uses a connection from now on, or none. */
  connect(connection: NatsConnection | undefined): void {
    this.#connection = connection;
    this.#api.connect(connection);
    this.#maxAge = 0;
  }

  async read(key: string): Promise<AdapterRecord | undefined> {
    const body = { last_by_subj: `${this.#subject}.${key}` };
    if (this.#maxAge === 0) await this.#assertSupported();
    const { message, error } = await this.#ask(
      `$JS.API.STREAM.MSG.GET.${this.#api.stream}`,
      JSON.stringify(body),
    );
    // Without the stream, nothing is stored yet.
    const isNone = error?.err_code === NO_MESSAGE_FOUND ||
      error?.err_code === STREAM_NOT_FOUND;
    if (isNone) return undefined;
    if (!message) throw refusal(error);
    const { seq, data = "" } = message;
    return { version: `${seq}`, value: fromBase64(data) };
  }

  async write(
    key: string,
    value: Uint8Array<ArrayBuffer>,
    version: string | undefined,
    maxAge: number,
  ): Promise<string | undefined> {
    if (this.#maxAge < maxAge) await this.#open(maxAge);
    const condition = headers();
    condition.set("Nats-Expected-Last-Subject-Sequence", version ?? "0");
    const { seq, error } = await this.#ask(
      `${this.#subject}.${key}`,
      value,
      condition,
    );
    if (error?.err_code === WRONG_LAST_SEQUENCE) return undefined;
    if (seq === undefined) throw refusal(error);
    return `${seq}`;
  }

  /** Creates the stream, or makes it store records for long enough. */
  async #open(maxAge: number): Promise<void> {
    await this.#assertSupported();
    const config = {
      name: this.#api.stream,
      subjects: [`${this.#subject}.*`],
      max_msgs_per_subject: 1,
      max_age: Math.ceil(maxAge) * NANOSECONDS_PER_MS,
      num_replicas: this.#replicas,
      discard: "new",
    };
    try {
      await this.#api.request("STREAM.CREATE", config);
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== STREAM_NAME_IN_USE) {
        throw error;
      }
      const { config: found } = await this.#api.request("STREAM.INFO");
      if ((found?.max_age ?? 0) < config.max_age) {
        await this.#api.request("STREAM.UPDATE", {
          ...found,
          max_age: config.max_age,
        });
      }
    }
    this.#maxAge = maxAge;
  }

  async #assertSupported(): Promise<void> {
    const { error } = await this.#ask("$JS.API.INFO", "");
    if (error) throw unsupported(error.description ?? "no reason");
  }

  async #ask(
    subject: string,
    data: string | Uint8Array,
    condition = headers(),
  ): Promise<RecordAnswer> {
    const connection = this.#connection;
    if (!connection || connection.isClosed()) {
      throw new Error("Cannot store requests: NATS is not connected");
    }
    try {
      const answer = await connection.request(subject, data, {
        timeout: ANSWER_TIMEOUT_MS,
        headers: condition,
      });
      return answer.json();
    } catch (cause) {
      const isMissing = cause instanceof NoRespondersError ||
        cause instanceof RequestError && cause.isNoResponders();
      if (isMissing && subject === "$JS.API.INFO") {
        throw unsupported("start it with nats-server -js");
      }
      this.#maxAge = 0; // the stream may be gone
      throw cause;
    }
  }
}

function refusal(error: RecordAnswer["error"]): Error {
  const { description = "no reason", err_code = 0 } = error ?? {};
  return new ApiError(
    `Cannot store requests in NATS: JetStream refuses it: ${description}`,
    err_code,
  );
}

function unsupported(reason: string): Error {
  return new Error(
    `Cannot store requests in NATS, so that each server remembers its own: ${reason}`,
    { cause: "unsupported" },
  );
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}
