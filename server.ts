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

import {
  Connection,
  type ConnectionOwner,
  internals,
  type SocketMessage,
} from "./core/connection/connection.ts";
import {
  BoundServer,
  releaseHeaders,
  removeStaleSocket,
  type RequestInfo,
  serverDriver,
  upgradeRequest,
} from "./core/runtime/deno_server.ts";
import { OpenAnswers } from "./core/runtime/open_answers.ts";
import { PendingUpgrades } from "./core/admission/pending_upgrades.ts";
import type { SendOptions } from "./core/sending/send_queue.ts";
import { BufferBudget } from "./core/sending/buffer_budget.ts";
import {
  type ConnectionOptions,
  resolveOptions,
  type SpeechOptions,
} from "./core/connection/connection_options.ts";
import type { Adapter } from "./core/cluster/adapter.ts";
import type { Audience, ExcludedRecipient } from "./core/rooms/recipients.ts";
import {
  type MessageRate,
  resolveMessageRate,
} from "./core/connection/rate_limiter.ts";
import type { ClusterQuery } from "./core/cluster/cluster_host.ts";
import type { HistoryOptions } from "./core/history/message_store.ts";
import { resolveHistoryOptions } from "./core/history/recovery.ts";
import { register } from "./core/events/instrumentation.ts";
import { Broadcaster } from "./core/rooms/broadcaster.ts";
import { assertRoom } from "./core/rooms/rooms.ts";
import { Message } from "./message.ts";
import {
  Admission,
  type AdmissionResult,
  type AdmittedRequest,
} from "./core/admission/admission.ts";
import type { AdmissionOptions } from "./core/admission/admission_options.ts";
import { INTERNAL_ERROR } from "./core/admission/authorization.ts";
import { INVALID_URL, urlOf } from "./core/admission/paths.ts";
import { pickHeaders } from "./core/admission/kept_headers.ts";
import { formatHost } from "./core/admission/remote_address.ts";
import { isUpgradeRequest, type Refusal } from "./core/admission/handshake.ts";
import { guardWith } from "./core/connection/inbound_guard.ts";
import { appendRetryAfter, toSeconds } from "./core/protocol/retry_after.ts";
import { Endpoint, endpoints } from "./core/connection/endpoint.ts";
import {
  emitMessage,
  isMessageHeard,
} from "./core/connection/typed_messages.ts";
import { ErrorLog, errorReason } from "./core/events/error_log.ts";
import { emitters } from "./core/events/emitter.ts";
import type { EmitterHooks } from "./core/events/emitter_internals.ts";
import { eventNames } from "./core/events/event_names.ts";
import { MIN_PEER_BYTES_PER_SECOND } from "./core/util/liveness.ts";
import { Keepalive } from "./core/runtime/keepalive.ts";
import { printable } from "./core/util/printable.ts";
import { startTimer, withTimeout } from "./core/util/timer.ts";
import type { Context, Outgoing, SocketTypes } from "./core/values/types.ts";
import {
  AdapterEvent,
  type AdapterState,
  type ClientEndArgs,
  ClientEndedEvent,
  ClientEndEvent,
  ConnectEvent,
  type EndDetails,
  endDetails,
  FailureEvent,
  type Member,
  MemberEvent,
  ReadyEvent,
  ReceivedEvent,
  RefusedEvent,
} from "./core/events/event_types.ts";
import {
  assertCloseFrame,
  assertKnown,
  assertOption,
  assertSize,
  assertType,
  type Cause,
  CloseCode,
  type ConnectionEnd,
  ConnectionEndedError,
  isThenable,
  optionNames,
} from "./core/events/errors.ts";

export * from "./core/public.ts";
export type { Adapter } from "./core/cluster/adapter.ts";
export type { HistoryOptions } from "./core/history/message_store.ts";
export { Audience, type ExcludedRecipient } from "./core/rooms/recipients.ts";
export type {
  AdmissionOptions,
  AuthorizeInfo,
} from "./core/admission/admission_options.ts";
export type { AllowList } from "./core/admission/allow_list.ts";
export { sameOrigin } from "./core/admission/origins.ts";
export type { RequestInfo } from "./core/runtime/deno_server.ts";
export type { MessageRate } from "./core/connection/rate_limiter.ts";
export {
  AdapterEvent,
  type AdapterState,
  type ClientEndArgs,
  ClientEndedEvent,
  ClientEndEvent,
  type Member,
  MemberEvent,
  ReadyEvent,
  RefusedEvent,
} from "./core/events/event_types.ts";

/**
 * Options of {@linkcode ServerSocket}.
 *
 * @typeParam Types The types of what comes in and goes out, and of
 * `client.context`, which is what `authorize` returns.
 */
