/** The log of messages in Redis, over a Redis that is made up. */

import { Buffer } from "node:buffer";
import { assertEquals } from "@std/assert";
import { RedisLog } from "../../../adapters/redis/log.ts";

/** A log with the name `own`, and the errors because of which it was to be reopened. */
async function openLog(): Promise<{ log: RedisLog; errors: Error[] }> {
  const errors: Error[] = [];
  const log = new RedisLog(() => ({
    keyPrefix: "ws-events:",
    publishCommand: "PUBLISH",
    channelName: (channel) => channel,
    command: () => Promise.resolve(["own", "noeviction", "0"]),
    lost: (error) => errors.push(error),
    warned: (error) => errors.push(error),
  }));
  await log.open({ messages: 10, maxAge: 1_000, resendAge: 1_000 });
  return { log, errors };
}

function message(epoch: string): Buffer {
  return Buffer.from(`{"offset":7,"epoch":"${epoch}","version":1}\n"text"`);
}

Deno.test("RedisLog.offsetOf() reads the offset of its own log only", async () => {
  const { log, errors } = await openLog();
  assertEquals(log.offsetOf(message("own")), 7);
  assertEquals(log.offsetOf(Buffer.from('{"version":1}\n"text"')), undefined);
  assertEquals(errors, []);
  assertEquals(log.offsetOf(message("other")), "foreign");
  assertEquals(log.offsetOf(message("other")), "foreign");
  assertEquals(errors.map((error) => error.message), [
    "The log of messages has another name",
  ]);
});

Deno.test("RedisLog.offsetOf() reopens the log for a bounded number of names", async () => {
  const { log, errors } = await openLog();
  for (let i = 0; i < 1_000; i++) {
    assertEquals(log.offsetOf(message(`other${i}`)), "foreign");
  }
  assertEquals(errors.length, 10);
  assertEquals(log.offsetOf(message("own")), 7);
});

Deno.test("RedisLog.offsetOf() reopens the log for new names later", async () => {
  const { log, errors } = await openLog();
  const { now } = performance;
  try {
    for (let i = 0; i < 20; i++) log.offsetOf(message(`other${i}`));
    assertEquals(errors.length, 10);
    performance.now = () => now.call(performance) + 10_000;
    log.offsetOf(message("promoted"));
    assertEquals(errors.length, 11);
  } finally {
    performance.now = now;
  }
});
