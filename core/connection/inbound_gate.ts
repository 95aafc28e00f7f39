/**
 * Runs the hooks of a server around what one connection receives, in order: the hooks of a
 * message begin when the previous one was passed on or dropped.
 *
 * @module
 */

import {
  ignoreRejection,
  isThenable,
  RequestError,
  RESOLVED,
} from "../events/errors.ts";
import type { RequestFailure } from "../protocol/frames.ts";
import { INTERNAL_FAILURE } from "../requests/incoming_request.ts";
import { continueLater, isTurnOver } from "../runtime/time_slices.ts";
import type { Pollable } from "../sending/poll_timer.ts";
import { type Deferred, withResolvers } from "../util/deferred.ts";
import { typeOf } from "../values/type_of.ts";

/**
 * A message, request or join that a client has sent; the argument of a hook of {@linkcode
 * ServerSocket.use}.
 *
 * @typeParam Client The type of the client: a {@linkcode Connection}.
 */
export interface InboundContext<Client> {
  /** The kind of the data: `join` is a request to join a channel. */
  readonly kind: "message" | "request" | "join";
  /** The client that has sent it. */
  readonly client: Client;
  /**
   * The name of the channel, for a `join` and for what is sent in a channel; otherwise
   * undefined.
   */
  readonly channel: string | undefined;
  /**
   * The data of the message or of the request, as `message.data`, or that of the join. It
   * is decoded when it is first read, and was checked by the schema, if there is one.
   */
  readonly data: unknown;
  /** The value of `data.type`, if it is a string; otherwise undefined. */
  readonly type: string | undefined;
}

/**
 * A function that is called with everything that clients send; see {@linkcode
 * ServerSocket.use}.
 *
 * @typeParam Client The type of the client: a {@linkcode Connection}.
 * @param inbound What the client has sent.
 * @param next Passes it to the next hook, or from the last hook to the listeners or the
 * handler. Returns a promise that resolves when these have finished.
 * @returns Any value. If it is a promise, the hook is done when it settles.
 */
export type InboundHook<Client> = (
  inbound: InboundContext<Client>,
  next: () => Promise<void>,
) => unknown;

/** How long a hook may take until it calls `next`, in milliseconds, at least. */
const HOOK_TIMEOUT_MS = 10_000;

/** The number of checks within that time. */
const CHECKS_PER_TIMEOUT = 4;

/** The interval of the checks whether a hook takes too long, in milliseconds. */
export const HOOK_CHECK_MS: number = HOOK_TIMEOUT_MS / CHECKS_PER_TIMEOUT;

/** The number of messages between two checks of the duration of a turn. */
const PASSED_PER_CLOCK_CHECK = 8;

/** A received message, request or join, before its data is decoded. */
export interface Received {
  /** See {@linkcode InboundContext}. */
  readonly kind: InboundContext<unknown>["kind"];
  /** The name of the channel, if there is one. */
  readonly channel?: string;
  /** Has the data. */
  readonly source: { readonly data: unknown };
}

/** What happens to a message after the hooks. */
export interface InboundTarget {
  /**
   * Passes it on.
   *
   * @param pending Receives a promise for each listener that has not finished.
   * @returns A promise that resolves when a request has been handled, unless it has been.
   */
  deliver(pending: Promise<unknown>[]): Promise<unknown> | undefined;
  /** Drops it. A request is refused with the failure. */
  drop(failure: RequestFailure): void;
}

/** The parts of a connection that a gate uses. */
export interface InboundGateHost {
  /** Calls listeners, and emits the end afterwards if the connection has ended. */
  callListeners(action: () => void): void;
  /** Reports an error of a hook. */
  reportError(error: unknown, from: string): void;
  /** Called when nothing waits for a hook any more. */
  idle(): void;
}

/** What waits until the hooks before it have passed their message on. */
interface WaitingItem {
  readonly start: () => Promise<unknown> | undefined;
  readonly resolve: (done?: PromiseLike<unknown>) => void;
}

/** The hooks of one connection. */
export class InboundGate<Client> implements Pollable {
  readonly #client: Client;
  readonly #hooks: readonly InboundHook<Client>[];
  readonly #host: InboundGateHost;
  readonly #watch: (gate: InboundGate<Client>) => void;
  /** The message whose hooks have not passed it on. */
  #held: Passage<Client> | undefined;
  /** How many checks it has been held for. */
  #checks = 0;
  #isWatched = false;
  #waiting: WaitingItem[] = [];
  /** Whether waiting messages are being started. */
  #isDraining = false;
  #passed = 0;

