/**
 * One kind of channels on a server: who may join, and what its members send.
 *
 * @module
 */

import { Message, type MessageAuthor } from "../../message.ts";
import {
  type Connection,
  coreOf,
  type SocketHandlersOptions,
} from "../connection/connection.ts";
import {
  type InvalidMessage,
  rejectInvalid,
  undecodable,
} from "../connection/invalid_messages.ts";
import { readMessage } from "../connection/message_validation.ts";
import { emitMessage, isMessageHeard } from "../connection/typed_messages.ts";
import { Emitter, emitters } from "../events/emitter.ts";
import type { EmitterHooks } from "../events/emitter_internals.ts";
import { eventNames } from "../events/event_names.ts";
import { assertKnown, assertType, optionNames } from "../events/errors.ts";
import { ReceivedEvent } from "../events/event_types.ts";
import type { Payload, RequestFailure } from "../protocol/frames.ts";
import {
  type HandleOptions,
  type RequestHandler,
  RequestHandlers,
} from "../requests/handlers.ts";
import {
  IncomingRequest,
  UNHANDLED_FAILURE,
} from "../requests/incoming_request.ts";
import type { ChannelHost } from "../rooms/room_channels.ts";
import { type StandardSchema, toSchema } from "../values/schema.ts";
import { typeOf } from "../values/type_of.ts";
import type {
  HandledType,
  Incoming,
  Outgoing,
  SocketTypes,
} from "../values/types.ts";
import {
  checkHistoryLimit,
  HISTORY_REQUEST,
  isHistoryRequest,
  readChannelHistory,
} from "./channel_history.ts";
import { ChannelMemberEvent } from "./channel_events.ts";
import { ChannelMember, type JoinRequestInfo } from "./channel_member.ts";
import type {
  ChannelHandler,
  ChannelHandlers,
  ChannelMessage,
  ChannelTypes,
  Snapshot,
  TypedChannelMessages,
} from "./channel_types.ts";

/**
 * Options of {@linkcode ServerChannels.channel}.
 *
 * @typeParam Types The types of the channel.
 * @typeParam Params The type of the parameters.
 * @typeParam ServerTypes The types of the server.
 */
export interface ServerChannelOptions<
  Types extends ChannelTypes,
  Params,
  ServerTypes extends SocketTypes,
> {
  /**
   * Decides whether a client may join. As with `authorize`, only a truthy value admits; it
   * becomes {@linkcode ChannelMember.context}. A `RequestError` refuses with a message and
   * a code that the client can read. Any other error is an `error` event of the server, and
   * the client gets the code `internal`.
   *
   * @param request The client, the parameters, and the data of the client.
   * @returns A truthy value to admit, or a promise of it.
   */
  join(request: JoinRequestInfo<Types, Params, ServerTypes>): unknown;
  /**
   * Returns the snapshot for a new member. It is called when the client is in the room, so
   * that no message is missed: the client gets messages that are sent meanwhile after the
   * snapshot.
   *
   * @param member The new member.
   * @returns The snapshot, or a promise of it.
   */
  snapshot?(
    member: ChannelMember<Types, Params, ServerTypes>,
  ): Snapshot<Types> | PromiseLike<Snapshot<Types>>;
  /**
   * Whether to send the list of members and its changes to all members, with the data that
   * the option `presence` of the server returns. Each change is sent to each member, so
   * use it for channels with at most a few hundred members.
   *
   * @default {false}
   */
  readonly members?: boolean;
  /**
   * How many stored messages members may read at a time by {@linkcode Channel.history}, at
   * most 1,000. The server needs the option `history`. Members read what was sent before
   * they joined, too, but not what was withheld from them. Their requests have the type
   * `history`; there is no other handler for that type then.
   *
   * @default {0}
   */
  readonly history?: number;
  /**
   * Validates messages and requests in the channel, as {@linkcode MessageOptions.schema}
   * does. By default they are not validated.
   */
  readonly schema?: StandardSchema<Incoming<Types>>;
}

const SERVER_CHANNEL_OPTIONS = optionNames<
  ServerChannelOptions<ChannelTypes, unknown, SocketTypes>
>({ join: true, snapshot: true, members: true, history: true, schema: true });

/** The failure of a request of a client that is not in the channel. */
export const GONE: RequestFailure = {
  message: "The client is not in the channel",
  code: "left",
};

/** The context of a message or a request of a member. */
interface ReceivedInChannel {
  /** The id of the request, if it is one. */
  readonly id: number | undefined;
  /** Receives a promise for each listener that has not finished. */
  readonly pending: Promise<unknown>[] | undefined;
  /** Whether the member has left. */
  hasLeft(): boolean;
}

/**
 * The events of a {@linkcode ServerChannel}.
 *
 * @typeParam Types The types of the channel.
 * @typeParam Member The type of a member.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 * import { channels } from "jsr:@ws/events/channels";
 *
 * const server = new ServerSocket();
 * const orders = channels(server).channel("orders/:id", { join: () => true });
 * orders.on("join", ({ client, name }) => console.log(client.id, "joins", name));
 * orders.on("leave", ({ client, name }) => console.log(client.id, "leaves", name));
 * ```
 */
