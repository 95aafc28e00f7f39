/**
 * The typed `EventTarget` that every socket is.
 *
 * @module
 */

import { AsyncQueue } from "./async_queue.ts";
import {
  assertKnown,
  assertSize,
  assertType,
  ConnectionEndedError,
  ignoreRejection,
  isThenable,
  optionNames,
  RESOLVED,
} from "./errors.ts";
import { ErrorLog } from "./error_log.ts";
import { nearest } from "../util/nearest.ts";
import { startTimer, type Timer } from "../util/timer.ts";

/** Options of {@linkcode Emitter.on}. */
export interface ListenerOptions {
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

/** Options of {@linkcode Emitter.events} and of `messages`. */
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
  /**
   * Whether the iteration throws a `ConnectionEndedError` if the connection was lost:
   * without this it ends as for one that was closed.
   *
   * @default {false}
   */
  readonly throwIfLost?: boolean;
}

/**
 * A listener of any event. It is written as a method so that one with parameters of
 * its own can stand here.
 */
export type Listener = { call(...args: readonly unknown[]): unknown }["call"];

interface ListenerEntry {
  readonly listener: Listener;
  readonly once: boolean;
  removed: boolean;
  signal: AbortSignal | undefined;
  abort: (() => void) | undefined;
}

/** What a class of emitters does with its events: one object for all instances. */
export interface EmitterHooks {
  /** The names of the events. */
  readonly names: ReadonlySet<string>;
  /**
   * Called with what a listener threw, or what its promise rejected with.
   *
   * @param target The emitter.
   * @param error What was thrown.
   * @param from The name of the event.
   * @param subject The first argument of the event, if it has one.
   */
  failed(target: object, error: unknown, from: string, subject: unknown): void;
  /**
   * Called when a listener has been added.
   *
   * @param target The emitter.
   * @param type The name of the event.
   */
  added?(target: object, type: string): void;
  /**
   * Gives the method of a subclass that is called before all listeners.
   *
   * @param target The emitter.
   * @param type The name of the event.
   */
  override?(target: object, type: string): Listener | undefined;
  /**
   * Called when messages come faster than a loop over them takes them.
   *
   * @param target The emitter.
   */
  outrun?(target: object): void;
}

const NO_HOOKS: EmitterHooks = { names: new Set(), failed: () => {} };

/** Begins the names of the events for messages of one type, as in `message:chat`. */
export const TYPED_MESSAGE = "message:";

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
 * The arguments of a listener of `on`.
 *
 * @typeParam Events The events, by name.
 * @typeParam Typed The events for messages of one type, by name.
 * @typeParam Type The event's name.
 */
export type EventArgs<Events, Typed, Type> =
  (Type extends keyof Events ? Events[Type]
    : Type extends keyof Typed ? Typed[Type]
    : never) extends { args: infer Args extends readonly unknown[] } ? Args
    : never;

/**
 * The `Event` for a listener of `addEventListener`.
 *
 * @typeParam Events The events, by name.
 * @typeParam Typed The events for messages of one type, by name.
 * @typeParam Type The event's name.
 */
export type EventOf<Events, Typed, Type> =
  (Type extends keyof Events ? Events[Type]
    : Type extends keyof Typed ? Typed[Type]
    : never) extends { event: infer E extends Event } ? E : Event;

