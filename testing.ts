/**
 * Test helpers: real servers, clients and connections over an in-memory network whose
 * connections can be slowed down or interrupted. No port and no permission is needed.
 *
 * ```ts
 * import { ClientSocket, ServerSocket } from "jsr:@ws/events";
 * import { MemoryNetwork } from "jsr:@ws/events/testing";
 *
 * await using server = new ServerSocket();
 * server.on("message", (message) => message.reply(message.content));
 *
 * await using network = new MemoryNetwork(server);
 * await using client = new ClientSocket();
 * await client.connect(network.url);
 * const echo = client.waitFor("message");
 * client.send("hello");
 * console.log((await echo)[0].data); // "hello"
 *
 * const lost = client.waitFor("disconnect");
 * network.link.cut();
 * console.log(await lost); // [1006, "", "network"]
 * ```
 *
 * @module
 */

import { type AsyncDisposer, onAsyncDispose } from "./core/util/disposer.ts";
import { type ClientOptions, ClientSocket } from "./client.ts";
import type { RequestInfo } from "./core/runtime/deno_server.ts";
import type { Connection } from "./core/connection/connection.ts";
import { TOKEN_PATTERN } from "./core/admission/handshake.ts";
import { upgradeHandlers } from "./core/runtime/deno_server.ts";
import { socketFactories } from "./core/runtime/websocket.ts";
import {
  type CheckedTypes,
  type ServerOptions,
  ServerSocket,
  type SocketTypes,
} from "./server.ts";
import { afterTwoTurns, type Link, MemoryLink } from "./testing/link.ts";
import { MemorySocket } from "./testing/socket.ts";

export type { AsyncDisposer } from "./core/util/disposer.ts";

export {
  advance,
  type Lane,
  type Link,
  settle,
  type Slowness,
} from "./testing/link.ts";

/**
 * A request handler: a {@linkcode ServerSocket}, or an object that passes requests to
 * one, such as the default export of a module for `deno serve`.
 */
export interface Served {
  /**
   * Handles a request.
   *
   * @param request The request.
   * @param info The address of the client.
   * @returns The response.
   */
  fetch(request: Request, info: RequestInfo): Response | Promise<Response>;
}

/** The number of networks so far. */
let networkCount = 0;

/** The port of the first client. */
const FIRST_CLIENT_PORT = 49_152;

/** `await using` cuts all connections of a network, and refuses new ones. */
export interface MemoryNetwork extends AsyncDisposer {}

/**
 * An in-memory network with one host. Every `ClientSocket` of this process can connect to
 * its {@linkcode MemoryNetwork.url}, until the network is disposed of.
 *
 * @example A client that reconnects to another server
 * ```ts
 * import { ClientSocket, ServerSocket } from "jsr:@ws/events";
 * import { MemoryNetwork } from "jsr:@ws/events/testing";
 *
 * await using first = new ServerSocket();
 * await using network = new MemoryNetwork(first);
 * await using client = new ClientSocket({ reconnect: { initialDelay: 1 } });
 * await client.connect(network.url);
 *
 * await using second = new ServerSocket();
 * network.server = second;
 * const reconnected = client.waitFor("connect");
 * await first.close();
 * await reconnected;
 * console.log(second.clients.size); // 1
 * ```
 */
export class MemoryNetwork {
  /**
   * The URL to connect to, with a unique host name. The scheme is `ws:`; `wss:` works,
   * too.
   */
  readonly url: string;
  /** The handler of new connections. While it is undefined, connections are refused. */
  server: Served | undefined;
  readonly #host: string;
  #links: MemoryLink[] = [];
  #port = FIRST_CLIENT_PORT;

