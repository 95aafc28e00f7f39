/**
 * Publishes messages to a stream of JetStream, and waits until they are stored.
 *
 * @module
 */

import {
  headers,
  type Msg,
  type NatsConnection,
  type Subscription,
} from "@nats-io/nats-core";
import { type ApiAnswer, ApiError, NoAnswerError } from "./nats_api.ts";

/** The longest time to wait for the confirmation of a message, in milliseconds. */
const CONFIRM_TIMEOUT_MS = 3_000;

/** How long to try if no server of NATS stores messages, in milliseconds. */
const NO_STREAM_TIMEOUT_MS = 1_000;
const RESEND_DELAY_MS = 100;

/** A message that JetStream has not confirmed. */
interface UnconfirmedMessage extends PromiseWithResolvers<void> {
  readonly subject: string;
  readonly message: Uint8Array;
  /** What JetStream recognizes it by if it is sent again. */
  readonly id: string;
  readonly sentAt: number;
}

/**
 * Publishes with one subscription for all confirmations, and one timer. A lost connection
 * is reported by its end.
 */
export class StreamPublisher {
  readonly #connection: NatsConnection;
  readonly #inbox: string;
  readonly #onUnconfirmed: (error: Error) => void;
  readonly #subscription: Subscription;
  /** The messages without a confirmation, in the order in which they were sent. */
  readonly #unconfirmed = new Map<string, UnconfirmedMessage>();
  #count = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  /** Since when no server of NATS has stored a message. */
  #noStreamSince: number | undefined;
  #resendTimer: ReturnType<typeof setTimeout> | undefined;
  #isStopped = false;

  /** Subscribes to the confirmations. */
  constructor(
    connection: NatsConnection,
    inbox: string,
    onUnconfirmed: (error: Error) => void,
  ) {
    this.#connection = connection;
    this.#inbox = inbox;
    this.#onUnconfirmed = onUnconfirmed;
    this.#subscription = connection.subscribe(`${inbox}.*`, {
      callback: (error, message) => {
        if (error) return onUnconfirmed(error);
        this.#confirm(message);
      },
    });
  }

  /** Publishes a message. The promise resolves when it is stored. */
  publish(subject: string, message: Uint8Array, id: string): Promise<void> {
    const reply = `${this.#inbox}.${++this.#count}`;
    const sentAt = performance.now();
    const stored = Promise.withResolvers<void>();
    const one = { ...stored, subject, message, id, sentAt };
    this.#unconfirmed.set(reply, one);
    if (this.#resendTimer === undefined) this.#send(reply, one);
    this.#timer ??= setInterval(() => this.#check(), CONFIRM_TIMEOUT_MS / 3);
    return stored.promise;
  }

  /** Stops waiting for confirmations. */
  stop(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#resendTimer);
    this.#timer = this.#resendTimer = undefined;
    this.#isStopped = true;
    if (!this.#connection.isClosed()) this.#subscription.unsubscribe();
    this.#unconfirmed.clear();
  }

  #send(reply: string, { subject, message, id }: UnconfirmedMessage): void {
    const all = headers();
    all.set("Nats-Msg-Id", id);
    this.#connection.publish(subject, message, { reply, headers: all });
  }

  #confirm(message: Msg): void {
    const { subject } = message;
    const one = this.#unconfirmed.get(subject);
    if (!one || this.#isStopped) return;
    const refusal = publishError(message);
    if (refusal === NO_STREAM_ERROR) return this.#resendSoon();
    this.#noStreamSince = undefined;
    this.#unconfirmed.delete(subject);
    if (refusal) one.reject(refusal);
    else one.resolve();
  }

  /**
   * Sends everything again in a moment, in order: a stream that has just been created, or
   * has another leader, is not known to all servers of NATS at once.
   */
  #resendSoon(): void {
    const now = performance.now();
    this.#noStreamSince ??= now;
    if (now - this.#noStreamSince >= NO_STREAM_TIMEOUT_MS) {
      this.stop();
      return this.#onUnconfirmed(NO_STREAM_ERROR);
    }
    this.#resendTimer ??= setTimeout(() => {
      this.#resendTimer = undefined;
      if (this.#connection.isClosed()) return;
      for (const [reply, one] of this.#unconfirmed) this.#send(reply, one);
    }, RESEND_DELAY_MS);
  }

  #check(): void {
    const [oldest] = this.#unconfirmed.values();
    if (!oldest) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    } else if (performance.now() - oldest.sentAt >= CONFIRM_TIMEOUT_MS) {
      this.stop();
      this.#onUnconfirmed(
        new NoAnswerError(
          `JetStream has not confirmed a message within ${
            CONFIRM_TIMEOUT_MS / 1_000
          } s`,
        ),
      );
    }
  }
}

/** No server of NATS stores the subject: the stream was deleted, or is unavailable. */
const NO_STREAM_ERROR = new Error(
  "NATS cannot store a message as there is no stream",
);

/** The error of a negative confirmation. */
export function publishError({ data, headers }: Msg): Error | undefined {
  if (data.length === 0 && headers?.code === 503) return NO_STREAM_ERROR;
  const { error }: ApiAnswer = data.length > 0
    ? JSON.parse(new TextDecoder().decode(data))
    : { error: { description: headers?.status ?? "no answer" } };
  if (!error) return undefined;
  const { description = "no reason", err_code = 0 } = error;
  return new ApiError(
    `NATS cannot store a message: ${description}`,
    err_code,
    { cause: "refused" },
  );
}
