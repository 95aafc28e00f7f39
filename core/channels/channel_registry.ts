/**
 * The channels of a server: which client has joined which, and the frames between them.
 *
 * @module
 */

import { type Connection, coreOf } from "../connection/connection.ts";
import {
  assertKnown,
  assertSize,
  assertType,
  ConnectionEndedError,
  ignoreRejection,
  isThenable,
  optionNames,
  RequestError,
} from "../events/errors.ts";
import type { Member } from "../events/event_types.ts";
import {
  type ChannelMemberInfo,
  decodeChannelFrame,
  encodeInChannel,
  encodeLeave,
  encodeMembers,
  encodeRecovered,
  type JoinRequest,
  type MembersUpdate,
} from "../protocol/channel_frames.ts";
import { decodeFrame } from "../protocol/frame_decoder.ts";
import {
  escapeFrame,
  isMarked,
  type Payload,
  type RequestFailure,
} from "../protocol/frames.ts";
import {
  IncomingRequest,
  INTERNAL_FAILURE,
} from "../requests/incoming_request.ts";
import {
  type ChannelHost,
  channelHostOf,
  type RoomChannels,
} from "../rooms/room_channels.ts";
import { assertRoom } from "../rooms/rooms.ts";
import { assertSendOptions, type SendOptions } from "../sending/send_queue.ts";
import { encodeWith, type Frame } from "../values/codec.ts";
import type { CheckedTypes, SocketTypes } from "../values/types.ts";
import type { ServerSocket } from "../../server.ts";
import {
  admit,
  type AdmittedMember,
  type ChannelRoute,
} from "./channel_admission.ts";
import type { MemberLink } from "./channel_member.ts";
import { type ChannelParams, ChannelPattern } from "./channel_pattern.ts";
import type { ChannelTypes } from "./channel_types.ts";
import { type Membership, Memberships } from "./memberships.ts";
import {
  GONE,
  type ServerChannel,
  type ServerChannelOptions,
  serverChannels,
} from "./server_channel.ts";

/** Options of {@linkcode channels}. */
export interface ChannelsOptions {
  /**
   * How many channels a client may be in or ask for at a time. More are refused with the
   * code `limit`.
   *
   * @default {100}
   */
  readonly maxPerClient?: number;
}

const CHANNELS_OPTIONS = optionNames<ChannelsOptions>({ maxPerClient: true });

/**
 * The channels of a server, which {@linkcode channels} returns.
 *
 * @typeParam ServerTypes The types of the server.
 */
export interface ServerChannels<ServerTypes extends SocketTypes = SocketTypes> {
  /**
   * Defines the channels whose names match a pattern. Of several patterns that match a
   * name, the one that was defined first counts.
   *
   * @typeParam Types The types of the channel.
   * @typeParam Pattern The pattern.
   * @param pattern The pattern: segments between slashes, where `:id` matches any one
   * segment that is encoded with `encodeURIComponent`.
   * @param options The options: `join` decides who may join.
   * @returns The channels. They emit the messages of their members.
   * @throws {TypeError} If the pattern or an option is invalid.
   * @throws {Error} If the same pattern was defined before.
   *
   * @example
   * ```ts
   * import { RequestError, ServerSocket } from "jsr:@ws/events";
   * import { channels } from "jsr:@ws/events/channels";
   *
   * const stock = new Map([["apples", 3]]);
   * const server = new ServerSocket<{ context: { shops: string[] } }>();
   * const shops = channels(server).channel("shops/:id", {
   *   join({ client, params }) {
   *     if (client.context.shops.includes(params.id)) return true;
   *     throw new RequestError("This is not your shop", "forbidden");
   *   },
   *   snapshot: () => Object.fromEntries(stock),
   * });
   * shops.on("message", ({ author, data }) => {
   *   server.to(author.name).except(author.client).send({ changed: data });
   * });
   * ```
   */
  channel<
    Types extends ChannelTypes = ChannelTypes,
    const Pattern extends string = string,
  >(
    pattern: Pattern,
    options: ServerChannelOptions<Types, ChannelParams<Pattern>, ServerTypes>,
  ): ServerChannel<Types, ChannelParams<Pattern>, ServerTypes>;
}

