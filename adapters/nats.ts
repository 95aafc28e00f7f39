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
import {
  type ConnectionOptions,
  type NatsConnection,
  PermissionViolationError,
  type Subscription,
} from "@nats-io/nats-core";
import type {
  Adapter,
  AdapterHost,
  AdapterLog,
} from "../core/cluster/adapter.ts";
import {
  assertKnown,
  assertSize,
  assertType,
  optionNames,
} from "../core/events/errors.ts";
import { withoutSecrets } from "../core/util/safe_url.ts";
import { NatsLog } from "./nats_log.ts";
import { NatsRecords } from "./nats_records.ts";
import { brokerRetryDelay, CONNECT_TIMEOUT_MS } from "./broker_retry.ts";
import { connectNats } from "./nats_transport.ts";

export type { Adapter } from "../core/cluster/adapter.ts";

/** The credentials of a NATS client. */
export type NatsCredentials =
  | { auth_token: string }
  | { user: string; pass?: string }
  | { nkey: string; sig: string }
  | { jwt: string; nkey?: string; sig?: string };

/** Options of TLS: PEM texts, or the names of files that are read on connecting. */
export interface NatsTlsOptions {
  /** The certificates of the trusted authorities, instead of the default ones. */
  readonly ca?: string;
  /** The file with the certificates of the trusted authorities. */
  readonly caFile?: string;
  /** The certificate of this client, if NATS requires one. */
  readonly cert?: string;
  /** The file with the certificate of this client. */
  readonly certFile?: string;
  /** The private key of this client. */
  readonly key?: string;
  /** The file with the private key of this client. */
  readonly keyFile?: string;
  /**
   * Whether TLS starts immediately, which NATS requires with `handshake_first`.
   *
   * @default {false}
   */
  readonly handshakeFirst?: boolean;
  /**
   * Whether the certificate of NATS must be valid.
   *
   * @default {true}
   */
  readonly rejectUnauthorized?: boolean;
}

/** Options of {@linkcode nats}. */
export interface NatsOptions {
  /**
   * The address of NATS as `host:port`, or several addresses of one cluster. The other
   * servers of a cluster are discovered automatically.
   *
   * @default {"localhost:4222"}
   */
  readonly servers?: string | string[];
  /** The user name, if NATS requires one. */
  readonly user?: string;
  /** The password of the user. Requires `user`. */
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
  /**
   * The number of NATS servers that keep the stream of stored messages, from 1 to 5.
   * With 3, the history survives the loss of one of them.
   *
   * @default {1}
   */
  readonly replicas?: number;
  /**
   * Returns credentials for each connection: for example `nkeyAuthenticator`,
   * `jwtAuthenticator` or `credsAuthenticator` of `@nats-io/nats-core`.
   *
   * @param nonce The nonce to sign.
   * @returns The credentials.
   */
  readonly authenticator?: (nonce?: string) => NatsCredentials | void;
  /** Options of TLS. Without it, TLS is used if NATS requires or offers it. */
  readonly tls?: NatsTlsOptions;
  /** The name of the client, which the monitoring of NATS shows. */
  readonly name?: string;
  /**
   * The prefix of reply subjects. Set it if the user is not allowed to subscribe to
   * `_INBOX.>`.
   *
   * @default {"_INBOX"}
   */
  readonly inboxPrefix?: string;
  /**
   * The timeout of connecting to one server, in milliseconds.
   *
   * @default {4_000}
   */
  readonly timeout?: number;
  /**
   * The interval between pings, in milliseconds. A connection is closed if two pings in a
   * row get no answer, when the third is due.
   *
   * @default {2_500}
   */
  readonly pingInterval?: number;
  /**
   * Whether to try the servers in the given order, instead of a random one.
   *
   * @default {false}
   */
  readonly noRandomize?: boolean;
  /**
   * Whether to use only the servers of the option `servers`, and none that the cluster
   * announces.
   *
   * @default {false}
   */
  readonly ignoreClusterUpdates?: boolean;
}

