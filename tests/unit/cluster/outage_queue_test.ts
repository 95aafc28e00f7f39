/** What a server keeps for a broker that is down. */

import { assertEquals, assertStrictEquals } from "@std/assert";
import {
  OutageQueue,
  type Publication,
} from "../../../core/cluster/outage_queue.ts";

const MIB = 1024 * 1024;

function publication(name: string, size = 1): Publication {
  return { channels: [name], message: new Uint8Array(size) };
}

function namesOf(queue: OutageQueue): string[] {
  return queue.takeAll().flatMap(({ channels }) => channels);
}

Deno.test("OutageQueue keeps the newest messages in order", () => {
  const queue = new OutageQueue(2);
  assertStrictEquals(queue.push(publication("a")), 0);
  assertStrictEquals(queue.push(publication("b")), 0);
  assertStrictEquals(queue.push(publication("c")), 1);
  assertEquals(namesOf(queue), ["b", "c"]);
  assertEquals(namesOf(queue), []);
});

Deno.test("OutageQueue keeps no message with a limit of 0", () => {
  const queue = new OutageQueue(0);
  assertStrictEquals(queue.push(publication("a")), 1);
  assertEquals(namesOf(queue), []);
});

Deno.test("OutageQueue limits the bytes of all messages to 64 MiB", () => {
  const queue = new OutageQueue(1_000_000);
  const size = 4 * MIB - 512; // and 512 for each message
  for (let i = 0; i < 16; i++) {
    assertStrictEquals(queue.push(publication(`${i}`, size)), 0);
  }
  assertStrictEquals(queue.push(publication("next", 1)), 1);
  assertStrictEquals(queue.push(publication("large", 9 * MIB)), 2);
  const names = namesOf(queue);
  assertEquals([names[0], ...names.slice(-2)], ["3", "next", "large"]);
  // All room is free again.
  for (let i = 0; i < 16; i++) {
    assertStrictEquals(queue.push(publication(`${i}`, size)), 0);
  }
});
