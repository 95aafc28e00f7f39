/** What a log that has lost messages looks like. */

import { assertEquals } from "@std/assert";
import type {
  AdapterLog,
  AdapterLogEntry,
} from "../../../core/cluster/adapter.ts";
import { BrokerLog } from "../../../core/cluster/broker_log.ts";
import { findPosition } from "../../../core/cluster/log_reader.ts";
import {
  decodeEnvelope,
  encodeEnvelope,
} from "../../../core/history/envelope.ts";

/** A log of one channel. */
function logOf(entries: readonly AdapterLogEntry[]): AdapterLog {
  return {
    open: () => Promise.resolve("name"),
    append: () => Promise.resolve(),
    read: (_channel, after, limit) =>
      Promise.resolve(
        entries.filter(({ offset }) => offset > after).slice(0, limit),
      ),
  };
}

function entry(offset: number, from: string, id: number): AdapterLogEntry {
  const broadcast = { from, id, target: { except: [] }, body: "", options: {} };
  return { offset, message: encodeEnvelope(broadcast) };
}

Deno.test("findPosition() tells what was removed from what was lost", async () => {
  const position = { channel: "c", offset: 5, from: "a", id: 7 };
  const others = (count: number) =>
    Array.from({ length: count }, (_, i) => entry(i + 8, "b", i));
  const cases: [AdapterLogEntry[], string][] = [
    [[entry(4, "a", 6), entry(5, "a", 7)], "found"],
    [[entry(5, "a", 7), ...others(20)], "found"],
    [[entry(5, "b", 7)], "lost"],
    [[entry(5, "a", 8)], "lost"],
    [[], "lost"],
    [[entry(4, "a", 6)], "lost"],
    [others(3), "lost"], // not so many that it had to be removed
    [others(4), "removed"],
    [others(9), "removed"],
  ];
  for (const [entries, expected] of cases) {
    assertEquals(await findPosition(logOf(entries), position, 3), expected);
  }
});

Deno.test("BrokerLog has the log renamed before it appends to one that has lost messages", async () => {
  const calls: string[] = [];
  const entries: AdapterLogEntry[] = [];
  let name = "first";
  let offset = 0;
  const log: AdapterLog = {
    open: (_limits, lost) => {
      calls.push(`open ${lost ?? ""}`);
      if (lost === name) {
        name = "second";
        offset = 0;
      }
      return Promise.resolve(name);
    },
    append: (channel, _name, message) => {
      calls.push("append");
      const broadcast = decodeEnvelope(message);
      entries.push({ offset: ++offset, message });
      if (broadcast) brokerLog.receive(channel, broadcast, offset);
      return Promise.resolve();
    },
    read: (_channel, after) =>
      Promise.resolve(entries.filter(({ offset }) => offset > after)),
  };
  const positions: unknown[] = [];
  const limits = { messages: 10, maxAge: 60_000, maxBytes: Infinity };
  const brokerLog = new BrokerLog(log, limits, 0, "one", {
    deliver: () => {},
    sendPositions: (_room, recovered) => positions.push(recovered),
    messageMissed: () => {},
    failed: (error) => calls.push(`${error}`),
  });
  const turns = async () => {
    for (let i = 0; i < 50; i++) await null;
  };
  await brokerLog.brokerUp();
  await turns();
  const { epoch } = brokerLog;
  brokerLog.brokerDown();
  // It comes back with all: nothing happens.
  await brokerLog.brokerUp();
  await turns();
  assertEquals(brokerLog.epoch, epoch);
  brokerLog.brokerDown();
  // It comes back without the last messages.
  entries.length = 0;
  calls.length = positions.length = 0;
  await brokerLog.brokerUp();
  await turns();
  assertEquals(calls.slice(0, 3), ["open ", "open first", "append"]);
  assertEquals(brokerLog.epoch === epoch, false);
  assertEquals(positions, [false]);
  brokerLog.brokerDown();
});
