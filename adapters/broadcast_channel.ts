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

import type { Adapter } from "../core/cluster/adapter.ts";
import { assertKnown, assertType, optionNames } from "../core/events/errors.ts";

export type { Adapter } from "../core/cluster/adapter.ts";

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
  assertKnown("broadcastChannel()", options, OPTIONS);
  const { name = "ws-events" } = options;
  const subscriptions = new Set<string>();
  // One for all channels, as Deno (2.9) looks at all that a worker has open for each
  // message.
  let browserChannel: BroadcastChannel | undefined;
  return {
    open(host) {
      browserChannel = new BroadcastChannel(name);
      browserChannel.onmessage = ({ data }) => {
        const [channel, message] = Array.isArray(data) ? data : [];
        if (subscriptions.has(channel)) host.received(channel, message);
      };
      host.changed("up");
    },
    publish(channel, message) {
      browserChannel?.postMessage([channel, message]);
    },
    subscribe(channel) {
      subscriptions.add(channel);
    },
    unsubscribe(channel) {
      subscriptions.delete(channel);
    },
    close() {
      browserChannel?.close();
      // Deno (2.9) loses its way if another one is opened in the same turn.
      return new Promise((resolve) => setTimeout(resolve, 0));
    },
  };
}

const OPTIONS = optionNames<BroadcastChannelOptions>({
  name: true,
});
