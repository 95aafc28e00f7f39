/**
 * Sends what is for rooms and for all by way of a broker that keeps it: what comes back
 * from there, in its order, is what is delivered, here as on all other servers. So a
 * client may lose one server, and go on at another one where it was.
 *
 * While the broker is away, what is sent is delivered here at once, and is not kept yet.
 *
 * @module
 */

import type { Log } from "./adapter.ts";
import type { ClusterHost } from "./cluster_host.ts";
import {
  ALL_CHANNEL,
  decodeEnvelope,
  encodeEnvelope,
  roomChannel,
  type SequencedBroadcast,
} from "../history/envelope.ts";
import { ignoreRejection, RESOLVED } from "../events/errors.ts";
import {
  channelFor,
  type HistoryOptions,
  type MessageStore,
  type StoredMessage,
} from "../history/message_store.ts";
import { ResumeTokens } from "../history/resume_tokens.ts";
import {
  MAX_DELAY_MS,
  startTimer,
  type Timer,
  withTimeout,
} from "../util/timer.ts";

/** The part of the host that a broker log calls. */
type BrokerHost = Pick<
  ClusterHost,
  "deliver" | "sendPositions" | "messageMissed" | "failed"
>;

/** How long a broker that fails to take a message may take to be told as away. */
const REFUSAL_GRACE_MS = 100;

/** How long what is sent may take to come back, in milliseconds. */
const RETURN_TIMEOUT_MS = 1_000;

/** How often at most a broker log that is quiet writes a mark, in milliseconds. */
const MIN_BARRIER_MS = 1_000;

/** Which message was the last one. */
interface LastMessage {
  readonly channel: string;
  readonly offset: number;
  readonly from: string;
  readonly id: number;
}

/** A message that has come back. */
interface ReturnedBroadcast extends SequencedBroadcast, StoredMessage {}

/** A message that has not come back yet. */
interface PendingBroadcast {
  readonly broadcast: SequencedBroadcast;
  readonly channel: string;
  /** When it went to the broker for the first time; undefined if it did not. */
  sentAt: number | undefined;
  /** Whether the broker has it. */
  isStored: boolean;
  /** Whether it comes back: somebody here was in its room when it was sent. */
  isAwaited: boolean;
  /** Whether it was delivered here before it came back. */
  isDeliveredAhead: boolean;
}

/** One server's way to a broker that keeps messages. */
export class BrokerLog implements MessageStore {
  readonly #log: Log;
  readonly #limits: Required<HistoryOptions>;
  readonly #maxPending: number;
  readonly #name: string;
  readonly #host: BrokerHost;
  /** What is subscribed to. */
  readonly #channels = new Set<string>([ALL_CHANNEL]);
  /** When it hears what is for all, and what is for this server alone. */
  #subscribed: Promise<unknown> = RESOLVED;
  /** Subscriptions that the broker may not know of yet. */
  readonly #pendingSubscriptions = new Map<string, Promise<void>>();
  /**
   * Channels that somebody here has joined, and what to do to pass a barrier. Then all
   * that was sent before is older than the offset.
   */
  readonly #openings = new Map<string, () => void>();
  /** What this server has sent, until it comes back. */
  readonly #pending = new Map<number, PendingBroadcast>();
  /** How many of them were delivered here already. */
  #deliveredAhead = 0;
  /** What comes while something from before is still to come. */
  #buffered: ReturnedBroadcast[] | undefined;
  /** The last mark that has come meanwhile. */
  #reached: ReturnedBroadcast | undefined;
  /** What it has not taken, until it is clear that it is there all the same. */
  readonly #refusedByBroker: { pending: PendingBroadcast; error: unknown }[] =
    [];
  #refusalTimer: Timer | undefined;
  /** Goes off when nothing of what was sent comes back. */
  #returnTimer: Timer | undefined;
  /** Whether it does not: then this server does not wait for it. */
  #isStalled = false;
  /** Lets the last mark never be so old that the broker has forgotten it. */
  #barrierTimer: Timer | undefined;
  /** When all that was missed has been delivered. */
  #caughtUp: Promise<void> = RESOLVED;
  #opening: PromiseWithResolvers<void> | undefined = Promise.withResolvers();
  #epoch: string | undefined;
  #tokens: ResumeTokens | undefined;
  /** The epoch when the broker was there last. */
  #lastEpoch: string | undefined;
  #offset = 0;
  /** What came last of what is kept. */
  #lastMessage: LastMessage | undefined;
  /** Which time it is that the broker is there, or away. */
  #generation = 0;
  readonly #barriers = new Map<number, PromiseWithResolvers<void>>();
  #lastBarrierId = 0;
  #lastBarrier: Promise<void> = RESOLVED;
  #nextBarrier: Promise<void> | undefined;

