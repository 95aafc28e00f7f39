/**
 * Passes on to other servers what is sent to rooms and to all, and takes what they
 * pass on.
 *
 * @module
 */

import type { Adapter } from "./adapter.ts";
import type { SendOptions } from "../sending/send_queue.ts";
import type { Frame } from "../values/codec.ts";
import {
  ALL_CHANNEL,
  type Broadcast,
  type BroadcastBody,
  type BroadcastTarget,
  decodeEnvelope,
  encodeEnvelope,
  roomChannel,
  type SequencedBroadcast,
} from "../history/envelope.ts";
import { type Answer, Fleet, type Inquiry } from "./server_registry.ts";
import { RESOLVED } from "../events/errors.ts";
import type { HistoryOptions } from "../history/message_store.ts";
import { type Desk, Journal } from "./broker_log.ts";
import type { Presence } from "./presence.ts";
import { BlobResolver } from "../history/blob_resolver.ts";
import { startTimer, type Timer } from "../util/timer.ts";

/** What a relay needs of its server. */
export interface Post {
  /**
   * Sends to those who are here.
   *
   * @param broadcast What to send, and to whom.
   * @param offset Its number, if the broker keeps it.
   */
  deliver(broadcast: Broadcast, offset?: number): void;
  /** Tells clients where they stand, as {@linkcode Desk.stand}. */
  stand: Desk["stand"];
  /**
   * Hears that the other servers can be reached, or cannot any more.
   *
   * @param state Which of them.
   * @param error Why they cannot.
   */
  changed(state: "up" | "down", error: unknown): void;
  /**
   * Answers another server.
   *
   * @param inquiry What it asks.
   * @returns The answer.
   */
  answer(inquiry: Inquiry): Answer;
  /**
   * Hears of an error.
   *
   * @param error The error.
   */
  failed(error: unknown): void;
}

/** What a relay goes by. */
export interface RelayOptions {
  /** The name of this server. */
  readonly name: string;
  /** How many messages to keep while the broker is away. */
  readonly keep: number;
  /** How many to keep for clients that come back, if any. */
  readonly history?: Required<HistoryOptions> | undefined;
  /** Who is in the rooms, if that is to be told. */
  readonly presence?: Presence | undefined;
}

/** What waits for the broker. */
interface Parcel {
  readonly channels: readonly string[];
  readonly message: Uint8Array<ArrayBuffer>;
}

/** The channel of what servers say to each other. */
const FLEET = "fleet";

/** What the channels begin with of who is in a room. */
const WHO = "who ";

/** After how long to ask a broker again that keeps nothing, in milliseconds. */
const RETRY = 2_000;

/** How many messages to several rooms are remembered, to deliver each once. */
const MEMORY = 4096;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** One server's link to the others. */
export class Relay {
  readonly #adapter: Adapter;
  readonly #post: Post;
  readonly #keep: number;
  readonly #name: string;
  readonly #presence: Presence | undefined;
  /** The other servers. */
  readonly fleet: Fleet;
  #count = 0;
  /** Whether the broker can be reached, and whether messages go there. */
  #isThere = false;
  #isUp = false;
  /** Goes off when a broker that keeps nothing is to be asked again. */
  #retry: Timer | undefined;
  #isClosed = false;
  #lost = 0;
  readonly #kept: Parcel[] = [];
  /** The way to a broker that keeps messages, if they are to be kept there. */
  readonly journal: Journal | undefined;
  /** Messages to several rooms that have come already. */
  readonly #seen = new Set<string>();
  readonly #blobs = new BlobResolver();

  /**
   * Opens the adapter.
   *
   * @param adapter What carries messages.
   * @param options What to go by.
   * @param post The server.
   */
  constructor(
    adapter: Adapter,
    { name, keep, history, presence }: RelayOptions,
    post: Post,
  ) {
    this.#name = name;
    this.#presence = presence;
    this.#adapter = adapter;
    this.#keep = keep;
    this.#post = post;
    this.fleet = new Fleet(this.#name, {
      say: (text) => {
        if (!this.#isUp) return; // who is away is counted out anyway
        const message = encoder.encode(text);
        this.#attempt(() => adapter.publish(FLEET, message));
      },
      answer: (inquiry) => post.answer(inquiry),
      found: (name) => presence?.found(name),
      back: (name) => presence?.back(name),
      lost: (name) => presence?.lost(name),
    });
    this.journal = history && adapter.log && new Journal(
      adapter.log,
      history,
      keep,
      this.#name,
      {
        deliver: (entry) => post.deliver(entry, entry.offset),
        stand: (room, recovered) => post.stand(room, recovered),
        lost: () => this.#lost++,
        failed: (error) => post.failed(error),
      },
    );
    adapter.open({
      received: (channel, message, offset) =>
        this.#receive(channel, message, offset),
      changed: (state, error) => this.#change(state, error),
    });
    const { journal } = this;
    const channels = [ALL_CHANNEL, FLEET, ...journal ? [journal.channel] : []];
    const subscribed = channels.map((channel) =>
      this.#attempt(() => adapter.subscribe(channel))
    );
    journal?.listen(Promise.all(subscribed));
  }

  /** How many messages the other servers have missed, as far as this one knows. */
  get lost(): number {
    return this.#lost;
  }

