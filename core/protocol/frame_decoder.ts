/**
 * Decodes the frames of `events.v1` (see `docs/protocol.md`); pure.
 *
 * @module
 */

import { isLargerThan } from "../values/codec.ts";
import {
  type MarkedFrame,
  MAX_BATCH_BYTES,
  MAX_BATCH_ITEMS,
  MAX_KEY_LENGTH,
  MAX_REQUEST_ID,
  type Payload,
  type PositionUpdate,
  REQUEST_HEAD_BYTES,
  type RequestFailure,
  SEPARATOR,
  STORED_HEAD_BYTES,
} from "./frames.ts";
import { MIN_PART_BYTES } from "./parts.ts";

/** The maximum length of the text of a ping, in bytes. */
const MAX_PING_BYTES = 125;

/** The maximum length of a trace context, in UTF-16 code units. */
const MAX_TRACE_LENGTH = 600;

/** An epoch, which is part of a subprotocol. */
const EPOCH_PATTERN = /^[0-9a-z]{1,32}$/;

/** A token, which is part of a subprotocol. */
const RESUME_TOKEN_PATTERN = /^[\w-]{1,4096}$/;

const pingEncoder = new TextEncoder();

const keyDecoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Decodes a marked frame. Never throws.
 *
 * @returns The frame; undefined if it is malformed.
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
      // A malformed trace context is ignored, as by peers that do not support it.
      return decodeAddressed(kind, rest) ?? { kind: "unknown" };
    case "n":
      return keyFrame(rest);
    case "[":
      return isLargerThan(text, MAX_BATCH_BYTES) ? undefined : batchFrame(
        // One more than the maximum is enough to detect too many.
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

/** Decodes a part. Small parts are invalid, as they would be expensive to receive. */
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

/** Decodes a frame with the id of a request. */
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
    case "n":
      return keyFrame(keyDecoder.decode(new Uint8Array(buffer, 2)));
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

/** A key that is too long is ignored, as by peers that do not support keys. */
function keyFrame(key: string): MarkedFrame {
  return key.length > MAX_KEY_LENGTH
    ? { kind: "unknown" }
    : { kind: "key", key };
}

/** Lower-case letters are reserved for frames that may be ignored. */
function decodeUnknown(kind: string): MarkedFrame | undefined {
  return /^[a-z]$/.test(kind) ? { kind: "unknown" } : undefined;
}

/** Parses the id of a request; undefined if it is malformed. */
export function parseRequestId(text: string): number | undefined {
  const id = parseNumber(text, MAX_REQUEST_ID);
  return id === 0 ? undefined : id;
}

/** Parses decimal digits; undefined if they are malformed or above the maximum. */
export function parseNumber(text: string, max: number): number | undefined {
  if (!/^(0|[1-9][0-9]{0,15})$/.test(text)) return undefined;
  const number = Number(text);
  return number <= max ? number : undefined;
}

function parseOffset(text: string): number | undefined {
  return parseNumber(text, Number.MAX_SAFE_INTEGER);
}

/** Parses a JSON object; undefined for any other text. */
export function parseObject(json: string): Record<string, unknown> | undefined {
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

/** Parses an error reply; undefined if it is malformed. */
export function parseFailure(json: string): RequestFailure | undefined {
  const { message, code } = parseObject(json) ?? {};
  if (typeof message !== "string") return undefined;
  return typeof code === "string" ? { message, code } : { message };
}
