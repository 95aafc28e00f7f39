/**
 * Publishes broadcasts to other servers through an adapter, and receives theirs. With a
 * history that a broker stores, `broker_log.ts` sends them.
 *
 * @module
 */

import type { Adapter } from "./adapter.ts";
import type { ClusterHost, ClusterQuery } from "./cluster_host.ts";
import type { SendOptions } from "../sending/send_queue.ts";
import type { Frame } from "../values/codec.ts";
import {
  ALL_CHANNEL,
  type BroadcastBody,
  type BroadcastTarget,
  decodeEnvelope,
  encodeEnvelope,
  roomChannel,
  type SequencedBroadcast,
} from "../history/envelope.ts";
import {
  type QueryOptions,
  type QueryResult,
  ServerRegistry,
} from "./server_registry.ts";
import { RESOLVED } from "../events/errors.ts";
import { errorReason } from "../events/error_log.ts";
import type { AdapterState } from "../events/event_types.ts";
import type { HistoryOptions } from "../history/history_options.ts";
import { BrokerLog } from "./broker_log.ts";
import type { Presence } from "./presence.ts";
import { DuplicateFilter } from "./duplicate_filter.ts";
import { OutageQueue, type Publication } from "./outage_queue.ts";
import { MAX_SILENCE_MS, PulseMonitor } from "./pulse_monitor.ts";
import { BlobResolver } from "../history/blob_resolver.ts";
import { startTimer, type Timer } from "../util/timer.ts";

/** The settings of a {@linkcode ClusterLink}. */
export interface ClusterLinkOptions {
  /** The name of this server. */
  readonly name: string;
  /** The number of messages to queue while the broker is down. */
  readonly maxQueued: number;
  /** What to store for clients that reconnect; undefined for nothing. */
  readonly history?: Required<HistoryOptions> | undefined;
  /** The members of rooms; undefined if presence is off. */
  readonly presence?: Presence<unknown> | undefined;
}

/**
 * The state of a link:
 * - `disconnected`: the adapter has no connection to the broker.
 * - `connected`: it has one, and no message of this server has come back yet.
 * - `opening`: messages pass the broker, and the log is being opened.
 * - `up`: messages are published, and stored if there is a log.
 * - `unstored`: messages are published without the log, as it cannot be opened.
 * - `closed`: the server has shut down.
 */
type LinkState =
  | "disconnected"
  | "connected"
  | "opening"
  | "up"
  | "unstored"
  | "closed";

/** The channel of {@linkcode ServerRegistry} messages to all servers. */
const REGISTRY_CHANNEL = "fleet";

/** The channel of those messages to one server, and of its pulses. */
function registryChannel(name: string | undefined): string {
  return name === undefined ? REGISTRY_CHANNEL : `to ${name}`;
}

/** The prefix of the channels of {@linkcode Presence} messages. */
const PRESENCE_PREFIX = "who ";

/**
 * After this time a broker that has not been reached is reported as down, in
 * milliseconds, even if the adapter has reported nothing.
 */
const START_TIMEOUT_MS = 4_500;

/** The delay before a log that failed to open is opened again, in milliseconds. */
const OPEN_RETRY_MS = 500;

/** The byte `{`: messages other than pulses begin with it. */
const OBJECT_START = 0x7b;

/**
 * The bytes of all copies of a message to several rooms, above which it is sent once to
 * all servers instead. Each copy names all rooms.
 */
const MAX_COPIES_BYTES = 16 * 1024;

const clusterEncoder = new TextEncoder();
const clusterDecoder = new TextDecoder();

