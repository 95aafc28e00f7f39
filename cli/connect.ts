/**
 * A session with a server: lines go out as messages, and messages come in as lines.
 *
 * @module
 */

import {
  ClientSocket,
  type SocketMessage,
  type SocketTypes,
} from "../client.ts";
import { printable } from "../core/util/printable.ts";
import { debug } from "../debug.ts";
import { clientOptions, type CliOptions } from "./cli_options.ts";
import { Commands } from "./commands.ts";
import type { Printer, Terminal } from "./printer.ts";

/**
 * Connects, and stays until the connection or the input ends.
 *
 * @returns The exit code: 0 after a close, 1 otherwise.
 */
export async function connect(
  options: CliOptions,
  terminal: Terminal,
  printer: Printer,
): Promise<number> {
  const client = new ClientSocket({
    ...clientOptions(options),
    reconnect: options.isReconnecting,
  });
  if (options.isDebugging) debug(client, { write: terminal.note });
  const ended = Promise.withResolvers<number>();
  client.on("connect", (connection) => {
    const { protocol, speaksEvents } = connection;
    const spoken = [speaksEvents && "events.v1", protocol].filter(Boolean);
    const suffix = spoken.length > 0 ? ` (${spoken.join(", ")})` : "";
    printer.event(
      { type: "connect", url: options.url, protocol, speaksEvents },
      `Connected to ${options.url}${suffix}`,
    );
  });
  client.on("message", (message) => printMessage(message, printer));
  client.on("reconnecting", (attempt, delay) =>
    printer.event(
      { type: "reconnecting", attempt, delay },
      `Reconnecting in ${(delay / 1000).toFixed(1)} s (attempt ${attempt})`,
    ));
  client.on("end", ({ type, code, reason, cause }) => {
    const word = type === "close" ? "Closed" : "Lost the connection";
    printer.event(
      { type, code, reason, cause },
      `${word}: ${code} ${printable(reason)}`.trimEnd() + ` (${cause})`,
    );
    if (type === "close") ended.resolve(0);
    else if (!options.isReconnecting) ended.resolve(1);
  });
  try {
    await client.connect(options.url);
  } catch (error) {
    printer.error(error);
    return 1;
  }
  const input = readInput(client, terminal, printer).then(async () => {
    await wait(options.wait, ended.promise);
    await client.close();
  });
  const code = await ended.promise;
  // With a terminal, the input goes on: nobody waits for it.
  if (!terminal.isInteractive) await wait(0, input);
  return code;
}

function printMessage(
  message: SocketMessage<SocketTypes>,
  printer: Printer,
): void {
  const data = message.isBinary ? message.bytes : message.content;
  if (message.isRequest) printer.data("request", data, "request: ");
  else printer.data("message", data);
}

async function readInput(
  client: ClientSocket,
  terminal: Terminal,
  printer: Printer,
): Promise<void> {
  const commands = new Commands(client, printer);
  const pending = new Set<Promise<void>>();
  for await (const line of terminal.lines) {
    const done = commands.run(line).catch((error: unknown) => {
      printer.error(error);
    }).finally(() => pending.delete(done));
    pending.add(done);
    if (client.connection === undefined) break;
  }
  await Promise.all(pending);
}

/** Waits, but no longer than for a promise. */
function wait(ms: number, until: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    until.then(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
