/**
 * The server's side: {@linkcode ServerSocket}.
 *
 * ```ts ignore
 * import { ServerSocket } from "jsr:@ws/events/server";
 *
 * const server = new ServerSocket();
 * server.on("message", (message) => message.reply(message.content));
 * await server.listen("localhost", 3000);
 * ```
 *
 * @module
 */

import "./core/features/full.ts";
import { Connection } from "./core/connection/connection.ts";
import { Endpoint, endpoints } from "./core/connection/endpoint.ts";
import type { InboundHook } from "./core/connection/inbound_gate.ts";
import { emitters } from "./core/events/emitter.ts";
import type { EmitterHooks } from "./core/events/emitter_internals.ts";
import {
  assertCloseFrame,
  assertOption,
  assertType,
  CloseCode,
} from "./core/events/errors.ts";
import type { AdapterState, Member } from "./core/events/event_types.ts";
import type {
  HistoryPage,
  HistoryQuery,
} from "./core/history/history_query.ts";
import type { Audience, BroadcastOptions } from "./core/rooms/recipients.ts";
import { assertRoom } from "./core/rooms/rooms.ts";
import type { RequestInfo } from "./core/runtime/deno_server.ts";
import type { SendOptions } from "./core/sending/send_queue.ts";
import type { DisconnectedClient } from "./core/server/disconnected_clients.ts";
import type { ServerListenOptions } from "./core/server/listening.ts";
import { ServerCore } from "./core/server/server_core.ts";
import {
  SERVER_EVENT_NAMES,
  type ServerEvents,
} from "./core/server/server_events.ts";
import type { ServerOptions } from "./core/server/server_options.ts";
import {
  resolveShutdownOptions,
  type ShutdownOptions,
} from "./core/server/shutdown.ts";
import type {
  CheckedTypes,
  Outgoing,
  PresenceData,
  SocketTypes,
} from "./core/values/types.ts";

export * from "./core/public.ts";
export type { Adapter } from "./core/cluster/adapter.ts";
export type {
  HistoryMessage,
  HistoryPage,
  HistoryQuery,
} from "./core/history/history_query.ts";
export type { HistoryOptions } from "./core/history/history_options.ts";
export type { AudienceReplies } from "./core/rooms/group_request.ts";
export {
  Audience,
  type AudienceRequestOptions,
  type BroadcastOptions,
  type ExcludedRecipient,
} from "./core/rooms/recipients.ts";
export type { DisconnectedClient } from "./core/server/disconnected_clients.ts";
export type { RetryOptions } from "./core/retries/retry_options.ts";
export type { PresenceOptions } from "./core/rooms/presence_options.ts";
export type { ServerListenOptions } from "./core/server/listening.ts";
export type { ServerEvents } from "./core/server/server_events.ts";
export type { ServerOptions } from "./core/server/server_options.ts";
export type { ShutdownOptions } from "./core/server/shutdown.ts";
export type {
  AdmissionOptions,
  AuthorizeInfo,
} from "./core/admission/admission_options.ts";
export type { AllowList, PathPattern } from "./core/admission/allow_list.ts";
export { CloseRefusal } from "./core/admission/close_refusal.ts";
export { sameOrigin } from "./core/admission/origins.ts";
export type {
  InboundContext,
  InboundHook,
} from "./core/connection/inbound_gate.ts";
export type { RequestInfo } from "./core/runtime/deno_server.ts";
export type { MessageRate } from "./core/connection/rate_limiter.ts";
export {
  AdapterEvent,
  type AdapterState,
  type Member,
  MemberEvent,
  ReadyEvent,
  RefusedEvent,
  ServerMessageEvent,
} from "./core/events/event_types.ts";

let serverHooks: EmitterHooks;

