/** What a client learns of a server, and what it tries next. */

import { assertEquals, assertStrictEquals } from "@std/assert";
import {
  blameOffer,
  ServerMemories,
  ServerMemory,
} from "../../../core/client/events_support.ts";
import { explainFailure } from "../../../core/runtime/connect_failure.ts";

Deno.test("blameOffer() says whether the offer may be the reason of a failure", () => {
  const failures: [blame: string, text: string, status?: number][] = [
    ["certain", "Server did not respond with sent protocols."],
    ["certain", "failed: Mismatch client protocol"],
    ["possible", ""],
    ["possible", "Received network error or non-101 status code."],
    [
      "possible",
      "failed to connect to WebSocket: connection closed before message completed",
    ],
    ["possible", "Invalid status code: 500"],
    ["likely", "Invalid status code: 400"],
    ["likely", "Expected 101 status code: 426"],
    ["none", "Invalid status code: 401"],
    ["none", "Invalid status code: 403"],
    ["none", "Invalid status code: 404"],
    ["none", "Invalid status code: 429"],
    ["none", "Invalid status code: 503"],
    ["none", "Invalid status code: 302"],
    ["none", "failed to connect to WebSocket: tcp connect error"],
    ["none", "failed to connect to WebSocket: dns error"],
    ["none", "invalid peer certificate: UnknownIssuer"],
  ];
  for (const [blame, text] of failures) {
    const failure = explainFailure(new Error(text));
    assertStrictEquals(blameOffer(failure, false), blame, text);
    // A server of this library refuses another codec with 400.
    const withCodec = blame === "certain" ? "certain" : "none";
    assertStrictEquals(blameOffer(failure, true), withCodec, text);
  }
});

Deno.test("ServerMemory tries without the offer at once where it is to blame, and remembers", () => {
  const memory = new ServerMemory();
  assertStrictEquals(memory.isOffering, true);
  assertStrictEquals(memory.failed(true, "certain", true), true);
  assertEquals([memory.isOffering, memory.isKnown], [false, true]);
  // Whatever happens later, it is not asked again.
  for (const blame of ["certain", "likely", "possible", "none"] as const) {
    assertStrictEquals(memory.failed(false, blame, true), false);
    assertStrictEquals(memory.isOffering, false);
  }
});

Deno.test("ServerMemory never does without the offer where it was accepted before", () => {
  const memory = new ServerMemory();
  memory.learn(true);
  for (const blame of ["certain", "likely", "possible", "none"] as const) {
    for (const willRetry of [true, false]) {
      assertStrictEquals(memory.failed(true, blame, willRetry), false);
      assertStrictEquals(memory.isOffering, true);
    }
  }
});

Deno.test("ServerMemory alternates between attempts as long as nobody knows", () => {
  const memory = new ServerMemory();
  const offers: boolean[] = [];
  for (let attempt = 0; attempt < 5; attempt++) {
    offers.push(memory.isOffering);
    const isRetried = memory.failed(memory.isOffering, "possible", true);
    assertStrictEquals(isRetried, false);
  }
  assertEquals(offers, [true, false, true, false, true]);
  // A failure for another reason changes nothing.
  assertStrictEquals(memory.isOffering, false);
  memory.failed(false, "none", true);
  assertStrictEquals(memory.isOffering, false);
});

Deno.test("ServerMemory tries without the offer within one attempt only once", () => {
  for (
    const [blame, willRetry] of [["possible", false], ["likely", true]] as const
  ) {
    const memory = new ServerMemory();
    assertStrictEquals(memory.failed(true, blame, willRetry), true);
    assertStrictEquals(memory.failed(false, blame, willRetry), false);
    assertStrictEquals(memory.failed(true, blame, willRetry), false);
    assertStrictEquals(memory.isOffering, false);
  }
});

Deno.test("ServerMemories tells servers apart by address and path, and forgets the oldest", () => {
  const memories = new ServerMemories();
  const one = memories.of("wss://example.com/live?token=1#x");
  assertStrictEquals(
    memories.of(new URL("wss://example.com/live?token=2")),
    one,
  );
  assertStrictEquals(memories.of("wss://example.com/other") === one, false);
  for (let n = 0; n < 31; n++) memories.of(`wss://example.com/${n}`);
  assertStrictEquals(memories.of("wss://example.com/live") === one, false);
});
