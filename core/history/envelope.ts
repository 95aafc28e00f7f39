/**
 * The format of broadcasts between servers: a header as a line of JSON, then the body.
 *
 * @module
 */

import type { SendOptions } from "../sending/send_queue.ts";
import { type Frame, toBytes } from "../values/codec.ts";
import { concatBytes } from "../util/concat_bytes.ts";
import { isOverflow } from "../sending/backpressure_queue.ts";

/** The body of a broadcast. The bytes of a `Blob` have to be read first. */
export type BroadcastBody = Exclude<Frame, Blob>;

/** The recipients of a broadcast, on all servers. */
export interface BroadcastTarget {
  /** The members of any of these rooms; all clients if undefined. */
  readonly rooms?: readonly string[];
  /** Members of these rooms are excluded. */
  readonly except: readonly string[];
  /** These clients are excluded, by the names that recovery gives them. */
  readonly without?: readonly string[];
}

/** A message to several recipients. */
export interface Broadcast {
  readonly target: BroadcastTarget;
  readonly body: BroadcastBody;
  readonly options: SendOptions;
}

/** A broadcast that is sent to other servers. */
export interface SequencedBroadcast extends Broadcast {
  /** The name of the server that sends it. */
  readonly from: string;
  /** The number of the message, unique for that server. */
  readonly id: number;
}

/** The first line of an envelope. */
interface EnvelopeHeader extends BroadcastTarget, SendOptions {
  /** The version of the format. A server ignores versions that it does not know. */
  readonly version: 1;
  readonly from: string;
  readonly id: number;
  readonly isBinary: boolean;
}

/** The channel of messages to all clients, and of stored messages to several rooms. */
export const ALL_CHANNEL = "all";

const envelopeEncoder = new TextEncoder();
const envelopeDecoder = new TextDecoder("utf-8", { ignoreBOM: true }); // a BOM belongs to the text

/** The channel of messages to a room. */
export function roomChannel(room: string): string {
  return `room ${room}`;
}

/** Encodes a broadcast. */
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
    ? concatBytes([envelopeEncoder.encode(line), toBytes(body)])
    : envelopeEncoder.encode(line + body);
}

/** The bytes that every broadcast of a server begins with. */
export function encodeEnvelopeStart(from: string): Uint8Array {
  const start = JSON.stringify({ version: 1, from }).slice(0, -1);
  return envelopeEncoder.encode(`${start},`);
}

/**
 * Decodes a broadcast.
 *
 * @returns The broadcast; undefined if it has a later version of the format.
 * @throws {SyntaxError} If the header is not valid JSON.
 * @throws {TypeError} If the header has the wrong fields.
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
  throw malformedHeader(json);
}

/** The error for a message whose first line is not what it has to be. */
export function malformedHeader(header: unknown): TypeError {
  return new TypeError(
    `Cannot decode a message from another server: its header is ${
      String(JSON.stringify(header)).slice(0, MAX_SHOWN)
    }`,
  );
}

/** How much of a malformed header is shown, in characters. */
const MAX_SHOWN = 200;

/** Keeps the options that this version knows. */
function pickSendOptions(
  { overflow, key, volatile }: SendOptions,
): SendOptions {
  return {
    ...isOverflow(overflow) && { overflow },
    ...typeof key === "string" && { key },
    ...volatile === true && { volatile },
  };
}

function isEnvelopeHeader(json: unknown): json is EnvelopeHeader {
  return typeof json === "object" && json !== null && "version" in json &&
    json.version === 1 && "from" in json && typeof json.from === "string" &&
    "id" in json && typeof json.id === "number" && "isBinary" in json &&
    "except" in json && isNames(json.except) &&
    (!("rooms" in json) || isNames(json.rooms)) &&
    (!("without" in json) || isNames(json.without));
}

function isNames(value: unknown): value is readonly string[] {
  return Array.isArray(value) &&
    value.every((name) => typeof name === "string");
}
