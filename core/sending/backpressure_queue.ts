/**
 * Decides which messages to a slow peer are dropped, or that its connection ends: a bounded
 * queue that applies the `overflow` policy; pure. `stall_detector.ts` ends a connection
 * whose peer takes nothing, and `buffer_budget.ts` the largest of a server.
 *
 * @module
 */

import { assertOneOf } from "../events/errors.ts";

/**
 * The policy for a message that does not fit in the send queue, because the peer receives
 * messages more slowly than they are sent:
 *
 * - `terminate`: terminates the connection, with a `disconnect` event and the cause
 *   `backpressure`.
 * - `drop-oldest`: drops the oldest queued messages that may be dropped: those sent with
 *   `drop-oldest` or `latest`.
 * - `drop-newest`: drops the new message.
 * - `latest`: the message replaces a queued one with the same `key`, even if there is
 *   room for both, and one that a peer with `events.v1` has not handled yet. Without such a
 *   message it acts as `drop-oldest`. A message that does
 *   not fit even then is dropped itself.
 */
export type Overflow = "terminate" | "drop-oldest" | "drop-newest" | "latest";

const OVERFLOW_POLICIES: readonly Overflow[] = [
  "terminate",
  "drop-oldest",
  "drop-newest",
  "latest",
];

/** Whether a value is an overflow policy. */
export function isOverflow(value: unknown): value is Overflow {
  return OVERFLOW_POLICIES.some((policy) => policy === value);
}

/**
 * Checks the option `overflow`.
 *
 * @throws {RangeError} If it is not a valid policy.
 */
export function assertOverflow(
  options: { readonly overflow?: Overflow } | undefined,
): void {
  const overflow = options?.overflow;
  if (overflow !== undefined) {
    assertOneOf("overflow", overflow, OVERFLOW_POLICIES);
  }
}

/** The policy of a message: its own, or that of the connection. */
export function policyOf(
  options: { readonly overflow?: Overflow } | undefined,
  limits: { readonly overflow: Overflow },
): Overflow {
  return options?.overflow ?? limits.overflow;
}

/**
 * Whether a message that does not fit ends the connection. One that another connection may
 * send would only fill that one, too.
 */
export function endsConnection(
  { overflow, isTransferable }: QueueItem,
): boolean {
  return overflow === "terminate" && !isTransferable;
}

/** A queued message, as far as the bound is concerned. */
export interface QueueItem {
  /** Its size in bytes. */
  readonly size: number;
  /** The policy if it does not fit. */
  readonly overflow: Overflow;
  /** The topic, if only the latest message of a topic matters. */
  readonly key: string;
  /**
   * Whether another connection may send it. Such messages have a bound of their own, so
   * that they leave room for those that only this connection can send.
   */
  readonly isTransferable?: boolean;
  /** The approximate memory that it takes as a whole, in bytes. */
  readonly memory?: number;
}

/** The result of {@linkcode BackpressureQueue.offer}. */
export interface OfferResult<W> {
  /** Whether the message was queued. */
  readonly isQueued: boolean;
  /** The messages that were dropped for it. */
  readonly dropped: readonly W[];
}

const NOTHING_DROPPED: readonly never[] = [];

/** The size of a queue, and of what may be dropped of it. */
class QueueTotals {
  size = 0;
  count = 0;
  droppableSize = 0;
  droppableCount = 0;
  memory = 0;

  /** Adds a message, or subtracts one. */
  add(item: QueueItem, sign: 1 | -1): void {
    this.memory += (item.memory ?? 0) * sign;
    const size = item.size * sign;
    this.size += size;
    this.count += sign;
    if (!isDroppable(item)) return;
    this.droppableSize += size;
    this.droppableCount += sign;
  }
}

function isDroppable({ overflow }: QueueItem): boolean {
  return overflow === "drop-oldest" || overflow === "latest";
}

/** Whether a queued message takes room from an offered one. */
function takesRoomFrom(item: QueueItem, offered: QueueItem): boolean {
  return !item.isTransferable || offered.isTransferable === true;
}

/**
 * A bounded queue. A message whose policy does not allow it is never dropped: others make
 * room for it.
 *
 * @typeParam W The type of a queued message.
 */
export class BackpressureQueue<W extends QueueItem> {
  readonly #maxBytes: number;
  readonly #maxCount: number;
  /** In order. A message that replaces another one keeps its place. */
  readonly #items = new Map<string | number, W>();
  readonly #droppable = new Map<string | number, W>();
  /** Iterates over the ids, in order, as messages are taken. */
  #idIterator: Iterator<string | number> | undefined;
  /** The id of the oldest message, once it was looked up. */
  #firstId: string | number | undefined;
  /** The totals of all messages. */
  #totals = new QueueTotals();
  /** The totals of messages that are not transferable. */
  #ownTotals = new QueueTotals();
  #nextId = 0;

  /**
   * Creates an empty queue.
   *
   * @param maxBytes The maximum number of bytes, here and in the socket.
   * @param maxCount The maximum number of messages here.
   */
  constructor(maxBytes: number, maxCount = Infinity) {
    this.#maxBytes = maxBytes;
    this.#maxCount = maxCount;
  }

