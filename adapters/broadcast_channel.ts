/**
 * Joins the servers of all workers of one process, by `BroadcastChannel`: those of
 * `deno serve --parallel`, and workers of your own. There is nothing to install.
 *
 * ```ts ignore
 * import { ServerSocket } from "jsr:@ws/events";
 * import { broadcastChannel } from "jsr:@ws/events/broadcast-channel";
 *
 * const server = new ServerSocket({ adapter: broadcastChannel() });
 * server.on("connect", (client) => client.join("lobby"));
 * server.on("message", ({ content }) => server.to("lobby").send(content));
 *
 * export default server satisfies Deno.ServeDefaultExport;
 * ```
 *
 * @module
 */

import type { Adapter, Bus } from "../core/adapter.ts";
import { assertType } from "../core/errors.ts";

export type { Adapter, Bus } from "../core/adapter.ts";

/** Options of {@linkcode broadcastChannel}. */
export interface BroadcastChannelOptions {
  /**
   * What those have in common who hear each other.
   *
   * @default {"ws-events"}
   */
  readonly name?: string;
}

/**
 * Makes an adapter for the workers of one process.
 *
 * @param options Who hears whom.
 * @returns The adapter, for one server.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 * import { broadcastChannel } from "jsr:@ws/events/broadcast-channel";
 *
 * const server = new ServerSocket({ adapter: broadcastChannel() });
 * server.broadcast("to all clients of all workers");
 * await server.close();
 * ```
 */
export function broadcastChannel(
  options: BroadcastChannelOptions = {},
): Adapter {
  assertType("options", options, "object", 'write { name: "..." }');
  const { name = "ws-events" } = options;
  const open = new Map<string, BroadcastChannel>();
  let bus: Bus | undefined;
  // Deno (2.9) loses its way if the last channel of a worker is closed and another is
  // opened in the same turn: so one is there as long as the adapter, and a turn passes
  // when it is closed.
  let anchor: BroadcastChannel | undefined;
  return {
    open(given) {
      bus = given;
      anchor = new BroadcastChannel(name);
      bus.changed("up");
    },
    publish(channel, message) {
      const own = open.get(channel);
      const used = own ?? new BroadcastChannel(`${name} ${channel}`);
      used.postMessage(message);
      if (used !== own) used.close();
    },
    subscribe(channel) {
      if (open.has(channel)) return;
      const listening = new BroadcastChannel(`${name} ${channel}`);
      listening.onmessage = ({ data }) => bus?.received(channel, data);
      open.set(channel, listening);
    },
    unsubscribe(channel) {
      open.get(channel)?.close();
      open.delete(channel);
    },
    close() {
      for (const channel of open.values()) channel.close();
      open.clear();
      anchor?.close();
      return new Promise((resolve) => setTimeout(resolve, 0));
    },
  };
}
