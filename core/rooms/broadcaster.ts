/**
 * Sends messages to rooms and to all clients: through the message store if there is a
 * history, and to the other servers if there is an adapter.
 *
 * @module
 */

import type { Adapter } from "../cluster/adapter.ts";
import type {
  ClusterAnswer,
  ClusterHost,
  ClusterQuery,
  ClusterTarget,
  SendAnswerPart,
} from "../cluster/cluster_host.ts";
import { ClusterLink } from "../cluster/cluster_link.ts";
import { Presence, type PresenceHost } from "../cluster/presence.ts";
import { groupMembers, isPresenceEntry } from "../cluster/presence_members.ts";
import { Connection, coreOf } from "../connection/connection.ts";
import type { AdapterState, Member } from "../events/event_types.ts";
import { BlobResolver } from "../history/blob_resolver.ts";
import type {
  Broadcast,
  BroadcastBody,
  BroadcastTarget,
} from "../history/envelope.ts";
import type { HistoryOptions } from "../history/history_options.ts";
import { MemoryStore, type StoredMessage } from "../history/message_store.ts";
import { Recovery, refuseResume } from "../history/recovery.ts";
import type { SendOptions } from "../sending/send_queue.ts";
import type { WriterLimits } from "../sending/flow_options.ts";
import type { Codec, Frame } from "../values/codec.ts";
import type { PresenceData, SocketTypes } from "../values/types.ts";
import { ClientIds } from "./client_ids.ts";
import {
  askClients,
  type AudienceReplies,
  ReplyCollector,
  SERVER_SLACK_MS,
} from "./group_request.ts";
import {
  type Audience,
  type AudienceChange,
  createAudience,
  type ExcludedRecipient,
  sendToAll,
} from "./recipients.ts";
import type { PresenceOptions } from "./presence_options.ts";
import {
  ChannelFanOut,
  type ChannelHost,
  type RoomChannels,
} from "./room_channels.ts";
import { Rooms } from "./rooms.ts";

