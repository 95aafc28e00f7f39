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

import { Buffer } from "node:buffer";
import { createClient, RESP_TYPES } from "@redis/client";
import type {
  Adapter,
  AdapterHost,
  AdapterLog,
} from "../core/cluster/adapter.ts";
import { assertKnown, assertType, optionNames } from "../core/events/errors.ts";
import { withoutSecrets } from "../core/util/safe_url.ts";

export type { Adapter } from "../core/cluster/adapter.ts";

/** Options of {@linkcode redis}. */
export interface RedisOptions {
  /**
   * The URL of Redis: `redis://user:password@host:port/`, or `rediss:` for TLS.
   *
   * @default {"redis://localhost:6379"}
   */
  readonly url?: string;
  /**
   * The prefix of all channels and keys. Servers with the same prefix exchange messages,
   * so that several clusters of servers can share one Redis.
   *
   * @default {"ws-events:"}
   */
  readonly prefix?: string;
}

/**
 * Creates the name of the log, unless it exists, and raises the limits to those of this
 * server. They never become smaller, as another server may rely on them.
 */
const OPEN_SCRIPT = `
for i, name in ipairs({'messages', 'age'}) do
  local known = tonumber(redis.call('HGET', KEYS[2], name) or '0')
  if tonumber(ARGV[i + 1]) > known then
    redis.call('HSET', KEYS[2], name, ARGV[i + 1])
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])
`;

/**
 * Stores a message in a stream and publishes it in one step, so that all servers receive
 * messages in the order of the stream. The published message has its offset as the first
 * field of its line of JSON, which servers without a history ignore.
 */
