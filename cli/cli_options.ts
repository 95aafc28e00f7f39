/**
 * Parses the arguments of the command; pure.
 *
 * @module
 */

import { parseArgs } from "node:util";
import type { ClientOptions } from "../client.ts";

/** What the command does. */
export type Mode = "connect" | "listen" | "bench";

/** The arguments, checked. */
export interface CliOptions {
  readonly mode: Mode;
  /** The server to connect to. Empty in the mode `"listen"`. */
  readonly url: string;
  readonly hostname: string;
  readonly port: number;
  readonly isChat: boolean;
  readonly isJson: boolean;
  readonly isReconnecting: boolean;
  /** Whether to print every frame. */
  readonly isDebugging: boolean;
  /** Subprotocols to offer, or to choose from. */
  readonly protocols: readonly string[];
  readonly headers: readonly (readonly [string, string])[];
  /** How long to wait after the end of the input, in milliseconds. */
  readonly wait: number;
  /** The number of clients of a benchmark. */
  readonly clients: number;
  /** The duration of a benchmark, in milliseconds. */
  readonly duration: number;
  /** The size of the messages of a benchmark, in bytes. */
  readonly size: number;
}

/** The text of `--help`. */
export const HELP = `Talks to any WebSocket server from a terminal.

Usage:
  events [options] <url>               Connect: send lines, print messages
  events --listen [host:]port          Serve: send each message back
  events --listen [host:]port --chat   Serve: send each message to everyone
  events --bench <clients> <url>       Measure round trips to an echo server

Options:
  -H, --header <name: value>  Add a header to the handshake (repeatable)
  -p, --protocol <name>       Offer, or accept, a subprotocol (repeatable)
  -r, --reconnect             Reconnect after a lost connection
  -w, --wait <seconds>        Wait for messages after the end of the input (1)
      --duration <seconds>    Duration of a benchmark (5)
      --size <bytes>          Size of the messages of a benchmark (32)
  -d, --debug                 Print every frame that is sent or received
      --json                  Print each event as one line of JSON
  -h, --help                  Print this text

While connected, a line that begins with a slash is a command:
  /request <data>             Send a request, and print the reply (events.v1)
  /join <channel> [json]      Join a channel, and print its messages (events.v1)
  /to <channel> <data>        Send a message in a channel
  /leave <channel>            Leave a channel
  /close [code] [reason]      Close the connection
  /help                       Print this list
  //text                      Send a line that begins with a slash

Messages go to the standard output, everything else to the standard error.

Exit codes:
  0  the connection was closed      1  it could not be opened, or was lost
  2  the arguments are wrong

Examples:
  events wss://example.com/live
  events --listen 3000 --chat
  echo '{"type":"say","text":"hi"}' | events ws://localhost:3000
  events --bench 100 ws://localhost:3000`;

/** The arguments are wrong. The message says what to write instead. */
export class UsageError extends Error {}

const SPEC = {
  listen: { type: "string" },
  chat: { type: "boolean" },
  bench: { type: "string" },
  duration: { type: "string" },
  size: { type: "string" },
  header: { type: "string", short: "H", multiple: true },
  protocol: { type: "string", short: "p", multiple: true },
  reconnect: { type: "boolean", short: "r" },
  wait: { type: "string", short: "w" },
  debug: { type: "boolean", short: "d" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;

/**
 * Parses the arguments.
 *
 * @returns The options; undefined if help is asked for.
 * @throws {UsageError} If they are wrong.
 */
export function parseOptions(args: readonly string[]): CliOptions | undefined {
  const { values, positionals } = parse(args);
  if (values.help) return undefined;
  const mode: Mode = values.listen !== undefined
    ? "listen"
    : values.bench !== undefined
    ? "bench"
    : "connect";
  if (values.listen !== undefined && values.bench !== undefined) {
    throw new UsageError("--listen and --bench cannot be used together");
  }
  if (values.chat && mode !== "listen") {
    throw new UsageError("--chat needs --listen");
  }
  const [url = "", ...rest] = positionals;
  const extra = mode === "listen" ? positionals : rest;
  if (extra.length > 0) {
    throw new UsageError(`Unexpected argument "${extra[0]}"`);
  }
  return {
    mode,
    url: mode === "listen" ? "" : checkUrl(url),
    ...parseListenAddress(values.listen ?? "0"),
    isChat: values.chat ?? false,
    isJson: values.json ?? false,
    isReconnecting: values.reconnect ?? false,
    isDebugging: values.debug ?? false,
    protocols: values.protocol ?? [],
    headers: (values.header ?? []).map(parseHeader),
    wait: seconds("--wait", values.wait ?? "1"),
    clients: count("--bench", values.bench ?? "1"),
    duration: seconds("--duration", values.duration ?? "5"),
    size: count("--size", values.size ?? "32"),
  };
}

/** The options of a client that connects. */
export function clientOptions(
  { protocols, headers }: CliOptions,
): Pick<ClientOptions, "protocols" | "headers"> {
  return {
    protocols,
    ...headers.length > 0 &&
      { headers: headers.map(([name, value]) => [name, value]) },
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: SPEC,
      allowPositionals: true,
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : `${error}`);
  }
}

function checkUrl(text: string): string {
  if (text === "") {
    throw new UsageError(
      "Missing the URL: write, for example, ws://localhost:3000",
    );
  }
  // "localhost:3000" parses as a URL whose scheme is "localhost".
  const url = URL.parse(/^[a-z]+:\/\//i.test(text) ? text : `ws://${text}`);
  if (!url || !/^(ws|http)s?:$/.test(url.protocol)) {
    throw new UsageError(
      `Not the URL of a WebSocket server: "${text}". Write ws:// or wss://`,
    );
  }
  return url.href;
}

function parseListenAddress(text: string): { hostname: string; port: number } {
  const [, hostname = "localhost", digits = ""] =
    /^(?:(.+):)?(\d+)$/.exec(text) ?? [];
  const port = Number(digits);
  if (digits === "" || port > 65_535) {
    throw new UsageError(
      `Not an address to listen at: "${text}". Write a port, or host:port`,
    );
  }
  return { hostname: hostname.replace(/^\[(.*)\]$/, "$1"), port };
}

function parseHeader(text: string): [string, string] {
  const [, name = "", value = ""] = /^([^:\s]+):\s*(.*)$/.exec(text) ?? [];
  if (name === "") {
    throw new UsageError('Not a header. Write "name: value"');
  }
  return [name, value];
}

function seconds(name: string, text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value <= 86_400)) {
    throw new UsageError(`Not a number of seconds for ${name}: "${text}"`);
  }
  return value * 1000;
}

function count(name: string, text: string): number {
  if (!/^\d{1,7}$/.test(text) || Number(text) === 0) {
    throw new UsageError(
      `Not a number from 1 to 9999999 for ${name}: "${text}"`,
    );
  }
  return Number(text);
}