/** One server's connection to the other servers. */
export class ClusterLink {
  readonly #adapter: Adapter;
  readonly #host: ClusterHost;
  readonly #name: string;
  readonly #presence: Presence<unknown> | undefined;
  /** The other servers. */
  readonly registry: ServerRegistry;
  #lastId = 0;
  #state: LinkState = "disconnected";
  /** Whether this server has subscribed to its channels. */
  #isOpen = false;
  #since = new Date();
  #lastError: unknown;
  /** The reason that was reported last; undefined after `"up"`. */
  #reportedReason: string | undefined;
  /** The channel that only this server is subscribed to. */
  readonly #ownChannel: string;
  readonly #pulses = new PulseMonitor();
  /** Resolves when the state is first reported; undefined after that. */
  #firstReport: PromiseWithResolvers<void> | undefined = Promise
    .withResolvers();
  /** The last subscription to a room. The broker confirms them in order. */
  #subscribed: Promise<void> | undefined;
  #pulseTimer: Timer | undefined;
  #startTimer: Timer | undefined;
  /** Opens the log again after a failure. */
  #openTimer: Timer | undefined;
  readonly #queue: OutageQueue;
  readonly #duplicates: DuplicateFilter;
  /** The log of the broker, if there is a history and the broker can store it. */
  readonly brokerLog: BrokerLog | undefined;
  readonly #blobs = new BlobResolver();

