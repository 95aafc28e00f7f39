/**
 * Connects servers on any number of machines through Redis or Valkey, with the official
 * client of Redis.
 *
 * ```ts ignore
 * import { ServerSocket } from "jsr:@ws/events";
 * import { redis } from "jsr:@ws/events/redis";
 *
 * const server = new ServerSocket({
 *   adapter: redis({ url: "redis://localhost:6379" }),
 * });
 * server.on("adapter", (state, error) => console.log(state, error));
 * await server.listen("0.0.0.0", 3000);
 * ```
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import { createClient } from "@redis/client";
import type { Adapter, AdapterHost } from "../core/cluster/adapter.ts";
import { SubscriptionQueue } from "../core/cluster/subscription_queue.ts";
import { errorReason } from "../core/events/error_log.ts";
import { assertKnown, assertType, optionNames } from "../core/events/errors.ts";
import { withoutSecrets } from "../core/util/safe_url.ts";
import { withTimeout } from "../core/util/timer.ts";
import { brokerRetryDelay, CONNECT_TIMEOUT_MS } from "./broker_retry.ts";
import {
  createDriver,
  type DriverHost,
  type RedisArgument,
  type RedisClient,
  type RedisDriver,
} from "./redis/driver.ts";
import { toArgument } from "./redis/argument.ts";
import { RedisLog } from "./redis/log.ts";
import { RedisRecords } from "./redis/records.ts";
import { RedisWatch } from "./redis/watch.ts";
import { SocketGuard } from "./socket_guard.ts";

export type { Adapter } from "../core/cluster/adapter.ts";
export type { RedisClient } from "./redis/driver.ts";

/** Options of {@linkcode redis}. */
export interface RedisOptions {
  /**
   * The URL of Redis: `redis://user:password@host:port/database`, or `rediss:` for TLS.
   *
   * @default {"redis://localhost:6379"}
   */
  readonly url?: string;
  /**
   * Creates a client. Use it instead of `url` for TLS with a certificate, Sentinel, a
   * cluster, or passwords that change. It is called for each connection, and again
   * after each loss. It must return a new client each time, which the adapter connects
   * and destroys. Supported are clients of `@redis/client` or `redis` (`createClient`,
   * `createCluster`, `createSentinel`) and of `ioredis` (`Redis`, `Cluster`).
   *
   * @example A cluster
   * ```ts
   * import { createCluster } from "npm:@redis/client";
   * import { redis } from "jsr:@ws/events/redis";
   *
   * const rootNodes = [{ url: "redis://10.0.0.1:6379" }];
   * const adapter = redis({ client: () => createCluster({ rootNodes }) });
   * ```
   */
  readonly client?: () => RedisClient;
  /**
   * The prefix of all channels and keys. Servers with the same prefix and the same number
   * of the database exchange messages, so that several clusters of servers can share one
   * Redis. It consists of letters, digits and `. _ : / -`.
   *
   * @default {"ws-events:"}
   */
  readonly prefix?: string;
}

/** The longest time until a client is connected, in milliseconds. */
const READY_TIMEOUT_MS = 10_000;

/** The longest time to flush the buffer on close, in milliseconds. */
const CLOSE_TIMEOUT_MS = 1_000;

/** A connection that has lived for this long was a good one, in milliseconds. */
const STABLE_MS = 5_000;

/** The number of commands to queue for a Redis that does not answer. */
const MAX_QUEUED_COMMANDS = 100_000;

/** Validates the URL, as an error of the client would show its password. */
function assertRedisUrl(url: string): void {
  assertType("url", url, "string", 'write { url: "redis://host:port" }');
  const { protocol = "", host = "" } = URL.parse(url) ?? {};
  const isRedis = /^rediss?:$/.test(protocol) && host !== "" ||
    protocol === "redis+unix:";
  if (isRedis) return;
  throw new TypeError(
    `Cannot use "url" unless it is the URL of a Redis, as in redis://host:port: current value is ${
      withoutSecrets(url)
    }`,
  );
}

/**
 * Validates the prefix. Without these characters no channel of one prefix is a channel of
 * another one.
 */
function assertPrefix(prefix: string): void {
  assertType("prefix", prefix, "string");
  if (/^[\w.:/-]{1,128}$/.test(prefix)) return;
  throw new TypeError(
    `Cannot use "prefix" unless it consists of 1 to 128 letters, digits and . _ : / -: current value is ${
      JSON.stringify(prefix)
    }`,
  );
}

/** Makes the clients for a URL. */
function clientsOf(url: string): (isSubscriber: boolean) => RedisClient {
  return (isSubscriber) =>
    createClient({
      url,
      disableOfflineQueue: true,
      // A subscriber has one command for each room.
      commandsQueueMaxLength: isSubscriber ? Infinity : MAX_QUEUED_COMMANDS,
      socket: { connectTimeout: CONNECT_TIMEOUT_MS, reconnectStrategy: false },
    });
}

