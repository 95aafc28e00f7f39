/** What goes by way of a broker that keeps it, and what comes from there. */

import { assertEquals, assertNotEquals } from "@std/assert";
import { FakeTime } from "@std/testing/time";
import type {
  AdapterLog,
  AdapterLogEntry,
} from "../../../core/cluster/adapter.ts";
import {
  decodeEnvelope,
  type SequencedBroadcast,
} from "../../../core/history/envelope.ts";
import { BrokerLog } from "../../../core/cluster/broker_log.ts";

const NAME = "one";

/** A journal whose broker keeps all at once, and sends it when the test says so. */
async function begin() {
  const kept: (() => void)[] = [];
  const told: string[] = [];
  const marks: AdapterLogEntry[] = [];
  let offset = 0;
  /** What may happen to the broker. */
  const broker = { name: "epoch", isSilent: false };
  const log: AdapterLog = {
    open: () => Promise.resolve(broker.name),
    append: (channel, _name, message) => {
      if (broker.isSilent) return new Promise(() => {});
      const posted = decodeEnvelope(message);
      if (!posted) return Promise.reject(new Error("No message"));
      const receive = () => journal.receive(channel, posted, ++offset);
      if (channel.startsWith("server")) {
        receive();
        marks.push({ offset, message });
      } else kept.push(receive);
      return Promise.resolve();
    },
    read: (channel, after) =>
      Promise.resolve(
        channel.startsWith("server")
          ? marks.filter(({ offset }) => offset > after)
          : [],
      ),
  };
  const limits = { messages: 10, maxAge: 60_000, maxBytes: Infinity };
  const journal = new BrokerLog(log, limits, 0, NAME, {
    deliver: ({ body }, offset) => told.push(`${body} ${offset && "kept"}`),
    sendPositions: (_room, recovered) => {
      const place = journal.epoch ? "somewhere" : "nowhere";
      told.push(recovered === false ? "lost" : place);
    },
    messageMissed: () => told.push("missed"),
    failed: (error) => told.push(`${error}`),
  });
  let count = 0;
  const send = (room?: string) => {
    const address = { ...room && { rooms: [room] }, except: [] };
    const id = ++count;
    const posted: SequencedBroadcast = {
      ...{ from: NAME, id, target: address, body: `${id}`, options: {} },
    };
    journal.send(posted);
  };
  await journal.brokerUp();
  return { journal, broker, kept, told, send };
}

/** Lets all promises that are settled be heard of. */
async function turns(): Promise<void> {
  for (let i = 0; i < 50; i++) await null;
}

Deno.test("BrokerLog is ahead of its broker only while it is slow", async () => {
  using time = new FakeTime();
  const { journal, kept, told, send } = await begin();
  await turns();
  told.length = 0;
  send();
  time.tick(1_000);
  send();
  assertEquals(told.splice(0), ["1 0", "2 0"]);
  assertEquals(journal.epoch, undefined);
  // It goes on; and something is on its way at any time.
  for (let n = 0; n < 5; n++) {
    await turns();
    send();
    kept.shift()?.();
  }
  await turns();
  const [third, ...others] = told.splice(0);
  assertEquals(third, "3 0");
  assertEquals(others.filter((text) => text !== "somewhere"), [
    "4 kept",
    "5 kept",
  ]);
  assertNotEquals(journal.epoch, undefined);
  journal.brokerDown();
});

Deno.test("BrokerLog keeps the order of a room that is left and rejoined", async () => {
  using _time = new FakeTime();
  const { journal, kept, told, send } = await begin();
  const first = Promise.withResolvers<void>();
  const second = Promise.withResolvers<void>();
  journal.roomOpened("r", first.promise);
  send("r");
  journal.roomClosed("r");
  send("r");
  journal.roomOpened("r", second.promise);
  send("r");
  second.resolve();
  await turns();
  first.resolve();
  await turns();
  told.length = 0;
  for (const receive of kept) receive();
  assertEquals(told, ["1 kept", "2 kept", "3 kept"]);
  journal.brokerDown();
});

Deno.test("BrokerLog releases messages sent while the broker was down", async () => {
  using time = new FakeTime();
  const { journal, told, send } = await begin();
  await turns();
  journal.brokerDown();
  told.length = 0;
  for (let n = 0; n < 3; n++) send();
  assertEquals(told, ["1 0", "missed", "2 0", "missed", "3 0", "missed"]);
  await journal.brokerUp();
  await turns();
  assertEquals(told.at(-1), "somewhere");
  journal.brokerDown();
  assertEquals(time.next(), false);
});

Deno.test("BrokerLog tells of another log, also if the broker goes down before", async () => {
  using _time = new FakeTime();
  const { journal, broker, told } = await begin();
  await turns();
  journal.brokerDown();
  told.length = 0;
  Object.assign(broker, { name: "other", isSilent: true });
  await journal.brokerUp();
  await turns();
  assertEquals(told, []);
  journal.brokerDown();
  broker.isSilent = false;
  await journal.brokerUp();
  await turns();
  assertEquals(told, ["lost", "somewhere"]);
  journal.brokerDown();
  await journal.brokerUp();
  await turns();
  assertEquals(told.slice(2), ["somewhere"], "once only");
  journal.brokerDown();
});

Deno.test("BrokerLog does not count a message as missed that the broker has stored", async () => {
  using _time = new FakeTime();
  const { journal, told, send } = await begin();
  await turns();
  told.length = 0;
  send(); // stored, but it has not come back
  await turns();
  journal.brokerDown();
  assertEquals(told, ["1 0"]);
  send();
  assertEquals(told, ["1 0", "2 0", "missed"]);
});
