/**
 * One attempt of a page to connect: what to ask for, the handshakes, and the error if it
 * fails.
 *
 * @module
 */

import { assertReturnedUrl, toProtocols } from "../client/client_arguments.ts";
import type { CreateOwner } from "../client/attempt_result.ts";
import type { ValueOrFunction } from "../client/client_options.ts";
import type { ClientConnector } from "../client/client_parts.ts";
import type { SocketTypes } from "../values/types.ts";
import {
  connectError,
  displayUrl,
  resolveProvided,
} from "../client/connect_target.ts";
import {
  type OfferBlame,
  ServerMemories,
  type ServerMemory,
} from "../client/events_support.ts";
import {
  CloseCode,
  ConnectError,
  type ConnectErrorDetails,
} from "../events/errors.ts";
import { ResumePoint } from "../protocol/resume_point.ts";
import { offerSubprotocols, parseSelected } from "../protocol/subprotocol.ts";
import { explainByPolicy, reportByPolicy } from "../runtime/connect_report.ts";
import { openSocket } from "../runtime/websocket.ts";
import { withResolvers } from "../util/deferred.ts";
import { printable } from "../util/printable.ts";
import { startTimer } from "../util/timer.ts";
import { untilAborted } from "../util/until_aborted.ts";
import { openConnection, type PageConnection } from "./page_connection.ts";
import type { ResolvedPageOptions } from "./page_options.ts";
import { type OpenSocket, SocketEvents } from "./page_socket.ts";

/** Uses a socket, in the turn in which it opens. */
type UseSocket = (open: OpenSocket) => void;

/** What to connect to. */
interface HandshakeTarget {
  readonly url: string | URL;
  readonly protocols: readonly string[];
}