  /**
   * Somebody here is in a room now.
   *
   * @param room The room.
   */
  enter(room: string): void {
    const subscribed = this.#attempt(() =>
      this.#adapter.subscribe(roomChannel(room))
    );
    this.journal?.enter(room, subscribed);
  }

  /**
   * Nobody here is in a room any more.
   *
   * @param room The room.
   */
  leave(room: string): void {
    if (this.#isClosed) return;
    this.journal?.leave(room);
    this.#attempt(() => this.#adapter.unsubscribe(roomChannel(room)));
  }

  /**
   * Somebody here wants to hear who is in a room: they are in it themselves.
   *
   * @param room The room.
   */
  watch(room: string): void {
    const heard = this.#attempt(() => this.#adapter.subscribe(WHO + room));
    (heard ?? RESOLVED).then(() => this.#presence?.greet(room));
  }

  /**
   * Nobody here wants to hear that any more.
   *
   * @param room The room.
   */
  unwatch(room: string): void {
    if (this.#isClosed) return;
    this.#attempt(() => this.#adapter.unsubscribe(WHO + room));
  }

  /**
   * Says something to the servers that watch a room.
   *
   * @param room The room.
   * @param text What.
   */
  say(room: string, text: string): void {
    if (!this.#isUp) return; // it is asked again when the broker is back
    const message = encoder.encode(text);
    this.#attempt(() => this.#adapter.publish(WHO + room, message));
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
      (body) => this.#pass(body, target, options),
      (error) => this.#post.failed(error),
    );
  }

  /** Ends, when all has been passed on. */
  async close(): Promise<void> {
    await this.#blobs.idle;
    this.fleet.leave();
    this.#isClosed = true;
    clearTimeout(this.#retry);
    this.journal?.down();
    await this.#adapter.close();
  }

  #pass(
    body: BroadcastBody,
    target: BroadcastTarget,
    options: SendOptions,
  ): void {
    const id = ++this.#count;
    const broadcast = { from: this.#name, id, target, body, options };
    if (this.journal) return this.journal.send(broadcast);
    const message = encodeEnvelope(broadcast);
    const { rooms } = target;
    const channels = rooms
      ? [...new Set(rooms)].map(roomChannel)
      : [ALL_CHANNEL];
    if (this.#isUp) return this.#send({ channels, message });
    this.#kept.push({ channels, message });
    if (this.#kept.length <= this.#keep) return;
    this.#kept.shift();
    this.#lost++;
  }

  #send({ channels, message }: Parcel): void {
    for (const channel of channels) {
      this.#attempt(() => this.#adapter.publish(channel, message), () => {
        this.#lost++;
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
    failed = () => {},
  ): Promise<void> | undefined {
    const fail = (error: unknown) => {
      failed();
      // While the broker is away, that is told already.
      if (this.#isUp && !this.#isClosed) this.#post.failed(error);
    };
    try {
      return action()?.catch(fail);
    } catch (error) {
      fail(error);
      return undefined;
    }
  }

  #change(state: "up" | "down", error: unknown): void {
    const isThere = state === "up";
    if (this.#isThere === isThere || this.#isClosed) return;
    this.#isThere = isThere;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    if (!this.journal) this.#tell(isThere, error);
    else if (isThere) this.#open(this.journal);
    else {
      this.journal.down();
      this.#tell(false, error);
    }
  }

  /** The broker is there, but may not keep anything yet. */
  async #open(journal: Journal): Promise<void> {
    try {
      if (await journal.up()) this.#tell(true, undefined);
    } catch (error) {
      if (this.#isClosed) return;
      if (this.#retry === undefined) this.#post.changed("down", error);
      this.#retry = startTimer(() => this.#open(journal), RETRY);
    }
  }

  #tell(isUp: boolean, error: unknown): void {
    if (this.#isUp === isUp || this.#isClosed) return;
    this.#isUp = isUp;
    if (isUp) {
      this.fleet.start();
      this.#presence?.up();
      for (const parcel of this.#kept.splice(0)) this.#send(parcel);
    } else {
      this.#presence?.down();
      this.fleet.stop();
    }
    this.#post.changed(isUp ? "up" : "down", error);
  }

  #receive(channel: string, message: Uint8Array, offset?: number): void {
    if (this.#isClosed) return;
    try {
      if (channel === FLEET) return this.fleet.hear(decoder.decode(message));
      if (channel.startsWith(WHO)) {
        const room = channel.slice(WHO.length);
        const from = this.#presence?.hear(room, decoder.decode(message));
        if (from !== undefined) this.fleet.meet(from);
        return;
      }
      const broadcast = decodeEnvelope(message);
      if (broadcast === undefined) return;
      if (this.journal && offset !== undefined) {
        return this.journal.receive(channel, broadcast, offset);
      }
      if (broadcast.from === this.#name || this.#isKnown(broadcast)) return;
      this.#post.deliver(broadcast);
    } catch (error) {
      this.#post.failed(error);
    }
  }

  /** Whether a message to several rooms has come before, for another of them. */
  #isKnown({ target: { rooms }, from, id }: SequencedBroadcast): boolean {
    if (rooms === undefined || rooms.length < 2) return false;
    const name = `${from} ${id}`;
    if (this.#seen.has(name)) return true;
    this.#seen.add(name);
    for (const oldest of this.#seen) {
      if (this.#seen.size <= MEMORY) break;
      this.#seen.delete(oldest);
    }
    return false;
  }
}
