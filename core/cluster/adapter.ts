/**
 * The interface of adapters, which connect several servers into one cluster.
 *
 * @module
 */

import type { AdapterRecords } from "../retries/adapter_records.ts";

export type {
  AdapterRecord,
  AdapterRecords,
} from "../retries/adapter_records.ts";

/**
 * Carries messages between servers. Pass it to the option `adapter` of one server, which
 * calls its methods.
 *
 * An adapter reconnects to its broker by itself, and then restores its subscriptions. It
 * reports why it cannot connect. It need not store messages that are published while the
 * broker is down.
 *
 * @example
 * ```ts
 * import type { Adapter, AdapterHost } from "jsr:@ws/events/adapter";
 *
 * const subscribers = new Map<string, Set<AdapterHost>>();
 *
 * // Connects servers of one thread.
 * function local(): Adapter {
 *   let host: AdapterHost | undefined;
 *   return {
 *     open(given: AdapterHost): void {
 *       host = given;
 *       host.changed("up");
 *     },
 *     publish(channel: string, message: Uint8Array): void {
 *       for (const one of subscribers.get(channel) ?? []) one.received(channel, message);
 *     },
 *     subscribe(channel: string): void {
 *       const all = subscribers.get(channel) ?? new Set();
 *       subscribers.set(channel, host ? all.add(host) : all);
 *     },
 *     unsubscribe(channel: string): void {
 *       if (host) subscribers.get(channel)?.delete(host);
 *     },
 *     close(): Promise<void> {
 *       for (const all of subscribers.values()) if (host) all.delete(host);
 *       return Promise.resolve();
 *     },
 *   };
 * }
 * console.log(local());
 * ```
 */
export interface Adapter {
  /**
   * Starts the adapter. It does not wait for the broker: the adapter calls
   * {@linkcode AdapterHost.changed} when the broker can be reached.
   *
   * @param host Receives messages and changes of state.
   */
  open(host: AdapterHost): void;
  /**
   * Publishes a message to all subscribers of a channel. Messages that one server
   * publishes to one channel arrive in order.
   *
   * @param channel The channel; any string.
   * @param message The message.
   * @returns A promise if publishing is asynchronous. It rejects if the message is lost.
   */
  publish(
    channel: string,
    message: Uint8Array<ArrayBuffer>,
  ): void | Promise<void>;
  /**
   * Subscribes to a channel.
   *
   * @param channel The channel; any string.
   * @returns A promise if subscribing is asynchronous.
   */
  subscribe(channel: string): void | Promise<void>;
  /**
   * Unsubscribes from a channel.
   *
   * @param channel The channel.
   * @returns A promise if unsubscribing is asynchronous.
   */
  unsubscribe(channel: string): void | Promise<void>;
  /**
   * Closes all connections to the broker.
   *
   * @returns A promise that resolves when they are closed.
   */
  close(): Promise<void>;
  /**
   * The log of the broker, if it can store messages. Without a log, a server with the
   * option `history` stores the messages that it receives in its own memory.
   */
  readonly log?: AdapterLog;
  /**
   * The records of the broker, if it can store them: what the servers remember of requests
   * with the option `retry`. Without records, each server remembers its own.
   */
  readonly records?: AdapterRecords;
  /**
   * Whether a message comes back to the server that has published it, if that server is
   * subscribed to the channel. If so, the server considers the broker to be up only after
   * one of its own messages has come back, and notices within 10 seconds if they no longer
   * do.
   *
   * @default {false}
   */
  readonly echoes?: boolean;
  /**
   * Closes the connections to the broker and opens new ones. The server calls it every
   * few seconds while the adapter reports `"up"` but no message comes back; only if
   * {@linkcode Adapter.echoes} is `true`. The adapter reports `"down"` and `"up"`, as
   * after any other loss.
   */
  reconnect?(): void;
}

/**
 * The limits of an {@linkcode AdapterLog}: how much it must store, and for how long. If
 * servers request different limits, the largest of each applies.
 */
