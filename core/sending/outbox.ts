/**
 * What waits to be sent, up to a bound; pure.
 *
 * @module
 */

/**
 * What to do with a message that does not fit, as the peer takes messages more
 * slowly than they are sent:
 *
 * - `terminate`: the connection is ended, as a `disconnect` with the cause
 *   `backpressure`.
 * - `drop-oldest`: what has waited longest makes room, of the messages that may
 *   be dropped (those sent with this or with `latest`).
 * - `drop-newest`: the message itself is dropped.
 * - `latest`: the message takes the place of one with the same `key` that still
 *   waits, be there room or not for another; else it is like `drop-oldest`. One so
 *   large that it does not fit even then is dropped itself.
 */
export type Overflow = "terminate" | "drop-oldest" | "drop-newest" | "latest";

const POLICIES: readonly Overflow[] = [
  "terminate",
  "drop-oldest",
  "drop-newest",
  "latest",
];

/**
 * Whether something is a policy.
 *
 * @param value Anything.
 * @returns True if so.
 */
export function isOverflow(value: unknown): value is Overflow {
  return POLICIES.some((policy) => policy === value);
}

/**
 * Checks a policy.
 *
 * @param options Where it stands, if it does.
 * @throws {RangeError} If it is none.
 */
export function assertOverflow(
  options: { readonly overflow?: Overflow } | undefined,
): void {
  const overflow = options?.overflow;
  if (overflow === undefined || isOverflow(overflow)) return;
  throw new RangeError(
    `Cannot use "overflow" unless it is one of ${
      POLICIES.join(", ")
    }: current value is ${overflow}`,
  );
}

/** Something that waits to be sent. */
export interface Waiting {
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
  readonly isCarried?: boolean;
}

/** What came of offering something to an {@linkcode Outbox}. */
export interface Offer<W> {
  /** Whether it waits now. */
  readonly isTaken: boolean;
  /** What it has displaced. */
  readonly dropped: readonly W[];
}

const NONE: readonly never[] = [];

/** How much waits, and how much of that may be dropped. */
class Tally {
  size = 0;
  count = 0;
  droppableSize = 0;
  droppableCount = 0;

  /** Adds something that waits now, or takes off what does no longer. */
  add(waiting: Waiting, sign: 1 | -1): void {
    const size = waiting.size * sign;
    this.size += size;
    this.count += sign;
    if (!isDroppable(waiting)) return;
    this.droppableSize += size;
    this.droppableCount += sign;
  }
}

function isDroppable({ overflow }: Waiting): boolean {
  return overflow === "drop-oldest" || overflow === "latest";
}

/** Whether something that waits takes room from something that is offered. */
function isInTheWay(waiting: Waiting, offered: Waiting): boolean {
  return !waiting.isCarried || offered.isCarried === true;
}

/**
 * A bounded queue. What is sent without leave to drop it never is dropped: what
 * may be dropped makes room for it.
 *
 * @typeParam W What waits.
 */
export class Outbox<W extends Waiting> {
  readonly #max: number;
  readonly #maxCount: number;
  /** In order; what is set again keeps its place. */
  readonly #waiting = new Map<string | number, W>();
  readonly #droppable = new Map<string | number, W>();
  /** Goes through the ids, in order, as what has waited longest is taken away. */
  #ids: Iterator<string | number> | undefined;
  /** What has waited longest, once that was asked for. */
  #first: string | number | undefined;
  /** Of all that waits. */
  #all = new Tally();
  /** Of what is not carried. */
  #own = new Tally();
  #count = 0;

  /**
   * Creates an empty outbox.
   *
   * @param max How many bytes may wait, here and in the socket.
   * @param maxCount How many messages may wait here.
   */
  constructor(max: number, maxCount = Infinity) {
    this.#max = max;
    this.#maxCount = maxCount;
  }

  /** How many bytes wait here. */
  get size(): number {
    return this.#all.size;
  }

  /** Whether nothing waits. */
  get isEmpty(): boolean {
    return this.#waiting.size === 0;
  }

  /** What waits, in order. */
  get waiting(): Iterable<W> {
    return this.#waiting.values();
  }

  /** What has waited longest. */
  get first(): W | undefined {
    const id = this.#firstId();
    return id === undefined ? undefined : this.#waiting.get(id);
  }

