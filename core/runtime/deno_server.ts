/**
 * `Deno.serve` and the upgrade: HTTP in, sockets out. The only module that
 * names `Deno`, and the one that knows how Deno's sockets have to be handled.
 *
 * @module
 */

import { MAX_DELAY_MS } from "../util/timer.ts";
import type { Keepalive } from "./keepalive.ts";
import {
  afterEventLoopTurn,
  type IdleWatch,
  privateField,
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

/** What `Deno.serve` and others tell of a request. */
export interface RequestInfo {
  /** The address of the other end of the TCP connection. */
  readonly remoteAddr?: {
    /** The kind of connection. */
    readonly transport?: string;
    /** Its host. */
    readonly hostname?: string;
    /** Its port. */
    readonly port?: number;
  };
  /** Settles when the answer was sent, or could not be sent. */
  readonly completed?: PromiseLike<unknown>;
}

/** Answers requests; it must neither throw nor reject. */
type Handler = (
  request: Request,
  info: RequestInfo,
) => Response | Promise<Response>;

/** How long to wait before listening again, in milliseconds: at first, and at most. */
const PAUSES = { first: 100, longest: 5_000 } as const;

/**
 * A bound listener.
 *
 * The runtime stops listening when it cannot accept a connection, which is so when the
 * process has no file descriptors left. Then this tells so, and listens again at the
 * same address as soon as that is possible. Open sockets are not affected.
 */
export class BoundServer {
  /** The address, or the path of a Unix socket. */
  readonly address: string;
  /** The TCP port; 0 for a Unix socket. */
  readonly port: number;
  readonly #options: BindOptions;
  readonly #handler: Handler;
  readonly #failed: (error: unknown) => void;
  /** What listens; undefined while nothing does. */
  #server: Deno.HttpServer<Deno.Addr> | undefined;
  #controller = new AbortController();
  /** When it began to listen. */
  #since = 0;
  #pause: number = PAUSES.first;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  /**
   * Binds and serves.
   *
   * @param options Where and how.
   * @param handler Answers requests.
   * @param failed Hears why it listens no more.
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
    // Whatever port it got, it gets again.
    this.#options = { ...options, port: this.port };
  }

  /**
   * Stops listening, and waits for the answers that are being sent. It waits without
   * end for a socket that was lost before it has opened.
   *
   * @returns A promise that resolves when all have been sent.
   */
  async shutdown(): Promise<void> {
    this.#close();
    await this.#server?.shutdown();
  }

  /**
   * Stops listening, and cuts all connections. All sockets must have been closed: the
   * runtime would end them in its own way.
   *
   * @returns A promise that resolves when the port is free.
   */
  async abort(): Promise<void> {
    this.#close();
    if (this.#server === undefined) return;
    const { finished } = this.#server;
    this.#controller.abort();
    await finished.catch(() => {}); // it has stopped, for whatever reason
  }

  #close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #serve(options: BindOptions): Deno.HttpServer<Deno.Addr> {
    // One signal for each: aborting what has failed is an uncaught error.
    this.#controller = new AbortController();
    const { signal } = this.#controller;
    const server = this.#server = serve(options, signal, this.#handler);
    this.#since = performance.now();
    server.finished.catch((error) => {
      if (!this.#isClosed) this.#retry(error);
    });
    return server;
  }

  #retry(error: unknown): void {
    this.#server = undefined;
    // It was well for a while, so this is another shortage.
    const hasServed = performance.now() - this.#since > 2 * PAUSES.longest;
    if (hasServed) this.#pause = PAUSES.first;
    this.#timer = setTimeout(() => {
      try {
        this.#serve(this.#options);
      } catch (error) {
        this.#retry(error);
      }
    }, this.#pause);
    this.#pause = Math.min(this.#pause * 2, PAUSES.longest);
    this.#failed(error);
  }
}