/** Opens the sockets of one client. */
export class PageConnector<Types extends SocketTypes>
  implements ClientConnector<Types, PageConnection<Types>> {
  readonly #options: ResolvedPageOptions;
  readonly #resumePoint = new ResumePoint();
  readonly #memories = new ServerMemories();
  /** Where to connect to. */
  url: ValueOrFunction<string | URL> = "";

  constructor(options: ResolvedPageOptions) {
    this.#options = options;
  }

  /**
   * Makes one attempt. It takes more than one handshake if the server may have failed
   * the first one for what it offered.
   *
   * @param signal Cancels it, with its reason.
   * @param createOwner Returns the owner of a connection.
   */
  async connect(
    signal: AbortSignal,
    createOwner: CreateOwner<Types, PageConnection<Types>>,
  ): Promise<void> {
    const { connectTimeout } = this.#options;
    const limit = new AbortController();
    const abort = () => limit.abort(signal.reason);
    signal.addEventListener("abort", abort);
    const timer = startTimer(
      () =>
        limit.abort(
          this.createError(`no response within ${connectTimeout} ms`, {
            kind: "timeout",
          }),
        ),
      connectTimeout,
    );
    try {
      await this.#negotiate(limit.signal, (open) => {
        const owner = createOwner({
          opened: () => clearTimeout(timer),
          resolve: () => {},
          refused: () => {},
        });
        openConnection({
          open,
          options: this.#options,
          resumePoint: this.#resumePoint,
          owner,
        });
      });
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    }
  }

  /** Makes the handshakes of one attempt: with `events.v1`, without, or both. */
  async #negotiate(signal: AbortSignal, use: UseSocket): Promise<void> {
    const { requireEvents, reconnect, support } = this.#options;
    let target = await this.#resolveTarget(signal);
    if (support.isPlain) {
      return await this.#handshake(target, false, signal, use);
    }
    const memory = this.#memories.of(target.url);
    let isOffering = requireEvents || memory.isOffering;
    let isProven = memory.isKnown;
    for (;; target = await this.#resolveTarget(signal)) {
      try {
        if (!isOffering && !isProven) {
          return await this.#verify(target, memory, signal, use);
        }
        await this.#handshake(target, isOffering, signal, use);
        return memory.learn(isOffering);
      } catch (error) {
        const blame = blameOf(error);
        const isRetried = !signal.aborted && !requireEvents &&
          memory.failed(isOffering, blame, reconnect !== undefined);
        if (!isRetried) throw error;
        isOffering = false;
        isProven = blame !== "possible";
      }
    }
  }

  /**
   * Connects without `events.v1` to a server of which it is not known whether it would
   * take it. The server may only have been down before: so before the socket is used, the
   * offer is made once more.
   */
  async #verify(
    target: HandshakeTarget,
    memory: ServerMemory,
    signal: AbortSignal,
    use: UseSocket,
  ): Promise<void> {
    let plain: OpenSocket | undefined;
    await this.#handshake(target, false, signal, (open) => plain = open);
    const discard = () => {
      plain?.events.stop();
      plain?.socket.close();
    };
    let again: HandshakeTarget;
    try {
      again = await this.#resolveTarget(signal);
    } catch (error) {
      discard();
      throw error;
    }
    try {
      await this.#handshake(again, true, signal, (open) => {
        discard();
        use(open);
      });
      memory.learn(true);
    } catch (error) {
      if (signal.aborted || !plain) {
        discard();
        throw error;
      }
      if (blameOf(error) !== "none") memory.learn(false);
      use(plain);
    }
  }

  /** Makes one handshake. */
  async #handshake(
    { url, protocols }: HandshakeTarget,
    isOffering: boolean,
    signal: AbortSignal,
    use: UseSocket,
  ): Promise<void> {
    signal.throwIfAborted();
    const { requireEvents, support } = this.#options;
    const offer = isOffering ? support : { ...support, isPlain: true };
    const offered = offerSubprotocols(
      protocols,
      offer,
      this.#resumePoint.subprotocol,
    );
    const { promise, resolve, reject } = withResolvers<void>();
    const { socket, report, stop } = reportByPolicy(() =>
      openSocket(url, offered, undefined)
    );
    socket.binaryType = "arraybuffer";
    const events = new SocketEvents(socket);
    const fail = (reason: string, details: ConnectErrorDetails) =>
      reject(connectError(displayUrl(url), reason, details));
    events.pipe((event) => {
      if ("wasClean" in event && !LOST_CODES.includes(event.code)) {
        // The server has accepted the connection to say why it refuses it.
        const { code, reason } = event;
        const said = reason && ` and reason "${printable(reason)}"`;
        return fail(`the server refused with code ${code}${said}`, {
          kind: "refused",
          code,
          reason,
        });
      }
      if (event.type !== "open") {
        const cause = failureOf(event);
        const { kind, message } = explainByPolicy(cause, report);
        return fail(message, { kind, ...cause !== undefined && { cause } });
      }
      // In workerd, it is null if the server selected none.
      const selected = socket.protocol || "";
      const negotiated = parseSelected(selected, offer);
      if (negotiated.isRefusal) return; // its reason follows
      // RFC 6455, section 4.1: Deno accepts anything.
      const wrong = selected !== "" && !offered.includes(selected)
        ? `the server selected the subprotocol "${
          printable(selected)
        }", which was not offered`
        : requireEvents && !negotiated.isEvents
        ? "the server does not speak events.v1"
        : "";
      if (wrong) {
        return fail(wrong, { kind: "protocol", cause: new Error(wrong) });
      }
      events.pipe(undefined);
      resolve();
      use({ socket, events, negotiated });
    });
    try {
      await untilAborted(promise, signal);
    } catch (error) {
      events.stop();
      socket.close();
      throw error;
    } finally {
      stop();
    }
  }

  /** Creates the error of an attempt that failed. */
  createError(reason: string, details: ConnectErrorDetails = {}): ConnectError {
    return connectError(displayUrl(this.url), reason, details);
  }

  /** Asks for the URL and the subprotocols: a ticket in them may count only once. */
  async #resolveTarget(signal: AbortSignal): Promise<HandshakeTarget> {
    const [url, protocols] = await untilAborted(
      Promise.all([
        resolveProvided(this.url),
        resolveProvided(this.#options.protocols),
      ]),
      signal,
    ).catch((cause) => {
      signal.throwIfAborted();
      throw this.createError(
        `the URL or the subprotocols could not be determined${
          cause instanceof Error ? `: ${cause.message}` : ""
        }`,
        { cause },
      );
    });
    assertReturnedUrl(url);
    return { url, protocols: toProtocols(protocols) };
  }
}

/** The codes of a connection that was lost, or closed without a code. */
const LOST_CODES: readonly number[] = [
  0,
  CloseCode.NoStatus,
  CloseCode.Abnormal,
];

/** Returns what the runtime says of a failure; undefined if it says nothing. */
function failureOf(event: Event): unknown {
  return "error" in event && event.error ||
    "message" in event && event.message || undefined;
}

/** Whether what was offered is to blame for a failed handshake. */
function blameOf(error: unknown): OfferBlame {
  if (!(error instanceof ConnectError)) return "none";
  if (error.kind === "protocol") return "certain";
  return error.kind ? "none" : "possible";
}
