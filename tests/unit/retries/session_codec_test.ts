import { assert, assertEquals } from "@std/assert";
import { concatBytes } from "../../../core/util/concat_bytes.ts";
import {
  decodeSession,
  encodeSession,
} from "../../../core/retries/session_codec.ts";
import { SessionRecord } from "../../../core/retries/session_record.ts";

function sample(): SessionRecord {
  const record = new SessionRecord(2);
  const entry = { digest: "d", owner: "o", outcome: undefined };
  for (let number = 3; number <= 7; number++) record.set(number, entry);
  record.settle(3, { kind: "reply", payload: "\u00e9\n\ufeff" });
  const { buffer } = new Uint8Array([10, 0, 255]);
  record.settle(4, { kind: "reply", payload: buffer });
  record.settle(5, { kind: "failure", failure: { message: "m", code: "c" } });
  record.settle(6, { kind: "forgotten" });
  return record;
}

Deno.test("decodeSession() reads what encodeSession() writes", () => {
  const record = sample();
  const session = decodeSession(encodeSession({ token: "t", record }));
  assertEquals(session?.token, "t");
  assertEquals(session?.record.forgotten, 2);
  assertEquals(session?.record.entries, record.entries);
});

Deno.test("decodeSession() keeps nothing of what the bytes are a part of", () => {
  const bytes = encodeSession({ token: "t", record: sample() });
  const secret = new Uint8Array(100).fill(7);
  const { buffer } = concatBytes([secret, bytes, secret]);
  const view = new Uint8Array(buffer, secret.length, bytes.length);
  // As `Buffer` does, whose `slice` does not copy.
  Object.defineProperty(view, "slice", { value: view.subarray });
  const outcome = decodeSession(view)?.record.entries.get(4)?.outcome;
  assert(outcome?.kind === "reply" && outcome.payload instanceof ArrayBuffer);
  assertEquals(outcome.payload.byteLength, 3);
});

Deno.test("decodeSession() refuses what is malformed, or of a later version", () => {
  const texts = [
    "",
    "\n",
    "{}\n",
    "[]\n",
    '{"version":2,"token":"t","forgotten":0,"entries":[]}\n',
    '{"version":1,"forgotten":0,"entries":[]}\n',
    '{"version":1,"token":"t","entries":[]}\n',
    '{"version":1,"token":"t","forgotten":0,"entries":{}}\n',
    '{"version":1,"token":"t","forgotten":0,"entries":[1]}\n',
    '{"version":1,"token":"t","forgotten":0,"entries":[{"number":1}]}\n',
  ];
  for (const text of texts) {
    assertEquals(decodeSession(new TextEncoder().encode(text)), undefined);
  }
});

Deno.test("encodeSession() forgets the oldest answers of a session that is too large", () => {
  const record = new SessionRecord();
  for (let number = 1; number <= 10; number++) {
    record.set(number, { digest: "", owner: "", outcome: undefined });
    const payload = `${number}`.repeat(100_000);
    record.settle(number, { kind: "reply", payload });
  }
  const bytes = encodeSession({ token: "t", record });
  assert(bytes.length <= 768 * 1024, `${bytes.length}`);
  const kept = decodeSession(bytes)?.record;
  assert(kept && kept.entries.has(10) && !kept.entries.has(1));
  assertEquals(kept.find(1, ""), "forgotten");
});
