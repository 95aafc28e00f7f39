/**
 * The frames of `events.v1`, as `docs/protocol.md` specifies them: bytes and text
 * in, meaning out, and back; pure.
 *
 * @module
 */

import {
  concatBytes,
  type Frame,
  isLargerThan,
  toBytes,
} from "../values/codec.ts";

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

/** How many bytes, or UTF-16 code units of a text, a part of a frame has at most here. */
export const PART_BYTES: number = 16 * 1024;

/** How many each part has at least, except the last. */
const MIN_PART_BYTES = 4 * 1024;

/** The highest id of a request. */
export const MAX_REQUEST_ID: number = 2 ** 32 - 1;

/** How many bytes the text of a ping may have. */
const MAX_PING_BYTES = 125;

/** How many characters the text of a trace may have. */
const MAX_TRACE_LENGTH = 600;

/** How many bytes the head of a binary request or reply has: mark, kind, id. */
const REQUEST_HEAD_BYTES = 6;

/** How many bytes the head of a binary kept message has: mark, kind, offset. */
const STORED_HEAD_BYTES = 10;

/** What an epoch is made of, so that it can stand in a subprotocol. */
const EPOCH_PATTERN = /^[0-9a-z]{1,32}$/;

/** What proves where a client stands; it stands in a subprotocol, too. */
const RESUME_TOKEN_PATTERN = /^[\w-]{1,4096}$/;

const pingEncoder = new TextEncoder();

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
 * Reads a frame that is marked.
 *
 * @param payload What it holds.
 * @returns What it means; undefined if it is malformed. Never throws.
 */
export function decodeFrame(payload: Payload): MarkedFrame | undefined {
  return typeof payload === "string"
    ? decodeTextFrame(payload)
    : decodeBinaryFrame(payload);
}

function decodeTextFrame(text: string): MarkedFrame | undefined {
  const kind = text.charAt(1);
  const rest = text.slice(2);
  switch (kind) {
    case "=":
      return { kind: "message", payload: rest };
    case "?":
    case "!":
    case "~":
      return decodeAddressed(kind, rest);
    case "t":
      // Those who know nothing of traces ignore whatever it is.
      return decodeAddressed(kind, rest) ?? { kind: "unknown" };
    case "[":
      return isLargerThan(text, MAX_BATCH_BYTES) ? undefined : batchFrame(
        // One more than there may be is enough to tell that there are too many.
        rest.split(SEPARATOR, MAX_BATCH_ITEMS + 1),
      );
    case "<":
    case ">":
      // A UTF-16 code unit takes at most three bytes.
      return rest.length * 3 > MAX_PING_BYTES &&
          pingEncoder.encode(rest).length > MAX_PING_BYTES
        ? undefined
        : { kind: kind === "<" ? "ping" : "pong", text: rest };
    case "+": {
      const limit = parseNumber(rest, Number.MAX_SAFE_INTEGER);
      return limit === undefined ? undefined : { kind: "credit", limit };
    }
    case "@": {
      const comma = rest.indexOf(",");
      const offset = parseOffset(rest.slice(0, Math.max(comma, 0)));
      if (offset === undefined) return undefined;
      return { kind: "stored", offset, payload: rest.slice(comma + 1) };
    }
    case "#": {
      const update = parsePosition(rest);
      return update && { kind: "position", update };
    }
    case "-":
    case ".":
      return decodePart(kind, rest, rest.length);
    default:
      return decodeUnknown(kind);
  }
}

/** Reads a part of a frame. Nobody may send many that are small. */
function decodePart(
  kind: "-" | ".",
  payload: Payload,
  size: number,
): MarkedFrame | undefined {
  const isLast = kind === ".";
  return size < (isLast ? 1 : MIN_PART_BYTES)
    ? undefined
    : { kind: "part", isLast, payload };
}

/** Reads a frame that is about one request. */
function decodeAddressed(
  kind: "?" | "!" | "~" | "t",
  rest: string,
): MarkedFrame | undefined {
  const comma = rest.indexOf(",");
  const id = comma < 0 ? undefined : parseRequestId(rest.slice(0, comma));
  if (id === undefined) return undefined;
  const payload = rest.slice(comma + 1);
  if (kind === "?") return { kind: "request", id, payload };
  if (kind === "!") return { kind: "reply", id, payload };
  if (kind === "t") {
    return payload.length > MAX_TRACE_LENGTH
      ? undefined
      : { kind: "trace", id, text: payload };
  }
  const failure = parseFailure(payload);
  return failure && { kind: "failure", id, failure };
}

function decodeBinaryFrame(buffer: ArrayBuffer): MarkedFrame | undefined {
  const view = new DataView(buffer);
  if (buffer.byteLength < 2) return undefined;
  const kind = String.fromCharCode(view.getUint8(1));
  switch (kind) {
    case "=":
      return { kind: "message", payload: buffer.slice(2) };
    case "?":
    case "!": {
      if (buffer.byteLength < REQUEST_HEAD_BYTES) return undefined;
      const id = view.getUint32(2);
      if (id === 0) return undefined;
      const payload = buffer.slice(REQUEST_HEAD_BYTES);
      return { kind: kind === "?" ? "request" : "reply", id, payload };
    }
    case "@": {
      if (buffer.byteLength < STORED_HEAD_BYTES) return undefined;
      const offset = Number(view.getBigUint64(2));
      return offset > Number.MAX_SAFE_INTEGER
        ? undefined
        : { kind: "stored", offset, payload: buffer.slice(STORED_HEAD_BYTES) };
    }
    case "[":
      return decodeBinaryBatch(buffer, view);
    case "-":
    case ".":
      return decodePart(kind, buffer.slice(2), buffer.byteLength - 2);
    default:
      return decodeUnknown(kind);
  }
}