export interface AdapterLogLimits {
  /**
   * The number of messages to store for each channel. The log must store one message
   * more than this.
   */
  readonly messages: number;
  /**
   * How long a client may be disconnected, in milliseconds. The log must store messages
   * for at least twice as long.
   */
  readonly maxAge: number;
  /**
   * For how long after its first `append` a message may be appended again, in
   * milliseconds. Within that time the log must recognize it and store it only once.
   */
  readonly resendAge: number;
}

/** A message that an {@linkcode AdapterLog} has stored. */
export interface AdapterLogEntry {
  /** The offset of the message. It increases with each message, across all channels. */
  readonly offset: number;
  /** The message, as it was passed to {@linkcode AdapterLog.append}. */
  readonly message: Uint8Array;
}

/**
 * Stores messages and publishes them, in the same order to all servers. An {@linkcode
 * Adapter} with a log lets clients reconnect to any server and receive the messages that
 * they have missed.
 */
export interface AdapterLog {
  /**
   * Opens the log. A server calls this each time that the broker becomes reachable.
   *
   * @param limits What to keep, and for how long.
   * @param lost The name of a log that has lost messages, as the server has found. If
   * the log still has this name, it must get a new one.
   * @returns A promise of the name of the log: up to 32 lower-case letters and digits.
   * It changes if the stored messages were lost, which makes earlier offsets invalid.
   * Keep it secret from clients.
   */
  open(limits: AdapterLogLimits, lost?: string): Promise<string>;
  /**
   * Stores a message and publishes it, with its offset, to all subscribers of the
   * channel.
   *
   * @param channel The channel.
   * @param name Identifies the message. A message that is appended again within
   * {@linkcode AdapterLogLimits.resendAge} is stored only once. The ids of one server
   * increase within a channel.
   * @param message The message: a JSON object on one line, followed by any bytes.
   * @returns A promise that resolves when the message is stored. If the broker refuses
   * it, the promise rejects with an error whose `cause` is `"refused"`, and the server
   * sends the message again. After any other error, the message may or may not be
   * stored.
   */
  append(
    channel: string,
    name: { readonly from: string; readonly id: number },
    message: Uint8Array<ArrayBuffer>,
  ): Promise<void>;
  /**
   * Invalidates the name of the log, because messages are published without being
   * stored. While the log cannot be opened although the broker passes messages on, a
   * server calls this before each message that it publishes. Without this method, the
   * server is `"down"` during that time.
   *
   * @returns A promise that resolves when the name is invalid: a log that is opened later
   * has another name.
   */
  invalidate?(): Promise<void>;
  /**
   * Reads stored messages of a channel.
   *
   * @param channel The channel.
   * @param after Only messages with a larger offset are returned.
   * @param limit The largest number of messages to return.
   * @returns A promise of the messages, in order.
   */
  read(
    channel: string,
    after: number,
    limit: number,
  ): Promise<readonly AdapterLogEntry[]>;
}

/** Receives what an {@linkcode Adapter} reports. */
export interface AdapterHost {
  /** Whether the server stores messages in the {@linkcode Adapter.log}. */
  readonly usesLog?: boolean;
  /**
   * Reports that a message has arrived. An adapter may also pass on messages that its
   * own server has published.
   *
   * @param channel The channel that it was published to.
   * @param message The message.
   * @param offset Its offset, if it is stored.
   */
  received(channel: string, message: Uint8Array, offset?: number): void;
  /**
   * Reports that the broker can be reached, or why it cannot. Repeating a state has no
   * effect unless the error differs.
   *
   * @param state The new state. `"up"` means that the adapter is connected.
   * @param error Why the broker cannot be reached. It is shown to operators, so it must
   * not contain a password.
   */
  changed(state: "up" | "down", error?: unknown): void;
  /**
   * Reports an error that does not make the broker unreachable. The server emits it as
   * an `error` event.
   *
   * @param error The error.
   * @param channel The channel whose messages do not arrive until the adapter reconnects,
   * because of the error; undefined if no channel is affected.
   */
  failed?(error: unknown, channel?: string): void;
}