export interface ServerChannelEvents<
  Types extends ChannelTypes,
  Member extends MessageAuthor<Outgoing<Types>>,
> {
  /** A client of this server has joined one of the channels. Listeners get the member. */
  join: { args: [member: Member]; event: ChannelMemberEvent<Member> };
  /**
   * A member has sent a message. Listeners get the message; `message.author` is the
   * member.
   */
  message: {
    args: [message: ChannelMessage<Types, Member>];
    event: ReceivedEvent<ChannelMessage<Types, Member>>;
  };
  /**
   * A member has left, was removed, or its connection has ended. Listeners get the member.
   */
  leave: { args: [member: Member]; event: ChannelMemberEvent<Member> };
}

/** The operations on a channel that only {@linkcode ServerChannels} uses. */
interface ServerChannelInternals {
  create<
    Types extends ChannelTypes,
    Params,
    ServerTypes extends SocketTypes,
  >(
    pattern: string,
    options: ServerChannelOptions<Types, Params, ServerTypes>,
    host: ChannelHost<ServerTypes>,
  ): ServerChannel<Types, Params, ServerTypes>;
  /** Takes a message or a request of a member. */
  receive<
    Types extends ChannelTypes,
    Params,
    ServerTypes extends SocketTypes,
  >(
    channel: ServerChannel<Types, Params, ServerTypes>,
    member: ChannelMember<Types, Params, ServerTypes>,
    payload: Payload,
    received: ReceivedInChannel,
  ): Promise<unknown> | undefined;
}

/** The operations on a channel that only {@linkcode ServerChannels} uses. */
export let serverChannels: ServerChannelInternals;

let serverChannelHooks: EmitterHooks;

/**
 * The channels of a server whose names match one pattern, such as `orders/:id`. It emits
 * `message`, `join` and `leave` for the members that are clients of this server.
 *
 * Each channel is also a room with the same name: `server.to("orders/42").send(...)`
 * reaches its members, on all servers.
 *
 * @typeParam Types The types of the channel.
 * @typeParam Params The type of the parameters.
 * @typeParam ServerTypes The types of the server.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 * import { channels } from "jsr:@ws/events/channels";
 *
 * const server = new ServerSocket();
 * const orders = channels(server).channel("orders/:id", { join: () => true });
 * orders.on("join", ({ name, client }) => console.log(client.id, "joins", name));
 * orders.on("message", ({ author, data }) => {
 *   server.to(author.name).except(author.client).send({ changed: data });
 * });
 * orders.on("leave", ({ name, client }) => console.log(client.id, "leaves", name));
 * ```
 */
export class ServerChannel<
  Types extends ChannelTypes = ChannelTypes,
  Params = Readonly<Record<string, string>>,
  ServerTypes extends SocketTypes = SocketTypes,
> extends Emitter<
  ServerChannelEvents<Types, ChannelMember<Types, Params, ServerTypes>>,
  TypedChannelMessages<Types, ChannelMember<Types, Params, ServerTypes>>
