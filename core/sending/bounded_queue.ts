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

/** Something that waits to be sent. */
export interface QueueItem {
  /** Its bytes. */
  readonly size: number;
  /** What to do if it does not fit. */
  readonly overflow: Overflow;
  /** What it is about, if only the latest of it matters. */
  readonly key: string;
  /**
   * Whether it may be sent elsewhere as well. It fills a bound for its like only:
   * there is as much room besides for what can be sent nowhere else.
   */
  readonly isTransferable?: boolean;
}

/** What came of offering something to an {@linkcode BoundedQueue}. */
export interface OfferResult<W> {
  /** Whether it waits now. */
  readonly isQueued: boolean;
  /** What it has displaced. */
  readonly dropped: readonly W[];
}

const NOTHING_DROPPED: readonly never[] = [];

/** How much waits, and how much of that may be dropped. */
class QueueTotals {
  size = 0;
  count = 0;
  droppableSize = 0;
  droppableCount = 0;

  /** Adds something that waits now, or takes off what does no longer. */
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

/** Whether something that waits takes room from something that is offered. */
function countsAgainst(item: QueueItem, offered: QueueItem): boolean {
  return !item.isTransferable || offered.isTransferable === true;
}

/**
 * A bounded queue. What is sent without leave to drop it never is dropped: what
 * may be dropped makes room for it.
 *
 * @typeParam W What waits.
 */
export class BoundedQueue<W extends QueueItem> {
  readonly #maxBytes: number;
  readonly #maxCount: number;
  /** In order; what is set again keeps its place. */
  readonly #items = new Map<string | number, W>();
  readonly #droppable = new Map<string | number, W>();
  /** Goes through the ids, in order, as what has waited longest is taken away. */
  #idIterator: Iterator<string | number> | undefined;
  /** What has waited longest, once that was asked for. */
  #firstId: string | number | undefined;
  /** Of all that waits. */
  #totals = new QueueTotals();
  /** Of what is not carried. */
  #ownTotals = new QueueTotals();
  #nextId = 0;

  /**
   * Creates an empty queue.
   *
   * @param maxBytes How many bytes may wait, here and in the socket.
   * @param maxCount How many messages may wait here.
   */
  constructor(maxBytes: number, maxCount = Infinity) {
    this.#maxBytes = maxBytes;
    this.#maxCount = maxCount;
  }

  /** How many bytes wait here. */
  get size(): number {
    return this.#totals.size;
  }

  /** Whether nothing waits. */
  get isEmpty(): boolean {
    return this.#items.size === 0;
  }

  /** What waits, in order. */
  get items(): Iterable<W> {
    return this.#items.values();
  }

  /** What has waited longest. */
  get first(): W | undefined {
    const id = this.#findFirstId();
    return id === undefined ? undefined : this.#items.get(id);
  }

  /**
   * Adds something. Where nothing else waits it is taken, however large it is:
   * else it could never be sent.
   *
   * @param offered What is to wait.
   * @param heldBytes How many bytes the socket holds already.
   * @returns Whether it waits now, and what it has displaced.
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
   * Adds something beyond the bound, behind all others.
   *
   * @param item What is to wait.
   * @returns False if something newer with the same key waits: then it does not.
   */
  append(item: W): boolean {
    const id = this.#idFor(item);
    if (this.#items.has(id)) return false;
    this.#put(id, item, undefined);
    return true;
  }

  /**
   * Takes away the latest of a key.
   *
   * @param key The key.
   * @returns What has waited, if something has.
   */
  take(key: string): W | undefined {
    const id = latestId(key);
    const item = this.#items.get(id);
    if (item) this.#delete(id, item);
    return item;
  }

  #idFor({ overflow, key }: W): string | number {
    return overflow === "latest" ? latestId(key) : this.#nextId++;
  }

  /** Takes away what has waited longest. */
  shift(): void {
    const { first } = this;
    if (first && this.#firstId !== undefined) {
      this.#delete(this.#firstId, first);
    }
  }

  /**
   * A map that is emptied from its front would be searched from there again and
   * again, past all that is gone: one iterator goes on where it was.
   */
  #findFirstId(): string | number | undefined {
    if (this.#firstId !== undefined) return this.#firstId;
    this.#idIterator ??= this.#items.keys();
    const { done, value } = this.#idIterator.next();
    if (done) this.#idIterator = undefined; // all are gone, and others may come
    else this.#firstId = value;
    return this.#firstId;
  }

  /**
   * Takes all away.
   *
   * @returns All that has waited, in order.
   */
  takeAll(): W[] {
    const all = [...this.#items.values()];
    this.#items.clear();
    this.#droppable.clear();
    this.#totals = new QueueTotals();
    this.#ownTotals = new QueueTotals();
    this.#idIterator = this.#firstId = undefined;
    return all;
  }

  /** Drops from what may be dropped, the oldest first, until it is enough. */
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

/** What the latest of a key is filed under; no number is. */
function latestId(key: string): string {
  return `key ${key}`;
}
