/**
 * Stores messages in a stream of JetStream.
 *
 * It speaks the API of JetStream itself, so that a user of NATS needs few permissions:
 * docs/scaling.md lists them.
 *
 * @module
 */

import {
  createInbox,
  type Msg,
  type NatsConnection,
  RequestError,
  type Subscription,
} from "@nats-io/nats-core";
import type {
  AdapterLog,
  AdapterLogEntry,
  AdapterLogLimits,
} from "../core/cluster/adapter.ts";
import { addBounded } from "../core/util/bounded_set.ts";
import { SequenceOrder } from "./nats_order.ts";
import {
  type ApiAnswer,
  ApiError,
  NoAnswerError,
  publishError,
  StreamPublisher,
} from "./nats_publisher.ts";

/**
 * The longest times to wait for an answer of JetStream, in milliseconds. What is sent
 * while the stream has no leader is lost, so a request is sent again.
 */
const REQUEST_TIMEOUTS_MS = [500, 1_000, 1_000, 1_500];

/**
 * The same for a read: a cluster without a leader may take some seconds to elect one, and
 * clients that come back would rather wait than miss messages.
 */
const READ_TIMEOUTS_MS = [500, 1_000, 1_500, 2_500, 3_000];

/** After this time without a subscriber JetStream removes a consumer, in milliseconds. */
const CONSUMER_IDLE_MS = 5_000;

/** How much longer than messages may be sent again duplicates are detected. */
const DUPLICATE_SLACK_MS = 10_000;

/** How long to wait for other servers that know of lost messages, in milliseconds. */
const ASK_TIMEOUT_MS = 200;

/**
 * How long JetStream may take to elect a leader, in milliseconds. Until then messages wait,
 * as those that were sent last would be lost without the stream.
 */
const ELECTION_TIMEOUT_MS = 12_000;

/** How long to wait for answers to what was sent before, in milliseconds. */
const ANSWERS_DELAY_MS = 50;

/** More than the headers of a stored message take, in bytes. */
const MAX_HEADER_BYTES = 1024;

/** The number of lost logs to remember. */
const MAX_LOST_LOGS = 100;

const NANOSECONDS_PER_MS = 1_000_000;

/** The configuration of the stream that this module sets or reads. */
interface StreamConfig {
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

/** What a server tells the others about a log whose messages are not all stored. */
type LostMessage =
  /** This log must not be used any more; undefined if its name is unknown. */
  | { readonly type: "lost"; readonly log?: string }
  /** Which logs must not be used any more? */
  | { readonly type: "ask" };

/** An answer of JetStream about the stream or a consumer. */
interface StreamAnswer extends ApiAnswer {
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

/** A message of the stream that JetStream has published. */
interface PublishedMessage {
  readonly channel: string | undefined;
  readonly data: Uint8Array;
}

/**
 * A stream that all servers with the same prefix share. JetStream publishes what it stores,
 * and every server receives all of it, to pass it on in the order of the stream.
 */
export class NatsLog implements AdapterLog {
  readonly #prefix: string;
  readonly #stream: string;
  readonly #replicas: number;
  readonly #subjectOf: (channel: string) => string;
  readonly #inboxPrefix: string | undefined;
  readonly #onUnconfirmed: (error: Error) => void;
  readonly #order: SequenceOrder<PublishedMessage>;
  /** The channels whose messages are passed on, by their names in the stream. */
  readonly #channels = new Map<string, string>();
  #connection: NatsConnection | undefined;
  #publisher: StreamPublisher | undefined;
  #subscription: Subscription | undefined;
  /** Why messages of the stream do not arrive. */
  #refusal: Error | undefined;
  readonly #lostSubject: string;
  /** The name of the log that was opened last. */
  #name: string | undefined;
  /** Names of logs that must not be used, as messages were published without them. */
  readonly #lost = new Set<string>();
  /** Whether the log that is found next must not be used, whatever its name is. */
  #isLost = false;
  /** The size of a message that JetStream has refused to store; 0 if it stores all. */
  #refusedSize = 0;
  /** Why nothing is sent to the stream, from a refusal until the log is opened again. */
  #fullError: ApiError | undefined;
  #fullTimer: ReturnType<typeof setTimeout> | undefined;
  /** Since when JetStream does not answer; undefined if it did last time. */
  #unansweredSince: number | undefined;
  /** Whether messages are stored. */
  #isOpen = false;
  /** The log begins after this number. Older messages are those of a lost log. */
  #start = 0;

