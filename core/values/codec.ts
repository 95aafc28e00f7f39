/**
 * Encodes values as frames and decodes them: strings and bytes unchanged, all else as JSON.
 *
 * @module
 */

import { ignoreRejection, isThenable } from "../events/errors.ts";
import { Feature } from "../util/feature.ts";

/** The payload of a frame: a string for a text frame, all else for a binary frame. */
export type Frame = string | ArrayBuffer | ArrayBufferView<ArrayBuffer> | Blob;

/**
 * The data that can be sent. A string is sent unchanged in a text frame, bytes and a
 * `Blob` in a binary frame, and any other value as JSON in a text frame. Functions,
 * promises, `undefined`, symbols and bigints are compile-time errors, as JSON cannot
 * represent them.
 */
export type Sendable =
  | string
  | number
  | boolean
  | null
  | (object & SendableObject)
  | (SendableObject & { readonly [name: string]: unknown });

/** An object that is neither a function nor a promise. */
export interface SendableObject {
  /** Excludes functions. */
  readonly [Symbol.hasInstance]?: never;
  /** Excludes promises: this property must not exist. */
  readonly then?: Exclude<Sendable, object> | SendableObject | undefined;
}

/**
 * A serialization format that replaces JSON. It encodes every value, including strings
 * and bytes. Both ends must use the same codec; they negotiate it by name in the
 * `events.v1` subprotocol.
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
  /** The name: ASCII letters, digits and hyphens. */
  readonly name: string;
  /**
   * Encodes a value. If it throws, `send` throws a `TypeError` with that error as its
   * `cause`.
   *
   * @param value The value to encode.
   * @returns The payload: a string for a text frame, bytes for a binary frame.
   */
  readonly encode: (value: unknown) => string | Uint8Array;
  /**
   * Decodes a payload. If it throws, the getter `message.data` throws that error.
   *
   * @param frame The payload: a string of a text frame, bytes of a binary frame.
   * @returns The decoded value.
   */
  readonly decode: (frame: string | Uint8Array<ArrayBuffer>) => unknown;
}

const utf8Encoder = new TextEncoder();

/** Undefined in pages that are not cross-origin isolated. */
const SharedBuffer: typeof SharedArrayBuffer | undefined =
  globalThis.SharedArrayBuffer;

/**
 * Encodes a value as a frame.
 *
 * @returns The same string, bytes or `Blob`, or the JSON of any other value.
 * @throws {TypeError} If JSON cannot represent the value: `undefined`, a function, a
 * symbol, a bigint, a circular structure. Also for a promise, a `Map` or a `Set`, which
 * JSON would serialize as an empty object.
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
      `Cannot send a value that JSON cannot represent: ${
        cause instanceof Error ? cause.message.split("\n", 1)[0] : cause
      }`,
      { cause },
    );
  }
  if (json === undefined) {
    throw new TypeError(
      `Cannot send a value that JSON cannot represent: its type is ${typeof data}`,
    );
  }
  if (json === "{}") assertNoLostFields(data);
  return json;
}

/** Encodes with a codec; see `codec_encoding.ts`. */
export interface CodecEncoding {
  /** The codec that the option `strictJson` uses: JSON, with a check of each value. */
  readonly strictJson: Codec;
  /**
   * Checks the option `codec`.
   *
   * @throws {TypeError} If it is not a codec, or its name is not a valid one.
   */
  assert(codec: Codec): void;
  /**
   * Encodes a value as a frame.
   *
   * @throws {TypeError} If the value cannot be encoded.
   */
  encode(data: unknown, codec: Codec): Frame;
}

/** See {@linkcode CodecEncoding}. */
export const codecFeature: Feature<CodecEncoding> = new Feature("codec");

/**
 * Encodes a value as a frame, with a codec or else with {@linkcode encodeValue}.
 *
 * @throws {TypeError} If the value cannot be encoded.
 */
export function encodeWith(data: unknown, codec: Codec | undefined): Frame {
  return codec
    ? codecFeature.require("a codec").encode(data, codec)
    : encodeValue(data);
}

/**
 * Decodes a payload, with a codec if there is one. Without a codec, text is decoded by
 * {@linkcode decodeText}, and bytes are returned unchanged.
 *
 * @throws {unknown} The error of the codec.
 * @throws {TypeError} If the codec is asynchronous, as messages would get out of order.
 */
export function decodeWith(
  payload: string | ArrayBuffer,
  codec: Codec | undefined,
): unknown {
  if (typeof payload === "string") {
    return codec ? decodeByCodec(payload, codec) : decodeText(payload);
  }
  const bytes = new Uint8Array(payload);
  return codec ? decodeByCodec(bytes, codec) : bytes;
}

function decodeByCodec(
  frame: string | Uint8Array<ArrayBuffer>,
  codec: Codec,
): unknown {
  const value = codec.decode(frame);
  if (isThenable(value)) assertNoPromise(value, codec);
  return value;
}

