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
  type Hub,
  type Outgoing,
  type SocketMessage,
  type SocketTypes,
} from "./core/connection.ts";
import {
  bind,
  bracketed,
  type Listener,
  remoteAddress,
  type RequestInfo,
  serverSide,
  upgrade,
} from "./core/listener.ts";
import { Message } from "./message.ts";
import {
  asksForUpgrade,
  pickProtocol,
  type Refusal,
  refuse,
} from "./core/admission.ts";
import { Emitter } from "./core/emitter.ts";
import { startTimer } from "./core/timer.ts";
import {
  ClientEndEvent,
  ConnectEvent,
  FailureEvent,
  ReadyEvent,
  ReceivedEvent,
  type ServerEvents,
} from "./core/events.ts";
import {
  assertCloseable,
  type Cause,
  CloseCode,
  ConnectionEndedError,
  type End,
} from "./core/errors.ts";

export * from "./core/public.ts";
export type { RequestInfo } from "./core/listener.ts";
export {
  type ClientEndArgs,
  ClientEndEvent,
  ReadyEvent,
  type ServerEvents,
} from "./core/events.ts";

/** Options of {@linkcode ServerSocket}. */
export interface ServerOptions {
  /**
   * Answers requests that do not ask for a WebSocket, so that pages and sockets
   * share a port. Without it they get 426.
   */
  readonly fallback?: (
    request: Request,
    info: RequestInfo,
  ) => Response | Promise<Response>;
  /**
   * The subprotocols that the server speaks. The first that a client asks for
   * and that stands here is spoken: the client's order counts.
   *
   * @default {[]}
   */
  readonly protocols?: readonly string[];
  /**
   * How long a peer has to answer a closing handshake, in milliseconds. One that
   * does not is cut off, which is a `disconnect`.
   *
   * @default {10_000}
   */
  readonly closeTimeout?: number;
  /**
   * After how many milliseconds of silence a peer counts as dead, which is a
   * `disconnect`. It is pinged after half of that; 0 waits for ever.
   *
   * @default {30_000}
   */
  readonly idleTimeout?: number;
  /**
   * How many lost connections {@linkcode ServerSocket.disconnectedClients}
   * remembers.
   *
   * @default {100}
   */
  readonly maxDisconnectedClients?: number;
}

/** Options of {@linkcode ServerSocket.listen}. */
export interface ServerListenOptions {
  /** The TLS certificate chain, in PEM; together with `key`. */
  readonly cert?: string;
  /** The TLS private key, in PEM; together with `cert`. */
  readonly key?: string;
  /** The path of a Unix socket, instead of a host and a port. */
  readonly path?: string;
  /**
   * Whether several processes or workers may listen on the same port, and share
   * its connections. Deno ends a process that asks for this without
   * `--unstable-net`; `deno serve --parallel` needs neither.
   *
   * @default {false}
   */
  readonly reusePort?: boolean;
}

/** A connection that was lost, as a server remembers it. */
export interface DisconnectedClient extends End {
  /** The {@linkcode Connection.id} that it had. */
  readonly id: string;
  /** The peer's address. */
  readonly remoteAddress: string;
  /** The path that was asked for. */
  readonly path: string;
  /** When it was lost. */
  readonly time: Date;
}

