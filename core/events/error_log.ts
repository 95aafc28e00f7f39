/**
 * Writes unhandled errors to the console, limited in number and length, so that a peer
 * cannot fill a log or control a terminal. An error goes to the listeners of its
 * connection, else to those of the server or client; only what neither hears comes here.
 *
 * @module
 */

import { printable } from "../util/printable.ts";
import { startTimer, type Timer } from "../util/timer.ts";

/** The maximum number of errors per window. */
const MAX_ERRORS = 20;

/** The length of a window, in milliseconds. */
const WINDOW_MS = 10_000;

/** The maximum length of an error message. */
const MAX_MESSAGE_CHARS = 1_000;

/** The maximum number of lines of a stack. */
const MAX_STACK_LINES = 20;

/** The maximum number of causes of an error. */
const MAX_CAUSES = 4;

/** Writes the errors of one socket. */
export class ErrorLog {
  #written = 0;
  #suppressed = 0;
  #windowEnd = -Infinity;
  /** Writes the number of suppressed errors at the end of the window. */
  #timer: Timer | undefined;

  /** Writes an error after a label, unless the limit is reached. */
  write(label: string, error: unknown): void {
    const now = performance.now();
    if (now >= this.#windowEnd) {
      this.flush();
      this.#windowEnd = now + WINDOW_MS;
      this.#written = 0;
    }
    if (this.#written++ < MAX_ERRORS) {
      console.error(label, describeError(error));
      return;
    }
    this.#suppressed++;
    this.#timer ??= startTimer(() => this.flush(), this.#windowEnd - now);
  }

  /** Writes the number of suppressed errors, if any. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const count = this.#suppressed;
    this.#suppressed = 0;
    if (count === 0) return;
    console.error(
      `${count} more errors were not written: listen to "error" to see all of them`,
    );
  }
}

/**
 * Returns the text of any thrown value, printable and of limited length: name, message,
 * location and causes.
 */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  let current = error;
  for (let i = 0; i < MAX_CAUSES && (i === 0 || current !== undefined); i++) {
    parts.push((i > 0 ? "Caused by: " : "") + describeSingle(current));
    current = causeOf(current);
  }
  return parts.join("\n");
}

/** The cause of an error. Anything can be thrown: also what throws when it is read. */
function causeOf(error: unknown): unknown {
  try {
    return error instanceof Error ? error.cause : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Returns the name and message of an error on one line. An `AggregateError` without a
 * message, as for a host with several addresses, is described by its errors.
 */
export function errorReason(error: unknown): string {
  try {
    if (error instanceof AggregateError && error.message === "") {
      const reasons = error.errors.slice(0, MAX_CAUSES).map(errorReason);
      return [...new Set(reasons)].join("; ");
    }
    return printable(
      error instanceof Error ? String(error) : describeValue(error),
      MAX_MESSAGE_CHARS,
    );
  } catch {
    return "an error that cannot be formatted";
  }
}

function describeSingle(error: unknown): string {
  try {
    if (!(error instanceof Error)) {
      return printable(describeValue(error), MAX_MESSAGE_CHARS);
    }
    const name = printable(`${error.name}`);
    const message = `${error.message}`;
    const head = message
      ? `${name}: ${printable(message, MAX_MESSAGE_CHARS)}`
      : name;
    return [head, ...stackLines(error, message)].join("\n");
  } catch {
    return "an error that cannot be formatted"; // its getters throw
  }
}

function describeValue(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(value);
  // Instances, such as connections, may hold secrets.
  const prototype: unknown = Object.getPrototypeOf(value);
  const isPlain = prototype === null || prototype === Object.prototype ||
    Array.isArray(value);
  if (!isPlain) return `an object of class ${value.constructor.name}`;
  return JSON.stringify(value) ?? "an object that is undefined as JSON";
}

/** Returns the lines of a stack without the message, which may look like one of them. */
function stackLines(error: Error, message: string): string[] {
  const stack = `${error.stack ?? ""}`;
  const at = message ? stack.indexOf(message) : -1;
  return stack.slice(at < 0 ? 0 : at + message.length).split("\n", 200)
    .filter((line) => /^ {4}at /.test(line))
    .slice(0, MAX_STACK_LINES)
    .map((line) => `    ${printable(line.trim(), 300)}`);
}
