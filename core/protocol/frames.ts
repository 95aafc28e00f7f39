/**
 * The frames of `events.v1`, as specified in `docs/protocol.md`: types and encoding;
 * pure.
 *
 * @module
 */

import { type Frame, toBytes } from "../values/codec.ts";
import { concatBytes } from "../util/concat_bytes.ts";

/** The payload of a received frame. */
export type Payload = string | ArrayBuffer;

/** A decoded frame with a mark. */
export type MarkedFrame =
  /** A message whose payload begins with a mark. */
  | { readonly kind: "message"; readonly payload: Payload }
  /** A request. */
  | { readonly kind: "request"; readonly id: number; readonly payload: Payload }
  /** A reply. */
  | { readonly kind: "reply"; readonly id: number; readonly payload: Payload }
  /** An error reply. */
  | {
    readonly kind: "failure";
    readonly id: number;
    readonly failure: RequestFailure;
  }
  /** A ping, to be answered by a pong with the same text. */
  | { readonly kind: "ping"; readonly text: string }
  /** A pong. */
  | { readonly kind: "pong"; readonly text: string }
  /** The total cost of messages that the peer may send on the connection. */
  | { readonly kind: "credit"; readonly limit: number }
  /** A stored message. */
  | {
    readonly kind: "stored";
    readonly offset: number;
    readonly payload: Payload;
  }
  /** The position of the client in the stream of stored messages. */
  | { readonly kind: "position"; readonly update: PositionUpdate }
  /** The trace context of the next request. */
  | { readonly kind: "trace"; readonly id: number; readonly text: string }
  /** The key of the next message. */
  | { readonly kind: "key"; readonly key: string }
  /** Several frames in one. */
  | { readonly kind: "batch"; readonly items: readonly Payload[] }
  /** A part of a large frame. */
  | {
    readonly kind: "part";
    readonly isLast: boolean;
    readonly payload: Payload;
  }
  /** A frame of a later version that may be ignored. */
  | { readonly kind: "unknown" };

/** The content of an error reply. */
export interface RequestFailure {
  /** The human-readable reason. */
  readonly message: string;
  /** The machine-readable code. */
  readonly code?: string;
}

/** A position in the stream of stored messages. */
export interface StreamPosition {
  /** The store that assigned the offset. Offsets of other stores are not comparable. */
  readonly epoch: string;
  /** The offset of the last message that the client may have received. */
  readonly offset: number;
}

/** The position of a client that has none. */
export const UNKNOWN_POSITION: StreamPosition = { epoch: "0", offset: 0 };

/** The position that a server sends to a client. */
export interface PositionUpdate {
  /** The position; undefined if the server does not store messages. */
  readonly position: StreamPosition | undefined;
  /** The token for the next reconnect; undefined if it has not changed. */
  readonly token?: string | undefined;
  /**
   * Whether all missed messages were replayed; undefined if the client did not ask for
   * it.
   */
  readonly recovered: boolean | undefined;
}

/** The first character of a marked text frame. */
export const MARK = "\u0001";

/** The first byte of a marked binary frame. */
export const MARK_BYTE = 0xc1;

/** Separates the items of a text batch. */
export const SEPARATOR = "\u001e";

/** The maximum size of a batch in bytes. */
export const MAX_BATCH_BYTES: number = 64 * 1024;

/**
 * The maximum number of items of a batch. A message costs at least 1 of the initial
 * credit, so that no more could be sent at once.
 */
export const MAX_BATCH_ITEMS = 1024;

/** The maximum id of a request. */
export const MAX_REQUEST_ID: number = 2 ** 32 - 1;

/** The length of the header of a binary request or reply: mark, kind, id. */
export const REQUEST_HEAD_BYTES = 6;

/** The length of the header of a binary stored message: mark, kind, offset. */
export const STORED_HEAD_BYTES = 10;

/** A frame as it is received: a copy, as the application may change its bytes later. */
export function payloadOf(frame: Exclude<Frame, Blob>): Payload {
  return typeof frame === "string" ? frame : toBytes(frame).slice().buffer;
}

/** Whether a frame begins with a mark, unlike a plain message. */
export function isMarked(payload: Payload): boolean {
  return typeof payload === "string"
    ? payload.charCodeAt(0) === 1
    : new Uint8Array(payload)[0] === MARK_BYTE;
}

/**
 * The kinds of marked frames that use credit; `c`, `j` and `l` belong to channels, `k` and
 * `q` to requests that are sent again.
 */
const CREDITED_KINDS = "=?@#cjlkq";

/** The kind of a marked frame; an empty string if it has none. */
export function kindOf(payload: Payload): string {
  return typeof payload === "string"
    ? payload.charAt(1)
    : String.fromCharCode(...new Uint8Array(payload).subarray(1, 2));
}

/**
 * Whether a frame uses credit: messages, requests, stored messages, positions and the
 * frames of channels. A batch does not, but its items do.
 */
export function isCounted(payload: Payload): boolean {
  if (!isMarked(payload)) return true;
  const kind = kindOf(payload);
  return kind !== "" && CREDITED_KINDS.includes(kind);
}

/** Whether a frame is a part of another frame, valid or not. */
export function isPart(payload: Payload): boolean {
  if (!isMarked(payload)) return false;
  const kind = kindOf(payload);
  return kind === "-" || kind === ".";
}

/** Whether a marked frame belongs to requests that are sent again. */
export function isRetryFrame(payload: Payload): boolean {
  const kind = kindOf(payload);
  return kind === "k" || kind === "q";
}