export interface ServerOptions<Types extends SocketTypes = SocketTypes>
  extends AdmissionOptions<Context<Types>>, SpeechOptions<Types> {
  /**
   * Answers requests that do not ask for a WebSocket, so that pages and sockets
   * share a port. Without it they get 426.
   */
  readonly fallback?: (
    request: Request,
    info: RequestInfo,
  ) => Response | Promise<Response>;
  /**
   * How long a peer has to answer a closing handshake, in milliseconds. One that
   * does not is cut off, which is a `disconnect`.
   *
   * @default {10_000}
   */
  readonly closeTimeout?: number;
  /**
   * How long a peer may be silent, in milliseconds, before it counts as lost, which is a
   * `disconnect` with the cause `timeout`. It is pinged after half of that. 0 switches
   * both off.
   *
   * - A peer has one second more for each 16 KiB that it was sent before the ping and
   *   has not confirmed by an earlier one, because its answer waits behind them.
   * - A peer that takes nothing of what it is sent is lost, too. That takes up to half of
   *   the timeout longer, and a second for each 16 KiB that wait.
   * - A peer cannot answer a ping in the middle of a message of its own, and the runtime
   *   does not show a message before it is whole. So by default, a peer that is no
   *   client of this library has one second more for each 16 KiB of `maxPayload`: 64 seconds
   *   with its default. If you set `idleTimeout`, you set the exact bound: choose more than
   *   twice the time that your largest message takes on your slowest line.
   *
   * @default {30_000}
   */
  readonly idleTimeout?: number;
  /**
   * How many bytes a message may have. A larger one ends the connection with
   * 1009, and no listener hears of it. The runtime holds it as a whole before;
   * it refuses frames of 64 MiB itself, but not messages of many frames.
   *
   * @default {1_048_576}
   */
  readonly maxPayload?: number;
  /**
   * How many bytes of memory everything that waits for clients, or for listeners to
   * their messages, may take in all, in this library and in the runtime. If it is more,
   * the connections that hold most are ended, as a `disconnect` with the cause
   * `backpressure` (or `limit`, if most of it has come from the client), until no more
   * than 15/16 of it waits. The message that was sent last does not matter, nor its
   * `overflow`: a client that keeps up is not to suffer from those that do not. A message
   * counts as what it takes: its bytes, and up to 1,024 more.
   *
   * @default {536_870_912}
   */
  readonly maxBufferedTotal?: number;
  /**
   * How many messages each client may send; `false` for no limit. The default is far
   * above what honest clients send, and only keeps a flood from taking all of the
   * server's time: use a lower one for what your clients really do, above all if each
   * message is sent on to many others.
   *
   * @default {{ perSecond: 50_000, burst: 2_000 }}
   */
  readonly messageRate?: MessageRate | false;
  /**
   * How many lost connections {@linkcode ServerSocket.disconnectedClients}
   * remembers.
   *
   * @default {100}
   */
  readonly maxDisconnectedClients?: number;
  /**
   * Joins this server to others: what is sent to rooms and to all reaches the clients
   * of all of them. A server with an adapter has to be closed, as that has connections
   * of its own. None by default.
   */
  readonly adapter?: Adapter;
  /**
   * How many messages to keep for the other servers while the adapter cannot reach
   * them, with at most 64 MiB; past that the oldest are lost to them. Clients of this
   * server get all.
   *
   * @default {0}
   */
  readonly adapterQueue?: number;
  /**
   * Whether to keep the last messages of each room, and of what is sent to all, for
   * clients of this library that have lost their connection: one that comes back in
   * time gets what it has missed in the rooms that it was in, as soon as the program lets
   * it join them again, and hears by its event `recovery` when it has got all. They are kept in memory, so
   * that it has to come back to this server; or, with an adapter whose broker keeps
   * them, as those for Redis and NATS, by that, so that it may come back to any.
   *
   * @default {false}
   */
  readonly history?: boolean | HistoryOptions;
  /**
   * Tells the events `join` and `leave`, of all servers that are joined by the adapter:
   * says of a client that joins a room what others are to know of it, such as a name.
   * It is sent as JSON. None by default, and then nothing is told.
   *
   * @param client The client.
   * @returns What `member.data` is.
   */
  readonly presence?: (client: Connection<Types>) => unknown;
}

/** Options of {@linkcode ServerSocket.listen}. */
export interface ServerListenOptions {
  /** The TLS certificate chain, in PEM; together with `key`. */
  readonly cert?: string;
  /** The TLS private key, in PEM; together with `cert`. */
  readonly key?: string;
  /**
   * The path of a Unix socket, instead of a host and a port. A file of a Unix socket
   * that nobody listens at, as a killed process leaves behind, is replaced.
   */
  readonly path?: string;
  /**
   * The permissions of the Unix socket's file, such as `0o660`; together with `path`.
   * Whoever connects needs the permission to write to it. By default the umask of the
   * process decides, which mostly means that only the same user may connect.
   */
  readonly mode?: number;
  /**
   * Whether several processes or workers may listen on the same port, and share
   * its connections. Deno ends a process that asks for this without
   * `--unstable-net`; `deno serve --parallel` needs neither.
   *
   * @default {false}
   */
  readonly reusePort?: boolean;
}

/** Options of {@linkcode ServerSocket.shutdown}. */
export interface ShutdownOptions {
  /**
   * The close code that clients get. Not 1012, service restart, by default:
   * WebKit shows a page that as 1006, without the reason.
   *
   * @default {1001}
   */
  readonly code?: number;
  /** A reason for a human reader. */
  readonly reason?: string;
  /**
   * Closes so many clients at once (`batch`), and waits so many milliseconds
   * before the next (`every`), so that they do not all come back in one moment.
   * All at once by default.
   */
  readonly drain?: { readonly batch: number; readonly every: number };
  /**
   * After how many milliseconds a client may come back. It is told so at the end
   * of the reason, as in `retry-after=5`, in seconds;
   * {@linkcode Disconnection.retryAfter} is what it reads there. Those that still
   * come get it in the header of that name.
   */
  readonly retryAfter?: number;
}

/** A connection that was lost, as a server remembers it. */
export interface DisconnectedClient extends ConnectionEnd {
  /** The {@linkcode Connection.id} that it had. */
  readonly id: string;
  /** The peer's address. */
  readonly remoteAddress: string;
  /** The path that was asked for. */
  readonly path: string;
  /** When it was lost. */
  readonly time: Date;
}