/**
 * Creates an adapter for servers that share a Redis. It opens two connections: one to
 * publish, and one to subscribe. A lost connection is replaced by a new one.
 *
 * @param options The URL of Redis, or a function that creates clients.
 * @returns The adapter, for one server.
 * @throws {TypeError} If an option is invalid, or `url` and `client` are both given.
 */
export function redis(options: RedisOptions = {}): Adapter {
  assertType("options", options, "object", 'write { url: "redis://..." }');
  assertKnown("redis()", options, REDIS_OPTIONS);
  const { url, client, prefix = "ws-events:" } = options;
  assertPrefix(prefix);
  if (client === undefined) {
    const address = url ?? "redis://localhost:6379";
    assertRedisUrl(address);
    return new RedisAdapter(clientsOf(address), prefix);
  }
  assertType("client", client, "function", "write () => createClient(...)");
  if (url !== undefined) {
    throw new TypeError(
      'Cannot use both "url" and "client": pass the URL to the client',
    );
  }
  return new RedisAdapter(client, prefix);
}

/** One connection, and what belongs to it. */
interface Session {
  readonly driver: RedisDriver;
  readonly guard: SocketGuard;
  readonly watch: RedisWatch;
  /** What the names of channels begin with. */
  readonly channelPrefix: string;
  readonly keyPrefix: string;
  openedAt: number | undefined;
  /** Resolves when it is given up, as a client may never tell how connecting ends. */
  readonly ended: PromiseWithResolvers<undefined>;
}

