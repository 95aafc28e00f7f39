/**
 * Sends messages to rooms and to all clients: through the message store if there is a
 * history, and to the other servers if there is an adapter.
 *
 * @module
 */

import type { Adapter } from "../cluster/adapter.ts";
import type { ClusterHost } from "../cluster/cluster_host.ts";
import { ClusterLink } from "../cluster/cluster_link.ts";
import { Presence, type PresenceHost } from "../cluster/presence.ts";
import { Connection } from "../connection/connection.ts";
import type { AdapterState, Member } from "../events/event_types.ts";
import { BlobResolver } from "../history/blob_resolver.ts";
import type { Broadcast, BroadcastTarget } from "../history/envelope.ts";
import type { HistoryOptions } from "../history/history_options.ts";
import {
  MemoryStore,
  type MessageStore,
  type StoredMessage,
} from "../history/message_store.ts";
import type { HistoryPage, HistoryQuery } from "../history/history_query.ts";
import { Recovery, refuseResume } from "../history/recovery.ts";
import type { SendOptions } from "../sending/send_queue.ts";
import type { WriterLimits } from "../sending/flow_options.ts";
import type { Codec, Frame } from "../values/codec.ts";
import type { ConnectionOptions } from "../connection/connection_options.ts";
import type { PresenceData, SocketTypes } from "../values/types.ts";
import { ClientIds } from "./client_ids.ts";
import { ClientPresence } from "./client_presence.ts";
import { ClusterActions, clusterTarget } from "./cluster_actions.ts";
import {
  type Audience,
  createAudience,
  type ExcludedRecipient,
  sendToAll,
} from "./recipients.ts";
import type { PresenceOptions } from "./presence_options.ts";
import { QueryResponder } from "./query_responder.ts";
import {
  ChannelFanOut,
  type ChannelHost,
  type RoomChannels,
} from "./room_channels.ts";
import { readHistory } from "./room_history.ts";
import { Rooms } from "./rooms.ts";

/** The settings of a {@linkcode Broadcaster}. */
export interface BroadcasterOptions<Types extends SocketTypes> {
  /** The live connections of this server; the owner keeps the set up to date. */
  readonly clients: ReadonlySet<Connection<Types>>;
  readonly codec: Codec | undefined;
  /** The schemas of replies by the `type` of the request, if there is a contract. */
  readonly replySchemas: ConnectionOptions<Types>["replySchemas"];
  readonly writerLimits: WriterLimits;
  readonly adapter: Adapter | undefined;
  /** The number of messages to queue for other servers while the broker is down. */
  readonly maxQueued: number;
  /** What to store for clients that reconnect; undefined for nothing. */
  readonly history: Required<HistoryOptions> | undefined;
  /** Describes the members of rooms; undefined if presence is off. */
  readonly presence: Required<PresenceOptions<Types>> | undefined;
}

/** What a {@linkcode Broadcaster} reports to the server. */
export interface BroadcasterHost<Types extends SocketTypes>
  extends
    Pick<ClusterHost, "changed" | "appMessage">,
    PresenceHost<PresenceData<Types>> {
  /**
   * An operation has failed.
   *
   * @param from The part that failed.
   */
  failed(
    error: unknown,
    from: string,
    client?: Connection<Types>,
  ): void;
}

