/**
 * The stream of JetStream that all servers with the same prefix share: creates it, and
 * raises its limits.
 *
 * @module
 */

import type { AdapterLogLimits } from "../core/cluster/adapter.ts";
import {
  ApiError,
  type JetStreamApi,
  NANOSECONDS_PER_MS,
  STREAM_NAME_IN_USE,
  STREAM_NOT_FOUND,
  type StreamAnswer,
  type StreamConfig,
} from "./nats_api.ts";

/** How much longer than messages may be sent again duplicates are detected. */
const DUPLICATE_SLACK_MS = 10_000;

/** The log in the stream. */
export interface StreamLog {
  readonly name: string;
  /** The log begins after this number. */
  readonly start: number;
}

/** Configures the stream. */
export class LogStream {
  readonly #api: JetStreamApi;
  readonly #prefix: string;
  readonly #replicas: number;

  constructor(api: JetStreamApi, prefix: string, replicas: number) {
    this.#api = api;
    this.#prefix = prefix;
    this.#replicas = replicas;
  }

  /** Finds the stream, or creates it with a log of this name. */
  async open(limits: AdapterLogLimits, name: string): Promise<StreamAnswer> {
    return await this.#find() ?? await this.#create(limits, name);
  }

  /**
   * Raises the limits of the stream, and gives it the log that `choose` returns.
   *
   * @param choose Decides from the log in the stream and the last number of a message.
   * @throws {Error} (rejects) If the stream belongs to servers with another prefix.
   */
  async update(
    { config: found, state }: StreamAnswer,
    limits: AdapterLogLimits,
    choose: (known: StreamLog, last: number) => StreamLog,
  ): Promise<StreamLog> {
    this.#assertOwn(found);
    const config = this.#extend(found, limits);
    const known = parseDescription(config.description);
    const log = choose(known, state?.last_seq ?? 0);
    config.description = `${log.name} ${log.start}`;
    if (JSON.stringify(config) !== JSON.stringify(found)) {
      await this.#api.request("STREAM.UPDATE", config);
    }
    return log;
  }

  /** Reads the state of the stream; undefined if it does not exist. */
  async #find(): Promise<StreamAnswer | undefined> {
    try {
      return await this.#api.request("STREAM.INFO");
    } catch (error) {
      if (error instanceof ApiError && error.code === STREAM_NOT_FOUND) {
        return undefined;
      }
      throw error;
    }
  }

  async #create(
    limits: AdapterLogLimits,
    description: string,
  ): Promise<StreamAnswer> {
    const config = {
      ...limitsOf(limits),
      ...this.#routes(),
      name: this.#api.stream,
      description,
      num_replicas: this.#replicas,
    };
    try {
      return await this.#api.request("STREAM.CREATE", config);
    } catch (error) {
      // Another server has created it meanwhile.
      if (error instanceof ApiError && error.code === STREAM_NAME_IN_USE) {
        return await this.#api.request("STREAM.INFO");
      }
      throw error;
    }
  }

  /** What the stream stores, and where JetStream publishes it then. */
  #routes(): Pick<StreamConfig, "subjects" | "republish"> {
    const subject = `${this.#prefix}.kept.*`;
    const dest = `${this.#prefix}.log.{{wildcard(1)}}`;
    return { subjects: [subject], republish: { src: subject, dest } };
  }

  /** Two prefixes may have the same name of the stream, which has no dots. */
  #assertOwn(found: StreamConfig | undefined): void {
    const { subjects } = this.#routes();
    const others = found?.subjects.filter((one) => !subjects.includes(one));
    if (!others || others.length === 0) return;
    throw new Error(
      `Cannot store messages in NATS: the stream "${this.#api.stream}" stores ${
        others.join(", ")
      }: use a prefix other than "${this.#prefix}"`,
    );
  }

  /** Raises the limits of the stream to those that this server asks for. */
  #extend(
    found: StreamConfig | undefined,
    limits: AdapterLogLimits,
  ): StreamConfig & { description: string } {
    if (!found) throw new Error("JetStream has answered without a stream");
    const wanted = limitsOf(limits);
    return {
      ...found,
      ...this.#routes(),
      description: found.description ?? "",
      max_msgs_per_subject: Math.max(
        found.max_msgs_per_subject,
        wanted.max_msgs_per_subject,
      ),
      max_age: Math.max(found.max_age, wanted.max_age),
      duplicate_window: Math.max(
        found.duplicate_window,
        wanted.duplicate_window,
      ),
      num_replicas: Math.max(found.num_replicas, this.#replicas),
    };
  }
}

/** The description of the stream: the name of the log, and what it begins after. */
function parseDescription(text: string): StreamLog {
  const [name = "", start = "0"] = text.split(" ");
  return { name, start: Number(start) };
}

function limitsOf(
  { messages, maxAge, resendAge }: AdapterLogLimits,
): Pick<
  StreamConfig,
  "max_msgs_per_subject" | "max_age" | "duplicate_window"
> {
  return {
    max_msgs_per_subject: messages + 1,
    max_age: Math.ceil(2 * maxAge) * NANOSECONDS_PER_MS,
    // JetStream remembers the name of each message for that long, in memory.
    duplicate_window: Math.ceil(
      Math.min(2 * maxAge, resendAge + DUPLICATE_SLACK_MS),
    ) * NANOSECONDS_PER_MS,
  };
}
