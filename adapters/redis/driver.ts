/**
 * What the adapter for Redis does with a client, whichever client that is.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { RESP_TYPES } from "@redis/client";
import { readProperty } from "../../core/util/read_property.ts";
import { hashSlot } from "./slots.ts";

/**
 * A client of Redis: the result of `createClient`, `createCluster` or `createSentinel` of
 * `@redis/client` or `redis`, or a `Redis` or `Cluster` of `ioredis`.
 */
export interface RedisClient {
  /**
   * Adds a listener for errors of the client.
   *
   * @param event The name of the event: `error`.
   * @param listener The listener, which gets the error.
   */
  on(event: "error", listener: (error: Error) => void): unknown;
}

/** A part of a command. */
export type RedisArgument = string | Buffer;

/** What a driver reports. */
export interface DriverHost {
  /** A message has arrived. */
  received(channel: string, message: Buffer): void;
  /** Something has failed, which may be the reason of a later loss. */
  failed(error: unknown): void;
  /** The connection is lost, and with it perhaps a subscription. */
  lost(error: unknown): void;
}

/** One connection to a Redis, or to several that are one. It is never used again. */
export interface RedisDriver {
  /** Whether keys are spread over servers. Then channels are, too. */
  readonly isCluster: boolean;
  /** The number of the database. */
  readonly database: number;
  /** Connects. */
  connect(): Promise<unknown>;
  /**
   * Sends a command to the server that has the key, or to any. In the reply texts are
   * bytes.
   */
  command(
    key: string | undefined,
    args: readonly RedisArgument[],
  ): Promise<unknown>;
  /** Subscribes to a channel; in a cluster, to one of its shards. */
  subscribe(channel: string): Promise<unknown>;
  /** Unsubscribes from a channel. */
  unsubscribe(channel: string): Promise<unknown>;
  /** Ends all connections immediately. Pending commands reject. */
  destroy(): void;
}

/**
 * Makes a driver.
 *
 * @param create Makes a client: for plain servers one to send commands, and one to
 * subscribe.
 * @throws {TypeError} If that is no client.
 */
export function createDriver(
  create: (isSubscriber: boolean) => RedisClient,
  host: DriverHost,
): RedisDriver {
  const client: unknown = create(false);
  if (isIoRedis(client)) {
    return client.isCluster
      ? new IoRedisDriver(client, client, host)
      : new IoRedisDriver(client, assertIoRedis(create(true)), host);
  }
  if (isNodeRedisCluster(client)) return new ClusterDriver(client, host);
  if (isNodeRedisSentinel(client)) return new SentinelDriver(client, host);
  if (isNodeRedis(client)) {
    return new ClientDriver(client, assertNodeRedis(create(true)), host);
  }
  throw notAClient(client);
}

type OnMessage = (message: Buffer, channel: Buffer) => void;

/** What all clients of `@redis/client` have. */
interface NodeRedisBase {
  on(event: string, listener: (cause: unknown) => void): unknown;
  connect(): Promise<unknown>;
  destroy(): unknown;
  subscribe(
    channel: string,
    listener: OnMessage,
    b: true,
  ): Promise<unknown>;
  unsubscribe(
    channel: string,
    listener: OnMessage,
    b: true,
  ): Promise<unknown>;
}

interface NodeRedis extends NodeRedisBase {
  readonly options?: { readonly database?: number };
  readonly isReady: boolean;
  sendCommand(
    args: readonly RedisArgument[],
    options: object,
  ): Promise<unknown>;
}

interface NodeRedisSentinel extends NodeRedisBase {
  getMasterNode(): unknown;
  acquire(): Promise<SentinelLease>;
}

/** The connection to the master, which only this driver uses. */
interface SentinelLease {
  sendCommand(
    isReadonly: boolean,
    args: readonly RedisArgument[],
    options: object,
  ): Promise<unknown>;
}