  static {
    onAsyncDispose(this.prototype, (network) => network.#dispose());
  }

  /**
   * Creates a network.
   *
   * @param server The handler of connections. By default, connections are refused.
   */
  constructor(server?: Served) {
    this.server = server;
    this.#host = `memory-${++networkCount}.test`;
    this.url = `ws://${this.#host}`;
    socketFactories.set(this.#host, (url, protocols, headers) => {
      const { href, username, password } = parseTarget(url, protocols);
      const socket = new MemorySocket(withoutCredentials(href), protocols, 0);
      const all = new Headers(headers);
      if ((username || password) && !all.has("authorization")) {
        all.set("authorization", basicAuthorization(username, password));
      }
      afterTwoTurns(() => this.#handshake(socket, protocols, all));
      // The client stops waiting in any case.
      socket.aborted.addEventListener("abort", () => {
        afterTwoTurns(() => socket.receive(ABORTED_MESSAGE));
      });
      return socket;
    });
  }

  /** The links of the live connections, oldest first. */
  get links(): readonly Link[] {
    return this.#links = this.#links.filter(({ isLive }) => isLive);
  }

  /**
   * The link of the newest live connection.
   *
   * @throws {Error} If there is no connection.
   */
  get link(): Link {
    const link = this.links.at(-1);
    if (link) return link;
    throw new Error(
      `Cannot get the link of a connection to ${this.url} as there is no connection: await connect() first`,
    );
  }

  /** Cuts all connections, and refuses new ones. */
  async #dispose(): Promise<void> {
    socketFactories.delete(this.#host);
    const { promise, resolve } = Promise.withResolvers<void>();
    for (const link of this.links) link.cut();
    afterTwoTurns(resolve);
    await promise;
  }

  /** Performs the opening handshake in place of a runtime. */
  async #handshake(
    client: MemorySocket,
    protocols: readonly string[],
    headers: Headers,
  ): Promise<void> {
    const { server } = this;
    if (client.aborted.aborted) return;
    if (!server) return client.receive(REFUSED_MESSAGE);
    const request = handshakeRequest(client, protocols, headers);
    let socket: MemorySocket | undefined;
    upgradeHandlers.set(request, (idleTimeout, grace) => {
      socket = new MemorySocket(client.url, [], idleTimeout, grace);
      return { socket, response: new Response(null, { status: 101 }) };
    });
    const remoteAddr = {
      transport: "tcp",
      hostname: "127.0.0.1",
      port: this.#port++,
    };
    let reason: string;
    try {
      const response = await server.fetch(request, { remoteAddr });
      if (response.status === 101 && socket) {
        const link = new MemoryLink(client, socket);
        this.#links.push(link);
        const protocol = response.headers.get("sec-websocket-protocol") ?? "";
        link.toClient.push({ type: "open", protocol });
        return socket.receive({ type: "open", protocol: "" });
      }
      await response.body?.cancel();
      reason = `Invalid status code: ${response.status}`;
    } catch (error) {
      reason = `The server threw ${error}`;
    }
    socket?.receive({
      type: "lost",
      reason: "The response was not that of the upgrade",
    });
    client.receive({ type: "lost", reason });
  }
}

const REFUSED_MESSAGE = { type: "lost", reason: "Connection refused" } as const;

const ABORTED_MESSAGE = { type: "lost", reason: "Closed" } as const;

/** Removes the user name and password, which are sent in a header. */
function withoutCredentials(href: string): string {
  const url = new URL(href);
  url.username = url.password = "";
  return url.href;
}

