/**
 * Encodes what is remembered of a session, as servers share it through a broker; pure.
 *
 * @module
 */

import type { RequestFailure } from "../protocol/frames.ts";
import { concatBytes } from "../util/concat_bytes.ts";
import { readProperty } from "../util/read_property.ts";
import {
  type Outcome,
  type RequestEntry,
  SessionRecord,
} from "./session_record.ts";

/** The largest record, in bytes: brokers take messages of up to 1 MiB by default. */
const MAX_RECORD_BYTES: number = 768 * 1024;

/** A session, as servers share it. */
export interface SharedRecord {
  /** The token of the session. */
  readonly token: string;
  /** Its requests. */
  readonly record: SessionRecord;
}

/** The header of an entry: its answer follows all headers, if it is a payload. */
interface EntryHeader {
  readonly number: number;
  readonly digest: string;
  readonly owner: string;
  /** The number of bytes of a payload. */
  readonly size?: number;
  readonly isBinary?: boolean;
  readonly failure?: RequestFailure;
  readonly isForgotten?: boolean;
}

const recordEncoder = new TextEncoder();
const recordDecoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Encodes a session. The oldest answers are forgotten if it would be too large. */
export function encodeSession(
  { token, record }: SharedRecord,
): Uint8Array<ArrayBuffer> {
  let bytes = encodeAll(token, record);
  for (
    let limit = MAX_RECORD_BYTES;
    bytes.length > MAX_RECORD_BYTES && limit > 0;
    limit = Math.floor(limit / 2)
  ) {
    record.shrink(limit);
    bytes = encodeAll(token, record);
  }
  return bytes;
}

function encodeAll(
  token: string,
  record: SessionRecord,
): Uint8Array<ArrayBuffer> {
  const payloads: Uint8Array<ArrayBuffer>[] = [];
  const entries: EntryHeader[] = [];
  for (const [number, { digest, owner, outcome }] of record.entries) {
    const base = { number, digest, owner };
    if (outcome?.kind === "reply") {
      const { payload } = outcome;
      const isBinary = typeof payload !== "string";
      const bytes = isBinary
        ? new Uint8Array(payload)
        : recordEncoder.encode(payload);
      payloads.push(bytes);
      entries.push({ ...base, size: bytes.length, isBinary });
    } else if (outcome?.kind === "failure") {
      entries.push({ ...base, failure: outcome.failure });
    } else entries.push({ ...base, isForgotten: outcome !== undefined });
  }
  const { forgotten } = record;
  const header = JSON.stringify({ version: 1, token, forgotten, entries });
  return concatBytes([recordEncoder.encode(`${header}\n`), ...payloads]);
}

/**
 * Decodes a session.
 *
 * @returns The session; undefined if it is malformed, or of a later version.
 */
export function decodeSession(bytes: Uint8Array): SharedRecord | undefined {
  const end = bytes.indexOf(10);
  const header = parseSessionHeader(bytes.subarray(0, Math.max(end, 0)));
  const token = readProperty(header, "token");
  const forgotten = readProperty(header, "forgotten");
  const entries = readProperty(header, "entries");
  const isValid = readProperty(header, "version") === 1 &&
    typeof token === "string" && typeof forgotten === "number" &&
    Array.isArray(entries) && entries.every(isEntryHeader);
  if (!isValid) return undefined;
  const record = new SessionRecord(forgotten);
  let start = end + 1;
  for (const entry of entries) {
    const { number, digest, owner, size = 0 } = entry;
    // A copy: a client of a broker may give a view of what is not ours to keep.
    const own = new Uint8Array(bytes.subarray(start, start + size));
    const outcome = outcomeOf(entry, own);
    record.set(number, { digest, owner, outcome });
    start += size;
  }
  return { token, record };
}

function parseSessionHeader(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(recordDecoder.decode(bytes));
  } catch {
    return undefined;
  }
}

function outcomeOf(
  { size, isBinary, failure, isForgotten }: EntryHeader,
  bytes: Uint8Array<ArrayBuffer>,
): RequestEntry["outcome"] {
  if (failure) return { kind: "failure", failure };
  if (size === undefined) return isForgotten ? FORGOTTEN : undefined;
  const payload = isBinary ? bytes.buffer : recordDecoder.decode(bytes);
  return { kind: "reply", payload };
}

const FORGOTTEN: Outcome = { kind: "forgotten" };

function isEntryHeader(value: unknown): value is EntryHeader {
  const size = readProperty(value, "size");
  const failure = readProperty(value, "failure");
  return typeof readProperty(value, "number") === "number" &&
    typeof readProperty(value, "digest") === "string" &&
    typeof readProperty(value, "owner") === "string" &&
    (size === undefined || typeof size === "number" && size >= 0) &&
    (failure === undefined ||
      typeof readProperty(failure, "message") === "string");
}
