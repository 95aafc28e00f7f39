/**
 * Connects servers on any number of machines through NATS, with its official client.
 *
 * ```ts ignore
 * import { ServerSocket } from "jsr:@ws/events";
 * import { nats } from "jsr:@ws/events/nats";
 *
 * const server = new ServerSocket({
 *   adapter: nats({ servers: "localhost:4222" }),
 * });
 * server.on("adapter", (state, error) => console.log(state, error));
 * await server.listen("0.0.0.0", 3000);
 * ```
 *
 * @module
 */

import { createHash } from "node:crypto";
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import {
  connect,
  createInbox,
  headers,
  type Msg,
  type NatsConnection,
  type NodeConnectionOptions,
  type Subscription,
} from "@nats-io/transport-node";
import type {
  Adapter,
  AdapterHost,
  AdapterLog,
  AdapterLogEntry,
  AdapterLogLimits,
} from "../core/cluster/adapter.ts";
import { assertKnown, assertType, optionNames } from "../core/events/errors.ts";
import { withoutSecrets } from "../core/util/safe_url.ts";

export type { Adapter } from "../core/cluster/adapter.ts";

/** Options of {@linkcode nats}. */
export interface NatsOptions {
  /**
   * The address of NATS as `host:port`, or several addresses of one cluster.
   *
   * @default {"localhost:4222"}
   */
  readonly servers?: string | string[];
  /** The user name, if NATS requires one. */
  readonly user?: string;
  /** The password of the user. */
  readonly pass?: string;
  /** The token, if NATS requires one. */
  readonly token?: string;
  /**
   * The prefix of all subjects and the name of the stream. Servers with the same prefix
   * exchange messages, so that several clusters of servers can share one NATS.
   *
   * @default {"ws-events"}
   */
  readonly prefix?: string;
}

