import { assert, assertEquals } from "@std/assert";
import {
  type ChannelFrame,
  decodeChannelFrame,
  decodeMembers,
  encodeInChannel,
  encodeJoin,
  encodeLeave,
  encodeMembers,
} from "../../../core/protocol/channel_frames.ts";
import { decodeFrame } from "../../../core/protocol/frame_decoder.ts";
import { isCounted } from "../../../core/protocol/frames.ts";
import { toBytes } from "../../../core/values/codec.ts";
import { decodeHex, encodeHex } from "../../support/hex.ts";
import vectors from "../../vectors.json" with { type: "json" };

interface Written {
  readonly text?: string;
  readonly hex?: string;
}

interface Vector {
  readonly frame: Written;
  readonly kind: string;
  readonly id: number;
  readonly join?: {
    readonly name: string;
    readonly data?: unknown;
    readonly isRejoin: boolean;
  };
  readonly payload?: Written;
  readonly failure?: { readonly message: string; readonly code?: string };
}

const frames: readonly Vector[] = vectors.channels.frames;
const read: readonly Vector[] = vectors.channels.read;

function frameOf({ text, hex = "" }: Written): string | ArrayBuffer {
  return text ?? decodeHex(hex).buffer;
}

function meaningOf({ id, join, payload, failure }: Vector): ChannelFrame {
  if (join) {
    return { kind: "join", id, join: { data: undefined, ...join } };
  }
  return payload
    ? { kind: "inner", id, payload: frameOf(payload) }
    : { kind: "leave", id, failure };
}

function encode(frame: ChannelFrame): Written {
  const { kind, id } = frame;
  if (kind === "join") return { text: encodeJoin(id, frame.join) };
  if (kind === "leave") return { text: encodeLeave(id, frame.failure) };
  const written = encodeInChannel(id, frame.payload);
  if (typeof written === "string") return { text: written };
  assert(!(written instanceof Blob));
  return { hex: encodeHex(toBytes(written)) };
}

Deno.test("decodeChannelFrame() reads all vectors", () => {
  for (const vector of [...frames, ...read]) {
    const meaning = meaningOf(vector);
    assertEquals(decodeChannelFrame(frameOf(vector.frame)), meaning);
  }
});

Deno.test("frames of channels are written as in all vectors", () => {
  for (const vector of frames) {
    assertEquals(encode(meaningOf(vector)), vector.frame);
  }
});

Deno.test("decodeChannelFrame() refuses what is malformed", () => {
  for (const { frame, why } of vectors.channels.malformed) {
    assertEquals(decodeChannelFrame(frameOf(frame)), undefined, why);
  }
});

Deno.test("frames of channels cost credit, and are ignored by others", () => {
  const { malformed } = vectors.channels;
  for (const { frame } of [...frames, ...read, ...malformed]) {
    assertEquals(isCounted(frameOf(frame)), true);
    assertEquals(decodeFrame(frameOf(frame)), { kind: "unknown" });
  }
});

Deno.test("decodeMembers() reads what encodeMembers() writes", () => {
  const member = { key: "1", data: { name: "Ann" } };
  for (
    const update of [
      { members: [member] },
      { join: member },
      { update: member },
      { leave: member },
    ]
  ) {
    assertEquals(decodeMembers(encodeMembers(update)), update);
  }
  for (const json of ["", "[]", "{}", '{"join":{}}', '{"members":[1]}']) {
    assertEquals(decodeMembers(`\u0001m${json}`), undefined);
  }
});
