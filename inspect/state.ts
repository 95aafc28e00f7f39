/**
 * What the page shows: a record of what has happened to a server, and a view of what
 * is.
 *
 * @module
 */

import type { Connection, ServerSocket, SocketTypes } from "../server.ts";
import { urlOf } from "../core/admission/admission.ts";
import type { End } from "../core/events/errors.ts";
import { startTimer, type Timer } from "../core/util/timer.ts";
import { FIELDS, History, SLICE, type Traffic } from "./history.ts";

/** How many ends, and how many refusals, are remembered. */
const REMEMBERED = 100;

/** How many rooms are listed, the largest first. */
const MOST_ROOMS = 100;

/** How many rooms of one connection are listed. */
const MOST_OWN_ROOMS = 10;

/** How many connections are listed at a time, at most. */
const MOST_ROWS = 100;

/** How much of a text that a peer may have chosen is shown. */
const MOST_TEXT = 200;

/** How an order is made: by what, of each connection. */
const ORDERS = {
  address: (one: Listed) => one.remoteAddress,
  path: (one: Listed) => one.path,
  rooms: (one: Listed) => one.rooms.size,
  received: (one: Listed) => one.traffic.received.bytes,
  sent: (one: Listed) => one.traffic.sent.bytes,
  buffered: (one: Listed) => one.bufferedAmount,
};

/** What is listed of a connection, whatever it carries. */
type Listed = Pick<
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
interface Part<T> {
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
  readonly order: keyof typeof ORDERS | "age";
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
export function queryOf(params: URLSearchParams): Query {
  const sort = params.get("sort") ?? "age";
  const order = sort.replace(/^-/, "");
  if (!isOrder(order)) {
    const names = [...Object.keys(ORDERS), "age"].join(", ");
    throw new RangeError(
      `Cannot sort by "${order}": use one of ${names}, with a - for the largest first`,
    );
  }
  return {
    search: params.get("search")?.toLowerCase() ?? "",
    room: params.get("room") ?? undefined,
    order,
    isDescending: sort !== order,
    offset: size(params, "offset", 0),
    limit: Math.min(size(params, "limit", 50), MOST_ROWS),
  };
}

function isOrder(name: string): name is Query["order"] {
  return name === "age" || Object.hasOwn(ORDERS, name);
}

function size(params: URLSearchParams, name: string, fallback: number): number {
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
export class State<Types extends SocketTypes> {
  readonly #server: ServerSocket<Types>;
  readonly #history: History;
  readonly #ends: object[] = [];
  readonly #refusals: object[] = [];
  /** What connections have carried that have ended. */
  readonly #gone = {
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
    this.#history = new History(
      performance.now(),
      server.clients.size,
      () => this.#carried(),
    );
    server.on("connect", () => {
      this.#history.count("connects", performance.now());
      this.#watch();
    });
    for (const type of ["close", "disconnect"] as const) {
      server.on(type, (client, code, reason, cause) => {
        this.#ended(client, { type, code, reason, cause });
      });
    }
    server.on("refused", (request, status, why, remoteAddress) => {
      this.#history.count("refusals", performance.now());
      remember(this.#refusals, {
        time: Date.now(),
        status,
        reason: cut(why),
        method: cut(request.method),
        path: cut(urlOf(request)?.pathname ?? ""),
        remoteAddress: cut(remoteAddress),
      });
    });
    this.#watch();
  }

  /**
   * What somebody wants to see, as JSON can hold it.
   *
   * @param query What that is.
   * @returns The state.
   */
  look(query: Query): object {
    const history = this.#history;
    history.advance(performance.now());
    const columns = FIELDS.map((field) =>
      [field, history.slices.map((slice) => slice[field])] as const
    );
    const time = Date.now();
    return {
      time,
      rates: history.rates,
      history: { every: SLICE, ...Object.fromEntries(columns) },
      connections: this.#list(query, time),
      rooms: this.#rooms(),
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
  #watch(): void {
    if (this.#timer !== undefined || this.#server.clients.size === 0) return;
    const delay = this.#history.advance(performance.now());
    this.#timer = startTimer(() => {
      this.#timer = undefined;
      this.#watch();
    }, delay);
  }

  #ended(client: Connection<Types>, end: End): void {
    const now = performance.now();
    const { received, sent } = client.traffic;
    this.#gone.messagesReceived += received.messages;
    this.#gone.bytesReceived += received.bytes;
    this.#gone.messagesSent += sent.messages;
    this.#gone.bytesSent += sent.bytes;
    this.#history.count("ends", now);
    if (this.#server.clients.size === 0) {
      this.#history.settle();
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
    const time = Date.now();
    remember(this.#ends, {
      time,
      ...end,
      reason: cut(end.reason),
      id: client.id,
      remoteAddress: cut(client.remoteAddress),
      path: cut(client.path),
      age: time - client.connectedAt.getTime(),
    });
  }

  /** What all connections have carried, those that have ended too. */
  #carried(): Traffic {
    const sum = { ...this.#gone };
    for (const { traffic: { received, sent } } of this.#server.clients) {
      sum.messagesReceived += received.messages;
      sum.bytesReceived += received.bytes;
      sum.messagesSent += sent.messages;
      sum.bytesSent += sent.bytes;
    }
    return sum;
  }

  #list(
    query: Query,
    now: number,
  ): Part<object> & { readonly matching: number } {
    const { clients, rooms } = this.#server;
    const { room, search, order, isDescending, offset, limit } = query;
    const group: Iterable<Listed> = room === undefined
      ? clients
      : rooms.get(room) ?? [];
    let all = [...group];
    if (search !== "") all = all.filter((one) => has(one, search));
    // They are in the order in which they came: the first is the oldest.
    if (order !== "age") all = sorted(all, ORDERS[order]);
    if (isDescending !== (order === "age")) all.reverse();
    return {
      total: clients.size,
      matching: all.length,
      rows: all.slice(offset, offset + limit).map((one) => row(one, now)),
    };
  }

  #rooms(): Part<object> {
    const { rooms } = this.#server;
    const sizes = Array.from(rooms, ([room, { size }]) => ({ room, size }));
    return {
      total: sizes.length,
      rows: sizes.sort((a, b) => b.size - a.size).slice(0, MOST_ROOMS)
        .map(({ room, size }) => ({ room: cut(room), size })),
    };
  }
}

