/**
 * The recipients of a message to several clients.
 *
 * @module
 */

import { assertSendOptions, type SendOptions } from "../sending/send_queue.ts";
import { encodeWith, type Frame } from "../values/codec.ts";
import { Connection, coreOf } from "../connection/connection.ts";
import {
  assertCloseFrame,
  assertKnown,
  assertSize,
  CloseCode,
  optionNames,
  RESOLVED,
} from "../events/errors.ts";
import { REQUEST_TIMEOUT_MS } from "../requests/session.ts";
import { assertOverflow } from "../sending/backpressure_queue.ts";
import type { ConnectionOptions } from "../connection/connection_options.ts";
import { type AudienceReplies, validateReplies } from "./group_request.ts";
import type { ChannelFanOut } from "./room_channels.ts";
import { assertRoom, type Rooms } from "./rooms.ts";
import { typeOf } from "../values/type_of.ts";
import type {
  Outgoing,
  Reply,
  RequestData,
  RequestType,
  SocketTypes,
} from "../values/types.ts";

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

/** Options of {@linkcode Audience.request}. */
export interface AudienceRequestOptions {
  /**
   * The time to wait for the replies, in milliseconds.
   *
   * @default {10_000}
   */
  readonly timeout?: number;
}

/** The options of the server that an {@linkcode Audience} uses. */
export type AudienceOptions<Types extends SocketTypes> = Pick<
  ConnectionOptions<Types>,
  "codec" | "replySchemas"
>;

/** What an {@linkcode Audience} does, on all servers. */
export interface AudienceHost<Types extends SocketTypes> {
  /** Sends a message. */
  send(
    frame: Frame,
    audience: Audience<Types>,
    except: readonly ExcludedRecipient<Types>[],
    options: SendOptions | undefined,
  ): void;
  /** Changes all clients of an audience. Returns a promise of their number. */
  change(
    change: AudienceChange,
    except: readonly ExcludedRecipient<Types>[],
  ): Promise<number>;
  /** Sends a request, and collects the replies. */
  request(
    frame: Frame,
    except: readonly ExcludedRecipient<Types>[],
    timeout: number,
  ): Promise<AudienceReplies>;
}

/** A change of all clients of an audience. */
export type AudienceChange =
  | { readonly type: "join" | "leave"; readonly rooms: readonly string[] }
  | { readonly type: "end"; readonly code: number; readonly reason: string };

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
 * @param options How messages are encoded, and replies validated.
 */
export let createAudience: <Types extends SocketTypes>(
  rooms: Rooms<Connection<Types>>,
  groups: () => ReadonlySet<Connection<Types>>[],
  except: readonly ExcludedRecipient<Types>[],
  options: AudienceOptions<Types>,
  host: AudienceHost<Types>,
) => Audience<Types>;

