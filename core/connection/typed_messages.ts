/**
 * Emits messages, and the events for their types, such as `message:chat`.
 *
 * @module
 */

import { emitters } from "../events/emitter.ts";
import { TYPED_MESSAGE } from "../events/event_names.ts";
import { ReceivedEvent } from "../events/event_types.ts";
import { typeOf } from "../values/type_of.ts";

/** The part of a message that is used here. */
interface Typed {
  readonly data: unknown;
}

/**
 * Emits `message`, then `message:type` if there is a listener for any type. Only then is
 * the message decoded. If the codec throws, an `error` event is emitted instead.
 *
 * @param pending Receives a promise for each listener that has not finished.
 */
export function emitMessage(
  emitter: EventTarget,
  message: Typed,
  pending?: Promise<unknown>[],
): void {
  emitters.emit(emitter, "message", ReceivedEvent, [message], pending);
  if (!emitters.hasTyped(emitter)) return;
  let type: string | undefined;
  try {
    type = typedName(message);
  } catch (error) {
    return emitters.reportError(emitter, error, "message", message);
  }
  if (type === undefined || !emitters.isHeard(emitter, type)) return;
  emitters.emit(emitter, type, ReceivedEvent, [message], pending);
}

/** Whether a message has a listener. */
export function isMessageHeard(
  emitter: EventTarget,
  message: Typed,
): boolean {
  if (emitters.isHeard(emitter, "message")) return true;
  if (!emitters.hasTyped(emitter)) return false;
  try {
    const type = typedName(message);
    return type !== undefined && emitters.isHeard(emitter, type);
  } catch {
    return false; // the error is reported when it is emitted
  }
}

/** Returns the name of the event for the type of a message, if it has one. */
function typedName({ data }: Typed): string | undefined {
  const type = typeOf(data);
  return type ? TYPED_MESSAGE + type : undefined;
}
