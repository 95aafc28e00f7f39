/**
 * The typed `EventTarget` that every socket is.
 *
 * @module
 */

import { AsyncQueue } from "./async_queue.ts";
import {
  assertSize,
  assertType,
  ConnectionEndedError,
  ignoreRejection,
  isThenable,
  RESOLVED,
} from "./errors.ts";
import { ErrorLog } from "./error_log.ts";
import type { EventMap } from "./event_types.ts";
import { startTimer, type Timer } from "../util/timer.ts";

/** Options of {@linkcode Emitter.on}. */
export interface ListenOptions {
  /**
   * Call the listener once, then remove it.
   *
   * @default {false}
   */
  readonly once?: boolean;
  /** Removes the listener when it is aborted. */
  readonly signal?: AbortSignal;
}

/**
 * Options of {@linkcode Emitter.waitFor}.
 *
 * @typeParam Args The arguments of the event.
 */
export interface WaitOptions<Args extends readonly unknown[]> {
  /** Which events count. */
  readonly filter?: (...args: Args) => boolean;
  /** Gives up when it is aborted. */
  readonly signal?: AbortSignal;
  /** Gives up after so many milliseconds. Waits on by default. */
  readonly timeout?: number;
}

/**
 * Options of {@linkcode Emitter.collect}.
 *
 * @typeParam Args The arguments of the event.
 */
export interface CollectOptions<Args extends readonly unknown[]> {
  /** Which events count. */
  readonly filter?: (...args: Args) => boolean;
  /** Stops after so many events. */
  readonly limit?: number;
  /** Stops after so many milliseconds. */
  readonly during?: number;
  /** Gives up when it is aborted. */
  readonly signal?: AbortSignal;
}

/** Options of {@linkcode Emitter.events}. */
export interface EventsOptions {
  /** Ends the iteration when it is aborted: `next` then rejects. */
  readonly signal?: AbortSignal;
  /**
   * How many events may wait to be taken. One more ends the iteration: those
   * that wait are still handed out, then `next` rejects. Messages that wait may
   * also have no more than 16 KiB for each that may: 16 MiB by default.
   *
   * @default {1024}
   */
  readonly limit?: number;
}

/** Options of `messages`. */
export interface MessagesOptions extends EventsOptions {
  /**
   * Whether the iteration throws a `ConnectionEndedError` if the connection was lost:
   * without this it ends as for one that was closed.
   *
   * @default {false}
   */
  readonly throwIfLost?: boolean;
}

/** The names of an emitter's events. */
export type Name<Events> = keyof Events & string;

/**
 * The positional arguments of an event.
 *
 * @typeParam Events The event map.
 * @typeParam Type The event's name.
 */
export type Args<
  Events extends EventMap<keyof Events>,
  Type extends keyof Events,
> = Events[Type]["args"];

interface ListenerEntry<Arguments extends readonly unknown[]> {
  readonly listener: (...args: Arguments) => unknown;
  readonly once: boolean;
  removed: boolean;
  signal: AbortSignal | undefined;
  abort: (() => void) | undefined;
}

type ListenerEntries<Events extends EventMap<keyof Events>> = {
  [Type in keyof Events]?: readonly ListenerEntry<Args<Events, Type>>[];
};

/**
 * What {@linkcode Emitter.addEventListener} takes: a function, or an object with
 * a method `handleEvent`.
 *
 * @typeParam E The type of the event.
 */
export type EventHandler<E> =
  // A function, written as a method so that one for a subclass of `Event` may
  // stand where one for `Event` is asked for: `EventTarget` knows no other.
  | { handler(event: E): unknown }["handler"]
  | { handleEvent(event: E): unknown };

/** Why a subscription stops before its owner stops it. */
type StopReason =
  /** The emitter has ended. */
  | { readonly ended: () => Error }
  /** The signal was aborted, or the filter threw. */
  | { readonly error: unknown };

/** What `addEventListener` has added. */
interface EventTargetEntry {
  readonly type: string;
  readonly listener: EventHandler<never>;
  readonly capture: boolean;
  readonly call: (event: Event) => void;
  readonly signal: AbortSignal | undefined;
  readonly abort: () => void;
}

