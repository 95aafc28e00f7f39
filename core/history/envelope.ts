/**
 * What servers put around a message that they pass on to each other; pure.
 *
 * @module
 */

import type { SendOptions } from "../sending/send_queue.ts";
import { concatBytes, type Frame, toBytes } from "../values/codec.ts";
import { isOverflow } from "../sending/bounded_queue.ts";

/** What can be passed on: the bytes of a `Blob` have to be read before. */
export type BroadcastBody = Exclude<Frame, Blob>;

/** Whom a message is for, on whatever server. */
export interface BroadcastTarget {
  /** Those who are in one of these rooms; all if there are none. */
  readonly rooms?: readonly string[];
  /** But not those who are in one of these. */
  readonly except: readonly string[];
  /** Nor these connections, by what they are called. */
  readonly without?: readonly string[];
}

/** A message on its way to those whom it is for. */
export interface Broadcast {
  readonly target: BroadcastTarget;
  readonly body: BroadcastBody;
  /** What to do where it does not fit. */
  readonly options: SendOptions;
}

/** A broadcast that another server may get. */
export interface SequencedBroadcast extends Broadcast {
  /** Which server it is from. */
  readonly from: string;
  /** Which of its messages it is. */
  readonly id: number;
}

/** What stands before the body. */
interface EnvelopeHeader extends BroadcastTarget, SendOptions {
  /** The version of this; a server passes over what it does not know. */
  readonly version: 1;
  readonly from: string;
  readonly id: number;
  readonly isBinary: boolean;
}

/** The channel of what is for all, or for several rooms that have to keep it. */
export const ALL_CHANNEL = "all";

const envelopeEncoder = new TextEncoder();
const envelopeDecoder = new TextDecoder("utf-8", { ignoreBOM: true }); // it is the text's

/**
 * The channel of what is for a room.
 *
 * @param room The room.
 * @returns The channel's name.
 */
export function roomChannel(room: string): string {
  return `room ${room}`;
}

/**
 * Puts a broadcast into bytes: a line of JSON, and the body.
 *
 * @param broadcast The broadcast.
 * @returns The bytes.
 */
export function encodeEnvelope(
  broadcast: SequencedBroadcast,
): Uint8Array<ArrayBuffer> {
  const { from, id, target, body, options } = broadcast;
  const { rooms, except, without } = target;
  const isBinary = typeof body !== "string";
  const header: EnvelopeHeader = {
    version: 1,
    from,
    id,
    ...rooms && { rooms },
    except,
    ...without?.length && { without },
    isBinary,
    ...pickSendOptions(options),
  };
  const line = JSON.stringify(header) + "\n";
  return isBinary
    ? concatBytes(envelopeEncoder.encode(line), toBytes(body))
    : envelopeEncoder.encode(line + body);
}

/**
 * Takes a broadcast out of bytes.
 *
 * @param message The bytes.
 * @returns The broadcast; undefined if it is of a later version, which is not known.
 * @throws {TypeError} If it is none.
 */
export function decodeEnvelope(
  message: Uint8Array,
): SequencedBroadcast | undefined {
  const end = message.indexOf(10);
  const json: unknown = JSON.parse(
    envelopeDecoder.decode(message.subarray(0, end)),
  );
  if (isEnvelopeHeader(json)) {
    const { from, id, rooms, except, without, isBinary } = json;
    const bytes = message.subarray(end + 1);
    return {
      from,
      id,
      target: { ...rooms && { rooms }, except, ...without && { without } },
      body: isBinary ? bytes.slice() : envelopeDecoder.decode(bytes),
      options: pickSendOptions(json),
    };
  }
  const isNewerVersion = typeof json === "object" && json !== null &&
    "version" in json && Number(json.version) > 1;
  if (isNewerVersion) return undefined;
  throw new TypeError(
    `Cannot read what has come from another server: ${JSON.stringify(json)}`,
  );
}

/** The options of a message as this version knows them, and nothing else beside them. */
function pickSendOptions({ overflow, key }: SendOptions): SendOptions {
  return {
    ...isOverflow(overflow) && { overflow },
    ...typeof key === "string" && { key },
  };
}

function isEnvelopeHeader(json: unknown): json is EnvelopeHeader {
  return typeof json === "object" && json !== null && "version" in json &&
    json.version === 1 && "from" in json && typeof json.from === "string" &&
    "id" in json && typeof json.id === "number" && "isBinary" in json &&
    "except" in json && Array.isArray(json.except) &&
    (!("rooms" in json) || Array.isArray(json.rooms)) &&
    (!("without" in json) || Array.isArray(json.without));
}
