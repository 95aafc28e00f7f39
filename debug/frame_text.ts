/**
 * Describes frames for people; pure.
 *
 * @module
 */

import {
  type ChannelFrame,
  decodeChannelFrame,
} from "../core/protocol/channel_frames.ts";
import { decodeFrame } from "../core/protocol/frame_decoder.ts";
import {
  isMarked,
  kindOf,
  type MarkedFrame,
  type Payload,
} from "../core/protocol/frames.ts";
import { printable } from "../core/util/printable.ts";

/** The number of bytes of a binary message that are shown. */
const MAX_SHOWN_BYTES = 32;

/** The number of items of a batch that are shown. */
const MAX_SHOWN_ITEMS = 10;

/** The kinds of the frames of channels. */
const CHANNEL_KINDS = ["c", "j", "l"];

/**
 * Describes a frame.
 *
 * @param payload The content of the frame.
 * @param speaksEvents Whether both ends use `events.v1`.
 * @param maxChars The maximum number of characters of a text to show.
 * @returns One line; for a batch one line for each of its first items, too.
 */
export function describeFrame(
  payload: Payload,
  speaksEvents: boolean,
  maxChars: number,
): string[] {
  if (!speaksEvents || !isMarked(payload)) {
    return [`message ${describeData(payload, maxChars)}`];
  }
  const describe = (inner: Payload) => describeFrame(inner, true, maxChars);
  if (CHANNEL_KINDS.includes(kindOf(payload))) {
    const frame = decodeChannelFrame(payload);
    return frame
      ? describeChannelFrame(frame, describe)
      : [`malformed ${describeData(payload, maxChars)}`];
  }
  const frame = decodeFrame(payload);
  if (frame === undefined) {
    return [`malformed ${describeData(payload, maxChars)}`];
  }
  if (frame.kind === "unknown") {
    return [`ignored ${describeData(payload, maxChars)}`];
  }
  return describeMarkedFrame(frame, describe, maxChars);
}

/** Describes data: text in quotes, or the size and the first bytes. */
export function describeData(payload: Payload, maxChars: number): string {
  if (typeof payload === "string") return `"${printable(payload, maxChars)}"`;
  const bytes = new Uint8Array(payload);
  const shown = Array.from(
    bytes.subarray(0, MAX_SHOWN_BYTES),
    (byte) => byte.toString(16).padStart(2, "0"),
  ).join(" ");
  const rest = bytes.length > MAX_SHOWN_BYTES ? " …" : "";
  return `<${bytes.length} bytes${shown && `: ${shown}`}${rest}>`;
}

function describeChannelFrame(
  frame: ChannelFrame,
  describe: (inner: Payload) => string[],
): string[] {
  if (frame.kind === "inner") {
    return prefixed(`channel ${frame.id}: `, describe(frame.payload));
  }
  if (frame.kind === "leave") {
    const { failure } = frame;
    const reason = failure ? ` ${JSON.stringify(failure)}` : "";
    return [printable(`leave channel ${frame.id}${reason}`)];
  }
  const { name, data, isRejoin } = frame.join;
  const params = data === undefined ? "" : ` ${JSON.stringify(data)}`;
  const again = isRejoin ? " again" : "";
  return [printable(`join channel ${frame.id}${again}: "${name}"${params}`)];
}

function describeMarkedFrame(
  frame: Exclude<MarkedFrame, { kind: "unknown" }>,
  describe: (inner: Payload) => string[],
  maxChars: number,
): string[] {
  switch (frame.kind) {
    case "message":
      return [`message ${describeData(frame.payload, maxChars)}`];
    case "request":
    case "reply":
      return [
        `${frame.kind} ${frame.id} ${describeData(frame.payload, maxChars)}`,
      ];
    case "failure":
      return [
        printable(
          `error reply ${frame.id} ${JSON.stringify(frame.failure)}`,
          maxChars,
        ),
      ];
    case "ping":
    case "pong":
      return [`${frame.kind} ${describeData(frame.text, maxChars)}`];
    case "credit":
      return [`credit ${frame.limit}`];
    case "stored":
      return [
        `message ${
          describeData(frame.payload, maxChars)
        } (stored as ${frame.offset})`,
      ];
    case "position":
      return [describePosition(frame.update)];
    case "key":
      return [`key of the next message ${describeData(frame.key, maxChars)}`];
    case "trace":
      return [printable(`trace of request ${frame.id} ${frame.text}`)];
    case "part":
      return [
        `${frame.isLast ? "last part" : "part"} ${
          describeData(frame.payload, maxChars)
        }`,
      ];
    case "batch":
      return describeBatch(frame.items, describe);
  }
}

function describeBatch(
  items: readonly Payload[],
  describe: (inner: Payload) => string[],
): string[] {
  const shown = items.slice(0, MAX_SHOWN_ITEMS);
  const lines = shown.flatMap((item) => prefixed("  ", describe(item)));
  const rest = items.length - shown.length;
  return [
    `batch of ${items.length}`,
    ...lines,
    ...rest > 0 ? [`  … and ${rest} more`] : [],
  ];
}

/** Describes a position without its token, which is a secret of the client. */
function describePosition(
  { position, recovered }: (MarkedFrame & { kind: "position" })["update"],
): string {
  const where = position
    ? ` ${position.offset} of ${position.epoch}`
    : " unknown";
  const told = recovered === undefined ? "" : `, recovered: ${recovered}`;
  return `position${where}${told}`;
}

function prefixed(prefix: string, lines: readonly string[]): string[] {
  return lines.map((line) => `${prefix}${line}`);
}
