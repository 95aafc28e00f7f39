/**
 * What a program needs to test its WebSockets: real servers, clients and connections,
 * with a line between them that is in memory, and breaks when it is told to. It needs
 * no port and no permission.
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

import { type ClientOptions, ClientSocket } from "./client.ts";
import type { RequestInfo } from "./core/runtime/deno_server.ts";
import type { Connection } from "./core/connection/connection.ts";
import { TOKEN_PATTERN } from "./core/admission/handshake.ts";
import { upgradeHandlers } from "./core/runtime/deno_server.ts";
import { socketFactories } from "./core/runtime/websocket.ts";
import {
  type ServerOptions,
  ServerSocket,
  type SocketTypes,
} from "./server.ts";
import { afterTwoTurns, type Link, MemoryLink } from "./testing/link.ts";
import { MemorySocket } from "./testing/socket.ts";

export {
  advance,
  type Lane,
  type Link,
  settle,
  type Slowness,
} from "./testing/link.ts";

/**
 * What answers requests: a {@linkcode ServerSocket}, or whatever passes them on to one,
 * as the default export of a program for `deno serve` may.
 */
export interface Served {
  /**
   * Answers a request.
   *
   * @param request The request.
   * @param info Who it is from.
   * @returns The answer.
   */
  fetch(request: Request, info: RequestInfo): Response | Promise<Response>;
}

/** How many networks there have been. */
let networkCount = 0;

/** The first port that a client has. */
const FIRST_CLIENT_PORT = 49_152;

/**
 * A network in memory: one host, and all who connect to it. Any `ClientSocket` gets
 * there by {@linkcode MemoryNetwork.url}, from the moment it is made until it is
 * disposed of, which cuts what is left.
 *
 * @example A client that comes back to another server
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
 * const back = client.waitFor("connect");
 * await first.close();
 * await back;
 * console.log(second.clients.size); // 1
 * ```
 */
export class MemoryNetwork implements AsyncDisposable {
  /**
   * Where clients connect to: `ws:` and a host that there is nowhere else. `wss:`
   * does as well.
   */
  readonly url: string;
  /**
   * Who answers those that connect from now on. They are refused while it is
   * undefined.
   */
  server: Served | undefined;
  readonly #host: string;
  #links: MemoryLink[] = [];
  #port = FIRST_CLIENT_PORT;

  /**
   * Makes a network.
   *
   * @param server Who answers; nobody yet if it is left out.
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
      // Whatever it waits for, it hears that there will be nothing.
      socket.aborted.addEventListener("abort", () => {
        afterTwoTurns(() => socket.receive(ABORTED_MESSAGE));
      });
      return socket;
    });
  }

  /** What the live connections go by, the oldest first. */
  get links(): readonly Link[] {
    return this.#links = this.#links.filter(({ isLive }) => isLive);
  }

  /**
   * What the connection goes by that was opened last.
   *
   * @throws {Error} If there is no connection.
   */
  get link(): Link {
    const link = this.links.at(-1);
    if (link) return link;
    throw new Error(
      `Cannot give the link of a connection to ${this.url} as there is none: await connect() first`,
    );
  }

  /** Cuts all connections. From now on nobody gets there. */
  async [Symbol.asyncDispose](): Promise<void> {
    socketFactories.delete(this.#host);
    const { promise, resolve } = Promise.withResolvers<void>();
    for (const link of this.links) link.cut();
    afterTwoTurns(resolve);
    await promise;
  }

  /** What a runtime's client and server do until a connection is open. */
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
    let why: string;
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
      why = `Invalid status code: ${response.status}`;
    } catch (error) {
      why = `The server has failed: ${error}`;
    }
    socket?.receive({
      type: "lost",
      reason: "It was not answered by the upgrade",
    });
    client.receive({ type: "lost", reason: why });
  }
}

const REFUSED_MESSAGE = { type: "lost", reason: "Connection refused" } as const;

const ABORTED_MESSAGE = { type: "lost", reason: "Closed" } as const;

/** A URL without who it is for: that goes into a header. */
function withoutCredentials(href: string): string {
  const url = new URL(href);
  url.username = url.password = "";
  return url.href;
}

/** What a URL says of who it is for, as a header. */
function basicAuthorization(username: string, password: string): string {
  const text = [username, password].map(decodeURIComponent).join(":");
  const bytes = new TextEncoder().encode(text);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

/** Where to connect to, as the constructor of `WebSocket` understands it. */
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
      ? `Cannot ask ${url} for subprotocols that are no tokens, or one twice: current value is ${
        protocols.join(", ")
      }`
      : `Cannot connect to ${url} as it is no URL of a WebSocket: use ws: or wss:, and no fragment`,
    "SyntaxError",
  );
}

/** The opening handshake (RFC 6455, 4.1). */
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
 * @typeParam Server The types of the server's side.
 * @typeParam Client The types of the client's side.
 */
export interface PairOptions<
  Server extends SocketTypes = SocketTypes,
  Client extends SocketTypes = SocketTypes,
> {
  /** Options of the server. */
  readonly server?: ServerOptions<Server>;
  /** Options of the client. */
  readonly client?: ClientOptions<Client>;
}

/**
 * Two connections that are each other's peer.
 *
 * @typeParam Server The types of the server's side.
 * @typeParam Client The types of the client's side.
 */
export interface Pair<
  Server extends SocketTypes = SocketTypes,
  Client extends SocketTypes = SocketTypes,
> extends AsyncDisposable {
  /** The server's side. */
  readonly server: Connection<Server>;
  /** The client's side. */
  readonly client: Connection<Client>;
  /** What is between them. */
  readonly link: Link;
}

/**
 * Makes two connections that are each other's peer, for code that is given a
 * {@linkcode Connection} and no more.
 *
 * @typeParam Server The types of the server's side: by name, or by its `schema`.
 * @typeParam Client The types of the client's side, likewise.
 * @param options Options of their server and their client.
 * @returns A promise of both, open, and of the link between them. Disposing of them
 * cuts the link.
 * @throws {ConnectError} (rejects) If the options let no client in.
 * @throws {RangeError} (rejects) As the constructors of the sockets.
 * @throws {TypeError} (rejects) Likewise.
 *
 * @example
 * ```ts
 * import { pair } from "jsr:@ws/events/testing";
 *
 * await using both = await pair();
 * const goodbye = both.server.waitFor("close");
 * both.client.close(4001, "bye");
 * console.log(await goodbye); // [4001, "bye", "peer"]
 * ```
 */
export async function pair<
  Server extends SocketTypes = SocketTypes,
  Client extends SocketTypes = SocketTypes,
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
