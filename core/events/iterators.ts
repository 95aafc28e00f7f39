/**
 * Several events at once: `collect`, and the iterators of `events` and `messages`.
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
  optionNames,
} from "./errors.ts";
import { isTypedMessage } from "./event_names.ts";
import type {
  CollectOptions,
  EventsOptions,
  Subscriptions,
} from "./subscriptions.ts";
import { withResolvers } from "../util/deferred.ts";
import { startTimer, type Timer } from "../util/timer.ts";

/** Collects the arguments of several events. */
export function collect<Args extends readonly unknown[]>(
  subscriptions: Subscriptions,
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
  const cancel = subscriptions.subscribe<Args>(type, options, (args) => {
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
export function iterate<Args extends readonly unknown[], T>(
  subscriptions: Subscriptions,
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
      removeQueue();
      cancel();
    },
    iteratorOverflowed,
  );
  const cancel = subscriptions.subscribe(
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
  const removeQueue = subscriptions.addQueue(queue);
  return queue;
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
