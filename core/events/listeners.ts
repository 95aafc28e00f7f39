/**
 * The types of listeners and their arguments.
 *
 * @module
 */

import { optionNames } from "./errors.ts";

/** Options of {@linkcode Emitter.on}. */
export interface ListenerOptions {
  /**
   * Whether to call the listener only once.
   *
   * @default {false}
   */
  readonly once?: boolean;
  /** Removes the listener when it is aborted. */
  readonly signal?: AbortSignal;
}

/** The names of the options of `on`. */
export const LISTENER_OPTIONS: readonly string[] = optionNames<ListenerOptions>(
  { once: true, signal: true },
);

/**
 * A listener of any event. It has the type of a method, so that a listener with
 * parameters of its own can be assigned to it.
 */
export type Listener = { call(...args: readonly unknown[]): unknown }["call"];

/**
 * A listener of {@linkcode Emitter.addEventListener}: a function, or an object with a
 * method `handleEvent`.
 *
 * @typeParam E The type of the event.
 */
export type EventHandler<E> =
  // It has the type of a method, so that a listener for a subclass of `Event` can be used
  // where `EventTarget` expects one for `Event`.
  | { handler(event: E): unknown }["handler"]
  | { handleEvent(event: E): unknown };

/**
 * The arguments that a listener added by `on` is called with.
 *
 * @typeParam Events The events, by name.
 * @typeParam Typed The events for messages of one type, by name.
 * @typeParam Type The name of the event.
 */
export type EventArgs<Events, Typed, Type> =
  (Type extends keyof Events ? Events[Type]
    : Type extends keyof Typed ? Typed[Type]
    : never) extends { args: infer Args extends readonly unknown[] } ? Args
    : never;

/**
 * The `Event` that a listener added by `addEventListener` is called with.
 *
 * @typeParam Events The events, by name.
 * @typeParam Typed The events for messages of one type, by name.
 * @typeParam Type The name of the event.
 */
export type EventOf<Events, Typed, Type> =
  (Type extends keyof Events ? Events[Type]
    : Type extends keyof Typed ? Typed[Type]
    : never) extends { event: infer E extends Event } ? E : Event;