/** Options of {@linkcode ServerSocket.broadcast}. */
export interface BroadcastOptions<Types extends SocketTypes = SocketTypes>
  extends SendOptions {
  /** Who is not to get it: connections, and rooms of which nobody is to. */
  readonly except?:
    | ExcludedRecipient<Types>
    | readonly ExcludedRecipient<Types>[];
}

/**
 * The events of a `ServerSocket`.
 *
 * @typeParam Types The types of what comes in and goes out.
 */
export interface ServerEvents<Types extends SocketTypes> {
  /** The server listens. */
  ready: { args: []; event: ReadyEvent };
  /** A request did not become a WebSocket. */
  refused: {
    args: [
      request: Request,
      status: number,
      reason: string,
      remoteAddress: string,
    ];
    event: RefusedEvent;
  };
  /**
   * The broker of the adapter can be reached, and with it the other servers; or it
   * cannot. `down` is emitted within five seconds of the start, and again when the reason
   * changes. With no listener the first few reasons are written to the console.
   */
  adapter: {
    args: [state: "up" | "down", error: unknown];
    event: AdapterEvent;
  };
  /**
   * Somebody has joined a room that a client of this server is in, on whatever server;
   * only with the option `presence`.
   */
  join: { args: [member: Member, room: string]; event: MemberEvent };
  /** Somebody has left such a room. */
  leave: { args: [member: Member, room: string]; event: MemberEvent };
  /** A client has connected. */
  connect: {
    args: [client: Connection<Types>, path: string];
    event: ConnectEvent<Connection<Types>>;
  };
  /** A message has come; its author is the client. */
  message: {
    args: [message: SocketMessage<Types>];
    event: ReceivedEvent<SocketMessage<Types>>;
  };
  /** A connection was closed: the closing handshake is finished. */
  close: {
    args: ClientEndArgs<Connection<Types>>;
    event: ClientEndEvent<Connection<Types>>;
  };
  /** A connection was lost. */
  disconnect: {
    args: ClientEndArgs<Connection<Types>>;
    event: ClientEndEvent<Connection<Types>>;
  };
  /**
   * A connection has ended: emitted once after its `close` or `disconnect`, with
   * `{ type, code, reason, cause, wasClean }`. For listeners that only clean up.
   */
  end: {
    args: [client: Connection<Types>, end: EndDetails];
    event: ClientEndedEvent<Connection<Types>>;
  };
  /** A listener threw. */
  error: {
    args: [error: unknown, from: string, client: Connection<Types> | undefined];
    event: FailureEvent<Connection<Types>>;
  };
}

let serverHooks: EmitterHooks;