function decodeBinaryBatch(
  buffer: ArrayBuffer,
  view: DataView,
): MarkedFrame | undefined {
  if (buffer.byteLength > MAX_BATCH_BYTES) return undefined;
  const items: ArrayBuffer[] = [];
  for (let at = 2; at < buffer.byteLength;) {
    if (at + 4 > buffer.byteLength) return undefined;
    const start = at + 4;
    at = start + view.getUint32(at);
    if (at > buffer.byteLength) return undefined;
    if (items.length === MAX_BATCH_ITEMS) return undefined;
    items.push(buffer.slice(start, at));
  }
  return items.length > 0 ? batchFrame(items) : undefined;
}

function batchFrame(items: readonly Payload[]): MarkedFrame | undefined {
  return items.length > MAX_BATCH_ITEMS ? undefined : { kind: "batch", items };
}

/** Letters in lower case are kept for what may be ignored. */
function decodeUnknown(kind: string): MarkedFrame | undefined {
  return /^[a-z]$/.test(kind) ? { kind: "unknown" } : undefined;
}

function parseRequestId(text: string): number | undefined {
  const id = parseNumber(text, MAX_REQUEST_ID);
  return id === 0 ? undefined : id;
}

function parseNumber(text: string, max: number): number | undefined {
  if (!/^(0|[1-9][0-9]{0,15})$/.test(text)) return undefined;
  const number = Number(text);
  return number <= max ? number : undefined;
}

function parseOffset(text: string): number | undefined {
  return parseNumber(text, Number.MAX_SAFE_INTEGER);
}

/** The fields of an object in JSON; undefined if it is none. */
function parseObject(json: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null
      ? { ...value }
      : undefined;
  } catch {
    return undefined;
  }
}

function parsePosition(json: string): PositionUpdate | undefined {
  const { recovered, epoch, offset, token } = parseObject(json) ??
    { recovered: 0 };
  if (recovered !== undefined && typeof recovered !== "boolean") {
    return undefined;
  }
  if (epoch === undefined) return { position: undefined, recovered };
  const isPosition = typeof epoch === "string" && EPOCH_PATTERN.test(epoch) &&
    typeof offset === "number" && parseOffset(`${offset}`) === offset;
  if (!isPosition) return undefined;
  const update = { position: { epoch, offset }, recovered };
  if (token === undefined) return update;
  const isToken = typeof token === "string" && RESUME_TOKEN_PATTERN.test(token);
  return isToken ? { ...update, token } : undefined;
}

function parseFailure(json: string): RequestFailure | undefined {
  const { message, code } = parseObject(json) ?? {};
  if (typeof message !== "string") return undefined;
  return typeof code === "string" ? { message, code } : { message };
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

/**
 * Makes parts of a frame that is large.
 *
 * @param frame The frame, which is not empty.
 * @returns The parts, in order, to be sent one right after the other.
 */
export function splitIntoParts(frame: string): string[];
export function splitIntoParts(
  frame: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer>[];
export function splitIntoParts(
  frame: string | Uint8Array<ArrayBuffer>,
): string[] | Uint8Array<ArrayBuffer>[] {
  if (typeof frame === "string") {
    return sliceUp(frame.length, (start, end) => {
      // A pair of surrogates would not survive being torn apart.
      const from = isSurrogatePair(frame, start) ? start - 1 : start;
      const to = isSurrogatePair(frame, end) ? end - 1 : end;
      return `${MARK}${end < frame.length ? "-" : "."}${frame.slice(from, to)}`;
    });
  }
  return sliceUp(frame.length, (start, end) => {
    const part = new Uint8Array(2 + end - start);
    part[0] = MARK_BYTE;
    part[1] = (end < frame.length ? "-" : ".").charCodeAt(0);
    part.set(frame.subarray(start, end), 2);
    return part;
  });
}

function sliceUp<T>(
  length: number,
  cut: (start: number, end: number) => T,
): T[] {
  const count = Math.ceil(length / PART_BYTES);
  return Array.from({ length: count }, (_, i) => {
    const start = i * PART_BYTES;
    return cut(start, Math.min(start + PART_BYTES, length));
  });
}

/** Whether two halves of one character stand on both sides of a place in a text. */
function isSurrogatePair(text: string, at: number): boolean {
  const before = text.charCodeAt(at - 1);
  const behind = text.charCodeAt(at);
  return before >= 0xd800 && before < 0xdc00 && behind >= 0xdc00 &&
    behind < 0xe000;
}

/** Puts the parts of one frame together again. */
export class PartJoiner {
  #parts: Payload[] = [];
  #size = 0;

  /** How many bytes have come, or UTF-16 code units of a text. */
  get size(): number {
    return this.#size;
  }

  /**
   * Takes a part.
   *
   * @param payload What it holds.
   * @returns Whether it is of the same type as those before.
   */
  add(payload: Payload): boolean {
    const [first = payload] = this.#parts;
    if (typeof first !== typeof payload) return false;
    this.#parts.push(payload);
    this.#size += typeof payload === "string"
      ? payload.length
      : payload.byteLength;
    return true;
  }

  /**
   * Begins anew.
   *
   * @returns The frame that the parts make.
   */
  take(): Payload {
    const parts = this.#parts;
    const size = this.#size;
    this.#parts = [];
    this.#size = 0;
    if (typeof parts[0] === "string") return parts.join("");
    const all = new Uint8Array(size);
    let at = 0;
    for (const part of parts) {
      if (typeof part === "string") continue;
      all.set(new Uint8Array(part), at);
      at += part.byteLength;
    }
    return all.buffer;
  }
}