  /**
   * @param watch Polls the gate after {@linkcode HOOK_CHECK_MS}, at the latest.
   */
  constructor(
    client: Client,
    hooks: readonly InboundHook<Client>[],
    host: InboundGateHost,
    watch: (gate: InboundGate<Client>) => void,
  ) {
    this.#client = client;
    this.#hooks = hooks;
    this.#host = host;
    this.#watch = watch;
  }

  /** Whether a message waits for a hook. */
  get isBusy(): boolean {
    return this.#held !== undefined || this.#waiting.length > 0;
  }

  /**
   * Starts something in its turn: at once, unless a hook holds an earlier message.
   *
   * @param start Starts it, for instance by {@linkcode InboundGate.run}.
   * @returns A promise that resolves when it has been handled; undefined if it has been.
   */
  enter(
    start: () => Promise<unknown> | undefined,
  ): Promise<unknown> | undefined {
    if (!this.isBusy) return start();
    const { promise, resolve } = withResolvers<unknown>();
    this.#waiting.push({ start, resolve });
    return promise;
  }

  /** Starts what has waited for something else: at once, unless a hook holds a message. */
  runInTurn(
    start: () => Promise<unknown> | undefined,
  ): Promise<unknown> | undefined {
    return this.#held ? this.enter(start) : start();
  }