interface NodeRedisCluster extends NodeRedisBase {
  readonly masters: unknown;
  readonly slots: readonly { readonly master: unknown }[];
  /** The client of one server, which is a promise while it connects. */
  nodeClient(node: unknown): NodeRedis | Promise<NodeRedis>;
  sSubscribe(
    channel: string,
    listener: OnMessage,
    b: true,
  ): Promise<unknown>;
  sUnsubscribe(
    channel: string,
    listener: OnMessage,
    b: true,
  ): Promise<unknown>;
  sendCommand(
    key: string | undefined,
    isReadonly: boolean,
    args: readonly RedisArgument[],
    options: object,
  ): Promise<unknown>;
}

interface IoRedis {
  readonly isCluster: boolean;
  readonly status: string;
  readonly options?: {
    readonly db?: number;
    readonly shardedSubscribers?: boolean;
  };
  on(event: string, listener: (...args: Buffer[]) => void): unknown;
  connect(): Promise<unknown>;
  disconnect(): unknown;
  callBuffer(
    name: string,
    ...args: readonly RedisArgument[]
  ): Promise<unknown>;
  subscribe(channel: string): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  ssubscribe(channel: string): Promise<unknown>;
  sunsubscribe(channel: string): Promise<unknown>;
}

function has(value: unknown, ...methods: string[]): boolean {
  return typeof value === "object" && value !== null &&
    methods.every((name) =>
      typeof Reflect.get(value, name, value) === "function"
    );
}

function isIoRedis(value: unknown): value is IoRedis {
  return has(value, "callBuffer", "disconnect");
}

function isNodeRedis(value: unknown): value is NodeRedis {
  return has(value, "sendCommand", "connect", "destroy", "subscribe");
}

function isNodeRedisSentinel(value: unknown): value is NodeRedisSentinel {
  return isNodeRedis(value) && has(value, "getMasterNode");
}

function isNodeRedisCluster(value: unknown): value is NodeRedisCluster {
  return isNodeRedis(value) && "masters" in value && has(value, "sSubscribe");
}

function assertNodeRedis(value: unknown): NodeRedis {
  if (isNodeRedis(value)) return value;
  throw notAClient(value);
}

function assertIoRedis(value: unknown): IoRedis {
  if (isIoRedis(value)) return value;
  throw notAClient(value);
}

function notAClient(value: unknown): TypeError {
  return new TypeError(
    `Cannot use what "client" returns as a client of Redis: return createClient(), createCluster() or createSentinel() of @redis/client, or a Redis or Cluster of ioredis; current value is of type ${typeof value}`,
  );
}

/** Without a timeout for each command, as a timer costs more than a message. */
const REPLY_OPTIONS = {
  timeout: 0,
  typeMapping: {
    [RESP_TYPES.BLOB_STRING]: Buffer,
    [RESP_TYPES.SIMPLE_STRING]: Buffer,
  },
};

/** The events by which clients of `@redis/client` tell that a connection is lost. */
const LOST_EVENTS = ["reconnecting", "end", "terminated"];

function lostError(): Error {
  return new Error("The connection to Redis is lost");
}

/** Two connections of `createClient`: one that subscribes does nothing else. */
class ClientDriver implements RedisDriver {
  readonly isCluster = false;
  readonly database: number;
  readonly #publisher: NodeRedis;
  readonly #subscriber: NodeRedis;
  readonly #listener: OnMessage;

  constructor(publisher: NodeRedis, subscriber: NodeRedis, host: DriverHost) {
    this.database = publisher.options?.database ?? 0;
    this.#publisher = publisher;
    this.#subscriber = subscriber;
    this.#listener = listenerOf(host);
    for (const client of [publisher, subscriber]) {
      let wasReady = false;
      client.on("ready", () => wasReady = true);
      client.on("error", (error) => {
        if (wasReady) host.lost(error);
        else host.failed(error);
      });
      for (const event of LOST_EVENTS) {
        client.on(event, () => wasReady && host.lost(lostError()));
      }
    }
  }

