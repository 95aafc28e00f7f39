/**
 * The interface of adapters, which connect several servers into one cluster.
 *
 * @module
 */

/**
 * Carries messages between servers. Pass it to the option `adapter` of one server, which
 * calls its methods.
 *
 * An adapter reconnects to its broker by itself, and restores its subscriptions then. It
 * reports why it cannot connect. It does not have to store messages that are published
 * while the broker is down.
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
   * Stores messages, if the broker can. Without it, a server with the option `history`
   * stores the messages that it receives in its own memory.
   */
  readonly log?: AdapterLog;
  /**
   * Whether a message comes back to the server that has published it, if that server is
   * subscribed to the channel. If so, the server counts the broker as up only after a
   * message of its own has come back, and notices within 10 seconds if no more does.
   *
   * @default {false}
   */
  readonly echoes?: boolean;
  /**
   * Closes the connections to the broker and opens new ones. The server calls it, and
   * again every few seconds, if the adapter has reported `"up"` but no message comes
   * back; only if {@linkcode Adapter.echoes} is `true`. The adapter reports `"down"` and
   * `"up"` as for any other loss.
   */
  reconnect?(): void;
}

/**
 * What an {@linkcode AdapterLog} has to keep, and for how long. If servers ask for
 * different limits, the largest of each applies.
 */
export interface AdapterLogLimits {
  /**
   * The number of messages to store of each channel. The log has to store one message
   * more than this.
   */
  readonly messages: number;
  /**
   * How long a client may be disconnected, in milliseconds. The log has to store
   * messages for at least twice as long.
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
  /** The message. */
  readonly message: Uint8Array;
}

/**
 * Stores messages and publishes them, in the same order to all servers. With this part
 * of an {@linkcode Adapter}, clients can reconnect to another server.
 */
export interface AdapterLog {
  /**
   * Opens the log. A server calls this each time that the broker becomes reachable.
   *
   * @param limits What to keep, and for how long.
   * @param lost The name of the log if the server has found that messages of it are lost.
   * Unless the log has another name already, it must get a new one.
   * @returns A promise of the name of the log: up to 32 lower-case letters and digits. It
   * changes if the stored messages were lost, which makes earlier offsets invalid. Keep
   * it secret from clients.
   */
  open(limits: AdapterLogLimits, lost?: string): Promise<string>;
  /**
   * Stores a message and publishes it, with its offset, to all subscribers of the
   * channel.
   *
   * @param channel The channel.
   * @param name Identifies the message. A message that is appended again within
   * {@linkcode AdapterLogLimits.resendAge} is stored only once. The ids of one server increase
   * within a channel.
   * @param message The message: a JSON object on one line, followed by any bytes.
   * @returns A promise that resolves when the message is stored. If the broker has
   * answered that it does not store it, the promise rejects with an error whose `cause` is
   * `"refused"`: the message is sent again then. After any other error it may be stored.
   */
  append(
    channel: string,
    name: { readonly from: string; readonly id: number },
    message: Uint8Array<ArrayBuffer>,
  ): Promise<void>;
  /**
   * Makes the present name of the log invalid, as messages are now published without
   * being stored. A server calls it when the log cannot be opened although the broker
   * passes messages on, before each message that it publishes then. Without it, servers
   * are `"down"` while the log cannot be opened.
   *
   * @returns A promise that resolves when a log that is opened later has another name.
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
   * A message has arrived. An adapter may also pass on messages that its own server has
   * published.
   *
   * @param channel The channel that it was published to.
   * @param message The message.
   * @param offset Its offset, if it is stored.
   */
  received(channel: string, message: Uint8Array, offset?: number): void;
  /**
   * The broker has become reachable or unreachable. Repeating a state has no effect,
   * unless the reason is another one.
   *
   * @param state The new state. `"up"` says that the adapter is connected.
   * @param error Why the broker cannot be reached. It is shown to operators, so it must
   * not contain a password.
   */
  changed(state: "up" | "down", error?: unknown): void;
  /**
   * Something is wrong that does not keep the broker from being reached. The server emits
   * it as an event `error`.
   *
   * @param channel The channel whose messages do not arrive because of it, until the
   * adapter connects again.
   */
  failed?(error: unknown, channel?: string): void;
}
