/**
 * Deno's HTTP server and its upgrade to WebSockets. The only module that uses the global
 * `Deno`.
 *
 * @module
 */

import { MAX_DELAY_MS } from "../util/timer.ts";
import type { Keepalive } from "./keepalive.ts";
import { freeTimers, privateField } from "./deno_internals.ts";
import {
  afterEventLoopTurn,
  type IdleWatch,
  type RawSocket,
  type SocketDriver,
} from "./websocket.ts";

/** Where and how to listen. */
export interface BindOptions {
  /** The host name or address to bind. */
  readonly hostname: string;
  /** The TCP port to bind; 0 picks a free one. */
  readonly port: number;
  /** The path of a Unix socket to bind instead of a TCP port. */
  readonly path?: string | undefined;
  /** The permissions of the Unix socket's file. */
  readonly mode?: number | undefined;
  /** The TLS certificate chain, in PEM. */
  readonly cert?: string | undefined;
  /** The TLS private key, in PEM. */
  readonly key?: string | undefined;
  /** Whether other processes or workers may bind the same port. */
  readonly reusePort?: boolean | undefined;
}

/** Information about a request, from `Deno.serve` or a similar server. */
export interface RequestInfo {
  /** The remote address of the TCP connection. */
  readonly remoteAddr?: {
    /** The transport, such as `tcp`. */
    readonly transport?: string;
    /** The host. */
    readonly hostname?: string;
    /** The port. */
    readonly port?: number;
  };
  /** A promise that settles when the response was sent, or could not be sent. */
  readonly completed?: PromiseLike<unknown>;
}

/** Handles requests. It must not throw or reject. */
type Handler = (
  request: Request,
  info: RequestInfo,
) => Response | Promise<Response>;

/** The delay before listening again, in milliseconds: the first and the maximum one. */
const RETRY_DELAY_MS = { first: 100, max: 5_000 } as const;

/**
 * A bound HTTP server.
 *
 * Deno stops listening when it cannot accept a connection, for example because the
 * process has no file descriptors left. This class reports the error, and listens at the
 * same address again as soon as possible. Open sockets are not affected.
 */
export class BoundServer {
  /** The IP address, or the path of the Unix socket. */
  readonly address: string;
  /** The TCP port; 0 for a Unix socket. */
  readonly port: number;
  readonly #options: BindOptions;
  readonly #handler: Handler;
  readonly #failed: (error: unknown) => void;
  /** The listening server; undefined while there is none. */
  #server: Deno.HttpServer<Deno.Addr> | undefined;
  #controller = new AbortController();
  /** When it started to listen. */
  #listeningSince = 0;
  #retryDelay: number = RETRY_DELAY_MS.first;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  /**
   * Binds the address, and starts to serve.
   *
   * @param failed Called with the error if it stops listening.
   * @throws {Deno.errors.AddrInUse} If the address is in use.
   * @throws {Deno.errors.NotCapable} If the permission to bind is missing.
   */
  constructor(
    options: BindOptions,
    handler: Handler,
    failed: (error: unknown) => void,
  ) {
    this.#handler = handler;
    this.#failed = failed;
    this.#options = options;
    const { addr } = this.#serve(options);
    const isNet = addr.transport === "tcp";
    this.address = isNet ? addr.hostname : options.path ?? "";
    this.port = isNet ? addr.port : 0;
    // To bind the same port again.
    this.#options = { ...options, port: this.port };
  }

  /**
   * Stops listening. Resolves when all responses have been sent and all sockets have
   * ended; never if a socket was lost before it opened.
   */
  async shutdown(): Promise<void> {
    this.#close();
    await this.#server?.shutdown();
  }

