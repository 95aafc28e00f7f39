/**
 * A server to try a client against.
 *
 * @module
 */

import { printable } from "../core/util/printable.ts";
import { debug } from "../debug.ts";
import { ServerSocket } from "../server.ts";
import type { CliOptions } from "./cli_options.ts";
import type { Printer, Terminal } from "./printer.ts";

/**
 * Listens until the signal aborts.
 *
 * @returns The exit code.
 */
export async function listen(
  options: CliOptions,
  terminal: Terminal,
  printer: Printer,
  signal: AbortSignal,
): Promise<number> {
  const server = new ServerSocket({ protocols: options.protocols });
  if (options.isDebugging) debug(server, { write: terminal.note });
  server.on("connect", (client, path) => {
    printer.event(
      { type: "connect", client: client.remoteAddress, path },
      `${client.remoteAddress} connected to ${printable(path)}`,
    );
  });
  server.on("message", async (message) => {
    const { author, isBinary, isRequest } = message;
    const data = isBinary ? message.bytes : message.content;
    printer.data("message", data, `${author.remoteAddress}: `);
    if (isRequest) await message.reply(data);
    else if (options.isChat) server.broadcast(data);
    else await author.send(data);
  });
  server.on("end", (client, { type, code, reason, cause }) => {
    printer.event(
      { type, client: client.remoteAddress, code, reason, cause },
      `${client.remoteAddress} ended: ${type} ${code} ${printable(reason)}`
        .trimEnd(),
    );
  });
  server.on("refused", (_request, status, reason, remoteAddress) => {
    printer.event(
      { type: "refused", client: remoteAddress, status, reason },
      `Refused ${remoteAddress}: ${status} ${printable(reason)}`,
    );
  });
  try {
    await server.listen(options.hostname, options.port);
  } catch (error) {
    printer.error(error);
    return 1;
  }
  const what = options.isChat ? "chat" : "echo";
  printer.event(
    { type: "ready", url: server.url },
    `Listening at ${server.url} (${what}). Press Ctrl-C to stop`,
  );
  await new Promise((resolve) => {
    signal.addEventListener("abort", resolve, { once: true });
  });
  await server.shutdown();
  return 0;
}
