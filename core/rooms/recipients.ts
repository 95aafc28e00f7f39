/**
 * The recipients of a message to several clients.
 *
 * @module
 */

import { assertSendOptions, type SendOptions } from "../sending/send_queue.ts";
import { type Codec, encodeWith, type Frame } from "../values/codec.ts";
import { Connection, coreOf } from "../connection/connection.ts";
import { RESOLVED } from "../events/errors.ts";
import { assertOverflow } from "../sending/backpressure_queue.ts";
import type { ChannelFanOut } from "./room_channels.ts";
import { assertRoom, type Rooms } from "./rooms.ts";
import type { Outgoing, SocketTypes } from "../values/types.ts";

/**
 * A connection that does not receive a message, or the name of a room whose members do
 * not receive it.
 *
 * @typeParam Types The types of the messages of the server.
 */
export type ExcludedRecipient<Types extends SocketTypes> =
  | Connection<Types>
  | string;

/** Options of {@linkcode ServerSocket.broadcast}. */
export interface BroadcastOptions<Types extends SocketTypes = SocketTypes>
  extends SendOptions {
  /** Connections, and names of rooms whose members do not receive the message. */
  readonly except?:
    | ExcludedRecipient<Types>
    | readonly ExcludedRecipient<Types>[];
}

/** Sends a message to an audience, on all servers. */
type Dispatch<Types extends SocketTypes> = (
  frame: Frame,
  audience: Audience<Types>,
  except: readonly ExcludedRecipient<Types>[],
  options: SendOptions | undefined,
) => void;

/**
 * Sends one frame to several connections.
 *
 * @param fanOut Sends it to those that have joined a room as a channel, if any may have.
 */
export function sendToAll<Types extends SocketTypes>(
  connections: Iterable<Connection<Types>>,
  frame: Frame,
  options: SendOptions | undefined,
  fanOut?: ChannelFanOut<Types>,
): void {
  for (const connection of connections) {
    if (fanOut?.send(connection, frame)) continue;
    coreOf(connection).send(frame, options, false);
  }
}

/**
 * Creates a selection.
 *
 * @param groups Returns the sets of clients to select from.
 * @param codec Encodes messages; JSON if undefined.
 */
export let createAudience: <Types extends SocketTypes>(
  rooms: Rooms<Connection<Types>>,
  groups: () => ReadonlySet<Connection<Types>>[],
  except: readonly ExcludedRecipient<Types>[],
  codec: Codec | undefined,
  dispatch: Dispatch<Types>,
) => Audience<Types>;

/**
 * A selection of clients, as `server.to(...)` returns it. It is not a snapshot: each
 * property and each `send` uses the clients that match at that time.
 *
 * @typeParam Types The types of the messages of the server.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 *
 * const server = new ServerSocket();
 * server.on("connect", (client) => client.join("lobby"));
 * server.on("message", ({ author, data }) => {
 *   server.to("lobby").except(author).send({ from: author.id, data });
 * });
 * ```
 */
export class Audience<Types extends SocketTypes = SocketTypes> {
  readonly #rooms: Rooms<Connection<Types>>;
  readonly #groups: () => ReadonlySet<Connection<Types>>[];
  readonly #except: readonly ExcludedRecipient<Types>[];
  readonly #codec: Codec | undefined;
  readonly #dispatch: Dispatch<Types>;

  static {
    createAudience = (rooms, groups, except, codec, dispatch) =>
      new Audience(rooms, groups, except, codec, dispatch);
  }

  private constructor(
    rooms: Rooms<Connection<Types>>,
    groups: () => ReadonlySet<Connection<Types>>[],
    except: readonly ExcludedRecipient<Types>[],
    codec: Codec | undefined,
    dispatch: Dispatch<Types>,
  ) {
    this.#rooms = rooms;
    this.#groups = groups;
    this.#except = except;
    this.#codec = codec;
    this.#dispatch = dispatch;
    for (const one of except) {
      if (typeof one === "string") assertRoom("exclude", one);
      if (typeof one === "string" || one instanceof Connection) continue;
      throw new TypeError(
        `Cannot exclude anything other than a connection or a room: current value is of type ${typeof one}`,
      );
    }
  }

  /** The clients of this server that are selected now. */
  get members(): Connection<Types>[] {
    return this.#rooms.select(this.#groups(), this.#except);
  }

  /** The number of clients of this server that are selected now. */
  get size(): number {
    return this.members.length;
  }

  /**
   * Excludes connections, and the members of rooms.
   *
   * @param excluded Connections and names of rooms.
   * @returns A new selection.
   * @throws {TypeError} If a value is neither a connection nor a valid name of a room.
   * @throws {RangeError} If the name of a room is longer than 1,024 bytes of UTF-8.
   */
  except(...excluded: ExcludedRecipient<Types>[]): Audience<Types> {
    return new Audience(
      this.#rooms,
      this.#groups,
      [...this.#except, ...excluded],
      this.#codec,
      this.#dispatch,
    );
  }

  /**
   * Sends a message to all selected clients. It is serialized once. Each client has its
   * own buffer, so a slow client does not delay the others. The option `overflow` says
   * what happens for a client whose buffer is full.
   *
   * @param data The data to send.
   * @param options How to send it.
   * @returns A promise that resolves when the message has been queued for each client, or
   * passed to the adapter. It does not wait for slow clients: use `connection.send` to
   * pace a sender.
   * @throws {TypeError} If the data cannot be encoded, or an option is unknown. Nothing is
   * sent.
   * @throws {RangeError} If `overflow` is not a valid policy. Nothing is sent.
   */
  send(data: Outgoing<Types>, options?: SendOptions): Promise<void> {
    if (options !== undefined) assertSendOptions(options);
    const frame = encodeWith(data, this.#codec);
    assertOverflow(options);
    this.#dispatch(frame, this, this.#except, options);
    return RESOLVED;
  }
}