/**
 * A WebSocket server. It owns all connections; each peer is a {@linkcode Connection}. It
 * listens itself, or handles the upgrade requests of another server with
 * {@linkcode ServerSocket.fetch}.
 *
 * A subclass can override `onReady`, `onConnect`, `onMessage`, `onClose` and
 * `onDisconnect`, which are called before all listeners.
 *
 * @typeParam Types The types of incoming and outgoing messages.
 *
 * @example
 * ```ts ignore
 * import { ServerSocket } from "jsr:@ws/events";
 *
 * const server = new ServerSocket();
 * server.on("ready", () => console.log(`listening at ${server.url}`));
 * server.on("connect", (client) => client.send({ hello: client.remoteAddress }));
 * server.on("message", (message) => console.log(message.data));
 * server.on("close", (_client, code, reason) => console.log(code, reason));
 * server.on("disconnect", (client) => console.log("lost", client.remoteAddress));
 * await server.listen("localhost", 3000);
 * ```
 *
 * @example As a subclass
 * ```ts ignore
 * import { type Connection, ServerSocket } from "jsr:@ws/events";
 *
 * class Greeter extends ServerSocket {
 *   protected override onConnect(client: Connection): void {
 *     client.send("welcome");
 *   }
 * }
 *
 * await new Greeter().listen("localhost", 3000);
 * ```
 */
