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
import {
  MAX_DELAY_MS,
  startTimer,
  type Timer,
  withTimeout,
} from "../util/timer.ts";

/** What a journal needs of its server. */
export interface Desk {
  /**
   * Sends to those who are here.
   *
   * @param entry What to send, and to whom.
   */
  deliver(entry: StoredMessage): void;
  /**
   * Tells clients where they stand.
   *
   * @param room Those who are in a room; all if none is named.
   * @param recovered False if they may have missed something.
   */
  stand(room?: string, recovered?: false): void;
  /** Hears that the other servers miss a message. */
  lost(): void;
  /**
   * Hears of an error.
   *
   * @param error The error.
   */
  failed(error: unknown): void;
}

/** How long a broker that fails to take a message may take to be told as away. */
const GRACE = 100;

/** How long what is sent may take to come back, in milliseconds. */
const PATIENCE = 1_000;

/** How often at most a journal that is quiet writes a mark, in milliseconds. */
const QUIET = 1_000;

/** Which message was the last one. */
interface Mark {
  readonly channel: string;
  readonly offset: number;
  readonly from: string;
  readonly id: number;
}

/** A message that has come back. */
interface Returned extends SequencedBroadcast, StoredMessage {}

/** A message that has not come back yet. */
interface Parcel {
  readonly posted: SequencedBroadcast;
  readonly channel: string;
  /** When it went to the broker for the first time; undefined if it did not. */
  sentAt: number | undefined;
  /** Whether the broker has it. */
  isKept: boolean;
  /** Whether it comes back: somebody here was in its room when it was sent. */
  isAwaited: boolean;
  /** Whether it was delivered here before it came back. */
  isAhead: boolean;
}

/** One server's way to a broker that keeps messages. */
export class Journal implements MessageStore {
  readonly #log: Log;
  readonly #limits: Required<HistoryOptions>;
  readonly #keep: number;
  readonly #name: string;
  readonly #desk: Desk;
  /** What is subscribed to. */
  readonly #channels = new Set<string>([ALL_CHANNEL]);
  /** When it hears what is for all, and what is for this server alone. */
  #listening: Promise<unknown> = RESOLVED;
  /** Subscriptions that the broker may not know of yet. */
  readonly #entering = new Map<string, Promise<void>>();
  /** What this server has sent, until it comes back. */
  readonly #pending = new Map<number, Parcel>();
  /** How many of them were delivered here already. */
  #leading = 0;
  /** What comes while something from before is still to come. */
  #behind: Returned[] | undefined;
  /** What it has not taken, until it is clear that it is there all the same. */
  readonly #refused: { parcel: Parcel; error: unknown }[] = [];
  #grace: Timer | undefined;
  /** Goes off when nothing of what was sent comes back. */
  #patience: Timer | undefined;
  /** Whether it does not: then this server does not wait for it. */
  #isStalled = false;
  /** Lets the last mark never be so old that the broker has forgotten it. */
  #pulse: Timer | undefined;
  /** When all that was missed has been delivered. */
  #caughtUp: Promise<void> = RESOLVED;
  #opening: PromiseWithResolvers<void> | undefined = Promise.withResolvers();
  #epoch: string | undefined;
  /** The epoch when the broker was there last. */
  #lastEpoch: string | undefined;
  #offset = 0;
  /** What came last of what is kept. */
  #last: Mark | undefined;
  /** Which time it is that the broker is there, or away. */
  #turn = 0;
  readonly #marks = new Map<number, PromiseWithResolvers<void>>();
  #markCount = 0;
  #lastMark: Promise<void> = RESOLVED;
  #nextMark: Promise<void> | undefined;

  /**
   * Begins without the broker.
   *
   * @param log What keeps messages.
   * @param limits How many to keep.
   * @param keep How many to send later that were sent while the broker was away.
   * @param name The name of this server.
   * @param desk The server.
   */
  constructor(
    log: Log,
    limits: Required<HistoryOptions>,
    keep: number,
    name: string,
    desk: Desk,
  ) {
    this.#log = log;
    this.#limits = limits;
    this.#keep = keep;
    this.#name = name;
    this.#desk = desk;
  }

  /**
   * What the numbers belong to; undefined while the broker is away, and while clients
   * have got what has no number yet.
   */
  get epoch(): string | undefined {
    return this.#leading > 0 ? undefined : this.#epoch;
  }

