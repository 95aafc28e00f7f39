/**
 * What joins several servers into one: the interface of adapters.
 *
 * @module
 */

/**
 * Carries messages between servers. It is handed to one server, by its option
 * `adapter`, which calls all this; programs only make one.
 *
 * An adapter comes back by itself when its broker was away, and then is subscribed to
 * what it was subscribed to before. It need not keep anything meanwhile.
 */
export interface Adapter {
  /**
   * Begins. It does not wait for the broker: {@linkcode Bus.changed} tells when it is
   * there.
   *
   * @param bus Who is told of what comes.
   */
  open(bus: Bus): void;
  /**
   * Sends to all who are subscribed to a channel; messages of one server to one channel
   * arrive in order.
   *
   * @param channel The channel: any text.
   * @param message The message.
   * @returns A promise if it takes time; it rejects if the message is lost.
   */
  publish(
    channel: string,
    message: Uint8Array<ArrayBuffer>,
  ): void | Promise<void>;
  /**
   * From now on hears what is sent to a channel.
   *
   * @param channel The channel.
   * @returns A promise if it takes time.
   */
  subscribe(channel: string): void | Promise<void>;
  /**
   * From now on hears no more of a channel.
   *
   * @param channel The channel.
   * @returns A promise if it takes time.
   */
  unsubscribe(channel: string): void | Promise<void>;
  /** Ends. */
  close(): Promise<void>;
}

/** Who is told of what comes by an {@linkcode Adapter}. */
export interface Bus {
  /**
   * Hears a message; its own ones, too, if the adapter cannot tell them.
   *
   * @param channel The channel that it was sent to.
   * @param message The message.
   */
  received(channel: string, message: Uint8Array): void;
  /**
   * Hears that the broker can be reached, or cannot any more. Telling the same twice is
   * telling it once.
   *
   * @param state Which of them.
   * @param error Why it cannot.
   */
  changed(state: "up" | "down", error?: unknown): void;
}
