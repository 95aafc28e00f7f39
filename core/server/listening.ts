/**
 * Listening: where a server listens, and how it stops.
 *
 * @module
 */

import { formatHost } from "../admission/remote_address.ts";
import {
  assertKnown,
  assertOption,
  assertType,
  optionNames,
} from "../events/errors.ts";
import {
  BoundServer,
  removeStaleSocket,
  type RequestInfo,
} from "../runtime/deno_server.ts";
import type { OpenAnswers } from "../runtime/open_answers.ts";
import { withTimeout } from "../util/timer.ts";

/** Options of {@linkcode ServerSocket.listen}. */
export interface ServerListenOptions {
  /** The TLS certificate chain, in PEM. Requires `key`. */
  readonly cert?: string;
  /** The TLS private key, in PEM. Requires `cert`. */
  readonly key?: string;
  /**
   * The path of a Unix socket to listen on, instead of a host and a port. If the file of
   * a Unix socket exists and no process listens on it, as after a killed process, it is
   * replaced.
   */
  readonly path?: string;
  /**
   * The permissions of the file of the Unix socket, such as `0o660`. Requires `path`. A
   * client needs the write permission to connect. By default the umask of the process
   * decides; usually only the same user can connect.
   */
  readonly mode?: number;
  /**
   * Whether several processes or workers can listen on the same port and share its
   * connections. Deno exits unless it was started with `--unstable-net`.
   * `deno serve --parallel` needs neither.
   *
   * @default {false}
   */
  readonly reusePort?: boolean;
}

/** What a {@linkcode ServerListener} reports to the server. */
export interface ListenerHost {
  /** Handles a request. It neither throws nor rejects. */
  readonly fetch: (
    request: Request,
    info?: RequestInfo,
  ) => Response | Promise<Response>;
  /** The server is listening. */
  ready(): void;
  /** The server has stopped listening, and will try again. */
  failed(error: unknown): void;
}

/**
 * The maximum time for the runtime to shut down if an upgrade was lost, in milliseconds.
 * The runtime would wait for that socket indefinitely.
 */
const LOST_UPGRADE_TIMEOUT_MS = 250;

/** The listening socket of a server, if it does not only handle requests of another. */
export class ServerListener {
  readonly #host: ListenerHost;
  #bound: BoundServer | undefined;
  #url = "";
  #isClosed = false;

  constructor(host: ListenerHost) {
    this.#host = host;
  }

  /** Whether the server has ever listened. */
  get isBound(): boolean {
    return this.#bound !== undefined;
  }

  /** The address, or the path of the Unix socket. */
  get address(): string {
    return this.#assertBound().address;
  }

  /** The TCP port; 0 for a Unix socket. */
  get port(): number {
    return this.#assertBound().port;
  }

  /** The URL for clients on the same machine. */
  get url(): string {
    this.#assertBound();
    return this.#url;
  }

  /** Validates the options and listens; a promise only for a Unix socket. */
  listen(
    hostname: string,
    port: number,
    options: ServerListenOptions,
  ): void | Promise<void> {
    const where = assertListenOptions(hostname, port, options);
    this.#assertUnbound(where);
    const { path } = options;
    if (path === undefined) return this.#bind(hostname, port, options);
    return removeStaleSocket(path).then(() => {
      this.#assertUnbound(where);
      this.#bind(hostname, port, options);
    });
  }

  /** Refuses to listen from now on. */
  close(): void {
    this.#isClosed = true;
  }

  /**
   * Stops listening, once all responses have been sent.
   *
   * @param timeout The maximum time for each step, in milliseconds.
   * @param hasLostUpgrades Whether a client has left during its upgrade.
   */
  async stop(
    answers: OpenAnswers,
    timeout: number,
    hasLostUpgrades: boolean,
  ): Promise<void> {
    answers.end();
    if (this.#bound === undefined) return;
    const isSent = await answers.settled(timeout);
    if (!isSent) return await this.#bound.abort();
    const longest = hasLostUpgrades
      ? Math.min(LOST_UPGRADE_TIMEOUT_MS, timeout)
      : timeout;
    await withTimeout(longest, this.#bound.shutdown());
  }

  #assertBound(): BoundServer {
    if (this.#bound === undefined) {
      throw new Error(
        "Cannot tell the address of a server that has not listened: await listen() first",
      );
    }
    return this.#bound;
  }

  #assertUnbound(where: string): void {
    if (this.#isClosed) {
      throw new Error(
        `Cannot listen at ${where} as the server was closed: create a new one`,
      );
    }
    if (this.#bound) {
      throw new Error(
        `Cannot listen at ${where} as the server is already listening: current value is ${this.#url}`,
      );
    }
  }

  #bind(hostname: string, port: number, options: ServerListenOptions): void {
    const { path, cert } = options;
    const bound = this.#bound = new BoundServer(
      { ...options, hostname, port },
      this.#host.fetch,
      (error) => this.#host.failed(error),
    );
    const { address } = bound;
    // Clients cannot connect to "any address", which includes the loopback address.
    const isAny = address === "0.0.0.0" || address === "::";
    const host = isAny ? "localhost" : formatHost(address);
    this.#url = path === undefined
      ? `${cert === undefined ? "ws" : "wss"}://${host}:${bound.port}`
      : `ws+unix:${path}`;
    this.#host.ready();
  }
}

/** Validates where to listen, and returns it for error messages. */
function assertListenOptions(
  hostname: string,
  port: number,
  options: ServerListenOptions,
): string {
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
        : `Cannot listen at ${where} with TLS as it is a Unix socket: remove "cert" and "key"`,
    );
  }
  if (mode === undefined) return where;
  if (path === undefined) {
    throw new TypeError(
      `Cannot listen at ${where} with "mode" as it is not a Unix socket: remove "mode"`,
    );
  }
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o777) {
    throw new RangeError(
      `Cannot listen at ${where} unless "mode" is from 0 to 0o777: current value is ${mode}`,
    );
  }
  return where;
}

const LISTEN_OPTIONS = optionNames<ServerListenOptions>({
  cert: true,
  key: true,
  path: true,
  mode: true,
  reusePort: true,
});
