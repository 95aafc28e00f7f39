/** The frames of `events.v1`, as `docs/protocol.md` and its test vectors say. */

import {
  assert,
  assertEquals,
  assertNotStrictEquals,
  assertStrictEquals,
} from "@std/assert";
import { concatBytes } from "../../../core/util/concat_bytes.ts";
import { decodeHex, encodeHex } from "../../support/hex.ts";
import { type Frame, toBytes } from "../../../core/values/codec.ts";
import { decodeFrame } from "../../../core/protocol/frame_decoder.ts";
import {
  encodeAddressed,
  encodeBinaryBatch,
  encodeCredit,
  encodeFailure,
  encodeKey,
  encodePing,
  encodePosition,
  encodeStored,
  encodeTextBatch,
  encodeTrace,
  escapeFrame,
  isMarked,
  MARK,
  MARK_BYTE,
  type MarkedFrame,
  type Payload,
  unescapeFrame,
} from "../../../core/protocol/frames.ts";
import {
  PART_BYTES,
  PartJoiner,
  splitIntoParts,
} from "../../../core/protocol/parts.ts";
import vectors from "../../vectors.json" with { type: "json" };

const { recovery, tracing, parts, keys } = vectors;
const frames = [
  ...vectors.frames,
  ...recovery.frames,
  ...tracing.frames,
  ...keys.frames,
  ...parts.frames,
];

type Written = { text: string } | { hex: string };

/** What a vector writes down. */
function payloadOf(written: Written): Payload {
  return "text" in written ? written.text : decodeHex(written.hex).buffer;
}

/** What a frame would be in a vector. */
function written(frame: Frame | Payload): Written {
  if (typeof frame === "string") return { text: frame };
  assert(!(frame instanceof Blob));
  return { hex: encodeHex(toBytes(frame)) };
}

/** A meaning as a vector has it. */
function described(marked: MarkedFrame | undefined): unknown {
  if (marked === undefined) return undefined;
  const all: Record<string, unknown> = { ...marked };
  if ("payload" in marked) all.payload = written(marked.payload);
  if ("items" in marked) all.items = marked.items.map(written);
  if ("update" in marked) {
    const { position, recovered, token } = marked.update;
    all.update = {
      ...position && { position },
      ...recovered !== undefined && { recovered },
      ...token !== undefined && { token },
    };
  }
  return all;
}

function read(frame: Payload): unknown {
  return isMarked(frame)
    ? described(decodeFrame(frame))
    : { kind: "plain", payload: written(frame) };
}

/** The frame that says what has been read. */
function write(marked: MarkedFrame): Frame {
  switch (marked.kind) {
    case "message":
      return escapeFrame(marked.payload);
    case "request":
    case "reply":
      return encodeAddressed(marked.kind, marked.id, marked.payload);
    case "stored":
      return encodeStored(marked.offset, marked.payload);
    case "position":
      return encodePosition(marked.update);
    case "trace":
      return encodeTrace(marked.id, marked.text);
    case "key":
      return encodeKey(marked.key, "");
    case "failure":
      return encodeFailure(marked.id, marked.failure);
    case "ping":
    case "pong":
      return encodePing(marked.kind, marked.text);
    case "credit":
      return encodeCredit(marked.limit);
    case "batch": {
      const texts = marked.items.filter((item) => typeof item === "string");
      const parts = marked.items.filter((item) => typeof item !== "string")
        .map((part) => new Uint8Array(part));
      return parts.length > 0
        ? encodeBinaryBatch(parts)
        : encodeTextBatch(texts);
    }
    case "part": {
      const mark = marked.isLast ? "." : "-";
      const { payload } = marked;
      if (typeof payload === "string") return `${MARK}${mark}${payload}`;
      const head = new Uint8Array([MARK_BYTE, mark.charCodeAt(0)]);
      return concatBytes([head, new Uint8Array(payload)]);
    }
    case "unknown":
      throw new Error("nothing writes that");
  }
}

Deno.test("decodeFrame() decodes all vectors", () => {
  for (
    const { frame, ...meaning } of [
      ...frames,
      ...vectors.read,
      ...recovery.read,
      ...tracing.read,
      ...keys.read,
    ]
  ) {
    assertEquals(read(payloadOf(frame)), meaning, Deno.inspect(frame));
  }
});

Deno.test("encoders produce the bytes of the vectors", () => {
  for (const { frame } of frames) {
    const payload = payloadOf(frame);
    const marked = isMarked(payload) ? decodeFrame(payload) : undefined;
    assertEquals(
      written(marked ? write(marked) : escapeFrame(payload)),
      frame,
    );
  }
});