/**
 * Validates a prefix. The last words that are refused are subjects of another prefix.
 *
 * @throws {TypeError} If it is not made of words that are joined by dots.
 */
function assertSubjectPrefix(prefix: string): void {
  assertType("prefix", prefix, "string");
  const isValid = prefix.length <= MAX_PREFIX_LENGTH &&
    /^[\w-]+(\.[\w-]+)*$/.test(prefix) &&
    !/\.(kept|log|lost|requests)$/.test(prefix);
  if (isValid) return;
  throw new TypeError(
    `Cannot use "prefix" unless it is letters, digits, "-", "_" and dots between them, at most ${MAX_PREFIX_LENGTH}, and does not end with ".kept", ".log", ".lost" or ".requests": current value is ${
      JSON.stringify(prefix)
    }`,
  );
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
 * @param options The address of NATS, credentials, and options of its client.
 * @returns The adapter, for one server.
 * @throws {TypeError} If an option has the wrong type, or an address or the prefix is
 * invalid.
 * @throws {RangeError} If `replicas` is not an integer from 1 to 5.
 *
 * @example With an nkey, TLS and a cluster of three
 * ```ts ignore
 * import { nats } from "jsr:@ws/events/nats";
 * import { nkeyAuthenticator } from "npm:@nats-io/nats-core";
 *
 * const seed = await Deno.readFile("/run/secrets/nats.nk");
 * const adapter = nats({
 *   servers: ["nats-1:4222", "nats-2:4222", "nats-3:4222"],
 *   authenticator: nkeyAuthenticator(seed),
 *   tls: { caFile: "/etc/ssl/own-ca.pem" },
 *   replicas: 3,
 * });
 * ```
 */
export function nats(
  options: NatsOptions = {},
): Adapter {
  assertType("options", options, "object", 'write { servers: "host:port" }');
  assertKnown("nats()", options, NATS_OPTIONS);
  const {
    prefix = "ws-events",
    servers = "localhost:4222",
    replicas = 1,
    ...client
  } = options;
  for (const server of [servers].flat()) assertServer(server);
  assertSubjectPrefix(prefix);
  assertSize("replicas", replicas);
  if (!Number.isInteger(replicas) || replicas < 1 || replicas > 5) {
    throw new RangeError(
      `Cannot use "replicas" unless it is an integer from 1 to 5: current value is ${replicas}`,
    );
  }
  return new NatsAdapter(prefix, replicas, [servers].flat(), client);
}

/** A connection to NATS, made anew each time that it ends. */
class NatsAdapter implements Adapter {
  readonly #prefix: string;
  readonly #servers: readonly string[];
  readonly #options: ConnectionOptions;
  readonly #log: NatsLog;
  readonly records: NatsRecords;
  /** The subscription of each channel; undefined until it is made. */
  readonly #subscriptions = new Map<string, Subscription | undefined>();
  #host: AdapterHost | undefined;
  #connection: NatsConnection | undefined;
  /** Servers of the cluster that the last connection has heard of. */
  #discovered: readonly string[] = [];
  /** Channels to subscribe to, after those that wait for confirmation. */
  #queue: string[] = [];
  /** Resolves when the queue is empty. */
  #subscribing: Promise<void> | undefined;
  /** Channels that NATS denies on this connection, and why. */
  readonly #refused = new Map<string, string>();
  /** Subscriptions that NATS has refused since the last confirmation. */
  #refusedCount = 0;
  #isUp = false;
  /** The attempts to connect since the last success. */
  #attempts = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(
    prefix: string,
    replicas: number,
    servers: readonly string[],
    options: ConnectionOptions,
  ) {
    this.#prefix = prefix;
    this.#servers = [...new Set(servers)];
    this.#options = {
      pingInterval: PING_INTERVAL_MS,
      timeout: CONNECT_TIMEOUT_MS,
      ...options,
      noEcho: true,
      // A new connection instead, as the client gives up when NATS refuses it twice.
      reconnect: false,
    };
    this.records = new NatsRecords(prefix, replicas);
    this.#log = new NatsLog(
      prefix,
      replicas,
      (channel) => toSubject(`${prefix}.kept`, channel),
      options.inboxPrefix,
      (channel, message, offset) =>
        this.#host?.received(channel, message, offset),
      (error) => {
        if (!this.#isUp) return;
        // The server opens the log again, and sends what is not confirmed.
        this.#host?.changed("down", error);
        for (const [channel, reason] of this.#refused) {
          this.#refuse(channel, reason);
        }
        this.#host?.changed("up");
      },
    );
  }

  get log(): AdapterLog {
    return this.#log;
  }

  open(host: AdapterHost): void {
    this.#host = host;
    this.#run();
  }

  publish(channel: string, message: Uint8Array): void {
    const connection = this.#connection;
    // The client would buffer the message, without a limit.
    if (!connection || connection.isClosed()) {
      throw new Error(
        `Cannot publish to "${channel}": NATS is not connected`,
      );
    }
    connection.publish(toSubject(this.#prefix, channel), message);
  }

  subscribe(channel: string): Promise<void> | undefined {
    this.#subscriptions.set(channel, undefined);
    this.#log.subscribe(channel);
    if (!this.#connection) return undefined; // it is subscribed to on connecting
    this.#queue.push(channel);
    return this.#subscribing ??= this.#subscribeAll(this.#connection);
  }

  unsubscribe(channel: string): void {
    const subscription = this.#subscriptions.get(channel);
    this.#subscriptions.delete(channel);
    this.#log.unsubscribe(channel);
    this.#refused.delete(channel);
    if (this.#connection?.isClosed() === false) subscription?.unsubscribe();
  }

  async close(): Promise<void> {
    this.#host = undefined;
    clearTimeout(this.#retry);
    const connection = this.#connection;
    if (!connection) return;
    const timer = setTimeout(() => connection.close(), DRAIN_TIMEOUT_MS);
    // It rejects if the connection is lost meanwhile.
    await Promise.race([connection.drain(), connection.closed()]).catch(
      () => {},
    );
    clearTimeout(timer);
    await connection.close();
  }

  /** Connects, and again each time that the connection ends. */
  async #run(): Promise<void> {
    let error: unknown;
    try {
      const servers = [...new Set([...this.#servers, ...this.#discovered])];
      const connection = await connectNats({ ...this.#options, servers });
      if (!this.#host) return await connection.close();
      error = await this.#use(connection);
    } catch (cause) {
      error = cause;
    }
    const host = this.#host;
    if (!host) return;
    host.changed("down", connectionError(this.#servers, error));
    this.#retry = setTimeout(
      () => this.#run(),
      brokerRetryDelay(this.#attempts++),
    );
  }

  /**
   * Uses a connection until it ends.
   *
   * @returns A promise of the reason; it never rejects.
   */
  async #use(connection: NatsConnection): Promise<unknown> {
    this.#connection = connection;
    this.records.connect(connection);
    this.#log.connect(connection, this.#host?.usesLog ?? false);
    const watched = this.#watch(connection);
    this.#queue = [...this.#subscriptions.keys()];
    await (this.#subscribing = this.#subscribeAll(connection));
    if (!connection.isClosed()) {
      this.#attempts = 0;
      this.#isUp = true;
      this.#host?.changed("up");
    }
    const closed = await connection.closed();
    this.#isUp = false;
    this.#connection = undefined;
    this.#refused.clear();
    this.#subscribing = undefined;
    this.#queue = [];
    this.records.connect(undefined);
    this.#log.disconnect();
    if (!this.#options.ignoreClusterUpdates) {
      this.#discovered = connection.info?.connect_urls ?? this.#discovered;
    }
    return await watched ?? closed;
  }

  /**
   * Reports what NATS refuses.
   *
   * @returns A promise of the error that has ended the connection, if NATS has told it.
   */
  async #watch(connection: NatsConnection): Promise<Error | undefined> {
    let last: Error | undefined;
    const denied = new Set<string>();
    for await (const status of connection.status()) {
      if (status.type !== "error") continue;
      const { error } = status;
      if (/maximum subscriptions/i.test(error.message)) this.#refusedCount++;
      else if (!(error instanceof PermissionViolationError)) last = error;
      else if (error.operation === "publish" && !denied.has(error.subject)) {
        denied.add(error.subject);
        if (denied.size > MAX_DENIED) denied.clear();
        this.#host?.failed?.(
          new Error(
            `Cannot publish to the subject "${error.subject}": NATS denies it to this user`,
            { cause: error },
          ),
        );
      }
    }
    return last;
  }

  /**
   * Subscribes to the channels in the queue, and waits until NATS has confirmed them. It
   * names no subscription that exceeds its limit, but they are the last ones.
   */
  async #subscribeAll(connection: NatsConnection): Promise<void> {
    await null; // those of this turn together
    while (this.#queue.length > 0 && !connection.isClosed()) {
      const channels = new Set(this.#queue.splice(0));
      this.#refusedCount = 0;
      for (const channel of channels) {
        if (!this.#subscriptions.has(channel)) channels.delete(channel);
        else this.#subscribe(connection, channel, channels);
      }
      // Flushing does not end if the connection does.
      await Promise.race([connection.flush(), connection.closed()]);
      if (connection.isClosed()) return;
      await new Promise((resolve) => setTimeout(resolve, 0)); // what was refused is known
      const refused = [...channels].slice(channels.size - this.#refusedCount);
      if (this.#refusedCount === 0) continue;
      for (const channel of refused) {
        this.#refuse(channel, "NATS allows this user no more subscriptions");
      }
    }
    if (this.#connection === connection) this.#subscribing = undefined;
  }

  #subscribe(
    connection: NatsConnection,
    channel: string,
    confirming: Set<string>,
  ): void {
    if (connection.isClosed()) return;
    this.#subscriptions.get(channel)?.unsubscribe();
    const subscription = connection.subscribe(
      toSubject(this.#prefix, channel),
      {
        callback: (error, message) => {
          if (error) {
            confirming.delete(channel);
            return this.#refuse(channel, "NATS denies it to this user");
          }
          this.#host?.received(channel, message.data);
        },
      },
    );
    this.#subscriptions.set(channel, subscription);
  }

  #refuse(channel: string, reason: string): void {
    this.#refused.set(channel, reason);
    this.#host?.failed?.(
      new Error(`Cannot subscribe to "${channel}": ${reason}`),
      channel,
    );
  }
}

/** Says what was attempted, and why it failed. */
function connectionError(servers: readonly string[], error: unknown): Error {
  const reason = error instanceof Error
    ? error.message
    : "the connection is lost";
  return new Error(
    `Cannot reach NATS at ${servers.join(", ")}: ${reason}`,
    { cause: error },
  );
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

/** The longest prefix, in characters. */
const MAX_PREFIX_LENGTH = 128;

/** The longest name of a channel that is not hashed, in bytes. */
const MAX_PLAIN_NAME_BYTES = 256;

/** The interval between pings, in milliseconds: a lost line is noticed within four. */
const PING_INTERVAL_MS = 2_500;

/** The longest time to flush the buffer on close, in milliseconds. */
const DRAIN_TIMEOUT_MS = 1_000;

/** The number of denied subjects to remember, each of which is reported once. */
const MAX_DENIED = 1_000;

const NATS_OPTIONS = optionNames<NatsOptions>({
  authenticator: true,
  ignoreClusterUpdates: true,
  inboxPrefix: true,
  name: true,
  noRandomize: true,
  pass: true,
  pingInterval: true,
  prefix: true,
  replicas: true,
  servers: true,
  timeout: true,
  tls: true,
  token: true,
  user: true,
});
