/**
 * Combines the messages sent in one turn of the microtasks into one frame, as most of the
 * cost of a message is the kernel's work per frame.
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

/** What a socket accepts. */
type SocketData = Parameters<SocketSink["send"]>[0];

/** The maximum size of the items of a batch, without its mark and kind. */
const MAX_ITEMS_BYTES = MAX_BATCH_BYTES - 2;

/** The maximum overhead of an item. */
const ITEM_OVERHEAD_BYTES = 4;

/** The batchers to flush at the end of this turn. */
let pendingBatchers: FrameBatcher[] = [];

function flushAll(): void {
  const batchers = pendingBatchers;
  pendingBatchers = [];
  for (const batcher of batchers) batcher.flush();
}

/** The last batch of texts and its encoding, shared by all clients of a broadcast. */
let lastTextBatch: {
  readonly texts: readonly string[];
  readonly batch: string;
} = {
  texts: [],
  batch: "",
};

/** The last large text and its parts, shared by all clients of a broadcast. */
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

/** A sink that sends batches, for peers that support `events.v1`. */
export class FrameBatcher implements SocketSink {
  readonly #socket: RawSocket;
  readonly #instrumented: Instrumented;
  readonly #hasParts: boolean;
  #texts: string[] = [];
  #binaries: Uint8Array<ArrayBuffer>[] = [];
  /** The approximate number of waiting bytes, and their maximum size in a batch. */
  #size = 0;
  #maxSize = 0;
  #frames = 0;

  /**
   * @param instrumented Provides the instrumentation.
   * @param hasParts Whether the peer supports parts of large frames.
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

  /** The number of bytes that wait to be sent, here and in the socket. */
  get bufferedAmount(): number {
    return this.#socket.bufferedAmount + this.#size;
  }

  /** The number of frames passed to the socket. */
  get frames(): number {
    return this.#frames;
  }

  /** The state of the socket. */
  get readyState(): number {
    return this.#socket.readyState;
  }

  /** Sends with the other messages of this turn, in order. */
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
    else this.#binaries.push(toBytes(data).slice()); // the caller may modify them
  }

  /** Splits a large frame, so that both sides notice progress while it is sent. */
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

  /** Discards waiting messages. The socket is not used any more. */
  clear(): void {
    this.#size = this.#maxSize = 0;
    this.#texts = [];
    this.#binaries = [];
  }

  /** Sends waiting messages now. */
  flush(): void {
    if (this.#maxSize === 0) return;
    const texts = this.#texts;
    const binaries = this.#binaries;
    this.clear();
    // A closing socket would silently discard it.
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