Deno.test("decodeFrame() returns undefined for malformed frames", () => {
  for (
    const { frame, why, ...rest } of [
      ...vectors.malformed,
      ...recovery.malformed,
      ...parts.malformed,
    ]
  ) {
    const marked = decodeFrame(payloadOf(frame));
    if (!("isOuter" in rest)) assertStrictEquals(marked, undefined, why);
    else {
      // Alone it is well-formed; it is for the receiver to refuse what is in it.
      assert(marked?.kind === "batch");
      assert(
        marked.items.some((item) =>
          isMarked(item) && decodeFrame(item)?.kind === "batch"
        ),
      );
    }
  }
});

Deno.test("decodeFrame() never throws", () => {
  for (let kind = 0; kind < 256; kind++) {
    for (const rest of ["", "1", ",", "1,", "1,{", "\u001e", "\u{1F600}"]) {
      decodeFrame(MARK + String.fromCharCode(kind) + rest);
    }
    for (let length = 0; length < 12; length++) {
      for (const fill of [0, 1, 255]) {
        const bytes = new Uint8Array(2 + length).fill(fill);
        bytes[0] = MARK_BYTE;
        bytes[1] = kind;
        decodeFrame(bytes.buffer);
      }
    }
  }
});

Deno.test("escapeFrame() marks only ambiguous messages, and unescapeFrame() reverts it", async () => {
  const bytes = new Uint8Array([1, MARK_BYTE]);
  for (const frame of ["", "x", "{}", "=\u0001", bytes, bytes.buffer]) {
    assertStrictEquals(escapeFrame(frame), frame);
    assertStrictEquals(unescapeFrame(frame), frame);
  }
  for (const frame of ["\u0001", "\u0001=x", "\u0001\u0001"]) {
    assertStrictEquals(unescapeFrame(escapeFrame(frame)), frame);
    assertNotStrictEquals(escapeFrame(frame), frame);
  }
  const marked = new Uint8Array([0, MARK_BYTE, 61, 7]);
  // Only a part of a buffer may be what is sent.
  for (const frame of [marked.subarray(1), marked.slice(1).buffer]) {
    const again = unescapeFrame(escapeFrame(frame));
    assertEquals(written(again), { hex: "c13d07" });
  }
  for (const bytes of [[7, 61], [MARK_BYTE, 7], [MARK_BYTE]]) {
    const frame = new Uint8Array(bytes);
    assertStrictEquals(unescapeFrame(frame), frame);
  }
  const blob = escapeFrame(new Blob(["ä"]));
  assert(blob instanceof Blob);
  assertEquals(encodeHex(await blob.bytes()), "c13dc3a4");
  const again = unescapeFrame(blob);
  assert(again instanceof Blob);
  assertEquals(encodeHex(await again.bytes()), "c3a4");
});

Deno.test("encodeKey() has the type of the message", () => {
  const bytes = encodeKey("€", new ArrayBuffer(1));
  assertEquals(written(bytes), { hex: "c16ee282ac" });
});

Deno.test("encodeAddressed() of a Blob returns a Blob with a header", async () => {
  const frame = encodeAddressed(
    "request",
    258,
    new Blob([new Uint8Array([9])]),
  );
  assert(frame instanceof Blob);
  assertEquals(encodeHex(await frame.bytes()), "c13f0000010209");
});

/** The frame that parts make. */
function joinedOf(all: readonly (Frame | Payload)[]): Payload | undefined {
  const joiner = new PartJoiner();
  for (const one of all) {
    const part = decodeFrame(payloadOf(written(one)));
    assert(part?.kind === "part");
    assert(joiner.add(part.payload));
    assertStrictEquals(part.isLast, one === all.at(-1));
  }
  return joiner.take();
}

Deno.test("PartJoiner joins the parts of the vectors", () => {
  for (const { parts: all, frame } of parts.joined) {
    assertEquals(written(joinedOf(all.map(payloadOf)) ?? ""), frame);
  }
});

Deno.test("PartJoiner.add() rejects a part of another type", () => {
  const joiner = new PartJoiner();
  assert(joiner.add("text"));
  assertStrictEquals(joiner.add(new ArrayBuffer(1)), false);
  assertStrictEquals(joiner.size, 4);
  assertStrictEquals(joiner.take(), "text");
  assert(joiner.add(new ArrayBuffer(1)));
});

Deno.test("splitIntoParts() is reverted by PartJoiner", () => {
  for (const extra of [0, 1, -1, PART_BYTES * 3 + 7]) {
    const text = "x".repeat(PART_BYTES + extra);
    assertStrictEquals(joinedOf(splitIntoParts(text)), text);
    const bytes = new TextEncoder().encode(text);
    assertEquals(joinedOf(splitIntoParts(bytes)), bytes.buffer);
  }
  // The places where it would cut are amid characters.
  for (const before of ["", "x"]) {
    const text = before + "\u{1F600}".repeat(PART_BYTES * 2);
    const all = splitIntoParts(text);
    assert(all.every((part) => part.isWellFormed()));
    assertStrictEquals(joinedOf(all), text);
  }
});
