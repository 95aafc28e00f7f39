/**
 * Why a runtime could not open a client's socket. The standard reveals nothing
 * (WHATWG WebSockets, "fail the WebSocket connection"), and browsers keep to that.
 * Deno and Bun say it in the error event; Node publishes it on `node:diagnostics_channel`.
 *
 * @module
 */

import { readProperty } from "../util/read_property.ts";
import type { ConnectErrorKind } from "../events/errors.ts";
import {
  type ConnectFailure,
  type ConnectReport,
  FORBIDDEN_BY_POLICY,
  reportByPolicy,
  type ReportedConnect,
  type TcpSocket,
  textOf,
} from "./connect_report.ts";

/** The reports of sockets in Node. */
const reports = new WeakMap<object, ConnectReport>();

/**
 * Closes the TCP connection of a WebSocket in Node, where `close()` waits for the peer
 * without a limit, and keeps the process alive.
 *
 * @returns Whether nothing else has to be done.
 */
export function destroyTcp(socket: object): boolean {
  const report = reports.get(socket);
  if (!report) return false;
  report.isAbandoned = true;
  report.tcp?.destroy();
  return report.tcp !== undefined;
}

const STATUS_PATTERN =
  /(?:Invalid status code:|Expected 101 status code:|server response:|but received) (\d{3})/;

/**
 * The texts of Deno, Bun, Node, workerd and the package `ws`, and the codes of Node and
 * Bun.
 */
const PATTERNS: readonly (readonly [ConnectErrorKind, RegExp])[] = [
  [
    "tls",
    /certificate|\bTLS\b|fatal alert|corrupt message|\b\w*(?:CERT|TLS|SSL|EPROTO|VERIFY|SELF_SIGNED)\w*\b/,
  ],
  ["timeout", /timed out|ETIMEDOUT|TIMEOUT/],
  [
    "protocol",
    /sent protocols|Protocol was not set|client protocol|\bhead(?:er)?s?\b|extension|HTTP version|Invalid response|HPE_|invalid HTTP|Server sent/i,
  ],
  [
    "unreachable",
    /tcp connect error|dns error|[Cc]onnection (?:closed|error|refused|reset)|connection lost|Connection ended|Failed to connect|UND_ERR_SOCKET|\bE(?:CONN|HOST|NET|NOTFOUND|AI_|PIPE|ADDR)\w*/,
  ],
];

const SUBPROTOCOL_PATTERN =
  /sent protocols|Protocol was not set|(?:Missing|Mismatch) client protocol|Server sent .*subprotocol/;

const CUT_OFF_PATTERN =
  /connection closed before|WebSocket: connection (?:error|reset)|Connection ended|UND_ERR_SOCKET|ECONNRESET|EPIPE/;

/**
 * Explains a failure.
 *
 * @param cause The error of the runtime, or its text; undefined if it gave none.
 * @param report What Node published.
 */
export function explainFailure(
  cause: unknown,
  report: ConnectReport = {},
): ConnectFailure {
  hideUrl(cause);
  const errors = [cause, report.error];
  const text = errors.map((error) => `${codeOf(error)} ${textOf(error)}`)
    .join("\n");
  const found = STATUS_PATTERN.exec(text)?.[1];
  const status = found === undefined ? report.status : Number(found);
  const isRefused = status !== undefined && status !== 101;
  const isForbidden = report.isForbidden === true;
  const kind = isRefused || isForbidden
    ? "refused"
    : PATTERNS.find(([, pattern]) => pattern.test(text))?.[0];
  return {
    kind,
    status: isRefused ? status : undefined,
    isSubprotocol: SUBPROTOCOL_PATTERN.test(text),
    isCutOff: !isRefused && CUT_OFF_PATTERN.test(text),
    message: isForbidden
      ? FORBIDDEN_BY_POLICY
      : messageOf(cause, report, isRefused ? status : undefined),
  };
}

/** Takes the URL out of an error of Bun, as it may have a token. */
function hideUrl(cause: unknown): void {
  if (!(cause instanceof Error)) return;
  const message = textOf(cause);
  if (message === cause.message) return;
  cause.message = message;
  cause.stack = `${cause.name}: ${message}`;
}