  /** The bytes of all messages. */
  get size(): number {
    return this.#totals.size;
  }

  /** The approximate memory of all messages, in bytes. */
  get memory(): number {
    return this.#totals.memory;
  }

  /** Whether there are no messages. */
  get isEmpty(): boolean {
    return this.#items.size === 0;
  }

  /** The messages, in order. */
  get items(): Iterable<W> {
    return this.#items.values();
  }

  /** The oldest message. */
  get first(): W | undefined {
    const id = this.#findFirstId();
    return id === undefined ? undefined : this.#items.get(id);
  }

  /**
   * Adds a message, if it fits. A single message always fits an empty queue.
   *
   * @param heldBytes The bytes that the socket holds already.
   */
  offer(offered: W, heldBytes: number): OfferResult<W> {
    const { size, overflow } = offered;
    const id = this.#idFor(offered);
    const replaced = this.#items.get(id);
    const isReplacedCounted = replaced !== undefined &&
      takesRoomFrom(replaced, offered);
    const freed = isReplacedCounted ? replaced.size : 0;
    const others = isReplacedCounted ? 1 : 0;
    const totals = offered.isTransferable ? this.#totals : this.#ownTotals;
    const kept = totals.size - freed;
    const room = this.#maxBytes - heldBytes - kept;
    const isFull = totals.count - others >= this.#maxCount;
    const dropSelf = overflow === "drop-newest";
    const canDrop = dropSelf ? 0 : totals.droppableSize - freed;
    const isTooLarge = size > room + canDrop && heldBytes + kept > 0;
    const isTooMany = isFull && (dropSelf || totals.droppableCount <= others);
    if (isTooLarge || isTooMany) {
      return { isQueued: false, dropped: NOTHING_DROPPED };
    }
    const excess = isFull ? Math.max(size - room, 1) : size - room;
    const dropped = [
      ...replaced ? [replaced] : [],
      ...this.#dropOldest(id, offered, excess),
    ];
    this.#put(id, offered, replaced);
    return { isQueued: true, dropped };
  }

  /**
   * Adds a message behind all others, even if it does not fit.
   *
   * @returns False if a newer message with the same key is queued; then it is not added.
   */
  append(item: W): boolean {
    const id = this.#idFor(item);
    if (this.#items.has(id)) return false;
    this.#put(id, item, undefined);
    return true;
  }

  /** Removes the message of a key whose policy is `latest`, and returns it. */
  take(key: string): W | undefined {
    const id = latestId(key);
    const item = this.#items.get(id);
    if (item) this.#delete(id, item);
    return item;
  }

  #idFor({ overflow, key }: W): string | number {
    return overflow === "latest" ? latestId(key) : this.#nextId++;
  }

  /** Removes the oldest message. */
  shift(): void {
    const { first } = this;
    if (first && this.#firstId !== undefined) {
      this.#delete(this.#firstId, first);
    }
  }

  /**
   * A new iterator of a map that is emptied from its front would skip all deleted entries
   * again and again. One iterator continues where it was.
   */
  #findFirstId(): string | number | undefined {
    if (this.#firstId !== undefined) return this.#firstId;
    this.#idIterator ??= this.#items.keys();
    const { done, value } = this.#idIterator.next();
    if (done) this.#idIterator = undefined; // the queue is empty
    else this.#firstId = value;
    return this.#firstId;
  }

  /** Removes all messages, and returns them in order. */
  takeAll(): W[] {
    const all = [...this.#items.values()];
    this.#items.clear();
    this.#droppable.clear();
    this.#totals = new QueueTotals();
    this.#ownTotals = new QueueTotals();
    this.#idIterator = this.#firstId = undefined;
    return all;
  }

  /** Drops what may be dropped, the oldest first, until there is enough room. */
  #dropOldest(id: string | number, offered: W, excess: number): W[] {
    const dropped: W[] = [];
    for (const [other, item] of this.#droppable) {
      if (excess <= 0) break;
      if (other === id || !takesRoomFrom(item, offered)) continue;
      this.#delete(other, item);
      dropped.push(item);
      excess -= Math.max(item.size, 1);
    }
    return dropped;
  }

  #put(id: string | number, item: W, replaced: W | undefined): void {
    if (replaced) this.#count(replaced, -1);
    this.#count(item, 1);
    this.#items.set(id, item);
    if (isDroppable(item)) this.#droppable.set(id, item);
  }

  #delete(id: string | number, item: W): void {
    this.#items.delete(id);
    if (this.#firstId === id) this.#firstId = undefined;
    this.#droppable.delete(id);
    this.#count(item, -1);
  }

  #count(item: W, sign: 1 | -1): void {
    this.#totals.add(item, sign);
    if (!item.isTransferable) this.#ownTotals.add(item, sign);
  }
}

/** The id of the latest message of a key. The ids of other messages are numbers. */
function latestId(key: string): string {
  return `key ${key}`;
}
