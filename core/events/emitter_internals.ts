/**
 * What the sockets may do with an emitter, and applications may not.
 *
 * @module
 */

import type { Listener } from "./listeners.ts";
import type {
  CollectOptions,
  EventsOptions,
  Subscriptions,
  WaitOptions,
} from "./subscriptions.ts";

/** The behavior of one class of emitters; all its instances share the object. */
export interface EmitterHooks {
  /** The names of the events. */
  readonly names: ReadonlySet<string>;
  /**
   * A listener threw, or its promise rejected.
   *
   * @param subject The first argument of the event, or the `Event`.
   */
  failed(target: object, error: unknown, from: string, subject: unknown): void;
  /** A listener was added. */
  added?(target: object, type: string): void;
  /** Returns the method of a subclass that is called before all listeners. */
  override?(target: object, type: string): Listener | undefined;
  /** An iterator over messages has failed, because more messages wait than it allows. */
  iteratorOverflowed?(target: object): void;
}

/** Several events at once; see `iterators.ts`. */
export interface Iterators {
  /** Collects the arguments of several events. */
  collect<Args extends readonly unknown[]>(
    subscriptions: Subscriptions,
    type: string,
    options: CollectOptions<Args>,
  ): Promise<Args[]>;
  /** Iterates over events. */
  iterate<Args extends readonly unknown[], T>(
    subscriptions: Subscriptions,
    type: string,
    options: EventsOptions,
    select: (args: Args) => T,
    iteratorOverflowed?: () => void,
  ): AsyncIterableIterator<T, undefined>;
}

/** The operations on an emitter that only the sockets use. */
export interface EmitterInternals {
  /** Sets the hooks of the emitter's class. */
  attach(emitter: EventTarget, hooks: EmitterHooks): void;
  /**
   * Emits an event: calls the override and the listeners of `on`, then dispatches an
   * `Event` if `addEventListener` was called for the type.
   *
   * @param args The arguments of the listeners, and of the constructor after the type.
   * @param pending Receives a promise for each listener that has not finished. They
   * never reject.
   */
  emit<Type extends string, Args extends readonly unknown[]>(
    emitter: EventTarget,
    type: Type,
    Event: new (type: Type, ...args: Args) => Event,
    args: Args,
    pending?: Promise<unknown>[],
  ): void;
  /**
   * Emits an event whose `Event` is not created from the arguments of the listeners.
   *
   * @param createEvent Called only if `addEventListener` was called for the type.
   */
  emitWith(
    emitter: EventTarget,
    type: string,
    createEvent: () => Event,
    args: readonly unknown[],
  ): void;
  /** Reports an error as if a listener had thrown it. */
  reportError(
    emitter: EventTarget,
    error: unknown,
    from: string,
    subject: unknown,
  ): void;
  /** Whether an event has a listener or an override. */
  isHeard(emitter: EventTarget, type: string): boolean;
  /** Whether there is a listener for messages of any one type. */
  hasTyped(emitter: EventTarget): boolean;
  /**
   * Iterates over events.
   *
   * @param select Maps the arguments of an event to a value of the iterator.
   */
  iterate<Args extends readonly unknown[], T>(
    emitter: EventTarget,
    type: string,
    options: EventsOptions,
    select: (args: Args) => T,
  ): AsyncIterableIterator<T, undefined>;
  /** The number of bytes of messages that wait in iterators. */
  queuedSize(emitter: EventTarget): number;
  /** Waits for an event. */
  waitFor<Args extends readonly unknown[]>(
    emitter: EventTarget,
    type: string,
    options: WaitOptions<Args>,
  ): Promise<Args>;
  /**
   * Stops everything that waits for an event, because none will come.
   *
   * @param reason Creates the error for pending `waitFor` calls.
   * @param forGood Whether later calls of `waitFor` reject as well.
   * @param last Emits the last events. Pending calls still receive them; calls that are
   * made by listeners of these events do not.
   */
  stopWaiting(
    emitter: EventTarget,
    reason: () => Error,
    forGood: boolean,
    last?: () => void,
  ): void;
  /**
   * Selects everything that waits for an event now. It continues to wait until the
   * returned function is called.
   *
   * @param reason Creates the error for pending `waitFor` calls.
   * @returns Stops what was selected.
   */
  takeWaiting(emitter: EventTarget, reason: () => Error): () => void;
}
