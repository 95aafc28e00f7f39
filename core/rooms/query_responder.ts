/**
 * Answers the queries of all servers about the clients of this one: counts, lists, closes,
 * moves and asks them, and sends to them.
 *
 * @module
 */

import type {
  ClusterAnswer,
  ClusterQuery,
  ClusterTarget,
  SendAnswerPart,
} from "../cluster/cluster_host.ts";
import type { Presence } from "../cluster/presence.ts";
import { type Connection, coreOf } from "../connection/connection.ts";
import type { BroadcastBody } from "../history/envelope.ts";
import type { PresenceData, SocketTypes } from "../values/types.ts";
import type { ClientIds } from "./client_ids.ts";
import { askClients } from "./group_request.ts";
import type { AudienceChange } from "./recipients.ts";
import type { Rooms } from "./rooms.ts";

/** Answers queries for one server. */
export class QueryResponder<Types extends SocketTypes> {
  /** Describes the server; set by the inspect page. */
  describe: (() => object) | undefined;
  readonly #clients: ReadonlySet<Connection<Types>>;
  readonly #rooms: Rooms<Connection<Types>>;
  readonly #ids: ClientIds<Types>;
  readonly #presence: Presence<PresenceData<Types>> | undefined;

  constructor(
    clients: ReadonlySet<Connection<Types>>,
    rooms: Rooms<Connection<Types>>,
    ids: ClientIds<Types>,
    presence: Presence<PresenceData<Types>> | undefined,
  ) {
    this.#clients = clients;
    this.#rooms = rooms;
    this.#ids = ids;
    this.#presence = presence;
  }

  /** Answers a query of another server, which may take time and have several parts. */
  answerOther(
    query: ClusterQuery,
    body: BroadcastBody | undefined,
    sendPart: SendAnswerPart,
  ): ClusterAnswer | Promise<ClusterAnswer> {
    if (query.type !== "request") return this.answer(query, body);
    const { target, timeout } = query;
    return this.ask(target, body ?? "", timeout, sendPart)
      .then(() => ({ number: 0 }));
  }

  /** Sends a request to clients, and passes their replies on. */
  ask(
    target: ClusterTarget,
    body: BroadcastBody,
    timeout: number,
    sendPart: SendAnswerPart,
  ): Promise<void> {
    return askClients(this.#targeted(target), body, timeout, sendPart);
  }

  /** Answers a query for this server alone. */
  answer(query: ClusterQuery, body: BroadcastBody = ""): ClusterAnswer {
    switch (query.type) {
      case "count": {
        const { room } = query;
        const group = room === undefined
          ? this.#clients
          : this.#rooms.membersOf(room);
        return { number: group.size };
      }
      case "who": {
        const { room, versions = {} } = query;
        const group = [...this.#rooms.membersOf(room)];
        const unchanged = this.#presence?.unchangedSince(room, versions);
        if (unchanged !== undefined) {
          return { number: group.length, unchanged: [unchanged] };
        }
        const entries = this.#presence?.localEntries(room) ??
          group.map(({ id }) => ({ id, data: null, at: 0 }));
        return { number: group.length, entries };
      }
      case "describe":
        return { number: this.#clients.size, description: this.describe?.() };
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
    const groups = rooms.map((room) => this.#rooms.membersOf(room));
    const members = this.#rooms.select(groups, except);
    if (exceptIds.length === 0) return members;
    const excluded = new Set(exceptIds);
    return members.filter(({ id }) => !excluded.has(id));
  }
}