  /**
   * @param replicas On how many servers of NATS the stream is kept.
   * @param subjectOf Returns the subject of a channel in the stream.
   * @param onMessage Called with each message of the channels that are subscribed to.
   * @param onUnconfirmed Called if it is unknown whether messages are stored, or one that
   * is stored does not arrive: the log has to be opened again.
   */
  constructor(
    prefix: string,
    replicas: number,
    subjectOf: (channel: string) => string,
    inboxPrefix: string | undefined,
    onMessage: (channel: string, message: Uint8Array, offset: number) => void,
    onUnconfirmed: (error: Error) => void,
  ) {
    this.#order = new SequenceOrder(
      (offset, { channel, data }) => {
        if (channel !== undefined) onMessage(channel, data, offset);
      },
      (offset) =>
        this.#fail(
          new NoAnswerError(
            `JetStream has stored message ${offset}, but has not published it`,
          ),
        ),
    );
    this.#inboxPrefix = inboxPrefix;
    this.#prefix = prefix;
    this.#stream = prefix.replaceAll(/[^\w-]/g, "_");
    this.#replicas = replicas;
    this.#subjectOf = subjectOf;
    this.#onUnconfirmed = onUnconfirmed;
    this.#lostSubject = `${prefix}.lost`;
  }

  /** @param usesLog Whether the server stores messages. */
  connect(connection: NatsConnection, usesLog: boolean): void {
    this.#connection = connection;
    if (!usesLog) return;
    connection.subscribe(this.#lostSubject, {
      callback: (error, message) => {
        if (!error) this.#receiveLost(message.json());
      },
    });
  }

  /** Passes on the messages of a channel. */
  subscribe(channel: string): void {
    this.#channels.set(this.#nameOf(channel), channel);
  }

  unsubscribe(channel: string): void {
    this.#channels.delete(this.#nameOf(channel));
  }

  disconnect(): void {
    this.#close();
    this.#connection = undefined;
    this.#subscription = undefined;
    this.#order.stop();
    this.#publisher?.stop();
    this.#publisher = undefined;
  }

  async open(limits: AdapterLogLimits, lost?: string): Promise<string> {
    try {
      const name = await this.#open(limits, lost);
      this.#unansweredSince = undefined;
      return name;
    } catch (error) {
      const isUnanswered = error instanceof NoAnswerError;
      if (!isUnanswered) this.#unansweredSince = undefined;
      else this.#unansweredSince ??= performance.now();
      throw error;
    }
  }

  async #open(limits: AdapterLogLimits, lost?: string): Promise<string> {
    const connection = this.#connected();
    this.#publisher?.stop();
    this.#publisher = new StreamPublisher(
      connection,
      createInbox(this.#inboxPrefix),
      (error) => this.#fail(error),
    );
    this.#close();
    this.#order.stop();
    // What is stored after JetStream has told its last message will arrive.
    this.#receive(connection);
    const name = crypto.randomUUID().replaceAll("-", "");
    await this.#askLost(connection);
    const found = await this.#find() ?? await this.#create(limits, name);
    if (this.#refusedSize > 0) await this.#probe(this.#refusedSize);
    this.#assertOwn(found.config);
    const config = this.#extend(found.config, limits);
    const { last_seq = 0 } = found.state ?? {};
    const known = parseDescription(config.description);
    const isLost = known.name === "" || known.name === lost ||
      this.#lost.has(known.name) || this.#isLost;
    const log = isLost ? { name, start: last_seq } : known;
    config.description = `${log.name} ${log.start}`;
    if (JSON.stringify(config) !== JSON.stringify(found.config)) {
      await this.#request("STREAM.UPDATE", config);
    }
    if (this.#refusal) throw this.#refusal;
    this.#order.start(last_seq);
    this.#isLost = false;
    this.#refusedSize = 0;
    this.#isOpen = true;
    this.#name = log.name;
    this.#start = log.start;
    return log.name;
  }

  /**
   * Makes the name of the log invalid, although JetStream cannot be told: this server and
   * those that it reaches give the log another name before they use it again.
   */
  invalidate(): Promise<void> {
    const since = this.#unansweredSince ?? -Infinity;
    if (performance.now() - since < ELECTION_TIMEOUT_MS) {
      return Promise.reject(new NoAnswerError("JetStream may have no leader"));
    }
    const log = this.#name;
    if (log === undefined) this.#isLost = true;
    else addBounded(this.#lost, log, MAX_LOST_LOGS);
    this.#publishLost({ type: "lost", ...log !== undefined && { log } });
    if (this.#isOpen) this.#fail(new Error("A message was not stored"));
    return Promise.resolve();
  }

  #receiveLost(message: LostMessage): void {
    if (message.type === "ask") {
      for (const log of this.#lost) this.#publishLost({ type: "lost", log });
      if (this.#isLost) this.#publishLost({ type: "lost" });
      return;
    }
    const { log } = message;
    if (log === undefined) this.#isLost = true;
    else addBounded(this.#lost, log, MAX_LOST_LOGS);
    if (!this.#isOpen || log !== undefined && log !== this.#name) return;
    this.#fail(new Error("Another server cannot store messages"));
  }

  #publishLost(message: LostMessage): void {
    this.#connected().publish(this.#lostSubject, JSON.stringify(message));
  }

  /** Asks the other servers which logs must not be used, and waits for their answers. */
  async #askLost(connection: NatsConnection): Promise<void> {
    this.#publishLost({ type: "ask" });
    await Promise.race([connection.flush(), connection.closed()]);
    await new Promise((resolve) => setTimeout(resolve, ASK_TIMEOUT_MS));
  }

  /**
   * The stream or the disk is full. Nothing more is sent, so that soon it is known of each
   * message whether it is stored.
   */
  #refused(error: ApiError, size: number): void {
    this.#refusedSize = size + MAX_HEADER_BYTES;
    if (!this.#isOpen) return;
    this.#fullError = error;
    this.#fullTimer ??= setTimeout(() => this.#fail(error), ANSWERS_DELAY_MS);
  }

  /** The log has to be opened again. */
  #fail(error: Error): void {
    this.#close();
    this.#onUnconfirmed(error);
  }

  #close(): void {
    this.#isOpen = false;
    clearTimeout(this.#fullTimer);
    this.#fullTimer = undefined;
    this.#fullError = undefined;
  }

  /** Stores a message of a size that JetStream has refused before. */
  async #probe(size: number): Promise<void> {
    const subject = this.#subjectOf("probe");
    const data = new Uint8Array(size);
    const message = await this.#retry(
      REQUEST_TIMEOUTS_MS,
      (timeout) => this.#send(subject, data, timeout, "a message"),
    );
    const refusal = publishError(message);
    if (refusal) throw refusal;
  }

  /** Subscribes to what JetStream publishes. */
  #receive(connection: NatsConnection): void {
    if (this.#subscription || connection.isClosed()) return;
    this.#refusal = undefined;
    const subject = `${this.#prefix}.log.`;
    this.#subscription = connection.subscribe(`${subject}*`, {
      callback: (cause, message) => {
        if (cause) {
          this.#subscription = undefined;
          this.#refusal = new Error(
            `Cannot subscribe to "${subject}*": NATS denies it to this user`,
            { cause },
          );
          return;
        }
        const sequence = Number(message.headers?.get("Nats-Sequence") || NaN);
        if (Number.isNaN(sequence)) return; // JetStream has not published it
        const channel = this.#channels.get(
          message.subject.slice(subject.length),
        );
        this.#order.add(sequence, { channel, data: message.data });
      },
    });
  }

  /** The name of a channel in the subjects of the stream. */
  #nameOf(channel: string): string {
    return this.#subjectOf(channel).slice(`${this.#prefix}.kept.`.length);
  }

  async append(
    channel: string,
    { from, id }: { readonly from: string; readonly id: number },
    message: Uint8Array,
  ): Promise<void> {
    const subject = this.#subjectOf(channel);
    this.#connected();
    if (this.#fullError) throw this.#fullError;
    try {
      await this.#publisher?.publish(
        subject,
        message,
        `${from} ${id} ${subject}`,
      );
    } catch (error) {
      if (error instanceof ApiError && error.code !== TOO_LARGE) {
        this.#refused(error, message.length);
      }
      throw error;
    }
  }

  async read(
    channel: string,
    after: number,
    limit: number,
  ): Promise<readonly AdapterLogEntry[]> {
    const subject = this.#subjectOf(channel);
    const start = Math.max(after, this.#start);
    const entries = await this.#retry(
      READ_TIMEOUTS_MS,
      (timeout) => this.#read(subject, start, limit, timeout),
    );
    // Within the limits that servers have set, the stream keeps what follows.
    const { state } = await this.#request("STREAM.INFO");
    if (start > 0 && (state?.first_seq ?? 0) > start + 1) {
      throw new Error(
        "JetStream has removed messages before their time: do not limit the size of the stream, and do not purge it",
      );
    }
    return entries;
  }

  /** Reads with a short-lived consumer, which sends all messages at once. */
  async #read(
    subject: string,
    after: number,
    limit: number,
    timeout: number,
  ): Promise<readonly AdapterLogEntry[]> {
    const connection = this.#connected();
    const inbox = createInbox(this.#inboxPrefix);
    const entries: AdapterLogEntry[] = [];
    const done = Promise.withResolvers<void>();
    let expected = limit;
    const subscription = connection.subscribe(inbox, {
      callback: (error, message) => {
        if (error) return done.reject(error);
        const offset = sequenceOf(message);
        if (offset === undefined) return; // a status of the consumer
        entries.push({ offset, message: message.data });
        if (entries.length >= expected) done.resolve();
      },
    });
    const timer = setTimeout(
      () => done.reject(new NoAnswerError("JetStream does not send messages")),
      timeout,
    );
    done.promise.catch(() => {}); // the request may fail first
    let name: string | undefined;
    try {
      const body = consumerOf(this.#stream, subject, after + 1, inbox);
      const consumer = await this.#ask("CONSUMER.CREATE", body, timeout);
      name = consumer.name;
      expected = Math.min(limit, consumer.num_pending ?? 0);
      if (entries.length < expected) await done.promise;
    } finally {
      clearTimeout(timer);
      if (!connection.isClosed()) {
        subscription.unsubscribe();
        // It would end by itself; nobody waits for the answer.
        if (name !== undefined) {
          connection.publish(`$JS.API.CONSUMER.DELETE.${this.#stream}.${name}`);
        }
      }
    }
    return entries.slice(0, limit);
  }

  #connected(): NatsConnection {
    if (this.#connection) return this.#connection;
    throw new Error("Cannot store messages: NATS is not connected");
  }

  /** The stream; undefined if there is none. */
  async #find(): Promise<StreamAnswer | undefined> {
    try {
      return await this.#request("STREAM.INFO");
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
      name: this.#stream,
      description,
      num_replicas: this.#replicas,
    };
    try {
      return await this.#request("STREAM.CREATE", config);
    } catch (error) {
      // Another server has created it meanwhile.
      if (error instanceof ApiError && error.code === STREAM_NAME_IN_USE) {
        return await this.#request("STREAM.INFO");
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
      `Cannot store messages in NATS: the stream "${this.#stream}" stores ${
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

  /** Sends a request to JetStream that has the same effect when it is sent twice. */
  #request(api: string, body?: unknown): Promise<StreamAnswer> {
    return this.#retry(
      REQUEST_TIMEOUTS_MS,
      (timeout) => this.#ask(api, body, timeout),
    );
  }

  /** Tries again if JetStream does not answer. */
  async #retry<Result>(
    timeouts: readonly number[],
    action: (timeout: number) => Promise<Result>,
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
  async #ask(
    api: string,
    body: unknown,
    timeout: number,
  ): Promise<StreamAnswer> {
    const message = await this.#send(
      `$JS.API.${api}.${this.#stream}`,
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

  /** @param what What is sent, for an error message. */
  async #send(
    subject: string,
    data: string | Uint8Array,
    timeout: number,
    what: string,
  ): Promise<Msg> {
    try {
      return await this.#connected().request(subject, data, { timeout });
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

/** A consumer that sends the messages of a subject, from one number on. */
function consumerOf(
  stream: string,
  filter_subject: string,
  opt_start_seq: number,
  deliver_subject: string,
): unknown {
  const config = {
    deliver_subject,
    deliver_policy: "by_start_sequence",
    opt_start_seq,
    filter_subject,
    ack_policy: "none",
    inactive_threshold: CONSUMER_IDLE_MS * NANOSECONDS_PER_MS,
    num_replicas: 1,
    mem_storage: true,
  };
  return { stream_name: stream, config };
}

/** The description of the stream: the name of the log, and what it begins after. */
function parseDescription(text: string): { name: string; start: number } {
  const [name = "", start = "0"] = text.split(" ");
  return { name, start: Number(start) };
}

/** Error codes of JetStream. */
const STREAM_NOT_FOUND = 10_059;
const STREAM_NAME_IN_USE = 10_058;
const TOO_LARGE = 10_054;

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

/** The number of a message in the stream, which a consumer sends as part of the reply. */
function sequenceOf({ reply = "" }: Msg): number | undefined {
  const tokens = reply.split(".");
  if (tokens[1] !== "ACK") return undefined;
  return Number(tokens.length > 9 ? tokens[7] : tokens[5]);
}
