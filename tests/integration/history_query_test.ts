/** Questions about the history of a room: `ServerSocket.history`. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { deadline } from "@std/async";
import {
  ClientSocket,
  type Connection,
  ConnectionEndedError,
  RequestError,
  type ServerOptions,
  ServerSocket,
} from "../../mod.ts";
import { channel, channels } from "../../channels.ts";
import { MemoryNetwork } from "../../testing.ts";
import { brokers, missingBrokers } from "../support/brokers.ts";
import { BROKER_PERMISSIONS, lacksPermission } from "../support/permissions.ts";

const ignoreBrokers = await lacksPermission(...BROKER_PERMISSIONS);

/** A server in memory, and two clients in a room. */
class House implements AsyncDisposable {
  readonly server: ServerSocket;
  readonly network: MemoryNetwork;
  readonly clients = [new ClientSocket(), new ClientSocket()];
  readonly connections: Connection[] = [];

  constructor(options: ServerOptions = { history: true }) {
    this.server = new ServerSocket(options);
    this.network = new MemoryNetwork(this.server);
    this.server.on("connect", (client) => {
      client.join("a");
      this.connections.push(client);
    });
  }

  async open(): Promise<this> {
    for (const client of this.clients) {
      await client.connect(this.network.url);
    }
    return this;
  }

  async data(...args: Parameters<ServerSocket["history"]>) {
    const { messages, isComplete } = await this.server.history(...args);
    return [messages.map(({ data }) => data), isComplete];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.clients) await client.close();
    await this.server.close();
    await this.network[Symbol.asyncDispose]();
  }
}

Deno.test("ServerSocket.history() returns the last messages, or those since a position", async () => {
  await using house = await new House().open();
  const { server } = house;
  assertEquals(await house.data("a"), [[], true]);
  for (let i = 0; i < 5; i++) server.to("a").send({ i });
  server.to("b").send("elsewhere");
  server.broadcast("to all");
  server.to("a").send("volatile", { volatile: true });
  server.to("a", "b").send(new Uint8Array([1, 2]));
  server.to("a").send("text");
  const { messages } = await server.history("a");
  assertEquals(messages.map(({ data }) => data), [
    ...[0, 1, 2, 3, 4].map((i) => ({ i })),
    new Uint8Array([1, 2]),
    "text",
  ]);
  assertEquals(await house.data("a", { limit: 2 }), [
    [new Uint8Array([1, 2]), "text"],
    false,
  ]);
  const since = messages[2]?.position ?? "";
  assertEquals(await house.data("a", { since, limit: 2 }), [
    [{ i: 3 }, { i: 4 }],
    false,
  ]);
  const later = messages[4]?.position ?? "";
  assertEquals(await house.data("a", { since: later }), [
    [new Uint8Array([1, 2]), "text"],
    true,
  ]);
  const last = messages.at(-1)?.position ?? "";
  assertEquals(await house.data("a", { since: last }), [[], true]);
  assertEquals(await house.data("nobody"), [[], false]);
});

Deno.test("ServerSocket.history() leaves out what was withheld", async () => {
  await using house = await new House().open();
  const { server, connections: [one, two] } = house;
  assert(one && two);
  server.to("a").send("for all");
  server.to("a").except(one).send("not for one");
  server.to("a").except("b").send("not for b");
  server.to("a").except(one, two).send("for neither");
  assertEquals(await house.data("a"), [["for all"], true]);
  assertEquals(await house.data("a", { for: one }), [["for all"], true]);
  assertEquals(await house.data("a", { for: two }), [
    ["for all", "not for one"],
    true,
  ]);
});

Deno.test("ServerSocket.history() is bounded in messages and bytes, and says what is missing", async () => {
  await using house = await new House({ history: { messages: 5 } }).open();
  const { server } = house;
  for (let i = 0; i < 5; i++) server.to("a").send(`m${i}`.repeat(200 * 1024));
  const sizes = async (options: { limit?: number; since?: string }) => {
    const { messages, isComplete } = await server.history("a", options);
    return [messages.map(({ data }) => String(data)[1]), isComplete];
  };
  assertEquals(await sizes({}), [["3", "4"], false]);
  const [first] = (await server.history("a", { limit: 1 })).messages;
  server.to("a").send("mx".repeat(1024 * 1024));
  const since = first?.position ?? "";
  assertEquals(await sizes({ since }), [["x"], true]); // one is always whole
  for (let i = 0; i < 6; i++) server.to("a").send("new");
  assertEquals(await sizes({ since }), [["e", "e", "e", "e", "e"], false]);
  // A position of another history.
  assertEquals(await sizes({ since: "0123abc-4" }), [[], false]);
});