  /**
   * Begins without the broker.
   *
   * @param log What keeps messages.
   * @param limits How many to keep.
   * @param maxPending How many to send later that were sent while the broker was away.
   * @param name The name of this server.
   * @param host The server.
   */
  constructor(
    log: Log,
    limits: Required<HistoryOptions>,
    maxPending: number,
    name: string,
    host: BrokerHost,
  ) {
    this.#log = log;
    this.#limits = limits;
    this.#maxPending = maxPending;
    this.#name = name;
    this.#host = host;
  }

  /**
   * What the numbers belong to; undefined while the broker is away, until the number of
   * the last message is known, and while clients have got what has no number yet.
   */
  get epoch(): string | undefined {
    return this.#deliveredAhead > 0 || this.#offset === 0
      ? undefined
      : this.#epoch;
  }

  /** Signs and checks where clients stand, on all servers of the same broker. */
  get tokens(): ResumeTokens | undefined {
    return this.#tokens;
  }

  /** Resolves when the broker is there for the first time; undefined afterwards. */
  get opening(): Promise<void> | undefined {
    return this.#opening?.promise;
  }

  /** All up to this has been delivered here. */
  get offset(): number {
    return this.#offset;
  }

  /**
   * Whether all that was sent to a room before somebody here joined it is older than
   * the offset.
   *
   * @param room The room.
   */
  isCurrent(room: string): boolean {
    return !this.#openings.has(roomChannel(room));
  }

  /** The channel of this server alone. */
  get channel(): string {
    return `server ${this.#name}`;
  }

  /**
   * Sends a message.
   *
   * @param broadcast The message.
   */
  send(broadcast: SequencedBroadcast): void {
    const channel = channelFor(broadcast.target.rooms);
    const pending = {
      broadcast: broadcast,
      channel,
      sentAt: undefined,
      isStored: false,
      isAwaited: false,
      isDeliveredAhead: false,
    };
    this.#pending.set(broadcast.id, pending);
    if (this.#epoch === undefined) {
      this.#deliverAhead(pending);
      this.#dropExcess();
      return;
    }
    if (this.#isStalled) this.#deliverAhead(pending);
    this.#append(pending);
    this.#returnTimer ??= startTimer(
      () => this.#deliverStalled(),
      RETURN_TIMEOUT_MS,
    );
  }

