import { assert, assertEquals, assertNotEquals } from "@std/assert";
import {
  digestOf,
  type Outcome,
  SESSION_COST,
  SessionRecord,
} from "../../../core/retries/session_record.ts";

const entry = { digest: "d", owner: "", outcome: undefined };

function reply(size: number): Outcome {
  return { kind: "reply", payload: "x".repeat(size) };
}

Deno.test("SessionRecord.find() tells new, known, reused and forgotten numbers apart", () => {
  const record = new SessionRecord();
  assertEquals(record.find(1, "d"), "new");
  record.set(1, entry);
  assertEquals(record.find(1, "d"), entry);
  assertEquals(record.find(1, "other"), "reused");
  record.set(3, entry);
  record.forgetTo(2);
  assertEquals(record.find(1, "d"), "forgotten");
  assertEquals(record.find(2, "d"), "forgotten");
  assertEquals(record.find(3, "d"), entry);
  assertEquals(record.find(4, "d"), "new");
});

Deno.test("SessionRecord.settle() keeps the first answer, and ignores forgotten requests", () => {
  const record = new SessionRecord();
  record.set(1, entry);
  record.settle(1, reply(1));
  record.settle(1, reply(2));
  assertEquals(record.find(1, "d"), { ...entry, outcome: reply(1) });
  record.forgetTo(1);
  record.settle(1, reply(1));
  assertEquals(record.find(1, "d"), "forgotten");
});

Deno.test("SessionRecord.forgetTo() never goes back", () => {
  const record = new SessionRecord();
  record.forgetTo(5);
  record.forgetTo(2);
  assertEquals(record.find(5, "d"), "forgotten");
});

Deno.test("SessionRecord.size is that of an empty record when all is forgotten", () => {
  const record = new SessionRecord();
  for (let number = 1; number <= 10; number++) {
    record.set(number, entry);
    record.settle(
      number,
      number % 2 ? reply(number) : {
        kind: "failure",
        failure: { message: "m", code: "c" },
      },
    );
  }
  assert(record.size > SESSION_COST);
  record.forgetTo(10);
  assertEquals(record.size, SESSION_COST);
});

Deno.test("SessionRecord.shrink() forgets the oldest answers, and nothing that is handled", () => {
  const record = new SessionRecord();
  for (let number = 1; number <= 4; number++) record.set(number, entry);
  for (const number of [3, 2, 4]) record.settle(number, reply(1_000));
  record.shrink(record.size - 1);
  assertEquals([...record.entries.keys()], [1, 3, 4]);
  assertEquals(record.find(2, "d"), "forgotten");
  assertEquals(record.find(1, "d"), entry);
  record.shrink(0);
  assertEquals([...record.entries.keys()], [1]);
  assert(record.isBusy);
});

Deno.test("SessionRecord.copy() is independent", () => {
  const record = new SessionRecord();
  record.set(1, entry);
  const copy = record.copy();
  copy.settle(1, reply(1));
  copy.forgetTo(7);
  assertEquals(record.find(1, "d"), entry);
  assertEquals(record.size, new SessionRecord().size + 256);
});

Deno.test("digestOf() tells contents, sizes and types apart", () => {
  const bytes = new TextEncoder().encode("abc").buffer;
  const digests = [
    "abc",
    "abd",
    "acb",
    "abcc",
    "",
    bytes,
    new ArrayBuffer(3),
    new ArrayBuffer(4),
  ].map(digestOf);
  assertEquals(new Set(digests).size, digests.length);
  assertEquals(digestOf("abc"), digestOf("abc"));
  assertNotEquals(digestOf("\u0100"), digestOf("\u0000"));
});
