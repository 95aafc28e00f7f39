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
  /**
   * Keeps messages, if the broker can. If not, a server with the option `history`
   * keeps those that it gets in its own memory.
   */
  readonly log?: Log;
}

/** How much a {@linkcode Log} keeps: as much as the server wants that wants most. */
export interface LogLimits {
  /** How many messages of a channel; it may be one more. */
  readonly messages: number;
  /** For how many milliseconds; it has to be twice as long at least. */
  readonly maxAge: number;
}

/** A message that a {@linkcode Log} has kept. */
export interface Logged {
  /** Its number: of two messages of any channels, the later one has the higher one. */
  readonly offset: number;
  /** The message. */
  readonly message: Uint8Array;
}

/**
 * Keeps messages and sends them, in the same order to all: the part of an
 * {@linkcode Adapter} that lets clients come back to another server.
 */
export interface Log {
  /**
   * Begins, each time that the broker is there.
   *
   * @param limits How much to keep.
   * @returns A promise of a random name of at most 64 characters for what is stored, the
   * same for all servers: another one if that was lost, so that old numbers mean nothing
   * any more. It is also the secret by which servers sign what clients present when they
   * come back, so it needs at least 128 bits of randomness, and only servers may know it.
   */
  open(limits: LogLimits): Promise<string>;
  /**
   * Keeps a message, and sends it to all who are subscribed to the channel: they hear
   * its number, too.
   *
   * @param channel The channel.
   * @param name Which message it is: one that is sent again within
   * {@linkcode LogLimits.maxAge} is kept once. The ids of one server in one channel grow.
   * @param message The message: a line of JSON that is an object, and what follows.
   * @returns A promise that resolves when it is kept.
   */
  append(
    channel: string,
    name: { readonly from: string; readonly id: number },
    message: Uint8Array<ArrayBuffer>,
  ): Promise<void>;
  /**
   * What is kept of a channel.
   *
   * @param channel The channel.
   * @param after The number behind which to begin.
   * @param limit How many at most.
   * @returns A promise of the messages, in order.
   */
  read(
    channel: string,
    after: number,
    limit: number,
  ): Promise<readonly Logged[]>;
}

/** Who is told of what comes by an {@linkcode Adapter}. */
export interface Bus {
  /**
   * Hears a message; its own ones, too, if the adapter cannot tell them.
   *
   * @param channel The channel that it was sent to.
   * @param message The message.
   * @param offset Its number, if it is kept.
   */
  received(channel: string, message: Uint8Array, offset?: number): void;
  /**
   * Hears that the broker can be reached, or cannot any more. Telling the same twice is
   * telling it once.
   *
   * @param state Which of them.
   * @param error Why it cannot.
   */
  changed(state: "up" | "down", error?: unknown): void;
}
