/**
 * Records the events of a server, and creates the data of the page.
 *
 * @module
 */

import type { CheckedTypes, Connection, ServerSocket } from "../server.ts";
import { urlOf } from "../core/admission/paths.ts";
import { processMemory } from "../core/runtime/deno_server.ts";
import { descriptionsOf } from "../core/rooms/server_descriptions.ts";
import { errorReason } from "../core/events/error_log.ts";
import type { ConnectionEnd } from "../core/events/errors.ts";
import { startTimer, type Timer } from "../core/util/timer.ts";
import { FIELDS, SLICE_MS, type Traffic, TrafficHistory } from "./history.ts";

/** The maximum number of ends, and of refusals, to store. */
const MAX_ENTRIES = 100;

/** The maximum number of rooms to list, largest first. */
const MAX_SHOWN_ROOMS = 100;

/** The maximum number of other servers to list. */
const MAX_OTHER_SERVERS = 100;

/** The maximum number of rooms to list for one connection. */
const MAX_ROOMS_PER_CLIENT = 10;

/** The maximum number of connections to list. */
const MAX_ROWS = 100;

/** The maximum length of text from peers. */
const MAX_TEXT_LENGTH = 200;

/** The sort keys of connections. */
const SORT_KEYS = {
  address: (one: ListedClient) => one.remoteAddress,
  path: (one: ListedClient) => one.path,
  rooms: (one: ListedClient) => one.rooms.size,
  received: (one: ListedClient) => one.traffic.received.bytes,
  sent: (one: ListedClient) => one.traffic.sent.bytes,
  buffered: (one: ListedClient) => one.bufferedAmount,
};

/** The part of a connection that is listed. */
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
  | "dropped"
  | "headers"
>;

/** Headers whose values are credentials, which the page does not show. */
const SECRET_HEADER = /^(?:cookie|.*auth.*|.*token.*|.*secret.*|.*key)$/i;

/** The options of `inspect`, with their defaults. */
export interface InspectSettings {
  readonly label: string;
  readonly readOnly: boolean;
}

/** A part of a list, and the length of the whole list. */
interface ListPage<T> {
  readonly total: number;
  readonly rows: readonly T[];
}

/** The query of the page. */
export interface Query {
  /**
   * Show only connections whose id, address, path, subprotocol or rooms contain this
   * text.
   */
  readonly search: string;
  /** Show only connections in this room. */
  readonly room: string | undefined;
  /** The sort key. */
  readonly order: keyof typeof SORT_KEYS | "age";
  /** Whether to sort in descending order. */
  readonly isDescending: boolean;
  /** The number of connections to skip. */
  readonly offset: number;
  /** The number of connections to list. */
  readonly limit: number;
  /** The id of a connection to describe. */
  readonly client: string | undefined;
}

/**
 * Parses a query.
 *
 * @throws {RangeError} If a parameter is invalid.
 */
export function parseQuery(params: URLSearchParams): Query {
  const sort = params.get("sort") ?? "age";
  const order = sort.replace(/^-/, "");
  if (!isSortKey(order)) {
    const names = [...Object.keys(SORT_KEYS), "age"].join(", ");
    throw new RangeError(
      `Cannot sort by "${order}": use one of ${names}, with a leading - for descending order`,
    );
  }
  return {
    search: params.get("search")?.toLowerCase() ?? "",
    room: params.get("room") ?? undefined,
    client: params.get("client") ?? undefined,
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
      `Cannot use "${text}" as "${name}": use a non-negative integer`,
    );
  }
  return Number(text);
}