> {
  /** The pattern of the names of the channels, such as `orders/:id`. */
  readonly pattern: string;
  readonly #host: ChannelHost<ServerTypes>;
  readonly #schema: StandardSchema<Incoming<Types>> | undefined;
  /** How many stored messages members may read at a time. */
  readonly #historyLimit: number;
  readonly #handlers = new RequestHandlers<
    Incoming<Types>,
    Outgoing<Types>,
    ChannelMember<Types, Params, ServerTypes>
  >();

  static {
    serverChannelHooks = {
      names: eventNames<
        ServerChannelEvents<ChannelTypes, ChannelMember>
      >({ join: true, message: true, leave: true }),
      failed: (channel: ServerChannel, error, from, subject) =>
        channel.#host.failed(error, from, memberClient(subject)),
    };
    serverChannels = {
      create: (pattern, options, host) =>
        new ServerChannel(pattern, options, host),
      receive: (channel, member, payload, received) =>
        channel.#receive(member, payload, received),
    };
  }

  private constructor(
    pattern: string,
    options: ServerChannelOptions<Types, Params, ServerTypes>,
    host: ChannelHost<ServerTypes>,
  ) {
    super();
    emitters.attach(this, serverChannelHooks);
    assertType("options", options, "object");
    assertKnown("channel()", options, SERVER_CHANNEL_OPTIONS);
    assertType("join", options.join, "function");
    if (options.members && !host.hasPresence) {
      throw new TypeError(
        'Cannot use "members" without the option "presence" of the server, which returns the public data of a member',
      );
    }
    this.pattern = pattern;
    this.#host = host;
    this.#schema = options.schema && toSchema(options.schema);
    this.#historyLimit = checkHistoryLimit(options.history ?? 0);
  }

  /**
   * Registers a handler for requests in the channel whose `data.type` has a given value.
   *
   * @param type The type of the requests.
   * @param handler The handler, as that of {@linkcode Endpoint.handle}.
   * @param options A signal that removes the handler.
   * @returns This channel.
   * @throws {TypeError} If `type` is not a string or the handler is not a function.
   * @throws {Error} If there already is a handler for the type.
   */
  handle<Type extends HandledType<Types>>(
    type: Type,
    handler: ChannelHandler<
      Types,
      Type,
      ChannelMember<Types, Params, ServerTypes>
    >,
    options?: HandleOptions,
  ): this;
  /**
   * Registers the handlers of all types of requests in the contract of the channel: if one
   * is missing, this does not compile. Without a contract, registers handlers of several
   * types, or one handler for all requests without a handler for their type.
   *
   * @param handlers The handlers, as those of {@linkcode Endpoint.handle}.
   * @param options A signal that removes the handlers; not with a contract.
   * @returns This channel.
   * @throws {TypeError} If a handler is not a function.
   * @throws {Error} If there already is a handler for a type.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   * import { channels } from "jsr:@ws/events/channels";
   *
   * const server = new ServerSocket();
   * const orders = channels(server).channel("orders/:id", { join: () => true });
   * orders.handle(({ author, data }) => ({ order: author.params.id, echo: data }));
   * ```
   */
  handle(
    handlers: ChannelHandlers<
      Types,
      ChannelMember<Types, Params, ServerTypes>
    >,
    ...options: SocketHandlersOptions<Types>
  ): this;
  handle<Type extends HandledType<Types>>(
    first:
      | Type
      | ChannelHandlers<Types, ChannelMember<Types, Params, ServerTypes>>,
    second?:
      | ChannelHandler<Types, Type, ChannelMember<Types, Params, ServerTypes>>
      | HandleOptions,
    third?: HandleOptions,
  ): this {
    this.#handlers.add(first, second, third);
    return this;
  }

  #receive(
    member: ChannelMember<Types, Params, ServerTypes>,
    payload: Payload,
    { id, pending, hasLeft }: ReceivedInChannel,
  ): Promise<unknown> | undefined {
    const core = coreOf(member.client);
    const { codec } = core.options;
    const request = id === undefined
      ? undefined
      : new IncomingRequest(id, core.dispatcher);
    const reject = (invalid: InvalidMessage): undefined =>
      this.#reject(member, invalid, request);
    const isOwn = request !== undefined && this.#historyLimit > 0 &&
      isHistoryRequest(payload, codec);
    const value = this.#schema && !isOwn &&
      readMessage(payload, codec, this.#schema);
    if (value && "error" in value) return reject(value);
    const message: ChannelMessage<
      Types,
      ChannelMember<Types, Params, ServerTypes>
    > = new Message(payload, member, undefined, {
      codec,
      ...value && { value },
      ...request && {
        answer: (data: Outgoing<Types>) => request.reply(data),
      },
    });
    if (request) {
      try {
        const { data: _data } = message;
      } catch (error) {
        return reject(undecodable(error));
      }
    }
    const { dispatcher } = core;
    const { gate } = dispatcher;
    if (!gate) return this.#deliver(message, request, pending);
    const kind = request ? "request" : "message";
    return gate.run({ kind, channel: member.name, source: message }, {
      deliver: (pending) => {
        if (!hasLeft()) return this.#deliver(message, request, pending);
        request?.refuse(GONE);
        return undefined;
      },
      drop: (failure) => {
        if (request) request.refuse(failure);
        else dispatcher.dropped++;
      },
    });
  }

  /** Emits a message or calls the handler of a request. */
  #deliver(
    message: ChannelMessage<Types, ChannelMember<Types, Params, ServerTypes>>,
    request: IncomingRequest | undefined,
    pending: Promise<unknown>[] | undefined,
  ): Promise<void> | undefined {
    if (
      request && this.#historyLimit > 0 &&
      typeOf(message.data) === HISTORY_REQUEST
    ) {
      const { author, data } = message;
      return request.run(() =>
        readChannelHistory(this.#host, author, data, this.#historyLimit)
      );
    }
    if (request) {
      let handler: RequestHandler<typeof message> | undefined;
      try {
        handler = this.#handlers.find(message);
      } catch (error) {
        const { author } = message;
        return this.#reject(author, undecodable(error), request);
      }
      const run = handler;
      if (run) return request.run(() => run(message));
      if (!isMessageHeard(this, message)) request.refuse(UNHANDLED_FAILURE);
    }
    emitMessage(this, message, pending);
    return undefined;
  }

  #reject(
    { client }: ChannelMember<Types, Params, ServerTypes>,
    invalid: InvalidMessage,
    request: IncomingRequest | undefined,
  ): undefined {
    this.#host.failed(invalid.error, "message", client);
    rejectInvalid(coreOf(client), invalid, request);
  }
}

/** The client that an event is about, if it is about one. */
function memberClient(subject: unknown): Connection | undefined {
  if (subject instanceof ReceivedEvent) subject = subject.message;
  if (subject instanceof ChannelMemberEvent) subject = subject.member;
  if (subject instanceof Message) subject = subject.author;
  return subject instanceof ChannelMember ? subject.client : undefined;
}
