/**
 * Rooms that are channels: how messages to a room reach the members that have joined it as
 * a channel. A server has none unless the program uses `./channels`.
 *
 * @module
 */

import { type Connection, coreOf } from "../connection/connection.ts";
import type { Member } from "../events/event_types.ts";
import type { HistoryPage, HistoryQuery } from "../history/history_query.ts";
import { encodeInChannel } from "../protocol/channel_frames.ts";
import { encodeStored, escapeFrame } from "../protocol/frames.ts";
import type { SendOptions } from "../sending/send_queue.ts";
import type { Frame } from "../values/codec.ts";
import type { SocketTypes } from "../values/types.ts";

/** The channels of one server. */
export interface RoomChannels<Types extends SocketTypes> {
  /** The number of the first of these rooms that a client has joined as a channel. */
  numberOf(
    client: Connection<Types>,
    rooms: readonly string[],
  ): number | undefined;
  /** A client has left a room. */
  left(client: Connection<Types>, room: string): void;
}

/** A server, as its channels see it. */
export interface ChannelHost<Types extends SocketTypes> {
  /** Takes the channels of the server. At most one object does. */
  channels: RoomChannels<Types> | undefined;
  /** Whether the server has the option `presence`. */
  readonly hasPresence: boolean;
  /**
   * Lets a client join the room of a channel.
   *
   * @param recovered Called once for a client that was in it before its connection was
   * lost: whether it has been sent all that it missed. Without it, the client is sent
   * nothing from before.
   */
  join(
    client: Connection<Types>,
    room: string,
    recovered: ((recovered: boolean) => void) | undefined,
  ): void;
  /** A client that was in a channel is not in it any more: it has missed nothing there. */
  forgo(client: Connection<Types>, room: string): void;
  /** The members of a room on all servers, as far as this server knows them. */
  membersOf(room: string): readonly Member[];
  /** Reads stored messages of a room. */
  history(
    room: string,
    options: HistoryQuery<Connection<Types>>,
  ): Promise<HistoryPage>;
  /** Reports an error as an `error` event of the server. */
  failed(
    error: unknown,
    from: string,
    client: Connection<Types> | undefined,
  ): void;
}

/** A frame for the clients that use the same number for a channel. */
interface ChannelCopy {
  readonly number: number;
  readonly frame: Frame;
  readonly options: SendOptions;
}

/** Sends one message to members of rooms, to each in the channel that it has joined. */
export class ChannelFanOut<Types extends SocketTypes> {
  readonly #channels: RoomChannels<Types>;
  readonly #rooms: readonly string[];
  readonly #options: SendOptions;
  /** The last copies: most clients use the same few numbers. */
  #copy: ChannelCopy | undefined;
  #storedCopy: ChannelCopy | undefined;

  constructor(
    channels: RoomChannels<Types>,
    rooms: readonly string[],
    options: SendOptions,
  ) {
    this.#channels = channels;
    this.#rooms = rooms;
    this.#options = options;
  }

  /**
   * Sends the message to a client.
   *
   * @returns Whether the client has joined one of the rooms as a channel.
   */
  send(client: Connection<Types>, body: Frame): boolean {
    const number = this.#channels.numberOf(client, this.#rooms);
    if (number === undefined) return false;
    if (this.#copy?.number !== number) {
      this.#copy = this.#copyFor(number, escapeFrame(body));
    }
    coreOf(client).sendMarked(this.#copy.frame, this.#copy.options);
    return true;
  }

  /** Sends the message with its offset, as {@linkcode ChannelFanOut.send} does. */
  sendStored(
    client: Connection<Types>,
    offset: number,
    body: Exclude<Frame, Blob>,
  ): boolean {
    const number = this.#channels.numberOf(client, this.#rooms);
    if (number === undefined) return false;
    if (this.#storedCopy?.number !== number) {
      this.#storedCopy = this.#copyFor(number, encodeStored(offset, body));
    }
    const { frame, options } = this.#storedCopy;
    coreOf(client).sendMarked(frame, options);
    return true;
  }

  #copyFor(number: number, frame: Frame): ChannelCopy {
    return {
      number,
      frame: encodeInChannel(number, frame),
      // Messages of two channels never replace each other.
      options: {
        ...this.#options,
        key: `${number} ${this.#options.key ?? ""}`,
      },
    };
  }
}

const hosts = new WeakMap<object, ChannelHost<SocketTypes>>();

/** Makes a server known to its channels. */
export function registerChannelHost<Types extends SocketTypes>(
  server: object,
  host: ChannelHost<Types>,
): void {
  hosts.set(server, host);
}

/** Returns a server as its channels see it; undefined for any other object. */
export function channelHostOf<Types extends SocketTypes>(
  server: { readonly clients: ReadonlySet<Connection<Types>> },
): ChannelHost<Types> | undefined {
  return hosts.get(server);
}
