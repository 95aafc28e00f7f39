/**
 * From a request to a connection: the response to each request, and the upgrade.
 *
 * @module
 */

import { Connection, type ConnectionOwner } from "../connection/connection.ts";
import type { ConnectionOptions } from "../connection/connection_options.ts";
import { type ConnectionEnd, isThenable } from "../events/errors.ts";
import type { SubprotocolSupport } from "../protocol/subprotocol.ts";
import {
  releaseHeaders,
  type RequestInfo,
  serverDriver,
  upgradeRequest,
} from "../runtime/deno_server.ts";
import { Keepalive } from "../runtime/keepalive.ts";
import { OpenAnswers } from "../runtime/open_answers.ts";
import { OnceWarnings } from "../util/once_warnings.ts";
import { printable } from "../util/printable.ts";
import type { Context, SocketTypes } from "../values/types.ts";
import {
  Admission,
  type AdmissionResult,
  type AdmittedRequest,
} from "./admission.ts";
import type { AdmissionOptions } from "./admission_options.ts";
import { INTERNAL_ERROR } from "./authorization.ts";
import {
  type CloseRefusal,
  REFUSAL_TIMEOUT_MS,
  refusingOwner,
} from "./close_refusal.ts";
import { isUpgradeRequest, type Refusal } from "./handshake.ts";
import { pickHeaders } from "./kept_headers.ts";
import { INVALID_URL, urlOf } from "./paths.ts";
import { PendingUpgrades } from "./pending_upgrades.ts";

/** Handles requests that do not ask for a WebSocket. */
type Fallback = (
  request: Request,
  info: RequestInfo,
) => Response | Promise<Response>;

/** The settings of an {@linkcode Upgrader}. */
export interface UpgraderOptions<Types extends SocketTypes> {
  readonly admission: AdmissionOptions<Context<Types>>;
  readonly support: SubprotocolSupport;
  readonly fallback: Fallback | undefined;
  /** The options of the connections. */
  readonly connection: ConnectionOptions<Types>;
  /** After how many milliseconds of silence a connection is lost; 0 for never. */
  readonly idleTimeout: number;
  /** How much longer a peer may take to answer a ping, in milliseconds. */
  readonly pongGrace: number;
}

/** What an {@linkcode Upgrader} reports to the server. */
export interface UpgraderHost<Types extends SocketTypes> {
  /** The owner of the connections. */
  readonly owner: ConnectionOwner<Types>;
  /** Whether `refused` has a listener. */
  isRefusedHeard(): boolean;
  /**
   * A request is being upgraded.
   *
   * @param expiresAt When its context expires; `Infinity` for never.
   */
  admitted(client: Connection<Types>, expiresAt: number): void;
  /** A request was not upgraded. */
  refused(
    request: Request,
    status: number,
    reason: string,
    remoteAddress: string,
  ): void;
  /** An error of the application or of the runtime. */
  failed(error: unknown, from: "authorize" | "fallback" | "upgrade"): void;
}

/** Responds to all requests of one server. */
export class Upgrader<Types extends SocketTypes> {
  /** The responses of the fallback that have not been sent. */
  readonly answers: OpenAnswers;
  readonly #options: UpgraderOptions<Types>;
  readonly #host: UpgraderHost<Types>;
  readonly #admission: Admission<Context<Types>>;
  readonly #keepalive: Keepalive;
  readonly #pending = new PendingUpgrades<Connection<Types>>();
  readonly #warnings = new OnceWarnings(Infinity);
  /** The subprotocols of clients that offered some, none of which was selected. */
  readonly #unselected = new WeakMap<Connection<Types>, string>();