/** What the sockets themselves do with their emitter, and no program can. */
export interface EmitterInternals {
  /**
   * Says what a class of emitters does with its events.
   *
   * @param emitter The emitter.
   * @param hooks The hooks of its class.
   */
  attach(
    emitter: EventTarget,
    hooks: EmitterHooks,
  ): void;
  /**
   * Emits an event: calls the override and the listeners of `on`, then dispatches an
   * `Event` if `addEventListener` has been called for the type.
   *
   * @param emitter The emitter.
   * @param type The event's name.
   * @param Event The class of the event.
   * @param args The values of the event.
   * @param pending Takes a promise for each listener that is not done yet. They never
   * reject.
   */
  emit<
    Type extends string,
    Args extends readonly unknown[],
  >(
    emitter: EventTarget,
    type: Type,
    Event: new (type: Type, ...args: Args) => Event,
    args: Args,
    pending?: Promise<unknown>[],
  ): void;
  /**
   * Whether an event would be heard.
   *
   * @param emitter The emitter.
   * @param type The event's name.
   */
  isHeard(
    emitter: EventTarget,
    type: string,
  ): boolean;
  /**
   * Whether there is a listener to messages of one type.
   *
   * @param emitter The emitter.
   */
  hasTyped(emitter: EventTarget): boolean;
  /**
   * Iterates over what the events of a type hold.
   *
   * @param emitter The emitter.
   * @param type The event's name.
   * @param options When to stop, and how many may wait.
   * @param select Takes what is wanted of an event.
   */
  iterate<Args extends readonly unknown[], T>(
    emitter: EventTarget,
    type: string,
    options: EventsOptions,
    select: (args: Args) => T,
  ): AsyncIterableIterator<T, undefined>;
  /**
   * How many bytes of messages wait in iterators that have not ended.
   *
   * @param emitter The emitter.
   */
  queuedSize(emitter: EventTarget): number;
  /**
   * Waits for an event.
   *
   * @param emitter The emitter.
   * @param type The event's name.
   * @param options Which event to wait for, and for how long.
   */
  waitFor<Args extends readonly unknown[]>(
    emitter: EventTarget,
    type: string,
    options: WaitOptions<Args>,
  ): Promise<Args>;
  /**
   * Stops all that waits for an event that will not come.
   *
   * @param emitter The emitter.
   * @param reason Makes the error for those who wait.
   * @param forGood Whether those who begin to wait later get it as well.
   * @param last Emits the last events of all. Whoever waits for them gets them; who
   * begins to wait in a listener of them waits for what comes after.
   */
  stopWaiting(
    emitter: EventTarget,
    reason: () => Error,
    forGood: boolean,
    last?: () => void,
  ): void;
  /**
   * Takes all that waits now together, to stop it later. Until then it waits on.
   *
   * @param emitter The emitter.
   * @param reason Makes the error for those who wait.
   * @returns Stops what has waited, and nothing that began to wait meanwhile.
   */
  takeWaiting(
    emitter: EventTarget,
    reason: () => Error,
  ): () => void;
}

/** What the sockets themselves do with their emitter, and no program can. */
export let emitters: EmitterInternals;

/** Names a set of events; the compiler checks that none is missing. */
export function eventNames<Events>(
  names: Record<keyof Events & string, true>,
): ReadonlySet<string> {
  return new Set(Object.keys(names));
}

/**
 * Reports a name that no event has.
 *
 * @param type The name.
 * @param names The names of the events.
 */