/** The rooms of one server, and everything that is sent to them. */
export class Broadcaster<Types extends SocketTypes>
  implements ChannelHost<Types> {
  /** The name of this server, by which others know it. */
  readonly name: string = crypto.randomUUID();
  readonly rooms: Rooms<Connection<Types>>;
  /** The rooms that are channels, if the program uses channels. */
  channels: RoomChannels<Types> | undefined;
  /** Actions on the clients of all servers. */
  readonly cluster: ClusterActions<Types>;
  readonly #options: BroadcasterOptions<Types>;
  readonly #host: BroadcasterHost<Types>;
  readonly #presence: Presence<PresenceData<Types>> | undefined;
  readonly #clientPresence: ClientPresence<Types> | undefined;
  readonly #link: ClusterLink | undefined;
  readonly #responder: QueryResponder<Types>;
  /** The store, unless the broker stores the messages. */
  readonly #memoryStore: MemoryStore | undefined;
  readonly #recovery: Recovery<Types> | undefined;
  /** Where messages are stored, if they are. */
  readonly #history: MessageStore | undefined;
  readonly #blobs = new BlobResolver();
  readonly #ids: ClientIds<Types>;
  /** Pending departures of clients that were in many rooms. */
  readonly #leaving = new Set<Promise<void>>();
  #missed = 0;

  constructor(
    options: BroadcasterOptions<Types>,
    host: BroadcasterHost<Types>,
  ) {
    const { adapter, maxQueued, history } = options;
    this.#options = options;
    this.#host = host;
    this.#ids = new ClientIds(options.clients);
    this.rooms = this.#createRooms();
    const { name } = this;
    const clusterHost = this.#createClusterHost();
    const presence = this.#presence = options.presence && new Presence(
      name,
      host,
      (room, text) => this.#link?.publishPresence(room, text),
    );
    this.#clientPresence = options.presence && presence && new ClientPresence(
      options.presence,
      presence,
      (error, client) => host.failed(error, "presence", client),
    );
    const linkOptions = { name, maxQueued, history, presence };
    this.#link = adapter &&
      new ClusterLink(adapter, linkOptions, clusterHost);
    this.#responder = new QueryResponder(
      options.clients,
      this.rooms,
      this.#ids,
      presence,
    );
    this.cluster = new ClusterActions(
      this.#responder,
      this.#link,
      presence,
      options.codec,
    );
    if (!history) return;
    const store = this.#link?.brokerLog ??
      (this.#memoryStore = new MemoryStore(
        history,
        (room) => this.#link?.roomClosed(room),
      ));
    this.#history = store;
    this.#recovery = new Recovery(
      store,
      history.maxAge,
      options.writerLimits,
      (error) => host.failed(error, "adapter"),
      (rooms, options) => this.#fanOut(rooms, options),
    );
  }

  /** Reads stored messages of a room. */
  history(
    room: string,
    options: HistoryQuery<Connection<Types>>,
  ): Promise<HistoryPage> {
    const { codec } = this.#options;
    return readHistory(room, options, this.#history, this.#recovery, codec);
  }

  /** See {@linkcode ChannelHost}. */
  get hasPresence(): boolean {
    return this.#presence !== undefined;
  }

  /** See {@linkcode ChannelHost}. */
  join(
    client: Connection<Types>,
    room: string,
    recovered: ((recovered: boolean) => void) | undefined,
  ): void {
    if (recovered) this.#recovery?.watch(client, room, recovered);
    else this.forgo(client, room);
    this.rooms.join(client, room);
    if (recovered && !this.#recovery) recovered(false);
  }

  /** See {@linkcode ChannelHost}. */
  forgo(client: Connection<Types>, room: string): void {
    if (!client.rooms.has(room)) this.#recovery?.forgo(client, room);
  }

  /** See {@linkcode ChannelHost}. */
  membersOf(room: string): readonly Member[] {
    return this.#presence?.membersOf(room) ?? [];
  }

  /** See {@linkcode ChannelHost}. */
  failed(
    error: unknown,
    from: string,
    client: Connection<Types> | undefined,
  ): void {
    this.#host.failed(error, from, client);
  }

  /** The number of messages that other servers will not receive. */
  get missed(): number {
    return this.#missed;
  }

  /** Whether another server of the cluster is known to be lost. */
  isLost(name: string): boolean {
    return this.#link?.registry.isLost(name) ?? true;
  }

  /** Whether the broker can be reached; undefined without an adapter. */
  get adapterState(): AdapterState | undefined {
    return this.#link?.state;
  }

  /** The number of servers in the cluster, including this one. */
  get serverCount(): number {
    return this.#link?.registry.size ?? 1;
  }

  /**
   * Replaces the public data of a client in all its rooms, also those that it joins later.
   *
   * @throws {Error} If presence is off.
   * @throws {TypeError} If the data cannot be serialized as JSON.
   */
  updatePresence(client: Connection<Types>, data: PresenceData<Types>): void {
    if (!this.#clientPresence) {
      throw new Error(
        'Cannot update the presence of a client without the option "presence"',
      );
    }
    this.#clientPresence.update(client, data);
  }

  /**
   * Selects recipients.
   *
   * @param rooms The rooms whose members are recipients; undefined for all clients.
   */
  audience(
    rooms: readonly string[] | undefined,
    except: readonly ExcludedRecipient<Types>[],
  ): Audience<Types> {
    return createAudience(
      this.rooms,
      () => this.#groupsOf(rooms),
      except,
      this.#options,
      {
        send: (frame, audience, except, options = {}) => {
          if (rooms?.length === 0) return;
          this.#send(rooms, frame, audience, except, options);
        },
        change: (change, except) =>
          this.cluster.change(change, clusterTarget(rooms, except)),
        request: (frame, except, timeout) =>
          this.cluster.request(frame, clusterTarget(rooms, except), timeout),
      },
    );
  }

  /** Call this before the `connect` listeners of a client. */
  clientConnected(client: Connection<Types>): void {
    this.#ids.add(client);
    if (this.#recovery) this.#recovery.clientConnected(client);
    else refuseResume(client);
  }

  /**
   * Call this after the `connect` listeners of a client.
   *
   * @param pending Promises of listeners that have not finished; they never reject.
   */
  recover(
    client: Connection<Types>,
    pending: readonly Promise<unknown>[],
  ): void {
    this.#recovery?.recover(client, pending);
  }

  /** Call this when a client has ended. It leaves all its rooms. */
  clientEnded(client: Connection<Types>): void {
    this.#ids.delete(client);
    this.#recovery?.clientEnded(client);
    const leaving = this.rooms.leaveAll(client);
    if (leaving === undefined) return;
    this.#leaving.add(leaving);
    leaving.then(() => this.#leaving.delete(leaving));
  }

  /**
   * Waits until every message that was sent has been delivered to the local clients,
   * including messages that have to come back from a broker.
   *
   * @returns A promise; undefined if there is nothing to wait for.
   */
  settle(timeout: number): Promise<void> | undefined {
    return this.#link?.brokerLog?.settle(timeout);
  }

  /** Leaves the cluster and stops all timers. It never rejects. */
  async close(): Promise<void> {
    await Promise.all(this.#leaving);
    try {
      await this.#link?.close();
    } catch (error) {
      this.#host.failed(error, "adapter");
    }
    this.#presence?.stop();
    this.#memoryStore?.stop();
  }

  #createRooms(): Rooms<Connection<Types>> {
    return new Rooms({
      opened: (room) => {
        // The link is still subscribed to a room that the store remembers.
        const isNew = this.#memoryStore?.roomOpened(room) ?? true;
        if (isNew) this.#link?.roomOpened(room);
        if (this.#presence) this.#link?.subscribePresence(room);
      },
      joined: (client, room) => {
        this.#recovery?.join(client, room);
        this.#clientPresence?.track(client, room);
      },
      left: (client, room) => {
        this.#recovery?.leave(client);
        this.#presence?.leave(room, client.id);
        this.channels?.left(client, room);
      },
      closed: (room) => {
        if (this.#presence) this.#link?.unsubscribePresence(room);
        if (this.#memoryStore) this.#memoryStore.roomClosed(room);
        else this.#link?.roomClosed(room);
      },
    });
  }

  #createClusterHost(): ClusterHost {
    const host = this.#host;
    return {
      deliver: (broadcast, offset) => this.#receive(broadcast, offset),
      sendPositions: (room, recovered) => {
        const { clients } = this.#options;
        const group = room === undefined ? clients : this.rooms.membersOf(room);
        for (const client of group) {
          this.#recovery?.sendPosition(client, recovered);
        }
      },
      answer: (query, body, sendPart) => {
        const answer = this.#responder.answerOther(query, body, sendPart);
        // Messages sent to the rooms after the answer must arrive here.
        const subscribed = query.type === "join" && this.#link?.subscribed;
        return subscribed ? subscribed.then(() => answer) : answer;
      },
      appMessage: (body) => host.appMessage(body),
      messageMissed: () => this.#missed++,
      changed: (state, error) => host.changed(state, error),
      failed: (error) => host.failed(error, "adapter"),
    };
  }

  #send(
    rooms: readonly string[] | undefined,
    frame: Frame,
    audience: Audience<Types>,
    except: readonly ExcludedRecipient<Types>[],
    options: SendOptions,
  ): void {
    const target: BroadcastTarget = {
      ...rooms && { rooms },
      except: except.filter((one) => typeof one === "string"),
    };
    const recovery = options.volatile ? undefined : this.#recovery;
    if (!recovery) {
      sendToAll(audience.members, frame, options, this.#fanOut(rooms, options));
      this.#link?.publish(frame, target, options);
      return;
    }
    const without = except.filter((one) => one instanceof Connection)
      .map((one) => recovery.recipientId(one));
    this.#blobs.resolve(
      frame,
      (body) => this.#store({ target: { ...target, without }, body, options }),
      (error) => this.#host.failed(error, "send"),
    );
  }

  /** Stores a message in memory, or lets the broker store and return it. */
  #store(broadcast: Broadcast): void {
    const { target, body, options } = broadcast;
    if (this.#memoryStore) this.#deliver(this.#memoryStore.add(broadcast));
    this.#link?.publish(body, target, options);
  }

  /** Handles a message from another server, or from the broker's log. */
  #receive(broadcast: Broadcast, offset: number | undefined): void {
    const { target, body, options } = broadcast;
    if (!options.volatile) {
      if (offset !== undefined) return this.#deliver({ ...broadcast, offset });
      if (this.#memoryStore) {
        return this.#deliver(this.#memoryStore.add(broadcast));
      }
    }
    const fanOut = this.#fanOut(target.rooms, options);
    sendToAll(this.#membersOf(target), body, options, fanOut);
  }

  #deliver(message: StoredMessage): void {
    // Excluded members take part, as their position moves on.
    const target = { ...message.target, except: [] };
    this.#recovery?.deliver(this.#membersOf(target), message);
  }

  /** Sends a message to rooms that some clients have joined as channels. */
  #fanOut(
    rooms: readonly string[] | undefined,
    options: SendOptions,
  ): ChannelFanOut<Types> | undefined {
    return this.channels && rooms &&
      new ChannelFanOut(this.channels, rooms, options);
  }

  #membersOf({ rooms, except }: BroadcastTarget): Connection<Types>[] {
    return this.rooms.select(this.#groupsOf(rooms), except);
  }

  #groupsOf(
    rooms: readonly string[] | undefined,
  ): ReadonlySet<Connection<Types>>[] {
    return rooms?.map((room) => this.rooms.membersOf(room)) ??
      [this.#options.clients];
  }
}
