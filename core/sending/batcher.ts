/**
 * Sends what is sent within one turn of the microtasks in one frame: most of what
 * a message costs is the kernel's work for its frame.
 *
 * @module
 */

import { toBytes } from "../values/codec.ts";
import {
  encodeBinaryBatch,
  encodeTextBatch,
  MAX_BATCH_BYTES,
  MAX_BATCH_ITEMS,
  SEPARATOR,
  splitIntoParts,
} from "../protocol/frames.ts";
import type { Instrumented } from "../events/instrumentation.ts";
import type { RawSocket, SocketSink } from "../runtime/websocket.ts";

/** What a socket takes. */
type Sent = Parameters<SocketSink["send"]>[0];

/** What the items of a batch may have: a mark and a kind come before them. */
const ROOM = MAX_BATCH_BYTES - 2;

/** What each item adds to a batch, at most. */
const OVERHEAD = 4;

/** Those that have something to send at the end of this turn. */
let waiting: Packer[] = [];

function flushAll(): void {
  const packers = waiting;
  waiting = [];
  for (const packer of packers) packer.flush();
}

/**
 * The texts of the last batch, and what was made of them: all clients of a broadcast
 * get the same.
 */
let last: { readonly texts: readonly string[]; readonly batch: string } = {
  texts: [],
  batch: "",
};

/** The last large text, and its parts: all clients of a broadcast get the same. */
let lastLarge: { readonly text: string; readonly parts: string[] } | undefined;

function partsOfText(text: string): string[] {
  if (lastLarge?.text !== text) {
    if (!lastLarge) queueMicrotask(() => lastLarge = undefined);
    lastLarge = { text, parts: splitIntoParts(text) };
  }
  return lastLarge.parts;
}

/** An outlet to a peer that understands batches. */
export class Packer implements SocketSink {
  readonly #socket: RawSocket;
  readonly #instrumented: Instrumented;
  readonly #hasParts: boolean;
  #texts: string[] = [];
  #parts: Uint8Array<ArrayBuffer>[] = [];
  /** About how many bytes wait here, and how many it may be in a batch. */
  #size = 0;
  #sizeAtMost = 0;
  #frames = 0;

  /**
   * Creates one.
   *
   * @param socket The socket.
   * @param instrumented Whether somebody looks into it.
   * @param hasParts Whether the peer understands parts of large frames.
   */
  constructor(
    socket: RawSocket,
    instrumented: Instrumented = {},
    hasParts = false,
  ) {
    this.#socket = socket;
    this.#instrumented = instrumented;
    this.#hasParts = hasParts;
  }

  /** How many bytes wait to be sent, here and in the socket. */
  get bufferedAmount(): number {
    return this.#socket.bufferedAmount + this.#size;
  }

  /** How many frames were handed to the socket. */
  get frames(): number {
    return this.#frames;
  }

  /** The state of the socket. */
  get readyState(): number {
    return this.#socket.readyState;
  }

  /**
   * Sends with this turn's other messages, in order.
   *
   * @param data What to send.
   */
  send(data: Sent): void {
    const isText = typeof data === "string";
    const size = isText ? data.length : data.byteLength;
    const sizeAtMost = (isText ? size * 3 : size) + OVERHEAD; // as UTF-8
    const isSingle = sizeAtMost > ROOM ||
      isText && data.includes(SEPARATOR);
    const others = isText ? this.#parts : this.#texts;
    const isFull = this.#sizeAtMost + sizeAtMost > ROOM ||
      this.#texts.length + this.#parts.length === MAX_BATCH_ITEMS;
    if (isSingle || isFull || others.length > 0) this.flush();
    if (isSingle) return this.#sendSingle(data, size);
    if (this.#sizeAtMost === 0 && waiting.push(this) === 1) {
      queueMicrotask(flushAll);
    }
    this.#size += size;
    this.#sizeAtMost += sizeAtMost;
    if (isText) this.#texts.push(data);
    else this.#parts.push(toBytes(data).slice()); // the sender may change them
  }

  /** In parts, a large frame shows both sides on its way that the line carries on. */
  #sendSingle(data: Sent, size: number): void {
    if (!this.#hasParts || size <= MAX_BATCH_BYTES) return this.#write(data);
    const parts = typeof data === "string"
      ? partsOfText(data)
      : splitIntoParts(toBytes(data));
    for (const part of parts) this.#write(part);
  }

  #write(data: Sent): void {
    this.#frames++;
    this.#socket.send(data);
  }

  /** Lets go of what waits here: nothing may be asked of the socket any more. */
  clear(): void {
    this.#size = this.#sizeAtMost = 0;
    this.#texts = [];
    this.#parts = [];
  }

  /** Sends what waits here now. */
  flush(): void {
    if (this.#sizeAtMost === 0) return;
    const texts = this.#texts;
    const parts = this.#parts;
    this.clear();
    // A socket that closes would take it, and send nothing.
    if (this.#socket.readyState !== 1) return;
    const count = texts.length + parts.length;
    if (count > 1) {
      this.#instrumented.instrumentation?.batched("transmit", count);
    }
    for (const data of [...packTexts(texts), ...packBytes(parts)]) {
      this.#write(data);
    }
  }
}

function packTexts(texts: readonly string[]): readonly string[] {
  if (texts.length < 2) return texts;
  const isSame = texts.length === last.texts.length &&
    texts.every((text, index) => text === last.texts[index]);
  if (!isSame) last = { texts, batch: encodeTextBatch(texts) };
  return [last.batch];
}

function packBytes(
  parts: readonly Uint8Array<ArrayBuffer>[],
): readonly Uint8Array<ArrayBuffer>[] {
  return parts.length < 2 ? parts : [encodeBinaryBatch(parts)];
}
