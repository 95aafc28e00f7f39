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
import { createClient } from "@redis/client";
import type { Adapter, Bus } from "../core/adapter.ts";

export type { Adapter, Bus } from "../core/adapter.ts";

/** Options of {@linkcode redis}. */
export interface RedisOptions {
  /**
   * Where Redis is: `redis://user:password@host:port/`, or `rediss:` for TLS.
   *
   * @default {"redis://localhost:6379"}
   */
  readonly url?: string;
  /**
   * What the names of all channels begin with, so that several fleets can share one
   * Redis.
   *
   * @default {"ws-events:"}
   */
  readonly prefix?: string;
}

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
    socket: { reconnectStrategy },
  });
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
    bus?.received(channel.toString().slice(prefix.length), message);
  return {
    open(given) {
      bus = given;
      // They go on trying by themselves; what they reject with is told as an error.
      publisher.connect().catch(tell);
      subscriber.connect().catch(tell);
    },
    async publish(channel, message) {
      const { buffer, byteOffset, byteLength } = message;
      const bytes = Buffer.from(buffer, byteOffset, byteLength);
      await publisher.publish(prefix + channel, bytes);
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
