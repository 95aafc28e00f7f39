/**
 * One attempt to connect: what to offer, the socket, and the error if it fails.
 *
 * @module
 */

import { Connection, type ConnectionOwner } from "../connection/connection.ts";
import { ConnectError } from "../events/errors.ts";
import { ResumePoint } from "../protocol/resume_point.ts";
import { offerSubprotocols } from "../protocol/subprotocol.ts";
import { clientDriver, openSocket } from "../runtime/websocket.ts";
import { withoutSecrets } from "../util/safe_url.ts";
import { startTimer } from "../util/timer.ts";
import type { SocketTypes } from "../values/types.ts";
import type {
  ResolvedClientOptions,
  ValueOrFunction,
} from "./client_options.ts";

/** What an attempt reports. */
export interface AttemptResult {
  /** The connection is open: the attempt cannot be cancelled any more. */
  opened(): void;
  /** The listeners of `connect` have been called. */
  resolve(): void;
  /** The attempt has failed. */
  reject(error: unknown): void;
}

/** Opens the connections of one client. */
export class Connector<Types extends SocketTypes> {
  readonly #options: ResolvedClientOptions<Types>;
  readonly #resumePoint = new ResumePoint();
  /** Where to connect to. */
  url: ValueOrFunction<string | URL> = "";

  constructor(options: ResolvedClientOptions<Types>) {
    this.#options = options;
  }

  /**
   * Makes one attempt.
   *
   * @param signal Cancels it, with its reason.
   * @param createOwner Returns the owner of the connection.
   * @returns A promise that resolves when the connection is open.
   */
  async connect(
    signal: AbortSignal,
    createOwner: (result: AttemptResult) => ConnectionOwner<Types>,
  ): Promise<void> {
    const { connectTimeout, connection: options } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let connection: Connection<Types> | undefined;
    const fail = (error: unknown) => {
      reject(error);
      connection?.terminate();
    };
    const abort = () => fail(signal.reason);
    const timer = startTimer(
      () => fail(this.createError(`no response within ${connectTimeout} ms`)),
      connectTimeout,
    );
    const settle = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    };
    signal.addEventListener("abort", abort);
    try {
      const target = await Promise.race([this.#resolveTarget(), promise]);
      signal.throwIfAborted();
      if (!target) return;
      const { instrumentation } = options;
      const open = () => openSocket(...target);
      const socket = instrumentation ? instrumentation.detach(open) : open();
      const { host, port, protocol, pathname } = new URL(socket.url);
      const owner = createOwner({ opened: settle, resolve, reject });
      connection = new Connection<Types>({
        socket,
        driver: clientDriver,
        url: socket.url,
        path: pathname,
        headers: new Headers(),
        remoteAddress: port
          ? host
          : `${host}:${protocol === "wss:" ? 443 : 80}`,
        options,
        resumePoint: this.#resumePoint,
      }, owner);
      await promise;
    } finally {
      settle();
    }
  }

  /** Creates the error of an attempt that failed. */
  createError(reason: string, cause?: unknown): ConnectError {
    return connectError(displayUrl(this.url), cause, reason);
  }

  /** Creates the error of a connection that the runtime did not open. */
  createRefusal(url: string, cause: unknown): ConnectError {
    const { isPlain } = this.#options.connection.support;
    return connectError(displayUrl(url), cause, isPlain ? "" : hintFor(cause));
  }

  /** Resolves the URL, the subprotocols and the headers. */
  async #resolveTarget(): Promise<Parameters<typeof openSocket>> {
    try {
      const [url, protocols, headers] = await Promise.all([
        resolveProvided(this.url),
        resolveProvided(this.#options.protocols),
        resolveProvided(this.#options.headers),
      ]);
      const requested = typeof protocols === "string" ? [protocols] : protocols;
      const { support } = this.#options.connection;
      const { subprotocol } = this.#resumePoint;
      return [url, offerSubprotocols(requested, support, subprotocol), headers];
    } catch (error) {
      const reason = "the URL, subprotocols or headers could not be determined";
      throw this.createError(reason, error);
    }
  }
}

/**
 * Returns a URL for error messages; that of a function is unknown before it is called.
 */
export function displayUrl(url: ValueOrFunction<string | URL>): string {
  return isFunction(url) ? "the server" : withoutSecrets(url);
}

/** Returns the value, or what the function returns; rejects if the function throws. */
async function resolveProvided<T>(provided: ValueOrFunction<T>): Promise<T> {
  return await (isFunction(provided) ? provided() : provided);
}

function isFunction<T>(
  provided: ValueOrFunction<T>,
): provided is () => T | PromiseLike<T> {
  return typeof provided === "function";
}

/**
 * Returns a hint. Browsers, Node and Bun reject a server that selects none of the offered
 * subprotocols; browsers do not report why.
 */
function hintFor(cause: unknown): string {
  const message = messageOf(cause);
  return message === "" || /protocol/i.test(message)
    ? 'if the server does not use this library, set the option "plain"'
    : "";
}

/** The text of a runtime's error. */
function messageOf(cause: unknown): string {
  if (cause instanceof Error) return cause.message;
  return typeof cause === "string" ? cause : "";
}

function connectError(url: string, cause: unknown, hint = ""): ConnectError {
  const reasons = [hint, messageOf(cause)];
  const parts = [`Cannot connect to ${url}`, ...reasons.filter(Boolean)];
  return new ConnectError(
    parts.join(": "),
    url,
    cause === undefined ? {} : { cause },
  );
}
