/** What a server tells of its adapter. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { delay } from "@std/async";
import { stub } from "@std/testing/mock";
import { inspect } from "../../inspect.ts";
import { ServerSocket } from "../../mod.ts";
import { FakeBroker } from "../support/fake_broker.ts";
import { SeededRandom } from "../support/seeded_random.ts";

/** A server whose broker is in memory, and the lines that it writes. */
function serve() {
  const { link, adapter } = new FakeBroker(new SeededRandom(1)).plainLink();
  const lines: string[] = [];
  const warn = stub(console, "warn", (line) => void lines.push(`${line}`));
  return { link, lines, warn, server: new ServerSocket({ adapter }) };
}

Deno.test("ServerSocket.adapterState tells the state, since when, and the last error", async () => {
  const { link, server, warn } = serve();
  await using _closing = server;
  using _warn = warn;
  const before = server.adapterState;
  assertEquals([before?.state, before?.lastError], ["down", undefined]);
  assert(before && before.since.getTime() <= Date.now());
  link.reach();
  assertEquals(server.adapterState?.state, "up");
  assertEquals(server.adapterState?.lastError, undefined);
  link.cut();
  await delay(0); // what was on its way is rejected
  const { state, lastError } = server.adapterState ?? {};
  assertEquals([state, `${lastError}`], [
    "down",
    "Error: The connection is lost",
  ]);
  link.reach();
  assertEquals(server.adapterState?.state, "up");
  assertEquals(server.adapterState?.lastError, lastError);
});

Deno.test("ServerSocket.adapterState is undefined without an adapter", async () => {
  await using server = new ServerSocket();
  assertEquals(server.adapterState, undefined);
});

Deno.test("ServerSocket writes each reason of its adapter once if there is no listener", async () => {
  const { link, server, warn, lines } = serve();
  await using _closing = server;
  using _warn = warn;
  for (let i = 0; i < 3; i++) {
    link.reach();
    link.cut();
  }
  assertEquals(lines.length, 1);
  assertMatch(lines[0] ?? "", /^Cannot reach other servers .*: Error: The con/);
  server.on("adapter", () => {});
  link.reach();
  link.cut();
  assertEquals(lines.length, 1);
});

Deno.test("inspect() shows the state of the adapter, and null without one", async () => {
  const { link, server, warn } = serve();
  await using _closing = server;
  using _warn = warn;
  const page = inspect(server);
  const shown = async (handler: typeof page) => {
    const response = handler(new Request("http://localhost/?state"));
    return (await response.json()).adapter;
  };
  link.reach();
  link.cut();
  await delay(0);
  const { age, ...rest } = await shown(page);
  assert(age >= 0);
  assertEquals(rest, {
    state: "down",
    lastError: "Error: The connection is lost",
    servers: 1,
    missed: 0,
  });
  await using other = new ServerSocket();
  assertEquals(await shown(inspect(other)), null);
});
