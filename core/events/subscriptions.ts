/**
 * Promises and iterators of events: `waitFor`, `collect` and `events`.
 *
 * @module
 */

import { withResolvers } from "../util/deferred.ts";
import { AsyncQueue } from "./async_queue.ts";
import {
  assertKnown,
  assertSize,
  assertType,
  ConnectionEndedError,
  ignoreRejection,
  optionNames,
} from "./errors.ts";
import { assertEventName, isTypedMessage } from "./event_names.ts";
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
type StopReason =
  /** The emitter has ended. */
  | { readonly ended: () => Error }
  /** The signal was aborted, or the filter threw. */
  | { readonly error: unknown };

interface SubscribeOptions<Args extends readonly unknown[]> {
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
    const cancel = this.#subscribe(type, options, (args) => {
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

  /** Collects the arguments of several events. */
  collect<Args extends readonly unknown[]>(
    type: string,
    options: CollectOptions<Args>,
  ): Promise<Args[]> {
    assertType("options", options, "object");
    assertKnown("collect()", options, COLLECT_OPTIONS);
    const { limit = Infinity, during } = options;
    assertSize("limit", limit);
    if (during !== undefined) assertSize("during", during);
    const { promise, resolve, reject } = withResolvers<Args[]>();
    const collected: Args[] = [];
    let timer: Timer | undefined;
    const done = () => {
      clearTimeout(timer);
      cancel();
      resolve(collected);
    };
    const cancel = this.#subscribe<Args>(type, options, (args) => {
      if (collected.push(args) >= limit) done();
    }, (stop) => {
      if ("ended" in stop) return done();
      clearTimeout(timer);
      reject(stop.error);
    });
    if (limit <= 0) done();
    else if (during !== undefined) timer = startTimer(done, during);
    return ignoreRejection(promise);
  }

  /**
   * Iterates over events.
   *
   * @param select Maps the arguments of an event to a value of the iterator.
   * @param iteratorOverflowed Called when the iterator has failed, because too many events wait.
   */
  iterate<Args extends readonly unknown[], T>(
    type: string,
    options: EventsOptions,
    select: (args: Args) => T,
    iteratorOverflowed?: () => void,
  ): AsyncIterableIterator<T, undefined> {
    assertType("options", options, "object");
    assertKnown("events()", options, EVENTS_OPTIONS);
    const { limit = 1024, throwIfLost = false } = options;
    assertSize("limit", limit);
    const isMessage = type === "message" || isTypedMessage(type);
    const queue = new AsyncQueue<T>(
      `"${type}" events`,
      limit,
      () => {
        this.#queues.delete(queue);
        cancel();
      },
      iteratorOverflowed,
    );
    const cancel = this.#subscribe(
      type,
      options,
      (args: Args) => {
        const size = isMessage ? messageSize(args[0]) : 0;
        const done = queue.push(select(args), size);
        // With `concurrency`, the next message waits until the loop has handled this one.
        return isMessage ? done : undefined;
      },
      (stop) => {
        const error = "ended" in stop ? stop.ended() : stop.error;
        const isEnd = "ended" in stop && !(throwIfLost && isDisconnect(error));
        if (isEnd) queue.close();
        else queue.fail(error);
      },
    );
    this.#queues.add(queue);
    return queue;
  }

  /**
   * Adds a listener for a promise or an iterator.
   *
   * @param stopped Called once, if it is stopped before it is canceled.
   * @returns Cancels the subscription.
   */
  #subscribe<Args extends readonly unknown[]>(
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

function messageSize(message: unknown): number {
  return typeof message === "object" && message !== null &&
      "size" in message && typeof message.size === "number"
    ? message.size
    : 0;
}

/** Whether an error says that a connection was lost. */
function isDisconnect(error: unknown): boolean {
  return error instanceof ConnectionEndedError &&
    error.end?.type === "disconnect";
}

const WAIT_OPTIONS = optionNames<WaitOptions<[]>>({
  filter: true,
  signal: true,
  timeout: true,
});

const COLLECT_OPTIONS = optionNames<CollectOptions<[]>>({
  filter: true,
  limit: true,
  during: true,
  signal: true,
});

const EVENTS_OPTIONS = optionNames<EventsOptions>({
  signal: true,
  limit: true,
  throwIfLost: true,
});
