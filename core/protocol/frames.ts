/**
 * The frames of `events.v1` (see `docs/protocol.md`): their types, and how they are
 * encoded; pure.
 *
 * @module
 */

import { concatBytes, type Frame, toBytes } from "../values/codec.ts";

/** What a frame holds, as the runtime gives it. */
export type Payload = string | ArrayBuffer;

/** What a marked frame means. */
export type MarkedFrame =
  /** A message that would be taken for a marked frame as it is. */
  | { readonly kind: "message"; readonly payload: Payload }
  /** A message that wants an answer. */
  | { readonly kind: "request"; readonly id: number; readonly payload: Payload }
  /** The answer to a request. */
  | { readonly kind: "reply"; readonly id: number; readonly payload: Payload }
  /** Why there is no answer to a request. */
  | {
    readonly kind: "failure";
    readonly id: number;
    readonly failure: RequestFailure;
  }
  /** Asks for a pong with the same text. */
  | { readonly kind: "ping"; readonly text: string }
  /** Answers a ping. */
  | { readonly kind: "pong"; readonly text: string }
  /** How many messages and requests may be sent since the connection was opened. */
  | { readonly kind: "credit"; readonly limit: number }
  /** A message that the server keeps for who comes back, and where it stands. */
  | {
    readonly kind: "stored";
    readonly offset: number;
    readonly payload: Payload;
  }
  /** Where the peer stands among what is kept. */
  | { readonly kind: "position"; readonly update: PositionUpdate }
  /** Which trace a request is part of, which comes next. */
  | { readonly kind: "trace"; readonly id: number; readonly text: string }
  /** Many frames in one. */
  | { readonly kind: "batch"; readonly items: readonly Payload[] }
  /** A part of a frame that is too large to go as a whole. */
  | {
    readonly kind: "part";
    readonly isLast: boolean;
    readonly payload: Payload;
  }
  /** Something of a later version that may be ignored. */
  | { readonly kind: "unknown" };

/** Why a request has failed, as its peer is told. */
export interface RequestFailure {
  /** For a human reader. */
  readonly message: string;
  /** For a program. */
  readonly code?: string;
}

/** Where a client stands among the messages that its server keeps. */
export interface StreamPosition {
  /** What the numbers belong to: others mean nothing elsewhere. */
  readonly epoch: string;
  /** The number of the last message that it may have been sent. */
  readonly offset: number;
}

/** Where somebody stands of whom nobody knows. */
export const UNKNOWN_POSITION: StreamPosition = { epoch: "0", offset: 0 };

/** What a server tells a client about messages that are kept. */
export interface PositionUpdate {
  /** Where the client stands; undefined if nothing is kept. */
  readonly position: StreamPosition | undefined;
  /** What proves it when the client comes back, if it is another than before. */
  readonly token?: string | undefined;
  /** Whether it has got all that it has missed, if it has come back for that. */
  readonly recovered: boolean | undefined;
}

/** What a text frame begins with that is no plain message. */
export const MARK = "\u0001";

/** What a binary frame begins with that is no plain message. */
export const MARK_BYTE = 0xc1;

/** What stands between the items of a batch of texts. */
export const SEPARATOR = "\u001e";

/** How many bytes a batch may have. */
export const MAX_BATCH_BYTES: number = 64 * 1024;

/**
 * How many items a batch may have. A message costs its sender at least 1 of the credit
 * that it has at first, so that more could not be sent in one go anyway.
 */
export const MAX_BATCH_ITEMS = 1024;

/** The highest id of a request. */
export const MAX_REQUEST_ID: number = 2 ** 32 - 1;

/** How many bytes the head of a binary request or reply has: mark, kind, id. */
export const REQUEST_HEAD_BYTES = 6;

/** How many bytes the head of a binary kept message has: mark, kind, offset. */
export const STORED_HEAD_BYTES = 10;

/**
 * Whether a frame is marked.
 *
 * @param payload What it holds.
 * @returns False if it is a plain message.
 */
export function isMarked(payload: Payload): boolean {
  return typeof payload === "string"
    ? payload.charCodeAt(0) === 1
    : new Uint8Array(payload)[0] === MARK_BYTE;
}

/** The kinds of marked frames that count for credit. */
const CREDITED_KINDS = "=?@#";

/**
 * Whether a frame counts for credit. A batch does not: its items do.
 *
 * @param payload What it holds.
 * @returns True for a plain message, a request, and what is sent of messages that are
 * kept; false for a batch, too.
 */
export function isCounted(payload: Payload): boolean {
  if (!isMarked(payload)) return true;
  const kind = typeof payload === "string"
    ? payload.charAt(1)
    : String.fromCharCode(new Uint8Array(payload)[1] ?? 0);
  return kind !== "" && CREDITED_KINDS.includes(kind);
}

