/**
 * The sockets of a connection, and how each side uses them.
 *
 * @module
 */

import type { Cause } from "../events/errors.ts";
import { withoutSecrets } from "../util/safe_url.ts";
import { Feature } from "../util/feature.ts";
import { readProperty } from "../util/read_property.ts";

/** The side of a connection. */
export type Side = "server" | "client";

/** The part of a `WebSocket` that a writer uses. */
export interface SocketSink {
  /** The number of bytes that wait to be sent. */
  readonly bufferedAmount: number;
  /** The state, 0 to 3. */
  readonly readyState: number;
  /** Sends a frame. */
  send(data: string | ArrayBuffer | ArrayBufferView<ArrayBuffer>): void;
}

/** The part of a `WebSocket` that a connection uses. */
export interface RawSocket extends EventTarget, SocketSink {
  /** How binary frames are received; set to `arraybuffer`. */
  binaryType: string;
  /** The negotiated subprotocol. */
  readonly protocol: string;
  /** Starts the closing handshake. */
  close(code?: number, reason?: string): void;
  /** Closes the TCP connection immediately. Not available on sockets of a runtime. */
  terminate?(): void;
}

/** A socket that a client opens. */
export interface OpenedSocket extends RawSocket {
  /** The parsed URL. */
  readonly url: string;
  /** Sends a frame. In Deno, a `Blob` may be overtaken by what is sent after it. */
  send(data: Parameters<SocketSink["send"]>[0] | Blob): void;
}

/** A connection, as an {@linkcode IdleWatch} sees it. */
export interface WatchedConnection {
  /** The total number of bytes sent: bytes in flight take time. */
  readonly sentBytes: number;
  /** The peer sends too many pongs. */
  pongsFlooded(): void;
}

/** Detects that the peer of a connection is lost. */
export interface IdleWatch {
  /** Attaches the connection. */
  attach(connection: WatchedConnection): void;
  /** For how long the event loop stood still since the upgrade, in milliseconds. */
  readonly stalledMs: number;
  /** Notes that a message was received. */
  reset(): void;
  /** Stops the detection. */
  stop(): void;
}

/** How one side of a connection uses its socket. */
export interface SocketDriver {
  /** The side. */
  readonly side: Side;
  /**
   * Starts the closing handshake.
   *
   * @param onSent Called when the close frame has certainly been sent.
   * @returns A function that cancels `onSent`.
   */
  close(
    socket: RawSocket,
    code: number,
    reason: string,
    onSent: () => void,
  ): () => void;
  /** Frees what the runtime still holds for a socket that has ended. */
  release?(socket: RawSocket): void;
}

/** Uses a client's socket through the standard API only. */
export const clientDriver: SocketDriver = {
  side: "client",
  close(socket, code, reason, onSent) {
    socket.close(code, reason);
    return afterEventLoopTurn(onSent);
  },
};

/** A WebSocket class, such as the global `WebSocket`. */
export type WebSocketClass = new (...args: never[]) => {
  readonly url: string;
  readonly protocol: string;
  readonly readyState: number;
};

/** Options of a runtime's `WebSocket`, beyond the standard. */
export interface WebSocketOptions {
  /**
   * The class to use instead of the global `WebSocket`: that of the package `undici` or
   * `ws`, or a subclass of one that sets options of its own.
   *
   * @default {globalThis.WebSocket}
   */
  readonly WebSocket?: WebSocketClass;
  /**
   * An HTTP client of `Deno.createHttpClient`, for certificates or a proxy. Only supported
   * by Deno.
   */
  readonly client?: object;
  /** Options of TLS, such as `ca`. Only supported by Bun. */
  readonly tls?: object;
  /**
   * A dispatcher of the package `undici`, for certificates or a proxy. Only supported by
   * Node.
   */
  readonly dispatcher?: object;
}

/**
 * Functions that open sockets instead of the runtime, by host. `testing.ts` adds its own.
 */
export const socketFactories: Map<
  string,
  (
    url: URL,
    protocols: readonly string[],
    headers: HeadersInit | undefined,
  ) => OpenedSocket
> = new Map();

/** What runtimes other than browsers offer beyond the standard. */
export interface RuntimeSupport {
  /** Opens a socket with headers or options, as {@linkcode openSocket} does. */
  open(
    url: string | URL,
    protocols: readonly string[],
    headers: HeadersInit | undefined,
    options: WebSocketOptions,
  ): OpenedSocket;
  /** Closes a TCP connection immediately. Returns whether nothing else has to be done. */
  destroy(socket: RawSocket): boolean;
}