/** The settings of a {@linkcode Broadcaster}. */
export interface BroadcasterOptions<Types extends SocketTypes> {
  /** The live connections of this server; the owner keeps the set up to date. */
  readonly clients: ReadonlySet<Connection<Types>>;
  readonly codec: Codec | undefined;
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
  readonly rooms: Rooms<Connection<Types>>;
  /** The rooms that are channels, if the program uses channels. */
  channels: RoomChannels<Types> | undefined;
  readonly #options: BroadcasterOptions<Types>;
  readonly #host: BroadcasterHost<Types>;
  readonly #presence: Presence<PresenceData<Types>> | undefined;
  /** Data that has replaced what the option `presence` returns. */
  readonly #updates = new WeakMap<
    Connection<Types>,
    { readonly data: PresenceData<Types> }
  >();
  readonly #cluster: ClusterLink | undefined;
  /** The store, unless the broker stores the messages. */
  readonly #memoryStore: MemoryStore | undefined;
  readonly #recovery: Recovery<Types> | undefined;
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
    const name = crypto.randomUUID();
    const clusterHost = this.#createClusterHost();
    const presence = this.#presence = options.presence && new Presence(
      name,
      host,
      (room, text) => this.#cluster?.publishPresence(room, text),
    );
    const linkOptions = { name, maxQueued, history, presence };
    this.#cluster = adapter &&
      new ClusterLink(adapter, linkOptions, clusterHost);
    if (!history) return;
    const store = this.#cluster?.brokerLog ??
      (this.#memoryStore = new MemoryStore(
        history,
        (room) => this.#cluster?.roomClosed(room),
      ));
    this.#recovery = new Recovery(
      store,
      history.maxAge,
      options.writerLimits,
      (error) => host.failed(error, "adapter"),
      (rooms, options) => this.#fanOut(rooms, options),
    );
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

  /** Whether the broker can be reached; undefined without an adapter. */
  get adapterState(): AdapterState | undefined {
    return this.#cluster?.state;
  }

  /** The number of servers in the cluster, including this one. */
  get serverCount(): number {
    return this.#cluster?.registry.size ?? 1;
  }

  /** Counts the clients of all servers, or those in a room. */
  async count(room?: string): Promise<number> {
    const query = { type: "count", ...room !== undefined && { room } } as const;
    const answers = await this.#queryOthers("count", query);
    // This server is asked last, as finding the others takes a while.
    return sumOf([this.#answer(query), ...answers]);
  }

  /** Lists the members of a room on all servers, those of this server first. */
  async members(room: string): Promise<Member<PresenceData<Types>>[]> {
    const presence = this.#presence;
    const versions = presence?.versionsOf(room) ?? {};
    const query = { type: "who", room, versions } as const;
    const answers = await this.#queryOthers("list members", query);
    const entries = [this.#answer({ type: "who", room }), ...answers]
      .flatMap(({ entries = [] }) => entries);
    const all = entries.filter(isPresenceEntry<PresenceData<Types>>);
    for (const { unchanged = [] } of answers) {
      for (const server of unchanged) {
        const known = presence?.entriesOf(room, server);
        // This server has left the room meanwhile.
        if (!known) return await this.members(room);
        all.push(...known);
      }
    }
    return groupMembers(all);
  }

  /**
   * Closes a client of any server.
   *
   * @returns A promise of whether there was such a client.
   */
  async closeById(id: string, code: number, reason: string): Promise<boolean> {
    const query = { type: "close", id, code, reason } as const;
    return await this.#actOnOne("close a connection", query);
  }

  /**
   * Sends a message to a client of any server.
   *
   * @returns A promise of whether there was such a client.
   */
  async sendById(
    id: string,
    frame: Frame,
    options: SendOptions = {},
  ): Promise<boolean> {
    const query = { type: "send", id, options } as const;
    const body = frame instanceof Blob ? await frame.bytes() : frame;
    return await this.#actOnOne("send to a connection", query, body);
  }

  /** Sends a message to the applications of all other servers. */
  async sendToServers(body: BroadcastBody): Promise<void> {
    await this.#cluster?.available("send to servers");
    await this.#cluster?.registry.sendAppMessage(body);
  }

  /**
   * Replaces the public data of a client in all its rooms, also those that it joins later.
   *
   * @throws {Error} If presence is off.
   * @throws {TypeError} If the data cannot be serialized as JSON.
   */
  updatePresence(client: Connection<Types>, data: PresenceData<Types>): void {
    if (!this.#presence) {
      throw new Error(
        'Cannot update the presence of a client without the option "presence"',
      );
    }
    this.#updates.set(client, { data: toPresenceData(data) });
    if (client.readyState !== 1) return;
    for (const room of [...client.rooms]) {
      if (client.rooms.has(room)) this.#track(client, room);
    }
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
      this.#options.codec,
      {
        send: (frame, audience, except, options = {}) => {
          if (rooms?.length === 0) return;
          this.#send(rooms, frame, audience, except, options);
        },
        change: async (change, except) => {
          const target = clusterTarget(rooms, except);
          const query = { ...change, target };
          const own = this.#answer(query); // at once
          const attempt = change.type === "end"
            ? "close connections"
            : `${change.type} rooms`;
          const answers = await this.#queryOthers(attempt, query);
          return sumOf([own, ...answers]);
        },
        request: (frame, except, timeout) =>
          this.#request(frame, clusterTarget(rooms, except), timeout),
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
    return this.#cluster?.brokerLog?.settle(timeout);
  }

  /** Leaves the cluster and stops all timers. It never rejects. */
  async close(): Promise<void> {
    await Promise.all(this.#leaving);
    try {
      await this.#cluster?.close();
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
        if (isNew) this.#cluster?.roomOpened(room);
        if (this.#presence) this.#cluster?.subscribePresence(room);
      },
      joined: (client, room) => {
        this.#recovery?.join(client, room);
        this.#track(client, room);
      },
      left: (client, room) => {
        this.#recovery?.leave(client);
        this.#presence?.leave(room, client.id);
        this.channels?.left(client, room);
      },
      closed: (room) => {
        if (this.#presence) this.#cluster?.unsubscribePresence(room);
        if (this.#memoryStore) this.#memoryStore.roomClosed(room);
        else this.#cluster?.roomClosed(room);
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
      answer: (query, body, sendPart) =>
        this.#answerOther(query, body, sendPart),
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
      this.#cluster?.publish(frame, target, options);
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
    this.#cluster?.publish(body, target, options);
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

  /**
   * Asks all other servers.
   *
   * @param attempt Names what fails if they cannot be asked.
   * @param isEnough Whether no more answers are needed.
   * @returns A promise of the answers. It rejects if there may be other ones.
   */
  async #queryOthers(
    attempt: string,
    query: ClusterQuery,
    body?: BroadcastBody,
    isEnough?: (answer: ClusterAnswer) => boolean,
  ): Promise<readonly ClusterAnswer[]> {
    const cluster = this.#cluster;
    if (!cluster) return [];
    await cluster.available(attempt);
    const answers: ClusterAnswer[] = [];
    const { unanswered } = await cluster.query(attempt, query, {
      ...body !== undefined && { body },
      received: (answer) => {
        answers.push(answer);
        return isEnough?.(answer);
      },
    });
    if (unanswered > 0 && !answers.some((answer) => isEnough?.(answer))) {
      throw new Error(
        `Cannot ${attempt} on all servers: ${unanswered} of ${this.serverCount} have not answered`,
      );
    }
    return answers;
  }

  /** Does something with a client of any server, and tells whether there was one. */
  async #actOnOne(
    attempt: string,
    query: ClusterQuery,
    body?: BroadcastBody,
  ): Promise<boolean> {
    const isFound = ({ number }: ClusterAnswer) => number > 0;
    if (isFound(this.#answer(query, body))) return true;
    const answers = await this.#queryOthers(attempt, query, body, isFound);
    return answers.some(isFound);
  }

  async #request(
    frame: Frame,
    target: ClusterTarget,
    timeout: number,
  ): Promise<AudienceReplies> {
    const attempt = "send a request";
    const body = frame instanceof Blob ? await frame.bytes() : frame;
    await this.#cluster?.available(attempt);
    const collector = new ReplyCollector(this.#options.codec);
    const own = askClients(
      this.#targeted(target),
      body,
      timeout,
      (answer, body) => collector.receive(answer, body),
    );
    const query = { type: "request", target, timeout } as const;
    const others = this.#cluster?.query(attempt, query, {
      body,
      timeout: timeout + SERVER_SLACK_MS,
      received: (answer, body) => collector.receive(answer, body),
    });
    const [missing] = await Promise.all([others, own]);
    return collector.finish(
      (missing?.unanswered ?? 0) + (missing?.lost ?? 0),
    );
  }

  /** Answers a query of another server. */
  #answerOther(
    query: ClusterQuery,
    body: BroadcastBody | undefined,
    sendPart: SendAnswerPart,
  ): ClusterAnswer | Promise<ClusterAnswer> {
    if (query.type === "request") {
      const { target, timeout } = query;
      return askClients(this.#targeted(target), body ?? "", timeout, sendPart)
        .then(() => ({ number: 0 }));
    }
    const answer = this.#answer(query, body);
    // What is sent to the rooms after the answer has to arrive here.
    const subscribed = query.type === "join" && this.#cluster?.subscribed;
    return subscribed ? subscribed.then(() => answer) : answer;
  }

  /** Answers a query for this server alone. */
  #answer(query: ClusterQuery, body: BroadcastBody = ""): ClusterAnswer {
    const { clients } = this.#options;
    switch (query.type) {
      case "count": {
        const { room } = query;
        const group = room === undefined ? clients : this.rooms.membersOf(room);
        return { number: group.size };
      }
      case "who": {
        const { room, versions = {} } = query;
        const group = [...this.rooms.membersOf(room)];
        const unchanged = this.#presence?.unchangedSince(room, versions);
        if (unchanged !== undefined) {
          return { number: group.length, unchanged: [unchanged] };
        }
        const entries = this.#presence?.localEntries(room) ??
          group.map(({ id }) => ({ id, data: null, at: 0 }));
        return { number: group.length, entries };
      }
      case "close": {
        const client = this.#ids.get(query.id);
        if (client?.readyState !== 1) return { number: 0 };
        client.close(query.code, query.reason);
        return { number: 1 };
      }
      case "send": {
        const client = this.#ids.get(query.id);
        const sent = client && coreOf(client).send(body, query.options, false);
        return { number: sent ? 1 : 0 };
      }
      case "join":
      case "leave":
      case "end":
        return this.#change(query);
      case "request":
        return { number: 0 };
    }
  }

  #change(query: AudienceChange & { readonly target: ClusterTarget }) {
    const members = this.#targeted(query.target)
      .filter(({ readyState }) => readyState === 1);
    for (const client of members) {
      if (query.type === "end") client.close(query.code, query.reason);
      else for (const room of query.rooms) client[query.type](room);
    }
    return { number: members.length };
  }

  /** The clients of this server that a query is about. */
  #targeted(
    { rooms, except, exceptIds }: ClusterTarget,
  ): Connection<Types>[] {
    const members = this.rooms.select(this.#groupsOf(rooms), except);
    if (exceptIds.length === 0) return members;
    const excluded = new Set(exceptIds);
    return members.filter(({ id }) => !excluded.has(id));
  }

  /** Makes a client a member of a room that it has joined. */
  #track(client: Connection<Types>, room: string): void {
    const { presence } = this.#options;
    if (!presence || !this.#presence) return;
    try {
      const key = presence.key(client);
      assertKey(key);
      const { data } = this.#updates.get(client) ??
        { data: toPresenceData(presence.data(client)) };
      this.#presence.set(room, client.id, key, data);
    } catch (error) {
      this.#host.failed(error, "presence", client);
    }
  }
}

/** Copies data as other servers receive it. */
function toPresenceData<Data>(data: Data): Data {
  const text: string | undefined = JSON.stringify(data);
  return JSON.parse(text ?? "null");
}

function assertKey(key: string): void {
  if (typeof key === "string" && key !== "") return;
  throw new TypeError(
    `Cannot use the key of a client as "presence.key" returned it: return a string that is not empty: current value is of type ${typeof key}`,
  );
}

function clusterTarget<Types extends SocketTypes>(
  rooms: readonly string[] = [],
  except: readonly ExcludedRecipient<Types>[],
): ClusterTarget {
  return {
    rooms,
    except: except.filter((one) => typeof one === "string"),
    exceptIds: except.filter((one) => one instanceof Connection)
      .map(({ id }) => id),
  };
}

function sumOf(answers: readonly ClusterAnswer[]): number {
  return answers.reduce((sum, { number }) => sum + number, 0);
}
