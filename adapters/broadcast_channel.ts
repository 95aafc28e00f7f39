/**
 * Connects the servers in all workers of one process through `BroadcastChannel`: the
 * workers of `deno serve --parallel`, or your own. It has no dependencies.
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
   * The name of the channel. Servers with the same name exchange messages.
   *
   * @default {"ws-events"}
   */
  readonly name?: string;
}

/**
 * Creates an adapter for servers in the workers of one process.
 *
 * @param options The name of the channel.
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
  assertKnown("broadcastChannel()", options, CHANNEL_OPTIONS);
  const { name = "ws-events" } = options;
  const subscriptions = new Set<string>();
  // One for all channels, as Deno 2.9 visits every open BroadcastChannel of a worker for
  // each message.
  let browserChannel: BroadcastChannel | undefined;
  return {
    open(host) {
      browserChannel = new BroadcastChannel(name);
      browserChannel.onmessage = ({ data }) => {
        const [channel, message] = Array.isArray(data) ? data : [];
        const isMessage = message instanceof Uint8Array;
        if (isMessage && subscriptions.has(channel)) {
          host.received(channel, message);
        }
      };
      browserChannel.onmessageerror = () => {
        // A message is lost, so the server must report a gap.
        host.changed(
          "down",
          new Error(
            `Cannot read a message of the BroadcastChannel "${name}" as it could not be deserialized: it is lost`,
          ),
        );
        host.changed("up");
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
      // Deno 2.9 fails if another BroadcastChannel is opened in the same turn.
      return new Promise((resolve) => setTimeout(resolve, 0));
    },
  };
}

const CHANNEL_OPTIONS = optionNames<BroadcastChannelOptions>({
  name: true,
});