/**
 * Lets clients join channels of a server.
 *
 * A channel is a room that clients ask to join. The server decides who may, and answers
 * with a snapshot; `server.to(name).send(...)` reaches the members, through adapters, too.
 * A client that does not support `events.v1` cannot join.
 *
 * @typeParam ServerTypes The types of the server.
 * @param server The server.
 * @param options The limits.
 * @returns The channels of the server.
 * @throws {TypeError} If the server is not a `ServerSocket`, or an option is invalid.
 * @throws {RangeError} If a limit is negative or `NaN`.
 * @throws {Error} If the server has channels already.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 * import { channels } from "jsr:@ws/events/channels";
 *
 * const server = new ServerSocket();
 * const live = channels(server);
 * live.channel("orders/:id", { join: ({ params }) => params.id !== "0" });
 * server.to("orders/42").send({ status: "sent" });
 * ```
 */
export function channels<ServerTypes extends CheckedTypes<ServerTypes>>(
  server: ServerSocket<ServerTypes>,
  options: ChannelsOptions = {},
): ServerChannels<ServerTypes> {
  const host = channelHostOf(server);
  if (host === undefined) {
    throw new TypeError(
      "Cannot use channels on something other than a ServerSocket: clients call channel()",
    );
  }
  assertType("options", options, "object");
  assertKnown("channels()", options, CHANNELS_OPTIONS);
  const { maxPerClient = 100 } = options;
  assertSize("maxPerClient", maxPerClient);
  if (host.channels) {
    throw new Error(
      "Cannot call channels() twice for one server: keep what it returned",
    );
  }
  return new ChannelRegistry(server, host, maxPerClient);
}

