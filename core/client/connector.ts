/**
 * One attempt to connect: what to ask for, the handshake, and the error if it fails.
 *
 * @module
 */

import { assertReturnedUrl, toProtocols } from "./client_arguments.ts";
import { Connection } from "../connection/connection.ts";
import {
  CloseCode,
  type ConnectError,
  type ConnectErrorDetails,
  type ConnectionEnd,
} from "../events/errors.ts";
import { connectError, displayUrl, resolveProvided } from "./connect_target.ts";
import { withResolvers } from "../util/deferred.ts";
import { ResumePoint } from "../protocol/resume_point.ts";
import { offerSubprotocols, parseSelected } from "../protocol/subprotocol.ts";
import {
  type ConnectFailure,
  diagnosisFeature,
  explainByPolicy,
  reportByPolicy,
} from "../runtime/connect_report.ts";
import { clientDriver, openSocket } from "../runtime/websocket.ts";
import { printable } from "../util/printable.ts";
import { startTimer } from "../util/timer.ts";
import type { SocketTypes } from "../values/types.ts";
import type {
  ResolvedClientOptions,
  ValueOrFunction,
} from "./client_options.ts";
import type { CreateOwner } from "./attempt_result.ts";
import { HeldOwner } from "./held_owner.ts";
import {
  blameOffer,
  ServerMemories,
  type ServerMemory,
} from "./events_support.ts";

/** What to connect to. */
interface Target {
  readonly url: string | URL;
  readonly protocols: readonly string[];
  readonly headers: HeadersInit | undefined;
}

/** A handshake that failed, and why. */
class HandshakeFailure {
  constructor(
    readonly error: ConnectError,
    readonly failure: ConnectFailure,
  ) {}
}

/** What one attempt shares with its handshakes. */
interface Attempt<Types extends SocketTypes> {
  readonly target: Target;
  readonly memory: ServerMemory;
  readonly createOwner: CreateOwner<Types, Connection<Types>>;
  /** The connections that are not open yet; cancelling the attempt terminates them. */
  readonly pending: Set<Connection<Types>>;
  /** Rejects when the attempt is cancelled. */
  readonly cancelled: Promise<never>;
  /** Ends the time limit and the listening to the signal. */
  settle(): void;
}

/** Opens the connections of one client. */
export class Connector<Types extends SocketTypes> {
  readonly #options: ResolvedClientOptions<Types>;
  readonly #resumePoint = new ResumePoint();
  readonly #memories = new ServerMemories();
  /** Where to connect to. */
  url: ValueOrFunction<string | URL> = "";

  constructor(options: ResolvedClientOptions<Types>) {
    this.#options = options;
  }

