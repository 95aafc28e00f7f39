/**
 * Splits large frames into parts, so that pings and other messages are not delayed; pure.
 *
 * @module
 */

import { MARK, MARK_BYTE, type Payload } from "./frames.ts";

/** The maximum size of a sent part, in bytes or UTF-16 code units. */
export const PART_BYTES: number = 16 * 1024;

/** The minimum size of a part, except the last. */
export const MIN_PART_BYTES: number = 4 * 1024;

/**
 * Splits a frame that is not empty. The parts must be sent in order, without other frames
 * in between.
 */
export function splitIntoParts(frame: string): string[];
export function splitIntoParts(
  frame: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer>[];
export function splitIntoParts(
  frame: string | Uint8Array<ArrayBuffer>,
): string[] | Uint8Array<ArrayBuffer>[] {
  if (typeof frame === "string") {
    return mapRanges(frame.length, (start, end) => {
      // A surrogate pair must not be split.
      const from = isSurrogatePair(frame, start) ? start - 1 : start;
      const to = isSurrogatePair(frame, end) ? end - 1 : end;
      return `${MARK}${end < frame.length ? "-" : "."}${frame.slice(from, to)}`;
    });
  }
  return mapRanges(frame.length, (start, end) => {
    const part = new Uint8Array(2 + end - start);
    part[0] = MARK_BYTE;
    part[1] = (end < frame.length ? "-" : ".").charCodeAt(0);
    part.set(frame.subarray(start, end), 2);
    return part;
  });
}

function mapRanges<T>(
  length: number,
  create: (start: number, end: number) => T,
): T[] {
  const count = Math.ceil(length / PART_BYTES);
  return Array.from({ length: count }, (_, i) => {
    const start = i * PART_BYTES;
    return create(start, Math.min(start + PART_BYTES, length));
  });
}

/** Whether a surrogate pair spans an index. */
function isSurrogatePair(text: string, at: number): boolean {
  const before = text.charCodeAt(at - 1);
  const after = text.charCodeAt(at);
  return before >= 0xd800 && before < 0xdc00 && after >= 0xdc00 &&
    after < 0xe000;
}

/** Joins the parts of one frame. */
export class PartJoiner {
  #parts: Payload[] = [];
  #size = 0;

  /** The total size so far, in bytes or UTF-16 code units. */
  get size(): number {
    return this.#size;
  }

  /** Adds a part. Returns whether it has the same type as those before. */
  add(payload: Payload): boolean {
    const [first = payload] = this.#parts;
    if (typeof first !== typeof payload) return false;
    this.#parts.push(payload);
    this.#size += typeof payload === "string"
      ? payload.length
      : payload.byteLength;
    return true;
  }

  /** Returns the joined frame, and resets. */
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
