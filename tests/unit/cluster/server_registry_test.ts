/** Servers that know of each other. */

import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { ServerRegistry } from "../../../core/cluster/server_registry.ts";
import { ServerSocket } from "../../../mod.ts";

/** Some servers that hear each other, but for those that are mute. */
function fleetOf(...names: string[]) {
  const mute = new Set<string>();
  const asked: string[] = [];
  const all = new Map<string, ServerRegistry>();
  const make = (name: string) =>
    new ServerRegistry(name, {
      sendPositions: (room, recovered) =>
        asked.push(`${name} positions ${room} ${recovered}`),
      answer: (query) => {
        asked.push(`${name} ${query.type}`);
        return { number: 10 };
      },
    }, (text) => {
      if (mute.has(name)) return;
      for (const other of all.values()) other.receive(text);
    });
  const one = make("a");
  all.set("a", one);
  for (const name of names) all.set(name, make(name));
  for (const fleet of all.values()) fleet.start();
  const sizes = () => [...all.values()].map((fleet) => fleet.size);
  return { one, all, mute, asked, sizes };
}

Deno.test("ServerRegistry tracks servers", () => {
  using _time = new FakeTime();
  const { sizes, all } = fleetOf("b", "c");
  assertEquals(sizes(), [3, 3, 3]);
  all.get("c")?.leave();
  assertEquals(sizes(), [2, 2, 1]);
  for (const fleet of all.values()) fleet.stop();
  assertEquals(sizes(), [1, 1, 1]);
});

Deno.test("ServerRegistry removes silent servers", () => {
  using time = new FakeTime();
  const { sizes, mute, all } = fleetOf("b", "c");
  mute.add("c");
  time.tick(6_000);
  assertEquals(sizes(), [3, 3, 3]);
  time.tick(2_000);
  assertEquals(sizes(), [2, 2, 3]);
  mute.delete("c");
  time.tick(2_000);
  assertEquals(sizes(), [3, 3, 3]);
  for (const fleet of all.values()) fleet.stop();
  assertStrictEquals(time.next(), false);
});

Deno.test("ServerRegistry.query() sums answers for at most a second", async () => {
  using time = new FakeTime();
  const { one, mute, asked, all } = fleetOf("b", "c");
  assertStrictEquals((await one.query({ type: "count" })).number, 30);
  assertEquals(asked, ["a count", "b count", "c count"]);
  mute.add("c");
  const sum = one.query({ type: "count", room: "x" });
  await time.tickAsync(1_000);
  assertStrictEquals((await sum).number, 20);
  // Who is lost meanwhile need not be waited for.
  const other = one.query({ type: "count" });
  mute.delete("c");
  all.get("c")?.leave();
  assertStrictEquals((await other).number, 20);
  for (const fleet of all.values()) fleet.stop();
});

Deno.test("ServerRegistry ignores unknown messages", () => {
  using _time = new FakeTime();
  const { one } = fleetOf();
  const strange = [
    "1",
    "null",
    "{}",
    '{"version":2,"from":"x","type":"pulse"}',
    '{"version":1,"from":"a","type":"pulse","isNew":true}', // its own
    '{"version":1,"from":"x","type":"answer","id":7,"to":"a","number":1}',
  ];
  for (const text of strange) one.receive(text);
  assertStrictEquals(one.size, 1);
  assertThrows(() => one.receive("{"), SyntaxError);
  one.stop();
});

Deno.test("ServerSocket.count() without an adapter counts local connections", async () => {
  const server = new ServerSocket();
  assertStrictEquals(server.servers, 1);
  assertStrictEquals(await server.count(), 0);
  assertStrictEquals(await server.closeById("nobody"), false);
  assertThrows(() => server.count(""), TypeError);
});
