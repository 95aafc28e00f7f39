/**
 * What the page shows: a record of what has happened to a server, and a view of what
 * is.
 *
 * @module
 */

import type { Connection, ServerSocket, SocketTypes } from "../server.ts";
import { urlOf } from "../core/admission/admission.ts";
import type { ConnectionEnd } from "../core/events/errors.ts";
import { startTimer, type Timer } from "../core/util/timer.ts";
import { FIELDS, SLICE_MS, type Traffic, TrafficHistory } from "./history.ts";

/** How many ends, and how many refusals, are remembered. */
const MAX_REMEMBERED = 100;

/** How many rooms are listed, the largest first. */
const MAX_SHOWN_ROOMS = 100;

/** How many rooms of one connection are listed. */
const MAX_ROOMS_PER_CLIENT = 10;

/** How many connections are listed at a time, at most. */
const MAX_ROWS = 100;

/** How much of a text that a peer may have chosen is shown. */
const MAX_TEXT_LENGTH = 200;

/** How an order is made: by what, of each connection. */
const SORT_KEYS = {
  address: (one: ListedClient) => one.remoteAddress,
  path: (one: ListedClient) => one.path,
  rooms: (one: ListedClient) => one.rooms.size,
  received: (one: ListedClient) => one.traffic.received.bytes,
  sent: (one: ListedClient) => one.traffic.sent.bytes,
  buffered: (one: ListedClient) => one.bufferedAmount,
};

/** What is listed of a connection, whatever it carries. */
type ListedClient = Pick<
  Connection,
  | "id"
  | "remoteAddress"
  | "path"
  | "protocol"
  | "speaksEvents"
  | "connectedAt"
  | "readyState"
  | "bufferedAmount"
  | "rooms"
  | "traffic"
>;

/** A part of a list, and how long the whole is. */
interface ListPage<T> {
  readonly total: number;
  readonly rows: readonly T[];
}

/** What somebody wants to see. */
export interface Query {
  /** Only connections of which an id, address, path, subprotocol or room has this text. */
  readonly search: string;
  /** Only connections in this room. */
  readonly room: string | undefined;
  /** The order: by the name of an order, or by age; undefined is none. */
  readonly order: keyof typeof SORT_KEYS | "age";
  /** Whether the largest come first. */
  readonly isDescending: boolean;
  /** How many to pass over. */
  readonly offset: number;
  /** How many to list. */
  readonly limit: number;
}

/**
 * Reads what somebody wants to see.
 *
 * @param params The parameters of a URL.
 * @returns The query.
 * @throws {RangeError} If a parameter has no meaning.
 */
export function parseQuery(params: URLSearchParams): Query {
  const sort = params.get("sort") ?? "age";
  const order = sort.replace(/^-/, "");
  if (!isSortKey(order)) {
    const names = [...Object.keys(SORT_KEYS), "age"].join(", ");
    throw new RangeError(
      `Cannot sort by "${order}": use one of ${names}, with a - for the largest first`,
    );
  }
  return {
    search: params.get("search")?.toLowerCase() ?? "",
    room: params.get("room") ?? undefined,
    order,
    isDescending: sort !== order,
    offset: parseCount(params, "offset", 0),
    limit: Math.min(parseCount(params, "limit", 50), MAX_ROWS),
  };
}

function isSortKey(name: string): name is Query["order"] {
  return name === "age" || Object.hasOwn(SORT_KEYS, name);
}

function parseCount(
  params: URLSearchParams,
  name: string,
  fallback: number,
): number {
  const text = params.get(name);
  if (text === null) return fallback;
  if (!/^\d{1,9}$/.test(text)) {
    throw new RangeError(
      `Cannot use "${text}" as "${name}": write a whole number`,
    );
  }
  return Number(text);
}

