/**
 * Value to frame and back: strings and bytes as they are, all else as JSON.
 *
 * @module
 */

import { assertType } from "../events/errors.ts";

/** What a WebSocket takes: a string goes out as text, the rest as binary. */
export type Frame = string | ArrayBuffer | ArrayBufferView<ArrayBuffer> | Blob;

/**
 * What can be sent: a string goes out as it is, bytes and a `Blob` as a binary
 * frame, all else as JSON. What JSON cannot hold does not compile: a function,
 * a promise that was not awaited, `undefined`, a symbol, a bigint.
 */
export type Sendable =
  | string
  | number
  | boolean
  | null
  | (object & SendableObject)
  | (SendableObject & { readonly [name: string]: unknown });

/** Neither a function, nor a promise that was not awaited. */
export interface SendableObject {
  /** Only functions have it. */
  readonly [Symbol.hasInstance]?: never;
  /** May be anything but the method of a promise. */
  readonly then?: Exclude<Sendable, object> | SendableObject | undefined;
}

/**
 * Turns values into what is sent, and back, instead of JSON: all of them, strings
 * and bytes as well. Both ends have to use the same one, and agree on it by its name
 * when they connect; so it needs `events.v1`.
 *
 * @example MessagePack
 * ```ts
 * import { ClientSocket, type Codec } from "jsr:@ws/events";
 * import { decode, encode } from "npm:@msgpack/msgpack@3.1.2";
 *
 * const msgpack: Codec = {
 *   name: "msgpack",
 *   encode: (value) => encode(value),
 *   decode: (frame) => typeof frame === "string" ? frame : decode(frame),
 * };
 * const client = new ClientSocket({ codec: msgpack });
 * ```
 */
export interface Codec {
  /** Its name, of letters, digits and dashes. */
  readonly name: string;
  /**
   * Turns a value into what is sent.
   *
   * @param value The value.
   * @returns A text, or bytes. What it throws, `send` throws as the cause of a
   * `TypeError`.
   */
  readonly encode: (value: unknown) => string | Uint8Array;
  /**
   * Turns what has come into a value.
   *
   * @param frame The text, or the bytes.
   * @returns The value. What it throws, `message.data` throws.
   */
  readonly decode: (frame: string | Uint8Array<ArrayBuffer>) => unknown;
}

/**
 * Checks an option.
 *
 * @param codec What is to be a codec, if there is to be one.
 * @throws {TypeError} If its name cannot be told to a peer.
 */
export function assertCodec(codec: Codec | undefined): void {
  if (codec === undefined) return;
  assertType("codec", codec, "object");
  assertType("codec.encode", codec.encode, "function");
  assertType("codec.decode", codec.decode, "function");
  const { name } = codec;
  if (typeof name === "string" && /^[A-Za-z0-9-]+$/.test(name)) return;
  throw new TypeError(
    `Cannot use a codec whose name is not made of letters, digits and dashes: current value is "${name}"`,
  );
}

const utf8Encoder = new TextEncoder();

/** Is missing in pages that are not isolated from others. */
const SharedBuffer: typeof SharedArrayBuffer | undefined =
  globalThis.SharedArrayBuffer;

/**
 * Turns a value into what a WebSocket sends.
 *
 * @param data The value.
 * @returns The same string, bytes or `Blob`, or the JSON of all else.
 * @throws {TypeError} If JSON cannot hold the value: `undefined`, a function,
 * a symbol, a bigint, a cycle; also for a promise, a `Map` or a `Set`, which JSON
 * would turn into an empty object.
 */
export function encodeValue(data: unknown): Frame {
  if (typeof data === "string") return data;
  if (typeof data === "object" && data !== null) {
    if (data instanceof ArrayBuffer) return assertAttached(data);
    if (ArrayBuffer.isView(data)) return copyIfShared(data);
    if (data instanceof Blob) return data;
    if (SharedBuffer && data instanceof SharedBuffer) {
      return copyIfShared(new DataView(data));
    }
  }
  let json: string | undefined;
  try {
    json = JSON.stringify(data);
  } catch (cause) {
    throw new TypeError(
      `Cannot send a value that JSON cannot hold: ${
        cause instanceof Error ? cause.message.split("\n", 1)[0] : cause
      }`,
      { cause },
    );
  }
  if (json === undefined) {
    throw new TypeError(
      `Cannot send a value that JSON cannot hold: its type is ${typeof data}`,
    );
  }
  if (json === "{}") assertNoLostFields(data);
  return json;
}

