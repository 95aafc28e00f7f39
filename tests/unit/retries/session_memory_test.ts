import { assert, assertEquals, assertNotEquals } from "@std/assert";
import {
  type RequestSession,
  SessionMemory,
} from "../../../core/retries/session_memory.ts";

const MAX_AGE = 1_000;

function answer(
  memory: SessionMemory,
  session: RequestSession,
  number: number,
  size: number,
): void {
  memory.update(session, (record) => {
    record.set(number, { digest: "", owner: "", outcome: undefined });
    record.settle(number, { kind: "reply", payload: "x".repeat(size) });
  });
}

Deno.test("SessionMemory.find() wants the whole token", () => {
  const memory = new SessionMemory({ maxAge: MAX_AGE, maxBytes: 1e6 });
  const session = memory.create(0);
  const { token, id } = session;
  assertEquals(token.length, 64);
  assertEquals(memory.find(token, 0), session);
  const wrong = ["", id, token + "0", token.slice(0, -1), "0".repeat(64)];
  for (let at = 32; at < 64; at++) {
    const digit = token[at] === "0" ? "1" : "0";
    wrong.push(token.slice(0, at) + digit + token.slice(at + 1));
  }
  for (const one of wrong) assertEquals(memory.find(one, 0), undefined, one);
  assertNotEquals(memory.create(0).token, token);
});

Deno.test("SessionMemory forgets sessions that have had no connection for long", () => {
  const memory = new SessionMemory({ maxAge: MAX_AGE, maxBytes: 1e6 });
  const [first, second, third] = [0, 0, 0].map((now) => memory.create(now));
  assert(first && second && third);
  memory.detach(second, 10);
  memory.detach(first, 20);
  assertEquals(memory.find(second.token, MAX_AGE + 9), second);
  assertEquals(memory.find(second.token, MAX_AGE + 10), undefined);
  assertEquals(memory.find(first.token, MAX_AGE + 10), first);
  memory.attach(first);
  assertEquals(memory.find(first.token, 1e9), first);
  assertEquals(memory.find(third.token, 1e9), third);
  assertEquals(memory.count, 2);
  memory.detach(first, 1e9);
  memory.detach(third, 1e9);
  memory.find("", 1e9 + MAX_AGE);
  assertEquals([memory.count, memory.size], [0, 0]);
});

Deno.test("SessionMemory lets the session with the largest answers forget first", () => {
  const maxBytes = 100_000;
  const memory = new SessionMemory({ maxAge: MAX_AGE, maxBytes });
  const honest = Array.from({ length: 10 }, () => memory.create(0));
  for (const session of honest) answer(memory, session, 1, 100);
  const greedy = memory.create(0);
  for (let number = 1; number <= 1_000; number++) {
    answer(memory, greedy, number, 1_000);
    assert(memory.size <= maxBytes, `${memory.size}`);
  }
  for (const { record } of honest) assert(record.entries.has(1));
  assertEquals(greedy.record.find(1, ""), "forgotten");
  assert(greedy.record.entries.has(1_000));
});

Deno.test("SessionMemory forgets sessions without a connection when nothing else is left", () => {
  const memory = new SessionMemory({ maxAge: MAX_AGE, maxBytes: 10_000 });
  const busy = memory.create(0);
  memory.update(busy, (record) => {
    record.set(1, { digest: "", owner: "", outcome: undefined });
  });
  memory.detach(busy, 0);
  const connected = memory.create(0);
  for (let i = 0; i < 100; i++) memory.detach(memory.create(0), 0);
  assert(memory.size <= 10_000, `${memory.size}`);
  assertEquals(memory.find(busy.token, 0), busy);
  assertEquals(memory.find(connected.token, 0), connected);
});

Deno.test("SessionMemory.isFull is true if connected sessions take all", () => {
  const memory = new SessionMemory({ maxAge: MAX_AGE, maxBytes: 2_000 });
  while (!memory.isFull) memory.create(0);
  assertEquals(memory.count, 4);
});

Deno.test("SessionMemory.update() does not count sessions that were removed", () => {
  const memory = new SessionMemory({ maxAge: MAX_AGE, maxBytes: 1e6 });
  const session = memory.create(0);
  memory.detach(session, 0);
  memory.find("", MAX_AGE);
  answer(memory, session, 1, 1_000);
  assertEquals(memory.size, 0);
});