/** Validates an address, as an error of the client would show its password. */
function assertServer(server: string): void {
  assertType("servers", server, "string", 'write { servers: "host:port" }');
  const address = server.replace(/^[a-z]+:\/\//i, "");
  const isAddress = address !== "" && !address.includes("@") &&
    URL.canParse(`http://${address}`);
  if (isAddress) return;
  throw new TypeError(
    `Cannot use "${
      withoutSecrets(server)
    }" among "servers": write "host:port", and pass credentials as "user" and "pass", or as "token"`,
  );
}

/**
 * Creates an adapter for servers that share a NATS.
 *
 * @param options The address of NATS, and credentials.
 * @returns The adapter, for one server.
 * @throws {TypeError} If an address is invalid.
 */
export function nats(
  options: NatsOptions = {},
): Adapter {
  assertType("options", options, "object", 'write { servers: "host:port" }');
  assertKnown("nats()", options, OPTIONS);
  const { prefix = "ws-events", servers = "localhost:4222", ...rest } = options;
  for (const server of [servers].flat()) assertServer(server);
  const address: NodeConnectionOptions = {
    ...rest,
    servers,
    noEcho: true,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
    reconnectJitter: 400,
    pingInterval: PING_INTERVAL_MS,
  };
  const subscriptions = new Map<string, Subscription | undefined>();
  let host: AdapterHost | undefined;
  let connection: NatsConnection | undefined;
  let isUp = false;
  let retryTimer: ReturnType<typeof setTimeout> | undefined;

  function subscribeTo(channel: string): void {
    const subscription = connection?.subscribe(toSubject(prefix, channel), {
      callback: (error, { data, headers }) => {
        if (error) return;
        const sequence = headers?.get("Nats-Sequence");
        host?.received(channel, data, sequence ? Number(sequence) : undefined);
      },
    });
    subscriptions.set(channel, subscription);
  }

  /** Connects, and retries: the client reconnects only after it was connected once. */
  async function open(): Promise<void> {
    try {
      const opened = await connect(address);
      if (host === undefined) return await opened.close();
      connection = opened;
      for (const channel of subscriptions.keys()) subscribeTo(channel);
      setState(true);
      await watchStatus(opened);
      // The client stops reconnecting, for example if NATS refuses it twice.
      throw new Error("The client of NATS has stopped reconnecting");
    } catch (error) {
      if (host === undefined) return;
      setState(false, error);
      retryTimer = setTimeout(open, 100 + Math.random() * 400);
    }
  }

  async function watchStatus(connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      const { type } = status;
      if (type === "disconnect") {
        setState(false, new Error("The connection to NATS is lost"));
      }
      if (type === "reconnect") setState(true);
      // For example, a subject that it may not publish or subscribe to.
      if (type === "error") setState(false, status.error);
    }
  }

  function setState(state: boolean, error?: unknown): void {
    isUp = state;
    host?.changed(state ? "up" : "down", error);
  }

  let manager: JetStreamManager | undefined;
  let publisher: StreamPublisher | undefined;
  const stream = prefix.replaceAll(/[^\w-]/g, "_");
  const storedSubject = (channel: string) =>
    toSubject(`${prefix}.kept`, channel);
  const log: AdapterLog = {
    async open(limits) {
      if (!connection) {
        throw new Error("Cannot store messages: NATS is not connected");
      }
      manager = await createManager(connection);
      publisher?.stop();
      publisher = publishTo(connection);
      return await openStream(manager, stream, prefix, limits);
    },
    async append(channel, { from, id }, message) {
      const subject = storedSubject(channel);
      try {
        await publisher?.publish(subject, message, `${from} ${id} ${subject}`);
      } catch (error) {
        if (error === NO_STREAM_ERROR && isUp) {
          host?.changed("down", error);
          host?.changed("up"); // the server opens the log again
        }
        throw error;
      }
    },
    async read(channel, after, limit) {
      const found: AdapterLogEntry[] = [];
      for (let seq = after + 1; found.length < limit; seq++) {
        const query = { seq, next_by_subj: storedSubject(channel) };
        const message = await manager?.streams.getMessage(stream, query);
        if (!message) break;
        seq = message.seq;
        found.push({ offset: seq, message: message.data });
      }
      return found;
    },
  };
  return {
    log,
    open(given) {
      host = given;
      open();
    },
    publish(channel, message) {
      // The client would buffer the message, without a limit.
      if (!isUp) {
        throw new Error(
          `Cannot publish to "${channel}": NATS is not connected`,
        );
      }
      connection?.publish(toSubject(prefix, channel), message);
    },
    subscribe: subscribeTo,
    unsubscribe(channel) {
      subscriptions.get(channel)?.unsubscribe();
      subscriptions.delete(channel);
    },
    async close() {
      host = undefined;
      clearTimeout(retryTimer);
      if (!connection) return;
      const timer = setTimeout(() => connection?.close(), DRAIN_TIMEOUT_MS);
      if (isUp) await Promise.race([connection.drain(), connection.closed()]);
      clearTimeout(timer);
      await connection.close();
    },
  };
}

const subjectEncoder = new TextEncoder();

/** Each byte as two hexadecimal digits. */
const HEX_BYTES: readonly string[] = Array.from(
  { length: 256 },
  (_, byte) => byte.toString(16).padStart(2, "0"),
);

/**
 * Encodes a channel as a subject, which cannot contain spaces, dots or wildcards. Long
 * names are hashed, as NATS ends the connection of a client that sends one.
 */
function toSubject(prefix: string, channel: string): string {
  const bytes = subjectEncoder.encode(channel);
  if (bytes.length > MAX_PLAIN_NAME_BYTES) {
    return `${prefix}.hash-${createHash("sha256").update(bytes).digest("hex")}`;
  }
  let subject = `${prefix}.`;
  for (const byte of bytes) subject += HEX_BYTES[byte];
  return subject;
}

/** The longest name of a channel that is not hashed, in bytes. */
const MAX_PLAIN_NAME_BYTES = 256;

/** The interval between pings, in milliseconds. */
const PING_INTERVAL_MS = 5_000;

/** The longest time to wait for JetStream, in milliseconds; pings detect a lost link. */
const NATS_TIMEOUT_MS = 60_000;