/** Why a connection is lost, by the text of the runtime's error; others: the network. */
export const errorCausesFeature: Feature<ReadonlyMap<string, Cause>> =
  new Feature("runtimes");

/** See {@linkcode RuntimeSupport}. */
export const runtimeFeature: Feature<RuntimeSupport> = new Feature("runtimes");

/**
 * Opens a client's socket.
 *
 * @param protocols The subprotocols to offer.
 * @param headers Headers of the request, if any.
 * @param options Options of the runtime's own.
 * @returns The socket, in the state `CONNECTING`.
 * @throws {TypeError} If there are headers or options that the runtime does not support.
 * @throws {DOMException} With the name `SyntaxError` if the URL or a subprotocol is
 * invalid.
 */
export function openSocket(
  url: string | URL,
  protocols: string | readonly string[],
  headers: HeadersInit | undefined,
  options: WebSocketOptions = {},
): OpenedSocket {
  const protocolList = [protocols].flat();
  if (socketFactories.size > 0 && URL.canParse(url)) {
    const parsed = new URL(url);
    const create = socketFactories.get(parsed.host);
    if (create) return create(parsed, protocolList, headers);
  }
  assertWebSocketUrl(url);
  const isPlain = headers === undefined && Object.keys(options).length === 0;
  if (isPlain && typeof WebSocket === "function") {
    return new WebSocket(url, protocolList);
  }
  const { code } = runtimeFeature;
  if (code) return code.open(url, protocolList, headers, options);
  throw new TypeError(
    `Cannot send headers or use "webSocket" in a page: pass the values in the URL or a subprotocol; or, in another runtime, import ClientSocket from "@ws/events/client"`,
  );
}

/** Checks the URL first, as the runtime's own error would contain secrets of the URL. */
function assertWebSocketUrl(url: string | URL): void {
  let hash: string;
  let protocol: string;
  try {
    const base: unknown = readProperty(
      readProperty(globalThis, "location"),
      "href",
    );
    ({ hash, protocol } = new URL(
      url,
      typeof base === "string" ? base : undefined,
    ));
  } catch {
    throw new DOMException(
      `Cannot connect to "${
        withoutSecrets(url)
      }" as it is not a valid URL: use one such as ws://localhost:3000/live`,
      "SyntaxError",
    );
  }
  if (!/^(?:ws|http)s?:$/.test(protocol)) {
    throw new DOMException(
      `Cannot connect to "${
        withoutSecrets(url)
      }" as its scheme is "${protocol}": use a URL such as ws://localhost:3000/live`,
      "SyntaxError",
    );
  }
  if (hash === "") return;
  throw new DOMException(
    `Cannot connect to ${
      withoutSecrets(url)
    } with a fragment: remove everything from "#" on`,
    "SyntaxError",
  );
}

/**
 * Calls a function when a frame that was just passed to a socket has been sent, which is
 * in this turn of the event loop. In Deno, a timer may fire earlier.
 *
 * @returns A function that cancels the call.
 */
export function afterEventLoopTurn(action: () => void): () => void {
  const schedule = readProperty(globalThis, "setImmediate");
  const cancel = readProperty(globalThis, "clearImmediate");
  if (typeof schedule === "function" && typeof cancel === "function") {
    const immediate: unknown = schedule(action);
    return () => cancel(immediate);
  }
  const timer = setTimeout(action, 0);
  return () => clearTimeout(timer);
}

/**
 * Closes the TCP connection of a socket immediately, if the runtime can. There is no
 * standard for this: a page starts the closing handshake instead. The socket must not be
 * used afterwards.
 */
export function destroySocket(socket: RawSocket): void {
  if (socket.terminate) return socket.terminate();
  if (runtimeFeature.code?.destroy(socket)) return;
  // A server's socket that is not open yet does not react to `close`.
  if (socket.readyState !== 1 && socket.readyState !== 2) {
    socket.addEventListener("open", () => destroySocket(socket), {
      once: true,
    });
  }
  socket.close();
}

/**
 * Whether the runtime reports a peer that vanished after this side's close frame as a
 * clean end, as Deno does, so that it cannot be told from one that answered.
 */
export function isLossReportedAsClean(): boolean {
  return readProperty(globalThis, "Deno") !== undefined;
}
