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
  /** The TLS certificate chain, in PEM. */
  readonly cert?: string | undefined;
  /** The TLS private key, in PEM. */
  readonly key?: string | undefined;
  /** Whether other processes or workers may bind the same port. */
  readonly reusePort?: boolean | undefined;
}

/** Who a request is from, as `Deno.serve` and others tell it. */
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
}

/** A bound listener. */
export interface BoundServer {
  /** The address, or the path of a Unix socket. */
  readonly address: string;
  /** The TCP port; 0 for a Unix socket. */
  readonly port: number;
  /**
   * Stops listening, and waits for the requests that are being answered. All
   * sockets must be closed first: the runtime would end them in its own way.
   */
  close(): Promise<void>;
}

/**
 * Binds and serves.
 *
 * @param options Where and how.
 * @param handler Answers requests; it must neither throw nor reject.
 * @returns The bound listener.
 * @throws {Deno.errors.AddrInUse} If the address is in use.
 * @throws {Deno.errors.NotCapable} If the permission to bind is missing.
 */
export function bind(
  options: BindOptions,
  handler: (
    request: Request,
    info: RequestInfo,
  ) => Response | Promise<Response>,
): BoundServer {
  const { hostname, port, path, cert, key, reusePort = false } = options;
  const onListen = () => {};
  if (path !== undefined) {
    const server = Deno.serve(
      { path, onListen },
      (request) => handler(request, {}),
    );
    return { address: path, port: 0, close: () => server.shutdown() };
  }
  const tcp = { hostname, port, reusePort, onListen };
  const server = cert !== undefined && key !== undefined
    ? Deno.serve({ ...tcp, cert, key }, handler)
    : Deno.serve(tcp, handler);
  return {
    address: server.addr.hostname,
    port: server.addr.port,
    close: () => server.shutdown(),
  };
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
      withoutSignalWarning(() =>
        Deno.upgradeWebSocket(request, {
          idleTimeout: longest / 1000,
        })
      );
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

/**
 * Keeps Deno's advice about `request.signal` from a program that has not asked for
 * that signal: it is this library that looks whether the client is still there.
 */
function withoutSignalWarning<T>(action: () => T): T {
  const { warn } = console;
  console.warn = (...args: unknown[]) => {
    if (!String(args[0]).startsWith("Deno.serve: request.signal")) {
      warn(...args);
    }
  };
  try {
    return action();
  } finally {
    console.warn = warn;
  }
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