class RedisAdapter implements Adapter {
  readonly echoes = true;
  readonly log: RedisLog;
  readonly records: RedisRecords;
  readonly #create: (isSubscriber: boolean) => RedisClient;
  readonly #prefix: string;
  readonly #subscriptions = new SubscriptionQueue(
    (error) => this.#host?.failed?.(toReason(error)),
  );
  #host: AdapterHost | undefined;
  /** The present connection, which may not be open yet. */
  #session: Session | undefined;
  /** How many connections were lost or never open since a good one. */
  #failures = 0;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(create: (isSubscriber: boolean) => RedisClient, prefix: string) {
    this.#create = create;
    this.#prefix = prefix;
    this.records = new RedisRecords(() => {
      const { driver, keyPrefix } = this.#open();
      return { keyPrefix, command: (key, args) => command(driver, key, args) };
    });
    this.log = new RedisLog(() => {
      const session = this.#open();
      const { driver, keyPrefix, channelPrefix } = session;
      return {
        keyPrefix,
        publishCommand: driver.isCluster ? "SPUBLISH" : "PUBLISH",
        channelName: (channel) => channelPrefix + channel,
        command: (key, args) => command(driver, key, args),
        lost: (error) => this.#reopenLog(session, error),
        warned: (error) => this.#host?.failed?.(error),
      };
    });
  }

  open(host: AdapterHost): void {
    this.#host = host;
    // Immediate failures are reported after the program has added its listeners.
    queueMicrotask(() => this.#connect());
  }

  async publish(
    channel: string,
    message: Uint8Array<ArrayBuffer>,
  ): Promise<void> {
    const { driver, channelPrefix } = this.#open();
    const name = channelPrefix + channel;
    const verb = driver.isCluster ? "SPUBLISH" : "PUBLISH";
    await command(driver, name, [verb, name, toArgument(message)]);
  }

  subscribe(channel: string): Promise<void> {
    return this.#subscriptions.subscribe(channel);
  }

  unsubscribe(channel: string): void {
    this.#subscriptions.unsubscribe(channel);
  }

  reconnect(): void {
    const session = this.#session;
    if (session) {
      this.#lost(session, new Error("Redis does not return messages"));
    }
  }

  async close(): Promise<void> {
    this.#host = undefined;
    clearTimeout(this.#retryTimer);
    this.#subscriptions.disconnected();
    const session = this.#session;
    if (!session) return;
    // The answer shows that everything sent before has arrived.
    if (session.openedAt !== undefined) {
      const answer = command(session.driver, undefined, ["PING"]);
      await withTimeout(CLOSE_TIMEOUT_MS, answer.catch(() => {}));
    }
    this.#session = undefined;
    this.#end(session);
  }

  /** The connection, if it is open. */
  #open(): Session {
    const session = this.#session;
    if (session?.openedAt !== undefined) return session;
    throw new Error("Redis is not connected");
  }

  async #connect(): Promise<void> {
    if (!this.#host) return;
    const guard = new SocketGuard();
    let session: Session | undefined;
    let reason: unknown;
    try {
      const current = session = this.#session = this.#createSession(guard, {
        received: (channel, message) =>
          session && this.#received(session, channel, message),
        failed: (error) => {
          reason = error;
          if (this.#isCurrent(session)) this.#report(error);
        },
        lost: (error) => session && this.#lost(session, error),
      });
      const opened = await withTimeout(
        READY_TIMEOUT_MS,
        Promise.race([
          guard.run(() => openDriver(current)),
          current.ended.promise,
        ]),
      );
      if (!this.#isCurrent(session)) return;
      if (!opened) throw reason ?? noAnswerError();
      // A plain client opens no more sockets; those of other clients are not guarded.
      if (!session.driver.isCluster) guard.isActive = false;
      session.openedAt = performance.now();
      this.#subscriptions.connected(namedChannels(session));
      this.#host?.changed("up");
    } catch (error) {
      if (session) this.#lost(session, error);
      else this.#retry(error);
    }
  }

  #createSession(guard: SocketGuard, host: DriverHost): Session {
    const driver = guard.run(() => createDriver(this.#create, host));
    const { isCluster, database } = driver;
    // Pub/Sub ignores the number of the database, so it belongs to the name.
    const base = database === 0 ? this.#prefix : `${this.#prefix}@${database}:`;
    // In a cluster messages of the log are published by the shard that stores them.
    const tagged = isCluster ? `{${base}}` : base;
    const probes = `${base}probe ${crypto.randomUUID()} `;
    return {
      driver,
      guard,
      watch: new RedisWatch(driver, probes, host),
      channelPrefix: this.#host?.usesLog ? tagged : base,
      keyPrefix: tagged,
      openedAt: undefined,
      ended: Promise.withResolvers(),
    };
  }

  #isCurrent(session: Session | undefined): boolean {
    return this.#host !== undefined && this.#session === session;
  }

  #received(session: Session, channel: string, message: Buffer): void {
    if (!this.#isCurrent(session) || session.watch.received(channel)) return;
    const offset = this.log.offsetOf(message);
    if (offset === "foreign") return;
    const name = channel.slice(session.channelPrefix.length);
    this.#host?.received(name, message, offset);
  }

  /** Replaces a connection. */
  #lost(session: Session, error: unknown): void {
    if (!this.#isCurrent(session)) return;
    const { openedAt = Infinity } = session;
    if (performance.now() - openedAt > STABLE_MS) this.#failures = 0;
    this.#session = undefined;
    this.#subscriptions.disconnected();
    this.#end(session);
    this.#retry(error);
  }

  #retry(error: unknown): void {
    if (!this.#host) return;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(
      () => this.#connect(),
      brokerRetryDelay(this.#failures++),
    );
    this.#report(error);
  }

  #report(error: unknown): void {
    this.#host?.changed("down", toReason(error));
  }

  /** Has the server open the log again, which it does each time that Redis is up. */
  #reopenLog(session: Session, error: Error): void {
    if (!this.#isCurrent(session)) return;
    if (error.message.startsWith("READONLY")) return this.#lost(session, error);
    this.#report(error);
    this.#host?.changed("up");
  }

  #end({ driver, watch, guard, ended }: Session): void {
    ended.resolve(undefined);
    watch.stop();
    driver.destroy();
    guard.isActive = false;
  }
}

/** Connects, and looks at what it has connected to. */
async function openDriver({ driver, watch }: Session): Promise<true> {
  await driver.connect();
  await watch.start();
  return true;
}

/** Subscribes to channels by their names in Redis. */
function namedChannels({ driver, channelPrefix }: Session) {
  return {
    subscribe: (channel: string) => driver.subscribe(channelPrefix + channel),
    unsubscribe: (channel: string) =>
      driver.unsubscribe(channelPrefix + channel),
  };
}

/** Sends a command, and lets only safe errors out. */
async function command(
  driver: RedisDriver,
  key: string | undefined,
  args: readonly RedisArgument[],
): Promise<unknown> {
  try {
    return await driver.command(key, args);
  } catch (error) {
    throw toReason(error);
  }
}

function noAnswerError(): Error {
  return new Error(
    `Redis has not answered within ${READY_TIMEOUT_MS / 1_000} s`,
  );
}

/** An error with nothing but its text: a client may add the command, and its password. */
function toReason(error: unknown): Error {
  const text = error instanceof Error && error.message !== ""
    ? error.message
    : errorReason(error);
  return new Error(text.replace(SCRIPT_POSITION_PATTERN, ""));
}

/** What Redis adds to an error of a script. */
const SCRIPT_POSITION_PATTERN =
  /\.? script: [0-9a-f]{40}, on @user_script:\d+\.$/;

const REDIS_OPTIONS = optionNames<RedisOptions>({
  url: true,
  client: true,
  prefix: true,
});
