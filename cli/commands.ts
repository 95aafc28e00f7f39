/**
 * What a line of input does: it is sent, or it is a command.
 *
 * @module
 */

import type { ClientSocket } from "../client.ts";
import { type Channel, channel } from "../channels.ts";
import { printable } from "../core/util/printable.ts";
import type { Printer } from "./printer.ts";

/** A summary of the commands, for `/help` and errors. */
const COMMANDS =
  `/request <data>, /join <channel> [json], /to <channel> <data>, /leave <channel>, /close [code] [reason], /help, //text`;

/** Runs the lines of one session. */
export class Commands {
  readonly #client: ClientSocket;
  readonly #printer: Printer;
  readonly #channels = new Map<string, Channel>();

  /** Creates the commands of a client. */
  constructor(client: ClientSocket, printer: Printer) {
    this.#client = client;
    this.#printer = printer;
  }

  /** Sends a line, or does what it says. Rejects if that fails. */
  async run(line: string): Promise<void> {
    if (!line.startsWith("/") || line.startsWith("//")) {
      return await this.#client.send(line.replace(/^\/\//, "/"));
    }
    const [, command = "", rest = ""] = /^\/(\S*)\s*(.*)$/.exec(line) ?? [];
    const [, first = "", second = ""] = /^(\S*)\s*(.*)$/.exec(rest) ?? [];
    switch (command) {
      case "request":
        return await this.#request(rest);
      case "join":
        return await this.#join(first, second);
      case "to":
        return await this.#channel(first).send(second);
      case "leave":
        return this.#channel(first).leave();
      case "close": {
        const [, code, reason = ""] = /^(\d+)?\s*(.*)$/.exec(rest) ?? [];
        const number = code === undefined ? 1000 : Number(code);
        return await this.#client.close(number, reason);
      }
      case "help":
        return this.#printer.event({ type: "help", text: COMMANDS }, COMMANDS);
      default:
        throw new Error(
          `No such command: "/${command}". There are ${COMMANDS}`,
        );
    }
  }

  async #request(data: string): Promise<void> {
    const reply = await this.#client.request(data);
    this.#printer.data("reply", toText(reply), "reply: ");
  }

  async #join(name: string, json: string): Promise<void> {
    const data: unknown = json === "" ? undefined : JSON.parse(json);
    const joined = channel(this.#client, name, data);
    this.#channels.set(name, joined);
    const label = `${printable(name)}: `;
    joined.on("open", (snapshot, isRejoin) => {
      const again = isRejoin ? " again" : "";
      const shown = snapshot === undefined
        ? ""
        : `: ${printable(JSON.stringify(snapshot) ?? "", Infinity)}`;
      this.#printer.event(
        { type: "open", channel: name, snapshot, isRejoin },
        `Joined ${printable(name)}${again}${shown}`,
      );
    });
    joined.on("message", (message) => {
      const data = message.isBinary ? message.bytes : message.content;
      this.#printer.data("message", data, label, { channel: name });
    });
    joined.on("recovery", (recovered) =>
      this.#printer.event(
        { type: "recovery", channel: name, recovered },
        recovered
          ? `${label}nothing was missed`
          : `${label}some messages may have been missed`,
      ));
    joined.on("close", (code, reason) => {
      this.#channels.delete(name);
      this.#printer.event(
        { type: "leave", channel: name, code, reason },
        `Left ${printable(name)}: ${printable(`${code} ${reason}`).trimEnd()}`,
      );
    });
    await joined.joined.catch(() => {}); // `close` has told why
  }

  #channel(name: string): Channel {
    const joined = this.#channels.get(name);
    if (joined) return joined;
    throw new Error(`Not in the channel "${name}": write /join ${name} first`);
  }
}

function toText(reply: unknown): string | Uint8Array {
  return reply instanceof Uint8Array ? reply : JSON.stringify(reply) ?? "";
}