Deno.test("ServerSocket.history() rejects wrong arguments, and a server without history", async () => {
  await using house = await new House().open();
  const { server } = house;
  for (const limit of [0, -1, 1_001, NaN]) {
    await assertRejects(() => server.history("a", { limit }), RangeError);
  }
  for (const since of ["", "x", "1", "a-b", "a-1-2", "-1"]) {
    await assertRejects(() => server.history("a", { since }), TypeError);
  }
  await assertRejects(() => server.history(""), TypeError);
  const unknown: object = { last: 3 };
  await assertRejects(() => server.history("a", unknown), TypeError, "last");
  await using other = await new House({}).open();
  await assertRejects(
    () => other.server.history("a"),
    Error,
    'without the option "history"',
  );
});

Deno.test("Channel.history() reads what the server lets members read", async () => {
  await using house = new House();
  const { server, clients: [client, other] } = house;
  assert(client && other);
  const live = channels(server);
  const isNumber = (value: unknown) =>
    typeof value === "number"
      ? { value }
      : { issues: [{ message: "no number" }] };
  live.channel("open/:id", {
    join: () => true,
    history: 3,
    schema: {
      "~standard": { version: 1, vendor: "test", validate: isNumber },
    },
  });
  live.channel("closed", { join: () => true });
  const log: unknown[] = [];
  server.use(({ kind, type, channel }, next) => {
    log.push([kind, type, channel]);
    return next();
  });
  await house.open();
  const [author, reader] = house.connections;
  assert(author && reader);
  const own = channel<{ incoming: number }>(client, "open/1");
  const joined = own.joined;
  await joined;
  for (let i = 0; i < 4; i++) server.to("open/1").send(i);
  server.to("open/1").except(author).send("withheld");
  server.to("open/1").send(new Uint8Array([1])); // JSON cannot represent it
  const page = await own.history();
  assertEquals(page.messages.map(({ data }) => data), [2, 3]);
  assertEquals(page.isComplete, false);
  const all = await own.history({ limit: 1_000 });
  assertEquals(all, page);
  const [first] = page.messages;
  assert(first);
  const rest = await own.history({ since: first.position });
  assertEquals(rest.messages.map(({ data }) => data), [3]);
  assertEquals(rest.isComplete, true);
  // Another member may read what was withheld from the first one.
  const theirs = await channel(other, "open/1").history({ limit: 2 });
  assertEquals(theirs.messages.map(({ data }) => data), ["withheld"]);
  assertEquals(log.filter((one) => `${one}`.includes("history")).length, 4);
  for (const options of [{ limit: 0 }, { limit: -1 }, { since: "x" }]) {
    const error = await assertRejects(
      () => own.history(options),
      RequestError,
    );
    assertEquals(error.code, "invalid");
  }
  const error = await assertRejects(
    () => channel(client, "closed").history(),
    RequestError,
  );
  assertEquals(error.code, "unhandled");
  own.leave();
  await assertRejects(() => own.history(), ConnectionEndedError);
  for (const history of [-1, NaN, 1_001]) {
    assertThrows(
      () => live.channel("bad", { join: () => true, history }),
      RangeError,
      'Cannot use "history"',
    );
  }
});

for (const name of ["redis", "nats"]) {
  Deno.test({
    name: `${name}: ServerSocket.history() reads what all servers have sent`,
    ignore: ignoreBrokers || missingBrokers.has(name),
    fn: async () => {
      await using broker = await brokers[name]?.();
      assert(broker);
      await deadline(
        (async () => {
          const servers = [1, 2].map(() =>
            new ServerSocket({
              history: { messages: 10 },
              adapter: broker.adapter(),
            })
          );
          const [one, two] = servers;
          assert(one && two);
          await Promise.all(servers.map((server) =>
            server.waitFor("adapter", {
              filter: (state) => state === "up",
            })
          ));
          for (let i = 0; i < 4; i++) {
            one.to("a").send({ i });
            one.broadcast("to all");
          }
          await one.history("a");
          two.to("a", "b").send("two");
          const { messages, isComplete } = await two.history("a");
          assertEquals(messages.map(({ data }) => data), [
            ...[0, 1, 2, 3].map((i) => ({ i })),
            "two",
          ]);
          assertEquals(isComplete, true);
          const since = messages[2]?.position ?? "";
          const rest = await one.history("a", { since, limit: 1 });
          assertEquals(rest.messages.map(({ data }) => data), [{ i: 3 }]);
          assertEquals(rest.isComplete, false);
          const down = one.waitFor("adapter", {
            filter: (state) => state === "down",
          });
          await broker.kill();
          await down;
          await assertRejects(() => one.history("a"), Error, "broker is down");
          await Promise.all(servers.map((server) => server.close()));
        })(),
        30_000,
      );
    },
  });
}