  /**
   * Adds something. Where nothing else waits it is taken, however large it is:
   * else it could never be sent.
   *
   * @param offered What is to wait.
   * @param held How many bytes the socket holds already.
   * @returns Whether it waits now, and what it has displaced.
   */
  offer(offered: W, held: number): Offer<W> {
    const { size, overflow } = offered;
    const id = this.#idOf(offered);
    const replaced = this.#waiting.get(id);
    const isFreed = replaced !== undefined && isInTheWay(replaced, offered);
    const freed = isFreed ? replaced.size : 0;
    const others = isFreed ? 1 : 0;
    const tally = offered.isCarried ? this.#all : this.#own;
    const kept = tally.size - freed;
    const room = this.#max - held - kept;
    const isCrowded = tally.count - others >= this.#maxCount;
    const isMeek = overflow === "drop-newest";
    const canDrop = isMeek ? 0 : tally.droppableSize - freed;
    const isTooLarge = size > room + canDrop && held + kept > 0;
    const isTooMany = isCrowded && (isMeek || tally.droppableCount <= others);
    if (isTooLarge || isTooMany) return { isTaken: false, dropped: NONE };
    const excess = isCrowded ? Math.max(size - room, 1) : size - room;
    const dropped = [
      ...replaced ? [replaced] : [],
      ...this.#displace(id, offered, excess),
    ];
    this.#put(id, offered, replaced);
    return { isTaken: true, dropped };
  }

  /**
   * Adds something beyond the bound, behind all others.
   *
   * @param waiting What is to wait.
   * @returns False if something newer with the same key waits: then it does not.
   */
  append(waiting: W): boolean {
    const id = this.#idOf(waiting);
    if (this.#waiting.has(id)) return false;
    this.#put(id, waiting, undefined);
    return true;
  }

  /**
   * Takes away the latest of a key.
   *
   * @param key The key.
   * @returns What has waited, if something has.
   */
  take(key: string): W | undefined {
    const id = idOf(key);
    const waiting = this.#waiting.get(id);
    if (waiting) this.#delete(id, waiting);
    return waiting;
  }

  #idOf({ overflow, key }: W): string | number {
    return overflow === "latest" ? idOf(key) : this.#count++;
  }

  /** Takes away what has waited longest. */
  shift(): void {
    const { first } = this;
    if (first && this.#first !== undefined) this.#delete(this.#first, first);
  }

  /**
   * A map that is emptied from its front would be searched from there again and
   * again, past all that is gone: one iterator goes on where it was.
   */
  #firstId(): string | number | undefined {
    if (this.#first !== undefined) return this.#first;
    this.#ids ??= this.#waiting.keys();
    const { done, value } = this.#ids.next();
    if (done) this.#ids = undefined; // all are gone, and others may come
    else this.#first = value;
    return this.#first;
  }

  /**
   * Takes all away.
   *
   * @returns All that has waited, in order.
   */
  takeAll(): W[] {
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#droppable.clear();
    this.#all = new Tally();
    this.#own = new Tally();
    this.#ids = this.#first = undefined;
    return all;
  }

  /** Drops from what may be dropped, the oldest first, until it is enough. */
  #displace(id: string | number, offered: W, excess: number): W[] {
    const dropped: W[] = [];
    for (const [other, waiting] of this.#droppable) {
      if (excess <= 0) break;
      if (other === id || !isInTheWay(waiting, offered)) continue;
      this.#delete(other, waiting);
      dropped.push(waiting);
      excess -= Math.max(waiting.size, 1);
    }
    return dropped;
  }

  #put(id: string | number, waiting: W, replaced: W | undefined): void {
    if (replaced) this.#tally(replaced, -1);
    this.#tally(waiting, 1);
    this.#waiting.set(id, waiting);
    if (isDroppable(waiting)) this.#droppable.set(id, waiting);
  }

  #delete(id: string | number, waiting: W): void {
    this.#waiting.delete(id);
    if (this.#first === id) this.#first = undefined;
    this.#droppable.delete(id);
    this.#tally(waiting, -1);
  }

  #tally(waiting: W, sign: 1 | -1): void {
    this.#all.add(waiting, sign);
    if (!waiting.isCarried) this.#own.add(waiting, sign);
  }
}

/** What the latest of a key is filed under; no number is. */
function idOf(key: string): string {
  return `key ${key}`;
}