/**
 * Whether a frame is a part of another one, well-formed or not.
 *
 * @param payload What it holds.
 * @returns False if it is whole.
 */
export function isPart(payload: Payload): boolean {
  if (!isMarked(payload)) return false;
  const kind = typeof payload === "string"
    ? payload.charAt(1)
    : String.fromCharCode(new Uint8Array(payload)[1] ?? 0);
  return kind === "-" || kind === ".";
}

/**
 * Makes of a plain message a frame that is not taken for a marked one.
 *
 * @param frame The message.
 * @returns The same, or the same marked as a message. Of a `Blob` nobody knows what
 * it begins with.
 */
export function escapeFrame(frame: Frame): Frame {
  if (typeof frame === "string") {
    return frame.charCodeAt(0) === 1 ? `${MARK}=${frame}` : frame;
  }
  if (frame instanceof Blob) return new Blob([ESCAPE_PREFIX, frame]);
  const bytes = toBytes(frame);
  return bytes[0] === MARK_BYTE ? concatBytes(ESCAPE_PREFIX, bytes) : frame;
}

const ESCAPE_PREFIX = new Uint8Array([MARK_BYTE, "=".charCodeAt(0)]);

/**
 * Undoes {@linkcode escapeFrame}.
 *
 * @param frame What it has returned.
 * @returns The message.
 */
export function unescapeFrame(frame: Frame): Frame {
  if (typeof frame === "string") {
    return frame.startsWith(`${MARK}=`) ? frame.slice(2) : frame;
  }
  if (frame instanceof Blob) return frame.slice(2);
  const bytes = toBytes(frame);
  const isEscaped = bytes[0] === MARK_BYTE && bytes[1] === ESCAPE_PREFIX[1];
  return isEscaped ? bytes.subarray(2) : frame;
}

/**
 * Makes a request of a message, or a reply.
 *
 * @param kind Which of them.
 * @param id Which request it is, or answers.
 * @param frame The message.
 * @returns The frame.
 */
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
    : concatBytes(head, toBytes(frame));
}

/**
 * Tells which trace the next request is part of.
 *
 * @param id Which request.
 * @param text Its `traceparent`, and after a comma its `tracestate` if it has one (W3C
 * Trace Context).
 * @returns The frame.
 */
export function encodeTrace(id: number, text: string): string {
  return `${TRACE_PREFIX}${id},${text}`;
}

/** What a frame begins with that tells of a trace. */
export const TRACE_PREFIX: string = `${MARK}t`;

/**
 * Makes a kept message of a message.
 *
 * @param offset Where it stands; 0 if it is not kept yet.
 * @param frame The message.
 * @returns The frame.
 */
export function encodeStored(
  offset: number,
  frame: Exclude<Frame, Blob>,
): Exclude<Frame, Blob> {
  if (typeof frame === "string") return `${MARK}@${offset},${frame}`;
  const head = new Uint8Array(STORED_HEAD_BYTES);
  head[0] = MARK_BYTE;
  head[1] = "@".charCodeAt(0);
  new DataView(head.buffer).setBigUint64(2, BigInt(offset));
  return concatBytes(head, toBytes(frame));
}

/**
 * Tells a client where it stands among what is kept.
 *
 * @param standing Where.
 * @returns The frame.
 */
export function encodePosition(
  { position, recovered, token }: PositionUpdate,
): string {
  return `${MARK}#${JSON.stringify({ recovered, ...position, token })}`;
}

/**
 * Tells why there is no answer to a request.
 *
 * @param id Which request.
 * @param failure Why.
 * @returns The frame.
 */
export function encodeFailure(
  id: number,
  { message, code }: RequestFailure,
): string {
  return `${MARK}~${id},${JSON.stringify({ message, code })}`;
}

/**
 * A ping, or its answer.
 *
 * @param kind Which of them.
 * @param text A text of at most 125 bytes.
 * @returns The frame.
 */
export function encodePing(kind: "ping" | "pong", text: string): string {
  return `${MARK}${kind === "ping" ? "<" : ">"}${text}`;
}

/**
 * Tells how many messages may be sent.
 *
 * @param limit How many, since the connection was opened.
 * @returns The frame.
 */
export function encodeCredit(limit: number): string {
  return `${MARK}+${limit}`;
}

/**
 * Makes one frame of many texts.
 *
 * @param texts At least one frame, none of which holds a {@linkcode SEPARATOR}.
 * @returns The frame.
 */
export function encodeTextBatch(texts: readonly string[]): string {
  return `${MARK}[${texts.join(SEPARATOR)}`;
}

/**
 * Makes one frame of many binary ones.
 *
 * @param parts At least one.
 * @returns The frame.
 */
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
