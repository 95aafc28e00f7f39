import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { SchemaError } from "../../../core/values/schema.ts";

Deno.test("SchemaError has the first issues and the total number", () => {
  const issues = Array.from({ length: 200_000 }, (_, i) => ({
    message: "Invalid",
    path: [{ key: "list" }, i],
    errors: new Array(100).fill("what a library adds"),
  }));
  const error = new SchemaError("A message", issues);
  assertEquals(error.issueCount, 200_000);
  assertEquals(error.issues.length, 8);
  assertEquals(error.issues[1], { message: "Invalid", path: ["list", 1] });
  assertStringIncludes(
    error.message,
    "A message does not match the schema: list.0: Invalid; list.1: Invalid; ",
  );
  assertStringIncludes(error.message, "list.7: Invalid; and 199992 more");
  const one = new SchemaError("A message", [{ message: "Invalid" }]);
  assertEquals(one.message, "A message does not match the schema: Invalid");
});

Deno.test("SchemaError is short and printable for any data", () => {
  const long = `\u001b[2J\r\n${"x".repeat(1 << 20)}`;
  const path = Array<string>(1_000).fill(long);
  const issue = { message: long, path };
  const error = new SchemaError("A message", Array(20).fill(issue));
  const text = error.message + JSON.stringify(error.issues);
  assert(text.length < 32 * 1024, `${text.length}`);
  assertEquals(/\p{Cc}/u.test(text), false);
});