export class ServerSocket<Types extends CheckedTypes<Types> = SocketTypes>
  extends Endpoint<Types, ServerEvents<Types>> {
  readonly #core: ServerCore<Types>;

  static {
    serverHooks = {
      names: SERVER_EVENT_NAMES,
      failed: (server: ServerSocket, error, from, subject) =>
        server.#core.reportError(error, from, subject),
      added: (server: ServerSocket, type) => server.#core.listenerAdded(type),
      override: (server: ServerSocket, type) =>
        type === "ready" ? server.onReady : endpoints.overrideOf(server, type),
    };
  }

  /**
   * Creates a server. It does not listen yet.
   *
   * @param options The options; all have defaults.
   * @throws {TypeError} If an option is unknown or has the wrong type, or an origin, a
   * path or a subprotocol could never match.
   * @throws {RangeError} If a number is negative, `NaN` or too small.
   */
  constructor(options: ServerOptions<Types> = {}) {
    super();
    emitters.attach(this, serverHooks);
    this.#core = new ServerCore(this, options);
  }

  /** The open connections of this server. */
  get clients(): ReadonlySet<Connection<Types>> {
    return this.#core.clients;
  }

  /** The rooms that clients of this server are in, and their members. */
  get rooms(): ReadonlyMap<string, ReadonlySet<Connection<Types>>> {
    return this.#core.broadcaster.rooms.all;
  }

  /**
   * The connections that were lost most recently, the newest last; at most
   * `maxDisconnectedClients`. Connections that were closed are not included.
   */
  get disconnectedClients(): readonly DisconnectedClient[] {
    return this.#core.disconnected.all;
  }

  /**
   * The number of messages that other servers have missed because the adapter could not
   * reach them, as far as this server knows.
   */
  get missed(): number {
    return this.#core.broadcaster.missed;
  }

  /**
   * The number of servers that the adapter connects, including this one. A server
   * counts if it has sent a heartbeat in the last eight seconds. 1 without an adapter,
   * or while the adapter cannot reach the others.
   */
  get servers(): number {
    return this.#core.broadcaster.serverCount;
  }

  /**
   * Whether the broker of the adapter can be reached, since when, and what failed last;
   * undefined without an adapter, and when the server is closed.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * console.log(server.adapterState?.state, server.adapterState?.lastError);
   * ```
   */
  get adapterState(): AdapterState | undefined {
    return this.#core.broadcaster.adapterState;
  }

  /**
   * The address that the server listens on, or the path of its Unix socket.
   *
   * @throws {Error} If the server has not listened yet.
   */
  get address(): string {
    return this.#core.listener.address;
  }

  /**
   * The port that the server listens on; 0 for a Unix socket.
   *
   * @throws {Error} If the server has not listened yet.
   */
  get port(): number {
    return this.#core.listener.port;
  }

  /**
   * The URL that clients on the same machine can connect to. For a Unix socket it is
   * `ws+unix:` and the path, which only some clients support.
   *
   * @throws {Error} If the server has not listened yet.
   */
  get url(): string {
    return this.#core.listener.url;
  }

  /**
   * Counts the connections on all servers that the adapter connects.
   *
   * @param room Counts only the members of this room.
   * @returns A promise of the number. It resolves when all servers have answered or are
   * known to be lost: in the first second after the adapter is up it also waits until other
   * servers are found, and while a server does not answer for up to ten seconds. It rejects
   * if the adapter is down, or if a server still does not answer.
   * @throws {TypeError} If the name of the room is empty.
   * @throws {RangeError} If it is longer than 1,024 bytes of UTF-8.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * console.log(await server.count(), "connections on", server.servers, "servers");
   * console.log(await server.count("lobby"), "in the lobby");
   * ```
   */
  count(room?: string): Promise<number> {
    if (room !== undefined) assertRoom("count", room);
    return this.#core.broadcaster.cluster.count(room);
  }

  /**
   * Lists the members of a room on all servers that the adapter connects. Connections with
   * the same key are one member.
   *
   * @param room The room.
   * @returns A promise of the members, those of this server first. It resolves and rejects
   * as that of {@linkcode ServerSocket.count}. Without the option `presence` each
   * connection is a member whose data is `null`.
   * @throws {TypeError} (rejects) If the name of the room is empty.
   * @throws {RangeError} (rejects) If it is longer than 1,024 bytes of UTF-8.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket<{
   *   context: { user: string; name: string };
   *   presence: { name: string };
   * }>({
   *   presence: {
   *     key: (client) => client.context.user,
   *     data: (client) => ({ name: client.context.name }),
   *   },
   * });
   * server.on("join", ({ data }, room) => console.log(data.name, "joins", room));
   * server.on("leave", ({ data }, room) => console.log(data.name, "leaves", room));
   * console.log(await server.members("lobby"));
   * ```
   */
  async members(
    room: string,
  ): Promise<readonly Member<PresenceData<Types>>[]> {
    assertRoom("list", room);
    return await this.#core.broadcaster.cluster.members(room);
  }

  /**
   * Reads stored messages of a room or a channel: those that were sent to it, on all
   * servers that share a broker, without broadcasts to all clients. The option `history`
   * says how many are stored.
   *
   * Nothing is withheld here but what `except` withheld: check that the client may read the
   * room before it is sent the messages, and pass it as `for`.
   *
   * @param room The room.
   * @param options How many messages, since when, and for whom.
   * @returns A promise of the messages, at most 1 MiB of them unless there is only one.
   * @throws {Error} (rejects) Without the option `history`, or if the broker that stores
   * the messages is down.
   * @throws {TypeError} (rejects) If the name of the room is empty, an option is unknown, or
   * `since` is not a position.
   * @throws {RangeError} (rejects) If the limit is not from 1 to 1,000.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket({ history: { messages: 500 } });
   * server.on("connect", (client) => client.join("lobby"));
   * server.handle("history", async ({ author }) => {
   *   const { messages } = await server.history("lobby", { limit: 20, for: author });
   *   return messages.map(({ data }) => data);
   * });
   * ```
   */
  async history(
    room: string,
    options: HistoryQuery<Connection<Types>> = {},
  ): Promise<HistoryPage> {
    assertRoom("read", room);
    return await this.#core.broadcaster.history(room, options);
  }

  /**
   * Replaces the public data of a client that the option `presence` returned, in all its
   * rooms and those that it joins later. Servers emit `update` if the data of the member
   * has changed.
   *
   * @param client A client of this server.
   * @param data The new value of `member.data`.
   * @throws {Error} Without the option `presence`.
   * @throws {TypeError} If the data cannot be serialized as JSON.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket<{ presence: { isTyping: boolean } }>({
   *   presence: () => ({ isTyping: false }),
   * });
   * server.on("connect", (client) => client.join("lobby"));
   * server.on("message", ({ author, content }) => {
   *   server.updatePresence(author, { isTyping: content === "typing" });
   * });
   * server.on("update", ({ key, data }) => console.log(key, data.isTyping));
   * ```
   */
  updatePresence(
    client: Connection<Types>,
    data: PresenceData<Types>,
  ): void {
    this.#core.broadcaster.updatePresence(client, data);
  }

  /**
   * Closes the connection with an id, on any server that the adapter connects.
   *
   * @param id The {@linkcode Connection.id}.
   * @param code The close code; 1000 by default. Also allowed are 1001 to 1003, 1007 to
   * 1013, and 3000 to 4999.
   * @param reason The human-readable reason, at most 123 bytes of UTF-8; empty by default.
   * @returns A promise that resolves to `true` if there was such a connection, without
   * waiting for its end. It rejects if this server has no such connection and the others
   * cannot be asked, as for {@linkcode ServerSocket.count}.
   * @throws {TypeError} (rejects) If the id is not a string.
   * @throws {RangeError} (rejects) If the code is not allowed, or the reason is too
   * long.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * const wasOpen = await server.closeById("6d1f...", 4002, "Signed in elsewhere");
   * console.log(wasOpen);
   * ```
   */
  async closeById(
    id: string,
    code: number = CloseCode.Normal,
    reason = "",
  ): Promise<boolean> {
    assertType("id", id, "string");
    assertCloseFrame(code, reason, "server");
    return await this.#core.broadcaster.cluster.closeById(id, code, reason);
  }

  /**
   * Sends a message to the connection with an id, on any server that the adapter connects.
   *
   * @param id The {@linkcode Connection.id}.
   * @param data The data to send.
   * @param options The `overflow` policy, a key, and whether the message is volatile.
   * @returns A promise that resolves to `true` if there was such a connection, and the
   * message is queued there. It rejects as that of {@linkcode ServerSocket.closeById}.
   * @throws {TypeError} (rejects) If the id is not a string, the data cannot be encoded, or
   * an option is unknown.
   * @throws {RangeError} (rejects) If `overflow` is not a valid policy.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * const isSent = await server.sendById("some id", { invited: true });
   * console.log(isSent);
   * ```
   */
  async sendById(
    id: string,
    data: Outgoing<Types>,
    options?: SendOptions,
  ): Promise<boolean> {
    assertType("id", id, "string");
    return await this.#core.sendById(id, data, options);
  }

  /**
   * Sends a message to all other servers that the adapter connects, which emit it as
   * `servermessage`. Servers use it to notify each other, for example that a cache is
   * stale.
   *
   * @param data The data, which is sent as JSON.
   * @returns A promise that resolves when the message is published. It does not tell
   * whether other servers have received it. It rejects if the adapter is down. Without an
   * adapter there are no other servers.
   * @throws {TypeError} (rejects) If JSON cannot represent the data.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket(); // with an adapter
   * const cache = new Map<unknown, string>();
   * server.on("servermessage", (key) => cache.delete(key));
   * await server.sendToServers("prices");
   * ```
   */
  async sendToServers(data: unknown): Promise<void> {
    const json: string | undefined = JSON.stringify(data);
    if (json === undefined) {
      throw new TypeError(
        `Cannot send to other servers what JSON cannot represent: its type is ${typeof data}`,
      );
    }
    await this.#core.broadcaster.cluster.sendToServers(json);
  }

  /**
   * Selects the members of a room, or of any of several rooms.
   *
   * @param rooms The names of the rooms. Without rooms, there are no recipients.
   * @returns The recipients of a message. Rooms do not have to exist.
   * @throws {TypeError} If a name is empty.
   * @throws {RangeError} If a name is longer than 1,024 bytes of UTF-8.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * server.to("lobby", "garden").except("kitchen").send("Dinner is served");
   * console.log(server.to("lobby").size);
   * ```
   */
  to(...rooms: string[]): Audience<Types> {
    for (const room of rooms) assertRoom("send to", room);
    return this.#core.broadcaster.audience(rooms, []);
  }

  /**
   * Sends a message to all clients, as {@linkcode Audience.send} does.
   *
   * @param data The data to send.
   * @param options Excluded clients and rooms, and the options of {@linkcode
   * Connection.send}.
   * @returns As {@linkcode Audience.send}.
   * @throws {TypeError} If the data cannot be encoded, or an option is unknown.
   * @throws {RangeError} If `overflow` is not a valid policy.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * server.on("message", ({ author, content }) => {
   *   server.broadcast(content, { except: author });
   * });
   * ```
   */
  broadcast(
    data: Outgoing<Types>,
    options: BroadcastOptions<Types> = {},
  ): Promise<void> {
    const { except = [], ...rest } = options;
    return this.#core.broadcaster.audience(undefined, [except].flat()).send(
      data,
      rest,
    );
  }

  /**
   * Adds a hook that is called with everything that clients send: messages, requests, and
   * joins of channels. Hooks are called in the order in which they were added, after the
   * schema and before listeners, handlers and iterators; each calls `next` to pass its
   * argument on.
   *
   * Messages of one client are passed on in the order of arrival: while an asynchronous
   * hook has not called `next`, later messages of that client wait. They count as messages
   * that are being handled, so a client that sends more is slowed down.
   *
   * - If a hook returns without calling `next`, a message is dropped, and a request or a
   *   join is refused with the code `forbidden`.
   * - If it throws a {@linkcode RequestError}, a request or a join is refused with its
   *   message and code, and a message is dropped.
   * - If it throws anything else, even after `next`, an `error` event is emitted, and a
   *   request or a join that was not passed on is refused with the code `internal`.
   * - If it neither calls `next` nor finishes within 10 seconds, an `error` event is
   *   emitted, and a request or a join is refused with the code `timeout`.
   *
   * `client.dropped.incoming` counts dropped messages. Errors of listeners and handlers do
   * not reject the promise of `next`.
   *
   * @param hook The hook.
   * @returns This server.
   * @throws {TypeError} If the hook is not a function.
   *
   * @example
   * ```ts
   * import { RequestError, ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket<{ context: { isAdmin: boolean } }>();
   * server.use(async ({ kind, type, client }, next) => {
   *   const start = performance.now();
   *   await next();
   *   console.log(client.id, kind, type, performance.now() - start);
   * });
   * server.use(({ type, client }, next) => {
   *   if (type === "ban" && !client.context.isAdmin) {
   *     throw new RequestError("For admins only", "forbidden");
   *   }
   *   return next();
   * });
   * ```
   */
  use(hook: InboundHook<Connection<Types>>): this {
    this.#core.use(hook);
    return this;
  }

  /**
   * Listens for connections, and emits `ready`.
   *
   * @param hostname The host name or address to listen on. The default is all
   * addresses, as for `Deno.serve`.
   * @param port The port to listen on; 0 for any free port.
   * @param options Options of TLS, of a Unix socket or of a shared port.
   * @returns A promise that resolves when the server is listening.
   * @throws {Deno.errors.AddrInUse} (rejects) If the port is in use.
   * @throws {Deno.errors.NotCapable} (rejects) Without the permission `--allow-net`.
   * @throws {TypeError} (rejects) If only one of `cert` and `key` is set, or both with
   * `path`, or `mode` without `path`.
   * @throws {RangeError} (rejects) If `mode` is not from 0 to 0o777.
   * @throws {Error} (rejects) If the server is already listening or was closed.
   *
   * @example Any free port
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * await using server = new ServerSocket();
   * await server.listen("127.0.0.1", 0);
   * console.log(server.port);
   * ```
   */
  listen(
    hostname = "0.0.0.0",
    port = 8000,
    options: ServerListenOptions = {},
  ): Promise<void> {
    return Promise.try(() =>
      this.#core.listener.listen(hostname, port, options)
    );
  }

  /**
   * Handles a request. Pass it to `Deno.serve`, or call it in a route of any framework.
   * It does not use `this`, and it neither throws nor rejects. To shut down a server
   * that this one is mounted in, first `await close()` here and then shut that server
   * down: otherwise the runtime ends the sockets, and their `close` has the code 1005.
   *
   * @param request The request.
   * @param info The address of the client. Without it, `remoteAddress` is `unknown`.
   * @returns The response of the upgrade, that of the option `fallback`, or a refusal.
   *
   * @example
   * ```ts ignore
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * Deno.serve((request, info) =>
   *   new URL(request.url).pathname === "/live"
   *     ? server.fetch(request, info)
   *     : new Response("hello")
   * );
   * ```
   */
  readonly fetch = (
    request: Request,
    info?: RequestInfo,
  ): Response | Promise<Response> => this.#core.upgrader.respond(request, info);

  /**
   * Sends a message to one client, as {@linkcode Connection.send} does.
   *
   * @param client The client.
   * @param data The data to send.
   * @param options The `overflow` policy, a key, and whether the message is volatile.
   * @returns As {@linkcode Connection.send}.
   * @throws {TypeError} If the data cannot be encoded, or `client` is not a connection.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * server.on("connect", (client) => server.send(client, "Welcome"));
   * ```
   */
  send(
    client: Connection<Types>,
    data: Outgoing<Types>,
    options?: SendOptions,
  ): Promise<void> {
    if (!(client instanceof Connection)) {
      throw new TypeError(
        `Cannot send to something other than a connection: current value is of type ${typeof client}: broadcast() sends to all`,
      );
    }
    return client.send(data, options);
  }

  /**
   * Closes one client, as {@linkcode Connection.close} does.
   *
   * @param client The client.
   * @param code The close code; 1000 by default. Also allowed are 1001 to 1003, 1007 to
   * 1013, and 3000 to 4999.
   * @param reason The human-readable reason, at most 123 bytes of UTF-8; empty by default.
   * @returns A promise that resolves when the connection has ended.
   * @throws {RangeError} If the code is not allowed, or the reason is too long.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * server.on("message", ({ author, data }) => {
   *   if (data === "bye") server.close(author, 4000, "As you asked");
   * });
   * ```
   */
  close(
    client: Connection<Types>,
    code?: number,
    reason?: string,
  ): Promise<void>;
  /**
   * Closes all connections and the server: the short form of {@linkcode
   * ServerSocket.shutdown}.
   *
   * @param code The close code; 1001 by default. Also allowed are 1000, 1002, 1003, 1007
   * to 1013, and 3000 to 4999.
   * @param reason The human-readable reason, at most 123 bytes of UTF-8; empty by default.
   * @returns A promise that resolves when all connections have ended and the port is
   * free.
   * @throws {RangeError} If the code is not allowed, or the reason is too long.
   * @throws {TypeError} If the first argument is `undefined`, which usually means that
   * a lookup did not find the connection.
   *
   * @example
   * ```ts ignore
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * await server.listen("localhost", 3000);
   * Deno.addSignalListener("SIGINT", () => server.close());
   * ```
   */
  close(code?: number, reason?: string): Promise<void>;
  close(
    ...args: [
      target?: Connection<Types> | number,
      second?: number | string,
      third?: string,
    ]
  ): Promise<void> {
    const [target, second, third] = args;
    if (target instanceof Connection) {
      assertOption("code", second, "number");
      return target.close(
        typeof second === "number" ? second : undefined,
        third,
      );
    }
    if (args.length === 0) return this.shutdown();
    if (typeof target !== "number") {
      throw new TypeError(
        `Cannot close something other than a connection: current value is of type ${typeof target}: close() without arguments and shutdown(options) end all`,
      );
    }
    assertOption("reason", second, "string");
    return this.shutdown({
      code: target,
      ...typeof second === "string" && { reason: second },
    });
  }

  /**
   * Closes all connections and the server. New requests are refused with 503. Queued
   * messages are still sent, and each client gets a closing handshake; those that do
   * not answer within `closeTimeout` are disconnected. Later calls have no effect.
   *
   * @param options The close code and reason, batches, and when clients may reconnect.
   * @returns A promise that resolves when all connections have ended and the port is
   * free.
   * @throws {TypeError} If an option is unknown or has the wrong type.
   * @throws {RangeError} If the code is not allowed, the reason is too long, or a
   * number is out of range.
   *
   * @example A deploy: close a hundred clients per second, to reconnect after five seconds
   * ```ts ignore
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * await server.listen("localhost", 3000);
   * Deno.addSignalListener("SIGTERM", async () => {
   *   await server.shutdown({
   *     drain: { batch: 100, every: 1_000 },
   *     retryAfter: 5_000,
   *   });
   *   Deno.exit();
   * });
   * ```
   */
  shutdown(options: ShutdownOptions = {}): Promise<void> {
    return this.#core.shutdown(resolveShutdownOptions(options));
  }

  /**
   * Called when the server is listening, before the listeners of `ready`. Override it in a
   * subclass.
   */
  protected onReady?(): unknown;
}