function unknownEvent(type: unknown, names: ReadonlySet<string>): TypeError {
  if (typeof type !== "string") {
    return new TypeError(
      `Cannot use an event name that is not a string: current value is of type ${typeof type}`,
    );
  }
  const closest = nearest(type, names);
  const all = Array.from(names, (name) => `"${name}"`).join(", ");
  return new TypeError(
    `Cannot listen to "${type}" as there is no such event: ${
      closest === undefined
        ? `the events are ${all}`
        : `did you mean "${closest}"?`
    }`,
  );
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
 * @typeParam Typed The events for messages of one type, by name.
 */
export abstract class Emitter<Events, Typed = unknown> extends EventTarget {
  #hooks: EmitterHooks = NO_HOOKS;
  /** There once somebody listens: many connections have no listener of their own. */
  #listeners: Record<string, readonly ListenerEntry[]> | undefined;
  #eventTargetEntries: EventTargetEntry[] | undefined;
  /** How many listeners to messages of one type there are. */
  #typed = 0;
  /** Takes the promises of handlers while an event is dispatched to them. */
  #pending: Promise<unknown>[] | undefined;
  /** What stops the subscriptions of `waitFor`, `collect` and `events`. */
  #waiting: Set<(stop: StopReason) => void> | undefined;
  /** The queues of iterators. */
  #queues: Set<{ readonly size: number }> | undefined;
  #ended: (() => Error) | undefined;

  static {
    emitters = {
      attach: (emitter: Emitter<unknown>, hooks) => {
        emitter.#hooks = hooks;
      },
      emit: (emitter: Emitter<unknown>, type, Event, args, pending) =>
        emitter.#emit(type, Event, args, pending),
      isHeard: (emitter: Emitter<unknown>, type) => emitter.#isHeard(type),
      hasTyped: (emitter: Emitter<unknown>) => emitter.#typed > 0,
      iterate: (emitter: Emitter<unknown>, type, options, select) =>
        emitter.#iterate(
          type,
          options,
          select,
          () => emitter.#hooks.outrun?.(emitter),
        ),
      queuedSize: (emitter: Emitter<unknown>) => emitter.#queuedSize(),
      waitFor: (emitter: Emitter<unknown>, type, options) =>
        emitter.#waitFor(type, options),
      stopWaiting: (emitter: Emitter<unknown>, reason, forGood, last) => {
        const stop = emitter.#takeWaiting(reason);
        if (forGood) emitter.#ended = reason;
        last?.();
        stop();
      },
      takeWaiting: (emitter: Emitter<unknown>, reason) =>
        emitter.#takeWaiting(reason),
    };
  }

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
  on<
    Type extends (keyof Events & string) | (keyof Typed & string),
  >(
    type: Type,
    listener: (...args: EventArgs<Events, Typed, Type>) => unknown,
    options: ListenerOptions = {},
  ): this {
    this.#on(type, listener, options);
    return this;
  }

  #on(type: string, listener: Listener, options: ListenerOptions): void {
    this.#assertEvent(type);
    assertKnown("on()", options, LISTENER_OPTIONS);
    const { once = false, signal } = options;
    if (typeof listener !== "function") {
      throw new TypeError(
        `Cannot listen to "${type}" with something other than a function: current value is of type ${typeof listener}`,
      );
    }
    const all: Record<string, readonly ListenerEntry[]> = this.#listeners ??=
      Object
        .create(null);
    const listeners = all[type] ?? [];
    if (signal?.aborted || listeners.some((e) => e.listener === listener)) {
      return;
    }
    const entry: ListenerEntry = {
      listener,
      once,
      removed: false,
      signal,
      abort: signal && (() => this.#remove(type, entry)),
    };
    if (entry.abort) signal?.addEventListener("abort", entry.abort);
    // A new list each time: one that is being gone through stays as it is.
    all[type] = [...listeners, entry];
    this.#count(type, 1);
    this.#hooks.added?.(this, type);
  }

  /**
   * Adds a listener that is called once: `on` with `once: true`.
   *
   * @param type The event's name.
   * @param listener What to call.
   * @param options When to remove it unused.
   * @returns This emitter.
   */
  once<
    Type extends (keyof Events & string) | (keyof Typed & string),
  >(
    type: Type,
    listener: (...args: EventArgs<Events, Typed, Type>) => unknown,
    options?: Omit<ListenerOptions, "once">,
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
  off<
    Type extends (keyof Events & string) | (keyof Typed & string),
  >(
    type: Type,
    listener: (...args: EventArgs<Events, Typed, Type>) => unknown,
  ): this {
    this.#assertEvent(type);
    this.#off(type, listener);
    return this;
  }

  #off(type: string, listener: Listener): void {
    const entry = this.#listeners?.[type]?.find((e) => e.listener === listener);
    if (entry) this.#remove(type, entry);
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
  waitFor<
    Type extends (keyof Events & string) | (keyof Typed & string),
  >(
    type: Type,
    options: WaitOptions<EventArgs<Events, Typed, Type>> = {},
  ): Promise<EventArgs<Events, Typed, Type>> {
    return this.#waitFor(type, options);
  }

  #waitFor<Args extends readonly unknown[]>(
    type: string,
    options: WaitOptions<Args>,
  ): Promise<Args> {
    assertType("options", options, "object");
    assertKnown("waitFor()", options, WAIT_OPTIONS);
    const { timeout } = options;
    if (timeout !== undefined) assertSize("timeout", timeout);
    const { promise, resolve, reject } = Promise.withResolvers<Args>();
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
  collect<
    Type extends (keyof Events & string) | (keyof Typed & string),
  >(
    type: Type,
    options: CollectOptions<EventArgs<Events, Typed, Type>> = {},
  ): Promise<EventArgs<Events, Typed, Type>[]> {
    assertType("options", options, "object");
    assertKnown("collect()", options, COLLECT_OPTIONS);
    const { limit = Infinity, during } = options;
    assertSize("limit", limit);
    if (during !== undefined) assertSize("during", during);
    const { promise, resolve, reject } = Promise.withResolvers<
      EventArgs<Events, Typed, Type>[]
    >();
    const collected: EventArgs<Events, Typed, Type>[] = [];
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
  events<
    Type extends (keyof Events & string) | (keyof Typed & string),
  >(
    type: Type,
    options: EventsOptions = {},
  ): AsyncIterableIterator<EventArgs<Events, Typed, Type>, undefined> {
    return this.#iterate(
      type,
      options,
      (args: EventArgs<Events, Typed, Type>) => args,
    );
  }

  #iterate<Args extends readonly unknown[], T>(
    type: string,
    options: EventsOptions,
    select: (args: Args) => T,
    outrun: () => void = () => {},
  ): AsyncIterableIterator<T, undefined> {
    assertType("options", options, "object");
    assertKnown("events()", options, EVENTS_OPTIONS);
    const { limit = 1024, throwIfLost = false } = options;
    assertSize("limit", limit);
    const isMessage = type === "message" || isTyped(type);
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
      (args: Args) => {
        const size = isMessage ? sizeOf(args[0]) : 0;
        const done = queue.push(select(args), size);
        // Whoever hands out messages one after the other waits for the loop.
        return isMessage ? done : undefined;
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
  override addEventListener<
    Type extends (keyof Events & string) | (keyof Typed & string),
  >(
    type: Type,
    listener: EventHandler<EventOf<Events, Typed, Type>> | null,
    options?: boolean | AddEventListenerOptions,
  ): void {
    const { capture = false, once = false, signal } =
      typeof options === "object" ? options : { capture: options ?? false };
    if (listener === null || signal?.aborted) return;
    if (this.#findEntry(type, listener, capture)) return;
    const act: EventHandler<Event> = listener;
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
          const result = typeof act === "function"
            ? act.call(this, event)
            : act.handleEvent(event);
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
    this.#count(type, 1);
    this.#hooks.added?.(this, type);
  }

  /**
   * Removes a listener that `addEventListener` has added.
   *
   * @param type The event's name.
   * @param listener The listener.
   * @param options As for any `EventTarget`.
   */
  override removeEventListener<
    Type extends (keyof Events & string) | (keyof Typed & string),
  >(
    type: Type,
    listener: EventHandler<EventOf<Events, Typed, Type>> | null,
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
    this.#count(type, -1);
  }

  #emit<Type extends string, Args extends readonly unknown[]>(
    type: Type,
    Event: new (type: Type, ...args: Args) => Event,
    args: Args,
    pending: Promise<unknown>[] | undefined,
  ): void {
    const override = this.#hooks.override?.(this, type);
    if (override !== undefined) this.#call(override, type, args, pending);
    const listeners = this.#listeners?.[type];
    if (listeners !== undefined) {
      for (const entry of listeners) {
        if (entry.removed) continue;
        if (entry.once) this.#remove(type, entry);
        this.#call(entry.listener, type, args, pending);
      }
    }
    if (this.#hasEventListener(type)) {
      const outer = this.#pending; // of an event in whose handler this one is
      this.#pending = pending;
      this.dispatchEvent(new Event(type, ...args));
      this.#pending = outer;
    }
  }

  #call(
    listener: Listener,
    type: string,
    args: readonly unknown[],
    pending: Promise<unknown>[] | undefined,
  ): void {
    try {
      const result = Reflect.apply(listener, this, args);
      if (result !== RESOLVED && isThenable(result)) {
        const settled = this.#watch(result, type, args[0]);
        pending?.push(settled);
      }
    } catch (error) {
      this.#reportError(error, type, args[0]);
    }
  }

  #isHeard(type: string): boolean {
    return this.#listeners?.[type] !== undefined ||
      this.#hasEventListener(type) ||
      this.#hooks.override?.(this, type) !== undefined;
  }

  #queuedSize(): number {
    if (this.#queues === undefined) return 0;
    let size = 0;
    for (const queue of this.#queues) size += queue.size;
    return size;
  }

  #takeWaiting(reason: () => Error): () => void {
    const stops = this.#waiting;
    this.#waiting = undefined;
    return () => stops?.forEach((stop) => stop({ ended: reason }));
  }

  #assertEvent(type: string): void {
    const { names } = this.#hooks;
    if (!names.has(type) && !isTyped(type)) throw unknownEvent(type, names);
  }

  #count(type: string, change: number): void {
    if (isTyped(type)) this.#typed += change;
  }

  /** Calls `take` for each event until cancelled, or stopped (told once). */
  #subscribe<Args extends readonly unknown[]>(
    type: string,
    { filter, signal }: SubscribeOptions<Args>,
    take: (args: Args) => unknown,
    stopped: (stop: StopReason) => void,
  ): () => void {
    this.#assertEvent(type);
    const listener = (...args: Args) => {
      try {
        if (filter && !filter(...args)) return;
      } catch (error) {
        return stop({ error });
      }
      return take(args);
    };
    const cancel = () => {
      this.#off(type, listener);
      this.#waiting?.delete(stop);
      signal?.removeEventListener("abort", abort);
    };
    const stop = (why: StopReason) => {
      cancel();
      stopped(why);
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
      this.#on(type, listener, {});
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

  #remove(type: string, entry: ListenerEntry): void {
    if (entry.removed) return;
    entry.removed = true;
    this.#count(type, -1);
    if (entry.abort) entry.signal?.removeEventListener("abort", entry.abort);
    const all = this.#listeners;
    const left = all?.[type]?.filter((other) => other !== entry);
    if (all === undefined) return;
    if (left?.length) all[type] = left;
    else delete all[type];
  }

  #watch(
    result: PromiseLike<unknown>,
    type: string,
    subject: unknown,
  ): Promise<unknown> {
    return Promise.resolve(result).then(
      undefined,
      (error) => this.#reportError(error, type, subject),
    );
  }

  #reportError(error: unknown, type: string, subject: unknown): void {
    if (type === "error") {
      errorLog.write('A listener of "error" threw:', error);
    } else this.#hooks.failed(this, error, type, subject);
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

/** Whether a name is that of the messages of one type. */
function isTyped(type: unknown): boolean {
  return typeof type === "string" && type.startsWith(TYPED_MESSAGE) &&
    type.length > TYPED_MESSAGE.length;
}

/** Whether an error says that a connection was lost. */
function isDisconnect(error: unknown): boolean {
  return error instanceof ConnectionEndedError &&
    error.end?.type === "disconnect";
}

const LISTENER_OPTIONS = optionNames<ListenerOptions>({
  once: true,
  signal: true,
});
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