/**
 * Turns a value into what a WebSocket sends, by a codec if there is one.
 *
 * @param data The value.
 * @param codec The codec; JSON if there is none.
 * @returns As {@linkcode encodeValue}.
 * @throws {TypeError} If the codec cannot hold the value.
 */
export function encodeWith(data: unknown, codec: Codec | undefined): Frame {
  if (codec === undefined) return encodeValue(data);
  if (data instanceof Blob) {
    throw new TypeError(
      `Cannot send a Blob by the codec "${codec.name}": await its bytes first`,
    );
  }
  let frame: string | Uint8Array;
  try {
    frame = codec.encode(data);
  } catch (cause) {
    throw new TypeError(
      `Cannot send a value that the codec "${codec.name}" cannot hold: ${
        cause instanceof Error ? cause.message : cause
      }`,
      { cause },
    );
  }
  if (typeof frame === "string" || frame instanceof Uint8Array) {
    return encodeValue(frame);
  }
  throw new TypeError(
    `Cannot send what the codec "${codec.name}" gives, which is neither a string nor a Uint8Array: its type is ${typeof frame}`,
  );
}

/**
 * The value of what has come.
 *
 * @param payload The text, or the bytes.
 * @param codec The codec; JSON if there is none.
 * @returns What the codec says; without one, of a text what {@linkcode decodeText} says,
 * or the bytes.
 */
export function decodeWith(
  payload: string | ArrayBuffer,
  codec: Codec | undefined,
): unknown {
  if (typeof payload === "string") {
    return codec ? codec.decode(payload) : decodeText(payload);
  }
  const bytes = new Uint8Array(payload);
  return codec ? codec.decode(bytes) : bytes;
}

/** Checks that JSON has not turned what holds something into an empty object. */
function assertNoLostFields(data: unknown): void {
  if (typeof data !== "object" || data === null) return;
  const { constructor } = data;
  const prototype: unknown = Object.getPrototypeOf(data);
  // A plain object's has none, in whatever frame it was made.
  const isPlain = prototype === null ||
    Object.getPrototypeOf(prototype) === null;
  // Fields that are not set are no loss, and `toJSON` knows what it does.
  if (isPlain || "toJSON" in data || Object.keys(data).length > 0) return;
  const hint = data instanceof Promise
    ? "await it first"
    : Symbol.iterator in data
    ? "spread it into a list first"
    : "write what it holds into a plain object first";
  throw new TypeError(
    `Cannot send an instance of ${
      constructor?.name || "a class without a name"
    } as JSON makes an empty object of it: ${hint}`,
  );
}

/** A buffer that was not handed to somebody else, as `postMessage` may do. */
function assertAttached(buffer: ArrayBuffer): ArrayBuffer {
  if (buffer.detached) {
    throw new TypeError(
      "Cannot send a buffer that is detached: its bytes are somebody else's now",
    );
  }
  return buffer;
}

/** A view of memory that no other thread can change while it is sent. */
function copyIfShared(view: ArrayBufferView): ArrayBufferView<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = view;
  return buffer instanceof ArrayBuffer
    ? new Uint8Array(assertAttached(buffer), byteOffset, byteLength)
    : new Uint8Array(new Uint8Array(buffer, byteOffset, byteLength));
}

/**
 * The bytes of a binary frame, where they are.
 *
 * @param frame The frame.
 * @returns Its bytes.
 */
export function toBytes(
  frame: ArrayBuffer | ArrayBufferView<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  return frame instanceof ArrayBuffer
    ? new Uint8Array(frame)
    : new Uint8Array(frame.buffer, frame.byteOffset, frame.byteLength);
}

/**
 * Puts bytes behind others.
 *
 * @param head What comes first.
 * @param tail What comes then.
 * @returns All of it.
 */
