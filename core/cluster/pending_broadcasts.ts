/**
 * The messages that this server has sent to a broker's log and that have not come back
 * yet. Clients of this server normally get a message when it comes back. If the broker
 * is down or slow, they get it ahead of that.
 *
 * @module
 */

import type { SequencedBroadcast } from "../history/envelope.ts";
import { channelFor } from "../history/message_store.ts";
import { startTimer, type Timer } from "../util/timer.ts";
import { byteLengthOf } from "../values/codec.ts";
import type { ClusterHost } from "./cluster_host.ts";

/** The limit of pending bytes, in addition to the limit of messages while it is down. */
const MAX_PENDING_BYTES = 64 * 1024 * 1024;

/** The memory that a pending message takes beside its body, in bytes. */
const PENDING_COST = 1024;

/** A message that has not come back yet. */
export interface PendingBroadcast {
  readonly broadcast: SequencedBroadcast;
  readonly channel: string;
  /** When it was first sent to the broker; undefined if it was not. */
  sentAt: number | undefined;
  /** Whether the broker has stored it. */
  isStored: boolean;
  /** Whether it will come back: this server is subscribed to its channel. */
  isAwaited: boolean;
  /** Whether it has been delivered to local clients already. */
  isDeliveredAhead: boolean;
}

/** After this time without a message coming back, the broker counts as stalled. */
const RETURN_TIMEOUT_MS = 1_000;

/** The pending messages of one server. */
export class PendingBroadcasts {
  readonly #maxPending: number;
  readonly #host: Pick<ClusterHost, "deliver" | "messageMissed">;
  readonly #onCaughtUp: () => void;
  readonly #pending = new Map<number, PendingBroadcast>();
  #aheadCount = 0;
  /** The memory of the pending messages, in bytes. */
  #size = 0;
  /** Runs while something is pending; reset each time a message comes back. */
  #returnTimer: Timer | undefined;
  #isStalled = false;

  /**
   * @param maxPending The number of messages to keep while the broker is down.
   * @param onCaughtUp Called when the last message that was delivered ahead has come
   * back.
   */
  constructor(
    maxPending: number,
    host: Pick<ClusterHost, "deliver" | "messageMissed">,
    onCaughtUp: () => void,
  ) {
    this.#maxPending = maxPending;
    this.#host = host;
    this.#onCaughtUp = onCaughtUp;
  }

  /** Whether local clients have received messages that have no offset yet. */
  get isAhead(): boolean {
    return this.#aheadCount > 0;
  }

  /** Whether the broker takes messages so slowly that no more may wait for it. */
  get isFull(): boolean {
    return this.#size > MAX_PENDING_BYTES;
  }

  get(id: number): PendingBroadcast | undefined {
    return this.#pending.get(id);
  }