/** The error of an asynchronous codec, which is not the fault of a peer. */
export class AsyncCodecError extends TypeError {}

/** Throws for an asynchronous codec. Its rejections must not end the process. */
export function assertNoPromise(
  value: PromiseLike<unknown>,
  { name }: Codec,
): never {
  ignoreRejection(Promise.resolve(value));
  throw new AsyncCodecError(
    `Cannot use the codec "${name}" as it is asynchronous: return values instead of promises`,
  );
}

/** Checks that JSON has not serialized a `Map`, a `Set` or the like as `{}`. */
function assertNoLostFields(data: unknown): void {
  if (typeof data !== "object" || data === null) return;
  const { constructor } = data;
  const prototype: unknown = Object.getPrototypeOf(data);
  // The prototype of a plain object has no prototype itself, in any realm.
  const isPlain = prototype === null ||
    Object.getPrototypeOf(prototype) === null;
  // Undefined properties are no loss, and `toJSON` is deliberate.
  if (isPlain || "toJSON" in data || Object.keys(data).length > 0) return;
  const hint = data instanceof Promise
    ? "await it first"
    : Symbol.iterator in data
    ? "convert it to an array first"
    : "copy its data into a plain object first";
  throw new TypeError(
    `Cannot send an instance of ${
      constructor?.name || "an anonymous class"
    } as JSON would serialize it as {}: ${hint}`,
  );
}

/** Checks that a buffer was not transferred, for example by `postMessage`. */
function assertAttached(buffer: ArrayBuffer): ArrayBuffer {
  if (buffer.detached) {
    throw new TypeError(
      "Cannot send a detached buffer, as it was transferred: send a copy of it instead",
    );
  }
  return buffer;
}

/** Copies shared memory, which another thread could change while it is sent. */
function copyIfShared(view: ArrayBufferView): ArrayBufferView<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = view;
  return buffer instanceof ArrayBuffer
    ? new Uint8Array(assertAttached(buffer), byteOffset, byteLength)
    : new Uint8Array(new Uint8Array(buffer, byteOffset, byteLength));
}

/** Returns a view of the bytes of a binary frame, without a copy. */
export function toBytes(
  frame: ArrayBuffer | ArrayBufferView<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  return frame instanceof ArrayBuffer
    ? new Uint8Array(frame)
    : new Uint8Array(frame.buffer, frame.byteOffset, frame.byteLength);
}

/** The size of a payload as limits count it: UTF-16 code units of a text, else bytes. */
export function sizeOf(frame: Frame): number {
  if (typeof frame === "string") return frame.length;
  return frame instanceof Blob ? frame.size : frame.byteLength;
}

/** Returns the length of a payload in bytes; text is counted as UTF-8. */
export function byteLengthOf(frame: Frame): number {
  if (typeof frame !== "string") return sizeOf(frame);
  let size = 0;
  for (let at = 0; at < frame.length;) {
    const { read, written } = utf8Encoder.encodeInto(frame.slice(at), scratch);
    at += read;
    size += written;
  }
  return size;
}

/**
 * Returns the memory that a payload takes, in bytes; for a `Blob`, once it is read. V8
 * stores a string in one byte per UTF-16 code unit if all are below 256, else in two.
 */
export function memoryOf(frame: Frame): number {
  if (typeof frame !== "string") {
    return frame instanceof Blob ? frame.size : frame.byteLength;
  }
  return frame.length * (TWO_BYTE.test(frame) ? 2 : 1);
}

const TWO_BYTE = /[^\0-\xff]/;

/** The target when text is encoded only to measure it. */
const scratch = new Uint8Array(16_384);

/**
 * Whether a payload has more than `max` bytes. Most text is so short or so long that it
 * need not be encoded to find out.
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
 * The maximum nesting depth of JSON (RFC 8259, section 9, allows such a limit). V8 needs
 * a second to parse 1 MiB of opening brackets, and 30 ms at this depth.
 */
const MAX_DEPTH = 10_000;

/**
 * Decodes a text frame: the parsed JSON, or the raw text if it does not parse or is
 * nested more than 10,000 levels deep. Never throws.
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
 * Whether text could be JSON, judged by its first character. This avoids most of the
 * exceptions of `JSON.parse`, which cost far more than parsing.
 */
function mayBeJson(text: string): boolean {
  return '{["-tfn0123456789 \t\n\r'.includes(text.charAt(0)) && text !== "";
}

/** Whether JSON is nested more than `MAX_DEPTH` levels deep. */
function isTooDeep(text: string): boolean {
  // Most text is too short, or has too few opening brackets.
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

/** Whether text has more than `MAX_DEPTH` opening brackets and braces. */
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
/** The code of the closing bracket or brace is greater by 2. */
const BRACKET = "[".charCodeAt(0);
const BRACE = "{".charCodeAt(0);
