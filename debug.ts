/**
 * A log of everything that goes through a server or a client: {@linkcode debug}.
 *
 * ```ts ignore
 * import { ServerSocket } from "jsr:@ws/events/server";
 * import { debug } from "jsr:@ws/events/debug";
 *
 * const server = new ServerSocket();
 * if (Deno.env.has("DEBUG")) debug(server);
 * await server.listen("localhost", 3000);
 * ```
 *
 * @module
 */

import type { ClientSocket } from "./client.ts";
import { errorReason } from "./core/events/error_log.ts";
import {
  assertKnown,
  assertType,
  type ConnectionEnd,
  optionNames,
} from "./core/events/errors.ts";
import type { EndEvent } from "./core/events/event_types.ts";
import {
  type InstrumentedConnection,
  type LoggedSocket,
  slotOf,
} from "./core/events/instrumentation.ts";
import { type Payload, payloadOf } from "./core/protocol/frames.ts";
import type { Disposer } from "./core/util/disposer.ts";
import { printable } from "./core/util/printable.ts";
import { withoutSecrets } from "./core/util/safe_url.ts";
import { describeFrame } from "./debug/frame_text.ts";
import type { CheckedTypes, ServerSocket } from "./server.ts";

export type { Disposer } from "./core/util/disposer.ts";

/** The options of {@linkcode debug}. */
export interface DebugOptions {
  /**
   * Writes a line.
   *
   * @default {console.error}
   */
  readonly write?: (line: string) => void;
  /**
   * The maximum number of characters of a message that are shown.
   *
   * @default {200}
   */
  readonly maxChars?: number;
}

const DEBUG_OPTIONS = optionNames<DebugOptions>({
  write: true,
  maxChars: true,
});

/**
 * Logs what a server or a client does: connections and their ends, refused requests,
 * attempts to reconnect, and every frame that is sent (`->`) or received (`<-`). Frames
 * of `events.v1` are decoded: requests, replies, batches, credit, channels.
 *
 * It is meant for development: the log contains the content of messages, including any
 * secrets in them. Headers, queries and recovery tokens are left out. It has no overhead
 * for other sockets.
 *
 * Call it before the server listens or the client connects: connections that exist already
 * are not logged. Pings and pongs (RFC 6455) are not shown, as runtimes do not report
 * them.
 *
 * @typeParam Types The types of the socket.
 * @param socket The server or the client.
 * @param options The options.
 * @returns A disposable that stops the log.
 * @throws {TypeError} If the socket is neither a server nor a client, belongs to another
 * copy of this library, or is debugged already, or if an option is unknown or has the
 * wrong type.
 * @throws {RangeError} If `maxChars` is not a positive integer.
 *
 * @example
 * ```ts ignore
 * import { ClientSocket } from "jsr:@ws/events/client";
 * import { debug } from "jsr:@ws/events/debug";
 *
 * const client = new ClientSocket();
 * using _log = debug(client);
 * await client.connect("ws://localhost:3000/live");
 * await client.send("hello");
 * // 10:04:31.207 client 1 connecting to ws://localhost:3000/live
 * // 10:04:31.214 client 1 open (events.v1)
 * // 10:04:31.215 client 1 -> message "hello"
 * ```
 */
export function debug<Types extends CheckedTypes<Types>>(
  socket: ServerSocket<Types> | ClientSocket<Types>,
  options: DebugOptions = {},
): Disposer {
  assertType("options", options, "object");
  assertKnown("debug()", options, DEBUG_OPTIONS);
  const { write = writeToConsole, maxChars = 200 } = options;
  assertType("write", write, "function");
  if (!Number.isSafeInteger(maxChars) || maxChars < 1) {
    throw new RangeError(
      `Cannot show ${maxChars} characters of a message: "maxChars" must be a positive integer`,
    );
  }
  const slot = slotOf(socket);
  if (!slot) {
    throw new TypeError(
      "Cannot debug a value that is neither a ServerSocket nor a ClientSocket of the same copy of @ws/events: import both from the same version",
    );
  }
  if (slot.frameLog) {
    throw new TypeError(
      "Cannot debug a socket twice: dispose of the first log before",
    );
  }
  const side = "clients" in socket ? "server" : "client";
  const log = new FrameLog(side, write, maxChars);
  const open = "clients" in socket
    ? socket.clients.size
    : socket.connection
    ? 1
    : 0;
  if (open > 0) {
    log.write(
      `${open} open connections are not logged: call debug() before they open`,
    );
  }
  slot.frameLog = (connection, raw) => log.watch(connection, raw);
  const unwatch = "clients" in socket
    ? watchServer(socket, log)
    : watchClient(socket, log);
  return {
    [Symbol.dispose]() {
      if (log.isStopped) return;
      log.isStopped = true;
      slot.frameLog = undefined;
      unwatch();
    },
  };
}

function writeToConsole(line: string): void {
  console.error(line);
}

