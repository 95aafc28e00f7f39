/**
 * A typed `EventTarget`: the base class of the sockets and of connections.
 *
 * @module
 */

import { assertKnown, isThenable, RESOLVED } from "./errors.ts";
import { createErrorOutput, type ErrorOutput } from "./error_output.ts";
import type { EmitterHooks, EmitterInternals } from "./emitter_internals.ts";
import { assertEventName, isTypedMessage } from "./event_names.ts";
import {
  type EventArgs,
  type EventHandler,
  type EventOf,
  type Listener,
  LISTENER_OPTIONS,
  type ListenerOptions,
} from "./listeners.ts";
import { Feature } from "../util/feature.ts";
import type { Iterators } from "./emitter_internals.ts";
import {
  type CollectOptions,
  type EventsOptions,
  Subscriptions,
  type WaitOptions,
} from "./subscriptions.ts";

/** The operations on an emitter that only the sockets use. */
export let emitters: EmitterInternals;

/** The code of `collect`, `events` and `messages`. */
export const iteratorsFeature: Feature<Iterators> = new Feature("iterators");

const NO_HOOKS: EmitterHooks = { names: new Set(), failed: () => {} };

/** A listener that was added by `on`. */
interface ListenerEntry {
  readonly listener: Listener;
  readonly once: boolean;
  removed: boolean;
  signal: AbortSignal | undefined;
  abort: (() => void) | undefined;
}

/** A listener that was added by `addEventListener`. */
interface EventTargetEntry {
  readonly type: string;
  readonly listener: EventHandler<never>;
  readonly capture: boolean;
  readonly call: (event: Event) => void;
  readonly signal: AbortSignal | undefined;
  readonly abort: () => void;
}

/**
 * A typed `EventTarget` whose listeners can also be called with positional arguments.
 *
 * - Listeners of `on` are called directly, in the order in which they were added.
 *   Listeners of `addEventListener` are called after them; an `Event` is only created if
 *   there are any.
 * - If a listener throws, or its promise rejects, the other listeners are still called
 *   and the process does not exit: an `error` event is emitted.
 *
 * @typeParam Events The events, by name.
 * @typeParam Typed The events for messages of one type, by name.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 *
 * const server = new ServerSocket();
 * server.on("close", (client, code) => console.log(client.id, code));
 * server.addEventListener("close", (event) => console.log(event.code));
 * ```
 */
export abstract class Emitter<Events, Typed = unknown> extends EventTarget {
  #hooks: EmitterHooks = NO_HOOKS;
  /** Created when the first listener is added: many connections have none. */
  #listeners: Record<string, readonly ListenerEntry[]> | undefined;
  #eventTargetEntries: EventTargetEntry[] | undefined;
  /** The number of listeners for messages of one type. */
  #typed = 0;
  /** Receives the promises of `addEventListener` listeners during a dispatch. */
  #pending: Promise<unknown>[] | undefined;
  #subscriptions: Subscriptions | undefined;
  /** Creates the error for pending promises, once no event comes any more. */
  #ended: (() => Error) | undefined;

  static {
    emitters = {
      attach: (emitter: Emitter<unknown>, hooks) => {
        emitter.#hooks = hooks;
      },
      emit: (emitter: Emitter<unknown>, type, Event, args, pending) =>
        emitter.#emit(type, Event, args, pending),
      emitWith: (emitter: Emitter<unknown>, type, createEvent, args) => {
        emitter.#emit(type, undefined, args, undefined);
        if (emitter.#hasEventListener(type)) {
          emitter.#dispatch(createEvent(), undefined);
        }
      },
      reportError: (emitter: Emitter<unknown>, error, from, subject) =>
        emitter.#reportError(error, from, subject),
      isHeard: (emitter: Emitter<unknown>, type) => emitter.#isHeard(type),
      hasTyped: (emitter: Emitter<unknown>) => emitter.#typed > 0,
      iterate: (emitter: Emitter<unknown>, type, options, select) =>
        iteratorsFeature.require("messages()").iterate(
          emitter.#subscribed(),
          type,
          options,
          select,
          () => emitter.#hooks.iteratorOverflowed?.(emitter),
        ),
      queuedSize: (emitter: Emitter<unknown>) =>
        emitter.#subscriptions?.queuedSize ?? 0,
      waitFor: (emitter: Emitter<unknown>, type, options) =>
        emitter.#subscribed().waitFor(type, options),
      stopWaiting: (emitter: Emitter<unknown>, reason, forGood, last) => {
        const stop = emitter.#subscriptions?.take(reason);
        if (forGood) emitter.#ended = reason;
        last?.();
        stop?.();
      },
      takeWaiting: (emitter: Emitter<unknown>, reason) =>
        emitter.#subscriptions?.take(reason) ?? (() => {}),
    };
  }