/** The longest time to send what is buffered on close, in milliseconds. */
const DRAIN_TIMEOUT_MS = 1_000;

async function createManager(
  connection: NatsConnection,
): Promise<JetStreamManager> {
  try {
    return await jetstreamManager(connection, { timeout: NATS_TIMEOUT_MS });
  } catch (cause) {
    throw new Error(
      "Cannot store messages in NATS without JetStream: start it with nats-server -js",
      { cause },
    );
  }
}

/** Opens a stream that republishes what it stores, in the same order to all servers. */
async function openStream(
  { streams }: JetStreamManager,
  name: string,
  prefix: string,
  { messages, maxAge }: AdapterLogLimits,
): Promise<string> {
  const age = Math.ceil(2 * maxAge) * 1_000_000; // in nanoseconds
  const limits = {
    max_msgs_per_subject: messages + 1,
    max_age: age,
    // Duplicates are detected for as long as messages are stored.
    duplicate_window: age,
  };
  const stream = {
    ...limits,
    name,
    // The name of the log, which only servers know. NATS before 2.10 has no metadata.
    description: crypto.randomUUID().replaceAll("-", ""),
    subjects: [`${prefix}.kept.*`],
    republish: { src: `${prefix}.kept.*`, dest: `${prefix}.{{wildcard(1)}}` },
  };
  const { config: { description = "" } } = await streams.add(stream).catch(
    async () => {
      // Another server has created it. Its limits must not become smaller.
      const { config } = await streams.info(name);
      const max_age = Math.max(age, config.max_age);
      return await streams.update(name, {
        max_msgs_per_subject: Math.max(
          messages + 1,
          config.max_msgs_per_subject,
        ),
        max_age,
        duplicate_window: max_age,
        description: config.description || stream.description,
      });
    },
  );
  return description;
}

/** Publishes messages to a stream, each once. */
interface StreamPublisher {
  /** Publishes a message. The promise resolves when it is stored. */
  publish(subject: string, message: Uint8Array, id: string): Promise<void>;
  /** Stops waiting for confirmations. */
  stop(): void;
}

/** No server of NATS stores the subject: the stream was deleted, or is unavailable. */
const NO_STREAM_ERROR = new Error(
  "NATS cannot store a message as there is no stream",
);

/**
 * Publishes with one subscription for all confirmations and without a timeout per
 * message. A lost connection is reported by the client's status.
 */
function publishTo(connection: NatsConnection): StreamPublisher {
  const inbox = createInbox();
  const waiting = new Map<string, PromiseWithResolvers<void>>();
  let count = 0;
  const subscription = connection.subscribe(`${inbox}.*`, {
    callback: (error, message) => {
      const { subject } = message;
      const one = waiting.get(subject);
      waiting.delete(subject);
      const refusal = error ?? publishError(message);
      if (refusal) one?.reject(refusal);
      else one?.resolve();
    },
  });
  return {
    publish: (subject, message, id) => {
      const reply = `${inbox}.${++count}`;
      const one = Promise.withResolvers<void>();
      const all = headers();
      all.set("Nats-Msg-Id", id);
      connection.publish(subject, message, { reply, headers: all });
      waiting.set(reply, one);
      return one.promise;
    },
    stop: () => {
      if (!connection.isClosed()) subscription.unsubscribe();
      waiting.clear();
    },
  };
}

/** The error of a negative confirmation. */
function publishError({ data, headers }: Msg): Error | undefined {
  if (data.length === 0 && headers?.code === 503) return NO_STREAM_ERROR;
  const answer: unknown = data.length > 0
    ? JSON.parse(new TextDecoder().decode(data))
    : { error: { description: headers?.status ?? "no answer" } };
  if (typeof answer !== "object" || answer === null) return undefined;
  if (!("error" in answer)) return undefined;
  return new Error(
    `NATS cannot store a message: ${JSON.stringify(answer.error)}`,
  );
}

const OPTIONS = optionNames<NatsOptions>({
  servers: true,
  user: true,
  pass: true,
  token: true,
  prefix: true,
});
