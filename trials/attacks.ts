/** What a hostile peer sends, for the trials that look at what it does to others. */

import {
  encodeAddressed,
  encodePing,
  encodeTextBatch,
} from "../core/protocol/frames.ts";
import { closeFrame, frame, type RawPeer } from "../tests/support/raw_peer.ts";

/** What a peer does, until the server ends it or its time is over. */
export interface Attack {
  readonly name: string;
  /** What it sends, again and again; the first is sent once. */
  readonly first?: Uint8Array;
  readonly again?: Uint8Array;
  readonly plain?: boolean;
  readonly options?: Record<string, unknown>;
  /** Whether it reads what the server sends. */
  readonly reads?: boolean;
  /**
   * What does nearly all of the work for one of its messages in one go, so that the
   * library cannot share the event loop in between. `maxPayload` is the remedy.
   */
  readonly work?: string;
}

/** A frame of any size. */
function large(opcode: number, bytes: Uint8Array): Uint8Array {
  if (bytes.length < 65_536) return frame(opcode, bytes);
  const all = new Uint8Array(14 + bytes.length);
  all.set([0x80 | opcode, 0x80 | 127]);
  new DataView(all.buffer).setBigUint64(2, BigInt(bytes.length));
  all.set(bytes, 14); // the mask is 0
  return all;
}

const encoder = new TextEncoder();
const text = (content: string) => large(1, encoder.encode(content));

/** The same, many times in a row. */
function repeat(bytes: Uint8Array, count: number): Uint8Array {
  const all = new Uint8Array(bytes.length * count);
  for (let i = 0; i < count; i++) all.set(bytes, i * bytes.length);
  return all;
}

const MIB = 1024 * 1024;
const numbers = `[${Array(200_000).fill("1").join()}]`;
const batchOf = (count: number) =>
  text(encodeTextBatch(Array.from({ length: count }, () => "x")));

export const ATTACKS: readonly Attack[] = [
  { name: "nothing" },
  { name: "one batch of 32,766", first: batchOf(32_766) },
  { name: "one batch of 1,024", first: batchOf(1_024) },
  { name: "batches of 1,024", again: batchOf(1_024) },
  {
    name: "batches of 1,024, one after the other",
    again: batchOf(1_024),
    options: { concurrency: 1 },
  },
  { name: "small messages", again: repeat(frame(1, "x"), 10_000) },
  {
    name: "small messages, plain",
    plain: true,
    again: repeat(frame(1, "x"), 10_000),
  },
  { name: "empty frames", plain: true, again: repeat(frame(2), 10_000) },
  {
    name: "empty frames, dropped",
    plain: true,
    again: repeat(frame(2), 10_000),
    options: { messageRate: { perSecond: 100, burst: 100, policy: "drop" } },
  },
  { name: "pings of RFC 6455", again: repeat(frame(9), 10_000) },
  { name: "pongs of RFC 6455", again: repeat(frame(10), 10_000) },
  {
    name: "pings of events.v1",
    again: repeat(text(encodePing("ping", "x")), 5_000),
  },
  {
    name: "pongs of events.v1",
    again: repeat(text(encodePing("pong", "x")), 5_000),
  },
  { name: "unknown kinds", again: repeat(text("\u0001z"), 10_000) },
  {
    name: "requests without end",
    again: repeat(text(`${encodeAddressed("request", 1, "x")}`), 5_000),
  },
  { name: "too large frames", again: large(2, new Uint8Array(4 * MIB)) },
  {
    name: "the largest messages",
    again: large(2, new Uint8Array(MIB)),
    work: "the runtime, which reads large frames one after the other",
  },
  {
    name: "wrong numbers, in requests",
    again: text(`${encodeAddressed("request", 1, numbers)}`),
    options: { isChecked: true },
    work: "the validation library",
  },
  {
    name: "deep JSON, in requests",
    again: text(`${encodeAddressed("request", 1, "[".repeat(MIB - 100))}`),
    work: "JSON.parse",
  },
  {
    name: "a close amid messages",
    again: new Uint8Array([
      ...repeat(frame(1, "x"), 5_000),
      ...closeFrame(1000, "bye"),
      ...repeat(frame(1, "x"), 5_000),
    ]),
  },
];

/** Reads and forgets. */
export async function drain(peer: RawPeer): Promise<void> {
  const chunk = new Uint8Array(65_536);
  try {
    while (await peer.tcp.read(chunk) !== null);
  } catch {
    // It was cut.
  }
}