  /**
   * Makes one attempt. It takes more than one handshake if the server may have failed
   * the first one for what it offered.
   *
   * @param signal Cancels it, with its reason.
   * @param createOwner Returns the owner of a connection.
   * @returns A promise that resolves when the connection is open.
   */
  async connect(
    signal: AbortSignal,
    createOwner: CreateOwner<Types, Connection<Types>>,
  ): Promise<void> {
    const { connectTimeout } = this.#options;
    const { promise: cancelled, reject } = withResolvers<never>();
    cancelled.catch(() => {});
    const pending = new Set<Connection<Types>>();
    const cancel = (error: unknown) => {
      reject(error);
      for (const connection of pending) connection.terminate();
    };
    const abort = () => cancel(signal.reason);
    const timer = startTimer(
      () =>
        cancel(
          this.createError(`no response within ${connectTimeout} ms`, {
            kind: "timeout",
          }),
        ),
      connectTimeout,
    );
    const settle = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    };
    signal.addEventListener("abort", abort);
    try {
      const target = await Promise.race([this.#resolveTarget(), cancelled]);
      signal.throwIfAborted();
      await this.#negotiate({
        target,
        memory: this.#memories.of(target.url),
        createOwner,
        pending,
        cancelled,
        settle,
      });
    } catch (error) {
      throw error instanceof HandshakeFailure ? error.error : error;
    } finally {
      settle();
    }
  }

  /** Makes the handshakes of one attempt: with `events.v1`, without, or both. */
  async #negotiate(attempt: Attempt<Types>): Promise<void> {
    const { memory } = attempt;
    const { requireEvents, reconnect, connection: { support } } = this.#options;
    if (support.isPlain) return await this.#handshake(attempt, false);
    let current = attempt;
    let isOffering = requireEvents || memory.isOffering;
    let isProven = memory.isKnown;
    for (;;) {
      try {
        if (!isOffering && !isProven) return await this.#verify(current);
        await this.#handshake(current, isOffering);
        return memory.learn(isOffering);
      } catch (error) {
        if (!(error instanceof HandshakeFailure)) throw error;
        const blame = blameOffer(error.failure, support.codecName !== "");
        const isRetried = !requireEvents &&
          memory.failed(isOffering, blame, reconnect !== undefined);
        if (!isRetried) throw error;
        current = await this.#renew(attempt);
        isOffering = false;
        isProven = blame !== "possible";
      }
    }
  }

  /**
   * Connects without `events.v1` to a server of which it is not known whether it would
   * take it. The server may only have been down before: so before the connection is
   * used, the offer is made once more.
   */
  async #verify(attempt: Attempt<Types>): Promise<void> {
    const { memory } = attempt;
    const held = new HeldOwner<Types>(attempt.createOwner);
    await this.#handshake({ ...attempt, createOwner: held.create }, false);
    try {
      const again = await this.#renew(attempt);
      await this.#handshake({
        ...again,
        createOwner: (result) =>
          attempt.createOwner({
            ...result,
            opened: () => {
              held.discard();
              result.opened();
            },
          }),
      }, true);
      memory.learn(true);
    } catch (error) {
      if (!(error instanceof HandshakeFailure)) {
        held.discard();
        throw error;
      }
      const blame = blameOffer(
        error.failure,
        this.#options.connection.support.codecName !== "",
      );
      if (blame !== "none") memory.learn(false);
      held.release();
    }
  }

  /** Asks for the URL and so on again: a ticket in them may count only once. */
  async #renew(attempt: Attempt<Types>): Promise<Attempt<Types>> {
    const { cancelled } = attempt;
    const target = await Promise.race([this.#resolveTarget(), cancelled]);
    return { ...attempt, target };
  }

  /** Makes one handshake. Rejects with a {@linkcode HandshakeFailure}. */
  async #handshake(
    { target, createOwner, pending, cancelled, settle }: Attempt<Types>,
    isOffering: boolean,
  ): Promise<void> {
    const { connection: options, requireEvents } = this.#options;
    const { url, headers } = target;
    const support = isOffering
      ? options.support
      : { ...options.support, isPlain: true };
    const offered = offerSubprotocols(
      target.protocols,
      support,
      this.#resumePoint.subprotocol,
    );
    const { promise, resolve, reject } = withResolvers<void>();
    const { instrumentation } = options;
    const open = () =>
      openSocket(url, offered, headers, this.#options.webSocket);
    const { code: diagnosis } = diagnosisFeature;
    const { socket, report, stop } = (diagnosis?.report ?? reportByPolicy)(
      instrumentation ? () => instrumentation.detach(open) : open,
    );
    let connection: Connection<Types> | undefined;
    let isUnoffered = false;
    try {
      const owner = createOwner({
        opened: () => {
          if (connection) pending.delete(connection);
          settle();
        },
        resolve,
        refused: (url, cause, end) => {
          const failure = (diagnosis?.explain ?? explainByPolicy)(
            cause,
            report,
          );
          reject(
            this.#explain(url, cause, end, {
              ...failure,
              isSubprotocol: failure.isSubprotocol || isUnoffered,
            }),
          );
        },
      });
      const { host, port, protocol, pathname } = new URL(socket.url);
      connection = new Connection<Types>({
        socket,
        driver: clientDriver,
        url: socket.url,
        path: pathname,
        headers: new Headers(),
        remoteAddress: port
          ? host
          : `${host}:${protocol === "wss:" ? 443 : 80}`,
        negotiate: (selected) => {
          // RFC 6455, section 4.1: Deno accepts anything.
          if (selected !== "" && !offered.includes(selected)) {
            isUnoffered = true;
            return new Error(
              `the server selected the subprotocol "${
                printable(selected)
              }", which was not offered`,
            );
          }
          const negotiated = parseSelected(selected, support);
          if (negotiated.isRefusal) return negotiated;
          if (requireEvents && !negotiated.isEvents) {
            return new Error("the server does not speak events.v1");
          }
          return negotiated;
        },
        options,
        resumePoint: this.#resumePoint,
      }, owner);
      pending.add(connection);
      await Promise.race([promise, cancelled]);
    } finally {
      if (connection) pending.delete(connection);
      stop();
    }
  }

  /** Creates the error of an attempt that failed. */
  createError(reason: string, details: ConnectErrorDetails = {}): ConnectError {
    return connectError(displayUrl(this.url), reason, details);
  }

  /** Explains why a connection was not opened. */
  #explain(
    url: string,
    cause: unknown,
    end: ConnectionEnd,
    failure: ConnectFailure,
  ): HandshakeFailure {
    const shown = displayUrl(url);
    const { kind, status, message } = failure;
    // The server has accepted the connection to say why it refuses it.
    if (end.type === "close" && end.code !== CloseCode.NoStatus) {
      const { code, reason } = end;
      const text = `the server refused with code ${code}${
        reason && ` and reason "${printable(reason)}"`
      }`;
      return new HandshakeFailure(
        connectError(shown, text, { kind: "refused", code, reason }),
        { ...failure, kind: "refused" },
      );
    }
    const details = {
      kind: end.cause === "protocol" ? "protocol" as const : kind,
      status,
      ...cause !== undefined && { cause },
    };
    const { codecName } = this.#options.connection.support;
    const text = message === "" && codecName !== ""
      ? `if the server is there, and does not know the codec "${codecName}", use the option "plain"`
      : message;
    return new HandshakeFailure(connectError(shown, text, details), failure);
  }

  /** Resolves the URL, the subprotocols and the headers. */
  async #resolveTarget(): Promise<Target> {
    const [url, protocols, headers] = await Promise.all([
      resolveProvided(this.url),
      resolveProvided(this.#options.protocols),
      resolveProvided(this.#options.headers),
    ]).catch((cause) => {
      const reason = "the URL, subprotocols or headers could not be determined";
      throw this.createError(
        `${reason}${cause instanceof Error ? `: ${cause.message}` : ""}`,
        { cause },
      );
    });
    assertReturnedUrl(url);
    return { url, protocols: toProtocols(protocols), headers };
  }
}
