import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { stub } from "@std/testing/mock";
import { FakeTime } from "@std/testing/time";
import { describeError, ErrorLog } from "../../../core/events/error_log.ts";

Deno.test("ErrorLog writes 20 errors in 10 seconds, then the number of the others", async () => {
  using time = new FakeTime();
  using _now = stub(performance, "now", () => Date.now());
  using written = stub(console, "error");
  const log = new ErrorLog();
  const lines = () => written.calls.splice(0).map(({ args }) => args.join(" "));
  for (let i = 0; i < 1_000; i++) log.write("label:", `error ${i}`);
  const first = lines();
  assertEquals(first.length, 20);
  assertEquals(first[0], "label: error 0");
  await time.tickAsync(9_999);
  assertEquals(lines(), []);
  await time.tickAsync(1);
  const more = '980 more errors were not written: listen to "error" to see ' +
    "all of them";
  assertEquals(lines(), [more]);
  log.write("label:", "next");
  assertEquals(lines(), ["label: next"]);
  for (let i = 0; i < 21; i++) log.write("label:", "again");
  assertEquals(lines().length, 19);
  log.flush();
  assertEquals(lines(), [more.replace("980", "2")]);
  log.flush();
  await time.tickAsync(60_000);
  assertEquals(lines(), []);
});

Deno.test("describeError() returns short printable text with the location", () => {
  const error = new RangeError(
    `\u001b[2J\nfake: line\n    at fake (file.ts:1:1)${"x".repeat(1 << 20)}`,
    { cause: new Error("why", { cause: "\u0007" }) },
  );
  const text = describeError(error);
  assert(text.length < 10_000, `${text.length}`);
  assertEquals(/[^\P{Cc}\n]/u.test(text), false);
  const [first = "", second = ""] = text.split("\n");
  assert(first.startsWith("RangeError: \\u001b[2J\\nfake: line\\n    at fake"));
  assert(second.startsWith("    at "), second);
  assertStringIncludes(second, "error_log_test.ts");
  assertStringIncludes(text, "\nCaused by: Error: why\n    at ");
  assertStringIncludes(text, "\nCaused by: \\u0007");
});

Deno.test("describeError() accepts any thrown value", () => {
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  const bad = new Error("x");
  Object.defineProperty(bad, "message", {
    get() {
      throw new Error("worse");
    },
  });
  const badCause = Object.defineProperty(new Error("y"), "cause", {
    get() {
      throw new Error("worse");
    },
  });
  badCause.stack = "";
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  class Account {
    password = "secret";
  }
  for (
    const [thrown, text] of [
      [badCause, "Error: y"],
      [revoked.proxy, "an error that cannot be formatted"],
      [new Account(), "an object of class Account"],
      [undefined, "undefined"],
      [null, "null"],
      [1n, "1"],
      ["a\nb", "a\\nb"],
      [{ a: 1 }, '{"a":1}'],
      [Symbol("s"), "Symbol(s)"],
      [circle, "an error that cannot be formatted"],
      [bad, "an error that cannot be formatted"],
    ] as const
  ) assertEquals(describeError(thrown), text);
  const endless = new Error("a");
  endless.cause = endless;
  assertEquals(describeError(endless).match(/Caused by/g)?.length, 3);
});