export function concatBytes(
  head: Uint8Array,
  tail: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(head.length + tail.length);
  bytes.set(head);
  bytes.set(tail, head.length);
  return bytes;
}

/**
 * How many bytes a frame's payload takes; a text is UTF-8.
 *
 * @param frame The frame.
 * @returns The number of bytes.
 */
export function byteLengthOf(frame: Frame): number {
  if (typeof frame !== "string") {
    return frame instanceof Blob ? frame.size : frame.byteLength;
  }
  let size = 0;
  for (let at = 0; at < frame.length;) {
    const { read, written } = utf8Encoder.encodeInto(frame.slice(at), scratch);
    at += read;
    size += written;
  }
  return size;
}

/**
 * How many bytes of memory a frame takes. V8 stores a text in one byte per UTF-16 code
 * unit if all of them are below 256, and in two otherwise.
 *
 * @param frame The frame.
 * @returns The bytes; of a `Blob` those that it has once it is read.
 */
export function memoryOf(frame: Frame): number {
  if (typeof frame !== "string") {
    return frame instanceof Blob ? frame.size : frame.byteLength;
  }
  return frame.length * (TWO_BYTE.test(frame) ? 2 : 1);
}

const TWO_BYTE = /[^\0-\xff]/;

/** Where texts are encoded for their length alone. */
const scratch = new Uint8Array(16_384);

/**
 * Whether a frame's payload takes more bytes than a bound. Most texts are so
 * short, or so long, that they need not be encoded for that.
 *
 * @param frame The frame.
 * @param max The bound.
 * @returns True if it does.
 */
export function isLargerThan(
  frame: string | ArrayBuffer,
  max: number,
): boolean {
  if (typeof frame !== "string") return frame.byteLength > max;
  // A UTF-16 code unit takes one to three bytes.
  if (frame.length * 3 <= max) return false;
  return frame.length > max || byteLengthOf(frame) > max;
}

/**
 * How deep JSON may be nested (RFC 8259, 9, lets a parser set such a limit). V8 takes
 * a second for 1 MiB of opening brackets, and 30 ms for as many at this depth.
 */
const MAX_DEPTH = 10_000;

/**
 * The value of a text frame: the parsed JSON, or the text itself if it does not
 * parse, or is nested deeper than 10,000 levels. Never throws.
 *
 * @param text The text of the frame.
 * @returns The value.
 */
export function decodeText(text: string): unknown {
  if (!mayBeJson(text) || isTooDeep(text)) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/**
 * Whether a text begins as JSON does. An exception costs many times what
 * parsing does, and most text that is no JSON shows it at the first character.
 */
function mayBeJson(text: string): boolean {
  return '{["-tfn0123456789 \t\n\r'.includes(text.charAt(0)) && text !== "";
}

/** Whether JSON is nested so deep that it is not parsed. */
function isTooDeep(text: string): boolean {
  // Most texts are too short, or do not open enough brackets.
  if (text.length <= MAX_DEPTH || !opensMany(text)) return false;
  let depth = 0;
  let isString = false;
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i);
    if (isString) {
      if (char === BACKSLASH) i++;
      else if (char === QUOTE) isString = false;
    } else if (char === QUOTE) isString = true;
    else if (char === BRACKET || char === BRACE) {
      if (++depth > MAX_DEPTH) return true;
    } else if (char === BRACKET + 2 || char === BRACE + 2) depth--;
  }
  return false;
}

/** Whether a text has more opening brackets than JSON may be deep. */
function opensMany(text: string): boolean {
  let count = 0;
  for (const bracket of ["[", "{"]) {
    let at = text.indexOf(bracket);
    while (at >= 0 && count <= MAX_DEPTH) {
      count++;
      at = text.indexOf(bracket, at + 1);
    }
  }
  return count > MAX_DEPTH;
}

const BACKSLASH = "\\".charCodeAt(0);
const QUOTE = '"'.charCodeAt(0);
/** The closing one is two further, as it is with the brace. */
const BRACKET = "[".charCodeAt(0);
const BRACE = "{".charCodeAt(0);