interface SubscribeOptions<Arguments extends readonly unknown[]> {
  readonly filter?: (...args: Arguments) => boolean;
  readonly signal?: AbortSignal;
}

/**
 * A typed `EventTarget` whose listeners may also take positional arguments,
 * and whose failing listeners harm nobody.
 *
 * - `on` listeners are called directly, in the order in which they were added;
 *   an `Event` is made only for a type that `addEventListener` has a listener
 *   for; those come after the listeners of `on`.
 * - A listener that throws, or whose promise rejects, stops no other listener
 *   and does not end the process: it becomes an `error` event.
 *
 * @typeParam Events What is emitted, by name.
 */
export abstract class Emitter<Events extends EventMap<keyof Events>>
  extends EventTarget {
  /** There once somebody listens: many connections have nobody of their own. */
  #listeners: ListenerEntries<Events> | undefined;
  #eventTargetEntries: EventTargetEntry[] | undefined;
  /** Takes the promises of handlers while an event is dispatched to them. */
  #pending: Promise<unknown>[] | undefined;
  /** What stops the subscriptions of `waitFor`, `collect` and `events`. */
  #waiting: Set<(stop: StopReason) => void> | undefined;
  /** The queues of iterators. */
  #queues: Set<{ readonly size: number }> | undefined;
  #ended: (() => Error) | undefined;

  /**
   * Called with what a listener threw, or its promise rejected with.
   *
   * @param error What was thrown.
   * @param from The name of the event.
   * @param subject The first argument of the event, if it has any.
   */
  protected abstract onListenerError(
    error: unknown,
    from: Name<Events>,
    subject: unknown,
  ): void;

  /**
   * Called when a listener of any kind has been added.
   *
   * @param _type The name of the event.
   */
  protected onListenerAdded(_type: Name<Events>): void {}

  /**
   * Adds a listener that takes the event's values as arguments. The same
   * listener counts once for a type, as in `addEventListener`.
   *
   * @param type The event's name.
   * @param listener What to call. If it throws or rejects, that becomes an
   * `error` event.
   * @param options When to remove it.
   * @returns This emitter.
   */
  on<Type extends Name<Events>>(
    type: Type,
    listener: (...args: Args<Events, Type>) => unknown,
    options: ListenOptions = {},
  ): this {
    const { once = false, signal } = options;
    if (typeof listener !== "function") {
      throw new TypeError(
        `Cannot listen to "${type}" with something other than a function: current value is of type ${typeof listener}`,
      );
    }
    const all: ListenerEntries<Events> = this.#listeners ??= Object.create(
      null,
    );
    const listeners = all[type] ?? [];
    if (signal?.aborted || listeners.some((e) => e.listener === listener)) {
      return this;
    }
    const entry: ListenerEntry<Args<Events, Type>> = {
      listener,
      once,
      removed: false,
      signal,
      abort: signal && (() => this.#remove(type, entry)),
    };
    if (entry.abort) signal?.addEventListener("abort", entry.abort);
    // A new list each time: one that is being gone through stays as it is.
    all[type] = [...listeners, entry];
    this.onListenerAdded(type);
    return this;
  }

  /**
   * Adds a listener that is called once: `on` with `once: true`.
   *
   * @param type The event's name.
   * @param listener What to call.
   * @param options When to remove it unused.
   * @returns This emitter.
   */
  once<Type extends Name<Events>>(
    type: Type,
    listener: (...args: Args<Events, Type>) => unknown,
    options?: Omit<ListenOptions, "once">,
  ): this {
    return this.on(type, listener, { ...options, once: true });
  }

  /**
   * Removes a listener that `on` or `once` has added. It is not called again,
   * not even for an event that is being dispatched.
   *
   * @param type The event's name.
   * @param listener The listener.
   * @returns This emitter.
   */
  off<Type extends Name<Events>>(
    type: Type,
    listener: (...args: Args<Events, Type>) => unknown,
  ): this {
    const entry = this.#listeners?.[type]?.find((e) => e.listener === listener);
    if (entry) this.#remove(type, entry);
    return this;
  }

  /**
   * Waits for the next event of a type. Events that come between two calls are
   * nobody's: for more than one, use {@linkcode Emitter.events}.
   *
   * @param type The event's name.
   * @param options Which event to wait for, and for how long.
   * @returns A promise of the event's arguments. It rejects with the signal's
   * reason; with a `DOMException` named `TimeoutError`; with what the filter
   * threw; and, as nothing waits forever, with a `ConnectionEndedError` when
   * the emitter has ended for good. A rejection that nobody awaits is no
   * unhandled rejection.
   * @throws {RangeError} If `timeout` is negative or `NaN`.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * server.on("connect", async (client) => {
   *   const [greeting] = await client.waitFor("message", { timeout: 5_000 });
   *   console.log(greeting.data);
   * });
   * ```
   */
  waitFor<Type extends Name<Events>>(
    type: Type,
    options: WaitOptions<Args<Events, Type>> = {},
  ): Promise<Args<Events, Type>> {
    assertType("options", options, "object");
    const { timeout } = options;
    if (timeout !== undefined) assertSize("timeout", timeout);
    const { promise, resolve, reject } = Promise.withResolvers<
      Args<Events, Type>
    >();
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

  /**
   * Collects events of a type.
   *
   * @param type The event's name.
   * @param options Which events to collect, how many, and for how long. Without
   * `limit` and `during` it collects until the emitter has ended for good.
   * @returns A promise of the arguments of each event: as many as there are
   * when the limit is reached, when the time has passed, or when the emitter
   * ends. It rejects with the signal's reason, and with what the filter threw.
   * @throws {RangeError} If `limit` or `during` is negative or `NaN`.
   *
   * @example
   * ```ts ignore
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * const votes = await server.collect("message", {
   *   filter: (message) => message.content === "yes",
   *   during: 10_000,
   * });
   * console.log(votes.length, "votes");
   * ```
   */
  collect<Type extends Name<Events>>(
    type: Type,
    options: CollectOptions<Args<Events, Type>> = {},
  ): Promise<Args<Events, Type>[]> {
    assertType("options", options, "object");
    const { limit = Infinity, during } = options;
    assertSize("limit", limit);
    if (during !== undefined) assertSize("during", during);
    const { promise, resolve, reject } = Promise.withResolvers<
      Args<Events, Type>[]
    >();
    const collected: Args<Events, Type>[] = [];
    let timer: Timer | undefined;
    const done = () => {
      clearTimeout(timer);
      cancel();
      resolve(collected);
    };
    const cancel = this.#subscribe(type, options, (args) => {
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
   * Iterates over the events of a type, in order, from this call on.
   *
   * @param type The event's name.
   * @param options When to stop, and how many events may wait.
   * @returns An iterator of the arguments of each event. It ends when the
   * emitter has ended for good; `break` removes all that it holds.
   *
   * @example
   * ```ts ignore
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * for await (const [client, path] of server.events("connect")) {
   *   console.log(client.remoteAddress, path);
   * }
   * ```
   */
  events<Type extends Name<Events>>(
    type: Type,
    options: EventsOptions = {},
  ): AsyncIterableIterator<Args<Events, Type>, undefined> {
    return this.iterate(type, options, (args) => args);
  }

  /** How many bytes of messages wait in iterators that have not ended. */
  protected get queuedSize(): number {
    if (this.#queues === undefined) return 0;
    let size = 0;
    for (const queue of this.#queues) size += queue.size;
    return size;
  }

  /**
   * Iterates over what the events of a type hold.
   *
   * @param type The event's name.
   * @param options When to stop, and how many may wait.
   * @param select Takes what is wanted of an event.
   * @param outrun Called when too many wait, and the iterator fails.
   * @returns An iterator, as of {@linkcode Emitter.events}.
   */
  protected iterate<Type extends Name<Events>, T>(
    type: Type,
    options: MessagesOptions,
    select: (args: Args<Events, Type>) => T,
    outrun: () => void = () => {},
  ): AsyncIterableIterator<T, undefined> {
    assertType("options", options, "object");
    const { limit = 1024, throwIfLost = false } = options;
    assertSize("limit", limit);
    const queue = new AsyncQueue<T>(
      `"${type}" events`,
      limit,
      () => {
        this.#queues?.delete(queue);
        cancel();
      },
      outrun,
    );
    (this.#queues ??= new Set()).add(queue);
    const cancel = this.#subscribe(
      type,
      options,
      (args) => {
        const size = type === "message" ? sizeOf(args[0]) : 0;
        const done = queue.push(select(args), size);
        // Whoever hands out messages one after the other waits for the loop.
        return type === "message" ? done : undefined;
      },
      (stop) => {
        const error = "ended" in stop ? stop.ended() : stop.error;
        const isEnd = "ended" in stop && !(throwIfLost && isDisconnect(error));
        if (isEnd) queue.close();
        else queue.fail(error);
      },
    );
    return queue;
  }

  /**
   * Adds a listener that takes an `Event`, as for any `EventTarget`. If it
   * throws or rejects, that becomes an `error` event.
   *
   * @param type The event's name.
   * @param listener What to call.
   * @param options As for any `EventTarget`.
   */
  override addEventListener<Type extends Name<Events>>(
    type: Type,
    listener: EventHandler<Events[Type]["event"]> | null,
    options?: boolean | AddEventListenerOptions,
  ): void {
    const { capture = false, once = false, signal } =
      typeof options === "object" ? options : { capture: options ?? false };
    if (listener === null || signal?.aborted) return;
    if (this.#findEntry(type, listener, capture)) return;
    const callback: EventHandler<Event> = listener;
    const remove = () => this.removeEventListener(type, listener, capture);
    const handler: EventTargetEntry = {
      type,
      listener,
      capture,
      signal,
      abort: remove,
      call: (event) => {
        if (once) remove();
        try {
          const result = typeof callback === "function"
            ? callback.call(this, event)
            : callback.handleEvent(event);
          if (isThenable(result)) {
            const settled = this.#watch(result, type, event);
            this.#pending?.push(settled);
          }
        } catch (error) {
          this.#reportError(error, type, event);
        }
      },
    };
    signal?.addEventListener("abort", remove);
    (this.#eventTargetEntries ??= []).push(handler);
    super.addEventListener(type, handler.call, capture);
    this.onListenerAdded(type);
  }

  /**
   * Removes a listener that `addEventListener` has added.
   *
   * @param type The event's name.
   * @param listener The listener.
   * @param options As for any `EventTarget`.
   */
  override removeEventListener<Type extends Name<Events>>(
    type: Type,
    listener: EventHandler<Events[Type]["event"]> | null,
    options?: boolean | EventListenerOptions,
  ): void {
    const capture = typeof options === "object"
      ? options.capture ?? false
      : options ?? false;
    const handler = listener && this.#findEntry(type, listener, capture);
    if (!handler) return;
    super.removeEventListener(type, handler.call, capture);
    handler.signal?.removeEventListener("abort", handler.abort);
    this.#eventTargetEntries = this.#eventTargetEntries?.filter((other) =>
      other !== handler
    );
  }

  /**
   * Emits an event: calls the listeners of `on`, then dispatches an `Event` if
   * `addEventListener` has been called for the type.
   *
   * @param type The event's name.
   * @param Event The class of the event.
   * @param args The values of the event.
   * @param pending Takes a promise for each listener that is not done yet. They
   * never reject.
   */
  protected emit<Type extends Name<Events>>(
    type: Type,
    Event: new (
      type: Type,
      ...args: Args<Events, Type>
    ) => Events[Type]["event"],
    args: Args<Events, Type>,
    pending?: Promise<unknown>[],
  ): void {
    const listeners = this.#listeners?.[type];
    if (listeners !== undefined) {
      for (const entry of listeners) {
        if (entry.removed) continue;
        if (entry.once) this.#remove(type, entry);
        try {
          const result = entry.listener(...args);
          if (result !== RESOLVED && isThenable(result)) {
            const settled = this.#watch(result, type, args[0]);
            pending?.push(settled);
          }
        } catch (error) {
          this.#reportError(error, type, args[0]);
        }
      }
    }
    if (this.#hasEventListener(type)) {
      const outer = this.#pending; // of an event in whose handler this one is
      this.#pending = pending;
      this.dispatchEvent(new Event(type, ...args));
      this.#pending = outer;
    }
  }

  /**
   * Whether an event of a type would be heard.
   *
   * @param type The event's name.
   * @returns True if there is a listener.
   */
  protected isHeard(type: Name<Events>): boolean {
    return this.#listeners?.[type] !== undefined ||
      this.#hasEventListener(type);
  }

  /**
   * Stops all that waits for an event that will not come.
   *
   * @param reason Makes what those who wait are told.
   * @param forGood Whether those who begin to wait later are told as well.
   * @param last Emits the last event of all. Who waits for that one gets it, and
   * who begins to wait in a listener of it waits for what comes after.
   */
  protected stopWaiting(
    reason: () => Error,
    forGood: boolean,
    last?: () => void,
  ): void {
    const stop = this.takeWaiting(reason);
    if (forGood) this.#ended = reason;
    last?.();
    stop();
  }

  /**
   * Takes together all that waits now, to stop it later. Until then it waits on.
   *
   * @param reason Makes what those who wait are told.
   * @returns Stops what has waited, and nothing that began to wait meanwhile.
   */
  protected takeWaiting(reason: () => Error): () => void {
    const stops = this.#waiting;
    this.#waiting = undefined;
    return () => stops?.forEach((stop) => stop({ ended: reason }));
  }

  /** Calls `take` for each event until cancelled, or stopped (told once). */
  #subscribe<Type extends Name<Events>>(
    type: Type,
    { filter, signal }: SubscribeOptions<Args<Events, Type>>,
    onEvent: (args: Args<Events, Type>) => unknown,
    onStop: (stop: StopReason) => void,
  ): () => void {
    const listener = (...args: Args<Events, Type>) => {
      try {
        if (filter && !filter(...args)) return;
      } catch (error) {
        return stop({ error });
      }
      return onEvent(args);
    };
    const cancel = () => {
      this.off(type, listener);
      this.#waiting?.delete(stop);
      signal?.removeEventListener("abort", abort);
    };
    const stop = (why: StopReason) => {
      cancel();
      onStop(why);
    };
    const abort = () => stop({ error: signal?.reason });
    // The caller has no `cancel` yet: it hears of these two a little later.
    if (signal?.aborted) queueMicrotask(abort);
    else if (this.#ended) {
      const ended = this.#ended;
      queueMicrotask(() => stop({ ended }));
    } else {
      signal?.addEventListener("abort", abort);
      (this.#waiting ??= new Set()).add(stop);
      this.on(type, listener);
    }
    return cancel;
  }

  #hasEventListener(type: string): boolean {
    return this.#eventTargetEntries?.some((handler) => handler.type === type) ??
      false;
  }

  #findEntry(
    type: string,
    listener: EventHandler<never>,
    capture: boolean,
  ): EventTargetEntry | undefined {
    return this.#eventTargetEntries?.find((handler) =>
      handler.type === type && handler.listener === listener &&
      handler.capture === capture
    );
  }

  #remove<Type extends Name<Events>>(
    type: Type,
    entry: ListenerEntry<Args<Events, Type>>,
  ): void {
    entry.removed = true;
    if (entry.abort) entry.signal?.removeEventListener("abort", entry.abort);
    const all = this.#listeners;
    const left = all?.[type]?.filter((other) => other !== entry);
    if (all === undefined) return;
    if (left?.length) all[type] = left;
    else delete all[type];
  }

  #watch(
    result: PromiseLike<unknown>,
    type: Name<Events>,
    subject: unknown,
  ): Promise<unknown> {
    return Promise.resolve(result).then(
      undefined,
      (error) => this.#reportError(error, type, subject),
    );
  }

  #reportError(error: unknown, type: Name<Events>, subject: unknown): void {
    if (type === "error") {
      errorLog.write('A listener of "error" threw:', error);
    } else this.onListenerError(error, type, subject);
  }
}

/** Writes what listeners of "error" throw, of all emitters. */
const errorLog = new ErrorLog();

function sizeOf(message: unknown): number {
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