/** The text to show. Node's own says the same of all failures. */
function messageOf(
  cause: unknown,
  { error }: ConnectReport,
  status: number | undefined,
): string {
  const text = textOf(cause);
  if (!NODE_GENERIC.test(text)) return text;
  if (status !== undefined) return `the server answered with status ${status}`;
  return textOf(error) || text;
}

const NODE_GENERIC = /^Received network error or non-101/;

function codeOf(error: unknown): string {
  return typeof error === "object" && error !== null && "code" in error &&
      typeof error.code === "string"
    ? error.code
    : "";
}

/** The modules of Node that are used, without which nothing is known. */
interface NodeModules {
  readonly storage: {
    run<T>(store: ConnectReport, action: () => T): T;
    getStore(): ConnectReport | undefined;
  };
  subscribe(channel: string, listener: (message: unknown) => void): void;
  unsubscribe(channel: string, listener: (message: unknown) => void): void;
}

let modules: NodeModules | null | undefined;
let watched = 0;

/**
 * Opens a socket, and reports what Node publishes of it.
 *
 * @param open Opens the socket.
 * @returns What `open` returned, the report, which fills as the attempt goes on, and
 * what stops reporting.
 */
export function reportConnect<T extends object>(
  open: () => T,
): ReportedConnect<T> {
  if (modules === undefined) {
    modules = findModules() ?? null;
    modules?.subscribe("undici:client:sendHeaders", onSendHeaders);
  }
  const node = modules;
  if (node === null) return reportByPolicy(open);
  const report: ConnectReport = {};
  if (watched++ === 0) {
    node.subscribe("undici:request:headers", onHeaders);
    node.subscribe("undici:request:error", onError);
  }
  let isStopped = false;
  const stop = () => {
    if (isStopped) return;
    isStopped = true;
    if (--watched > 0) return;
    node.unsubscribe("undici:request:headers", onHeaders);
    node.unsubscribe("undici:request:error", onError);
  };
  try {
    const socket = node.storage.run(report, open);
    reports.set(socket, report);
    return { socket, report, stop };
  } catch (error) {
    stop();
    throw error;
  }
}

/** Remembers the connection. What listeners of the socket request has the same store. */
function onSendHeaders(message: unknown): void {
  const report = modules?.storage.getStore();
  const tcp = readProperty(message, "socket");
  const isWebSocket =
    readProperty(readProperty(message, "request"), "upgrade") === "websocket";
  if (!report || !isWebSocket || !isTcpSocket(tcp)) return;
  report.tcp = tcp;
  if (report.isAbandoned) tcp.destroy();
}

function isTcpSocket(value: unknown): value is TcpSocket {
  return typeof readProperty(value, "destroy") === "function";
}

function onHeaders(message: unknown): void {
  const report = modules?.storage.getStore();
  const status = readProperty(readProperty(message, "response"), "statusCode");
  if (report && typeof status === "number") report.status = status;
}

function onError(message: unknown): void {
  const report = modules?.storage.getStore();
  if (report) report.error = readProperty(message, "error");
}

/** Node's modules; undefined in other runtimes, and before Node 22.3. */
function findModules(): NodeModules | undefined {
  const process = readProperty(globalThis, "process");
  const versions = readProperty(process, "versions");
  const isNode = typeof readProperty(versions, "undici") === "string" &&
    readProperty(versions, "bun") === undefined &&
    readProperty(versions, "deno") === undefined;
  const load = readProperty(process, "getBuiltinModule");
  if (!isNode || typeof load !== "function") return undefined;
  const channels: unknown = Reflect.apply(load, process, [
    "node:diagnostics_channel",
  ]);
  const hooks: unknown = Reflect.apply(load, process, ["node:async_hooks"]);
  const Storage = readProperty(hooks, "AsyncLocalStorage");
  const subscribe = readProperty(channels, "subscribe");
  const unsubscribe = readProperty(channels, "unsubscribe");
  if (
    typeof Storage !== "function" || typeof subscribe !== "function" ||
    typeof unsubscribe !== "function"
  ) return undefined;
  return {
    storage: Reflect.construct(Storage, []),
    subscribe: (...args) => Reflect.apply(subscribe, channels, args),
    unsubscribe: (...args) => Reflect.apply(unsubscribe, channels, args),
  };
}