  /**
   * Opens the adapter.
   */
  constructor(
    adapter: Adapter,
    { name, maxQueued, history, presence }: ClusterLinkOptions,
    host: ClusterHost,
  ) {
    this.#name = name;
    this.#ownChannel = registryChannel(name);
    this.#duplicates = new DuplicateFilter(name);
    this.#presence = presence;
    this.#adapter = adapter;
    this.#queue = new OutageQueue(maxQueued);
    this.#host = host;
    this.brokerLog = history && adapter.log &&
      new BrokerLog(adapter.log, history, maxQueued, name, host);
    this.registry = new ServerRegistry(name, host, {
      send: (message, to) => adapter.publish(registryChannel(to), message),
      sendQuietly: (message, to) => {
        if (!this.#isPublishing) return; // the others notice the silence
        this.#attempt(() => adapter.publish(registryChannel(to), message));
      },
    }, { presence, usesLog: this.brokerLog !== undefined });
    this.#startTimer = startTimer(() => {
      if (this.#reportedReason !== undefined) return;
      this.#enter(this.#state, silenceError(START_TIMEOUT_MS));
    }, START_TIMEOUT_MS);
    adapter.open({
      usesLog: this.brokerLog !== undefined,
      received: (channel, message, offset) =>
        this.#receive(channel, message, offset),
      changed: (state, error) => this.#brokerChanged(state, error),
      failed: (error, channel) => {
        if (this.#state === "closed") return;
        if (channel !== undefined) this.brokerLog?.channelFailed(channel);
        host.failed(error);
      },
    });
    const { brokerLog } = this;
    const channels = [
      ALL_CHANNEL,
      REGISTRY_CHANNEL,
      ...brokerLog ? [brokerLog.channel] : [],
      this.#ownChannel,
    ];
    const subscribed = channels.map((channel) =>
      this.#attempt(() => adapter.subscribe(channel))
    );
    brokerLog?.listening(Promise.all(subscribed));
    if (adapter.echoes) subscribed.at(-1)?.then(() => this.#sendPulse());
    this.#isOpen = true;
    if (this.#isConnected && !adapter.echoes) this.#reached();
  }

  /**
   * Whether the broker can be reached, since when, and what failed last; undefined when
   * the link is closed.
   */
  get state(): AdapterState | undefined {
    if (this.#state === "closed") return undefined;
    return {
      state: this.#isPublishing ? "up" : "down",
      since: this.#since,
      lastError: this.#lastError,
    };
  }

  get #isPublishing(): boolean {
    return this.#state === "up" || this.#state === "unstored";
  }

  /** Whether messages of this server come back through the broker. */
  get #isReached(): boolean {
    return this.#state === "opening" || this.#isPublishing;
  }

  get #isConnected(): boolean {
    return this.#state === "connected" || this.#isReached;
  }

  /**
   * Waits until the adapter has first reported whether the broker can be reached.
   *
   * @param attempt Names what cannot be done, for the error message.
   * @returns A promise that rejects if the broker cannot be reached.
   */
  async available(attempt: string): Promise<void> {
    if (!this.#isPublishing && this.#firstReport) {
      await this.#firstReport.promise;
    }
    if (this.#isPublishing) return;
    const reason = this.#state === "closed"
      ? "this server is closed"
      : `the adapter is down: ${errorReason(this.#lastError)}`;
    throw new Error(`Cannot ${attempt} on all servers: ${reason}`, {
      cause: this.#lastError,
    });
  }

  /**
   * Sends a query, as {@linkcode ServerRegistry.query} does.
   *
   * @param attempt Names what cannot be done, for the error message.
   */
  async query(
    attempt: string,
    query: ClusterQuery,
    options: QueryOptions,
  ): Promise<QueryResult> {
    try {
      return await this.registry.query(query, options);
    } catch (cause) {
      throw new Error(
        `Cannot ${attempt} on all servers: ${errorReason(cause)}`,
        { cause },
      );
    }
  }

  /** Resolves when the broker has confirmed the subscriptions to rooms so far. */
  get subscribed(): Promise<void> | undefined {
    return this.#subscribed;
  }

  /** Subscribes to the messages of a room, as it has its first local member. */
  roomOpened(room: string): void {
    const subscribed = this.#attempt(() =>
      this.#adapter.subscribe(roomChannel(room))
    );
    this.#subscribed = subscribed;
    this.brokerLog?.roomOpened(room, subscribed);
  }

  /** Unsubscribes from the messages of a room that has no local member or history. */
  roomClosed(room: string): void {
    if (this.#state === "closed") return;
    this.brokerLog?.roomClosed(room);
    this.#attempt(() => this.#adapter.unsubscribe(roomChannel(room)));
  }

  /** Subscribes to the presence of a room, and asks the other servers for theirs. */
  subscribePresence(room: string): void {
    const subscribed = this.#attempt(() =>
      this.#adapter.subscribe(PRESENCE_PREFIX + room)
    );
    (subscribed ?? RESOLVED).then(() => this.#presence?.requestState(room));
  }

  /** Unsubscribes from the presence of a room. */
  unsubscribePresence(room: string): void {
    if (this.#state === "closed") return;
    this.#attempt(() => this.#adapter.unsubscribe(PRESENCE_PREFIX + room));
  }

  /** Publishes a presence message to the servers that have members in a room. */
  publishPresence(room: string, text: string): void {
    if (!this.#isPublishing) return; // the state is requested when it is up
    const message = clusterEncoder.encode(text);
    this.#attempt(() => this.#adapter.publish(PRESENCE_PREFIX + room, message));
  }

  /** Publishes a broadcast. The order of calls is kept. */
  publish(frame: Frame, target: BroadcastTarget, options: SendOptions): void {
    this.#blobs.resolve(
      frame,
      (body) => this.#publishNow(body, target, options),
      (error) => this.#host.failed(error),
    );
  }

  /**
   * Publishes what waits for the bytes of a `Blob`, then closes the adapter. Messages that
   * the broker has not taken by then are counted as missed.
   */
  async close(): Promise<void> {
    await this.#blobs.idle;
    this.registry.leave();
    this.#state = "closed";
    this.#settleFirstReport();
    for (const timer of [this.#openTimer, this.#startTimer, this.#pulseTimer]) {
      clearTimeout(timer);
    }
    this.brokerLog?.brokerDown();
    await this.#adapter.close();
    const unsent = [
      ...this.#queue.takeAll(),
      ...this.brokerLog?.takePending() ?? [],
    ];
    // Where some are undefined, they have been counted.
    for (const one of unsent) if (one) this.#host.messageMissed();
  }

  #publishNow(
    body: BroadcastBody,
    target: BroadcastTarget,
    options: SendOptions,
  ): void {
    const id = ++this.#lastId;
    const broadcast = { from: this.#name, id, target, body, options };
    if (options.volatile) return this.#publishVolatile(broadcast);
    if (this.brokerLog) {
      if (this.#state !== "unstored") return this.brokerLog.send(broadcast);
      this.#host.deliver(broadcast, 0);
    }
    this.#publishUnstored(broadcast);
  }

  /** Publishes a message that is neither stored nor queued. */
  #publishVolatile(broadcast: SequencedBroadcast): void {
    if (!this.#isPublishing) return this.#host.messageMissed();
    const message = encodeEnvelope(broadcast);
    const channels = channelsOf(broadcast.target, message.length);
    this.#send({ channels, message });
  }

  #publishUnstored(broadcast: SequencedBroadcast): void {
    const { target } = broadcast;
    const message = encodeEnvelope(broadcast);
    const channels = channelsOf(target, message.length);
    if (this.#state === "unstored") {
      const invalidated = this.#attempt(() =>
        this.#adapter.log?.invalidate?.()
      );
      if (!invalidated) return this.#host.messageMissed();
    }
    if (this.#isPublishing) return this.#send({ channels, message });
    const dropped = this.#queue.push({ channels, message });
    for (let i = 0; i < dropped; i++) this.#host.messageMissed();
  }

  #send({ channels, message }: Publication): void {
    for (const channel of channels) {
      this.#attempt(() => this.#adapter.publish(channel, message), () => {
        this.#host.messageMissed();
      });
    }
  }

  /**
   * Calls the adapter, and reports an error that it throws or rejects with.
   *
   * @returns The promise of the adapter, if it returns one; this one never rejects.
   */
  #attempt(
    action: () => void | Promise<void>,
    onError = () => {},
  ): Promise<void> | undefined {
    const fail = (error: unknown) => {
      onError();
      if (this.#state === "closed") return;
      if (this.#isPublishing) this.#host.failed(error);
      // While the adapter is not connected, it has reported why.
      else if (this.#isConnected) this.#enter(this.#state, error);
    };
    try {
      return action()?.catch(fail);
    } catch (error) {
      fail(error);
      return undefined;
    }
  }

  #brokerChanged(state: "up" | "down", error: unknown): void {
    if (this.#state === "closed") return;
    if (state === "down") {
      clearTimeout(this.#pulseTimer);
      this.#lose("disconnected", error);
    } else if (this.#state === "disconnected") {
      this.#enter("connected", undefined);
      this.#pulses.restart();
      if (this.#adapter.echoes) this.#sendPulse();
      else if (this.#isOpen) this.#reached();
    }
  }

  /** Sends a message to this server itself, and the next one after a while. */
  #sendPulse(): void {
    if (!this.#isConnected) return;
    clearTimeout(this.#pulseTimer);
    let pulse = this.#pulses.next();
    if (pulse === undefined) {
      this.#lose("connected", silenceError(MAX_SILENCE_MS));
      this.#pulses.restart();
      this.#adapter.reconnect?.();
      if (!this.#isConnected) return;
      pulse = this.#pulses.next();
    }
    const { number = 0, delay = 0 } = pulse ?? {};
    this.#pulseTimer = startTimer(() => this.#sendPulse(), delay);
    const message = clusterEncoder.encode(`${number}`);
    this.#attempt(() => this.#adapter.publish(this.#ownChannel, message));
  }

  #pulseReturned(text: string): void {
    const isNew = this.#pulses.returned(Number(text));
    if (isNew && this.#state === "connected") this.#reached();
  }

  /** Messages of this server come back. */
  #reached(): void {
    if (!this.brokerLog) return this.#enter("up", undefined);
    this.#enter("opening", undefined);
    this.#open(this.brokerLog);
  }

  /** Messages of this server do not come back any more. */
  #lose(state: "disconnected" | "connected", error: unknown): void {
    clearTimeout(this.#openTimer);
    this.#openTimer = undefined;
    if (this.#isReached) this.brokerLog?.brokerDown();
    this.#enter(state, error);
  }

  /** Opens the log, until that succeeds. Until then messages bypass it. */
  async #open(brokerLog: BrokerLog): Promise<void> {
    try {
      if (!await brokerLog.brokerUp()) return;
      this.#enter("up", undefined);
    } catch (error) {
      if (!this.#isReached) return;
      this.#openTimer = startTimer(() => this.#open(brokerLog), OPEN_RETRY_MS);
      this.#enter(this.#state, error);
      if (this.#state === "unstored") return;
      await this.#bypass(brokerLog, error);
    }
  }

  /** Publishes without storing, if no client can take that for all that there was. */
  async #bypass(brokerLog: BrokerLog, error: unknown): Promise<void> {
    const { log } = this.#adapter;
    if (!log?.invalidate) return;
    const { generation } = brokerLog;
    try {
      await log.invalidate();
    } catch {
      return; // the reason has been reported
    }
    if (generation !== brokerLog.generation) return;
    this.#enter("unstored", error);
    for (const broadcast of brokerLog.takePending()) {
      if (broadcast) this.#publishUnstored(broadcast);
      else this.registry.publishGap();
    }
  }

  /** Changes the state, or stays in it for another reason. */
  #enter(state: LinkState, error: unknown): void {
    if (this.#state === "closed") return;
    const wasUp = this.#isPublishing;
    this.#state = state;
    const isUp = this.#isPublishing;
    if (isUp !== wasUp) this.#since = new Date();
    if (error !== undefined) this.#lastError = error;
    if (isUp && !wasUp) {
      clearTimeout(this.#startTimer);
      this.registry.start();
      this.#presence?.brokerUp();
      for (const publication of this.#queue.takeAll()) this.#send(publication);
    } else if (wasUp && !isUp) {
      this.#presence?.brokerDown();
      this.registry.stop();
    }
    this.#report(isUp, wasUp, error);
  }

  /** Reports a change of the state, or of its reason. */
  #report(isUp: boolean, wasUp: boolean, error: unknown): void {
    const reason = error === undefined ? undefined : errorReason(error);
    const isOther = reason !== this.#reportedReason &&
      (isUp || reason !== undefined);
    if (isUp === wasUp && !isOther) return;
    this.#reportedReason = reason;
    this.#settleFirstReport();
    this.#host.changed(isUp ? "up" : "down", error);
  }

  #settleFirstReport(): void {
    this.#firstReport?.resolve();
    this.#firstReport = undefined;
  }

  #receive(channel: string, message: Uint8Array, offset?: number): void {
    if (this.#state === "closed") return;
    try {
      if (channel === this.#ownChannel && message[0] !== OBJECT_START) {
        return this.#pulseReturned(clusterDecoder.decode(message));
      }
      if (channel === REGISTRY_CHANNEL || channel === this.#ownChannel) {
        return this.registry.receive(message);
      }
      if (channel.startsWith(PRESENCE_PREFIX)) {
        const room = channel.slice(PRESENCE_PREFIX.length);
        const from = this.#presence?.receive(
          room,
          clusterDecoder.decode(message),
        );
        if (from !== undefined) this.registry.serverHeard(from);
        return;
      }
      if (!this.brokerLog && this.#duplicates.isOwn(message)) return;
      const broadcast = decodeEnvelope(message);
      if (broadcast === undefined) return;
      if (this.brokerLog && offset !== undefined) {
        return this.brokerLog.receive(channel, broadcast, offset);
      }
      if (
        broadcast.from === this.#name || this.#duplicates.isDuplicate(broadcast)
      ) return;
      // A message that is not in the log has no offset in it.
      this.#host.deliver(broadcast, this.brokerLog && 0);
    } catch (error) {
      this.#host.failed(error);
    }
  }
}

function silenceError(time: number): Error {
  return new Error(
    `No message of this server has come back through the broker for ${
      time / 1_000
    } s`,
  );
}

/** The channels on which a message is published. */
function channelsOf({ rooms }: BroadcastTarget, size: number): string[] {
  if (rooms === undefined) return [ALL_CHANNEL];
  const names = [...new Set(rooms)];
  return names.length > 1 && names.length * size > MAX_COPIES_BYTES
    ? [ALL_CHANNEL]
    : names.map(roomChannel);
}
