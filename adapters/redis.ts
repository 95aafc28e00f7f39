/**
 * Joins servers on any number of machines by Redis (or Valkey), with its official
 * client.
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
import type { Adapter, Bus, Log } from "../core/adapter.ts";

export type { Adapter, Bus, Log, Logged, LogLimits } from "../core/adapter.ts";

/** Options of {@linkcode redis}. */
export interface RedisOptions {
  /**
   * Where Redis is: `redis://user:password@host:port/`, or `rediss:` for TLS.
   *
   * @default {"redis://localhost:6379"}
   */
  readonly url?: string;
  /**
   * What the names of all channels and keys begin with, so that several fleets can share
   * one Redis.
   *
   * @default {"ws-events:"}
   */
  readonly prefix?: string;
}

/**
 * Keeps a message in a stream, and sends it, in one step: so all hear messages in the
 * order in which they are kept. What is sent has its number as the first field of its
 * line of JSON, and is understood by servers that do not ask for it.
 */
const APPEND = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('EPOCH What was kept is gone')
end
local id = tonumber(ARGV[2])
if id <= tonumber(redis.call('GET', KEYS[2]) or '0') then return end
redis.call('SET', KEYS[2], id, 'PX', ARGV[6])
local offset = redis.call('INCR', KEYS[3])
redis.call('XADD', KEYS[4], 'MAXLEN', ARGV[5], offset .. '-0', 'message', ARGV[3])
redis.call('PEXPIRE', KEYS[4], ARGV[6])
redis.call('PUBLISH', ARGV[4], '{"offset":' .. offset .. ',' .. string.sub(ARGV[3], 2))
`;

/** The number that {@linkcode APPEND} has given a message, if it has. */
function offsetOf(message: Buffer): number | undefined {
  const start = message.toString("latin1", 0, 32);
  const [, digits] = /^\{"offset":([0-9]+),/.exec(start) ?? [];
  return digits === undefined ? undefined : Number(digits);
}

/** How many messages may wait for a Redis that stands still. */
const MAX_WAITING = 100_000;

/** How long to wait before another attempt to reach Redis, in milliseconds. */
function reconnectStrategy(retries: number): number {
  return Math.random() * Math.min(50 * 2 ** retries, 2_000);
}

/**
 * Makes an adapter for servers that share a Redis. It has two connections to it: one
 * that listens, and one that publishes.
 *
 * @param options Where Redis is.
 * @returns The adapter, for one server.
 */
export function redis(
  { url = "redis://localhost:6379", prefix = "ws-events:" }: RedisOptions = {},
): Adapter {
  const publisher = createClient({
    url,
    disableOfflineQueue: true,
    commandsQueueMaxLength: MAX_WAITING,
    socket: { reconnectStrategy },
  });
  // A timer for each message would cost more than the message.
  const sender = publisher.withCommandOptions({ timeout: 0 });
  // What is subscribed to meanwhile waits for the connection, as it has to.
  const subscriber = publisher.duplicate({ disableOfflineQueue: false });
  let bus: Bus | undefined;
  const tell = (error?: unknown) => {
    const isUp = publisher.isReady && subscriber.isReady;
    bus?.changed(isUp ? "up" : "down", error);
  };
  for (const client of [publisher, subscriber]) {
    client.on("ready", () => tell());
    client.on("error", tell);
    client.on("reconnecting", () => tell());
  }
  const listener = (message: Buffer, channel: Buffer) =>
    bus?.received(
      channel.toString().slice(prefix.length),
      message,
      epoch === "" ? undefined : offsetOf(message),
    );
  const bytesClient = publisher.withTypeMapping({
    [RESP_TYPES.BLOB_STRING]: Buffer,
  });
  const streamOf = (channel: string) => `${prefix}kept ${channel}`;
  let script = "";
  let epoch = "";
  let limits: [count: string, age: string] = ["", ""];
  const log: Log = {
    async open({ messages, maxAge }) {
      limits = [`${messages + 1}`, `${Math.ceil(2 * maxAge)}`];
      script = await publisher.scriptLoad(APPEND);
      const fresh = crypto.randomUUID().replaceAll("-", "");
      await publisher.set(`${prefix}epoch`, fresh, { condition: "NX" });
      return epoch = await publisher.get(`${prefix}epoch`) ?? fresh;
    },
    async append(channel, { from, id }, message) {
      try {
        await publisher.evalSha(script, {
          keys: [
            `${prefix}epoch`,
            `${prefix}from ${from} ${channel}`,
            `${prefix}offset`,
            streamOf(channel),
          ],
          arguments: [
            epoch,
            `${id}`,
            bufferOf(message),
            prefix + channel,
            ...limits,
          ],
        });
      } catch (error) {
        if (error instanceof Error && error.message.startsWith("EPOCH")) {
          bus?.changed("down", error);
          tell();
        }
        throw error;
      }
    },
    async read(channel, after, limit) {
      const found = await bytesClient.xRange(
        streamOf(channel),
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
      bus = given;
      // They go on trying by themselves; what they reject with is told as an error.
      publisher.connect().catch(tell);
      subscriber.connect().catch(tell);
    },
    async publish(channel, message) {
      await sender.publish(prefix + channel, bufferOf(message));
    },
    async subscribe(channel) {
      await subscriber.subscribe(prefix + channel, listener, true);
    },
    async unsubscribe(channel) {
      await subscriber.unsubscribe(prefix + channel, listener, true);
    },
    async close() {
      bus = undefined;
      for (const client of [publisher, subscriber]) {
        if (client.isReady) await client.close();
        else client.destroy();
      }
    },
  };
}

/** The same bytes as Redis' client takes them. */
function bufferOf(
  { buffer, byteOffset, byteLength }: Uint8Array<ArrayBuffer>,
): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