/** Sorts by a value of each that is asked for once. */
function sorted(
  list: readonly Listed[],
  by: (one: Listed) => string | number,
): Listed[] {
  return list.map((one) => ({ one, key: by(one) }))
    .sort((a, b) => a.key < b.key ? -1 : a.key > b.key ? 1 : 0)
    .map(({ one }) => one);
}

function has(one: Listed, search: string): boolean {
  const { remoteAddress, path, protocol, rooms, id } = one;
  for (const text of [remoteAddress, path, protocol, ...rooms, id]) {
    if (text.toLowerCase().includes(search)) return true;
  }
  return false;
}

function row(one: Listed, now: number): object {
  const { id, readyState, bufferedAmount, rooms } = one;
  const { received, sent } = one.traffic;
  return {
    id,
    remoteAddress: cut(one.remoteAddress),
    path: cut(one.path),
    age: now - one.connectedAt.getTime(),
    protocol: cut(one.protocol),
    speaksEvents: one.speaksEvents,
    readyState,
    bufferedAmount,
    roomCount: rooms.size,
    rooms: [...rooms].slice(0, MOST_OWN_ROOMS).map(cut),
    received: { messages: received.messages, bytes: received.bytes },
    sent: { messages: sent.messages, bytes: sent.bytes },
  };
}

/** Adds to a list that forgets the oldest. */
function remember(list: object[], entry: object): void {
  list.push(entry);
  if (list.length > REMEMBERED) list.shift();
}

/** The beginning of a text, if it is long. */
function cut(text: string): string {
  return text.length > MOST_TEXT ? `${text.slice(0, MOST_TEXT)}…` : text;
}