function serve(
  options: BindOptions,
  signal: AbortSignal,
  handler: Handler,
): Deno.HttpServer<Deno.Addr> {
  const { hostname, port, path, mode, cert, key, reusePort = false } = options;
  const onListen = () => {};
  if (path !== undefined) {
    const server = Deno.serve({ path, signal, onListen }, (request, info) =>
      // The address is that of the server's own file.
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
  return cert !== undefined && key !== undefined
    ? Deno.serve({ ...tcp, cert, key }, handler)
    : Deno.serve(tcp, handler);
}

/**
 * Removes the file of a Unix socket that nobody listens at, as a process leaves behind
 * that was killed. Anything else is left where it is.
 *
 * @param path The path.
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const before = socketAt(path);
  if (before === undefined) return;
  try {
    using _connection = await Deno.connect({ transport: "unix", path });
    return; // somebody does listen
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionRefused)) return;
  }
  // Another process may have taken it over meanwhile.
  const { dev, ino } = socketAt(path) ?? {};
  if (dev === before.dev && ino === before.ino) Deno.removeSync(path);
}

/** What is known of a Unix socket's file; undefined if there is none. */
function socketAt(path: string): Deno.FileInfo | undefined {
  try {
    const info = Deno.lstatSync(path);
    return info.isSocket ? info : undefined;
  } catch {
    return undefined; // if it cannot be looked at, binding will say why
  }
}

/**
 * Whether the client that has sent a request is gone. To upgrade such a request costs
 * Deno a file descriptor for good, and no event tells of it. Deno needs a turn of the
 * event loop to notice.
 *
 * @param request The request.
 * @param delay How long to wait for that, in milliseconds.
 * @returns True if the client is known to be gone.
 */
export async function isGone(request: Request, delay = 0): Promise<boolean> {
  muteSignalAdvice();
  const { signal } = request;
  if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay));
  await new Promise<void>((resolve) => afterEventLoopTurn(resolve));
  return signal.aborted;
}

/** How Deno's advice begins. */
const SIGNAL_ADVICE = "Deno.serve: request.signal";

/** Whether the advice was kept back, or is about to be. */
let isAdviceMuted = false;

/**
 * Keeps back Deno's advice about `request.signal`, which Deno gives once, from a
 * program that has not asked for that signal: it is this library that looks whether
 * the client is still there.
 */
function muteSignalAdvice(): void {
  if (isAdviceMuted) return;
  isAdviceMuted = true;
  const { warn } = console;
  const filter = (...args: unknown[]) => {
    if (!String(args[0]).startsWith(SIGNAL_ADVICE)) return warn(...args);
    if (console.warn === filter) console.warn = warn;
  };
  console.warn = filter;
}

/** A request that has become a socket. */
export interface UpgradeResult {
  /** The socket. It is not open yet: listen to it before anything is awaited. */
  readonly socket: RawSocket;
  /** The answer. It has to be returned whatever happens. */
  readonly response: Response;
  /** Notices that the peer is gone, where the runtime does not do so itself. */
  readonly idleWatch?: IdleWatch | undefined;
}

/**
 * What upgrades requests that have not come by the runtime: `testing.ts` makes such.
 * It is given the idle timeout in milliseconds, and how much later to give up a peer
 * that has been asked for a sign of life.
 */
export const upgradeHandlers: WeakMap<
  Request,
  (idleTimeout: number, grace: number) => UpgradeResult
> = new WeakMap();

/**
 * Upgrades a request to a WebSocket.
 *
 * @param request The request, already found to be a valid handshake.
 * @param protocol The subprotocol to speak; empty for none.
 * @param keepalive Notices that peers are gone, for all sockets of the server.
 * @param grace How much longer than its timeout a peer may take to answer a ping, in
 * milliseconds.
 * @returns The socket and the answer.
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
  // Not by the runtime's option, which knows only lists with a space in them.
  if (protocol) response.headers.set("sec-websocket-protocol", protocol);
  return { socket, response, idleWatch: keepalive.watch(socket, grace) };
}

/** Headers that are empty, and stay so, as those of a request cannot be changed either. */
const NO_HEADERS = Response.error().headers;

/**
 * Lets go of the headers of a request that was upgraded. A listener of Deno's holds the
 * request as long as the socket lives, and so what was read of its headers. Whoever has
 * the request finds that it has none any more.
 *
 * @param request The request.
 */
export function releaseHeaders(request: Request): void {
  const cache = privateField(request, "headers cache");
  if (cache !== undefined) Reflect.set(request, cache, NO_HEADERS);
}

/** How the server's side handles Deno's sockets. */
export const serverDriver: SocketDriver = {
  side: "server",
  close(socket, code, reason, onSent) {
    // A server's socket that is closing stops at the first message that is
    // still on its way, be there a close frame behind it or not, and the peer
    // may never hear of the end. A client's socket reads on, as it should
    // (RFC 6455, 5.5.1): so it is made to take itself for one.
    const roleField = privateField(socket, "[[role]]");
    // One that can be terminated is none of Deno's, and reads on by itself.
    if (roleField !== undefined || socket.terminate) {
      socket.close(code, reason);
      if (roleField !== undefined) Reflect.set(socket, roleField, CLIENT_ROLE);
      return afterEventLoopTurn(onSent);
    }
    // Without that, at least not amid messages that have come already, or are
    // about to: then the close frame would not leave at all.
    let stop = () => clearTimeout(timer);
    const timer = setTimeout(() => {
      socket.close(code, reason);
      stop = afterEventLoopTurn(onSent);
    }, 10);
    return () => stop();
  },
};

/** What Deno's sockets call the client's role. */
const CLIENT_ROLE = 1;
