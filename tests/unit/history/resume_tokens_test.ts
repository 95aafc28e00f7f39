import { assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import {
  MAX_ROOMS,
  ResumeTokens,
  sessionIn,
} from "../../../core/history/resume_tokens.ts";

const session = "0123456789abcdef".repeat(2);

Deno.test("ResumeTokens.verify() accepts signed tokens", () => {
  const tokens = new ResumeTokens("secret");
  for (const start of [0, 1, Number.MAX_SAFE_INTEGER]) {
    const rooms = ["a", "é", "a b"];
    const token = tokens.sign(session, start, rooms);
    assertMatch(token, /^[\w-]+$/, "it fits into a subprotocol");
    assertEquals(tokens.verify(token), {
      session,
      start,
      rooms: new Set(rooms.map((room) => tokens.tagOf(room))),
    });
    assertEquals(new ResumeTokens("secret").verify(token)?.start, start);
    assertEquals(sessionIn(token), session);
  }
  const none = tokens.verify(tokens.sign(session, 3, []));
  assertEquals(none?.rooms, new Set<string>());
});

Deno.test("ResumeTokens.verify() rejects any other token", () => {
  const tokens = new ResumeTokens("secret");
  const token = tokens.sign(session, 3, ["a", "b"]);
  for (let i = 0; i < token.length; i++) {
    const changed = token.slice(0, i) + (token[i] === "0" ? "1" : "0") +
      token.slice(i + 1);
    assertEquals(tokens.verify(changed), undefined, changed);
    assertEquals(tokens.verify(token.slice(0, i)), undefined, "truncated");
  }
  const others = [
    ...["", "0", `${token}0`, token.slice(0, -8), `${token}${token}`],
    new ResumeTokens("another").sign(session, 3, ["a", "b"]),
    session,
  ];
  for (const other of others) {
    assertEquals(tokens.verify(other), undefined, other);
  }
});

Deno.test("ResumeTokens.sign() encodes 256 rooms in 2,116 characters", () => {
  const tokens = new ResumeTokens("secret");
  const rooms = Array.from({ length: MAX_ROOMS }, (_, n) => `room ${n}`);
  const token = tokens.sign(session, 3, rooms);
  assertEquals(token.length, 2_116);
  assertEquals(tokens.verify(token)?.rooms.size, MAX_ROOMS);
});

Deno.test("ResumeTokens reveals neither its secret nor room names", () => {
  const [one, other] = [new ResumeTokens("one"), new ResumeTokens("other")];
  assertMatch(one.epoch, /^[0-9a-f]{32}$/);
  assertNotEquals(one.epoch, other.epoch);
  assertNotEquals(
    one.tagOf("a"),
    other.tagOf("a"),
    "who has no key can't tell",
  );
  // Also when it does not remember them any more.
  const tag = one.tagOf("a");
  for (let n = 0; n < 5_000; n++) one.tagOf(`${n}`);
  assertEquals(one.tagOf("a"), tag);
});