  /** Resolves when the broker is there for the first time; undefined afterwards. */
  get opening(): Promise<void> | undefined {
    return this.#opening?.promise;
  }

  /** All up to this has been delivered here. */
  get offset(): number {
    return this.#offset;
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
    const parcel = {
      posted: broadcast,
      channel,
      sentAt: undefined,
      isKept: false,
      isAwaited: false,
      isAhead: false,
    };
    this.#pending.set(broadcast.id, parcel);
    if (this.#epoch === undefined) {
      this.#deliverAhead(parcel);
      this.#trim();
      return;
    }
    if (this.#isStalled) this.#deliverAhead(parcel);
    this.#append(parcel);
    this.#patience ??= startTimer(() => this.#stall(), PATIENCE);
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
      if (!this.#behind) this.#pass(channel, { ...broadcast, offset });
      this.#marks.get(broadcast.id)?.resolve();
    } else if (this.#behind) this.#behind.push({ ...broadcast, offset });
    else this.#take({ ...broadcast, offset });
  }

  /**
   * It is subscribed to what is for all, and to what is for this server alone.
   *
   * @param subscribed When the broker knows; it never rejects.
   */
  listen(subscribed: Promise<unknown>): void {
    this.#listening = subscribed;
  }

  /**
   * Somebody here is in a room now.
   *
   * @param room The room.
   * @param subscribed When the broker knows; undefined if it does already.
   */
  enter(room: string, subscribed: Promise<void> | undefined): void {
    const channel = roomChannel(room);
    this.#channels.add(channel);
    if (!subscribed) return this.#standAgain(room);
    const before = this.#entering.get(channel);
    const entered = Promise.all([before, subscribed]).then(() => {});
    this.#entering.set(channel, entered);
    // What waits for it goes on right after this, so that nothing can overtake it.
    entered.then(() => {
      if (this.#entering.get(channel) === entered) {
        this.#entering.delete(channel);
      }
    });
    entered.then(() => this.#standAgain(room));
  }

  /**
   * Nobody here is in a room any more.
   *
   * @param room The room.
   */
  leave(room: string): void {
    const channel = roomChannel(room);
    this.#channels.delete(channel);
    for (const [id, parcel] of this.#pending) {
      if (parcel.channel !== channel) continue;
      parcel.isAwaited = false;
      if (parcel.isKept) this.#settled(id);
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
    const turn = this.#turn;
    // Else that would come once more.
    await this.#caughtUp;
    await Promise.all(channels.map((one) => this.#entering.get(one)));
    const missed = await this.#readAll(channels, after);
    await this.#mark();
    return turn === this.#turn ? missed : undefined;
  }

  /**
   * Hears that the broker is there.
   *
   * @returns A promise that resolves when messages go there, with true; with false if
   * the broker was away again before. It rejects if the broker keeps none.
   */
  async up(): Promise<boolean> {
    const turn = ++this.#turn;
    let epoch: string;
    try {
      epoch = await this.#log.open(this.#limits);
    } catch (error) {
      if (turn !== this.#turn) return false;
      throw error;
    }
    if (turn !== this.#turn) return false;
    const lastEpoch = this.#lastEpoch;
    this.#lastEpoch = this.#epoch = epoch;
    // What it has missed has to come before what is new.
    if (lastEpoch === epoch) this.#behind = [];
    else {
      this.#offset = 0;
      this.#last = undefined;
    }
    // Of what it may have kept, it still has to know that.
    const isSame = lastEpoch === epoch;
    this.#dropOld(isSame ? performance.now() - this.#limits.maxAge : Infinity);
    const late = [...this.#pending.values()];
    for (const parcel of late) this.#append(parcel);
    this.#caughtUp = ignoreRejection(this.#catchUp(turn, lastEpoch, late));
    this.#pulse = setInterval(
      () => ignoreRejection(this.#mark()),
      Math.min(Math.max(this.#limits.maxAge / 2, QUIET), MAX_DELAY_MS),
    );
    this.#opening?.resolve();
    this.#opening = undefined;
    return true;
  }

  /** Hears that the broker is away. */
  down(): void {
    this.#turn++;
    this.#epoch = undefined;
    this.#behind = undefined;
    this.#isStalled = false;
    this.#rest();
    clearInterval(this.#pulse);
    clearTimeout(this.#grace);
    this.#grace = undefined;
    this.#refused.length = 0; // they go when it is back
    const error = new Error("The broker is away");
    for (const { promise, reject } of this.#marks.values()) {
      ignoreRejection(promise);
      reject(error);
    }
    this.#marks.clear();
    for (const parcel of this.#pending.values()) this.#deliverAhead(parcel);
    this.#trim();
  }

  /**
   * Waits until what was sent has come back, and so was delivered here.
   *
   * @param patience How long at most, in milliseconds.
   */
  async settle(patience: number): Promise<void> {
    if (this.#epoch === undefined) return;
    await withTimeout(patience, this.#mark().catch(() => {}));
  }

  /** Delivers what was sent while the broker was away, and then goes on. */
  async #catchUp(
    turn: number,
    lastEpoch: string | undefined,
    late: readonly Parcel[],
  ): Promise<void> {
    const after = this.#offset;
    const last = this.#last;
    let missed: readonly Returned[] | undefined = [];
    try {
      // What comes from now on is heard; what came before is read.
      await Promise.all(this.#entering.values());
      await this.#mark();
      if (this.#behind) missed = await this.#readAll(this.#channels, after);
      if (last && !await this.#isIntact(last)) missed = undefined;
      await this.#mark();
    } catch (error) {
      if (turn === this.#turn) this.#desk.failed(error);
      missed = undefined;
    }
    if (turn !== this.#turn) return;
    const come = inOrder([...missed ?? [], ...this.#behind ?? []]);
    this.#behind = undefined;
    for (const entry of come) this.#take(entry);
    // What has been kept and has not come by now is among what could not be read.
    for (const { isKept, posted: broadcast } of late) {
      if (isKept) this.#settled(broadcast.id);
    }
    const isWhole = missed !== undefined &&
      (lastEpoch === undefined || lastEpoch === this.#epoch);
    if (isWhole) this.#desk.stand();
    else this.#desk.stand(undefined, false);
  }

  async #readAll(
    channels: Iterable<string>,
    after: number,
  ): Promise<readonly Returned[] | undefined> {
    // One more than are promised: who has missed them all knows that they are all.
    const limit = this.#limits.messages + 1;
    const lists = await Promise.all(
      Array.from(channels, (one) => this.#log.read(one, after, limit)),
    );
    if (lists.some(({ length }) => length >= limit)) return undefined;
    return inOrder(
      lists.flat().flatMap(({ offset, message }) => {
        const broadcast = decodeEnvelope(message);
        return broadcast ? [{ ...broadcast, offset }] : [];
      }),
    );
  }

  /** Whether the broker still has what came last: then it has all before that. */
  async #isIntact({ channel, offset, from, id }: Mark): Promise<boolean> {
    const [kept] = await this.#log.read(channel, offset - 1, 1);
    if (kept?.offset !== offset) return false;
    const broadcast = decodeEnvelope(kept.message);
    return broadcast?.from === from && broadcast.id === id;
  }

  #pass(channel: string, { offset, from, id }: Returned): void {
    this.#offset = offset;
    this.#last = { channel, offset, from, id };
  }

  /** A message has come, and it is its turn. */
  #take(entry: Returned): void {
    this.#pass(channelFor(entry.target.rooms), entry);
    if (entry.from === this.#name) {
      const parcel = this.#pending.get(entry.id);
      this.#settled(entry.id);
      // Those who were here have got it, if anybody was.
      if (!parcel || parcel.isAhead) return;
    }
    this.#desk.deliver(entry);
  }

  #append(parcel: Parcel): void {
    const entering = this.#entering.get(parcel.channel);
    if (entering) ignoreRejection(entering.then(() => this.#appendNow(parcel)));
    else ignoreRejection(this.#appendNow(parcel));
  }

  async #appendNow(parcel: Parcel): Promise<void> {
    const { posted: broadcast, channel } = parcel;
    const { from, id } = broadcast;
    if (this.#epoch === undefined) return; // it goes when the broker is back
    if (!this.#pending.has(id)) return; // it was let go meanwhile
    const turn = this.#turn;
    parcel.sentAt ??= performance.now();
    parcel.isAwaited = this.#channels.has(channel);
    try {
      await this.#log.append(channel, { from, id }, encodeEnvelope(broadcast));
      parcel.isKept = true;
      if (!parcel.isAwaited) this.#settled(id);
    } catch (error) {
      if (turn === this.#turn) this.#refuse(parcel, error);
    }
  }

  /** The broker has not taken a message. If it is away, that is told in a moment. */
  #refuse(parcel: Parcel, error: unknown): void {
    this.#refused.push({ parcel, error });
    this.#grace ??= startTimer(() => {
      this.#grace = undefined;
      for (const { parcel, error } of this.#refused.splice(0)) {
        if (!this.#pending.has(parcel.posted.id)) continue;
        this.#deliverAhead(parcel);
        this.#settled(parcel.posted.id);
        this.#desk.lost();
        this.#desk.failed(error);
      }
      this.#standAgain();
    }, GRACE);
  }

  /** Delivers here what does not come back for now. */
  #deliverAhead(parcel: Parcel): void {
    if (parcel.isAhead) return;
    parcel.isAhead = true;
    this.#leading++;
    // Who has come since it was sent must not get it.
    if (parcel.sentAt !== undefined && !parcel.isAwaited) return;
    this.#desk.deliver({ ...parcel.posted, offset: 0 });
  }

  /** A message has come back, or does not have to. */
  #settled(id: number): void {
    const parcel = this.#pending.get(id);
    if (!parcel) return;
    this.#forget(id, parcel);
    this.#rest();
    if (this.#pending.size > 0) {
      this.#patience = startTimer(() => this.#stall(), PATIENCE);
    }
    const { sentAt = 0, isAhead } = parcel;
    if (performance.now() - sentAt < PATIENCE || this.#pending.size === 0) {
      this.#isStalled = false;
    }
    if (isAhead && this.#leading === 0) this.#standAgain();
  }

  /** Nothing more is to become of a message. */
  #forget(id: number, { isAhead }: Parcel): void {
    this.#pending.delete(id);
    if (isAhead) this.#leading--;
  }

  /** Those who have got what was not kept have to be told where they stand. */
  #standAgain(room?: string): void {
    ignoreRejection(this.#mark().then(() => this.#desk.stand(room)));
  }

  #rest(): void {
    clearTimeout(this.#patience);
    this.#patience = undefined;
  }

  /** The broker takes its time. Clients of this server do not have to wait for it. */
  #stall(): void {
    this.#patience = undefined;
    this.#isStalled = true;
    for (const parcel of this.#pending.values()) this.#deliverAhead(parcel);
  }

  /** Lets the oldest go, of what is to be sent later. */
  #trim(): void {
    for (const [id, parcel] of this.#pending) {
      if (this.#pending.size <= this.#keep) break;
      this.#lose(id, parcel);
    }
  }

  /** Lets those go that went to the broker before a time: others may have them. */
  #dropOld(oldest: number): void {
    for (const [id, parcel] of this.#pending) {
      if ((parcel.sentAt ?? oldest) < oldest) this.#lose(id, parcel);
    }
  }

  #lose(id: number, parcel: Parcel): void {
    this.#forget(id, parcel);
    this.#desk.lost();
  }

  /** Resolves when all that was sent before has come. */
  #mark(): Promise<void> {
    return this.#nextMark ??= this.#lastMark.then(() => {
      this.#nextMark = undefined;
      const mark = this.#sendMark();
      this.#lastMark = mark.catch(() => {});
      return mark;
    });
  }

  async #sendMark(): Promise<void> {
    await this.#listening;
    if (this.#epoch === undefined) throw new Error("The broker is away");
    const id = ++this.#markCount;
    const mark = Promise.withResolvers<void>();
    this.#marks.set(id, mark);
    const target = { except: [] };
    const broadcast = { from: this.#name, id, target, body: "", options: {} };
    const appended = this.#log.append(
      this.channel,
      { from: this.#name, id },
      encodeEnvelope(broadcast),
    );
    try {
      await Promise.all([appended, mark.promise]);
    } finally {
      this.#marks.delete(id);
    }
  }
}

/** Each once. */
function inOrder(entries: readonly Returned[]): Returned[] {
  const all = new Map(entries.map((entry) => [entry.offset, entry]));
  return [...all.values()].sort((a, b) => a.offset - b.offset);
}
