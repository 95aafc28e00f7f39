/**
 * The shutdown of a server: its options, and closing all connections. The library handles
 * no signals: a program calls `shutdown()` on SIGINT and SIGTERM.
 *
 * @module
 */

import {
  assertCloseFrame,
  assertKnown,
  assertOption,
  assertSize,
  assertType,
  CloseCode,
} from "../events/errors.ts";
import { appendRetryAfter, toSeconds } from "../protocol/retry_after.ts";
import { forEachInSlices } from "../runtime/time_slices.ts";
import { startTimer } from "../util/timer.ts";

/** Options of {@linkcode ServerSocket.shutdown}. */
export interface ShutdownOptions {
  /**
   * The close code. 1012 (service restart) is not the default, because WebKit reports it
   * to pages as 1006 without the reason.
   *
   * @default {1001}
   */
  readonly code?: number;
  /** The human-readable reason. */
  readonly reason?: string;
  /**
   * Closes the connections in batches of `batch`, with `every` milliseconds between them,
   * so that the clients do not all reconnect at the same time. By default all connections
   * are closed at once.
   */
  readonly drain?: { readonly batch: number; readonly every: number };
  /**
   * The time after which a client may reconnect, in milliseconds: 0, or 1000 or more. It
   * is sent at the end of the reason, in whole seconds, as in `retry-after=5`, and is available as
   * {@linkcode Disconnection.retryAfter}. Requests that are refused meanwhile get it in
   * the `Retry-After` header.
   */
  readonly retryAfter?: number;
}

/** How to shut down. */
export interface ShutdownPlan {
  readonly code: number;
  readonly reason: string;
  /** The number of connections to close at once. */
  readonly batch: number;
  /** The time between two batches, in milliseconds. */
  readonly every: number;
  /** The `Retry-After` of refused requests, in seconds; undefined for the default. */
  readonly retryAfter: number | undefined;
}

/**
 * Validates the options and fills in the defaults.
 *
 * @throws {TypeError} If an option is unknown or has the wrong type.
 * @throws {RangeError} If a number is out of range, or the close frame is invalid.
 */
export function resolveShutdownOptions(options: ShutdownOptions): ShutdownPlan {
  assertType("options", options, "object", "a code goes to close()");
  assertKnown("shutdown()", options, SHUTDOWN_OPTIONS);
  const { drain, retryAfter } = options;
  assertOption("drain", drain, "object");
  if (drain) assertKnown("drain", drain, DRAIN_OPTIONS);
  const { batch = Infinity, every = 0 } = drain ?? {};
  const { code = CloseCode.GoingAway, reason: given = "" } = options;
  assertFinite("retryAfter", retryAfter ?? 0);
  if (retryAfter !== undefined && retryAfter > 0 && retryAfter < 1_000) {
    throw new RangeError(
      `Cannot use "retryAfter" unless it is 0, or 1000 or more: it is in milliseconds, and current value is ${retryAfter}`,
    );
  }
  assertFinite("drain.every", every);
  assertSize("drain.batch", batch, 1);
  const reason = retryAfter === undefined
    ? given
    : appendRetryAfter(given, retryAfter);
  assertCloseFrame(code, reason, "server");
  return {
    code,
    reason,
    batch,
    every,
    retryAfter: retryAfter === undefined ? undefined : toSeconds(retryAfter),
  };
}

function assertFinite(name: string, value: number): void {
  assertSize(name, value);
  if (value === Infinity) {
    throw new RangeError(
      `Cannot use "${name}" unless it is finite: current value is ${value}`,
    );
  }
}

/** A connection, as far as it is closed here. */
interface Closable {
  readonly readyState: number;
  close(code?: number, reason?: string): Promise<void>;
}

/** Closes the connections of one server. */
export class ClientShutdown {
  readonly #clients: ReadonlySet<Closable>;
  #onEmpty: (() => void) | undefined;
  #isClosing = false;

  /**
   * @param clients The open connections; the owner keeps the set up to date.
   */
  constructor(clients: ReadonlySet<Closable>) {
    this.#clients = clients;
  }

  /** Whether a connection is being closed by the shutdown right now. */
  get isClosing(): boolean {
    return this.#isClosing;
  }

  /** Call this when a connection has ended and is no longer in the set. */
  clientEnded(): void {
    if (this.#clients.size === 0) this.#onEmpty?.();
  }

  /**
   * Closes all connections, in batches and in slices of the event loop, and waits until
   * they have ended.
   *
   * @param isHosted Whether another HTTP server may close the sockets meanwhile. Then each
   * batch is closed in one turn, before that server's close events.
   */
  async closeAll(
    { code, reason, batch, every }: ShutdownPlan,
    isHosted = false,
  ): Promise<void> {
    for (;;) {
      const open = [...this.#clients].filter((one) => one.readyState === 1);
      const close = (client: Closable) => {
        if (client.readyState !== 1) return;
        this.#isClosing = true;
        client.close(code, reason);
        this.#isClosing = false;
      };
      const closed = open.slice(0, batch);
      if (isHosted) closed.forEach(close);
      else {
        const closing = forEachInSlices(closed, close);
        if (closing) await closing;
      }
      if (open.length <= batch) break;
      await this.#waitUntilEmpty(every);
    }
    const ends: Promise<void>[] = [];
    await forEachInSlices(this.#clients, (client) => {
      ends.push(client.close());
    });
    await Promise.all(ends);
  }

  /** Waits until there is no client, but not longer than the time in milliseconds. */
  async #waitUntilEmpty(delay: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = startTimer(resolve, delay);
    this.#onEmpty = resolve;
    await promise;
    clearTimeout(timer);
    this.#onEmpty = undefined;
  }
}

const SHUTDOWN_OPTIONS: readonly (keyof ShutdownOptions)[] = [
  "code",
  "reason",
  "drain",
  "retryAfter",
];

const DRAIN_OPTIONS: readonly (keyof NonNullable<ShutdownOptions["drain"]>)[] =
  ["batch", "every"];
