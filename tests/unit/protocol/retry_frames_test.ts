import { assert, assertEquals } from "@std/assert";
import { decodeFrame } from "../../../core/protocol/frame_decoder.ts";
import { isCounted, isRetryFrame } from "../../../core/protocol/frames.ts";
import {
  decodeRetryFrame,
  encodeOpened,
  encodeOpening,
  encodeRetried,
  parseOpened,
  type RetryFrame,
} from "../../../core/protocol/retry_frames.ts";
import { toBytes } from "../../../core/values/codec.ts";
import { decodeHex, encodeHex } from "../../support/hex.ts";
import vectors from "../../vectors.json" with { type: "json" };

interface Written {
  readonly text?: string;
  readonly hex?: string;
}

interface Vector {
  readonly frame: Written;
  readonly id: number;
  readonly opening?: { readonly token?: string; readonly last: number };
  readonly number?: number;
  readonly settled?: number;
  readonly payload?: Written;
}

const frames: readonly Vector[] = vectors.retries.frames;
const read: readonly Vector[] = vectors.retries.read;

function frameOf({ text, hex = "" }: Written): string | ArrayBuffer {
  return text ?? decodeHex(hex).buffer;
}

function meaningOf(vector: Vector): RetryFrame {
  const { id, opening, number = 0, settled = 0, payload = {} } = vector;
  return opening
    ? {
      kind: "open",
      id,
      opening: { token: opening.token, last: opening.last },
    }
    : { kind: "request", id, number, settled, payload: frameOf(payload) };
}

function encode(frame: RetryFrame): Written {
  const { id } = frame;
  if (frame.kind === "open") return { text: encodeOpening(id, frame.opening) };
  const { number, settled, payload } = frame;
  const written = encodeRetried(id, number, settled, payload);
  if (typeof written === "string") return { text: written };
  assert(!(written instanceof Blob));
  return { hex: encodeHex(toBytes(written)) };
}

Deno.test("decodeRetryFrame() reads all vectors", () => {
  for (const vector of [...frames, ...read]) {
    const meaning = meaningOf(vector);
    assertEquals(decodeRetryFrame(frameOf(vector.frame)), meaning);
  }
});

Deno.test("frames of requests that are sent again are written as in all vectors", () => {
  for (const vector of frames) {
    assertEquals(encode(meaningOf(vector)), vector.frame);
  }
});

Deno.test("decodeRetryFrame() refuses what is malformed", () => {
  for (const { frame, why } of vectors.retries.malformed) {
    assertEquals(decodeRetryFrame(frameOf(frame)), undefined, why);
  }
});

Deno.test("frames of requests that are sent again cost credit, and are ignored by others", () => {
  const { malformed } = vectors.retries;
  for (const { frame } of [...frames, ...read, ...malformed]) {
    assertEquals(isCounted(frameOf(frame)), true);
    assertEquals(isRetryFrame(frameOf(frame)), true);
    assertEquals(decodeFrame(frameOf(frame)), { kind: "unknown" });
  }
  for (const text of ["\u0001", "\u0001c1,", "\u0001?1,", "k", ""]) {
    assertEquals(isRetryFrame(text), false);
  }
});

Deno.test("parseOpened() reads what encodeOpened() writes", () => {
  assertEquals(parseOpened(encodeOpened("a1")), "a1");
  for (const json of ["", "[]", "{}", '{"token":1}', '{"token":"a b"}']) {
    assertEquals(parseOpened(json), undefined);
  }
  assertEquals(parseOpened(new ArrayBuffer(2)), undefined);
});

Deno.test("encodeRetried() encodes a Blob", async () => {
  const blob = encodeRetried(1, 2, 1, new Blob(["a"]));
  assert(blob instanceof Blob);
  assertEquals(decodeRetryFrame(await blob.arrayBuffer()), {
    kind: "request",
    id: 1,
    number: 2,
    settled: 1,
    payload: new TextEncoder().encode("a").buffer,
  });
});