  /**
   * Stops listening and drops all connections. Resolves when the port is free. All
   * sockets must have been closed first, as Deno would close them with an invalid code.
   */
  async abort(): Promise<void> {
    this.#close();
    if (this.#server === undefined) return;
    const { finished } = this.#server;
    this.#controller.abort();
    await finished.catch(() => {}); // it has stopped anyway
  }

  #close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #serve(options: BindOptions): Deno.HttpServer<Deno.Addr> {
    // A new signal for each server, as aborting a failed one throws an uncaught error.
    this.#controller = new AbortController();
    const { signal } = this.#controller;
    const server = this.#server = serve(options, signal, this.#handler);
    this.#listeningSince = performance.now();
    const stopped = (error: unknown) => {
      if (!this.#isClosed) this.#retry(error);
    };
    // It resolves, too, when a handler does not return the response of an upgrade.
    server.finished.then(() => stopped(new Error(STOPPED)), stopped);
    return server;
  }

  #retry(error: unknown): void {
    this.#server = undefined;
    // After it has worked for a while, this is a new failure.
    const hasRecovered =
      performance.now() - this.#listeningSince > 2 * RETRY_DELAY_MS.max;
    if (hasRecovered) this.#retryDelay = RETRY_DELAY_MS.first;
    this.#timer = setTimeout(() => {
      try {
        this.#serve(this.#options);
      } catch (error) {
        this.#retry(error);
      }
    }, this.#retryDelay);
    this.#retryDelay = Math.min(this.#retryDelay * 2, RETRY_DELAY_MS.max);
    this.#failed(error);
  }
}

const STOPPED =
  "Cannot keep listening as Deno has stopped the server: leave the upgrade of requests to this library";

function serve(
  options: BindOptions,
  signal: AbortSignal,
  handler: Handler,
): Deno.HttpServer<Deno.Addr> {
  const { hostname, port, path, mode, cert, key, reusePort = false } = options;
  const onListen = () => {};
  if (path !== undefined) {
    const server = Deno.serve({ path, signal, onListen }, (request, info) =>
      // The address in `info` is that of the server's own file.
      handler(request, {
        get completed() {
          return info.completed;
        },
      }));
    try {
      if (mode !== undefined) Deno.chmodSync(path, mode);
    } catch (error) {
      server.shutdown();
      throw error;
    }
    return server;
  }
  const tcp = { hostname, port, reusePort, signal, onListen };
  try {
    return cert !== undefined && key !== undefined
      ? Deno.serve({ ...tcp, cert, key }, handler)
      : Deno.serve(tcp, handler);
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    throw new Deno.errors.AddrInUse(
      `Cannot listen at ${hostname}:${port} as another program does: choose another port, or 0 for a free one`,
      { cause: error },
    );
  }
}

/**
 * Removes the file of a Unix socket without a listener, which a killed process leaves
 * behind. Any other file stays.
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const before = socketAt(path);
  if (before === undefined) return;
  try {
    // Not `using`: Node 22 cannot even parse that, and imports this module, too.
    (await Deno.connect({ transport: "unix", path })).close();
    return; // another process listens
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionRefused)) return;
  }
  // Another process may have replaced it meanwhile.
  const { dev, ino } = socketAt(path) ?? {};
  if (dev === before.dev && ino === before.ino) Deno.removeSync(path);
}

/** Returns the file of a Unix socket; undefined if there is none. */
function socketAt(path: string): Deno.FileInfo | undefined {
  try {
    const info = Deno.lstatSync(path);
    return info.isSocket ? info : undefined;
  } catch {
    return undefined; // binding will report the error
  }
}

/**
 * Whether the client of a request has disconnected, after a delay in milliseconds.
 * Upgrading its request would leak a file descriptor, and cause no event. Deno needs a
 * turn of the event loop to notice a disconnect.
 */
export async function isGone(request: Request, delay = 0): Promise<boolean> {
  muteSignalWarning();
  const { signal } = request;
  if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay));
  await new Promise<void>((resolve) => afterEventLoopTurn(resolve));
  return signal.aborted;
}

/** The start of Deno's warning. */
const SIGNAL_WARNING = "Deno.serve: request.signal";

