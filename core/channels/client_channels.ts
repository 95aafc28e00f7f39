/**
 * The channels of a client: joins them on each connection, and passes received frames to
 * them.
 *
 * @module
 */

import "../features/processor.ts";
import { Connection, coreOf } from "../connection/connection.ts";
import { optionsOf } from "../connection/connection_options.ts";
import type { ValueOrFunction } from "../client/client_options.ts";
import { emitters } from "../events/emitter.ts";
import { assertKnown, assertType, optionNames } from "../events/errors.ts";
import {
  decodeChannelFrame,
  decodeMembers,
} from "../protocol/channel_frames.ts";
import { decodeFrame } from "../protocol/frame_decoder.ts";
import { isMarked, type Payload } from "../protocol/frames.ts";
import { UNHANDLED_FAILURE } from "../requests/incoming_request.ts";
import {
  type Channel,
  type ChannelInbox,
  type ChannelOptions,
  type ChannelOwner,
  createChannel,
} from "./channel.ts";
import type { ChannelTypes, JoinData } from "./channel_types.ts";
import type { ChannelItem } from "./received_items.ts";

/** The part of a {@linkcode ClientSocket} that a channel uses. */
export interface ChannelClient {
  /** The state of the client; see {@linkcode ClientState}. */
  readonly state: string;
  /** The open connection, if there is one. */
  readonly connection: object | undefined;
  /**
   * Adds a listener.
   *
   * @param type The name of the event.
   * @param listener The listener.
   */
  on(type: "connect" | "end" | "state", listener: () => void): unknown;
}

const JOIN_OPTIONS = optionNames<ChannelOptions>({ timeout: true });

const all = new WeakMap<object, ClientChannels>();

/**
 * Joins a channel of the server, now or when the client is connected, and again after each
 * loss of the connection.
 *
 * @typeParam Types The types of the channel.
 * @param client The client, a `ClientSocket`.
 * @param name The name of the channel, such as `orders/42`. Encode parameters with
 * `encodeURIComponent`.
 * @param data The data that the option `join` of the server gets, such as a token; or a
 * function that returns it, called each time the client joins. It is sent as JSON.
 * @param options The timeout.
 * @returns The channel. It emits the messages that it receives.
 * @throws {TypeError} If the client is not a `ClientSocket`, the name is not a string or is
 * empty, or an option is unknown.
 * @throws {RangeError} If the timeout is negative or `NaN`.
 * @throws {Error} If the client has joined the channel already.
 *
 * @example
 * ```ts ignore
 * import { channel } from "jsr:@ws/events/channels";
 * import { ClientSocket } from "jsr:@ws/events/client";
 *
 * const client = new ClientSocket({ reconnect: true });
 * const order = channel(client, `orders/${encodeURIComponent("A 7")}`);
 * order.on("message", ({ data }) => console.log(data));
 * client.connect("wss://example.com/live");
 * console.log(await order.joined);
 * ```
 */
export function channel<Types extends ChannelTypes = ChannelTypes>(
  client: ChannelClient,
  name: string,
  data?: ValueOrFunction<JoinData<Types>>,
  options: ChannelOptions = {},
): Channel<Types> {
  const known = typeof client === "object" && client !== null
    ? all.get(client)
    : undefined;
  const channels = known ?? new ClientChannels(client);
  assertType("name", name, "string");
  assertType("options", options, "object");
  assertKnown("channel()", options, JOIN_OPTIONS);
  all.set(client, channels);
  return channels.join<Types>(name, data, options);
}

class ClientChannels implements ChannelOwner {
  readonly options: ChannelOwner["options"];
  readonly #client: ChannelClient;
  readonly #byName = new Map<string, ChannelInbox>();
  /** The channels of the current connection. */
  readonly #byNumber = new Map<number, ChannelInbox>();