const APPEND_SCRIPT = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('EPOCH What was kept is gone')
end
local id = tonumber(ARGV[2])
if id <= tonumber(redis.call('GET', KEYS[2]) or '0') then return end
local limits = redis.call('HMGET', KEYS[5], 'messages', 'age')
redis.call('SET', KEYS[2], id, 'PX', limits[2])
local offset = redis.call('INCR', KEYS[3])
redis.call('XADD', KEYS[4], 'MAXLEN', limits[1], offset .. '-0', 'message', ARGV[3])
redis.call('PEXPIRE', KEYS[4], limits[2])
redis.call('PUBLISH', ARGV[4], '{"offset":' .. offset .. ',' .. string.sub(ARGV[3], 2))
`;

/** Errors after which the log has to be opened again. */
const LOST_SCRIPT_PATTERN = /^(EPOCH|NOSCRIPT)/;

/** After this time without data from Redis the connection is closed, in milliseconds. */
const SILENCE_TIMEOUT_MS = 10_000;

/** The longest time to send what is buffered on close, in milliseconds. */
const CLOSE_TIMEOUT_MS = 1_000;

/** The offset that {@linkcode APPEND_SCRIPT} has put into a message, if it has. */
function readOffset(message: Buffer): number | undefined {
  const start = message.toString("latin1", 0, 32);
  const [, digits] = /^\{"offset":([0-9]+),/.exec(start) ?? [];
  return digits === undefined ? undefined : Number(digits);
}

/** Validates the URL, as an error of the client would show its password. */
function assertUrl(url: string): void {
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

/** The number of commands to queue for a Redis that does not answer. */
const MAX_QUEUED_COMMANDS = 100_000;

/** The delay before an attempt to reconnect, in milliseconds. */
function reconnectStrategy(retries: number): number {
  return Math.random() * Math.min(50 * 2 ** retries, 2_000);
}

/**
 * Creates an adapter for servers that share a Redis. It opens two connections: one to
 * publish, and one to subscribe.
 *
 * @param options The URL of Redis.
 * @returns The adapter, for one server.
 * @throws {TypeError} If the URL is invalid.
 */
export function redis(options: RedisOptions = {}): Adapter {
  assertType("options", options, "object", 'write { url: "redis://..." }');
  assertKnown("redis()", options, OPTIONS);
  const { url = "redis://localhost:6379", prefix = "ws-events:" } = options;
  assertUrl(url);
  const publisher = createClient({
    url,
    disableOfflineQueue: true,
    commandsQueueMaxLength: MAX_QUEUED_COMMANDS,
    socket: { reconnectStrategy },
  });
  // Without a timeout per command, as a timer costs more than a message.
  const sender = publisher.withCommandOptions({ timeout: 0 });
  // Data arrives at least every two seconds: a server receives its own heartbeats.
  const subscriber = publisher.duplicate({
    commandsQueueMaxLength: Infinity, // one command per room
    socket: { reconnectStrategy, socketTimeout: SILENCE_TIMEOUT_MS },
  });
  let host: AdapterHost | undefined;
  const setState = (error?: unknown) => {
    const isUp = publisher.isReady && subscriber.isReady;
    host?.changed(isUp ? "up" : "down", error);
  };
  for (const client of [publisher, subscriber]) {
    client.on("ready", () => setState());
    client.on("error", setState);
    client.on("reconnecting", () => setState());
  }
  /** The channels to subscribe to, and the promises of their confirmations. */
  const subscriptions = new Map<string, PromiseWithResolvers<void>>();
  /** The channels that the client of Redis subscribes to again when it reconnects. */
  const subscribed = new Set<string>();
  const listener = (message: Buffer, channel: Buffer) =>
    host?.received(
      channel.toString().slice(prefix.length),
      message,
      epoch === "" ? undefined : readOffset(message),
    );
  const subscribeTo = async (
    channel: string,
    one: PromiseWithResolvers<void>,
  ) => {
    try {
      subscribed.add(channel);
      await subscriber.subscribe(prefix + channel, listener, true);
      one.resolve();
    } catch (error) {
      if (subscriber.isReady) one.reject(error); // else the event "ready" tries again
    }
  };
  const unsubscribeFrom = async (channel: string) => {
    subscribed.delete(channel);
    await subscriber.unsubscribe(prefix + channel, listener, true);
  };
  subscriber.on("ready", () => {
    for (const [channel, one] of subscriptions) subscribeTo(channel, one);
    for (const channel of subscribed) {
      if (!subscriptions.has(channel)) unsubscribeFrom(channel).catch(setState);
    }
  });
  const bytesClient = publisher.withTypeMapping({
    [RESP_TYPES.BLOB_STRING]: Buffer,
  });
  const streamKey = (channel: string) => `${prefix}kept ${channel}`;
  let script = "";
  let epoch = "";
  const log: AdapterLog = {
    async open({ messages, maxAge }) {
      script = await publisher.scriptLoad(APPEND_SCRIPT);
      const fresh = crypto.randomUUID().replaceAll("-", "");
      const name = await publisher.eval(OPEN_SCRIPT, {
        keys: [`${prefix}epoch`, `${prefix}limits`],
        arguments: [fresh, `${messages + 1}`, `${Math.ceil(2 * maxAge)}`],
      });
      return epoch = String(name);
    },
    async append(channel, { from, id }, message) {
      try {
        await publisher.evalSha(script, {
          keys: [
            `${prefix}epoch`,
            `${prefix}from ${from} ${channel}`,
            `${prefix}offset`,
            streamKey(channel),
            `${prefix}limits`,
          ],
          arguments: [
            epoch,
            `${id}`,
            toBuffer(message),
            prefix + channel,
          ],
        });
      } catch (error) {
        if (error instanceof Error && LOST_SCRIPT_PATTERN.test(error.message)) {
          host?.changed("down", error);
          setState();
        }
        throw error;
      }
    },
    async read(channel, after, limit) {
      const found = await bytesClient.xRange(
        streamKey(channel),
        `${after + 1}`,
        "+",
        { COUNT: limit },
      );
      return (found ?? []).flatMap(({ id, message: { message } }) =>
        message === undefined
          ? []
          : [{ offset: parseInt(id.toString()), message }]
      );
    },
  };
  return {
    log,
    open(given) {
      host = given;
      // The clients retry by themselves. Their errors are also emitted as events.
      publisher.connect().catch(setState);
      subscriber.connect().catch(setState);
    },
    async publish(channel, message) {
      await sender.publish(prefix + channel, toBuffer(message));
    },
    subscribe(channel) {
      const one = Promise.withResolvers<void>();
      subscriptions.set(channel, one);
      if (subscriber.isReady) subscribeTo(channel, one);
      return one.promise;
    },
    async unsubscribe(channel) {
      subscriptions.get(channel)?.resolve();
      subscriptions.delete(channel);
      if (subscriber.isReady) await unsubscribeFrom(channel);
    },
    async close() {
      host = undefined;
      const timer = setTimeout(() => publisher.destroy(), CLOSE_TIMEOUT_MS);
      // The answer shows that everything sent before has arrived.
      if (publisher.isReady) await publisher.ping().catch(() => {});
      clearTimeout(timer);
      for (const client of [publisher, subscriber]) {
        if (client.isOpen) client.destroy();
      }
    },
  };
}

/** The same bytes as a `Buffer`, which the client of Redis requires. */
function toBuffer(
  { buffer, byteOffset, byteLength }: Uint8Array<ArrayBuffer>,
): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

const OPTIONS = optionNames<RedisOptions>({
  url: true,
  prefix: true,
});