/**
 * The hub of all connections of one server; not one peer: that is a
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
  extends Emitter<ServerEvents<Connection<Types>, SocketMessage<Types>>>
  implements AsyncDisposable {
  readonly #options: Required<Omit<ServerOptions, "fallback">>;
  readonly #fallback: ServerOptions["fallback"];
  readonly #clients = new Set<Connection<Types>>();
  /** Upgraded, but not open yet. */
  readonly #connecting = new Set<Connection<Types>>();
  /** Ended, but their `connect` listeners have not heard all yet. */
  readonly #lingering = new Set<Connection<Types>>();
  readonly #disconnected: DisconnectedClient[] = [];
  readonly #hub: Hub<Types>;
  #cause: Cause = "local";
  #listener: Listener | undefined;
  #url = "";
  #closed: Promise<void> | undefined;

  /**
   * Creates a server. It neither listens nor takes connections yet.
   *
   * @param options What to do unlike the defaults.
   * @throws {RangeError} If a number among the options is negative or no number.
   */
  constructor(options: ServerOptions = {}) {
    super();
    const {
      fallback,
      protocols = [],
      closeTimeout = 10_000,
      idleTimeout = 30_000,
      maxDisconnectedClients = 100,
    } = options;
    const numbers = { closeTimeout, idleTimeout, maxDisconnectedClients };
    for (const [name, value] of Object.entries(numbers)) {
      if (!(value >= 0)) {
        throw new RangeError(
          `Cannot use "${name}" unless it is 0 or more: current value is ${value}`,
        );
      }
    }
    this.#fallback = fallback;
    this.#options = { protocols, ...numbers };
    this.#hub = this.#makeHub();
    this.#addOverrides();
  }

  /** The live connections. */
  get clients(): ReadonlySet<Connection<Types>> {
    return this.#clients;
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

  get #bound(): Listener {
    if (this.#listener === undefined) {
      throw new Error(
        "Cannot tell the address of a server that has not listened: await listen() first",
      );
    }
    return this.#listener;
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
   * both with `path`.
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

  #listen(hostname: string, port: number, options: ServerListenOptions): void {
    const { path, cert, key } = options;
    const where = path ?? `${bracketed(hostname)}:${port}`;
    if (this.#closed) {
      throw new Error(
        `Cannot listen at ${where} as the server was closed: make a new one`,
      );
    }
    if (this.#listener) {
      throw new Error(
        `Cannot listen at ${where} as the server listens already: current value is ${this.#url}`,
      );
    }
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
    const listener = bind({ ...options, hostname, port }, this.fetch);
    this.#listener = listener;
    const { address } = listener;
    // No client connects to "any address", but this machine is one of them.
    const isAny = address === "0.0.0.0" || address === "::";
    const host = isAny ? "localhost" : bracketed(address);
    this.#url = path === undefined
      ? `${cert === undefined ? "ws" : "wss"}://${host}:${listener.port}`
      : `ws+unix:${path}`;
    this.emit("ready", ReadyEvent, []);
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
      if (this.#fallback && !asksForUpgrade(request)) {
        return this.#fallBack(this.#fallback, request, info ?? {});
      }
      const refusal = this.#closed
        ? { status: 503, why: "The server is shutting down" }
        : refuse(request);
      return refusal ? answer(refusal) : this.#admit(request, info);
    } catch (error) {
      this.#fail(error, "upgrade");
      return answer({ status: 500, why: "Internal server error" });
    }
  };

  /**
   * Sends to one client, as {@linkcode Connection.send} does.
   *
   * @param client The client.
   * @param data What to send.
   * @returns As {@linkcode Connection.send}.
   * @throws {TypeError} If JSON cannot hold the data.
   */
  send(client: Connection<Types>, data: Outgoing<Types>): Promise<void> {
    return client.send(data);
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
   * Shuts down in good order: no new connection is taken (503), what was sent
   * still goes out, every client gets the closing handshake, and those that do
   * not answer within `closeTimeout` are cut off. Calling it again changes
   * nothing.
   *
   * @param code The close code that clients get.
   * @param reason A reason for a human reader.
   * @returns A promise that resolves when all connections have ended and the
   * port is free.
   * @throws {RangeError} If the code may not be sent, or the reason is too long.
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
    target: Connection<Types> | number = CloseCode.GoingAway,
    second?: number | string,
    third?: string,
  ): Promise<void> {
    if (typeof target !== "number") {
      return target.close(
        typeof second === "number" ? second : undefined,
        third,
      );
    }
    const reason = typeof second === "string" ? second : "";
    assertCloseable(target, reason, "server");
    return this.#closed ??= this.#shutDown(target, reason);
  }

  /** The same as {@linkcode ServerSocket.close} without arguments. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** To be overridden: the server listens. */
  protected onReady?(): unknown;

  /**
   * To be overridden: a client has connected.
   *
   * @param client The client.
   * @param path The path that it asked for.
   */
  protected onConnect?(client: Connection<Types>, path: string): unknown;

  /**
   * To be overridden: a message has come.
   *
   * @param message The message.
   */
  protected onMessage?(message: SocketMessage<Types>): unknown;

  /**
   * To be overridden: a connection was closed.
   *
   * @param client The client.
   * @param code The close code.
   * @param reason The reason.
   * @param cause What brought the end about.
   */
  protected onClose?(
    client: Connection<Types>,
    code: number,
    reason: string,
    cause: Cause,
  ): unknown;

  /**
   * To be overridden: a connection was lost.
   *
   * @param client The client.
   * @param code The close code, usually 1006.
   * @param reason The reason, usually empty.
   * @param cause What brought the end about.
   */
  protected onDisconnect?(
    client: Connection<Types>,
    code: number,
    reason: string,
    cause: Cause,
  ): unknown;

  /** Turns what a listener threw into an `error` event. */
  protected override onListenerError(
    error: unknown,
    from: string,
    subject: unknown,
  ): void {
    this.#fail(error, from, this.#clientOf(subject));
  }

  #fail(error: unknown, from: string, client?: Connection<Types>): void {
    if (this.isHeard("error")) {
      this.emit("error", FailureEvent, [error, from, client]);
    } else console.error(`Unhandled error in "${from}":`, error);
  }

  /** The client that an event was about. */
  #clientOf(subject: unknown): Connection<Types> | undefined {
    if (subject instanceof ReceivedEvent) subject = subject.message;
    if (subject instanceof ConnectEvent || subject instanceof ClientEndEvent) {
      subject = subject.client;
    }
    if (subject instanceof Message) subject = subject.author;
    return subject instanceof Connection ? subject : undefined;
  }

  #addOverrides(): void {
    if (this.onReady) this.on("ready", () => this.onReady?.());
    if (this.onConnect) {
      this.on("connect", (...args) => this.onConnect?.(...args));
    }
    if (this.onMessage) {
      this.on("message", (message) => this.onMessage?.(message));
    }
    if (this.onClose) this.on("close", (...args) => this.onClose?.(...args));
    if (this.onDisconnect) {
      this.on("disconnect", (...args) => this.onDisconnect?.(...args));
    }
  }

  /** What connections tell this server. */
  #makeHub(): Hub<Types> {
    return {
      isEarly: true,
      cause: () => this.#cause,
      isHeard: (type) => this.isHeard(type),
      opened: (client) => {
        this.#connecting.delete(client);
        this.#clients.add(client);
        const pending: Promise<unknown>[] = [];
        this.emit("connect", ConnectEvent, [client, client.path], pending);
        return pending;
      },
      received: (message) => this.emit("message", ReceivedEvent, [message]),
      ended: (client, end) => {
        this.#clients.delete(client);
        const { type, code, reason, cause } = end;
        if (type === "disconnect") this.#remember(client, end);
        this.emit(type, ClientEndEvent, [client, code, reason, cause]);
      },
      lingers: (client, isWaiting) => {
        if (isWaiting) this.#lingering.add(client);
        else this.#lingering.delete(client);
      },
      refused: (client) => this.#connecting.delete(client),
      failed: (error, from, client) => this.#fail(error, from, client),
    };
  }

  #remember({ id, remoteAddress, path }: Connection<Types>, end: End): void {
    this.#disconnected.push({
      id,
      remoteAddress,
      path,
      ...end,
      time: new Date(),
    });
    if (this.#disconnected.length > this.#options.maxDisconnectedClients) {
      this.#disconnected.shift();
    }
  }

  async #fallBack(
    fallback: NonNullable<ServerOptions["fallback"]>,
    request: Request,
    info: RequestInfo,
  ): Promise<Response> {
    try {
      const response = await fallback(request, info);
      if (response instanceof Response) return response;
      throw new TypeError(
        `Cannot answer ${request.url} with something other than a Response: current value is of type ${typeof response}`,
      );
    } catch (error) {
      this.#fail(error, "fallback");
      return answer({ status: 500, why: "Internal server error" });
    }
  }

  #admit(request: Request, info: RequestInfo | undefined): Response {
    const { protocols, closeTimeout, idleTimeout } = this.#options;
    // Once it is upgraded, a request can be asked nothing any more, and what
    // throws takes the whole listener down: so all that can fail comes first.
    const { headers } = request;
    const from = remoteAddress(info);
    const protocol = pickProtocol(headers, protocols);
    const url = request.url.replace(/^http/, "ws");
    const path = URL.parse(url)?.pathname;
    if (path === undefined) {
      const why = `Cannot make sense of the URL ${url}`;
      return answer({ status: 400, why });
    }
    const { socket, response } = upgrade(request, protocol, idleTimeout);
    const client = new Connection<Types>({
      socket,
      side: serverSide,
      url,
      path,
      headers,
      remoteAddress: from,
      protocol,
      closeTimeout,
    }, this.#hub);
    this.#connecting.add(client);
    return response;
  }

  async #shutDown(code: number, reason: string): Promise<void> {
    this.#cause = "shutdown";
    for (const client of this.#connecting) client.terminate();
    await Promise.all(
      [...this.#clients].map((client) => client.close(code, reason)),
    );
    for (const client of this.#lingering) client.terminate();
    if (this.#listener) {
      // A fallback that never ends its answer must not hold the shutdown up.
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = startTimer(resolve, this.#options.closeTimeout);
      await Promise.race([this.#listener.close(), promise]);
      clearTimeout(timer);
    }
    this.stopWaiting(
      () =>
        new ConnectionEndedError(
          "Cannot wait any longer for an event of a server that was closed",
        ),
      true,
    );
  }
}

function answer({ status, why, headers }: Refusal): Response {
  return new Response(`${why}\n`, { status, headers: { ...headers } });
}