  /**
   * Hears of a message.
   *
   * @param channel The channel that it has come by.
   * @param broadcast The message.
   * @param offset Where it stands.
   */
  receive(
    channel: string,
    broadcast: SequencedBroadcast,
    offset: number,
  ): void {
    if (this.#epoch === undefined) return; // it is read again
    if (channel === this.channel) {
      if (this.#buffered) this.#reached = { ...broadcast, offset };
      else this.#advance(channel, { ...broadcast, offset });
      this.#barriers.get(broadcast.id)?.resolve();
    } else if (this.#buffered) this.#buffered.push({ ...broadcast, offset });
    else this.#deliverNext({ ...broadcast, offset });
  }

  /**
   * It is subscribed to what is for all, and to what is for this server alone.
   *
   * @param subscribed When the broker knows; it never rejects.
   */
  listening(subscribed: Promise<unknown>): void {
    this.#subscribed = subscribed;
  }

  /**
   * Somebody here is in a room now.
   *
   * @param room The room.
   * @param subscribed When the broker knows; undefined if it does already.
   */
  roomOpened(room: string, subscribed: Promise<void> | undefined): void {
    const channel = roomChannel(room);
    this.#channels.add(channel);
    const sendPositions = () => {
      if (this.#openings.get(channel) !== sendPositions) return; // it was left
      ignoreRejection(
        this.#passBarrier().then(() => {
          if (this.#buffered) return; // it is done again
          if (this.#openings.get(channel) === sendPositions) {
            this.#openings.delete(channel);
          }
          this.#host.sendPositions(room);
        }),
      );
    };
    this.#openings.set(channel, sendPositions);
    if (!subscribed) return sendPositions();
    const before = this.#pendingSubscriptions.get(channel);
    const entered = Promise.all([before, subscribed]).then(() => {});
    this.#pendingSubscriptions.set(channel, entered);
    // What waits for it goes on right after this, so that nothing can overtake it.
    entered.then(() => {
      if (this.#pendingSubscriptions.get(channel) === entered) {
        this.#pendingSubscriptions.delete(channel);
      }
    });
    entered.then(sendPositions);
  }

  /**
   * Nobody here is in a room any more.
   *
   * @param room The room.
   */
  roomClosed(room: string): void {
    const channel = roomChannel(room);
    this.#channels.delete(channel);
    this.#openings.delete(channel);
    for (const [id, pending] of this.#pending) {
      if (pending.channel !== channel) continue;
      pending.isAwaited = false;
      if (pending.isStored) this.#settle(id);
    }
  }

  /**
   * What is kept of some rooms, as {@linkcode MessageStore.read}: all that was sent there
   * before this resolves has been delivered here, or is part of it.
   *
   * @param rooms The rooms.
   * @param after Where to begin.
   * @returns The messages; undefined also if the broker was away meanwhile. It rejects
   * if it is away.
   */
  async read(
    rooms: readonly string[],
    after: number,
  ): Promise<readonly StoredMessage[] | undefined> {
    const channels = [ALL_CHANNEL, ...rooms.map(roomChannel)];
    const generation = this.#generation;
    // Else that would come once more.
    await this.#caughtUp;
    await Promise.all(
      channels.map((one) => this.#pendingSubscriptions.get(one)),
    );
    const missed = await this.#readAll(channels, after);
    await this.#passBarrier();
    return generation === this.#generation ? missed : undefined;
  }

  /**
   * Hears that the broker is there.
   *
   * @returns A promise that resolves when messages go there, with true; with false if
   * the broker was away again before. It rejects if the broker keeps none.
   */
  async brokerUp(): Promise<boolean> {
    const generation = ++this.#generation;
    let secret: string;
    try {
      secret = await this.#log.open(this.#limits);
    } catch (error) {
      if (generation !== this.#generation) return false;
      throw error;
    }
    if (generation !== this.#generation) return false;
    // The broker's name for what it has is known to servers only. Clients get another.
    const tokens = this.#tokens = new ResumeTokens(secret);
    const { epoch } = tokens;
    const lastEpoch = this.#lastEpoch;
    this.#lastEpoch = this.#epoch = epoch;
    // What it has missed has to come before what is new.
    if (lastEpoch === epoch) this.#buffered = [];
    else {
      this.#offset = 0;
      this.#lastMessage = undefined;
    }
    // Of what it may have kept, it still has to know that.
    const isSame = lastEpoch === epoch;
    this.#dropExpired(
      isSame ? performance.now() - this.#limits.maxAge : Infinity,
    );
    const unsettled = [...this.#pending.values()];
    for (const pending of unsettled) this.#append(pending);
    this.#caughtUp = ignoreRejection(
      this.#replay(generation, lastEpoch, unsettled),
    );
    this.#barrierTimer = setInterval(
      () => ignoreRejection(this.#passBarrier()),
      Math.min(Math.max(this.#limits.maxAge / 2, MIN_BARRIER_MS), MAX_DELAY_MS),
    );
    this.#opening?.resolve();
    this.#opening = undefined;
    return true;
  }

  /** Hears that the broker is away. */
  brokerDown(): void {
    this.#generation++;
    this.#epoch = undefined;
    this.#buffered = undefined;
    this.#reached = undefined;
    this.#isStalled = false;
    this.#stopReturnTimer();
    clearInterval(this.#barrierTimer);
    clearTimeout(this.#refusalTimer);
    this.#refusalTimer = undefined;
    this.#refusedByBroker.length = 0; // they go when it is back
    const error = new Error("The broker is away");
    for (const { promise, reject } of this.#barriers.values()) {
      ignoreRejection(promise);
      reject(error);
    }
    this.#barriers.clear();
    for (const pending of this.#pending.values()) this.#deliverAhead(pending);
    this.#dropExcess();
  }

  /**
   * Waits until what was sent has come back, and so was delivered here.
   *
   * @param timeout How long at most, in milliseconds.
   */
  async settle(timeout: number): Promise<void> {
    if (this.#epoch === undefined) return;
    await withTimeout(timeout, this.#passBarrier().catch(() => {}));
  }

  /** Delivers what was sent while the broker was away, and then goes on. */
  async #replay(
    generation: number,
    lastEpoch: string | undefined,
    unsettled: readonly PendingBroadcast[],
  ): Promise<void> {
    const after = this.#offset;
    const last = this.#lastMessage;
    let missed: readonly ReturnedBroadcast[] | undefined = [];
    try {
      // What comes from now on is heard; what came before is read.
      await Promise.all(this.#pendingSubscriptions.values());
      await this.#passBarrier();
      if (this.#buffered) missed = await this.#readAll(this.#channels, after);
      if (last && !await this.#hasMessage(last)) missed = undefined;
      await this.#passBarrier();
    } catch (error) {
      if (generation === this.#generation) this.#host.failed(error);
      missed = undefined;
    }
    if (generation !== this.#generation) return;
    const received = orderReturned([...missed ?? [], ...this.#buffered ?? []]);
    this.#buffered = undefined;
    for (const entry of received) this.#deliverNext(entry);
    const reached = this.#reached;
    this.#reached = undefined;
    // All that was sent before this mark was read or heard by now.
    if (reached && reached.offset > this.#offset) {
      this.#advance(this.channel, reached);
    }
    // What has been kept and has not come by now is among what could not be read.
    for (const { isStored, broadcast: broadcast } of unsettled) {
      if (isStored) this.#settle(broadcast.id);
    }
    const isWhole = missed !== undefined &&
      (lastEpoch === undefined || lastEpoch === this.#epoch);
    if (isWhole) this.#host.sendPositions();
    else this.#host.sendPositions(undefined, false);
    for (const [channel, sendPositions] of this.#openings) {
      if (!this.#pendingSubscriptions.has(channel)) sendPositions();
    }
  }

  async #readAll(
    channels: Iterable<string>,
    after: number,
  ): Promise<readonly ReturnedBroadcast[] | undefined> {
    // One more than are promised: who has missed them all knows that they are all.
    const limit = this.#limits.messages + 1;
    const lists = await Promise.all(
      Array.from(channels, (one) => this.#log.read(one, after, limit)),
    );
    if (lists.some(({ length }) => length >= limit)) return undefined;
    return orderReturned(
      lists.flat().flatMap(({ offset, message }) => {
        const broadcast = decodeEnvelope(message);
        return broadcast ? [{ ...broadcast, offset }] : [];
      }),
    );
  }

  /** Whether the broker still has what came last: then it has all before that. */
  async #hasMessage(
    { channel, offset, from, id }: LastMessage,
  ): Promise<boolean> {
    const [stored] = await this.#log.read(channel, offset - 1, 1);
    if (stored?.offset !== offset) return false;
    const broadcast = decodeEnvelope(stored.message);
    return broadcast?.from === from && broadcast.id === id;
  }

  #advance(channel: string, { offset, from, id }: ReturnedBroadcast): void {
    this.#offset = offset;
    this.#lastMessage = { channel, offset, from, id };
  }

  /** A message has come, and it is its turn. */
  #deliverNext(entry: ReturnedBroadcast): void {
    this.#advance(channelFor(entry.target.rooms), entry);
    if (entry.from === this.#name) {
      const pending = this.#pending.get(entry.id);
      this.#settle(entry.id);
      // Those who were here have got it, if anybody was.
      if (!pending || pending.isDeliveredAhead) return;
    }
    this.#host.deliver(entry, entry.offset);
  }

  #append(pending: PendingBroadcast): void {
    const entering = this.#pendingSubscriptions.get(pending.channel);
    if (entering) {
      ignoreRejection(entering.then(() => this.#appendNow(pending)));
    } else ignoreRejection(this.#appendNow(pending));
  }

  async #appendNow(pending: PendingBroadcast): Promise<void> {
    const { broadcast: broadcast, channel } = pending;
    const { from, id } = broadcast;
    if (this.#epoch === undefined) return; // it goes when the broker is back
    if (!this.#pending.has(id)) return; // it was let go meanwhile
    const generation = this.#generation;
    pending.sentAt ??= performance.now();
    pending.isAwaited = this.#channels.has(channel);
    try {
      await this.#log.append(channel, { from, id }, encodeEnvelope(broadcast));
      pending.isStored = true;
      if (!pending.isAwaited) this.#settle(id);
    } catch (error) {
      if (generation === this.#generation) this.#reportRefusal(pending, error);
    }
  }

  /** The broker has not taken a message. If it is away, that is told in a moment. */
  #reportRefusal(pending: PendingBroadcast, error: unknown): void {
    this.#refusedByBroker.push({ pending, error });
    this.#refusalTimer ??= startTimer(() => {
      this.#refusalTimer = undefined;
      for (const { pending, error } of this.#refusedByBroker.splice(0)) {
        if (!this.#pending.has(pending.broadcast.id)) continue;
        this.#deliverAhead(pending);
        this.#settle(pending.broadcast.id);
        this.#host.messageMissed();
        this.#host.failed(error);
      }
      this.#sendPositionsSoon();
    }, REFUSAL_GRACE_MS);
  }

  /** Delivers here what does not come back for now. */
  #deliverAhead(pending: PendingBroadcast): void {
    if (pending.isDeliveredAhead) return;
    pending.isDeliveredAhead = true;
    this.#deliveredAhead++;
    // Who has come since it was sent must not get it.
    if (pending.sentAt !== undefined && !pending.isAwaited) return;
    this.#host.deliver(pending.broadcast, 0);
  }

  /** A message has come back, or does not have to. */
  #settle(id: number): void {
    const pending = this.#pending.get(id);
    if (!pending) return;
    this.#forget(id, pending);
    this.#stopReturnTimer();
    if (this.#pending.size > 0) {
      this.#returnTimer = startTimer(
        () => this.#deliverStalled(),
        RETURN_TIMEOUT_MS,
      );
    }
    const { sentAt = 0, isDeliveredAhead } = pending;
    if (
      performance.now() - sentAt < RETURN_TIMEOUT_MS || this.#pending.size === 0
    ) {
      this.#isStalled = false;
    }
    if (isDeliveredAhead && this.#deliveredAhead === 0) {
      this.#sendPositionsSoon();
    }
  }

  /** Nothing more is to become of a message. */
  #forget(id: number, { isDeliveredAhead }: PendingBroadcast): void {
    this.#pending.delete(id);
    if (isDeliveredAhead) this.#deliveredAhead--;
  }

  /** Those who have got what was not kept have to be told where they stand. */
  #sendPositionsSoon(): void {
    ignoreRejection(
      this.#passBarrier().then(() => this.#host.sendPositions()),
    );
  }

  #stopReturnTimer(): void {
    clearTimeout(this.#returnTimer);
    this.#returnTimer = undefined;
  }

  /** The broker takes its time. Clients of this server do not have to wait for it. */
  #deliverStalled(): void {
    this.#returnTimer = undefined;
    this.#isStalled = true;
    for (const pending of this.#pending.values()) this.#deliverAhead(pending);
  }

  /** Lets the oldest go, of what is to be sent later. */
  #dropExcess(): void {
    for (const [id, pending] of this.#pending) {
      if (this.#pending.size <= this.#maxPending) break;
      this.#drop(id, pending);
    }
  }

  /** Lets those go that went to the broker before a time: others may have them. */
  #dropExpired(oldest: number): void {
    for (const [id, pending] of this.#pending) {
      if ((pending.sentAt ?? oldest) < oldest) this.#drop(id, pending);
    }
  }

  #drop(id: number, pending: PendingBroadcast): void {
    this.#forget(id, pending);
    this.#host.messageMissed();
  }

  /** Resolves when all that was sent before has come. */
  #passBarrier(): Promise<void> {
    return this.#nextBarrier ??= this.#lastBarrier.then(() => {
      this.#nextBarrier = undefined;
      const barrier = this.#sendBarrier();
      this.#lastBarrier = barrier.catch(() => {});
      return barrier;
    });
  }

  async #sendBarrier(): Promise<void> {
    await this.#subscribed;
    if (this.#epoch === undefined) throw new Error("The broker is away");
    const id = ++this.#lastBarrierId;
    const barrier = Promise.withResolvers<void>();
    this.#barriers.set(id, barrier);
    const target = { except: [] };
    const broadcast = { from: this.#name, id, target, body: "", options: {} };
    const appended = this.#log.append(
      this.channel,
      { from: this.#name, id },
      encodeEnvelope(broadcast),
    );
    try {
      await Promise.all([appended, barrier.promise]);
    } finally {
      this.#barriers.delete(id);
    }
  }
}

/** Each once. */
function orderReturned(
  entries: readonly ReturnedBroadcast[],
): ReturnedBroadcast[] {
  const all = new Map(entries.map((entry) => [entry.offset, entry]));
  return [...all.values()].sort((a, b) => a.offset - b.offset);
}