  /**
   * Runs the hooks around a message. Called by what {@linkcode InboundGate.enter} starts.
   *
   * @returns A promise that resolves when the hooks and what they have passed it to have
   * finished; undefined if they have. It never rejects.
   */
  run(
    received: Received,
    target: InboundTarget,
  ): Promise<unknown> | undefined {
    const inbound = createInbound(this.#client, received);
    const passage = new Passage(
      this.#hooks,
      inbound,
      target,
      this.#host,
      () => this.#release(passage),
    );
    this.#held = passage;
    this.#host.callListeners(() => passage.start());
    if (passage.isPassed) this.#release(passage);
    else if (this.#held === passage) {
      this.#checks = 0;
      if (!this.#isWatched) this.#watch(this);
      this.#isWatched = true;
    }
    return passage.done;
  }

  /** Drops what waits for a hook. Returns how much that is. */
  clear(): number {
    const waiting = this.#waiting;
    this.#waiting = [];
    const count = waiting.length + (this.#held ? 1 : 0);
    this.#held?.discard();
    this.#held = undefined;
    for (const { resolve } of waiting) resolve();
    return count;
  }

  /** See {@linkcode Pollable}: gives up a hook that has taken too long. */
  poll(): number {
    if (this.#held && ++this.#checks <= CHECKS_PER_TIMEOUT) {
      return HOOK_CHECK_MS;
    }
    this.#isWatched = false;
    this.#held?.expire();
    return 0;
  }

  #release(passage: Passage<Client>): void {
    if (this.#held !== passage || passage.isStarting) return;
    this.#held = undefined;
    if (this.#isDraining) return;
    if (this.#waiting.length > 0) {
      this.#isDraining = true;
      queueMicrotask(this.#drain);
    } else this.#host.idle();
  }

  /** Starts what waits, in slices, until a hook holds a message. */
  readonly #drain = (): boolean => {
    this.#isDraining = true;
    while (!this.#held) {
      const next = this.#waiting.shift();
      if (next === undefined) break;
      next.resolve(next.start());
      const isLong = ++this.#passed % PASSED_PER_CLOCK_CHECK === 0 &&
        isTurnOver();
      if (!isLong || this.#held || this.#waiting.length === 0) continue;
      continueLater(this.#drain);
      return true;
    }
    this.#isDraining = false;
    if (!this.isBusy) this.#host.idle();
    return false;
  };
}

/** One message on its way through the hooks. */
class Passage<Client> {
  readonly #hooks: readonly InboundHook<Client>[];
  readonly #inbound: InboundContext<Client>;
  readonly #target: InboundTarget;
  readonly #host: InboundGateHost;
  readonly #onPassed: () => void;
  /** How many hooks have not finished. */
  #active = 0;
  #isDelivered = false;
  #isExpired = false;
  #isFinished = false;
  /** What a hook has thrown last. */
  #failure: { readonly error: unknown } | undefined;
  /** Resolves when listeners and handlers have finished. */
  #handled: Promise<void> | undefined;
  #done: Deferred<void> | undefined;
  /** Whether the first hook is being called. */
  isStarting = false;
  /** Whether it was passed on or dropped. */
  isPassed = false;

  constructor(
    hooks: readonly InboundHook<Client>[],
    inbound: InboundContext<Client>,
    target: InboundTarget,
    host: InboundGateHost,
    onPassed: () => void,
  ) {
    this.#hooks = hooks;
    this.#inbound = inbound;
    this.#target = target;
    this.#host = host;
    this.#onPassed = onPassed;
  }

  /** A promise that resolves when all has finished; undefined if it has. */
  get done(): Promise<void> | undefined {
    return this.#isFinished
      ? undefined
      : (this.#done ??= withResolvers()).promise;
  }

  start(): void {
    this.isStarting = true;
    ignoreRejection(this.#call(0));
    this.isStarting = false;
  }

  /** The connection ends before a hook has passed it on. */
  discard(): void {
    this.isPassed = true;
    this.#finish();
  }

  /** A hook has taken too long. */
  expire(): void {
    this.#isExpired = true;
    this.#drop(
      { message: "The request took too long", code: "timeout" },
      new DOMException(
        `Cannot wait any longer for a hook of use(): it has not called next() for ${HOOK_TIMEOUT_MS} ms`,
        "TimeoutError",
      ),
    );
    this.#finish();
    this.#onPassed();
  }

  /** Calls a hook, or passes the message on if there is no other one. */
  #call(index: number): Promise<void> {
    const hook = this.#hooks[index];
    if (hook === undefined) return this.#deliver();
    this.#active++;
    let following: Promise<void> | undefined;
    const next = () => {
      if (following) {
        throw new Error(
          "Cannot call next() twice: each hook passes a message on once",
        );
      }
      following = RESOLVED; // it may be called again meanwhile
      return following = ignoreRejection(this.#call(index + 1));
    };
    let result: unknown;
    try {
      result = hook(this.#inbound, next);
    } catch (error) {
      this.#settled({ error });
      return Promise.reject(error);
    }
    if (!isThenable(result)) {
      this.#settled();
      return following ?? RESOLVED;
    }
    return Promise.resolve(result).then(() => this.#settled(), (error) => {
      this.#settled({ error });
      throw error;
    });
  }

  #deliver(): Promise<void> {
    if (this.isPassed) return RESOLVED; // too late
    this.isPassed = this.#isDelivered = true;
    const pending: Promise<unknown>[] = [];
    this.#host.callListeners(() => {
      const handled = this.#target.deliver(pending);
      if (handled) pending.push(handled);
    });
    if (pending.length > 0) {
      this.#handled = Promise.all(pending).then(() => {});
    }
    this.#onPassed();
    return this.#handled ?? RESOLVED;
  }

  #settled(failure?: { readonly error: unknown }): void {
    if (failure) this.#failure = failure;
    if (--this.#active > 0) return;
    const isOpen = !this.isPassed;
    const { error } = this.#failure ?? {};
    if (isOpen && error instanceof RequestError) {
      const { message, code } = error;
      this.#drop(code === undefined ? { message } : { message, code });
    } else if (isOpen && this.#failure) this.#drop(INTERNAL_FAILURE, error);
    else if (isOpen) this.#drop(NOT_PASSED);
    else if (this.#failure && !this.#isExpired) {
      this.#host.callListeners(() => this.#host.reportError(error, "use"));
    }
    if (this.#handled) this.#handled.then(() => this.#finish());
    else this.#finish();
    if (isOpen) this.#onPassed();
  }

  /** Drops the message, and reports an error of a hook. */
  #drop(failure: RequestFailure, error?: unknown): void {
    this.isPassed = true;
    this.#host.callListeners(() => {
      this.#target.drop(failure);
      if (error !== undefined) this.#host.reportError(error, "use");
    });
  }

  #finish(): void {
    this.#isFinished = true;
    this.#done?.resolve();
  }
}

/** The failure that the peer gets if a hook has not called `next`. */
const NOT_PASSED: RequestFailure = {
  message: "Not authorized",
  code: "forbidden",
};

/** Creates the argument of hooks. */
function createInbound<Client>(
  client: Client,
  { kind, channel, source }: Received,
): InboundContext<Client> {
  return {
    kind,
    client,
    channel,
    get data() {
      return source.data;
    },
    get type() {
      return typeOf(source.data);
    },
  };
}
