/** Reading a log for one client, and for many at once. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import type {
  AdapterLog,
  AdapterLogEntry,
} from "../../../core/cluster/adapter.ts";
import { LogReader } from "../../../core/cluster/log_reader.ts";
import { encodeEnvelope } from "../../../core/history/envelope.ts";

/** A log in memory that counts how often it is read. */
class FakeLog implements AdapterLog {
  readonly entries = new Map<string, AdapterLogEntry[]>();
  reads = 0;
  error: Error | undefined;
  #offset = 0;

  add(channel: string, count = 1): void {
    const entries = this.entries.get(channel) ?? [];
    this.entries.set(channel, entries);
    for (let n = 0; n < count; n++) {
      const id = ++this.#offset;
      const message = encodeEnvelope({
        ...{ from: "one", id, target: { except: [] }, body: `${id}` },
        options: {},
      });
      entries.push({ offset: id, message });
    }
  }

  open(): Promise<string> {
    return Promise.resolve("log");
  }

  append(): Promise<void> {
    return Promise.resolve();
  }

  async read(
    channel: string,
    after: number,
    limit: number,
  ): Promise<readonly AdapterLogEntry[]> {
    this.reads++;
    await Promise.resolve();
    if (this.error) throw this.error;
    const entries = this.entries.get(channel) ?? [];
    return entries.filter(({ offset }) => offset > after).slice(0, limit);
  }
}

/** The texts that a reader gets. */
async function texts(
  reader: LogReader,
  channels: string[],
  after: number,
): Promise<unknown[] | undefined> {
  return (await reader.read(channels, after))?.map(({ body }) => body);
}

Deno.test("LogReader returns the messages of several channels in order", async () => {
  const log = new FakeLog();
  const reader = new LogReader(log, 10);
  for (const channel of ["a", "b", "a", "c", "b"]) log.add(channel);
  assertEquals(await texts(reader, ["a", "b", "none"], 1), ["2", "3", "5"]);
  assertEquals(await texts(reader, ["a", "b"], 5), []);
});

Deno.test("LogReader returns undefined if a channel may have lost messages", async () => {
  const log = new FakeLog();
  const reader = new LogReader(log, 10);
  log.add("a", 10);
  assertEquals((await texts(reader, ["a"], 0))?.length, 10);
  log.add("a");
  assertEquals(await texts(reader, ["a"], 0), undefined);
  assertEquals((await texts(reader, ["a"], 1))?.length, 10);
});

Deno.test("LogReader shares reads among clients that come back at once", async () => {
  const log = new FakeLog();
  const reader = new LogReader(log, 100);
  for (let n = 0; n < 90; n++) {
    for (const room of ["a", "b", "c"]) log.add(room);
  }
  const results = await Promise.all(
    Array.from(
      { length: 1_000 },
      (_, n) => texts(reader, ["a", "b", "c"], n % 270),
    ),
  );
  results.forEach((result, n) => {
    const after = n % 270;
    const expected = Array.from(
      { length: 270 - after },
      (_, i) => `${after + i + 1}`,
    );
    assertEquals(result, expected);
  });
  assert(log.reads <= 6, `${log.reads} reads`);
});

Deno.test("LogReader starts a read that is shared after everyone has asked for it", async () => {
  const log = new FakeLog();
  const reader = new LogReader(log, 100);
  log.add("a");
  const first = texts(reader, ["a"], 0);
  await Promise.resolve(); // it is under way
  await Promise.resolve();
  log.add("a");
  const [second, third] = [texts(reader, ["a"], 0), texts(reader, ["a"], 1)];
  await first;
  assertEquals([await second, await third], [["1", "2"], ["2"]]);
});

Deno.test("LogReader answers each client that shares a read for itself", async () => {
  const log = new FakeLog(); // a log may keep more than it has to
  const reader = new LogReader(log, 10);
  log.add("a", 35);
  const all = await Promise.all(
    [0, 24, 25, 34, 35].map((after) => texts(reader, ["a"], after)),
  );
  assertEquals(all.map((found) => found?.length), [
    undefined,
    undefined,
    10,
    1,
    0,
  ]);
});

Deno.test("LogReader fails for everyone who shares a read, and reads again", async () => {
  const log = new FakeLog();
  const reader = new LogReader(log, 10);
  log.error = new Error("down");
  const reads = [0, 1].map((after) => reader.read(["a", "b"], after));
  for (const read of reads) await assertRejects(() => read, Error, "down");
  log.error = undefined;
  log.add("a");
  assertEquals(await texts(reader, ["a"], 0), ["1"]);
});
