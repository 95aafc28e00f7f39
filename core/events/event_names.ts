/**
 * The names of events, and errors for names that do not exist.
 *
 * @module
 */

import { suggest } from "./errors.ts";

/** The prefix of the events for messages of one type, as in `message:chat`. */
export const TYPED_MESSAGE = "message:";

/** Whether a name is that of an event for messages of one type. */
export function isTypedMessage(type: unknown): boolean {
  return typeof type === "string" && type.startsWith(TYPED_MESSAGE) &&
    type.length > TYPED_MESSAGE.length;
}

/** Lists the names of a set of events; the compiler checks that none is missing. */
export function eventNames<Events>(
  names: Record<keyof Events & string, true>,
): ReadonlySet<string> {
  return new Set(Object.keys(names));
}

/**
 * Validates the name of an event.
 *
 * @throws {TypeError} If there is no such event. The message suggests the nearest name.
 */
export function assertEventName(
  type: unknown,
  names: ReadonlySet<string>,
): void {
  if (typeof type !== "string") {
    throw new TypeError(
      `Cannot use an event name that is not a string: current value is of type ${typeof type}`,
    );
  }
  if (names.has(type) || isTypedMessage(type)) return;
  throw new TypeError(
    `Cannot listen to "${type}" as there is no such event${
      suggest("events", type, names)
    }`,
  );
}