  constructor(options: UpgraderOptions<Types>, host: UpgraderHost<Types>) {
    this.#options = options;
    this.#host = host;
    this.#keepalive = new Keepalive(options.idleTimeout);
    this.#admission = new Admission(
      options.admission,
      options.support,
      (error) => host.failed(error, "authorize"),
    );
    this.answers = new OpenAnswers((error) => host.failed(error, "fallback"));
  }

  /** Whether a client has left before its upgrade was complete. */
  get hasLostUpgrades(): boolean {
    return this.#pending.lost > 0;
  }

  /** Responds to a request. It neither throws nor rejects. */
  respond(
    request: Request,
    info: RequestInfo | undefined,
  ): Response | Promise<Response> {
    try {
      const { fallback } = this.#options;
      if (fallback && !isUpgradeRequest(request)) {
        // The fallback could not parse the URL either.
        if (urlOf(request) === undefined) {
          return this.#refuse(request, INVALID_URL, "unknown");
        }
        return this.#callFallback(fallback, request, info ?? {});
      }
      const result = this.#admission.admit(request, info);
      if (result instanceof Promise || this.#pending.isSuspicious) {
        return this.#decideLater(request, result, info);
      }
      return this.#decide(request, result, info);
    } catch (error) {
      return this.#respondWithFailure(request, error);
    }
  }

  /** Call this when a connection has opened. */
  opened(client: Connection<Types>): void {
    this.#pending.delete(client);
  }

  /** Call this when a connection could not be opened. */
  lost(client: Connection<Types>): void {
    this.#pending.delete(client);
    this.released(client);
  }

  /** Call this when a connection has ended: it does not count for the limits any more. */
  released(client: Connection<Types>, end?: ConnectionEnd): void {
    const { remoteAddress } = client;
    this.#admission.release(remoteAddress);
    const offered = this.#unselected.get(client);
    const isSilent = end?.cause === "network" &&
      client.traffic.received.messages === 0;
    if (offered === undefined || !isSilent) return;
    this.#warnings.warn("protocols", () => {
      const { protocols = [] } = this.#options.admission;
      return `Lost ${remoteAddress}, perhaps as none of the subprotocols that it offers ("${
        printable(offered)
      }") is in the option "protocols" (${
        JSON.stringify(protocols)
      }): most clients fail then (logged once)`;
    });
  }

  /**
   * Refuses all requests from now on.
   *
   * @param retryAfter The `Retry-After` of the responses, in seconds.
   */
  close(retryAfter?: number): void {
    this.#admission.close(retryAfter);
  }

  /** Gives up the upgrades that are not complete. */
  terminatePending(): void {
    this.#pending.terminate();
  }

  async #callFallback(
    fallback: Fallback,
    request: Request,
    info: RequestInfo,
  ): Promise<Response> {
    const { closed } = this.#admission;
    if (closed && this.answers.isEnded) return toResponse(closed);
    try {
      return await this.answers.track(
        request,
        async () => assertUsable(await fallback(request, info), request),
        completionOf(info),
      );
    } catch (error) {
      this.#host.failed(error, "fallback");
      return toResponse(INTERNAL_ERROR);
    }
  }

  async #decideLater(
    request: Request,
    result: AdmissionResult | Promise<AdmissionResult>,
    info: RequestInfo | undefined,
  ): Promise<Response> {
    try {
      const first = await result;
      const last = this.#pending.isSuspicious
        ? await this.#admission.confirm(request, first)
        : first;
      return await this.#decide(request, last, info);
    } catch (error) {
      return this.#respondWithFailure(request, error);
    }
  }

  #decide(
    request: Request,
    result: AdmissionResult,
    info: RequestInfo | undefined,
  ): Response | Promise<Response> {
    if ("refusal" in result) {
      const { refusal, remoteAddress } = result;
      const response = this.#refuse(request, refusal, remoteAddress);
      if (refusal.response === undefined) return response;
      // A body of the application may be endless, and would outlast a shutdown.
      return this.answers.track(
        request,
        () => Promise.resolve(response),
        completionOf(info),
      );
    }
    const { admitted } = result;
    const { remoteAddress } = admitted;
    // The server may have been closed since the decision.
    const { closed } = this.#admission;
    if (closed) {
      this.#admission.release(remoteAddress);
      return this.#refuse(request, closed, remoteAddress);
    }
    try {
      return this.#upgrade(request, admitted);
    } catch (error) {
      this.#admission.release(remoteAddress);
      throw error;
    }
  }

  #upgrade(
    request: Request,
    admitted: AdmittedRequest,
  ): Response {
    const { url, path, remoteAddress, selected, closeRefusal } = admitted;
    const { context, responseHeaders } = admitted;
    // After the upgrade, the properties of the request are not available, and an
    // exception would stop the whole listener. So everything that can fail comes first.
    const { headers } = request;
    const { admission, connection, pongGrace } = this.#options;
    const options = closeRefusal ? refusedOptions(connection) : connection;
    if (closeRefusal) {
      const { code, reason } = closeRefusal;
      const text = `Closed with code ${code}${reason && `: ${reason}`}`;
      this.#report(request, { status: 101, reason: text }, remoteAddress);
    }
    const offered = selected.subprotocol === ""
      ? headers.get("sec-websocket-protocol")
      : undefined;
    const { keepHeaders = [] } = admission;
    const { instrumentation } = options;
    // A peer that sends large messages in parts can answer a ping between them.
    const grace = selected.hasParts ? 0 : pongGrace;
    const upgrade = () =>
      upgradeRequest(request, selected.subprotocol, this.#keepalive, grace);
    const { socket, response, idleWatch } = instrumentation
      ? instrumentation.detach(upgrade)
      : upgrade();
    const client = new Connection<Types>(
      {
        socket,
        driver: serverDriver,
        url,
        path,
        headers,
        releaseHeaders: () => {
          const kept = pickHeaders(headers, keepHeaders);
          releaseHeaders(request);
          return kept;
        },
        remoteAddress,
        negotiated: selected,
        options,
        context,
        idleWatch,
      },
      closeRefusal ? this.#createRefusingOwner(closeRefusal) : this.#host.owner,
    );
    this.#pending.add(client);
    this.#host.admitted(client, admitted.expiresAt);
    if (offered) this.#unselected.set(client, offered);
    for (const [name, value] of responseHeaders ?? []) {
      response.headers.append(name, value);
    }
    return response;
  }

  #respondWithFailure(request: Request, error: unknown): Response {
    this.#host.failed(error, "upgrade");
    return this.#refuse(request, INTERNAL_ERROR, "unknown");
  }

  #createRefusingOwner(refusal: CloseRefusal): ConnectionOwner<Types> {
    return refusingOwner(
      refusal,
      (client) => this.opened(client),
      (client) => this.lost(client),
    );
  }

  #refuse(request: Request, refusal: Refusal, remoteAddress: string): Response {
    this.#report(request, refusal, remoteAddress);
    return toResponse(refusal);
  }

  #report(request: Request, refusal: Refusal, remoteAddress: string): void {
    const { status, reason, advice } = refusal;
    if (!this.#host.isRefusedHeard()) {
      this.#warnings.warn(status, () => {
        const text = advice ?? `Refused ${remoteAddress}: ${status} ${reason}`;
        return `${text} (logged once per status: listen to "refused" for all)`;
      });
    }
    this.#host.refused(request, status, reason, remoteAddress);
  }
}

/** The runtime only reports the completion if asked before it has the response. */
function completionOf(
  info: RequestInfo | undefined,
): PromiseLike<unknown> | undefined {
  const completed = info?.completed;
  return isThenable(completed) ? completed : undefined;
}

/** The options of a connection that is accepted only to be closed. */
function refusedOptions<Types extends SocketTypes>(
  options: ConnectionOptions<Types>,
): ConnectionOptions<Types> {
  const closeTimeout = Math.min(options.closeTimeout, REFUSAL_TIMEOUT_MS);
  return { ...options, closeTimeout, instrumentation: undefined };
}

function toResponse(
  { status, reason, headers, response }: Refusal,
): Response {
  return response ??
    new Response(`${reason}\n`, { status, headers: { ...headers } });
}

/** Returns the response of a fallback, if it can be sent. */
function assertUsable(response: unknown, request: Request): Response {
  if (!(response instanceof Response)) {
    throw new TypeError(
      `Cannot respond to ${
        printable(request.url)
      } with something other than a Response: current value is of type ${typeof response}`,
    );
  }
  if (!response.bodyUsed) return response;
  throw new TypeError(
    `Cannot respond to ${
      printable(request.url)
    } with a Response whose body was already read: return a new Response for each request`,
  );
}
