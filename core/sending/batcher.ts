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
} from "../protocol/frames.ts";
import { splitIntoParts } from "../protocol/parts.ts";
import type { Instrumented } from "../events/instrumentation.ts";
import type { RawSocket, SocketSink } from "../runtime/websocket.ts";

/** What a socket takes. */
type SocketData = Parameters<SocketSink["send"]>[0];

/** What the items of a batch may have: a mark and a kind come before them. */
const MAX_ITEMS_BYTES = MAX_BATCH_BYTES - 2;

/** What each item adds to a batch, at most. */
const ITEM_OVERHEAD_BYTES = 4;

/** Those that have something to send at the end of this turn. */
let pendingBatchers: FrameBatcher[] = [];

function flushAll(): void {
  const batchers = pendingBatchers;
  pendingBatchers = [];
  for (const batcher of batchers) batcher.flush();
}

/**
 * The texts of the last batch, and what was made of them: all clients of a broadcast
 * get the same.
 */
let lastTextBatch: {
  readonly texts: readonly string[];
  readonly batch: string;
} = {
  texts: [],
  batch: "",
};

/** The last large text, and its parts: all clients of a broadcast get the same. */
let lastSplitText:
  | { readonly text: string; readonly parts: string[] }
  | undefined;

function splitText(text: string): string[] {
  if (lastSplitText?.text !== text) {
    if (!lastSplitText) queueMicrotask(() => lastSplitText = undefined);
    lastSplitText = { text, parts: splitIntoParts(text) };
  }
  return lastSplitText.parts;
}

/** An outlet to a peer that understands batches. */
export class FrameBatcher implements SocketSink {
  readonly #socket: RawSocket;
  readonly #instrumented: Instrumented;
  readonly #hasParts: boolean;
  #texts: string[] = [];
  #binaries: Uint8Array<ArrayBuffer>[] = [];
  /** About how many bytes wait here, and how many it may be in a batch. */
  #size = 0;
  #maxSize = 0;
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
  send(data: SocketData): void {
    const isText = typeof data === "string";
    const size = isText ? data.length : data.byteLength;
    const maxSize = (isText ? size * 3 : size) + ITEM_OVERHEAD_BYTES; // as UTF-8
    const isUnbatchable = maxSize > MAX_ITEMS_BYTES ||
      isText && data.includes(SEPARATOR);
    const others = isText ? this.#binaries : this.#texts;
    const isFull = this.#maxSize + maxSize > MAX_ITEMS_BYTES ||
      this.#texts.length + this.#binaries.length === MAX_BATCH_ITEMS;
    if (isUnbatchable || isFull || others.length > 0) this.flush();
    if (isUnbatchable) return this.#sendSingle(data, size);
    if (this.#maxSize === 0 && pendingBatchers.push(this) === 1) {
      queueMicrotask(flushAll);
    }
    this.#size += size;
    this.#maxSize += maxSize;
    if (isText) this.#texts.push(data);
    else this.#binaries.push(toBytes(data).slice()); // the sender may change them
  }

  /** In parts, a large frame shows both sides on its way that the line carries on. */
  #sendSingle(data: SocketData, size: number): void {
    if (!this.#hasParts || size <= MAX_BATCH_BYTES) return this.#write(data);
    const parts = typeof data === "string"
      ? splitText(data)
      : splitIntoParts(toBytes(data));
    for (const part of parts) this.#write(part);
  }

  #write(data: SocketData): void {
    this.#frames++;
    this.#socket.send(data);
  }

  /** Lets go of what waits here: nothing may be asked of the socket any more. */
  clear(): void {
    this.#size = this.#maxSize = 0;
    this.#texts = [];
    this.#binaries = [];
  }

  /** Sends what waits here now. */
  flush(): void {
    if (this.#maxSize === 0) return;
    const texts = this.#texts;
    const binaries = this.#binaries;
    this.clear();
    // A socket that closes would take it, and send nothing.
    if (this.#socket.readyState !== 1) return;
    const count = texts.length + binaries.length;
    if (count > 1) {
      this.#instrumented.instrumentation?.batched("transmit", count);
    }
    for (const data of [...combineTexts(texts), ...combineBinaries(binaries)]) {
      this.#write(data);
    }
  }
}

function combineTexts(texts: readonly string[]): readonly string[] {
  if (texts.length < 2) return texts;
  const isSame = texts.length === lastTextBatch.texts.length &&
    texts.every((text, index) => text === lastTextBatch.texts[index]);
  if (!isSame) lastTextBatch = { texts, batch: encodeTextBatch(texts) };
  return [lastTextBatch.batch];
}

function combineBinaries(
  binaries: readonly Uint8Array<ArrayBuffer>[],
): readonly Uint8Array<ArrayBuffer>[] {
  return binaries.length < 2 ? binaries : [encodeBinaryBatch(binaries)];
}
