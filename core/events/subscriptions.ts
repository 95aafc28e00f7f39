/**
 * What waits for events: the promises of `waitFor`, and those of `iterators.ts`.
 *
 * @module
 */

import { withResolvers } from "../util/deferred.ts";
import {
  assertKnown,
  assertSize,
  assertType,
  ignoreRejection,
  optionNames,
} from "./errors.ts";
import { assertEventName } from "./event_names.ts";
import type { Listener } from "./listeners.ts";
import { startTimer, type Timer } from "../util/timer.ts";

/**
 * Options of {@linkcode Emitter.waitFor}.
 *
 * @typeParam Args The arguments of the event.
 */
export interface WaitOptions<Args extends readonly unknown[]> {
  /** Decides whether an event counts. By default, every event does. */
  readonly filter?: (...args: Args) => boolean;
  /** Rejects the promise when it is aborted. */
  readonly signal?: AbortSignal;
  /** The longest time to wait, in milliseconds. No limit by default. */
  readonly timeout?: number;
}

/**
 * Options of {@linkcode Emitter.collect}.
 *
 * @typeParam Args The arguments of the event.
 */
export interface CollectOptions<Args extends readonly unknown[]> {
  /** Decides whether an event counts. By default, every event does. */
  readonly filter?: (...args: Args) => boolean;
  /** The number of events after which to stop. No limit by default. */
  readonly limit?: number;
  /** The time after which to stop, in milliseconds. No limit by default. */
  readonly during?: number;
  /** Rejects the promise when it is aborted. */
  readonly signal?: AbortSignal;
}

/** Options of {@linkcode Emitter.events} and of `messages`. */
export interface EventsOptions {
  /** Ends the iteration when it is aborted: `next` then rejects. */
  readonly signal?: AbortSignal;
  /**
   * The maximum number of events that wait in the iterator. One more ends the iteration:
   * the waiting events are still returned, then `next` rejects. Waiting messages are also
   * limited to 16 KiB times this number: 16 MiB by default.
   *
   * @default {1024}
   */
  readonly limit?: number;
  /**
   * Whether the iteration throws a `ConnectionEndedError` if the connection was lost.
   * By default it ends as if the connection had been closed.
   *
   * @default {false}
   */
  readonly throwIfLost?: boolean;
}

/** The emitter of the events. */
export interface SubscriptionSource {
  /** The names of the events. */
  readonly names: ReadonlySet<string>;
  add(type: string, listener: Listener): void;
  remove(type: string, listener: Listener): void;
  /** Creates the error for promises, once no event comes any more. */
  ended(): (() => Error) | undefined;
}

/** Why a subscription is stopped, other than by its owner. */
export type StopReason =
  /** The emitter has ended. */
  | { readonly ended: () => Error }
  /** The signal was aborted, or the filter threw. */
  | { readonly error: unknown };

/** Which events a subscription takes. */
export interface SubscribeOptions<Args extends readonly unknown[]> {
  readonly filter?: (...args: Args) => boolean;
  readonly signal?: AbortSignal;
}

/** The pending promises and iterators of one emitter. */
export class Subscriptions {
  readonly #source: SubscriptionSource;
  #pending = new Set<(stop: StopReason) => void>();
  readonly #queues = new Set<{ readonly size: number }>();

  constructor(source: SubscriptionSource) {
    this.#source = source;
  }

  /** The number of bytes of messages that wait in iterators. */
  get queuedSize(): number {
    let size = 0;
    for (const queue of this.#queues) size += queue.size;
    return size;
  }

  /** Selects the pending subscriptions; the returned function stops them. */
  take(reason: () => Error): () => void {
    const stops = this.#pending;
    this.#pending = new Set();
    return () => stops.forEach((stop) => stop({ ended: reason }));
  }

  /** Waits for one event. */
  waitFor<Args extends readonly unknown[]>(
    type: string,
    options: WaitOptions<Args>,
  ): Promise<Args> {
    assertType("options", options, "object");
    assertKnown("waitFor()", options, WAIT_OPTIONS);
    const { timeout } = options;
    if (timeout !== undefined) assertSize("timeout", timeout);
    const { promise, resolve, reject } = withResolvers<Args>();
    let timer: Timer | undefined;
    const cancel = this.subscribe(type, options, (args) => {
      clearTimeout(timer);
      cancel();
      resolve(args);
    }, (stop) => {
      clearTimeout(timer);
      reject("ended" in stop ? stop.ended() : stop.error);
    });
    if (timeout !== undefined) {
      timer = startTimer(() => {
        cancel();
        reject(
          new DOMException(
            `Cannot wait any longer for "${type}": ${timeout} ms have passed`,
            "TimeoutError",
          ),
        );
      }, timeout);
    }
    return ignoreRejection(promise);
  }

  /** Counts what waits in an iterator until the returned function is called. */
  addQueue(queue: { readonly size: number }): () => void {
    this.#queues.add(queue);
    return () => this.#queues.delete(queue);
  }

  /**
   * Adds a listener for a promise or an iterator.
   *
   * @param stopped Called once, if it is stopped before it is canceled.
   * @returns Cancels the subscription.
   */
  subscribe<Args extends readonly unknown[]>(
    type: string,
    { filter, signal }: SubscribeOptions<Args>,
    take: (args: Args) => unknown,
    stopped: (stop: StopReason) => void,
  ): () => void {
    const source = this.#source;
    assertEventName(type, source.names);
    const listener = (...args: Args) => {
      try {
        if (filter && !filter(...args)) return;
      } catch (error) {
        return stop({ error });
      }
      return take(args);
    };
    const cancel = () => {
      source.remove(type, listener);
      this.#pending.delete(stop);
      signal?.removeEventListener("abort", abort);
    };
    const stop = (reason: StopReason) => {
      cancel();
      stopped(reason);
    };
    const abort = () => stop({ error: signal?.reason });
    const ended = source.ended();
    // In the first two cases the caller does not have `cancel` yet.
    if (signal?.aborted) queueMicrotask(abort);
    else if (ended) queueMicrotask(() => stop({ ended }));
    else {
      signal?.addEventListener("abort", abort);
      this.#pending.add(stop);
      source.add(type, listener);
    }
    return cancel;
  }
}

const WAIT_OPTIONS = optionNames<WaitOptions<[]>>({
  filter: true,
  signal: true,
  timeout: true,
});