/**
 * A selection of clients, which {@linkcode ServerSocket.to} returns. It is not a snapshot:
 * each property and each call uses the clients that match at that time. `members` and
 * `size` cover this server; the methods reach the clients of all servers that the adapter
 * connects.
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
  readonly #options: AudienceOptions<Types>;
  readonly #host: AudienceHost<Types>;

  static {
    createAudience = (rooms, groups, except, options, host) =>
      new Audience(rooms, groups, except, options, host);
  }

  private constructor(
    rooms: Rooms<Connection<Types>>,
    groups: () => ReadonlySet<Connection<Types>>[],
    except: readonly ExcludedRecipient<Types>[],
    options: AudienceOptions<Types>,
    host: AudienceHost<Types>,
  ) {
    this.#rooms = rooms;
    this.#groups = groups;
    this.#except = except;
    this.#options = options;
    this.#host = host;
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
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * server.on("connect", (client) => {
   *   client.join("lobby");
   *   server.to("lobby").except(client, "muted").send("Someone has joined");
   * });
   * ```
   */
  except(...excluded: ExcludedRecipient<Types>[]): Audience<Types> {
    return new Audience(
      this.#rooms,
      this.#groups,
      [...this.#except, ...excluded],
      this.#options,
      this.#host,
    );
  }

  /**
   * Sends a message to all selected clients. It is serialized once. Each client has its
   * own buffer, so a slow client does not delay the others. The option `overflow` says
   * what happens for a client whose buffer is full.
   *
   * @param data The data to send.
   * @param options The `overflow` policy, a key, and whether the message is volatile.
   * @returns A promise that resolves when the message has been queued for each client, or
   * passed to the adapter. It does not wait for slow clients: use `connection.send` to
   * pace a sender.
   * @throws {TypeError} If the data cannot be encoded, or an option is unknown. Nothing is
   * sent.
   * @throws {RangeError} If `overflow` is not a valid policy. Nothing is sent.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * server.to("scores").send({ home: 2, away: 1 });
   * server.to("scores").send({ minute: 43 }, { overflow: "latest", key: "minute" });
   * ```
   */
  send(data: Outgoing<Types>, options?: SendOptions): Promise<void> {
    if (options !== undefined) assertSendOptions(options);
    const frame = encodeWith(data, this.#options.codec);
    assertOverflow(options);
    this.#host.send(frame, this, this.#except, options);
    return RESOLVED;
  }

  /**
   * Makes all selected clients members of other rooms, on all servers that the adapter
   * connects. Clients of this server have joined when this returns.
   *
   * @param rooms The names of the rooms.
   * @returns A promise of the number of selected clients on all servers. It resolves when
   * all servers have answered; messages that are sent to the rooms afterwards reach the
   * clients. It rejects if the adapter is down, or if a server does not answer.
   * @throws {TypeError} (rejects) If a name is not a string, or empty.
   * @throws {RangeError} (rejects) If a name is longer than 1,024 bytes of UTF-8.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * await server.to("lobby").join("game");
   * await server.to("lobby").leave("lobby");
   * server.to("game").send("The game begins");
   * ```
   */
  async join(...rooms: string[]): Promise<number> {
    for (const room of rooms) assertRoom("join", room);
    return await this.#host.change({ type: "join", rooms }, this.#except);
  }

  /**
   * Removes all selected clients from rooms, on all servers that the adapter connects.
   *
   * @param rooms The names of the rooms.
   * @returns As {@linkcode Audience.join}.
   * @throws {TypeError} (rejects) If a name is not a string, or empty.
   * @throws {RangeError} (rejects) If a name is longer than 1,024 bytes of UTF-8.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * const count = await server.to("round 1").leave("round 1");
   * console.log(count, "players have left the round");
   * ```
   */
  async leave(...rooms: string[]): Promise<number> {
    for (const room of rooms) assertRoom("leave", room);
    return await this.#host.change({ type: "leave", rooms }, this.#except);
  }

  /**
   * Closes the connections of all selected clients, on all servers that the adapter
   * connects.
   *
   * @param code The close code; 1000 by default. Also allowed are 1001 to 1003, 1007 to
   * 1013, and 3000 to 4999.
   * @param reason The human-readable reason, at most 123 bytes of UTF-8; empty by default.
   * @returns A promise of the number of connections, as {@linkcode Audience.join}. It does
   * not wait until they have ended.
   * @throws {RangeError} (rejects) If the code may not be sent, or the reason is too long.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * const count = await server.to("trial").close(4001, "The trial has ended");
   * console.log(count, "clients are closed");
   * ```
   */
  async close(
    code: number = CloseCode.Normal,
    reason = "",
  ): Promise<number> {
    assertCloseFrame(code, reason, "server");
    return await this.#host.change({ type: "end", code, reason }, this.#except);
  }

  /**
   * Sends a request to all selected clients, on all servers that the adapter connects, and
   * collects the replies. Each server asks at most 10,000 clients. A reply may have 512 KiB,
   * and all replies together 16 MiB.
   *
   * @param data The data of the request.
   * @param options The timeout.
   * @returns A promise of the replies, and of the failures of clients that did not reply.
   * It rejects if the adapter is down; then no client was asked.
   * @throws {TypeError} (rejects) If the data cannot be encoded, or an option is unknown.
   * @throws {RangeError} (rejects) If the timeout is negative or not finite.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket<{ reply: { isReady: boolean } }>();
   * const { replies, failures } = await server.to("game").request("Ready?", {
   *   timeout: 2_000,
   * });
   * for (const [id, { isReady }] of replies) console.log(id, isReady);
   * for (const [id, error] of failures) console.log(id, error.message);
   * ```
   */
  request<Type extends RequestType<Types>>(
    data: RequestData<Types, Type>,
    options?: AudienceRequestOptions,
  ): Promise<AudienceReplies<Reply<Types, Type>>>;
  async request(
    data: unknown,
    options: AudienceRequestOptions = {},
  ): Promise<AudienceReplies> {
    assertKnown("request()", options, AUDIENCE_REQUEST_OPTIONS);
    const { timeout = REQUEST_TIMEOUT_MS } = options;
    assertSize("timeout", timeout);
    if (timeout === Infinity) {
      throw new RangeError(
        'Cannot use "timeout" unless it is finite, as a client may never reply: current value is Infinity',
      );
    }
    const frame = encodeWith(data, this.#options.codec);
    const all = await this.#host.request(frame, this.#except, timeout);
    const schema = this.#options.replySchemas?.get(typeOf(data) ?? "");
    return schema ? validateReplies(all, schema) : all;
  }
}

const AUDIENCE_REQUEST_OPTIONS = optionNames<AudienceRequestOptions>({
  timeout: true,
});