/** Encodes a user name and password as a header (RFC 7617). */
function basicAuthorization(username: string, password: string): string {
  const text = [username, password].map(decodeURIComponent).join(":");
  const bytes = new TextEncoder().encode(text);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

/** Parses the arguments as the `WebSocket` constructor does. */
function parseTarget(url: URL, protocols: readonly string[]): URL {
  const all = new URL(url);
  if (/^https?:$/.test(all.protocol)) {
    all.protocol = all.protocol.replace("http", "ws");
  }
  const isUrl = /^wss?:$/.test(all.protocol) && all.hash === "";
  const areTokens =
    protocols.every((protocol) => TOKEN_PATTERN.test(protocol)) &&
    new Set(protocols).size === protocols.length;
  if (isUrl && areTokens) return all;
  throw new DOMException(
    isUrl
      ? `Cannot offer subprotocols to ${url} unless they are valid and unique: current value is ${
        protocols.join(", ")
      }`
      : `Cannot connect to ${url} as it is not a WebSocket URL: use ws: or wss: without a fragment`,
    "SyntaxError",
  );
}

/** Creates the request of an opening handshake (RFC 6455, section 4.1). */
function handshakeRequest(
  { url, aborted: signal }: MemorySocket,
  protocols: readonly string[],
  headers: Headers,
): Request {
  const all = new Headers(headers);
  const key = crypto.getRandomValues(new Uint8Array(16));
  all.set("host", new URL(url).host);
  all.set("upgrade", "websocket");
  all.set("connection", "Upgrade");
  all.set("sec-websocket-version", "13");
  all.set("sec-websocket-key", btoa(String.fromCharCode(...key)));
  if (protocols.length > 0) {
    all.set("sec-websocket-protocol", protocols.join(", "));
  }
  return new Request(url.replace("ws", "http"), { headers: all, signal });
}

/**
 * Options of {@linkcode pair}.
 *
 * @typeParam Server The types of the server's connection.
 * @typeParam Client The types of the client's connection.
 */
export interface PairOptions<
  Server extends CheckedTypes<Server> = SocketTypes,
  Client extends CheckedTypes<Client> = SocketTypes,
> {
  /** Options of the server that accepts the connection. */
  readonly server?: ServerOptions<Server>;
  /** Options of the client that opens the connection. */
  readonly client?: ClientOptions<Client>;
}

/**
 * Two connected connections: one of a server, one of a client.
 *
 * @typeParam Server The types of the server's connection.
 * @typeParam Client The types of the client's connection.
 */
export interface Pair<
  Server extends SocketTypes = SocketTypes,
  Client extends SocketTypes = SocketTypes,
> extends AsyncDisposer {
  /** The connection of the server. */
  readonly server: Connection<Server>;
  /** The connection of the client. */
  readonly client: Connection<Client>;
  /** The simulated network link between them. */
  readonly link: Link;
}

/**
 * Creates a connection of a server and one of a client that are connected to each other,
 * to test code that takes a {@linkcode Connection}.
 *
 * @typeParam Server The types of the server's connection.
 * @typeParam Client The types of the client's connection.
 * @param options Options of the server and the client.
 * @returns A promise of the open connections and their link. Disposing of the pair cuts
 * the link.
 * @throws {ConnectError} (rejects) If the server rejects the client.
 * @throws {RangeError} (rejects) If an option is out of range.
 * @throws {TypeError} (rejects) If an option is invalid.
 *
 * @example
 * ```ts
 * import { pair } from "jsr:@ws/events/testing";
 *
 * await using both = await pair();
 * const closed = both.server.waitFor("close");
 * both.client.close(4001, "bye");
 * console.log(await closed); // [4001, "bye", "peer"]
 * ```
 */
export async function pair<
  Server extends CheckedTypes<Server> = SocketTypes,
  Client extends CheckedTypes<Client> = SocketTypes,
>(
  options: PairOptions<Server, Client> = {},
): Promise<Pair<Server, Client>> {
  const server = new ServerSocket(options.server);
  const client = new ClientSocket(options.client);
  const network = new MemoryNetwork(server);
  const dispose = async () => {
    client.terminate();
    await network[Symbol.asyncDispose]();
    await server.close();
  };
  try {
    const [[ofServer], [ofClient]] = await Promise.all([
      server.waitFor("connect"),
      client.waitFor("connect"),
      client.connect(network.url),
    ]);
    const { link } = network;
    return {
      server: ofServer,
      client: ofClient,
      link,
      [Symbol.asyncDispose]: dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}