  constructor(client: ChannelClient) {
    const options = typeof client === "object" && client !== null
      ? optionsOf(client)
      : undefined;
    if (options === undefined || !("connection" in client)) {
      throw new TypeError(
        "Cannot join a channel of something other than a ClientSocket: a server calls channels()",
      );
    }
    this.options = options;
    this.#client = client;
    client.on("connect", () => this.#connected());
    client.on("end", () => {
      for (const inbox of [...this.#byName.values()]) inbox.disconnected();
      this.#byNumber.clear();
    });
    client.on("state", () => this.#closeIfEnded());
    this.#attach();
  }

  join<Types extends ChannelTypes>(
    name: string,
    data: ValueOrFunction<JoinData<Types>> | undefined,
    options: ChannelOptions,
  ): Channel<Types> {
    if (name === "") {
      throw new TypeError("Cannot join a channel whose name is empty");
    }
    if (this.#byName.has(name)) {
      throw new Error(
        `Cannot join the channel "${name}" twice: use the first one, or leave it first`,
      );
    }
    const [channel, inbox] = createChannel<Types>(this, name, data, options);
    this.#byName.set(name, inbox);
    const connection = this.#attach();
    if (connection) inbox.connected(connection);
    else if (this.#client.state === "closed") {
      // A listener that is added synchronously still gets the event.
      queueMicrotask(() => this.#closeIfEnded());
    }
    return channel;
  }

  /** See {@linkcode ChannelOwner}. */
  numbered(number: number, inbox: ChannelInbox): void {
    this.#byNumber.set(number, inbox);
  }

  /** See {@linkcode ChannelOwner}. */
  closed(name: string, number: number | undefined): void {
    this.#byName.delete(name);
    if (number !== undefined) this.#byNumber.delete(number);
  }

  /** See {@linkcode ChannelOwner}. */
  failed(error: unknown, from: string): void {
    if (this.#client instanceof EventTarget) {
      emitters.reportError(this.#client, error, from, undefined);
    }
  }

  #connected(): void {
    this.#byNumber.clear();
    const connection = this.#attach();
    if (!connection) return;
    for (const inbox of [...this.#byName.values()]) inbox.connected(connection);
  }

  #closeIfEnded(): void {
    if (this.#client.state !== "closed") return;
    for (const inbox of [...this.#byName.values()]) {
      inbox.close("ended", "The client has no connection, and makes no other");
    }
  }

  /** Takes the frames of channels from the current connection, and returns it. */
  #attach(): Connection | undefined {
    const { connection } = this.#client;
    if (!(connection instanceof Connection)) return undefined;
    coreOf(connection).receiver.extension = (connection, payload, key) =>
      this.#receive(connection, payload, key);
    return connection;
  }

  #receive(
    connection: Connection,
    payload: Payload,
    key: string | undefined,
  ): void {
    const { dispatcher, receiver } = coreOf(connection);
    const frame = decodeChannelFrame(payload);
    if (frame?.kind === "leave") {
      const {
        code = "removed",
        message = "The server ended the membership",
      } = frame.failure ?? {};
      const item = { kind: "leave", code, reason: message } as const;
      return this.#pass(connection, frame.id, item, payload);
    }
    if (frame?.kind !== "inner") return receiver.protocolError(MALFORMED);
    const { id, payload: content } = frame;
    if (!isMarked(content)) {
      const item = { kind: "message", payload: content } as const;
      return this.#pass(connection, id, item, payload, key);
    }
    const inner = decodeFrame(content);
    switch (inner?.kind) {
      case "message":
        return this.#pass(connection, id, inner, payload, key);
      case "stored":
        // The position moves on as messages arrive, also while others are handled.
        if (!receiver.updatePosition(inner.offset)) break;
        return this.#pass(
          connection,
          id,
          {
            kind: "message",
            payload: inner.payload,
          },
          payload,
          key,
        );
      case "position": {
        const { recovered = false } = inner.update;
        const item = { kind: "recovery", recovered } as const;
        return this.#pass(connection, id, item, payload);
      }
      case "request":
        dispatcher.refuse(inner.id, UNHANDLED_FAILURE);
        return receiver.skipMessage(payload);
      case "unknown": {
        const update = isMembers(content) ? decodeMembers(content) : undefined;
        if (update) {
          return this.#pass(connection, id, {
            kind: "members",
            update,
          }, payload);
        }
        if (isMembers(content)) break;
        return receiver.skipMessage(payload);
      }
    }
    receiver.protocolError(MALFORMED);
  }

  /** Passes a frame to its channel in its turn. */
  #pass(
    connection: Connection,
    number: number,
    item: ChannelItem,
    frame: Payload,
    key?: string,
  ): void {
    // Numbers belong to a connection. One that is left gets no frames any more.
    const inbox = connection === this.#client.connection
      ? this.#byNumber.get(number)
      : undefined;
    coreOf(connection).dispatcher.acceptTask(
      (pending) => {
        inbox?.receive(item, pending);
        return undefined;
      },
      frame,
      key,
    );
  }
}

/** Whether a frame in a channel is a change of members. */
function isMembers(payload: Payload): boolean {
  return typeof payload === "string" && payload.charAt(1) === "m";
}

const MALFORMED = "A frame of a channel is malformed";
