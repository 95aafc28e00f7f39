/**
 * What a connection needs of a socket, and how each side handles its own.
 *
 * @module
 */

import { withoutSecrets } from "../util/safe_url.ts";

/** Which side of a connection this is. */
export type Side = "server" | "client";

/** The part of a `WebSocket` that a writer uses. */
export interface SocketSink {
  /** How many bytes wait to be sent. */
  readonly bufferedAmount: number;
  /** The state, 0 to 3. */
  readonly readyState: number;
  /**
   * Sends.
   *
   * @param data What to send.
   */
  send(data: string | ArrayBuffer | ArrayBufferView<ArrayBuffer>): void;
}

/** The part of a `WebSocket` that a connection uses. */
export interface RawSocket extends EventTarget, SocketSink {
  /** Is set to `arraybuffer`. */
  binaryType: string;
  /** The subprotocol. */
  readonly protocol: string;
  /**
   * Closes.
   *
   * @param code The close code.
   * @param reason The reason.
   */
  close(code?: number, reason?: string): void;
  /** Lets go of it at once, where it can do so itself; the runtime's cannot. */
  terminate?(): void;
}

/** A socket that a client has opened. */
export interface OpenedSocket extends RawSocket {
  /** The URL, as it was understood. */
  readonly url: string;
}

/** Watches over one connection, so that a peer that is gone is noticed. */
export interface IdleWatch {
  /**
   * Says how much is sent by the connection: what is on its way takes time.
   *
   * @param sent Tells how many bytes were sent in all.
   * @param flooded Hears that the peer sends more pongs than it may.
   */
  attach(sent: () => number, flooded: () => void): void;
  /** Hears that a message has come. */
  reset(): void;
  /** Stops to watch. */
  stop(): void;
}

/** How one side of a connection handles its socket. */
export interface SocketDriver {
  /** Which side it is. */
  readonly side: Side;
  /**
   * Begins the closing handshake.
   *
   * @param socket The socket.
   * @param code The close code.
   * @param reason The reason.
   * @param onSent To be called when the close frame is on its way for sure.
   * @returns What stops this from being called.
   */
  close(
    socket: RawSocket,
    code: number,
    reason: string,
    onSent: () => void,
  ): () => void;
}

/** How the client's side handles its socket: as any page may. */
export const clientDriver: SocketDriver = {
  side: "client",
  close(socket, code, reason, onSent) {
    socket.close(code, reason);
    return afterEventLoopTurn(onSent);
  },
};

/** What opens sockets instead of the runtime, by host: `testing.ts` does so. */
export const socketFactories: Map<
  string,
  (
    url: URL,
    protocols: readonly string[],
    headers: HeadersInit | undefined,
  ) => OpenedSocket
> = new Map();

/**
 * Opens a client's socket.
 *
 * @param url Where to.
 * @param protocols The subprotocols to ask for.
 * @param headers Headers of the request, if there are any.
 * @returns The socket, which is connecting.
 * @throws {TypeError} If there are headers, and the runtime cannot send any.
 * @throws {DOMException} With the name `SyntaxError` if the URL or a subprotocol
 * is none.
 */
export function openSocket(
  url: string | URL,
  protocols: string | readonly string[],
  headers: HeadersInit | undefined,
): OpenedSocket {
  const protocolList = [protocols].flat();
  if (socketFactories.size > 0 && URL.canParse(url)) {
    const parsed = new URL(url);
    const create = socketFactories.get(parsed.host);
    if (create) return create(parsed, protocolList, headers);
  }
  assertWebSocketUrl(url);
  if (typeof WebSocket !== "function") {
    throw new TypeError(
      `Cannot connect to ${
        withoutSecrets(url)
      } as this runtime has no WebSocket: Node has one since version 22`,
    );
  }
  if (headers === undefined) return new WebSocket(url, protocolList);
  // A browser takes nothing but subprotocols. Elsewhere this is an object with
  // more, which no standard knows; whether it is read tells which it is.
  let areHeadersRead = false;
  const init = {
    protocols: protocolList,
    get headers() {
      areHeadersRead = true;
      return headers;
    },
  };
  let socket: WebSocket | undefined;
  try {
    socket = Reflect.construct(WebSocket, [url, init]);
  } catch (error) {
    if (areHeadersRead) throw error;
  }
  if (socket !== undefined && areHeadersRead) return socket;
  socket?.close();
  throw new TypeError(
    `Cannot send headers to ${
      withoutSecrets(url)
    } as this runtime's WebSocket takes none, as in all browsers: put what they say into the URL or a subprotocol`,
  );
}

