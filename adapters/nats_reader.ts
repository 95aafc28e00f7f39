/**
 * Reads stored messages from a stream of JetStream.
 *
 * @module
 */

import { createInbox, type Msg } from "@nats-io/nats-core";
import type { AdapterLogEntry } from "../core/cluster/adapter.ts";
import {
  type JetStreamApi,
  NANOSECONDS_PER_MS,
  NoAnswerError,
} from "./nats_api.ts";

/**
 * The longest times to wait for messages of the stream, in milliseconds: a cluster without
 * a leader may take some seconds to elect one, and clients that reconnect would rather wait
 * than miss messages.
 */
const READ_TIMEOUTS_MS = [500, 1_000, 1_500, 2_500, 3_000];

/** After this time without a subscriber JetStream removes a consumer, in milliseconds. */
const CONSUMER_IDLE_MS = 5_000;

/** Reads the first messages of a subject after one, in the order of the stream. */
export function readStream(
  api: JetStreamApi,
  subject: string,
  after: number,
  limit: number,
  inboxPrefix: string | undefined,
): Promise<readonly AdapterLogEntry[]> {
  return api.retry(
    (timeout) => readOnce(api, subject, after, limit, inboxPrefix, timeout),
    READ_TIMEOUTS_MS,
  );
}

/** Reads with a short-lived consumer, which sends all messages at once. */
async function readOnce(
  api: JetStreamApi,
  subject: string,
  after: number,
  limit: number,
  inboxPrefix: string | undefined,
  timeout: number,
): Promise<readonly AdapterLogEntry[]> {
  const { connection } = api;
  const inbox = createInbox(inboxPrefix);
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
    const body = consumerOf(api.stream, subject, after + 1, inbox);
    const consumer = await api.ask("CONSUMER.CREATE", body, timeout);
    name = consumer.name;
    expected = Math.min(limit, consumer.num_pending ?? 0);
    if (entries.length < expected) await done.promise;
  } finally {
    clearTimeout(timer);
    if (!connection.isClosed()) {
      subscription.unsubscribe();
      // It would expire by itself, so the answer is not awaited.
      if (name !== undefined) {
        connection.publish(`$JS.API.CONSUMER.DELETE.${api.stream}.${name}`);
      }
    }
  }
  return entries.slice(0, limit);
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

/** The number of a message in the stream, which a consumer sends as part of the reply. */
function sequenceOf({ reply = "" }: Msg): number | undefined {
  const tokens = reply.split(".");
  if (tokens[1] !== "ACK") return undefined;
  return Number(tokens.length > 9 ? tokens[7] : tokens[5]);
}