/** Logs the events of a server that are not of a connection. */
function watchServer<Types extends CheckedTypes<Types>>(
  server: ServerSocket<Types>,
  log: FrameLog,
): () => void {
  const ended = (client: InstrumentedConnection, end: ConnectionEnd) =>
    log.ended(client, end);
  const refused = (
    { method, url }: Request,
    status: number,
    reason: string,
    address: string,
  ) => {
    const target = withoutSecrets(url);
    const answer = `${status} ${printable(reason)}`;
    log.write(`refused ${method} ${target} from ${address}: ${answer}`);
  };
  const adapter = (state: "up" | "down", error: unknown) =>
    log.write(`adapter ${state}${describeReason(error)}`);
  server.on("end", ended).on("refused", refused).on("adapter", adapter);
  return () => {
    server.off("end", ended).off("refused", refused).off("adapter", adapter);
  };
}

/** Logs the events of a client that are not of a connection. */
function watchClient<Types extends CheckedTypes<Types>>(
  client: ClientSocket<Types>,
  log: FrameLog,
): () => void {
  const ended = (event: EndEvent<InstrumentedConnection>) =>
    log.ended(event.connection, event.end);
  const reconnecting = (attempt: number, delay: number, error: unknown) => {
    const seconds = (delay / 1_000).toFixed(1);
    const reason = describeReason(error);
    log.write(`reconnecting in ${seconds} s, attempt ${attempt}${reason}`);
  };
  const giveup = (error: unknown, reason: string) =>
    log.write(`gave up (${reason})${describeReason(error)}`);
  client.addEventListener("end", ended);
  client.on("reconnecting", reconnecting).on("giveup", giveup);
  return () => {
    client.removeEventListener("end", ended);
    client.off("reconnecting", reconnecting).off("giveup", giveup);
  };
}

function describeReason(error: unknown): string {
  return error === undefined ? "" : `: ${errorReason(error)}`;
}

/** Writes the lines of one socket. */
class FrameLog {
  /** Whether nothing more is written. */
  isStopped = false;
  readonly #side: "server" | "client";
  readonly #write: (line: string) => void;
  readonly #maxChars: number;
  readonly #numbers = new WeakMap<InstrumentedConnection, number>();
  #count = 0;

  /** Creates the log of a server or a client. */
  constructor(
    side: "server" | "client",
    write: (line: string) => void,
    maxChars: number,
  ) {
    this.#side = side;
    this.#write = write;
    this.#maxChars = maxChars;
  }

  /** Writes a line, with the number of a connection if it belongs to one. */
  write(text: string, connection?: InstrumentedConnection): void {
    if (this.isStopped) return;
    const number = connection && this.#numbers.get(connection);
    const who = number === undefined ? this.#side : `${this.#side} ${number}`;
    const time = new Date().toISOString().slice(11, 23);
    this.#write(`${time} ${who} ${text}`);
  }

  /** Logs the frames of a new connection. */
  watch(connection: InstrumentedConnection, socket: LoggedSocket): void {
    this.#numbers.set(connection, ++this.#count);
    const log = (text: string) => this.write(text, connection);
    log(
      this.#side === "server"
        ? `accepted ${
          printable(connection.path)
        } from ${connection.remoteAddress}`
        : `connecting to ${withoutSecrets(connection.url)}`,
    );
    // The negotiated subprotocol is only known when the owner has handled this event.
    socket.addEventListener("open", () => {
      queueMicrotask(() =>
        log(connection.speaksEvents ? "open (events.v1)" : "open (plain)")
      );
    }, { once: true });
    socket.addEventListener("message", (event) => {
      if (!("data" in event)) return;
      const { data } = event; // a connection receives no Blob
      const isFrame = typeof data === "string" || data instanceof ArrayBuffer;
      if (isFrame && !this.isStopped) {
        this.#frame("<-", data, connection);
      }
    });
    const { send, close } = socket;
    socket.send = (data) => {
      if (!this.isStopped) this.#frame("->", payloadOf(data), connection);
      send.call(socket, data);
    };
    socket.close = (code, reason) => {
      const told = reason ? ` "${printable(reason)}"` : "";
      log(`-> close ${code ?? ""}${told}`.trimEnd());
      close.call(socket, code, reason);
    };
  }

  /** Logs the end of a connection. */
  ended(
    connection: InstrumentedConnection,
    { type, code, reason, cause }: ConnectionEnd,
  ): void {
    const told = reason ? ` "${printable(reason)}"` : "";
    this.write(`${type} ${code}${told} (${cause})`, connection);
  }

  #frame(
    arrow: string,
    payload: Payload,
    connection: InstrumentedConnection,
  ): void {
    const { speaksEvents } = connection;
    for (const line of describeFrame(payload, speaksEvents, this.#maxChars)) {
      this.write(`${arrow} ${line}`, connection);
    }
  }
}