class ChannelRegistry<ServerTypes extends CheckedTypes<ServerTypes>>
  implements ServerChannels<ServerTypes>, RoomChannels<ServerTypes> {
  readonly #server: ServerSocket<ServerTypes>;
  readonly #host: ChannelHost<ServerTypes>;
  readonly #maxPerClient: number;
  readonly #routes: ChannelRoute<ServerTypes>[] = [];
  readonly #clients = new WeakMap<Connection<ServerTypes>, Memberships>();
  #sharesMembers = false;

  constructor(
    server: ServerSocket<ServerTypes>,
    host: ChannelHost<ServerTypes>,
    maxPerClient: number,
  ) {
    this.#server = server;
    this.#host = host;
    this.#maxPerClient = maxPerClient;
    host.channels = this;
    for (const client of server.clients) this.#attach(client);
    server.on("connect", (client) => this.#attach(client));
  }

  channel<
    Types extends ChannelTypes = ChannelTypes,
    const Pattern extends string = string,
  >(
    pattern: Pattern,
    options: ServerChannelOptions<Types, ChannelParams<Pattern>, ServerTypes>,
  ): ServerChannel<Types, ChannelParams<Pattern>, ServerTypes> {
    const parsed = new ChannelPattern(pattern);
    const channel = serverChannels.create(pattern, options, this.#host);
    if (this.#routes.some((route) => route.pattern.shape === parsed.shape)) {
      throw new Error(
        `Cannot define the channel "${pattern}" twice: add a listener to the first one`,
      );
    }
    const { members = false } = options;
    if (members) this.#shareMembers();
    const matches = (
      params: Readonly<Record<string, string>>,
    ): params is ChannelParams<Pattern> => parsed.has(params);
    this.#routes.push({
      pattern: parsed,
      admit: (request) => admit(channel, options, matches, request, members),
    });
    return channel;
  }

  /** See {@linkcode RoomChannels}. */
  numberOf(
    client: Connection<ServerTypes>,
    rooms: readonly string[],
  ): number | undefined {
    const own = this.#clients.get(client);
    if (own === undefined) return undefined;
    for (const room of rooms) {
      const membership = own.named(room);
      if (membership?.joined) return membership.number;
    }
    return undefined;
  }

  /** See {@linkcode RoomChannels}. */
  left(client: Connection<ServerTypes>, room: string): void {
    const own = this.#clients.get(client);
    const membership = own?.named(room);
    if (!own || !membership?.joined) return;
    own.delete(membership);
    if (!membership.isOver) {
      coreOf(client).sendMarked(
        encodeLeave(membership.number, membership.removal),
      );
    }
    membership.isOver = true;
    membership.joined.left();
  }

  #attach(client: Connection<ServerTypes>): void {
    coreOf(client).receiver.extension = (client, payload, key) =>
      this.#receive(client, payload, key);
  }

  #channelsOf(client: Connection<ServerTypes>): Memberships {
    let own = this.#clients.get(client);
    if (own === undefined) {
      own = new Memberships();
      this.#clients.set(client, own);
    }
    return own;
  }

  #receive(
    client: Connection<ServerTypes>,
    payload: Payload,
    key: string | undefined,
  ): void {
    const { dispatcher, receiver } = coreOf(client);
    const frame = decodeChannelFrame(payload);
    if (frame === undefined) {
      return receiver.protocolError("A frame of a channel is malformed");
    }
    const isMessage = frame.kind === "inner" && !isMarked(frame.payload);
    dispatcher.acceptTask(
      (pending) => {
        switch (frame.kind) {
          case "join":
            return this.#receiveJoin(client, frame.id, frame.join);
          case "leave":
            return this.#leave(client, frame.id);
          case "inner":
            return this.#receiveInner(client, frame.id, frame.payload, pending);
        }
      },
      payload,
      isMessage ? key : undefined,
    );
  }

  /** Runs the hooks of the server around a request to join. */
  #receiveJoin(
    client: Connection<ServerTypes>,
    number: number,
    join: JoinRequest,
  ): Promise<unknown> | undefined {
    const { dispatcher } = coreOf(client);
    const { gate } = dispatcher;
    if (!gate) return this.#join(client, number, join);
    return gate.run({
      kind: "join",
      channel: join.name,
      source: { data: join.data },
    }, {
      deliver: () => this.#join(client, number, join),
      drop: (failure) => {
        new IncomingRequest(number, dispatcher).refuse(failure);
        this.#host.forgo(client, join.name);
      },
    });
  }

  /** Handles a message or a request in a channel. */
  #receiveInner(
    client: Connection<ServerTypes>,
    number: number,
    payload: Payload,
    pending: Promise<unknown>[] | undefined,
  ): Promise<unknown> | undefined {
    const { dispatcher, receiver } = coreOf(client);
    const joined = this.#clients.get(client)?.numbered(number)?.joined;
    if (!isMarked(payload)) return joined?.receive(payload, undefined, pending);
    const inner = decodeFrame(payload);
    switch (inner?.kind) {
      case "message":
        return joined?.receive(inner.payload, undefined, pending);
      case "request":
        if (joined) return joined.receive(inner.payload, inner.id, pending);
        dispatcher.refuse(inner.id, GONE);
        return undefined;
      case "unknown":
        return undefined;
    }
    receiver.protocolError("A frame in a channel is malformed");
    return undefined;
  }

  #leave(client: Connection<ServerTypes>, number: number): undefined {
    const own = this.#clients.get(client);
    const membership = own?.numbered(number);
    if (!own || !membership) return;
    membership.isOver = true;
    if (membership.joined) client.leave(membership.name);
    else own.delete(membership);
  }

  #join(
    client: Connection<ServerTypes>,
    number: number,
    { name, data, isRejoin }: JoinRequest,
  ): Promise<void> | undefined {
    const { dispatcher } = coreOf(client);
    const own = this.#channelsOf(client);
    const request = new IncomingRequest(number, dispatcher);
    const refuse = (failure: RequestFailure): undefined => {
      request.refuse(failure);
      this.#host.forgo(client, name);
    };
    const invalid = refusalOfName(name);
    if (invalid) return refuse(invalid);
    if (own.size >= this.#maxPerClient) {
      return refuse({
        message: `A client may be in at most ${this.#maxPerClient} channels`,
        code: "limit",
      });
    }
    if (own.named(name) || own.numbered(number)) {
      request.refuse({
        message: "The client is in the channel already",
        code: "joined",
      });
      return undefined;
    }
    const [route, params] = this.#find(name);
    if (!route || !params) {
      return refuse({ message: "There is no such channel", code: "unknown" });
    }
    const membership = own.add(number, name);
    const fail = (error: unknown): void => {
      if (!membership.isOver) own.delete(membership);
      membership.isOver = true;
      refuse(this.#failureFor(error, client));
    };
    const enter = (admitted: AdmittedMember) =>
      this.#enter(client, membership, admitted, isRejoin, request);
    try {
      const link = this.#linkOf(client, membership);
      const admitted = route.admit({ client, name, params, data, link });
      const done = isThenable(admitted)
        ? Promise.resolve(admitted).then(enter)
        : enter(admitted);
      return done?.catch(fail);
    } catch (error) {
      fail(error);
      return undefined;
    }
  }

  /** Lets an admitted client into the room, and answers with the snapshot. */
  #enter(
    client: Connection<ServerTypes>,
    membership: Membership,
    { joined, enter }: AdmittedMember,
    isRejoin: boolean,
    request: IncomingRequest,
  ): Promise<void> | undefined {
    const { name, number } = membership;
    // The client has left or disconnected meanwhile, and expects no answer.
    if (membership.isOver || client.readyState !== 1) {
      return void this.#host.forgo(client, name);
    }
    membership.joined = joined;
    const recovered = (value: boolean) => {
      if (membership.isOver) return;
      this.#send(client, number, encodeRecovered(value));
    };
    this.#host.join(client, name, isRejoin ? recovered : undefined);
    // A listener of the server has removed it.
    if (membership.isOver) return undefined;
    if (joined.hasMembers) {
      const members = this.#host.membersOf(name).map(infoOf);
      this.#send(client, number, encodeMembers({ members }));
    }
    const answer = (snapshot: unknown) => {
      if (!membership.isOver) request.reply(snapshot ?? null);
    };
    const failed = (error: unknown): void => {
      request.refuse(this.#failureFor(error, client));
      membership.isOver = true; // the answer tells it
      client.leave(name);
    };
    try {
      const snapshot = enter();
      if (!isThenable(snapshot)) answer(snapshot);
      else return Promise.resolve(snapshot).then(answer).catch(failed);
    } catch (error) {
      failed(error);
    }
    return undefined;
  }

  #linkOf(
    client: Connection<ServerTypes>,
    membership: Membership,
  ): MemberLink {
    return {
      send: (data, options) => {
        if (options !== undefined) assertSendOptions(options);
        const frame = encodeWith(data, coreOf(client).options.codec);
        const sent = membership.isOver
          ? undefined
          : this.#send(client, membership.number, escapeFrame(frame), options);
        return sent ?? ignoreRejection(
          Promise.reject(
            new ConnectionEndedError(
              `Cannot send in the channel "${membership.name}" as the client has left it`,
            ),
          ),
        );
      },
      remove: (code, message) => {
        if (membership.isOver) return;
        membership.removal = { message, code };
        client.leave(membership.name);
      },
    };
  }

  #send(
    client: Connection<ServerTypes>,
    number: number,
    frame: Frame,
    options?: SendOptions,
  ): Promise<void> | undefined {
    return coreOf(client).sendMarked(
      encodeInChannel(number, frame),
      options && { ...options, key: `${number} ${options.key ?? ""}` },
    );
  }

  /** Returns the failure that the client gets for an error of the application. */
  #failureFor(
    error: unknown,
    client: Connection<ServerTypes>,
  ): RequestFailure {
    if (error instanceof RequestError) {
      const { message, code } = error;
      return code === undefined ? { message } : { message, code };
    }
    this.#host.failed(error, "join", client);
    return INTERNAL_FAILURE;
  }

  #find(
    name: string,
  ): [ChannelRoute<ServerTypes>, Readonly<Record<string, string>>] | [] {
    for (const route of this.#routes) {
      const params = route.pattern.match(name);
      if (params) return [route, params];
    }
    return [];
  }

  /** Sends changes of members to the members of channels that share them. */
  #shareMembers(): void {
    if (this.#sharesMembers) return;
    this.#sharesMembers = true;
    const server = this.#server;
    server.on("join", (member, room) => {
      this.#tell(room, { join: infoOf(member) });
    });
    server.on("update", (member, room) => {
      this.#tell(room, { update: infoOf(member) });
    });
    server.on("leave", (member, room) => {
      this.#tell(room, { leave: infoOf(member) });
    });
  }

  #tell(room: string, update: MembersUpdate): void {
    const clients = this.#server.rooms.get(room);
    if (clients === undefined) return;
    const frame = encodeMembers(update);
    for (const client of clients) {
      const membership = this.#clients.get(client)?.named(room);
      if (!membership?.joined?.hasMembers) continue;
      this.#send(client, membership.number, frame);
    }
  }
}

/** Why a name cannot be that of a room; undefined if it can. */
function refusalOfName(name: string): RequestFailure | undefined {
  try {
    assertRoom("join", name);
    return undefined;
  } catch (error) {
    const message = error instanceof Error ? error.message : "Invalid name";
    return { message, code: "invalid" };
  }
}

/** Returns the part of a member that other members get. */
function infoOf({ key, data }: Member): ChannelMemberInfo {
  return { key, data };
}
