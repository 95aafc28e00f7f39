/**
 * Holds messages back that the peer has no room for, as it says itself.
 *
 * @module
 */

import {
  Backlog,
  type BacklogLimits,
  type Entry,
  type SendOptions,
} from "./backlog.ts";
import type { Frame } from "../values/codec.ts";
import { TRACE_PREFIX } from "../protocol/frames.ts";

/** What a message may cost before the peer has said anything. */
export const FIRST_CREDIT = 1024;

/** How much of a message costs one more. */
const STEP = 16 * 1024;

/**
 * What a message costs its receiver: 1, and 1 more for each 16 KiB. A text is counted
 * in UTF-16 code units, which both sides can tell without encoding it. What tells of a
 * trace costs nothing, as those who do not know it do not count it.
 *
 * @param frame What it holds.
 * @returns The cost.
 */
export function costOf(frame: Frame): number {
  if (typeof frame === "string" && frame.startsWith(TRACE_PREFIX)) return 0;
  const size = typeof frame === "string"
    ? frame.length
    : frame instanceof Blob
    ? frame.size
    : frame.byteLength;
  return 1 + Math.floor(size / STEP);
}

/** Lets so much pass as the peer says, and keeps the rest in order. */
export class Gate {
  readonly #limits: BacklogLimits;
  readonly #pass: (entry: Entry) => void;
  #limit: number = FIRST_CREDIT;
  #passed = 0;
  #backlog: Backlog | undefined;
  #onEmpty: (() => void) | undefined;

  /**
   * Creates a gate that is open.
   *
   * @param limits How much may wait.
   * @param pass Takes what has waited.
   */
  constructor(limits: BacklogLimits, pass: (entry: Entry) => void) {
    this.#limits = limits;
    this.#pass = pass;
  }

  /** How many bytes wait. */
  get size(): number {
    return this.#backlog?.size ?? 0;
  }

  /** About how many bytes of memory they take. */
  get memory(): number {
    return this.#backlog?.memory ?? 0;
  }

  /** How many messages were dropped. */
  get dropped(): number {
    return this.#backlog?.dropped ?? 0;
  }

  /**
   * Lets a message pass, if it may and none waits.
   *
   * @param frame The message.
   * @returns Whether it may.
   */
  admit(frame: Frame): boolean {
    if (this.#passed >= this.#limit || this.#isWaiting) return false;
    this.#passed += costOf(frame);
    return true;
  }

  /**
   * Takes back that a message has passed: it was dropped on its way, and the peer never
   * hears of it.
   *
   * @param cost What it has cost.
   */
  refund(cost: number): void {
    this.#passed -= cost;
  }

  /**
   * Keeps a message that may not pass.
   *
   * @param frame The message.
   * @param options What to do if it does not fit.
   * @param isCarried Whether it may go out by another connection.
   * @param held How many bytes wait elsewhere already.
   * @returns The message, and whether it waits now.
   */
  keep(
    frame: Frame,
    options: SendOptions | undefined,
    isCarried: boolean,
    held: number,
  ): { readonly entry: Entry; readonly isTaken: boolean } {
    this.#backlog ??= new Backlog(this.#limits);
    return this.#backlog.add(frame, options, isCarried, held);
  }

  /**
   * Drops a message that was not taken.
   *
   * @param entry The message.
   */
  drop(entry: Entry): void {
    this.#backlog?.drop(entry);
  }

  /**
   * Adds a message that has waited elsewhere.
   *
   * @param entry The message.
   */
  adopt(entry: Entry): void {
    if (this.admit(entry.frame)) return this.#pass(entry);
    this.#backlog ??= new Backlog(this.#limits);
    this.#backlog.adopt(entry);
  }

  /**
   * Hears what the peer has room for.
   *
   * @param limit What all messages may cost since the connection was opened.
   * @returns Whether something waited, and nothing does any more.
   */
  allow(limit: number): boolean {
    this.#limit = Math.max(this.#limit, limit);
    if (!this.#isWaiting) return false;
    for (
      let entry = this.#backlog?.first;
      entry && this.#passed < this.#limit;
      entry = this.#backlog?.first
    ) {
      this.#backlog?.shift();
      this.#passed += costOf(entry.frame);
      this.#pass(entry);
    }
    if (this.#isWaiting) return false;
    const onEmpty = this.#onEmpty;
    this.#onEmpty = undefined;
    onEmpty?.();
    return true;
  }

  /**
   * Calls back when nothing waits any more, at once if nothing does.
   *
   * @param action What to call.
   */
  whenEmpty(action: () => void): void {
    if (this.#isWaiting) this.#onEmpty = action;
    else action();
  }

  /**
   * Lets go of all that waits.
   *
   * @param why Makes what promises reject with that are not carried.
   * @returns What may go out by another connection, in order.
   */
  stop(why: () => Error): Entry[] {
    this.#onEmpty = undefined;
    return this.#backlog?.stop(why) ?? [];
  }

  get #isWaiting(): boolean {
    return this.#backlog !== undefined && !this.#backlog.isEmpty;
  }
}
