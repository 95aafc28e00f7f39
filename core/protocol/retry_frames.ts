/**
 * The frames of requests that are sent again after a loss, as specified in
 * `docs/protocol.md`; pure. Only programs that use them need them: all others ignore these
 * kinds.
 *
 * @module
 */

import { concatBytes } from "../util/concat_bytes.ts";
import { type Frame, toBytes } from "../values/codec.ts";
import { parseNumber, parseObject, parseRequestId } from "./frame_decoder.ts";
import { MARK, MARK_BYTE, MAX_REQUEST_ID, type Payload } from "./frames.ts";

/** What a client says before it sends such requests on a connection. */
export interface SessionOpening {
  /** The token of its session; undefined if it has none. */
  readonly token: string | undefined;
  /** The largest number that it has used in that session. */
  readonly last: number;
}

/** A decoded frame. */
export type RetryFrame =
  /** A client opens its session. The id is that of a request. */
  | {
    readonly kind: "open";
    readonly id: number;
    readonly opening: SessionOpening;
  }
  /** A request that may come again. */
  | {
    readonly kind: "request";
    readonly id: number;
    /** The number of the request in its session. */
    readonly number: number;
    /** The client waits for no answer to this number and those below. */
    readonly settled: number;
    readonly payload: Payload;
  };

/** The length of the header of a binary request: mark, kind, id, number, settled. */
const RETRY_HEAD_BYTES = 14;

/** The form of a token: 64 hexadecimal digits in this library. */
const SESSION_TOKEN_PATTERN = /^[\w-]{1,128}$/;

/** Encodes the opening of a session. */
export function encodeOpening(id: number, opening: SessionOpening): string {
  return `${MARK}k${id},${JSON.stringify(opening)}`;
}

/** Encodes a request that may come again. */
export function encodeRetried(
  id: number,
  number: number,
  settled: number,
  frame: Frame,
): Frame {
  if (typeof frame === "string") {
    return `${MARK}q${id},${number},${settled},${frame}`;
  }
  const head = new Uint8Array(RETRY_HEAD_BYTES);
  const view = new DataView(head.buffer);
  head[0] = MARK_BYTE;
  head[1] = "q".charCodeAt(0);
  for (const [i, value] of [id, number, settled].entries()) {
    view.setUint32(2 + 4 * i, value);
  }
  return frame instanceof Blob
    ? new Blob([head, frame])
    : concatBytes([head, toBytes(frame)]);
}

/**
 * Decodes a marked frame of one of the kinds `k` and `q`. Never throws.
 *
 * @returns The frame; undefined if it is malformed.
 */
export function decodeRetryFrame(payload: Payload): RetryFrame | undefined {
  if (typeof payload !== "string") return decodeBinary(payload);
  const first = payload.indexOf(",");
  const id = parseRequestId(payload.slice(2, Math.max(first, 2)));
  if (id === undefined) return undefined;
  if (payload.charAt(1) === "k") {
    const opening = parseOpening(payload.slice(first + 1));
    return opening && { kind: "open", id, opening };
  }
  const second = payload.indexOf(",", first + 1);
  const third = payload.indexOf(",", second + 1);
  if (second < 0 || third < 0) return undefined;
  const number = parseRequestId(payload.slice(first + 1, second));
  const settled = parseNumber(payload.slice(second + 1, third), MAX_REQUEST_ID);
  return number === undefined || settled === undefined || settled >= number
    ? undefined
    : {
      kind: "request",
      id,
      number,
      settled,
      payload: payload.slice(third + 1),
    };
}

function decodeBinary(payload: ArrayBuffer): RetryFrame | undefined {
  if (payload.byteLength < RETRY_HEAD_BYTES) return undefined;
  const view = new DataView(payload);
  const [id, number, settled] = [
    view.getUint32(2),
    view.getUint32(6),
    view.getUint32(10),
  ];
  const isRequest = view.getUint8(1) === "q".charCodeAt(0);
  return !isRequest || id === 0 || settled >= number ? undefined : {
    kind: "request",
    id,
    number,
    settled,
    payload: payload.slice(RETRY_HEAD_BYTES),
  };
}

function parseOpening(json: string): SessionOpening | undefined {
  const { token, last = 0 } = parseObject(json) ?? { last: "" };
  if (
    typeof last !== "number" || parseNumber(`${last}`, MAX_REQUEST_ID) !== last
  ) {
    return undefined;
  }
  if (token === undefined) return { token, last };
  return typeof token === "string" && SESSION_TOKEN_PATTERN.test(token)
    ? { token, last }
    : undefined;
}

/** Encodes the answer to the opening of a session. */
export function encodeOpened(token: string): string {
  return JSON.stringify({ token });
}

/** Parses the answer to the opening of a session; undefined if it is malformed. */
export function parseOpened(payload: Payload): string | undefined {
  if (typeof payload !== "string") return undefined;
  const { token } = parseObject(payload) ?? {};
  return typeof token === "string" && SESSION_TOKEN_PATTERN.test(token)
    ? token
    : undefined;
}