/**
 * Marks a message that would otherwise be taken for a marked frame. A `Blob` is always
 * marked, as its first byte is not known.
 */
export function escapeFrame(frame: Frame): Frame {
  if (typeof frame === "string") {
    return frame.charCodeAt(0) === 1 ? `${MARK}=${frame}` : frame;
  }
  if (frame instanceof Blob) return new Blob([ESCAPE_PREFIX, frame]);
  const bytes = toBytes(frame);
  return bytes[0] === MARK_BYTE ? concatBytes([ESCAPE_PREFIX, bytes]) : frame;
}

const ESCAPE_PREFIX = new Uint8Array([MARK_BYTE, "=".charCodeAt(0)]);

/** Reverts {@linkcode escapeFrame}. */
export function unescapeFrame(frame: Frame): Frame {
  if (typeof frame === "string") {
    return frame.startsWith(`${MARK}=`) ? frame.slice(2) : frame;
  }
  if (frame instanceof Blob) return frame.slice(2);
  const bytes = toBytes(frame);
  const isEscaped = bytes[0] === MARK_BYTE && bytes[1] === ESCAPE_PREFIX[1];
  return isEscaped ? bytes.subarray(2) : frame;
}

/** Encodes a request or a reply. */
export function encodeAddressed(
  kind: "request" | "reply",
  id: number,
  frame: Frame,
): Frame {
  const mark = kind === "request" ? "?" : "!";
  if (typeof frame === "string") return `${MARK}${mark}${id},${frame}`;
  const head = new Uint8Array(REQUEST_HEAD_BYTES);
  head[0] = MARK_BYTE;
  head[1] = mark.charCodeAt(0);
  new DataView(head.buffer).setUint32(2, id);
  return frame instanceof Blob
    ? new Blob([head, frame])
    : concatBytes([head, toBytes(frame)]);
}

/**
 * Encodes the trace context of a request.
 *
 * @param text The `traceparent`, followed by a comma and the `tracestate` if there is one
 * (W3C Trace Context).
 */
export function encodeTrace(id: number, text: string): string {
  return `${TRACE_PREFIX}${id},${text}`;
}

/** The prefix of a trace frame. */
export const TRACE_PREFIX: string = `${MARK}t`;

/** The maximum length of a key that is sent, in UTF-16 code units. */
export const MAX_KEY_LENGTH = 1024;

/** The kinds of marked frames that may have a key. */
const KEYED_KINDS = "=@c";

/** Whether a frame may have a key: messages, but no requests and replies. */
export function takesKey(frame: Exclude<Frame, Blob>): boolean {
  if (typeof frame === "string") {
    return frame.charCodeAt(0) !== 1 || KEYED_KINDS.includes(frame.charAt(1));
  }
  const [mark, kind = 0] = toBytes(frame);
  return mark !== MARK_BYTE ||
    KEYED_KINDS.includes(String.fromCharCode(kind));
}

/**
 * Encodes the key of the message that follows, of which only the newest matters. It has
 * the type of the message, text or binary, so that both fit in one batch.
 */
export function encodeKey(
  key: string,
  message: Exclude<Frame, Blob>,
): Exclude<Frame, Blob> {
  if (typeof message === "string") return `${MARK}n${key}`;
  return concatBytes([KEY_PREFIX, keyEncoder.encode(key)]);
}

const KEY_PREFIX = new Uint8Array([MARK_BYTE, "n".charCodeAt(0)]);

const keyEncoder = new TextEncoder();

/** Encodes a stored message; its offset is 0 if it is not stored yet. */
export function encodeStored(
  offset: number,
  frame: Exclude<Frame, Blob>,
): Exclude<Frame, Blob> {
  if (typeof frame === "string") return `${MARK}@${offset},${frame}`;
  const head = new Uint8Array(STORED_HEAD_BYTES);
  head[0] = MARK_BYTE;
  head[1] = "@".charCodeAt(0);
  new DataView(head.buffer).setBigUint64(2, BigInt(offset));
  return concatBytes([head, toBytes(frame)]);
}

/** Encodes a position. */
export function encodePosition(
  { position, recovered, token }: PositionUpdate,
): string {
  return `${MARK}#${JSON.stringify({ recovered, ...position, token })}`;
}

/** Encodes an error reply. */
export function encodeFailure(
  id: number,
  { message, code }: RequestFailure,
): string {
  return `${MARK}~${id},${JSON.stringify({ message, code })}`;
}

/** Encodes a ping or pong with a text of at most 125 bytes. */
export function encodePing(kind: "ping" | "pong", text: string): string {
  return `${MARK}${kind === "ping" ? "<" : ">"}${text}`;
}

/** Encodes the total credit of the peer. */
export function encodeCredit(limit: number): string {
  return `${MARK}+${limit}`;
}

/** Encodes a batch of text frames, none of which contains a {@linkcode SEPARATOR}. */
export function encodeTextBatch(texts: readonly string[]): string {
  return `${MARK}[${texts.join(SEPARATOR)}`;
}

/** Encodes a batch of binary frames. */
export function encodeBinaryBatch(
  parts: readonly Uint8Array<ArrayBuffer>[],
): Uint8Array<ArrayBuffer> {
  const length = parts.reduce((sum, part) => sum + 4 + part.length, 2);
  const all = new Uint8Array(length);
  const view = new DataView(all.buffer);
  all[0] = MARK_BYTE;
  all[1] = "[".charCodeAt(0);
  let at = 2;
  for (const part of parts) {
    view.setUint32(at, part.length);
    all.set(part, at + 4);
    at += 4 + part.length;
  }
  return all;
}