  /** All pending messages, in the order in which they were sent. */
  list(): PendingBroadcast[] {
    return [...this.#pending.values()];
  }

  /** Adds a message that is about to be sent to the broker. */
  add(broadcast: SequencedBroadcast): PendingBroadcast {
    const pending = this.#add(broadcast);
    if (this.#isStalled) this.#deliverAhead(pending);
    this.#returnTimer ??= this.#startReturnTimer();
    return pending;
  }

  /** Adds a message while the broker is down, and delivers it to local clients. */
  addOffline(broadcast: SequencedBroadcast): void {
    this.#deliverAhead(this.#add(broadcast));
    this.#dropExcess();
  }

  /** Delivers a message to local clients only, after all that wait for the broker. */
  refuseNew(broadcast: SequencedBroadcast): void {
    this.#isStalled = true;
    this.#deliverAllAhead();
    this.#host.deliver(broadcast, 0);
    this.#host.messageMissed();
  }

  /** A message has come back, or will not come back. */
  settle(id: number): void {
    const pending = this.#pending.get(id);
    if (!pending) return;
    this.#remove(id, pending);
    this.#stopReturnTimer();
    if (this.#pending.size > 0) this.#returnTimer = this.#startReturnTimer();
    const { sentAt = 0, isDeliveredAhead } = pending;
    const isFast = performance.now() - sentAt < RETURN_TIMEOUT_MS;
    if (isFast || this.#pending.size === 0) this.#isStalled = false;
    if (isDeliveredAhead && this.#aheadCount === 0) this.#onCaughtUp();
  }

  /**
   * The broker has refused a message. It reaches local clients only.
   *
   * @returns Whether the message was still pending.
   */
  refused(pending: PendingBroadcast): boolean {
    const { id } = pending.broadcast;
    if (!this.#pending.has(id)) return false;
    this.#deliverAhead(pending);
    this.settle(id);
    this.#host.messageMissed();
    return true;
  }

  /** This server has unsubscribed from a channel: its messages will not come back. */
  channelClosed(channel: string): void {
    for (const [id, pending] of this.#pending) {
      if (pending.channel !== channel) continue;
      pending.isAwaited = false;
      if (pending.isStored) this.settle(id);
    }
  }

  /** The broker is down: delivers everything to local clients. */
  brokerDown(): void {
    this.#isStalled = false;
    this.#stopReturnTimer();
    this.#deliverAllAhead();
    this.#dropExcess();
  }

  /**
   * Drops messages that were first sent before a time. The broker may have stored them
   * and forgotten that it has, so sending them again could deliver them twice.
   */
  dropSentBefore(time: number): void {
    for (const [id, pending] of this.#pending) {
      if ((pending.sentAt ?? time) < time) this.#drop(id, pending);
    }
  }

  /**
   * Removes all messages, which are sent in another way. Those that the broker may have
   * published are dropped.
   *
   * @returns The messages in order; undefined where messages were dropped.
   */
  take(): (SequencedBroadcast | undefined)[] {
    const taken: (SequencedBroadcast | undefined)[] = [];
    for (const [id, pending] of this.#pending) {
      if (pending.sentAt === undefined) taken.push(pending.broadcast);
      else {
        this.#drop(id, pending);
        if (taken.length === 0 || taken.at(-1)) taken.push(undefined);
      }
    }
    this.#stopReturnTimer();
    this.#pending.clear();
    this.#aheadCount = this.#size = 0;
    return taken;
  }

  #add(broadcast: SequencedBroadcast): PendingBroadcast {
    const pending: PendingBroadcast = {
      broadcast,
      channel: channelFor(broadcast.target.rooms),
      sentAt: undefined,
      isStored: false,
      isAwaited: false,
      isDeliveredAhead: false,
    };
    this.#pending.set(broadcast.id, pending);
    this.#size += pendingSizeOf(broadcast);
    return pending;
  }

  #deliverAhead(pending: PendingBroadcast): void {
    if (pending.isDeliveredAhead) return;
    pending.isDeliveredAhead = true;
    this.#aheadCount++;
    // Nobody was in the room when it was sent. Clients that joined since must not get it.
    if (pending.sentAt !== undefined && !pending.isAwaited) return;
    this.#host.deliver(pending.broadcast, 0);
  }

  #deliverAllAhead(): void {
    for (const pending of this.#pending.values()) this.#deliverAhead(pending);
  }

  #startReturnTimer(): Timer | undefined {
    return startTimer(() => {
      this.#returnTimer = undefined;
      this.#isStalled = true;
      this.#deliverAllAhead();
    }, RETURN_TIMEOUT_MS);
  }

  #stopReturnTimer(): void {
    clearTimeout(this.#returnTimer);
    this.#returnTimer = undefined;
  }

  #dropExcess(): void {
    for (const [id, pending] of this.#pending) {
      if (this.#pending.size <= this.#maxPending && !this.isFull) break;
      this.#drop(id, pending);
    }
  }

  #drop(id: number, pending: PendingBroadcast): void {
    this.#remove(id, pending);
    // The other servers read the stored messages.
    if (!pending.isStored) this.#host.messageMissed();
  }

  #remove(id: number, pending: PendingBroadcast): void {
    const { broadcast, isDeliveredAhead } = pending;
    this.#pending.delete(id);
    this.#size -= pendingSizeOf(broadcast);
    if (isDeliveredAhead) this.#aheadCount--;
  }
}

function pendingSizeOf({ body }: SequencedBroadcast): number {
  return PENDING_COST + byteLengthOf(body);
}
