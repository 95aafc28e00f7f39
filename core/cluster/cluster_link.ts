/**
 * Passes on to other servers what is sent to rooms and to all, and takes what they
 * pass on.
 *
 * @module
 */

import type { Adapter } from "./adapter.ts";
import type { ClusterHost } from "./cluster_host.ts";
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
import { ServerRegistry } from "./server_registry.ts";
import { RESOLVED } from "../events/errors.ts";
import type { HistoryOptions } from "../history/message_store.ts";
import { BrokerLog } from "./broker_log.ts";
import type { Presence } from "./presence.ts";
import { BlobResolver } from "../history/blob_resolver.ts";
import { startTimer, type Timer } from "../util/timer.ts";

/** What a cluster link goes by. */
export interface ClusterLinkOptions {
  /** The name of this server. */
  readonly name: string;
  /** How many messages to keep while the broker is away. */
  readonly maxQueued: number;
  /** How many to keep for clients that come back, if any. */
  readonly history?: Required<HistoryOptions> | undefined;
  /** Who is in the rooms, if that is to be told. */
  readonly presence?: Presence | undefined;
}

/** What waits for the broker. */
interface QueuedPublish {
  readonly channels: readonly string[];
  readonly message: Uint8Array<ArrayBuffer>;
}

/** The channel of what servers say to each other. */
const REGISTRY_CHANNEL = "fleet";

/** What the channels begin with of who is in a room. */
const PRESENCE_PREFIX = "who ";

/** After how long to ask a broker again that keeps nothing, in milliseconds. */
const OPEN_RETRY_MS = 2_000;

/** How many bytes wait for the broker at most, however many messages may. */
const MAX_QUEUED_BYTES = 64 * 1024 * 1024;

/** What it takes to keep a message for the broker, beside its bytes. */
const QUEUED_COST = 512;

/** How many messages to several rooms are remembered, to deliver each once. */
const MAX_SEEN_MESSAGES = 4096;

const clusterEncoder = new TextEncoder();
const clusterDecoder = new TextDecoder();

/** One server's link to the others. */
export class ClusterLink {
  readonly #adapter: Adapter;
  readonly #host: ClusterHost;
  readonly #maxQueued: number;
  readonly #name: string;
  readonly #presence: Presence | undefined;
  /** The other servers. */
  readonly registry: ServerRegistry;
  #lastId = 0;
  /** Whether the broker can be reached, and whether messages go there. */
  #isBrokerUp = false;
  #isUp = false;
  /** Goes off when a broker that keeps nothing is to be asked again. */
  #retry: Timer | undefined;
  #isClosed = false;
  readonly #queued: QueuedPublish[] = [];
  #queuedSize = 0;
  /** The way to a broker that keeps messages, if they are to be kept there. */
  readonly brokerLog: BrokerLog | undefined;
  /** Messages to several rooms that have come already. */
  readonly #seen = new Set<string>();
  readonly #blobs = new BlobResolver();

  /**
   * Opens the adapter.
   *
   * @param adapter What carries messages.
   * @param options What to go by.
   * @param host The server.
   */
  constructor(
    adapter: Adapter,
    { name, maxQueued, history, presence }: ClusterLinkOptions,
    host: ClusterHost,
  ) {
    this.#name = name;
    this.#presence = presence;
    this.#adapter = adapter;
    this.#maxQueued = maxQueued;
    this.#host = host;
    this.registry = new ServerRegistry(name, host, (text) => {
      if (!this.#isUp) return; // who is away is counted out anyway
      const message = clusterEncoder.encode(text);
      this.#attempt(() => adapter.publish(REGISTRY_CHANNEL, message));
    }, presence);
    this.brokerLog = history && adapter.log &&
      new BrokerLog(adapter.log, history, maxQueued, name, host);
    adapter.open({
      received: (channel, message, offset) =>
        this.#receive(channel, message, offset),
      changed: (state, error) => this.#brokerChanged(state, error),
    });
    const { brokerLog } = this;
    const channels = [
      ALL_CHANNEL,
      REGISTRY_CHANNEL,
      ...brokerLog ? [brokerLog.channel] : [],
    ];
    const subscribed = channels.map((channel) =>
      this.#attempt(() => adapter.subscribe(channel))
    );
    brokerLog?.listening(Promise.all(subscribed));
  }

  /**
   * Somebody here is in a room now.
   *
   * @param room The room.
   */
  roomOpened(room: string): void {
    const subscribed = this.#attempt(() =>
      this.#adapter.subscribe(roomChannel(room))
    );
    this.brokerLog?.roomOpened(room, subscribed);
  }