/** Records what happens to a server, for as long as that lives. */
export class InspectedServer<Types extends SocketTypes> {
  readonly #server: ServerSocket<Types>;
  readonly #history: TrafficHistory;
  readonly #ends: object[] = [];
  readonly #refusals: object[] = [];
  /** What connections have carried that have ended. */
  readonly #endedTotals = {
    messagesReceived: 0,
    bytesReceived: 0,
    messagesSent: 0,
    bytesSent: 0,
  };
  #timer: Timer | undefined;

  /**
   * Begins to record.
   *
   * @param server The server.
   */
  constructor(server: ServerSocket<Types>) {
    this.#server = server;
    this.#history = new TrafficHistory(
      performance.now(),
      server.clients.size,
      () => this.#totalTraffic(),
    );
    server.on("connect", () => {
      this.#history.count("connects", performance.now());
      this.#advanceHistory();
    });
    for (const type of ["close", "disconnect"] as const) {
      server.on(type, (client, code, reason, cause) => {
        this.#ended(client, { type, code, reason, cause });
      });
    }
    server.on("refused", (request, status, reason, remoteAddress) => {
      this.#history.count("refusals", performance.now());
      pushBounded(this.#refusals, {
        time: Date.now(),
        status,
        reason: truncate(reason),
        method: truncate(request.method),
        path: truncate(urlOf(request)?.pathname ?? ""),
        remoteAddress: truncate(remoteAddress),
      });
    });
    this.#advanceHistory();
  }

  /**
   * What somebody wants to see, as JSON can hold it.
   *
   * @param query What that is.
   * @returns The state.
   */
  snapshot(query: Query): object {
    const history = this.#history;
    history.advance(performance.now());
    const columns = FIELDS.map((field) =>
      [field, history.slices.map((slice) => slice[field])] as const
    );
    const time = Date.now();
    return {
      time,
      rates: history.rates,
      history: { every: SLICE_MS, ...Object.fromEntries(columns) },
      connections: this.#listClients(query, time),
      rooms: this.#listRooms(),
      ends: this.#ends.toReversed(),
      refusals: this.#refusals.toReversed(),
    };
  }

  /**
   * Closes a connection.
   *
   * @param id Its id.
   * @returns Whether there is one.
   */
  close(id: string): boolean {
    for (const client of this.#server.clients) {
      if (client.id !== id) continue;
      client.close(1000, "Closed by hand");
      return true;
    }
    return false;
  }

  /**
   * Sees to it that a slice is closed when it is over. That takes a timer only as long
   * as there are connections, which keep the process alive anyway; it stops with the
   * last of them, and so with the server.
   */
  #advanceHistory(): void {
    if (this.#timer !== undefined || this.#server.clients.size === 0) return;
    const delay = this.#history.advance(performance.now());
    this.#timer = startTimer(() => {
      this.#timer = undefined;
      this.#advanceHistory();
    }, delay);
  }

  #ended(client: Connection<Types>, end: ConnectionEnd): void {
    const now = performance.now();
    const { received, sent } = client.traffic;
    this.#endedTotals.messagesReceived += received.messages;
    this.#endedTotals.bytesReceived += received.bytes;
    this.#endedTotals.messagesSent += sent.messages;
    this.#endedTotals.bytesSent += sent.bytes;
    this.#history.count("ends", now);
    if (this.#server.clients.size === 0) {
      this.#history.settle();
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
    const time = Date.now();
    pushBounded(this.#ends, {
      time,
      ...end,
      reason: truncate(end.reason),
      id: client.id,
      remoteAddress: truncate(client.remoteAddress),
      path: truncate(client.path),
      age: time - client.connectedAt.getTime(),
    });
  }

  /** What all connections have carried, those that have ended too. */
  #totalTraffic(): Traffic {
    const sum = { ...this.#endedTotals };
    for (const { traffic: { received, sent } } of this.#server.clients) {
      sum.messagesReceived += received.messages;
      sum.bytesReceived += received.bytes;
      sum.messagesSent += sent.messages;
      sum.bytesSent += sent.bytes;
    }
    return sum;
  }

  #listClients(
    query: Query,
    now: number,
  ): ListPage<object> & { readonly matching: number } {
    const { clients, rooms } = this.#server;
    const { room, search, order, isDescending, offset, limit } = query;
    const group: Iterable<ListedClient> = room === undefined
      ? clients
      : rooms.get(room) ?? [];
    let all = [...group];
    if (search !== "") all = all.filter((one) => matchesSearch(one, search));
    // They are in the order in which they came: the first is the oldest.
    if (order !== "age") all = sortBy(all, SORT_KEYS[order]);
    if (isDescending !== (order === "age")) all.reverse();
    return {
      total: clients.size,
      matching: all.length,
      rows: all.slice(offset, offset + limit).map((one) => toRow(one, now)),
    };
  }

  #listRooms(): ListPage<object> {
    const { rooms } = this.#server;
    const sizes = Array.from(rooms, ([room, { size }]) => ({ room, size }));
    return {
      total: sizes.length,
      rows: sizes.sort((a, b) => b.size - a.size).slice(0, MAX_SHOWN_ROOMS)
        .map(({ room, size }) => ({ room: truncate(room), size })),
    };
  }
}

/** Sorts by a value of each that is asked for once. */
function sortBy(
  list: readonly ListedClient[],
  by: (one: ListedClient) => string | number,
): ListedClient[] {
  return list.map((one) => ({ one, key: by(one) }))
    .sort((a, b) => a.key < b.key ? -1 : a.key > b.key ? 1 : 0)
    .map(({ one }) => one);
}

function matchesSearch(one: ListedClient, search: string): boolean {
  const { remoteAddress, path, protocol, rooms, id } = one;
  for (const text of [remoteAddress, path, protocol, ...rooms, id]) {
    if (text.toLowerCase().includes(search)) return true;
  }
  return false;
}

function toRow(one: ListedClient, now: number): object {
  const { id, readyState, bufferedAmount, rooms } = one;
  const { received, sent } = one.traffic;
  return {
    id,
    remoteAddress: truncate(one.remoteAddress),
    path: truncate(one.path),
    age: now - one.connectedAt.getTime(),
    protocol: truncate(one.protocol),
    speaksEvents: one.speaksEvents,
    readyState,
    bufferedAmount,
    roomCount: rooms.size,
    rooms: [...rooms].slice(0, MAX_ROOMS_PER_CLIENT).map(truncate),
    received: { messages: received.messages, bytes: received.bytes },
    sent: { messages: sent.messages, bytes: sent.bytes },
  };
}

/** Adds to a list that forgets the oldest. */
function pushBounded(list: object[], entry: object): void {
  list.push(entry);
  if (list.length > MAX_REMEMBERED) list.shift();
}

/** The beginning of a text, if it is long. */
function truncate(text: string): string {
  return text.length > MAX_TEXT_LENGTH
    ? `${text.slice(0, MAX_TEXT_LENGTH)}…`
    : text;
}