/** Records the events of a server. */
export class InspectedServer<Types extends CheckedTypes<Types>> {
  readonly #server: ServerSocket<Types>;
  readonly #settings: InspectSettings;
  readonly #history: TrafficHistory;
  readonly #ends: object[] = [];
  readonly #refusals: object[] = [];
  /** The total traffic of connections that have ended. */
  readonly #endedTotals = {
    messagesReceived: 0,
    bytesReceived: 0,
    messagesSent: 0,
    bytesSent: 0,
  };
  /** The messages that connections which have ended had dropped. */
  #endedDropped = 0;
  #timer: Timer | undefined;
  /** The other servers, as they last described themselves. */
  #others: readonly unknown[] = [];
  #isAsking = false;

  constructor(server: ServerSocket<Types>, settings: InspectSettings) {
    this.#server = server;
    this.#settings = settings;
    this.#history = new TrafficHistory(
      performance.now(),
      server.clients.size,
      () => this.#totalTraffic(),
    );
    const descriptions = descriptionsOf(server);
    if (descriptions) descriptions.describe = () => this.#summarize();
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

  /** Returns the data of the page, to be serialized as JSON. */
  snapshot(query: Query): object {
    const history = this.#history;
    history.advance(performance.now());
    const columns = FIELDS.map((field) =>
      [field, history.slices.map((slice) => slice[field])] as const
    );
    const time = Date.now();
    return {
      time,
      server: this.#describeServer(),
      client: this.#describeClient(query.client, time),
      rates: history.rates,
      adapter: this.#describeAdapter(time),
      servers: this.#listServers(),
      history: { every: SLICE_MS, ...Object.fromEntries(columns) },
      connections: this.#listClients(query, time),
      rooms: this.#listRooms(),
      ends: this.#ends.toReversed(),
      refusals: this.#refusals.toReversed(),
    };
  }

  /** Closes a connection. Returns whether it exists. */
  close(id: string): boolean {
    for (const client of this.#server.clients) {
      if (client.id !== id) continue;
      client.close(1000, "Closed by an administrator");
      return true;
    }
    return false;
  }

  /**
   * Completes slices in time. The timer runs only while there are connections, which keep
   * the process running anyway, so that it stops with the server.
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
    this.#endedDropped += droppedOf(client);
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

  /** The total traffic of all connections, including those that have ended. */
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

  #describeServer(): object {
    let dropped = this.#endedDropped;
    let bufferedAmount = 0;
    for (const client of this.#server.clients) {
      dropped += droppedOf(client);
      bufferedAmount += client.bufferedAmount;
    }
    return {
      ...this.#settings,
      uptime: performance.now(),
      memory: processMemory(),
      dropped,
      bufferedAmount,
    };
  }

  /** A row of the list of servers. */
  #summarize(): object {
    const { clients, rooms, adapterState } = this.#server;
    const { rates } = this.#history;
    return {
      label: truncate(this.#settings.label),
      url: truncate(addressOf(this.#server)),
      connections: clients.size,
      rooms: rooms.size,
      messagesReceived: rates.messagesReceived,
      messagesSent: rates.messagesSent,
      memory: processMemory(),
      uptime: performance.now(),
      adapter: adapterState?.state,
    };
  }

  /**
   * All servers, this one first. The others are asked while somebody looks at the page;
   * what they answer is shown the next time.
   */
  #listServers(): readonly unknown[] {
    if (!this.#server.adapterState) return [];
    if (!this.#isAsking) {
      this.#isAsking = true;
      this.#askOthers().finally(() => this.#isAsking = false);
    }
    const own = { ...this.#summarize(), isThis: true };
    return [own, ...this.#others.slice(0, MAX_OTHER_SERVERS)];
  }

  async #askOthers(): Promise<void> {
    try {
      const all = await descriptionsOf(this.#server)?.descriptions() ?? [];
      this.#others = all.filter((one) =>
        typeof one === "object" && one !== null
      );
    } catch {
      this.#others = []; // the state of the adapter says why
    }
  }

  #describeClient(id: string | undefined, now: number): object | null {
    if (id === undefined) return null;
    for (const client of this.#server.clients) {
      if (client.id !== id) continue;
      return {
        ...toRow(client, now),
        dropped: client.dropped,
        rooms: [...client.rooms].slice(0, MAX_SHOWN_ROOMS).map(truncate),
        headers: [...client.headers].slice(0, MAX_SHOWN_ROOMS).map((
          [name, value],
        ) => [
          truncate(name),
          SECRET_HEADER.test(name) ? "(hidden)" : truncate(value),
        ]),
      };
    }
    return null;
  }

  #describeAdapter(now: number): object | null {
    const { adapterState, servers, missed } = this.#server;
    if (!adapterState) return null;
    const { state, since, lastError } = adapterState;
    const reason = lastError === undefined ? "" : errorReason(lastError);
    return {
      state,
      age: now - since.getTime(),
      lastError: truncate(reason),
      servers,
      missed,
    };
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
    // Connections are in order of creation: the oldest is the first.
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

/** The URL of a server that listens itself. */
function addressOf(server: { readonly url: string }): string {
  try {
    return server.url;
  } catch {
    return ""; // mounted in another server
  }
}

/** Sorts by a key that is computed once for each connection. */
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

function droppedOf({ dropped }: Pick<ListedClient, "dropped">): number {
  return dropped.incoming + dropped.outgoing;
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

/** Adds an entry to a list, and removes the oldest if there are too many. */
function pushBounded(list: object[], entry: object): void {
  list.push(entry);
  if (list.length > MAX_ENTRIES) list.shift();
}

/** Truncates long text. */
function truncate(text: string): string {
  return text.length > MAX_TEXT_LENGTH
    ? `${text.slice(0, MAX_TEXT_LENGTH)}…`
    : text;
}
