/**
 * Passes on to other servers what is sent to rooms and to all, and takes what they
 * pass on.
 *
 * @module
 */

import type { Adapter } from "./adapter.ts";
import type { SendOptions } from "./backlog.ts";
import { bytesOf, type Frame, joined } from "./codec.ts";
import { Fleet, type Inquiry } from "./fleet.ts";
import { DONE } from "./errors.ts";

/** Whom a message is for, on whatever server. */
export interface Address {
  /** Those who are in one of these rooms; all if there are none. */
  readonly rooms?: readonly string[];
  /** But not those who are in one of these. */
  readonly except: readonly string[];
}

/** What a relay needs of its server. */
export interface Post {
  /**
   * Sends to those who are here.
   *
   * @param frame What to send.
   * @param address To whom.
   * @param options What to do where it does not fit.
   */
  deliver(frame: Frame, address: Address, options: SendOptions): void;
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
   * @returns A number.
   */
  answer(inquiry: Inquiry): number;
  /**
   * Hears of an error.
   *
   * @param error The error.
   */
  failed(error: unknown): void;
}

/** What stands before a message on its way to other servers. */
interface Header extends Address, SendOptions {
  /** The version of this; a server passes over what it does not know. */
  readonly version: 1;
  /** Which server it is from. */
  readonly from: string;
  /** Which of its messages it is. */
  readonly id: number;
  readonly isBinary: boolean;
}

/** What waits for the broker. */
interface Parcel {
  readonly channels: readonly string[];
  readonly message: Uint8Array<ArrayBuffer>;
}

/** The channel of what is for all. */
const ALL = "all";

/** The channel of what servers say to each other. */
const FLEET = "fleet";

/** How many messages to several rooms are remembered, to deliver each once. */
const MEMORY = 4096;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** One server's link to the others. */
export class Relay {
  readonly #adapter: Adapter;
  readonly #post: Post;
  readonly #keep: number;
  readonly #name: string = crypto.randomUUID();
  /** The other servers. */
  readonly fleet: Fleet;
  #count = 0;
  #isUp = false;
  #isClosed = false;
  #lost = 0;
  readonly #kept: Parcel[] = [];
  /** Messages to several rooms that have come already. */
  readonly #seen = new Set<string>();
  /** How many wait for the bytes of a `Blob`, and a promise of the last. */
  #waiting = 0;
  #busy: Promise<void> = DONE;

  /**
   * Opens the adapter.
   *
   * @param adapter What carries messages.
   * @param keep How many to keep while it cannot.
   * @param post The server.
   */
  constructor(adapter: Adapter, keep: number, post: Post) {
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
    });
    adapter.open({
      received: (channel, message) => this.#receive(channel, message),
      changed: (state, error) => this.#change(state, error),
    });
    this.#attempt(() => adapter.subscribe(ALL));
    this.#attempt(() => adapter.subscribe(FLEET));
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
    this.#attempt(() => this.#adapter.subscribe(channelOf(room)));
  }

  /**
   * Nobody here is in a room any more.
   *
   * @param room The room.
   */
  leave(room: string): void {
    if (this.#isClosed) return;
    this.#attempt(() => this.#adapter.unsubscribe(channelOf(room)));
  }

  /**
   * Passes a message on, in the order of the calls.
   *
   * @param frame The message.
   * @param address Whom it is for.
   * @param options What to do where it does not fit.
   */
  publish(frame: Frame, address: Address, options: SendOptions): void {
    if (!(frame instanceof Blob) && this.#waiting === 0) {
      return this.#pass(frame, address, options);
    }
    // The bytes of a `Blob` take time; all else waits behind it.
    this.#waiting++;
    this.#busy = this.#passLater(this.#busy, frame, address, options);
  }

  async #passLater(
    before: Promise<void>,
    frame: Frame,
    address: Address,
    options: SendOptions,
  ): Promise<void> {
    await before;
    try {
      const bytes = frame instanceof Blob ? await frame.bytes() : frame;
      this.#pass(bytes, address, options);
    } catch (error) {
      this.#post.failed(error);
    }
    this.#waiting--;
  }

  /** Ends, when all has been passed on. */
  async close(): Promise<void> {
    await this.#busy;
    this.fleet.leave();
    this.#isClosed = true;
    await this.#adapter.close();
  }

  #pass(
    frame: Exclude<Frame, Blob>,
    address: Address,
    options: SendOptions,
  ): void {
    const { rooms, except } = address;
    const isBinary = typeof frame !== "string";
    const header: Header = {
      version: 1,
      from: this.#name,
      id: ++this.#count,
      ...rooms && { rooms },
      except,
      isBinary,
      ...optionsOf(options),
    };
    const message = joined(
      encoder.encode(JSON.stringify(header) + "\n"),
      isBinary ? bytesOf(frame) : encoder.encode(frame),
    );
    const channels = rooms ? [...new Set(rooms)].map(channelOf) : [ALL];
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

  /** Calls the adapter, which may fail now or later. */
  #attempt(action: () => void | Promise<void>, failed = () => {}): void {
    const fail = (error: unknown) => {
      failed();
      // While the broker is away, that is told already.
      if (this.#isUp && !this.#isClosed) this.#post.failed(error);
    };
    try {
      action()?.catch(fail);
    } catch (error) {
      fail(error);
    }
  }

  #change(state: "up" | "down", error: unknown): void {
    const isUp = state === "up";
    if (this.#isUp === isUp || this.#isClosed) return;
    this.#isUp = isUp;
    if (isUp) {
      this.fleet.start();
      for (const parcel of this.#kept.splice(0)) this.#send(parcel);
    } else this.fleet.stop();
    this.#post.changed(state, error);
  }

  #receive(channel: string, message: Uint8Array): void {
    if (this.#isClosed) return;
    try {
      if (channel === FLEET) return this.fleet.hear(decoder.decode(message));
      const { header, body } = split(message);
      if (header === undefined || header.from === this.#name) return;
      if (this.#isKnown(header)) return;
      const frame = header.isBinary ? body.slice() : decoder.decode(body);
      this.#post.deliver(frame, header, optionsOf(header));
    } catch (error) {
      this.#post.failed(error);
    }
  }

  /** Whether a message to several rooms has come before, for another of them. */
  #isKnown({ rooms, from, id }: Header): boolean {
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

/** The options of a message, and nothing else that stands beside them. */
function optionsOf({ overflow, key }: SendOptions): SendOptions {
  return {
    ...overflow && { overflow },
    ...key !== undefined && { key },
  };
}

function channelOf(room: string): string {
  return `room ${room}`;
}

/** The two parts of a message; no header if it is of a version that is not known. */
function split(
  message: Uint8Array,
): { header: Header | undefined; body: Uint8Array } {
  const end = message.indexOf(10);
  const json: unknown = JSON.parse(decoder.decode(message.subarray(0, end)));
  const body = message.subarray(end + 1);
  if (isHeader(json)) return { header: json, body };
  const isLater = typeof json === "object" && json !== null &&
    "version" in json && Number(json.version) > 1;
  if (isLater) return { header: undefined, body };
  throw new TypeError(
    `Cannot read what has come from another server: ${JSON.stringify(json)}`,
  );
}

function isHeader(json: unknown): json is Header {
  return typeof json === "object" && json !== null && "version" in json &&
    json.version === 1 && "from" in json && typeof json.from === "string" &&
    "id" in json && typeof json.id === "number" && "isBinary" in json &&
    "except" in json && Array.isArray(json.except) &&
    (!("rooms" in json) || Array.isArray(json.rooms));
}