/** The runtime's own error would hold the whole URL, and so its secrets. */
function assertWebSocketUrl(url: string | URL): void {
  let hash: string;
  try {
    const base: unknown = getProperty(
      getProperty(globalThis, "location"),
      "href",
    );
    hash = new URL(url, typeof base === "string" ? base : undefined).hash;
  } catch {
    throw new DOMException(
      `Cannot connect to "${
        withoutSecrets(url)
      }" as it is not a URL: write one as in ws://localhost:3000/live`,
      "SyntaxError",
    );
  }
  if (hash === "") return;
  throw new DOMException(
    `Cannot connect to ${
      withoutSecrets(url)
    } with a fragment: leave out what begins with "#"`,
    "SyntaxError",
  );
}

/**
 * Calls back when a frame that has just been handed to a socket has left, which
 * is within this turn of the event loop. A timer of Deno's may come before.
 *
 * @param action What to call.
 * @returns What stops it from being called.
 */
export function afterEventLoopTurn(action: () => void): () => void {
  const start = getProperty(globalThis, "setImmediate");
  const stop = getProperty(globalThis, "clearImmediate");
  if (typeof start === "function" && typeof stop === "function") {
    const immediate: unknown = start(action);
    return () => stop(immediate);
  }
  const timer = setTimeout(action, 0);
  return () => clearTimeout(timer);
}

/**
 * Lets go of a socket: its TCP connection is closed now. There is no public way
 * to do that. Deno has a private one, which is taken if it is there; everywhere
 * else this closes the socket and does not wait for the answer. Nothing may be
 * asked of the socket afterwards.
 *
 * @param socket The socket.
 */
export function destroySocket(socket: RawSocket): void {
  if (socket.terminate) return socket.terminate();
  const rid = getProperty(socket, privateField(socket, "[[rid]]"));
  if (typeof rid !== "number") {
    // A server's socket that is not open yet does not even listen to `close`.
    if (socket.readyState !== 1 && socket.readyState !== 2) {
      socket.addEventListener("open", () => destroySocket(socket), {
        once: true,
      });
    }
    socket.close();
    return;
  }
  const tryClose = getProperty(denoCore(), "tryClose");
  if (typeof tryClose === "function") tryClose(rid);
  else socket.close();
}

/**
 * Lets go of what the runtime still holds for a socket that has ended. Deno's
 * timer of a server's socket would hold it for up to half of its idle timeout.
 *
 * @param socket The socket.
 */
export function freeTimers(socket: RawSocket): void {
  const idleTimeout = privateField(socket, "[[idleTimeout]]");
  // One that ends as it opens has no timer yet, but is about to get one.
  if (idleTimeout !== undefined) Reflect.set(socket, idleTimeout, 0);
  cancelIdleTimer(socket);
}

/**
 * Cancels Deno's timer of a server's socket, if there is one.
 *
 * @param socket The socket.
 */
export function cancelIdleTimer(socket: RawSocket): void {
  const timer = getProperty(
    socket,
    privateField(socket, "[[idleTimeoutTimeout]]"),
  );
  const cancelTimer = getProperty(denoCore(), "cancelTimer");
  if (timer != null && typeof cancelTimer === "function") cancelTimer(timer);
}

/** What was last found of what Deno keeps to itself. */
let cachedCore: { readonly deno: unknown; readonly core: unknown } | undefined;

/** What Deno keeps to itself. */
function denoCore(): unknown {
  const deno = getProperty(globalThis, "Deno");
  if (cachedCore?.deno !== deno) {
    const internal = getProperty(deno, getProperty(deno, "internal"));
    cachedCore = { deno, core: getProperty(internal, "core") };
  }
  return cachedCore?.core;
}

/** The symbols that were found, by description: all of Deno's sockets have the same. */
const fieldSymbols = new Map<string, symbol>();

/**
 * A field of Deno's sockets, or of another object of Deno's, that has no public name.
 *
 * @param object The object.
 * @param description What the field's symbol is described as.
 * @returns The symbol, if there is such a field.
 */
export function privateField(
  object: object,
  description: string,
): symbol | undefined {
  const known = fieldSymbols.get(description);
  if (known !== undefined && Object.hasOwn(object, known)) return known;
  const symbol = Object.getOwnPropertySymbols(object).find((symbol) =>
    symbol.description === description
  );
  if (symbol !== undefined) fieldSymbols.set(description, symbol);
  return symbol;
}

/** A property of something of which nothing is known. */
function getProperty(object: unknown, key: unknown): unknown {
  return typeof object === "object" && object !== null &&
      (typeof key === "string" || typeof key === "symbol")
    ? Reflect.get(object, key)
    : undefined;
}
