/**
 * Prints what happens, for people or as JSON.
 *
 * @module
 */

import { printable } from "../core/util/printable.ts";

/** Something that happened. */
export interface CliEvent {
  /** What happened, for example `"message"`. */
  readonly type: string;
  readonly [property: string]: unknown;
}

/** Where the command reads from and writes to. */
export interface Terminal {
  /** The lines of the standard input. */
  readonly lines: AsyncIterable<string>;
  /** Whether a person reads the output. */
  readonly isInteractive: boolean;
  /** Prints a line to the standard output. */
  readonly print: (line: string) => void;
  /** Prints a line to the standard error. */
  readonly note: (line: string) => void;
}

/** The longest part of a binary message that is printed, in bytes. */
const MAX_HEX_BYTES = 32;

/** No limit: the user wants to see all of a message. */
const ALL = Infinity;

/** Prints events. */
export class Printer {
  readonly #terminal: Terminal;
  readonly #isJson: boolean;

  /**
   * Creates a printer.
   *
   * @param isJson Whether to print each event as one line of JSON.
   */
  constructor(terminal: Terminal, isJson: boolean) {
    this.#terminal = terminal;
    this.#isJson = isJson;
  }

  /**
   * Prints received data.
   *
   * @param label Says what it is, if it is not a plain message.
   * @param details More properties for the output as JSON.
   */
  data(
    type: string,
    data: string | Uint8Array,
    label = "",
    details: Readonly<Record<string, unknown>> = {},
  ): void {
    const isText = typeof data === "string";
    if (this.#isJson) {
      const content = isText ? { text: data } : { base64: data.toBase64() };
      return this.#json({ type, ...details, ...content });
    }
    const text = isText ? printable(data, ALL) : describeBytes(data);
    const prefix = this.#terminal.isInteractive ? "< " : "";
    this.#terminal.print(`${prefix}${label}${text}`);
  }

  /** Prints an event for which there is no data; `text` is for people. */
  event(event: CliEvent, text: string): void {
    if (this.#isJson) this.#json(event);
    else this.#terminal.note(text);
  }

  /** Prints an error. */
  error(error: unknown): void {
    const message = error instanceof Error ? error.message : `${error}`;
    this.event({ type: "error", message }, printable(message, ALL));
  }

  /** Prints lines that only people need. */
  lines(lines: readonly string[]): void {
    if (!this.#isJson) lines.forEach((line) => this.#terminal.note(line));
  }

  #json(event: CliEvent): void {
    this.#terminal.print(JSON.stringify(event));
  }
}

function describeBytes(bytes: Uint8Array): string {
  const shown = bytes.subarray(0, MAX_HEX_BYTES).toHex();
  const rest = bytes.length > MAX_HEX_BYTES ? "…" : "";
  return `<${bytes.length} bytes> ${shown.replace(/..(?=.)/g, "$& ")}${rest}`;
}
