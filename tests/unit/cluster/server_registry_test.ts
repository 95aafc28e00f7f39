/** Servers that know of each other. */

import {
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { FakeTime } from "@std/testing/time";
import type {
  ClusterAnswer,
  ClusterQuery,
} from "../../../core/cluster/cluster_host.ts";
import { Presence } from "../../../core/cluster/presence.ts";
import { ServerRegistry } from "../../../core/cluster/server_registry.ts";
import { ServerSocket } from "../../../mod.ts";

/** Some servers that hear each other, but for those that are mute. */
function fleetOf(...names: string[]) {
  const mute = new Set<string>();
  const asked: string[] = [];
  const told: unknown[] = [];
  const all = new Map<string, ServerRegistry>();
  let failure: Error | undefined;
  const make = (name: string) => {
    const send = (bytes: Uint8Array, to?: string) => {
      if (failure) throw failure;
      if (mute.has(name)) return;
      for (const [other, registry] of all) {
        if (to === undefined || to === other) registry.receive(bytes);
      }
    };
    return new ServerRegistry(
      name,
      {
        answer: (query) => {
          asked.push(`${name} ${query.type}`);
          return query.type === "who"
            ? Promise.resolve({ number: 1 })
            : { number: 10 };
        },
        sendPositions: (room, recovered) =>
          asked.push(`${name} positions ${room} ${recovered}`),
        appMessage: (body) => told.push([name, body]),
        failed: (error) => told.push(error),
      },
      { send, sendQuietly: send },
      { usesLog: name.startsWith("log ") },
    );
  };
  const one = make("a");
  all.set("a", one);
  for (const name of names) all.set(name, make(name));
  for (const fleet of all.values()) fleet.start();
  const sizes = () => [...all.values()].map((fleet) => fleet.size);
  const stop = () => {
    for (const fleet of all.values()) fleet.stop();
  };
  const fail = (error: Error | undefined) => failure = error;
  return { one, all, mute, asked, told, sizes, stop, fail };
}

/** Asks, and tells what the others have answered. */
function ask(
  registry: ServerRegistry,
  query: ClusterQuery,
  isEnough?: (answer: ClusterAnswer) => boolean,
) {
  const numbers: number[] = [];
  let state = "pending";
  const result = registry.query(query, {
    received: (answer) => {
      numbers.push(answer.number);
      return isEnough?.(answer);
    },
  });
  result.then(() => state = "done", () => state = "failed");
  return { numbers, result, state: () => state };
}

const encoder = new TextEncoder();

Deno.test("ServerRegistry tracks servers", () => {
  using _time = new FakeTime();
  const { sizes, all, stop } = fleetOf("b", "c");
  assertEquals(sizes(), [3, 3, 3]);
  all.get("c")?.leave();
  assertEquals(sizes(), [2, 2, 1]);
  stop();
  assertEquals(sizes(), [1, 1, 1]);
});

Deno.test("ServerRegistry reports servers with and without a history once", () => {
  using _time = new FakeTime();
  const alike = fleetOf("b", "c");
  alike.stop();
  assertEquals(alike.told, []);
  const { told, stop } = fleetOf("b", "log c", "log d");
  stop();
  assertEquals(told.length, 4); // one for each server
  for (const error of told) {
    assertInstanceOf(error, Error);
    assertMatch(error.message, /with and without the option history/);
  }
});

Deno.test("ServerRegistry passes on how far clocks are ahead", () => {
  using time = new FakeTime();
  const host = { memberJoined() {}, memberUpdated() {}, memberLeft() {} };
  const presence = new Presence("a", host, () => {});
  const registry = new ServerRegistry(
    "a",
    {
      answer: () => ({ number: 0 }),
      sendPositions() {},
      appMessage() {},
      failed() {},
    },
    { send() {}, sendQuietly() {} },
    { presence },
  );
  const hear = (clock: unknown) => {
    const pulse = { version: 1, from: "b", type: "pulse", isNew: false, clock };
    registry.receive(encoder.encode(JSON.stringify(pulse)));
  };
  for (const clock of ["9e15", 1e300, null, Date.now() - 300_000]) hear(clock);
  assertEquals(presence.clock, Date.now());
  hear(Date.now() + 300_000);
  time.tick(5_000);
  assertEquals(presence.clock, Date.now() + 300_000);
  presence.stop();
});

Deno.test("ServerRegistry removes silent servers", () => {
  using time = new FakeTime();
  const { sizes, mute, stop } = fleetOf("b", "c");
  mute.add("c");
  time.tick(6_000);
  assertEquals(sizes(), [3, 3, 3]);
  time.tick(2_000);
  assertEquals(sizes(), [2, 2, 3]);
  mute.delete("c");
  time.tick(2_000);
  assertEquals(sizes(), [3, 3, 3]);
  stop();
  assertStrictEquals(time.next(), false);
});

Deno.test("ServerRegistry.query() waits until other servers are found", async () => {
  using time = new FakeTime();
  const { one, stop, asked } = fleetOf("b");
  const first = ask(one, { type: "count" });
  await time.tickAsync(999);
  assertStrictEquals(first.state(), "pending");
  await time.tickAsync(1);
  assertEquals(await first.result, { lost: 0, unanswered: 0 });
  assertEquals(first.numbers, [10]);
  // Later it does not wait, and asks nobody if there is nobody.
  assertEquals(await ask(one, { type: "who", room: "x" }).result, {
    lost: 0,
    unanswered: 0,
  });
  assertEquals(asked, ["b count", "b who"]);
  stop();
  assertStrictEquals(time.next(), false);
});

Deno.test("ServerRegistry.query() counts a server that it did not know", async () => {
  using time = new FakeTime();
  const { one, stop } = fleetOf();
  const query = ask(one, { type: "count" });
  await time.tickAsync(100);
  const answer =
    '{"version":1,"from":"b","type":"answer","id":1,"answer":{"number":7}}';
  one.receive(encoder.encode(answer));
  one.receive(encoder.encode(answer)); // twice is once
  await time.tickAsync(1_000);
  assertEquals((await query.result).unanswered, 0);
  assertEquals(query.numbers, [7]);
  assertStrictEquals(one.size, 2);
  stop();
});

Deno.test("ServerRegistry.query() waits for a silent server until it is lost", async () => {
  using time = new FakeTime();
  const { one, mute, all, stop } = fleetOf("b", "c");
  await time.tickAsync(1_000);
  mute.add("c");
  const query = ask(one, { type: "count" });
  await time.tickAsync(6_000);
  assertStrictEquals(query.state(), "pending");
  await time.tickAsync(2_000);
  assertEquals(await query.result, { lost: 1, unanswered: 0 });
  assertEquals(query.numbers, [10]);
  // A server that leaves is lost at once.
  mute.delete("c");
  await time.tickAsync(2_000);
  mute.add("c");
  const other = ask(one, { type: "count" });
  mute.delete("c");
  all.get("c")?.leave();
  assertEquals(await other.result, { lost: 1, unanswered: 0 });
  stop();
});

Deno.test("ServerRegistry.query() asks a server again that was away", async () => {
  using time = new FakeTime();
  const { one, mute, all, stop } = fleetOf("b");
  await time.tickAsync(1_000);
  mute.add("b"); // its answer is lost
  const query = ask(one, { type: "count" });
  assertEquals(query.numbers, []);
  mute.delete("b");
  all.get("b")?.start();
  assertEquals(await query.result, { lost: 0, unanswered: 0 });
  assertEquals(query.numbers, [10]);
  stop();
});

Deno.test("ServerRegistry.query() asks a server that comes up meanwhile, once", async () => {
  using time = new FakeTime();
  const { one, all, asked, stop } = fleetOf("b");
  all.get("b")?.stop(); // it hears the query, and cannot answer it yet
  const target = { rooms: ["x"], except: [], exceptIds: [] };
  const query = ask(one, { type: "request", target, timeout: 1 });
  assertEquals(asked, []);
  all.get("b")?.start();
  assertEquals(asked, ["b request"]);
  await time.tickAsync(1_000);
  assertEquals(await query.result, { lost: 0, unanswered: 0 });
  assertEquals(query.numbers, [10]);
  // What it has run already it does not run again.
  const ask1 = '{"version":1,"from":"a","type":"ask","id":1,"query":' +
    '{"type":"request","target":{"rooms":[],"except":[],"exceptIds":[]},"timeout":1}}';
  all.get("b")?.receive(encoder.encode(ask1));
  assertEquals(asked, ["b request"]);
  stop();
});

Deno.test("ServerRegistry remembers the last 4,096 queries that must not run twice", () => {
  using _time = new FakeTime();
  const { all, asked, stop } = fleetOf("b");
  const runs = (id: number, type: string): number => {
    const before = asked.length;
    const target = { rooms: [], except: [], exceptIds: [] };
    const query = { type, target, timeout: 1 };
    all.get("b")?.receive(encoder.encode(
      JSON.stringify({ version: 1, from: "a", type: "ask", id, query }),
    ));
    return asked.length - before;
  };
  for (let id = 1; id <= 4_096; id++) runs(id, "request");
  assertEquals(asked.length, 4_096);
  assertEquals(runs(1, "request"), 0, "the oldest of 4,096");
  assertEquals(runs(4_097, "request"), 1);
  assertEquals(runs(1, "request"), 1, "it was forgotten");
  assertEquals([runs(9_000, "count"), runs(9_000, "count")], [1, 1]);
  stop();
});

Deno.test("ServerRegistry.query() tells of servers that do not answer", async () => {
  using time = new FakeTime();
  const { one, stop } = fleetOf();
  await time.tickAsync(1_000);
  const pulse = encoder.encode('{"version":1,"from":"x","type":"pulse"}');
  one.receive(pulse);
  const timer = setInterval(() => one.receive(pulse), 1_000);
  const query = ask(one, { type: "count" });
  await time.tickAsync(9_999);
  assertStrictEquals(query.state(), "pending");
  await time.tickAsync(1);
  assertEquals(await query.result, { lost: 0, unanswered: 1 });
  const unable = ask(one, { type: "count" });
  one.receive(encoder.encode(
    '{"version":1,"from":"x","type":"answer","id":2,"isUnknown":true,"answer":{"number":0}}',
  ));
  assertEquals(await unable.result, { lost: 0, unanswered: 1 });
  clearInterval(timer);
  stop();
});

Deno.test("ServerRegistry.query() ends when one answer is enough", async () => {
  using time = new FakeTime();
  const { one, mute, stop } = fleetOf("b", "c");
  await time.tickAsync(1_000);
  mute.add("c");
  const query = ask(one, { type: "count" }, ({ number }) => number > 0);
  assertEquals((await query.result).unanswered, 1);
  assertEquals(query.numbers, [10]);
  stop();
});

Deno.test("ServerRegistry.query() rejects if the broker fails or is down", async () => {
  using time = new FakeTime();
  const { one, mute, stop, fail } = fleetOf("b");
  await time.tickAsync(1_000);
  fail(new Error("no broker"));
  await assertRejects(
    () => ask(one, { type: "count" }).result,
    Error,
    "no broker",
  );
  fail(undefined);
  mute.add("b");
  const query = ask(one, { type: "count" });
  one.stop();
  await assertRejects(() => query.result, Error, "down");
  stop();
  assertStrictEquals(time.next(), false);
});

Deno.test("ServerRegistry.sendAppMessage() reaches all other servers", async () => {
  using _time = new FakeTime();
  const { one, told, stop, fail } = fleetOf("b", "c");
  await one.sendAppMessage('{"stale":"a\nb"}');
  assertEquals(told, [["b", '{"stale":"a\nb"}'], ["c", '{"stale":"a\nb"}']]);
  fail(new Error("no broker"));
  await assertRejects(() => one.sendAppMessage(""), Error, "no broker");
  fail(undefined);
  stop();
});

Deno.test("ServerRegistry.publishGap() has all other servers report it", () => {
  using _time = new FakeTime();
  const { one, asked, stop } = fleetOf("b", "c");
  one.publishGap();
  assertEquals(asked, [
    "b positions undefined false",
    "c positions undefined false",
  ]);
  stop();
});

Deno.test("ServerRegistry answers a query that it does not know", () => {
  using _time = new FakeTime();
  const { all, told, asked, stop } = fleetOf("b");
  const answers: string[] = [];
  const x = {
    receive: (bytes: Uint8Array) =>
      answers.push(new TextDecoder().decode(bytes)),
  };
  const registry = all.get("b");
  Object.assign(all.get("a") ?? {}, x);
  registry?.receive(encoder.encode(
    '{"version":1,"from":"a","type":"ask","id":3,"query":{"type":"fly"}}',
  ));
  assertEquals(answers, [
    '{"version":1,"from":"b","type":"answer","id":3,"answer":{"number":0},"isUnknown":true}',
  ]);
  assertEquals([told, asked], [[], []]);
  stop();
});

Deno.test("ServerRegistry ignores what later versions send", () => {
  using _time = new FakeTime();
  const { one } = fleetOf();
  const strange = [
    '{"version":2,"from":"x","type":"pulse"}',
    '{"version":2}',
    '{"version":1,"from":"x","type":"dance"}',
    '{"version":1,"from":"a","type":"pulse","isNew":true}', // its own
    '{"version":1,"from":"x","type":"bye"}',
  ];
  for (const text of strange) one.receive(encoder.encode(text));
  assertStrictEquals(one.size, 1);
  one.stop();
});

Deno.test("ServerRegistry.receive() throws for malformed messages", () => {
  using _time = new FakeTime();
  const { one, told, stop } = fleetOf();
  const malformed = [
    "",
    "{",
    "1",
    "null",
    "[]",
    "{}",
    '{"version":"1","from":"x","type":"pulse"}',
    '{"version":1,"type":"pulse"}',
    '{"version":1,"from":"x"}',
    '{"version":1,"from":"x","type":"ask"}',
    '{"version":1,"from":"x","type":"ask","id":1}',
    '{"version":1,"from":"x","type":"ask","id":1,"query":{"type":"count","room":1}}',
    '{"version":1,"from":"x","type":"ask","id":1,"query":{"type":"close","id":"a"}}',
    '{"version":1,"from":"x","type":"ask","id":1,"query":{"type":"join","target":{},"rooms":[]}}',
    '{"version":1,"from":"x","type":"answer","id":1}',
    '{"version":1,"from":"x","type":"answer","id":1,"answer":{}}',
  ];
  for (const text of malformed) {
    const error = assertThrows(() => one.receive(encoder.encode(text)));
    assertInstanceOf(error, Error, text);
    assertMatch(error.message, /^Cannot decode|JSON/, text);
  }
  assertStrictEquals(one.size, 1);
  assertEquals(told, []);
  stop();
});

Deno.test("ServerSocket.count() without an adapter counts local connections", async () => {
  const server = new ServerSocket();
  assertStrictEquals(server.servers, 1);
  assertStrictEquals(await server.count(), 0);
  assertStrictEquals(await server.closeById("nobody"), false);
  assertStrictEquals(await server.sendById("nobody", 1), false);
  assertStrictEquals(await server.to("x").join("y"), 0);
  await server.sendToServers(1);
  assertThrows(() => server.count(""), TypeError);
});
