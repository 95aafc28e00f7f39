import { assertEquals } from "@std/assert";
import { describeFrame } from "../../../debug/frame_text.ts";
import {
  encodeInChannel,
  encodeJoin,
  encodeLeave,
} from "../../../core/protocol/channel_frames.ts";
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
  payloadOf,
} from "../../../core/protocol/frames.ts";
import type { Frame } from "../../../core/values/codec.ts";

function lines(frame: Frame, maxChars = 200): string[] {
  if (frame instanceof Blob) throw new TypeError("Cannot use a Blob here");
  return describeFrame(payloadOf(frame), true, maxChars);
}

Deno.test("describeFrame() shows messages as text in quotes, and as bytes", () => {
  assertEquals(lines("hello"), ['message "hello"']);
  assertEquals(lines(""), ['message ""']);
  assertEquals(lines("a\u001b[31m\n"), ['message "a\\u001b[31m\\n"']);
  assertEquals(lines(new Uint8Array([1, 255])), ["message <2 bytes: 01 ff>"]);
  assertEquals(lines(new Uint8Array()), ["message <0 bytes>"]);
  const long = lines(new Uint8Array(100))[0] ?? "";
  assertEquals(long, `message <100 bytes: ${"00 ".repeat(32)}…>`);
  assertEquals(lines("abcdef", 2), ['message "ab… (4 more characters)"']);
});

Deno.test("describeFrame() shows marks as text to peers that speak no events.v1", () => {
  assertEquals(describeFrame(encodeCredit(5), false, 200), [
    'message "\\u0001+5"',
  ]);
});

Deno.test("describeFrame() decodes the frames of events.v1", () => {
  const position = { epoch: "e", offset: 4 };
  const cases: [Frame, string][] = [
    [escapeFrame("\u0001x"), 'message "\\u0001x"'],
    [encodeAddressed("request", 1, '{"a":1}'), 'request 1 "{"a":1}"'],
    [
      encodeAddressed("reply", 2, new Uint8Array([9])),
      "reply 2 <1 bytes: 09>",
    ],
    [
      encodeFailure(3, { message: "no\n", code: "x" }),
      'error reply 3 {"message":"no\\n","code":"x"}',
    ],
    [encodePing("ping", "1"), 'ping "1"'],
    [encodePing("pong", "1"), 'pong "1"'],
    [encodeCredit(70_000), "credit 70000"],
    [encodeStored(7, "news"), 'message "news" (stored as 7)'],
    [encodeTrace(8, "00-ab-cd-01"), "trace of request 8 00-ab-cd-01"],
    [encodeKey("EUR", ""), 'key of the next message "EUR"'],
    [
      encodePosition({ position, recovered: true, token: "secret" }),
      "position 4 of e, recovered: true",
    ],
    [
      encodePosition({ position: undefined, recovered: undefined }),
      "position unknown",
    ],
    [`\u0001.${"x".repeat(3)}`, 'last part "xxx"'],
    ["\u0001x1", 'ignored "\\u0001x1"'],
    ["\u0001?0,x", 'malformed "\\u0001?0,x"'],
    ["\u0001", 'malformed "\\u0001"'],
    ["\u0001j0", 'malformed "\\u0001j0"'],
  ];
  for (const [frame, line] of cases) assertEquals(lines(frame), [line]);
});

Deno.test("describeFrame() shows the frames of channels", () => {
  const join = { name: "orders/42", data: { a: 1 }, isRejoin: false };
  assertEquals(lines(encodeJoin(1, join)), [
    'join channel 1: "orders/42" {"a":1}',
  ]);
  assertEquals(lines(encodeJoin(1, { name: "x", isRejoin: true })), [
    'join channel 1 again: "x"',
  ]);
  assertEquals(lines(encodeInChannel(1, "hi")), ['channel 1: message "hi"']);
  assertEquals(lines(encodeInChannel(1, new Uint8Array([1]))), [
    "channel 1: message <1 bytes: 01>",
  ]);
  assertEquals(lines(encodeLeave(1)), ["leave channel 1"]);
  assertEquals(lines(encodeLeave(1, { message: "out" })), [
    'leave channel 1 {"message":"out"}',
  ]);
});

Deno.test("describeFrame() shows the first items of a batch", () => {
  assertEquals(lines(encodeTextBatch(["a", encodeCredit(1)])), [
    "batch of 2",
    '  message "a"',
    "  credit 1",
  ]);
  assertEquals(lines(encodeBinaryBatch([new Uint8Array([1])])), [
    "batch of 1",
    "  message <1 bytes: 01>",
  ]);
  const many = lines(encodeTextBatch(Array.from({ length: 13 }, String)));
  assertEquals(many.length, 12);
  assertEquals(many.at(-1), "  … and 3 more");
});
