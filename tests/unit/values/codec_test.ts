import "../../../core/features/full.ts";
import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import {
  type Codec,
  decodeText,
  decodeWith,
  encodeValue,
  encodeWith,
} from "../../../core/values/codec.ts";

Deno.test("encodeValue() returns strings unchanged", () => {
  for (const text of ["", "text", "{}", "\u{1f600}", '"quoted"']) {
    assertStrictEquals(encodeValue(text), text);
  }
});

Deno.test("encodeValue() serializes values as JSON", () => {
  const cases: [unknown, string][] = [
    [{}, "{}"],
    [[], "[]"],
    [[1, "2", null], '[1,"2",null]'],
    [null, "null"],
    [0, "0"],
    [false, "false"],
    [{ a: undefined, b: 1 }, '{"b":1}'],
    [new Date(0), '"1970-01-01T00:00:00.000Z"'],
    [{ toJSON: () => 5 }, "5"],
  ];
  for (const [data, json] of cases) assertStrictEquals(encodeValue(data), json);
});

Deno.test("encodeValue() returns bytes and the range of a view", () => {
  const buffer = new Uint8Array([0, 1, 2, 3]).buffer;
  assertStrictEquals(encodeValue(buffer), buffer);
  const views = [
    new Uint8Array(buffer, 1, 2),
    new DataView(buffer, 1, 2),
    new Int8Array(buffer, 1, 2),
  ];
  for (const view of views) {
    assertEquals(encodeValue(view), new Uint8Array([1, 2]));
  }
  const blob = new Blob(["x"]);
  assertStrictEquals(encodeValue(blob), blob);
});

Deno.test("encodeValue() copies shared memory", () => {
  const shared = new Uint8Array(new SharedArrayBuffer(4)).fill(7);
  const encoded = encodeValue(shared.subarray(2));
  shared.fill(8);
  assertEquals(encoded, new Uint8Array([7, 7]));
  const whole = new Uint8Array(new SharedArrayBuffer(1));
  assertEquals(encodeValue(whole.buffer), new Uint8Array([0]));
});

Deno.test("encodeValue() throws for values that JSON cannot represent", () => {
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  const cases: [unknown, string][] = [
    [undefined, "JSON cannot represent: its type is undefined"],
    [() => {}, "JSON cannot represent: its type is function"],
    [Symbol("s"), "JSON cannot represent: its type is symbol"],
    [{ toJSON: () => undefined }, "JSON cannot represent: its type is object"],
    [new Map([[1, 2]]), "instance of Map as JSON would serialize it as {}"],
    [new Set([1]), "convert it to an array first"],
    [new Error("e"), "instance of Error as JSON would serialize it as {}"],
    [new FormData(), "instance of FormData"],
    [new (class {})(), "instance of an anonymous class"],
    [1n, "Cannot send a value that JSON cannot represent"],
    [{ deep: [1n] }, "Cannot send a value that JSON cannot represent"],
    [cycle, "circular"],
    [Promise.resolve(), "as {}: await it first"],
  ];
  for (const [data, message] of cases) {
    assertThrows(() => encodeValue(data), TypeError, message);
  }
});

Deno.test("encodeValue() serializes empty plain objects", () => {
  class Move {
    x = 1;
  }
  class Patch {
    name?: string = undefined;
  }
  const cases: [unknown, string][] = [
    [{}, "{}"],
    [new Patch(), "{}"],
    [Object.create(null), "{}"],
    [{ a: undefined }, "{}"],
    [{ toJSON: () => ({}) }, "{}"],
    [new Move(), '{"x":1}'],
    [new Date(0), '"1970-01-01T00:00:00.000Z"'],
  ];
  for (const [data, json] of cases) assertEquals(encodeValue(data), json);
});

Deno.test("decodeText() parses JSON", () => {
  const cases: [string, unknown][] = [
    ['{"a":[1,2]}', { a: [1, 2] }],
    ["[]", []],
    ['"text"', "text"],
    ["-1.5e3", -1500],
    ["0", 0],
    ["9", 9],
    ["true", true],
    ["false", false],
    ["null", null],
    [" {}", {}],
    ["\t1", 1],
    ["\n1", 1],
    ["\r1\r\n", 1],
  ];
  for (const [text, value] of cases) assertEquals(decodeText(text), value);
});

Deno.test("decodeText() returns other text unchanged", () => {
  const texts = [
    "",
    "text",
    "{broken",
    "[1,",
    "trueish",
    "nothing",
    "- dash",
    "12 monkeys",
    " ",
    "Infinity",
    "\u{1f600}",
    "/",
    ":",
  ];
  for (const text of texts) assertStrictEquals(decodeText(text), text);
});

Deno.test("encodeValue() throws on detached buffers", () => {
  const buffer = new ArrayBuffer(8);
  const view = new Uint8Array(buffer, 2, 2);
  buffer.transfer();
  for (const data of [buffer, view]) {
    assertThrows(
      () => encodeValue(data),
      TypeError,
      "a detached buffer",
    );
  }
});

Deno.test("decodeText() does not parse JSON nested deeper than 10,000 levels", () => {
  const nested = (depth: number, [open, close]: [string, string]) =>
    open.repeat(depth) + "1" + close.repeat(depth);
  for (const pair of [["[", "]"], ['{"a":', "}"]] as [string, string][]) {
    assertEquals(typeof decodeText(nested(10_000, pair)), "object");
    const text = nested(10_001, pair);
    assertStrictEquals(decodeText(text), text);
    assertStrictEquals(
      decodeText(pair[0].repeat(10_001)),
      pair[0].repeat(10_001),
    );
  }
  // Brackets in strings, and those that are closed, do not count.
  const wide = [Array(20_000).fill([]), '\\"['.repeat(20_000)];
  assertEquals(decodeText(JSON.stringify(wide)), wide);
});

Deno.test("encodeWith() and decodeWith() refuse an asynchronous codec, whose rejections nobody handles", () => {
  const fail = () => Promise.reject(new Error("asynchronous"));
  const codec: Codec = JSON.parse('{"name":"late"}');
  Object.assign(codec, { encode: fail, decode: fail });
  for (
    const use of [
      () => encodeWith(1, codec),
      () => decodeWith("text", codec),
      () => decodeWith(new ArrayBuffer(1), codec),
    ]
  ) {
    assertThrows(
      use,
      TypeError,
      'Cannot use the codec "late" as it is asynchronous',
    );
  }
});
