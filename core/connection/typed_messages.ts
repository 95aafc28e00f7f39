/**
 * Emits a message, and then the event for its type, as in `message:chat`.
 *
 * @module
 */

import { emitters } from "../events/emitter.ts";
import { TYPED_MESSAGE } from "../events/event_names.ts";
import { ReceivedEvent } from "../events/event_types.ts";
import { typeOf } from "../requests/handlers.ts";

/** A message, as far as its type has to be known. */
interface Typed {
  readonly data: unknown;
}

/**
 * Emits `message`, then `message:type` if there is a listener to any type: only then
 * is the message decoded.
 *
 * @param emitter The emitter.
 * @param message The message.
 * @param pending Takes a promise for each listener that is not done yet.
 * @throws {unknown} What the codec throws.
 */
export function emitMessage(
  emitter: EventTarget,
  message: Typed,
  pending?: Promise<unknown>[],
): void {
  emitters.emit(emitter, "message", ReceivedEvent, [message], pending);
  if (!emitters.hasTyped(emitter)) return;
  const type = typedName(message);
  if (type === undefined || !emitters.isHeard(emitter, type)) return;
  emitters.emit(emitter, type, ReceivedEvent, [message], pending);
}

/**
 * Whether a message would be heard.
 *
 * @param emitter The emitter.
 * @param message The message.
 */
export function isMessageHeard(
  emitter: EventTarget,
  message: Typed,
): boolean {
  if (emitters.isHeard(emitter, "message")) return true;
  if (!emitters.hasTyped(emitter)) return false;
  const type = typedName(message);
  return type !== undefined && emitters.isHeard(emitter, type);
}

/** The name of the event for messages of its type, if it has one. */
function typedName({ data }: Typed): string | undefined {
  const type = typeOf(data);
  return type ? TYPED_MESSAGE + type : undefined;
}
