/**
 * Value to frame and back: strings and bytes as they are, all else as JSON.
 *
 * @module
 */

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
  | (object & Inert)
  | (Inert & { readonly [name: string]: unknown });

/** Neither a function, nor a promise that was not awaited. */
export interface Inert {
  /** Only functions have it. */
  readonly [Symbol.hasInstance]?: never;
  /** May be anything but the method of a promise. */
  readonly then?: Exclude<Sendable, object> | Inert | undefined;
}

const encoder = new TextEncoder();

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
export function encode(data: unknown): Frame {
  if (typeof data === "string") return data;
  if (typeof data === "object" && data !== null) {
    if (data instanceof ArrayBuffer) return attached(data);
    if (ArrayBuffer.isView(data)) return unshared(data);
    if (data instanceof Blob) return data;
    if (SharedBuffer && data instanceof SharedBuffer) {
      return unshared(new DataView(data));
    }
    const lost = lostInJson(data);
    if (lost) throw new TypeError(`Cannot send ${lost}`);
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
  return json;
}

/** What JSON would turn into an empty object without a word. */
function lostInJson(data: object): string | undefined {
  if (data instanceof Promise) return "a promise: await it first";
  if (data instanceof Map) return "a Map: spread it into a list first";
  if (data instanceof Set) return "a Set: spread it into a list first";
  return undefined;
}

/** A buffer that was not handed to somebody else, as `postMessage` may do. */
function attached(buffer: ArrayBuffer): ArrayBuffer {
  if (buffer.detached) {
    throw new TypeError(
      "Cannot send a buffer that is detached: its bytes are somebody else's now",
    );
  }
  return buffer;
}

/** A view of memory that no other thread can change while it is sent. */
function unshared(view: ArrayBufferView): ArrayBufferView<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = view;
  return buffer instanceof ArrayBuffer
    ? new Uint8Array(attached(buffer), byteOffset, byteLength)
    : new Uint8Array(new Uint8Array(buffer, byteOffset, byteLength));
}

/**
 * How many bytes a frame's payload takes; a text is UTF-8.
 *
 * @param frame The frame.
 * @returns The number of bytes.
 */
export function sizeOf(frame: Frame): number {
  if (typeof frame !== "string") {
    return frame instanceof Blob ? frame.size : frame.byteLength;
  }
  let size = 0;
  for (let at = 0; at < frame.length;) {
    const { read, written } = encoder.encodeInto(frame.slice(at), scratch);
    at += read;
    size += written;
  }
  return size;
}

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
export function isLarger(frame: string | ArrayBuffer, max: number): boolean {
  if (typeof frame !== "string") return frame.byteLength > max;
  // A UTF-16 code unit takes one to three bytes.
  if (frame.length * 3 <= max) return false;
  return frame.length > max || sizeOf(frame) > max;
}

/**
 * The value of a text frame: what its JSON says, or the text itself where it
 * is no JSON. Never throws.
 *
 * @param text The text of the frame.
 * @returns The value.
 */
export function decode(text: string): unknown {
  if (!mayBeJson(text)) return text;
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