/**
 * The owner of all connections of one server; not one peer: that is a
 * {@linkcode Connection}. It listens by itself, or answers the upgrades of any
 * other server by {@linkcode ServerSocket.fetch}.
 *
 * A subclass may override `onReady`, `onConnect`, `onMessage`, `onClose` and
 * `onDisconnect`; they are called like listeners that came first.
 *
 * @typeParam Types The types of what comes in and goes out.
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
export class ServerSocket<Types extends SocketTypes = SocketTypes>
  extends Endpoint<Types, ServerEvents<Types>>
  implements AsyncDisposable {
  readonly #keepalive: Keepalive;
  readonly #keepHeaders: readonly string[];
  /**
   * How much longer a peer may be silent that sends a message in one frame, in
   * milliseconds: it answers no ping until that is over, and nothing shows its progress.
   */
  readonly #grace: number;
  readonly #maxDisconnectedClients: number;
  readonly #options: ConnectionOptions<Types>;
  readonly #admission: Admission<Context<Types>>;
  readonly #fallback: ServerOptions["fallback"];
  readonly #clients = new Set<Connection<Types>>();
  /** Upgraded, but not open yet. */
  readonly #connecting = new PendingUpgrades<Connection<Types>>();
  /** What the fallback has answered, and was not sent yet. */
  readonly #answers = new OpenAnswers((error) =>
    this.#reportError(error, "fallback")
  );
  /** Ended, but their `connect` listeners have not heard all yet. */
  readonly #endDeferred = new Set<Connection<Types>>();
  readonly #disconnected: DisconnectedClient[] = [];
  /** The rooms, the history, and the link to other servers. */
  readonly #broadcaster: Broadcaster<Types>;
  readonly #owner: ConnectionOwner<Types>;
  readonly #errorLog = new ErrorLog();
  /** The statuses of refusals that were told on the console. */
  readonly #warned = new Set<number>();
  /** The reasons of the adapter that were written to the console. */
  readonly #warnedReasons = new Set<string>();
  #closeCause: Cause = "local";
  #httpServer: BoundServer | undefined;
  #url = "";
  #closed: Promise<void> | undefined;
  /** Is told when the last client has ended. */
  #onEmpty: (() => void) | undefined;

  static {
    serverHooks = {
      names: eventNames<ServerEvents<SocketTypes>>({
        ready: true,
        connect: true,
        message: true,
        close: true,
        disconnect: true,
        end: true,
        refused: true,
        adapter: true,
        join: true,
        leave: true,
        error: true,
      }),
      failed: (server: ServerSocket, error, from, subject) =>
        server.#reportError(error, from, server.#clientOf(subject)),
      override: (server: ServerSocket, type) =>
        type === "ready" ? server.onReady : endpoints.overrideOf(server, type),
    };
  }

  /**
   * Creates a server. It neither listens nor takes connections yet.
   *
   * @param options What to do unlike the defaults.
   * @throws {RangeError} If a number among the options is negative, none or too small.
   * @throws {TypeError} If one is of another type than it should be, an origin, a path
   * or a subprotocol among them could never match, or the schema or the codec is none.
   */
  constructor(options: ServerOptions<Types> = {}) {
    super();
    emitters.attach(this, serverHooks);
    assertType("options", options, "object", "a port goes to listen()");
    assertKnown("ServerSocket", options, SERVER_OPTIONS);
    const {
      closeTimeout = 10_000,
      idleTimeout = SERVER_IDLE_TIMEOUT_MS,
      maxDisconnectedClients = 100,
      maxPayload = 1024 * 1024,
      maxBufferedTotal = 512 * 1024 * 1024,
      adapter,
      adapterQueue = 0,
    } = options;
    const numbers = {
      adapterQueue,
      closeTimeout,
      idleTimeout,
      maxBufferedTotal,
      maxDisconnectedClients,
      maxPayload,
    };
    for (const [name, value] of Object.entries(numbers)) {
      assertSize(name, value);
    }
    assertOption("adapter", adapter, "object", "call it, as in redis()");
    if (adapter) assertType("adapter.open", adapter.open, "function");
    assertOption("fallback", options.fallback, "function");
    assertOption("presence", options.presence, "function");
    this.#keepalive = new Keepalive(idleTimeout);
    this.#keepHeaders = options.keepHeaders ?? [];
    this.#grace = options.idleTimeout === undefined
      ? Math.min(maxPayload, MAX_RUNTIME_FRAME_BYTES) /
        MIN_PEER_BYTES_PER_SECOND * 1000
      : 0;
    this.#maxDisconnectedClients = maxDisconnectedClients;
    const messageRate = resolveMessageRate(options.messageRate);
    this.#options = resolveOptions(options, idleTimeout, {
      closeTimeout,
      guard: guardWith({ maxPayload, messageRate }),
      budget: new BufferBudget(
        maxBufferedTotal,
        () => this.#holders(),
        internals.heldBy,
        internals.endLargest,
      ),
      idleTimeout: () => 0, // the keepalive sees to it
    });
    register(this, this.#options);
    const history = resolveHistoryOptions(options.history ?? false);
    this.#admission = new Admission(
      options,
      { ...this.#options.support, hasHistory: history !== undefined },
      (error) => this.#reportError(error, "authorize"),
    );
    this.#fallback = options.fallback;
    this.#broadcaster = new Broadcaster({
      clients: this.#clients,
      codec: this.#options.codec,
      writerLimits: this.#options.writerLimits,
      adapter,
      maxQueued: adapterQueue,
      history,
      describeMember: options.presence,
    }, {
      memberJoined: (...args) => this.#emit("join", MemberEvent, args),
      memberLeft: (...args) => this.#emit("leave", MemberEvent, args),
      changed: (state, error) => this.#adapterChanged(state, error),
      failed: (error, from, client) => this.#reportError(error, from, client),
    });
    this.#owner = this.#createOwner();
  }

  /**
   * How many messages the other servers have missed as the adapter could not reach
   * them, as far as this one knows.
   */
  get missed(): number {
    return this.#broadcaster.missed;
  }

  /**
   * How many servers are joined by the adapter, this one included: those that were heard
   * of within the last eight seconds. 1 without an adapter, or while it cannot reach the
   * others.
   */
  get servers(): number {
    return this.#broadcaster.serverCount;
  }

  /**
   * Whether the broker of the adapter can be reached, since when, and what failed last;
   * undefined without an adapter.
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
    return this.#broadcaster.adapterState;
  }

  /**
   * Counts connections on all servers that are joined by the adapter.
   *
   * @param room The room that they are to be in; all connections if there is none.
   * @returns A promise of their number. Servers that do not answer within a second are
   * not counted.
   * @throws {TypeError} If the room's name is empty.
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
    return this.#count({ type: "count", ...room !== undefined && { room } });
  }

  /**
   * Who is in a room on all servers that are joined by the adapter.
   *
   * @param room The room.
   * @returns A promise of the members, those of this server first. Servers that do not
   * answer within a second have none.
   * @throws {TypeError} If the room's name is empty.
   * @throws {RangeError} If it is longer than 1,024 bytes of UTF-8.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket<{ context: { name: string } }>({
   *   presence: (client) => ({ name: client.context.name }),
   * });
   * server.on("join", ({ data }, room) => console.log(data, "joins", room));
   * server.on("leave", ({ data }, room) => console.log(data, "leaves", room));
   * console.log(await server.members("lobby"));
   * ```
   */
  async members(room: string): Promise<readonly Member[]> {
    assertRoom("list", room);
    const { members = [] } = await this.#broadcaster.query({
      type: "who",
      room,
    });
    return members;
  }

  /**
   * Closes the connection with an id, on whichever server that is joined by the adapter
   * it is.
   *
   * @param id The {@linkcode Connection.id}.
   * @param code The close code.
   * @param reason A reason for a human reader.
   * @returns A promise of whether there was one; it does not wait until it has ended. A
   * server that does not answer within a second has none.
   * @throws {RangeError} (rejects) If the code may not be sent, or the reason is too
   * long.
   */
  async closeById(
    id: string,
    code: number = CloseCode.Normal,
    reason = "",
  ): Promise<boolean> {
    assertType("id", id, "string");
    assertCloseFrame(code, reason, "server");
    return await this.#count({ type: "close", id, code, reason }) > 0;
  }

  async #count(query: ClusterQuery): Promise<number> {
    return (await this.#broadcaster.query(query)).number;
  }

  /** The live connections, of this server. */
  get clients(): ReadonlySet<Connection<Types>> {
    return this.#clients;
  }

  /** The rooms that somebody of this server is in, and who is in them. */
  get rooms(): ReadonlyMap<string, ReadonlySet<Connection<Types>>> {
    return this.#broadcaster.rooms.all;
  }

  /**
   * The connections that were lost most recently, the newest last; at most
   * `maxDisconnectedClients`. Those that were closed are not among them.
   */
  get disconnectedClients(): readonly DisconnectedClient[] {
    return this.#disconnected;
  }

  /**
   * The address that the server really listens at, or the path of its Unix
   * socket.
   *
   * @throws {Error} If the server has not listened yet.
   */
  get address(): string {
    return this.#bound.address;
  }

  /**
   * The port that the server really listens at; 0 for a Unix socket.
   *
   * @throws {Error} If the server has not listened yet.
   */
  get port(): number {
    return this.#bound.port;
  }

  /**
   * The URL that clients of this machine can connect to; for a Unix socket
   * `ws+unix:` and its path, which only some clients know.
   *
   * @throws {Error} If the server has not listened yet.
   */
  get url(): string {
    return this.#bound && this.#url;
  }

  /**
   * Those who are in a room, or in any of several.
   *
   * @param rooms The rooms' names; nobody is in none.
   * @returns Whom to send to; empty as long as nobody is there.
   * @throws {TypeError} If a name is empty.
   * @throws {RangeError} If one is longer than 1,024 bytes of UTF-8.
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
    return this.#broadcaster.audience(rooms, []);
  }

  /**
   * Sends a message to all clients, as {@linkcode Audience.send} does.
   *
   * @param data What to send.
   * @param options Who is not to get it, and what to do where it does not fit.
   * @returns As {@linkcode Audience.send}.
   * @throws {TypeError} If JSON cannot hold the data.
   * @throws {RangeError} If `overflow` is no policy.
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
    return this.#broadcaster.audience(undefined, [except].flat()).send(
      data,
      rest,
    );
  }

  /** All connections that may hold messages. */
  *#holders(): Generator<Connection<Types>> {
    yield* this.#clients;
    yield* this.#endDeferred;
  }

  get #bound(): BoundServer {
    if (this.#httpServer === undefined) {
      throw new Error(
        "Cannot tell the address of a server that has not listened: await listen() first",
      );
    }
    return this.#httpServer;
  }

  /**
   * Listens, and emits `ready`.
   *
   * @param hostname The host name or address to bind. As for `Deno.serve`, all
   * addresses of the machine by default.
   * @param port The port to bind; 0 picks a free one.
   * @param options TLS, a Unix socket, a shared port.
   * @returns A promise that resolves when the server listens.
   * @throws {Deno.errors.AddrInUse} (rejects) If the port is in use.
   * @throws {Deno.errors.NotCapable} (rejects) Without `--allow-net`.
   * @throws {TypeError} (rejects) If only one of `cert` and `key` is given, or
   * both with `path`, or `mode` without `path`.
   * @throws {RangeError} (rejects) If `mode` is not from 0 to 0o777.
   * @throws {Error} (rejects) If the server listens already or was closed.
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
    return Promise.try(() => this.#listen(hostname, port, options));
  }

  #listen(
    hostname: string,
    port: number,
    options: ServerListenOptions,
  ): void | Promise<void> {
    if (typeof hostname !== "string") {
      throw new TypeError(
        `Cannot listen at a host that is not a string, as in listen("localhost", 3000): current value is of type ${typeof hostname}`,
      );
    }
    assertType("options", options, "object");
    assertKnown("listen()", options, LISTEN_OPTIONS);
    const { path, mode, cert, key } = options;
    assertOption("path", path, "string");
    assertOption("mode", mode, "number");
    const where = path ?? `${formatHost(hostname)}:${port}`;
    this.#assertUnbound(where);
    if ((cert === undefined) !== (key === undefined)) {
      throw new TypeError(
        `Cannot listen at ${where} with TLS as "${
          cert === undefined ? "cert" : "key"
        }" is missing`,
      );
    }
    if (path !== undefined && (path === "" || cert !== undefined)) {
      throw new TypeError(
        path === ""
          ? "Cannot listen at a Unix socket whose path is empty"
          : `Cannot listen at ${where} with TLS as it is a Unix socket: leave out "cert" and "key"`,
      );
    }
    if (mode !== undefined) {
      if (path === undefined) {
        throw new TypeError(
          `Cannot listen at ${where} with "mode" as it is no Unix socket: leave it out`,
        );
      }
      if (!Number.isInteger(mode) || mode < 0 || mode > 0o777) {
        throw new RangeError(
          `Cannot listen at ${where} unless "mode" is from 0 to 0o777: current value is ${mode}`,
        );
      }
    }
    if (path === undefined) return this.#bind(hostname, port, options);
    return removeStaleSocket(path).then(() => {
      this.#assertUnbound(where);
      this.#bind(hostname, port, options);
    });
  }

  #assertUnbound(where: string): void {
    if (this.#closed) {
      throw new Error(
        `Cannot listen at ${where} as the server was closed: make a new one`,
      );
    }
    if (this.#httpServer) {
      throw new Error(
        `Cannot listen at ${where} as the server listens already: current value is ${this.#url}`,
      );
    }
  }

  #bind(hostname: string, port: number, options: ServerListenOptions): void {
    const { path, cert } = options;
    const bound = this.#httpServer = new BoundServer(
      { ...options, hostname, port },
      this.fetch,
      (error) => this.#reportError(error, "listen"),
    );
    const { address } = bound;
    // No client connects to "any address", but this machine is one of them.
    const isAny = address === "0.0.0.0" || address === "::";
    const host = isAny ? "localhost" : formatHost(address);
    this.#url = path === undefined
      ? `${cert === undefined ? "ws" : "wss"}://${host}:${bound.port}`
      : `ws+unix:${path}`;
    this.#emit("ready", ReadyEvent, []);
  }

  /**
   * The server as a plain handler, to be given to `Deno.serve` or to be called
   * in the routes of any framework. It needs no `this`, and it neither throws nor
   * rejects. To shut down a server that it is mounted in, first `await close()`
   * here, then shut that one down: its sockets would end in the runtime's own way
   * otherwise, and be told as `close` with 1005.
   *
   * @param request The request.
   * @param info Who it is from; without it `remoteAddress` is `unknown`.
   * @returns The upgrade; the fallback's answer; or why there is no upgrade.
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
  ): Response | Promise<Response> => {
    try {
      if (this.#fallback && !isUpgradeRequest(request)) {
        // What no handler could make sense of need not reach one.
        if (urlOf(request) === undefined) {
          return this.#refuse(request, INVALID_URL, "unknown");
        }
        return this.#callFallback(this.#fallback, request, info ?? {});
      }
      const result = this.#admission.admit(request, info);
      if (result instanceof Promise || this.#connecting.isSuspicious) {
        return this.#respondLater(request, result);
      }
      return this.#respond(request, result);
    } catch (error) {
      return this.#respondWithFailure(request, error);
    }
  };

  /**
   * Sends to one client, as {@linkcode Connection.send} does.
   *
   * @param client The client.
   * @param data What to send.
   * @param options What to do if the client does not keep up.
   * @returns As {@linkcode Connection.send}.
   * @throws {TypeError} If JSON cannot hold the data.
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
   * @param code The close code.
   * @param reason A reason for a human reader.
   * @returns A promise that resolves when the connection has ended.
   * @throws {RangeError} If the code may not be sent, or the reason is too long.
   */
  close(
    client: Connection<Types>,
    code?: number,
    reason?: string,
  ): Promise<void>;
  /**
   * Closes all connections and the server: the short form of
   * {@linkcode ServerSocket.shutdown}.
   *
   * @param code The close code that clients get.
   * @param reason A reason for a human reader.
   * @returns A promise that resolves when all connections have ended and the
   * port is free.
   * @throws {RangeError} If the code may not be sent, or the reason is too long.
   * @throws {TypeError} If the first argument is `undefined`, which is usually a lookup
   * that found no connection.
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
   * Closes all connections and the server: no new connection is taken (503), what was
   * sent still goes out, every client gets the closing handshake, and those that do not
   * answer within `closeTimeout` are cut off. Calling it again changes nothing.
   *
   * @param options The close code and reason, batches, and when clients may come back.
   * @returns A promise that resolves when all connections have ended and the port is
   * free.
   * @throws {TypeError} If an option is unknown, or of another type than it should be.
   * @throws {RangeError} If the code may not be sent, the reason is too long, or a
   * number is out of range.
   *
   * @example A deploy: a hundred clients a second, to come back after five
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
    assertType("options", options, "object", "a code goes to close()");
    assertKnown("shutdown()", options, SHUTDOWN_OPTIONS);
    const { drain, retryAfter } = options;
    assertOption("drain", drain, "object");
    if (drain) assertKnown("drain", drain, DRAIN_OPTIONS);
    const { batch = Infinity, every = 0 } = drain ?? {};
    const { code = CloseCode.GoingAway, reason: given = "" } = options;
    for (
      const [name, value] of [
        ["retryAfter", retryAfter ?? 0],
        ["drain.every", every],
      ] as const
    ) {
      assertSize(name, value);
      if (value === Infinity) {
        throw new RangeError(
          `Cannot use "${name}" unless it is finite: current value is ${value}`,
        );
      }
    }
    assertType("drain.batch", batch, "number");
    if (!(batch >= 1)) {
      throw new RangeError(
        `Cannot use "drain.batch" unless it is 1 or more: current value is ${batch}`,
      );
    }
    const reason = retryAfter === undefined
      ? given
      : appendRetryAfter(given, retryAfter);
    assertCloseFrame(code, reason, "server");
    if (this.#closed === undefined) {
      const seconds = retryAfter === undefined ? [] : [toSeconds(retryAfter)];
      this.#admission.close(...seconds);
      this.#closed = this.#shutDown(code, reason, batch, every);
    }
    return this.#closed;
  }

  /** The same as {@linkcode ServerSocket.close} without arguments. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** To be overridden: called when the server listens. */
  protected onReady?(): unknown;

  #emit<Type extends keyof ServerEvents<Types> & string>(
    type: Type,
    Event: new (
      type: Type,
      ...args: ServerEvents<Types>[Type]["args"]
    ) => ServerEvents<Types>[Type]["event"],
    args: ServerEvents<Types>[Type]["args"],
    pending?: Promise<unknown>[],
  ): void {
    emitters.emit(this, type, Event, args, pending);
  }

  #reportError(error: unknown, from: string, client?: Connection<Types>): void {
    this.#options.instrumentation?.listenerFailed(error, from);
    if (emitters.isHeard(this, "error")) {
      this.#emit("error", FailureEvent, [error, from, client]);
    } else this.#errorLog.write(`Unhandled error in "${from}":`, error);
  }

  /** The client that an event was about. */
  #clientOf(subject: unknown): Connection<Types> | undefined {
    if (subject instanceof ReceivedEvent) subject = subject.message;
    if (
      subject instanceof ConnectEvent || subject instanceof ClientEndEvent ||
      subject instanceof ClientEndedEvent
    ) {
      subject = subject.client;
    }
    if (subject instanceof Message) subject = subject.author;
    return subject instanceof Connection ? subject : undefined;
  }

  /** What connections tell this server. */
  #createOwner(): ConnectionOwner<Types> {
    return {
      rooms: this.#broadcaster.rooms,
      beforeClose: () => this.#closeCause,
      isHosted: () => this.#isHosted,
      hasListener: (type) =>
        emitters.isHeard(this, type) ||
        (type === "message" && emitters.hasTyped(this)),
      isMessageHeard: (message) => isMessageHeard(this, message),
      opened: (client) => {
        this.#connecting.delete(client);
        this.#clients.add(client);
        const pending: Promise<unknown>[] = [];
        this.#broadcaster.clientConnected(client);
        this.#emit("connect", ConnectEvent, [client, client.path], pending);
        this.#broadcaster.recover(client, pending);
        return pending;
      },
      received: (message, pending) => emitMessage(this, message, pending),
      findHandler: (request) =>
        endpoints.handlerOf<Types, ServerEvents<Types>>(this, request),
      drained: () => {},
      ended: (client, end) => {
        this.#clients.delete(client);
        this.#broadcaster.clientEnded(client);
        if (this.#clients.size === 0) this.#onEmpty?.();
        this.#admission.release(client.remoteAddress);
        const { type, code, reason, cause } = end;
        if (type === "disconnect") this.#remember(client, end);
        this.#emit(type, ClientEndEvent, [client, code, reason, cause]);
        this.#emit("end", ClientEndedEvent, [client, endDetails(end)]);
      },
      unsent: () => {},
      endDeferred: (client, isWaiting) => {
        if (isWaiting) this.#endDeferred.add(client);
        else this.#endDeferred.delete(client);
      },
      refused: (client) => {
        this.#connecting.delete(client);
        this.#admission.release(client.remoteAddress);
      },
      failed: (error, from, client) => this.#reportError(error, from, client),
    };
  }

  #remember(
    { id, remoteAddress, path }: Connection<Types>,
    end: ConnectionEnd,
  ): void {
    this.#disconnected.push({
      id,
      remoteAddress,
      path,
      ...end,
      time: new Date(),
    });
    if (this.#disconnected.length > this.#maxDisconnectedClients) {
      this.#disconnected.shift();
    }
  }

  async #callFallback(
    fallback: NonNullable<ServerOptions["fallback"]>,
    request: Request,
    info: RequestInfo,
  ): Promise<Response> {
    const { closed } = this.#admission;
    if (closed && this.#answers.isEnded) return refusalResponse(closed);
    try {
      // The runtime tells of it only if it is asked before it has the answer.
      const { completed } = info;
      return await this.#answers.track(
        request,
        async () => checkedAnswer(await fallback(request, info), request),
        isThenable(completed) ? completed : undefined,
      );
    } catch (error) {
      this.#reportError(error, "fallback");
      return refusalResponse(INTERNAL_ERROR);
    }
  }

  async #respondLater(
    request: Request,
    result: AdmissionResult | Promise<AdmissionResult>,
  ): Promise<Response> {
    try {
      const first = await result;
      const last = this.#connecting.isSuspicious
        ? await this.#admission.confirm(request, first)
        : first;
      return this.#respond(request, last);
    } catch (error) {
      return this.#respondWithFailure(request, error);
    }
  }

  /** Whether a server of another's carries the connections. */
  get #isHosted(): boolean {
    return this.#httpServer === undefined;
  }

  #respond(request: Request, result: AdmissionResult): Response {
    if ("refusal" in result) {
      const { refusal, remoteAddress } = result;
      return this.#refuse(request, refusal, remoteAddress);
    }
    const { admitted } = result;
    const { remoteAddress } = admitted;
    // It may have closed since that was decided.
    const { closed } = this.#admission;
    if (closed) {
      this.#admission.release(remoteAddress);
      return this.#refuse(request, closed, remoteAddress);
    }
    try {
      return this.#upgrade(request, admitted);
    } catch (error) {
      this.#admission.release(remoteAddress);
      throw error;
    }
  }

  #respondWithFailure(request: Request, error: unknown): Response {
    this.#reportError(error, "upgrade");
    return this.#refuse(request, INTERNAL_ERROR, "unknown");
  }

  #adapterChanged(state: "up" | "down", error: unknown): void {
    if (state === "down" && !emitters.isHeard(this, "adapter")) {
      const reason = error === undefined
        ? "the connection is lost"
        : errorReason(error);
      const isNew = !this.#warnedReasons.has(reason);
      if (isNew && this.#warnedReasons.size < MAX_WARNED_REASONS) {
        this.#warnedReasons.add(reason);
        console.warn(
          `Cannot reach other servers through the adapter: ${reason} (each reason is told once: listen to "adapter" for all)`,
        );
      }
    }
    this.#emit("adapter", AdapterEvent, [state, error]);
  }

  #refuse(
    request: Request,
    refusal: Refusal,
    remoteAddress: string,
  ): Response {
    const {
      status,
      reason,
      advice = `Refused ${remoteAddress}: ${status} ${reason}`,
    } = refusal;
    if (!emitters.isHeard(this, "refused") && !this.#warned.has(status)) {
      this.#warned.add(status);
      console.warn(
        `${advice} (this is told once for each status: listen to "refused" for all)`,
      );
    }
    this.#emit("refused", RefusedEvent, [
      request,
      status,
      reason,
      remoteAddress,
    ]);
    return refusalResponse(refusal);
  }

  #upgrade(
    request: Request,
    { url, path, remoteAddress, selected, context, responseHeaders }:
      AdmittedRequest,
  ): Response {
    // Once it is upgraded, a request can be asked nothing any more, and what
    // throws takes the whole listener down: so all that can fail comes first.
    const { headers } = request;
    const { instrumentation } = this.#options;
    const grace = selected.hasParts ? 0 : this.#grace;
    const upgrade = () =>
      upgradeRequest(request, selected.subprotocol, this.#keepalive, grace);
    const { socket, response, idleWatch } = instrumentation
      ? instrumentation.detach(upgrade)
      : upgrade();
    const client = new Connection<Types>({
      socket,
      driver: serverDriver,
      url,
      path,
      headers,
      releaseHeaders: () => {
        const kept = pickHeaders(headers, this.#keepHeaders);
        releaseHeaders(request);
        return kept;
      },
      remoteAddress,
      negotiated: selected,
      options: this.#options,
      context,
      idleWatch,
    }, this.#owner);
    this.#connecting.add(client);
    for (const [name, value] of responseHeaders ?? []) {
      response.headers.append(name, value);
    }
    return response;
  }

  /** Waits so many milliseconds, but no longer than there are clients. */
  async #waitUntilEmpty(delay: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = startTimer(resolve, delay);
    this.#onEmpty = resolve;
    await promise;
    clearTimeout(timer);
    this.#onEmpty = undefined;
  }

  /** Ends what the fallback answers, and the listener. */
  async #stopListening(): Promise<void> {
    const { closeTimeout } = this.#options;
    this.#answers.end();
    if (this.#httpServer === undefined) return;
    const isSent = await this.#answers.settled(closeTimeout);
    if (!isSent) return this.#httpServer.abort();
    // The runtime would wait without end for a socket that was lost as it opened.
    const patience = this.#connecting.lost > 0
      ? Math.min(SHUTDOWN_TIMEOUT, closeTimeout)
      : closeTimeout;
    await withTimeout(patience, this.#httpServer.shutdown());
  }

  async #shutDown(
    code: number,
    reason: string,
    batch: number,
    every: number,
  ): Promise<void> {
    this.#connecting.terminate();
    const settled = this.#broadcaster.settle(this.#options.closeTimeout);
    if (settled) await settled;
    for (;;) {
      const open = [...this.#clients].filter((one) => one.readyState === 1);
      this.#closeCause = "shutdown";
      for (const client of open.slice(0, batch)) client.close(code, reason);
      this.#closeCause = "local";
      if (open.length <= batch) break;
      await this.#waitUntilEmpty(every);
    }
    await Promise.all(Array.from(this.#clients, (client) => client.close()));
    for (const client of this.#endDeferred) client.terminate();
    await this.#stopListening();
    await this.#broadcaster.close();
    this.#errorLog.flush();
    emitters.stopWaiting(
      this,
      () =>
        new ConnectionEndedError(
          "Cannot wait any longer for an event from a server that was closed",
        ),
      true,
    );
  }
}

/** How long the runtime may take to shut down once nothing is under way, in milliseconds. */
/** How many reasons of the adapter are written to the console. */
const MAX_WARNED_REASONS = 10;

const SHUTDOWN_TIMEOUT = 250;

/** How long a peer may be silent if the program does not say, in milliseconds. */
const SERVER_IDLE_TIMEOUT_MS = 30_000;

/** The runtime refuses a frame of so many bytes, or more. */
const MAX_RUNTIME_FRAME_BYTES = 64 * 1024 * 1024;

/** What a fallback has returned, if that can be sent. */
function checkedAnswer(response: unknown, request: Request): Response {
  if (!(response instanceof Response)) {
    throw new TypeError(
      `Cannot answer ${
        printable(request.url)
      } with something other than a Response: current value is of type ${typeof response}`,
    );
  }
  if (!response.bodyUsed) return response;
  throw new TypeError(
    `Cannot answer ${
      printable(request.url)
    } with a Response whose body was read already: make a new one for each request`,
  );
}

function refusalResponse(
  { status, reason, headers, response }: Refusal,
): Response {
  return response ??
    new Response(`${reason}\n`, { status, headers: { ...headers } });
}

const SHUTDOWN_OPTIONS: readonly (keyof ShutdownOptions)[] = [
  "code",
  "reason",
  "drain",
  "retryAfter",
];

const DRAIN_OPTIONS: readonly (keyof NonNullable<ShutdownOptions["drain"]>)[] =
  ["batch", "every"];

const SERVER_OPTIONS = optionNames<ServerOptions>({
  origins: true,
  paths: true,
  protocols: true,
  authorize: true,
  authorizeTimeout: true,
  maxConnections: true,
  maxConnectionsPerAddress: true,
  keepHeaders: true,
  trustProxy: true,
  fallback: true,
  closeTimeout: true,
  idleTimeout: true,
  maxPayload: true,
  maxBufferedTotal: true,
  messageRate: true,
  maxDisconnectedClients: true,
  adapter: true,
  adapterQueue: true,
  history: true,
  presence: true,
  schema: true,
  onInvalid: true,
  concurrency: true,
  codec: true,
  plain: true,
  highWaterMark: true,
  maxBufferedAmount: true,
  overflow: true,
});

const LISTEN_OPTIONS = optionNames<ServerListenOptions>({
  cert: true,
  key: true,
  path: true,
  mode: true,
  reusePort: true,
});