  /**
   * Nobody here is in a room any more.
   *
   * @param room The room.
   */
  roomClosed(room: string): void {
    if (this.#isClosed) return;
    this.brokerLog?.roomClosed(room);
    this.#attempt(() => this.#adapter.unsubscribe(roomChannel(room)));
  }

  /**
   * Somebody here wants to hear who is in a room: they are in it themselves.
   *
   * @param room The room.
   */
  subscribePresence(room: string): void {
    const subscribed = this.#attempt(() =>
      this.#adapter.subscribe(PRESENCE_PREFIX + room)
    );
    (subscribed ?? RESOLVED).then(() => this.#presence?.requestState(room));
  }

  /**
   * Nobody here wants to hear that any more.
   *
   * @param room The room.
   */
  unsubscribePresence(room: string): void {
    if (this.#isClosed) return;
    this.#attempt(() => this.#adapter.unsubscribe(PRESENCE_PREFIX + room));
  }

  /**
   * Says something to the servers that watch a room.
   *
   * @param room The room.
   * @param text What.
   */
  publishPresence(room: string, text: string): void {
    if (!this.#isUp) return; // it is asked again when the broker is back
    const message = clusterEncoder.encode(text);
    this.#attempt(() => this.#adapter.publish(PRESENCE_PREFIX + room, message));
  }

  /**
   * Passes a message on, in the order of the calls.
   *
   * @param frame The message.
   * @param target Whom it is for.
   * @param options What to do where it does not fit.
   */
  publish(frame: Frame, target: BroadcastTarget, options: SendOptions): void {
    this.#blobs.resolve(
      frame,
      (body) => this.#publishNow(body, target, options),
      (error) => this.#host.failed(error),
    );
  }

  /** Ends, when all has been passed on. */
  async close(): Promise<void> {
    await this.#blobs.idle;
    this.registry.leave();
    this.#isClosed = true;
    clearTimeout(this.#retry);
    this.brokerLog?.brokerDown();
    await this.#adapter.close();
  }

  #publishNow(
    body: BroadcastBody,
    target: BroadcastTarget,
    options: SendOptions,
  ): void {
    const id = ++this.#lastId;
    const broadcast = { from: this.#name, id, target, body, options };
    if (this.brokerLog) return this.brokerLog.send(broadcast);
    const message = encodeEnvelope(broadcast);
    const { rooms } = target;
    const channels = rooms
      ? [...new Set(rooms)].map(roomChannel)
      : [ALL_CHANNEL];
    if (this.#isUp) return this.#send({ channels, message });
    this.#queued.push({ channels, message });
    this.#queuedSize += QUEUED_COST + message.length;
    while (
      this.#queued.length > this.#maxQueued ||
      this.#queuedSize > MAX_QUEUED_BYTES
    ) {
      const oldest = this.#queued.shift();
      this.#queuedSize -= QUEUED_COST + (oldest?.message.length ?? 0);
      this.#host.messageMissed();
    }
  }

  #send({ channels, message }: QueuedPublish): void {
    for (const channel of channels) {
      this.#attempt(() => this.#adapter.publish(channel, message), () => {
        this.#host.messageMissed();
      });
    }
  }

  /**
   * Calls the adapter, which may fail now or later.
   *
   * @returns When it is done, if that takes time; it never rejects.
   */
  #attempt(
    action: () => void | Promise<void>,
    onError = () => {},
  ): Promise<void> | undefined {
    const fail = (error: unknown) => {
      onError();
      // While the broker is away, that is told already.
      if (this.#isUp && !this.#isClosed) this.#host.failed(error);
    };
    try {
      return action()?.catch(fail);
    } catch (error) {
      fail(error);
      return undefined;
    }
  }

  #brokerChanged(state: "up" | "down", error: unknown): void {
    const isUp = state === "up";
    if (this.#isBrokerUp === isUp || this.#isClosed) return;
    this.#isBrokerUp = isUp;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    if (!this.brokerLog) this.#setUp(isUp, error);
    else if (isUp) this.#open(this.brokerLog);
    else {
      this.brokerLog.brokerDown();
      this.#setUp(false, error);
    }
  }

  /** The broker is there, but may not keep anything yet. */
  async #open(brokerLog: BrokerLog): Promise<void> {
    try {
      if (await brokerLog.brokerUp()) this.#setUp(true, undefined);
    } catch (error) {
      if (this.#isClosed) return;
      if (this.#retry === undefined) this.#host.changed("down", error);
      this.#retry = startTimer(() => this.#open(brokerLog), OPEN_RETRY_MS);
    }
  }

  #setUp(isUp: boolean, error: unknown): void {
    if (this.#isUp === isUp || this.#isClosed) return;
    this.#isUp = isUp;
    if (isUp) {
      this.registry.start();
      this.#presence?.brokerUp();
      this.#queuedSize = 0;
      for (const publish of this.#queued.splice(0)) this.#send(publish);
    } else {
      this.#presence?.brokerDown();
      this.registry.stop();
    }
    this.#host.changed(isUp ? "up" : "down", error);
  }

  #receive(channel: string, message: Uint8Array, offset?: number): void {
    if (this.#isClosed) return;
    try {
      if (channel === REGISTRY_CHANNEL) {
        return this.registry.receive(clusterDecoder.decode(message));
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
      const broadcast = decodeEnvelope(message);
      if (broadcast === undefined) return;
      if (this.brokerLog && offset !== undefined) {
        return this.brokerLog.receive(channel, broadcast, offset);
      }
      if (broadcast.from === this.#name || this.#isDuplicate(broadcast)) return;
      this.#host.deliver(broadcast);
    } catch (error) {
      this.#host.failed(error);
    }
  }

  /** Whether a message to several rooms has come before, for another of them. */
  #isDuplicate({ target: { rooms }, from, id }: SequencedBroadcast): boolean {
    if (rooms === undefined || rooms.length < 2) return false;
    const name = `${from} ${id}`;
    if (this.#seen.has(name)) return true;
    this.#seen.add(name);
    for (const oldest of this.#seen) {
      if (this.#seen.size <= MAX_SEEN_MESSAGES) break;
      this.#seen.delete(oldest);
    }
    return false;
  }
}
