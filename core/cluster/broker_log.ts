/**
 * Sends broadcasts through a broker that stores them. Every server, including the
 * sender, delivers a message when it comes back from the broker, in the broker's order.
 * So a client that loses one server can continue on another.
 *
 * While the broker is down, a server delivers its own messages to its own clients at
 * once. They are stored later.
 *
 * @module
 */

import type { AdapterLog, AdapterLogLimits } from "./adapter.ts";
import { Barriers } from "./barriers.ts";
import type { ClusterHost } from "./cluster_host.ts";
import {
  findPosition,
  type LoggedBroadcast,
  type LogPosition,
  LogReader,
} from "./log_reader.ts";
import {
  type PendingBroadcast,
  PendingBroadcasts,
} from "./pending_broadcasts.ts";
import {
  ALL_CHANNEL,
  encodeEnvelope,
  roomChannel,
  type SequencedBroadcast,
} from "../history/envelope.ts";
import { ignoreRejection, RESOLVED } from "../events/errors.ts";
import type { HistoryOptions } from "../history/history_options.ts";
import {
  channelFor,
  type HistorySource,
  inLogOrder,
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

/**
 * How long to wait after the broker has refused a message, in milliseconds. If the
 * adapter reports in this time that the broker is down, the message is sent again later.
 */
const REFUSAL_GRACE_MS = 100;

/**
 * How long a message may be sent again after the broker was lost, in milliseconds. The
 * broker has to remember each message for that long.
 */
const MAX_RESEND_AGE_MS = 30_000;

/** The shortest interval between barriers of an idle server, in milliseconds. */
const MIN_BARRIER_INTERVAL_MS = 1_000;

/** One server's connection to the log of a broker. */
export class BrokerLog implements MessageStore {
  readonly #log: AdapterLog;
  readonly #limits: Required<HistoryOptions>;
  readonly #logLimits: AdapterLogLimits;
  #reader: LogReader;
  readonly #name: string;
  readonly #host: BrokerHost;
  /** The channels that this server is subscribed to. */
  readonly #channels = new Set<string>([ALL_CHANNEL]);
  /** Resolves when the broker has confirmed the channels of every server. */
  #subscribed: Promise<unknown> = RESOLVED;
  /** Subscriptions to rooms that the broker has not confirmed. */
  readonly #pendingSubscriptions = new Map<string, Promise<void>>();
  /**
   * Channels whose room has been joined, until a barrier has passed since. Then every
   * message that was sent before the join is older than the offset. Each value starts
   * that barrier.
   */
  readonly #newChannels = new Map<string, () => void>();
  /** Channels whose messages do not arrive, as the broker denies them. */
  readonly #failed = new Set<string>();
  readonly #pending: PendingBroadcasts;
  readonly #barriers: Barriers;
  /** Messages that arrive while older ones are read; undefined at other times. */
  #buffered: LoggedBroadcast[] | undefined;
  /** The last barrier that has come back while older messages are read. */
  #lastBarrier: LoggedBroadcast | undefined;
  /** Messages that the broker has refused, during the grace time. */
  readonly #refused: { pending: PendingBroadcast; error: unknown }[] = [];
  #refusalTimer: Timer | undefined;
  /** Renews the last position in the log before the broker removes it. */
  #barrierTimer: Timer | undefined;
  /** Resolves when everything that was missed has been delivered. */
  #caughtUp: Promise<void> = RESOLVED;
  #firstUp: PromiseWithResolvers<void> | undefined = Promise.withResolvers();
  #epoch: string | undefined;
  #tokens: ResumeTokens | undefined;
  /** The epoch before the broker went down. */
  #lastEpoch: string | undefined;
  #offset = 0;
  /** The last message or barrier of the log that has arrived. */
  #lastPosition: LogPosition | undefined;
  /** When that arrived. */
  #positionTime = 0;
  /** The broker's name of the log. */
  #logName: string | undefined;
  /** Increases each time that the broker comes up or goes down. */
  #generation = 0;
  /** Whether the log has been made invalid since it was opened. */
  #isInvalidated = false;
  /** Whether the log has another epoch, and clients have not been told of it. */
  #isRenamed = false;

  /**
   * Creates a log whose broker is down.
   *
   * @param maxPending The number of messages to keep while the broker is down.
   */
  constructor(
    log: AdapterLog,
    limits: Required<HistoryOptions>,
    maxPending: number,
    name: string,
    host: BrokerHost,
  ) {
    this.#log = log;
    this.#limits = limits;
    const { messages, maxAge } = limits;
    const resendAge = Math.min(maxAge, MAX_RESEND_AGE_MS);
    this.#logLimits = { messages, maxAge, resendAge };
    this.#reader = new LogReader(log, messages);
    this.#name = name;
    this.#host = host;
    this.#pending = new PendingBroadcasts(
      maxPending,
      host,
      () => this.#sendPositionsSoon(),
    );
    this.#barriers = new Barriers(
      () => this.#subscribed,
      (id) => this.#appendBarrier(id),
    );
  }

  /**
   * What the offsets belong to. It is undefined while the broker is down, until the
   * offset of the last message is known, and while local clients have received messages
   * that have no offset yet.
   */
  get epoch(): string | undefined {
    return this.#pending.isAhead || this.#offset === 0
      ? undefined
      : this.#epoch;
  }

  /** Signs and verifies positions of clients, the same on all servers of a broker. */
  get tokens(): ResumeTokens | undefined {
    return this.#tokens;
  }

  /** Resolves when the broker is first up; undefined after that. */
  get ready(): Promise<void> | undefined {
    return this.#firstUp?.promise;
  }

  /** All messages up to this offset have been delivered to local clients. */
  get offset(): number {
    return this.#offset;
  }

  /**
   * Whether every message that was sent to a room before a local client joined it is
   * older than the offset.
   */
  isCurrent(room: string): boolean {
    const channel = roomChannel(room);
    return !this.#newChannels.has(channel) && !this.#failed.has(channel);
  }

  /** Whether messages of some rooms do not arrive. */
  get hasGaps(): boolean {
    return this.#failed.size > 0;
  }

  /** The messages of a channel do not arrive, until the adapter connects again. */
  channelFailed(channel: string): void {
    this.#failed.add(channel);
    if (channel === ALL_CHANNEL) this.#host.sendPositions();
    else if (channel.startsWith(roomChannel(""))) {
      this.#host.sendPositions(channel.slice(roomChannel("").length));
    }
  }

  /** Increases each time that the broker comes up or goes down. */
  get generation(): number {
    return this.#generation;
  }

  /** The channel of this server's barriers. */
  get channel(): string {
    return `server ${this.#name}`;
  }

  send(broadcast: SequencedBroadcast): void {
    if (this.#epoch === undefined) this.#pending.addOffline(broadcast);
    else if (this.#pending.isFull) {
      this.#pending.refuseNew(broadcast);
      this.#invalidate();
    } else this.#append(this.#pending.add(broadcast));
  }

  /** Handles a message or barrier that arrives from the log. */
  receive(
    channel: string,
    broadcast: SequencedBroadcast,
    offset: number,
  ): void {
    if (this.#epoch === undefined) return; // it will be read
    const message = { ...broadcast, offset };
    if (channel === this.channel) {
      if (this.#buffered) this.#lastBarrier = message;
      else this.#advance(channel, message);
      this.#barriers.returned(message.id);
    } else if (this.#buffered) this.#buffered.push(message);
    else this.#deliverNext(message);
  }

  /**
   * The channels of every server are being subscribed to.
   *
   * @param subscribed Resolves when the broker has confirmed them; it never rejects.
   */
  listening(subscribed: Promise<unknown>): void {
    this.#subscribed = subscribed;
  }

  /**
   * A room has its first local member.
   *
   * @param subscribed Resolves when the broker has confirmed the subscription; undefined
   * if it already has.
   */
  roomOpened(room: string, subscribed: Promise<void> | undefined): void {
    const channel = roomChannel(room);
    this.#channels.add(channel);
    const sendPositions = () => {
      const isNew = () => this.#newChannels.get(channel) === sendPositions;
      if (!isNew()) return; // the room was closed meanwhile
      ignoreRejection(
        this.#barriers.pass().then(() => {
          if (this.#buffered) return; // replay() calls this again
          if (isNew()) this.#newChannels.delete(channel);
          this.#host.sendPositions(room);
        }),
      );
    };
    this.#newChannels.set(channel, sendPositions);
    if (!subscribed) return sendPositions();
    const earlier = this.#pendingSubscriptions.get(channel);
    const confirmed = Promise.all([earlier, subscribed]).then(() => {});
    this.#pendingSubscriptions.set(channel, confirmed);
    // Messages that wait for this are appended in the same turn, so that none sent
    // later can overtake them.
    confirmed.then(() => {
      if (this.#pendingSubscriptions.get(channel) === confirmed) {
        this.#pendingSubscriptions.delete(channel);
      }
    });
    confirmed.then(sendPositions);
  }

  /** A room has lost its last local member. */
  roomClosed(room: string): void {
    const channel = roomChannel(room);
    this.#channels.delete(channel);
    this.#newChannels.delete(channel);
    this.#failed.delete(channel);
    this.#pending.channelClosed(channel);
  }

  /**
   * Reads stored messages, as {@linkcode MessageStore.read}. Every message that is sent
   * to the rooms before the promise resolves has been delivered or is in the result.
   *
   * @returns The messages; undefined also if the broker was down meanwhile. It rejects
   * if the broker is down.
   */
  async read(
    rooms: readonly string[],
    after: number,
  ): Promise<readonly StoredMessage[] | undefined> {
    const channels = [ALL_CHANNEL, ...rooms.map(roomChannel)];
    const generation = this.#generation;
    // Otherwise messages of the replay would be delivered and read.
    await this.#caughtUp;
    await Promise.all(
      channels.map((channel) => this.#pendingSubscriptions.get(channel)),
    );
    const missed = await this.#reader.read(channels, after);
    await this.#barriers.pass();
    return generation === this.#generation ? missed : undefined;
  }

  /**
   * Lists stored messages, as {@linkcode MessageStore.list}: all that this server has sent
   * before, and what others have.
   */
  async list(room: string, after: number): Promise<HistorySource> {
    const epoch = this.#epoch;
    if (epoch === undefined) throw brokerDownError();
    await this.#barriers.pass();
    return { epoch, ...await this.#reader.list(room, after) };
  }

  /**
   * The broker is up.
   *
   * @returns A promise of `true` when messages are sent to the log, or `false` if the
   * broker went down before. It rejects if the broker cannot store messages.
   */
  async brokerUp(): Promise<boolean> {
    const generation = ++this.#generation;
    this.#isInvalidated = false;
    const { maxAge, resendAge } = this.#logLimits;
    let secret: string;
    try {
      secret = await this.#openLog();
    } catch (error) {
      if (generation !== this.#generation) return false;
      throw error;
    }
    if (generation !== this.#generation) return false;
    this.#logName = secret;
    // Only servers know the broker's name for the log. Clients get an epoch made of it.
    const tokens = this.#tokens = new ResumeTokens(secret);
    const { epoch } = tokens;
    const lastEpoch = this.#lastEpoch;
    const isSame = lastEpoch === epoch;
    this.#lastEpoch = this.#epoch = epoch;
    // The broker may go down again before clients are told.
    if (!isSame && lastEpoch !== undefined) this.#isRenamed = true;
    // Missed messages come before new ones.
    if (lastEpoch !== undefined) this.#buffered = [];
    if (!isSame) {
      this.#offset = 0;
      this.#lastPosition = undefined;
    }
    // The broker recognizes a message that is sent twice, but only for so long.
    this.#pending.dropSentBefore(
      isSame ? performance.now() - resendAge : Infinity,
    );
    const unsettled = this.#pending.list();
    for (const pending of unsettled) this.#append(pending);
    this.#caughtUp = ignoreRejection(
      this.#replay(generation, unsettled),
    );
    const interval = Math.max(maxAge / 2, MIN_BARRIER_INTERVAL_MS);
    this.#barrierTimer = setInterval(
      () => ignoreRejection(this.#barriers.pass()),
      Math.min(interval, MAX_DELAY_MS),
    );
    this.#firstUp?.resolve();
    this.#firstUp = undefined;
    return true;
  }

  /**
   * Opens the log. If it has lost what this server has received, offsets would be used
   * again for other messages, so it gets a new name before anything is appended.
   */
  async #openLog(): Promise<string> {
    const name = await this.#log.open(this.#logLimits);
    const last = this.#lastPosition;
    if (name !== this.#logName || !last) return name;
    // A message that is older than this may have expired.
    const isFresh =
      performance.now() - this.#positionTime < this.#limits.maxAge;
    return isFresh && await this.#find(last) === "lost"
      ? await this.#log.open(this.#logLimits, name)
      : name;
  }

  #find(position: LogPosition): ReturnType<typeof findPosition> {
    return findPosition(this.#log, position, this.#limits.messages);
  }

  /** The broker is down. */
  brokerDown(): void {
    this.#generation++;
    this.#failed.clear();
    this.#reader = new LogReader(this.#log, this.#limits.messages); // the old one may hang
    this.#epoch = undefined;
    this.#buffered = undefined;
    this.#lastBarrier = undefined;
    clearInterval(this.#barrierTimer);
    clearTimeout(this.#refusalTimer);
    this.#refusalTimer = undefined;
    this.#refused.length = 0; // they are sent again when the broker is up
    this.#barriers.fail(brokerDownError());
    this.#pending.brokerDown();
  }

  /**
   * Takes the messages that wait until the broker stores messages again; undefined where
   * some are lost. Local clients have received them.
   */
  takePending(): ReturnType<PendingBroadcasts["take"]> {
    return this.#pending.take();
  }

  /** Waits until every message that was sent has come back and has been delivered. */
  async settle(timeout: number): Promise<void> {
    if (this.#epoch === undefined) return;
    await withTimeout(timeout, this.#barriers.pass().catch(() => {}));
  }

  /**
   * Delivers the messages sent while the broker was down, then those that have arrived
   * since.
   */
  async #replay(
    generation: number,
    unsettled: readonly PendingBroadcast[],
  ): Promise<void> {
    const after = this.#offset;
    const last = this.#lastPosition;
    let missed: readonly LoggedBroadcast[] | undefined = [];
    try {
      await Promise.all(this.#pendingSubscriptions.values());
      // From this barrier on messages arrive by subscription; earlier ones are read.
      await this.#barriers.pass();
      if (this.#buffered) {
        missed = await this.#reader.read(this.#channels, after);
      }
      if (last && await this.#find(last) !== "found") missed = undefined;
      await this.#barriers.pass();
    } catch (error) {
      if (generation === this.#generation) this.#host.failed(error);
      missed = undefined;
    }
    if (generation !== this.#generation) return;
    const received = inLogOrder([...missed ?? [], ...this.#buffered ?? []]);
    this.#buffered = undefined;
    // What follows does not follow what clients have.
    if (missed === undefined || this.#isRenamed) {
      this.#isRenamed = false;
      this.#host.sendPositions(undefined, false);
    }
    for (const message of received) this.#deliverNext(message);
    const barrier = this.#lastBarrier;
    this.#lastBarrier = undefined;
    // Every message before this barrier has been read or has arrived.
    if (barrier && barrier.offset > this.#offset) {
      this.#advance(this.channel, barrier);
    }
    // A stored message that has not come back by now is one that could not be read.
    for (const { isStored, broadcast } of unsettled) {
      if (isStored) this.#pending.settle(broadcast.id);
    }
    this.#host.sendPositions();
    for (const [channel, sendPositions] of this.#newChannels) {
      if (!this.#pendingSubscriptions.has(channel)) sendPositions();
    }
  }

  #advance(channel: string, { offset, from, id }: LoggedBroadcast): void {
    this.#offset = offset;
    this.#lastPosition = { channel, offset, from, id };
    this.#positionTime = performance.now();
  }

  /** Delivers the next message of the log, unless local clients have it already. */
  #deliverNext(message: LoggedBroadcast): void {
    this.#advance(channelFor(message.target.rooms), message);
    if (message.from === this.#name) {
      const pending = this.#pending.get(message.id);
      this.#pending.settle(message.id);
      if (!pending || pending.isDeliveredAhead) return;
    }
    this.#host.deliver(message, message.offset);
  }

  #append(pending: PendingBroadcast): void {
    const confirmed = this.#pendingSubscriptions.get(pending.channel);
    if (confirmed) {
      ignoreRejection(confirmed.then(() => this.#appendNow(pending)));
    } else ignoreRejection(this.#appendNow(pending));
  }

  async #appendNow(pending: PendingBroadcast): Promise<void> {
    const { broadcast, channel } = pending;
    const { from, id } = broadcast;
    if (this.#epoch === undefined) return; // it is sent when the broker is up
    if (!this.#pending.get(id)) return; // it was dropped
    const generation = this.#generation;
    pending.sentAt ??= performance.now();
    pending.isAwaited = this.#channels.has(channel);
    try {
      await this.#log.append(channel, { from, id }, encodeEnvelope(broadcast));
      pending.isStored = true;
      if (!pending.isAwaited) this.#pending.settle(id);
    } catch (error) {
      const isRefused = error instanceof Error && error.cause === "refused";
      if (isRefused) pending.sentAt = undefined;
      if (generation === this.#generation) this.#refuse(pending, error);
    }
  }

  /** The broker has refused a message, perhaps because it has just gone down. */
  #refuse(pending: PendingBroadcast, error: unknown): void {
    this.#refused.push({ pending, error });
    this.#refusalTimer ??= startTimer(() => {
      this.#refusalTimer = undefined;
      for (const { pending, error } of this.#refused.splice(0)) {
        if (this.#pending.refused(pending)) this.#host.failed(error);
      }
      this.#invalidate();
      this.#sendPositionsSoon();
    }, REFUSAL_GRACE_MS);
  }

  /** A message is not in the log: no client may take the log for all that there was. */
  #invalidate(): void {
    if (this.#isInvalidated) return;
    this.#isInvalidated = true;
    try {
      ignoreRejection(Promise.resolve(this.#log.invalidate?.()));
    } catch (error) {
      this.#host.failed(error);
    }
  }

  /** Sends positions to clients that have received messages without an offset. */
  #sendPositionsSoon(): void {
    ignoreRejection(
      this.#barriers.pass().then(() => this.#host.sendPositions()),
    );
  }

  #appendBarrier(id: number): Promise<void> {
    if (this.#epoch === undefined) return Promise.reject(brokerDownError());
    const from = this.#name;
    const target = { except: [] };
    const barrier = { from, id, target, body: "", options: {} };
    return this.#log.append(
      this.channel,
      { from, id },
      encodeEnvelope(barrier),
    );
  }
}

function brokerDownError(): Error {
  return new Error("The broker is down");
}
