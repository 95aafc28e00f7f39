/**
 * Large frames are sent in parts, so that pings and other messages are not delayed; pure.
 *
 * @module
 */

import { MARK, MARK_BYTE, type Payload } from "./frames.ts";

/** How many bytes, or UTF-16 code units of a text, a part of a frame has at most here. */
export const PART_BYTES: number = 16 * 1024;

/** How many each part has at least, except the last. */
export const MIN_PART_BYTES: number = 4 * 1024;

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
