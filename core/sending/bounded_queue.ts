/**
 * A bounded queue of outgoing messages with overflow policies; pure.
 *
 * @module
 */

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
 *   room for both. Without such a message it acts as `drop-oldest`. A message that does
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
  if (overflow === undefined || isOverflow(overflow)) return;
  throw new RangeError(
    `Cannot use "overflow" unless it is one of ${
      OVERFLOW_POLICIES.join(", ")
    }: current value is ${overflow}`,
  );
}

/** A queued item. */
export interface QueueItem {
  /** The size in bytes. */
  readonly size: number;
  /** The policy if it does not fit. */
  readonly overflow: Overflow;
  /** The key, for the policy `latest`. */
  readonly key: string;
  /**
   * Whether another connection may send it. Such items have a bound of their own, so that
   * they do not displace those that only this connection can send.
   */
  readonly isTransferable?: boolean;
}

/** The result of {@linkcode BoundedQueue.offer}. */
export interface OfferResult<W> {
  /** Whether the item was queued. */
  readonly isQueued: boolean;
  /** The items that it displaced. */
  readonly dropped: readonly W[];
}

const NOTHING_DROPPED: readonly never[] = [];

/** Totals of queued items, and of those that may be dropped. */
class QueueTotals {
  size = 0;
  count = 0;
  droppableSize = 0;
  droppableCount = 0;

  /** Adds an item, or subtracts it. */
  add(item: QueueItem, sign: 1 | -1): void {
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

/** Whether a queued item counts towards the bound of another. */
function countsAgainst(item: QueueItem, offered: QueueItem): boolean {
  return !item.isTransferable || offered.isTransferable === true;
}

/**
 * A bounded queue. Items that may not be dropped displace those that may.
 *
 * @typeParam W The type of the items.
 */
export class BoundedQueue<W extends QueueItem> {
  readonly #maxBytes: number;
  readonly #maxCount: number;
  /** In order. A replaced item keeps its position. */
  readonly #items = new Map<string | number, W>();
  readonly #droppable = new Map<string | number, W>();
  /** Iterates over the ids while items are removed from the front. */
  #idIterator: Iterator<string | number> | undefined;
  /** The cached oldest item. */
  #firstId: string | number | undefined;
  /** All items. */
  #totals = new QueueTotals();
  /** The items that only this connection can send. */
  #ownTotals = new QueueTotals();
  #nextId = 0;

  /**
   * @param maxBytes The maximum number of bytes, including those in the socket.
   * @param maxCount The maximum number of items.
   */
  constructor(maxBytes: number, maxCount = Infinity) {
    this.#maxBytes = maxBytes;
    this.#maxCount = maxCount;
  }

  /** The number of queued bytes. */
  get size(): number {
    return this.#totals.size;
  }

  /** Whether the queue is empty. */
  get isEmpty(): boolean {
    return this.#items.size === 0;
  }

  /** The items, in order. */
  get items(): Iterable<W> {
    return this.#items.values();
  }

  /** The oldest item. */
  get first(): W | undefined {
    const id = this.#findFirstId();
    return id === undefined ? undefined : this.#items.get(id);
  }

  /**
   * Adds an item. An empty queue accepts an item of any size, as it could never be sent
   * otherwise.
   *
   * @param heldBytes The number of bytes in the socket.
   */
  offer(offered: W, heldBytes: number): OfferResult<W> {
    const { size, overflow } = offered;
    const id = this.#idFor(offered);
    const replaced = this.#items.get(id);
    const isReplacedCounted = replaced !== undefined &&
      countsAgainst(replaced, offered);
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
   * Adds an item at the end, regardless of the bound. Returns false if a newer item with
   * the same key is queued.
   */
  append(item: W): boolean {
    const id = this.#idFor(item);
    if (this.#items.has(id)) return false;
    this.#put(id, item, undefined);
    return true;
  }

  /** Removes and returns the item with a key, if any. */
  take(key: string): W | undefined {
    const id = latestId(key);
    const item = this.#items.get(id);
    if (item) this.#delete(id, item);
    return item;
  }

  #idFor({ overflow, key }: W): string | number {
    return overflow === "latest" ? latestId(key) : this.#nextId++;
  }

  /** Removes and returns the oldest item. */
  shift(): void {
    const { first } = this;
    if (first && this.#firstId !== undefined) {
      this.#delete(this.#firstId, first);
    }
  }

  /**
   * Keeps one iterator, as a new iterator of a map would skip all removed entries each
   * time.
   */
  #findFirstId(): string | number | undefined {
    if (this.#firstId !== undefined) return this.#firstId;
    this.#idIterator ??= this.#items.keys();
    const { done, value } = this.#idIterator.next();
    if (done) this.#idIterator = undefined; // there may be new items later
    else this.#firstId = value;
    return this.#firstId;
  }

  /** Removes and returns all items, in order. */
  takeAll(): W[] {
    const all = [...this.#items.values()];
    this.#items.clear();
    this.#droppable.clear();
    this.#totals = new QueueTotals();
    this.#ownTotals = new QueueTotals();
    this.#idIterator = this.#firstId = undefined;
    return all;
  }

  /** Drops droppable items, oldest first, until there is enough space. */
  #dropOldest(id: string | number, offered: W, excess: number): W[] {
    const dropped: W[] = [];
    for (const [other, item] of this.#droppable) {
      if (excess <= 0) break;
      if (other === id || !countsAgainst(item, offered)) continue;
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

/** The id of an item with a key, distinct from numeric ids. */
function latestId(key: string): string {
  return `key ${key}`;
}
