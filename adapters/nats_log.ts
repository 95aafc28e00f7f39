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
  type NatsConnection,
  type Subscription,
} from "@nats-io/nats-core";
import type {
  AdapterLog,
  AdapterLogEntry,
  AdapterLogLimits,
} from "../core/cluster/adapter.ts";
import {
  ApiError,
  JetStreamApi,
  NoAnswerError,
  TOO_LARGE,
} from "./nats_api.ts";
import { LostLogs } from "./nats_lost_logs.ts";
import { SequenceOrder } from "./nats_order.ts";
import { publishError, StreamPublisher } from "./nats_publisher.ts";
import { readStream } from "./nats_reader.ts";
import { LogStream } from "./nats_stream.ts";

/**
 * How long JetStream may take to elect a leader, in milliseconds. Until then messages wait,
 * as those that were sent last would be lost without the stream.
 */
const ELECTION_TIMEOUT_MS = 12_000;

/** How long to wait for the answers to earlier messages, in milliseconds. */
const ANSWERS_DELAY_MS = 50;

/** More than the headers of a stored message take, in bytes. */
const MAX_HEADER_BYTES = 1024;

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
  readonly #api: JetStreamApi;
  readonly #stream: LogStream;
  readonly #lost: LostLogs;
  readonly #subjectOf: (channel: string) => string;
  readonly #inboxPrefix: string | undefined;
  readonly #onUnconfirmed: (error: Error) => void;
  readonly #order: SequenceOrder<PublishedMessage>;
  /** The channels whose messages are passed on, by their names in the stream. */
  readonly #channels = new Map<string, string>();
  #publisher: StreamPublisher | undefined;
  #subscription: Subscription | undefined;
  /** Why messages of the stream do not arrive. */
  #refusal: Error | undefined;
  /** The name of the log that was opened last. */
  #name: string | undefined;
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
    this.#api = new JetStreamApi(prefix.replaceAll(/[^\w-]/g, "_"));
    this.#stream = new LogStream(this.#api, prefix, replicas);
    this.#lost = new LostLogs(this.#api, prefix, (log) => {
      if (!this.#isOpen || log !== undefined && log !== this.#name) return;
      this.#fail(new Error("Another server cannot store messages"));
    });
    this.#subjectOf = subjectOf;
    this.#onUnconfirmed = onUnconfirmed;
  }

  /** @param usesLog Whether the server stores messages. */
  connect(connection: NatsConnection, usesLog: boolean): void {
    this.#api.connect(connection);
    if (usesLog) this.#lost.listen(connection);
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
    this.#api.connect(undefined);
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
    const { connection } = this.#api;
    this.#publisher?.stop();
    this.#publisher = new StreamPublisher(
      connection,
      createInbox(this.#inboxPrefix),
      (error) => this.#fail(error),
    );
    this.#close();
    this.#order.stop();
    // Messages that are stored after this answer will arrive.
    this.#receive(connection);
    const name = crypto.randomUUID().replaceAll("-", "");
    await this.#lost.ask();
    const found = await this.#stream.open(limits, name);
    if (this.#refusedSize > 0) await this.#probe(this.#refusedSize);
    const log = await this.#stream.update(found, limits, (known, start) => {
      const isLost = known.name === "" || known.name === lost ||
        this.#lost.has(known.name);
      return isLost ? { name, start } : known;
    });
    if (this.#refusal) throw this.#refusal;
    this.#order.start(found.state?.last_seq ?? 0);
    this.#lost.opened();
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
    this.#lost.add(this.#name);
    if (this.#isOpen) this.#fail(new Error("A message was not stored"));
    return Promise.resolve();
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
    const message = await this.#api.retry((timeout) =>
      this.#api.send(subject, data, timeout, "a message")
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
    const publisher = this.#publisher;
    if (!publisher) {
      throw new Error("Cannot store messages: NATS is not connected");
    }
    if (this.#fullError) throw this.#fullError;
    try {
      await publisher.publish(
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
    const entries = await readStream(
      this.#api,
      subject,
      start,
      limit,
      this.#inboxPrefix,
    );
    // Within the limits that servers have set, the stream keeps what follows.
    const { state } = await this.#api.request("STREAM.INFO");
    if (start > 0 && (state?.first_seq ?? 0) > start + 1) {
      throw new Error(
        "JetStream has removed messages before their time: do not limit the size of the stream, and do not purge it",
      );
    }
    return entries;
  }
}
