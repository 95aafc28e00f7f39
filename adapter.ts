/**
 * The types that an adapter of your own implements. An {@linkcode Adapter} connects
 * several servers through a broker. Those for `BroadcastChannel`, Redis and NATS are
 * entry points of their own.
 *
 * @example An adapter for servers in one process
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 * import type { Adapter, AdapterHost } from "jsr:@ws/events/adapter";
 *
 * const hosts = new Map<AdapterHost, Set<string>>();
 *
 * function local(): Adapter {
 *   const channels = new Set<string>();
 *   let own: AdapterHost | undefined;
 *   return {
 *     open(host) {
 *       hosts.set(own = host, channels);
 *       host.changed("up");
 *     },
 *     publish(channel, message) {
 *       for (const [host, subscribed] of hosts) {
 *         if (host !== own && subscribed.has(channel)) {
 *           host.received(channel, message.slice());
 *         }
 *       }
 *     },
 *     subscribe: (channel) => void channels.add(channel),
 *     unsubscribe: (channel) => void channels.delete(channel),
 *     close() {
 *       if (own) hosts.delete(own);
 *       return Promise.resolve();
 *     },
 *   };
 * }
 *
 * const server = new ServerSocket({ adapter: local() });
 * const other = new ServerSocket({ adapter: local() });
 * await server.close();
 * await other.close();
 * ```
 *
 * @module
 */

export type {
  Adapter,
  AdapterHost,
  AdapterLog,
  AdapterLogEntry,
  AdapterLogLimits,
  AdapterRecord,
  AdapterRecords,
} from "./core/cluster/adapter.ts";