/** Whether the warning is suppressed. */
let isWarningMuted = false;

/**
 * Suppresses the warning that Deno prints once when `request.signal` is used, as this
 * library uses it and not the application.
 */
function muteSignalWarning(): void {
  if (isWarningMuted) return;
  isWarningMuted = true;
  const { warn } = console;
  const filter = (...args: unknown[]) => {
    if (!String(args[0]).startsWith(SIGNAL_WARNING)) return warn(...args);
    if (console.warn === filter) console.warn = warn;
  };
  console.warn = filter;
}

/** An upgraded request. */
export interface UpgradeResult {
  /** The socket. Listeners must be added synchronously, before it opens. */
  readonly socket: RawSocket;
  /** The response. It must be returned to `Deno.serve`. */
  readonly response: Response;
  /** Detects a lost peer; undefined if the runtime does. */
  readonly idleWatch?: IdleWatch | undefined;
}

/**
 * Functions that upgrade requests without a network, which `testing.ts` adds. They get
 * the idle timeout and the grace period, in milliseconds.
 */
export const upgradeHandlers: WeakMap<
  Request,
  (idleTimeout: number, grace: number) => UpgradeResult
> = new WeakMap();

/**
 * Upgrades a request to a WebSocket.
 *
 * @param request A valid handshake.
 * @param protocol The negotiated subprotocol; empty for none.
 * @param keepalive The idle timeout of the server.
 * @param grace Additional time for a pong, in milliseconds.
 */
export function upgradeRequest(
  request: Request,
  protocol: string,
  keepalive: Keepalive,
  grace: number,
): UpgradeResult {
  const { idleTimeout } = keepalive;
  const longest = idleTimeout && Math.min(idleTimeout + grace, MAX_DELAY_MS);
  const { socket, response } =
    upgradeHandlers.get(request)?.(idleTimeout, grace) ??
      Deno.upgradeWebSocket(request, { idleTimeout: longest / 1000 });
  // Deno's option `protocol` supports only lists separated by a comma and a space.
  if (protocol) response.headers.set("sec-websocket-protocol", protocol);
  return { socket, response, idleWatch: keepalive.watch(socket, grace) };
}

/** Empty and immutable headers, like those of a request. */
const NO_HEADERS = Response.error().headers;

/**
 * Frees the headers of an upgraded request, which Deno holds for the life of the socket.
 * The request appears to have no headers afterwards.
 */
export function releaseHeaders(request: Request): void {
  const cache = privateField(request, "headers cache");
  if (cache !== undefined) Reflect.set(request, cache, NO_HEADERS);
}

/** Uses Deno's server sockets. */
export const serverDriver: SocketDriver = {
  side: "server",
  release: freeTimers,
  close(socket, code, reason, onSent) {
    // After `close()`, a server's socket of Deno stops reading at the next message, and
    // the peer may never get the close frame. A client's socket keeps reading until it
    // receives a close frame (RFC 6455, section 5.5.1), so this changes the role of the
    // socket.
    const roleField = privateField(socket, "[[role]]");
    // A socket with `terminate` is not Deno's, and keeps reading by itself.
    if (roleField !== undefined || socket.terminate) {
      socket.close(code, reason);
      if (roleField !== undefined) Reflect.set(socket, roleField, CLIENT_ROLE);
      return afterEventLoopTurn(onSent);
    }
    // Without that field, close a little later, as the close frame would not be sent
    // while received messages are being dispatched.
    let stop = () => clearTimeout(timer);
    const timer = setTimeout(() => {
      socket.close(code, reason);
      stop = afterEventLoopTurn(onSent);
    }, 10);
    return () => stop();
  },
};

/** Deno's value for the role of a client. */
const CLIENT_ROLE = 1;

/** The resident memory of the process, in bytes. */
export function processMemory(): number {
  return Deno.memoryUsage().rss;
}
