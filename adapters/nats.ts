/**
 * Joins servers on any number of machines by NATS, with its official client.
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

import {
  connect,
  type NatsConnection,
  type NodeConnectionOptions,
  type Subscription,
} from "@nats-io/transport-node";
import type { Adapter, Bus } from "../core/adapter.ts";

export type { Adapter, Bus } from "../core/adapter.ts";

/** Options of {@linkcode nats}. */
export interface NatsOptions {
  /**
   * Where NATS is: `host:port`, one or more of a cluster.
   *
   * @default {"localhost:4222"}
   */
  readonly servers?: string | string[];
  /** The user's name, if NATS wants one. */
  readonly user?: string;
  /** The user's password. */
  readonly pass?: string;
  /** A token, if NATS wants one. */
  readonly token?: string;
  /**
   * What the subjects of all channels begin with, so that several fleets can share one
   * NATS.
   *
   * @default {"ws-events"}
   */
  readonly prefix?: string;
}

/**
 * Makes an adapter for servers that share a NATS.
 *
 * @param options Where NATS is.
 * @returns The adapter, for one server.
 */
export function nats(
  { prefix = "ws-events", servers = "localhost:4222", ...rest }: NatsOptions =
    {},
): Adapter {
  const options: NodeConnectionOptions = {
    ...rest,
    servers,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
    reconnectJitter: 400,
  };
  const wanted = new Map<string, Subscription | undefined>();
  let bus: Bus | undefined;
  let connection: NatsConnection | undefined;
  let isUp = false;
  let retry: ReturnType<typeof setTimeout> | undefined;

  function listen(channel: string): void {
    const subscription = connection?.subscribe(subjectOf(prefix, channel), {
      callback: (error, { data }) => {
        if (!error) bus?.received(channel, data);
      },
    });
    wanted.set(channel, subscription);
  }

  /** Tries until NATS is there: the client itself comes back only once it was. */
  async function open(): Promise<void> {
    try {
      const opened = await connect(options);
      if (bus === undefined) return await opened.close();
      connection = opened;
      for (const channel of wanted.keys()) listen(channel);
      change(true);
      await watch(opened);
    } catch (error) {
      if (bus === undefined) return;
      change(false, error);
      retry = setTimeout(open, 100 + Math.random() * 400);
    }
  }

  async function watch(connection: NatsConnection): Promise<void> {
    for await (const { type } of connection.status()) {
      if (type === "disconnect") change(false, new Error("NATS is away"));
      if (type === "reconnect") change(true);
    }
  }

  function change(state: boolean, error?: unknown): void {
    isUp = state;
    bus?.changed(state ? "up" : "down", error);
  }

  return {
    open(given) {
      bus = given;
      open();
    },
    publish(channel, message) {
      // It would keep what cannot be sent, without a bound.
      if (!isUp) throw new Error(`Cannot publish to "${channel}" without NATS`);
      connection?.publish(subjectOf(prefix, channel), message);
    },
    subscribe: listen,
    unsubscribe(channel) {
      wanted.get(channel)?.unsubscribe();
      wanted.delete(channel);
    },
    async close() {
      bus = undefined;
      clearTimeout(retry);
      if (isUp) await connection?.drain();
      else await connection?.close();
    },
  };
}

/** Any text can be a channel's name, but a subject has no spaces, dots or stars. */
function subjectOf(prefix: string, channel: string): string {
  const bytes = new TextEncoder().encode(channel);
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"));
  return `${prefix}.${hex.join("")}`;
}