  /**
   * Adds a listener that is called with the values of the event as arguments. Adding
   * the same listener again for the same event has no effect, as in `addEventListener`.
   *
   * @param type The name of the event.
   * @param listener The listener. If it throws, or its promise rejects, an `error` event
   * is emitted.
   * @param options Whether to call it once, and a signal that removes it.
   * @returns This emitter.
   * @throws {TypeError} If there is no such event, the listener is not a function, or an
   * option is unknown.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * const log = (client: object, path: string) => console.log(client, path);
   * server.on("connect", log);
   *
   * const controller = new AbortController();
   * server.on("message", ({ author, content }) => author.send(content), {
   *   signal: controller.signal,
   * });
   * controller.abort(); // removes the second listener
   * ```
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
    assertEventName(type, this.#hooks.names);
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
    // A new list each time, as the old one may be in use by an emit.
    all[type] = [...listeners, entry];
    this.#count(type, 1);
    this.#hooks.added?.(this, type);
  }

  /**
   * Adds a listener that is called once: the same as `on` with `once: true`.
   *
   * @param type The name of the event.
   * @param listener The listener.
   * @param options A signal that removes it.
   * @returns This emitter.
   * @throws {TypeError} As {@linkcode Emitter.on}.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * server.once("connect", (client) => client.send("You are the first"));
   * ```
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
   * Removes a listener that was added by `on` or `once`. It is not called again, not even
   * for an event that is being emitted.
   *
   * @param type The name of the event.
   * @param listener The listener.
   * @returns This emitter.
   * @throws {TypeError} If there is no such event.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * const log = (client: object) => console.log(client);
   * server.on("connect", log);
   * server.off("connect", log);
   * ```
   */
  off<
    Type extends (keyof Events & string) | (keyof Typed & string),
  >(
    type: Type,
    listener: (...args: EventArgs<Events, Typed, Type>) => unknown,
  ): this {
    assertEventName(type, this.#hooks.names);
    this.#off(type, listener);
    return this;
  }

  #off(type: string, listener: Listener): void {
    const entry = this.#listeners?.[type]?.find((e) => e.listener === listener);
    if (entry) this.#remove(type, entry);
  }

  /**
   * Waits for the next event. Events between two calls are missed: to handle more than
   * one, use {@linkcode Emitter.events}.
   *
   * @param type The name of the event.
   * @param options Which event to wait for, and for how long.
   * @returns A promise of the arguments of the event. It rejects with a
   * `ConnectionEndedError` when no more events can occur, with a `DOMException` named
   * `TimeoutError` after the timeout, with the reason of the signal, and with an error
   * that the filter throws. If it is not awaited, its rejection is not reported as
   * unhandled.
   * @throws {TypeError} If there is no such event, or an option is unknown.
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
    return this.#subscribed().waitFor(type, options);
  }

  /**
   * Collects several events.
   *
   * @param type The name of the event.
   * @param options Which events to collect, how many, and for how long. Without `limit`
   * and `during`, it collects until no more events can occur.
   * @returns A promise of the arguments of each event. It rejects with the reason of the
   * signal, and with an error that the filter throws.
   * @throws {TypeError} If there is no such event, or an option is unknown.
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
    return iteratorsFeature.require("collect()").collect(
      this.#subscribed(),
      type,
      options,
    );
  }

  /**
   * Iterates over the events that come after this call, in order.
   *
   * @param type The name of the event.
   * @param options A signal that stops it, and how many events may wait.
   * @returns An iterator of the arguments of each event. It ends when no more events can
   * occur; `break` discards the waiting events.
   * @throws {TypeError} If there is no such event, or an option is unknown.
   * @throws {RangeError} If `limit` is negative or `NaN`.
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
    return iteratorsFeature.require("events()").iterate(
      this.#subscribed(),
      type,
      options,
      (args: EventArgs<Events, Typed, Type>) => args,
    );
  }

  /**
   * Adds a listener that is called with an `Event`, as on any `EventTarget`. If it
   * throws, or its promise rejects, an `error` event is emitted.
   *
   * @param type The name of the event.
   * @param listener The listener.
   * @param options As on any `EventTarget`.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * server.addEventListener("close", ({ connection, code, reason }) => {
   *   console.log(connection.id, code, reason);
   * }, { once: true });
   * ```
   */
  override addEventListener<
    Type extends (keyof Events & string) | (keyof Typed & string),
  >(
    type: Type,
    listener: EventHandler<EventOf<Events, Typed, Type>> | null,
    options?: Parameters<EventTarget["addEventListener"]>[2],
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
   * Removes a listener that was added by `addEventListener`.
   *
   * @param type The name of the event.
   * @param listener The listener.
   * @param options As on any `EventTarget`.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * const log = (event: Event) => console.log(event.type);
   * server.addEventListener("connect", log);
   * server.removeEventListener("connect", log);
   * ```
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

  /** Emits an event; without a class only to the listeners of `on`. */
  #emit<Type extends string, Args extends readonly unknown[]>(
    type: Type,
    Event: (new (type: Type, ...args: Args) => Event) | undefined,
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
    if (Event !== undefined && this.#hasEventListener(type)) {
      this.#dispatch(new Event(type, ...args), pending);
    }
  }

  #dispatch(event: Event, pending: Promise<unknown>[] | undefined): void {
    const outer = this.#pending; // of an event whose listener emits this one
    this.#pending = pending;
    this.dispatchEvent(event);
    this.#pending = outer;
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

  #count(type: string, change: number): void {
    if (isTypedMessage(type)) this.#typed += change;
  }

  #subscribed(): Subscriptions {
    return this.#subscriptions ??= new Subscriptions({
      names: this.#hooks.names,
      add: (type: string, listener: Listener) => this.#on(type, listener, {}),
      remove: (type: string, listener: Listener) => this.#off(type, listener),
      ended: () => this.#ended,
    });
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
      errorOutput ??= createErrorOutput();
      errorOutput.write('A listener of "error" threw:', error);
    } else this.#hooks.failed(this, error, type, subject);
  }
}

/** Logs the errors of `error` listeners, of all emitters. */
let errorOutput: ErrorOutput | undefined;
