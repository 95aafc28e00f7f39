/**
 * Why a client's socket could not be opened. The standard reveals nothing (WHATWG
 * WebSockets, "fail the WebSocket connection"), and browsers keep to that, but for the
 * policy of the page. `connect_failure.ts` knows what other runtimes say.
 *
 * @module
 */

import type { ConnectErrorKind } from "../events/errors.ts";
import { Feature } from "../util/feature.ts";
import { readProperty } from "../util/read_property.ts";

/** The details of a failure. */
export interface ConnectFailure {
  /** What kind it is; undefined if the runtime does not say. */
  readonly kind: ConnectErrorKind | undefined;
  /** The HTTP status of the answer; undefined if there was none, or it is unknown. */
  readonly status: number | undefined;
  /**
   * Whether the server's choice of a subprotocol is the reason: none, or one that was
   * not offered.
   */
  readonly isSubprotocol: boolean;
  /** Whether the server ended the connection instead of answering the request. */
  readonly isCutOff: boolean;
  /** The text of the error; empty if there is none. */
  readonly message: string;
}

/** What Node publishes of one attempt. */
export interface ConnectReport {
  /** Whether the Content Security Policy of the page forbids the URL. */
  isForbidden?: boolean;
  status?: number;
  error?: unknown;
  /** The TCP or TLS connection, once the handshake is sent. */
  tcp?: TcpSocket;
  /** Whether the attempt was cancelled. */
  isAbandoned?: boolean;
}

/** The part of a Node socket that is used. */
export interface TcpSocket {
  destroy(): void;
}

/** An attempt to open a socket, and what the runtime says of it. */
export interface ReportedConnect<T> {
  /** The socket. */
  readonly socket: T;
  /** The report of the runtime, which is filled during the attempt. */
  readonly report: ConnectReport;
  /** Stops reporting. */
  stop(): void;
}

/** Explains failures in runtimes that say why. */
export interface FailureDiagnosis {
  /** Opens a socket, and reports what the runtime says of it. */
  report<T extends object>(open: () => T): ReportedConnect<T>;
  /**
   * Explains a failure.
   *
   * @param cause The error of the runtime, or its text; undefined if it gave none.
   */
  explain(cause: unknown, report: ConnectReport): ConnectFailure;
}

/** See {@linkcode FailureDiagnosis}. */
export const diagnosisFeature: Feature<FailureDiagnosis> = new Feature(
  "runtimes",
);

/** Opens a socket, and reports whether the policy of the page forbids it. */
export function reportByPolicy<T extends object>(
  open: () => T,
): ReportedConnect<T> {
  const report: ConnectReport = {};
  const stop = watchPolicy(report);
  try {
    return { socket: open(), report, stop };
  } catch (error) {
    stop();
    throw error;
  }
}

/** Explains a failure in a page, where nothing else is known. */
export function explainByPolicy(
  cause: unknown,
  { isForbidden }: ConnectReport,
): ConnectFailure {
  return {
    kind: isForbidden ? "refused" : undefined,
    status: undefined,
    isSubprotocol: false,
    isCutOff: false,
    message: isForbidden ? FORBIDDEN_BY_POLICY : textOf(cause),
  };
}

/** The explanation of a URL that the policy of the page forbids. */
export const FORBIDDEN_BY_POLICY: string =
  'the Content Security Policy of the page forbids it: add the server to "connect-src"';

/** Returns the text of an error. Bun's begins with the URL, which may have a token. */
export function textOf(error: unknown): string {
  const text = error instanceof Error ? error.message : error;
  return typeof text === "string"
    ? text.replace(/^WebSocket connection to '.*' failed: /s, "")
    : "";
}

/** Listens to what the policy of a page forbids; the event comes before the error. */
function watchPolicy(report: ConnectReport): () => void {
  const type = "securitypolicyviolation";
  // A worker has no document, and gets the event itself.
  const document = readProperty(globalThis, "document") ?? globalThis;
  const add = readProperty(document, "addEventListener");
  const remove = readProperty(document, "removeEventListener");
  if (typeof add !== "function" || typeof remove !== "function") {
    return () => {};
  }
  const onViolation = (event: unknown) => {
    const isConnect =
      readProperty(event, "effectiveDirective") === "connect-src";
    const isEnforced = readProperty(event, "disposition") !== "report";
    const url = readProperty(event, "blockedURI");
    const isSocket = typeof url === "string" && /^wss?:/.test(url);
    if (isConnect && isEnforced && isSocket) report.isForbidden = true;
  };
  Reflect.apply(add, document, [type, onViolation]);
  return () => Reflect.apply(remove, document, [type, onViolation]);
}