  connect(): Promise<unknown> {
    return Promise.all([this.#publisher.connect(), this.#subscriber.connect()]);
  }

  command(
    _key: string | undefined,
    args: readonly RedisArgument[],
  ): Promise<unknown> {
    return this.#publisher.sendCommand(args, REPLY_OPTIONS);
  }

  subscribe(channel: string): Promise<unknown> {
    return this.#subscriber.subscribe(channel, this.#listener, true);
  }

  unsubscribe(channel: string): Promise<unknown> {
    return this.#subscriber.unsubscribe(channel, this.#listener, true);
  }

  destroy(): void {
    this.#publisher.destroy();
    this.#subscriber.destroy();
  }
}

/** A client of `createSentinel`, which has connections of its own to subscribe. */
class SentinelDriver implements RedisDriver {
  readonly isCluster = false;
  readonly database = 0;
  readonly #client: NodeRedisSentinel;
  readonly #listener: OnMessage;
  /**
   * The client hands its connection from command to command, and so may send them in
   * another order. A lease keeps it.
   */
  #lease: SentinelLease | undefined;

  constructor(client: NodeRedisSentinel, host: DriverHost) {
    this.#client = client;
    this.#listener = listenerOf(host);
    let isConnected = false;
    client.on("ready", () => isConnected = true);
    client.on("error", (error) => host.failed(error));
    // It would send commands again that the master may have run.
    client.on("client-error", (event) => {
      if (isConnected && readProperty(event, "type") === "MASTER") {
        host.lost(lostError());
      }
    });
    client.on("topology-change", (event) => {
      if (!isConnected || readProperty(event, "type") !== "MASTER_CHANGE") {
        return;
      }
      host.lost(new Error("Sentinel has elected another master"));
    });
    for (const event of LOST_EVENTS) {
      client.on(event, () => isConnected && host.lost(lostError()));
    }
  }

  async connect(): Promise<void> {
    await this.#client.connect();
    this.#lease = await this.#client.acquire();
  }

  command(
    _key: string | undefined,
    args: readonly RedisArgument[],
  ): Promise<unknown> {
    return this.#lease?.sendCommand(false, args, REPLY_OPTIONS) ??
      Promise.reject(lostError());
  }

  subscribe(channel: string): Promise<unknown> {
    return this.#client.subscribe(channel, this.#listener, true);
  }

  unsubscribe(channel: string): Promise<unknown> {
    return this.#client.unsubscribe(channel, this.#listener, true);
  }

  destroy(): void {
    destroyQuietly(() => this.#client.destroy());
  }
}

/** A client of `createCluster`: channels are sharded, as keys are. */
class ClusterDriver implements RedisDriver {
  readonly isCluster = true;
  readonly database = 0;
  readonly #client: NodeRedisCluster;
  readonly #host: DriverHost;
  readonly #listener: OnMessage;

  constructor(client: NodeRedisCluster, host: DriverHost) {
    this.#client = client;
    this.#host = host;
    this.#listener = listenerOf(host);
    // One server may fail without the others. The watch notices what that means.
    for (
      const event of ["error", "node-error", "sharded-channel-moved-error"]
    ) {
      client.on(event, (error) => host.failed(error));
    }
  }

  connect(): Promise<unknown> {
    return this.#client.connect();
  }

  command(
    key: string | undefined,
    args: readonly RedisArgument[],
  ): Promise<unknown> {
    if (key === undefined) {
      return this.#client.sendCommand(key, false, args, REPLY_OPTIONS);
    }
    // The cluster would send it again to another server, after what follows it.
    const { master } = this.#client.slots[hashSlot(key)] ?? {};
    const client = this.#client.nodeClient(master);
    return client instanceof Promise
      ? client.then((client) => this.#send(client, args))
      : this.#send(client, args);
  }

  async #send(
    client: NodeRedis,
    args: readonly RedisArgument[],
  ): Promise<unknown> {
    try {
      return await client.sendCommand(args, REPLY_OPTIONS);
    } catch (error) {
      const isMoved = error instanceof Error &&
        /^(?:MOVED|ASK|CLUSTERDOWN|READONLY)/.test(error.message);
      if (isMoved) this.#host.lost(error);
      throw error;
    }
  }

  subscribe(channel: string): Promise<unknown> {
    return this.#client.sSubscribe(channel, this.#listener, true);
  }

  unsubscribe(channel: string): Promise<unknown> {
    return this.#client.sUnsubscribe(channel, this.#listener, true);
  }

  destroy(): void {
    destroyQuietly(() => this.#client.destroy());
  }
}

/** Clients of `ioredis`: two plain ones, or one of a cluster. */
class IoRedisDriver implements RedisDriver {
  readonly isCluster: boolean;
  readonly database: number;
  readonly #publisher: IoRedis;
  readonly #subscriber: IoRedis;

  constructor(publisher: IoRedis, subscriber: IoRedis, host: DriverHost) {
    const { isCluster, options } = publisher;
    if (isCluster && options?.shardedSubscribers !== true) {
      throw new TypeError(
        "Cannot use a Cluster of ioredis without sharded Pub/Sub: create it with { shardedSubscribers: true }",
      );
    }
    this.isCluster = isCluster;
    this.database = options?.db ?? 0;
    this.#publisher = publisher;
    this.#subscriber = subscriber;
    for (const client of new Set([publisher, subscriber])) {
      let wasReady = false;
      client.on("ready", () => wasReady = true);
      client.on("error", (error) => {
        if (wasReady && !isCluster) host.lost(error);
        else host.failed(error);
      });
      client.on("node error", (error) => host.failed(error));
      for (const event of ["close", "end", "reconnecting"]) {
        client.on(event, () => wasReady && host.lost(lostError()));
      }
    }
    subscriber.on(
      isCluster ? "smessageBuffer" : "messageBuffer",
      (channel, message) => {
        if (channel && message) host.received(channel.toString(), message);
      },
    );
  }

  async connect(): Promise<unknown> {
    const clients = [...new Set([this.#publisher, this.#subscriber])];
    return await Promise.all(clients.map(connectIoRedis));
  }

  command(
    _key: string | undefined,
    [name, ...args]: readonly RedisArgument[],
  ): Promise<unknown> {
    return this.#publisher.callBuffer(String(name), ...args);
  }

  subscribe(channel: string): Promise<unknown> {
    return this.isCluster
      ? this.#subscriber.ssubscribe(channel)
      : this.#subscriber.subscribe(channel);
  }

  unsubscribe(channel: string): Promise<unknown> {
    return this.isCluster
      ? this.#subscriber.sunsubscribe(channel)
      : this.#subscriber.unsubscribe(channel);
  }

  destroy(): void {
    this.#publisher.disconnect();
    this.#subscriber.disconnect();
  }
}

/** Connects a client, which has begun to by itself unless it is lazy. */
function connectIoRedis(client: IoRedis): Promise<unknown> {
  if (client.status === "ready") return Promise.resolve();
  const ready = new Promise<void>((resolve) =>
    client.on("ready", () => resolve())
  );
  if (client.status === "wait") {
    return Promise.race([ready, client.connect().then(() => ready)]);
  }
  return ready;
}

function listenerOf(host: DriverHost): OnMessage {
  return (message, channel) => host.received(channel.toString(), message);
}

/** Destroys a client. Whether that works does not matter, as it is thrown away. */
function destroyQuietly(destroy: () => unknown): void {
  try {
    Promise.resolve(destroy()).catch(() => {});
  } catch {
    // It was not connected, or is closed already.
  }
}
