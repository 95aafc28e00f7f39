/**
 * A client with default options and servers that are none of this library, which treat
 * the subprotocols that it offers in all ways that there are.
 */

import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { type ClientOptions, ConnectError } from "../../client.ts";
import { ClientSocket, testClients } from "../support/client_classes.ts";
import { ServerSocket } from "../../server.ts";
import { FakeWebSockets } from "../support/fake_websocket.ts";
import { lacksPermission } from "../support/permissions.ts";
import { type RawBehaviour, RawServer } from "../support/raw_server.ts";

const ignore = await lacksPermission("net");

function test(name: string, fn: (server: RawServer) => Promise<void>): void {
  testClients(name, {
    ignore,
    fn: async () => {
      await using server = new RawServer();
      await fn(server);
    },
  });
}

/** A test of what a page cannot know, as nothing tells it why a handshake has failed. */
function testReasons(
  name: string,
  fn: (server: RawServer) => Promise<void>,
): void {
  Deno.test({
    name,
    ignore,
    fn: async () => {
      await using server = new RawServer();
      await fn(server);
    },
  });
}

/** Connects, hears the greeting and an echo, and closes. */
async function talk(client: ClientSocket, url: string): Promise<void> {
  const greeting = client.waitFor("message");
  await client.connect(url);
  assertStrictEquals((await greeting)[0].data, "hello");
  const echo = client.waitFor("message");
  client.send({ n: 1 });
  assertEquals((await echo)[0].data, { n: 1 });
  assertStrictEquals(client.connection?.protocol, "");
  assertStrictEquals(client.connection?.speaksEvents, false);
  await client.close();
}

/** The handshakes of a first call of `connect()`, and of a second one. */
const HANDSHAKES: readonly (readonly [
  behaviour: RawBehaviour,
  first: readonly string[],
  second: string,
])[] = [
  ["ignore", ["events.v1"], "events.v1"],
  ["first", ["events.v1"], "events.v1"],
  ["wrong", ["events.v1", ""], ""],
  ["list", ["events.v1", ""], ""],
  ["refuse-400", ["events.v1", ""], ""],
  ["refuse-426", ["events.v1", ""], ""],
  ["refuse-501", ["events.v1", ""], ""],
  // Here the server may only have been down at first: the offer is made once more.
  ["hang-up", ["events.v1", "", "events.v1"], ""],
  ["refuse-500", ["events.v1", "", "events.v1"], ""],
];

testReasons(
  "ClientSocket reaches any server, and learns once what it takes",
  async (server) => {
    for (const [behaviour, first, second] of HANDSHAKES) {
      await using client = new ClientSocket();
      await talk(client, server.url(behaviour));
      assertEquals(server.offersOf(behaviour), first, behaviour);
      await talk(client, `${server.url(behaviour)}?token=2`);
      assertEquals(server.offersOf(behaviour), [...first, second], behaviour);
    }
  },
);

test("ClientSocket offers the program's own subprotocols to all servers", async (server) => {
  for (
    const [behaviour, protocol] of [["first", "chat"], ["wrong", ""]] as const
  ) {
    await using client = new ClientSocket({ protocols: ["chat", "x"] });
    const connected = client.connect(server.url(behaviour));
    if (behaviour === "wrong") {
      // Without `events.v1`, too, it selects what was not offered.
      const error = await assertRejects(
        () => connected,
        ConnectError,
        '"bogus"',
      );
      assertStrictEquals(error.kind, "protocol");
      assertEquals(server.offersOf(behaviour), ["events.v1", "chat,x"]);
    } else {
      await connected;
      assertStrictEquals(client.connection?.protocol, protocol);
    }
  }
});

test("ClientSocket asks for a ticket for each handshake", async (server) => {
  for (const behaviour of ["wrong", "hang-up"] as const) {
    let tickets = 0;
    const before = server.handshakes.length;
    await using client = new ClientSocket();
    await client.connect(() =>
      Promise.resolve(`${server.url(behaviour)}?ticket=${++tickets}`)
    );
    const used = server.handshakes.slice(before).map(({ query }) => query);
    assertEquals(used, used.map((_, index) => `ticket=${index + 1}`));
    assertStrictEquals(used.length, tickets);
  }
});

testReasons(
  "ClientSocket does not double the load of a server that is down or refuses",
  async (server) => {
    const statuses = [401, 403, 404, 429, 503] as const;
    for (const status of statuses) {
      await using client = new ClientSocket();
      const behaviour = `status-${status}` as const;
      for (let call = 0; call < 2; call++) {
        const error = await assertRejects(
          () => client.connect(server.url(behaviour)),
          ConnectError,
          `${status}`,
        );
        assertEquals([error.kind, error.status], ["refused", status]);
      }
      assertEquals(server.offersOf(behaviour), ["events.v1", "events.v1"]);
    }
    // It may be due to the offer, and nobody tries again: so it is tried once without.
    await using client = new ClientSocket();
    for (let call = 0; call < 4; call++) {
      await assertRejects(
        () => client.connect(server.url("down")),
        ConnectError,
      );
    }
    assertEquals(server.offersOf("down"), [
      ...["events.v1", "", "events.v1", "", "events.v1"],
    ]);
  },
);

test("ClientSocket alternates where it goes on trying and nobody knows why it failed", async (server) => {
  server.behaviour = "down";
  await using client = new ClientSocket({
    reconnect: { initialDelay: 0, maxDelay: 1 },
  });
  let attempts = 1;
  client.on("reconnecting", () => {
    if (++attempts === 5) server.behaviour = "hang-up";
  });
  await client.connect(server.url("down"));
  const offers = server.offersOf("down");
  assertEquals(offers.slice(0, 4), ["events.v1", "", "events.v1", ""]);
  // The fifth is made with the offer, the sixth without, and then it is made sure.
  assertEquals(offers.slice(4), ["events.v1", "", "events.v1"]);
  // What it has learnt, it keeps.
  const back = client.waitFor("connect");
  server.cut();
  await back;
  assertEquals(server.offersOf("down").slice(7), [""]);
});

test("ClientSocket makes sure that a server is not one of this library that was down", async (server) => {
  // A server of ours, of which the path of the raw one is a proxy that is down first.
  await using ours = new ServerSocket();
  const paths: string[] = [];
  ours.on("connect", (client) => {
    paths.push(client.speaksEvents ? "events.v1" : "plain");
  });
  await ours.listen("127.0.0.1", 0);
  let attempts = 0;
  await using client = new ClientSocket({
    reconnect: { initialDelay: 0, maxDelay: 1 },
  });
  // The first attempt meets nobody who says why; the second, without the offer, ours.
  const url = () => ++attempts === 1 ? server.url("down") : ours.url;
  await client.connect(url);
  assertStrictEquals(client.connection?.speaksEvents, true);
  assertEquals(paths, ["events.v1"]);
});

test("ClientSocket with requireEvents connects to no other server, and with plain offers nothing", async (server) => {
  for (const behaviour of ["ignore", "first", "wrong", "refuse-400"] as const) {
    await using client = new ClientSocket({ requireEvents: true });
    await assertRejects(
      () => client.connect(server.url(behaviour)),
      ConnectError,
    );
    assertEquals(server.offersOf(behaviour), ["events.v1"]);
  }
  await using ours = new ServerSocket();
  await ours.listen("127.0.0.1", 0);
  await using strict = new ClientSocket({ requireEvents: true });
  await strict.connect(ours.url);
  assert(strict.connection?.speaksEvents);
  await using plain = new ClientSocket({ plain: true });
  await plain.connect(server.url("hang-up"));
  assertEquals(server.offersOf("hang-up"), [""]);
});

testReasons(
  "ClientSocket with a codec keeps to it where the server does not speak events.v1",
  async (server) => {
    const codec = {
      name: "hex",
      encode: (value: unknown) => `x${String(value)}`,
      decode: (frame: string | Uint8Array) => String(frame).slice(1),
    };
    for (const behaviour of ["ignore", "first", "wrong"] as const) {
      await using client = new ClientSocket({ codec });
      await client.connect(server.url(behaviour));
      const echo = client.waitFor("message", {
        filter: ({ content }) => content !== "hello",
      });
      await client.send("value");
      const [{ data, content }] = await echo;
      assertEquals([data, content], ["value", "xvalue"]);
    }
  },
);

testClients(
  "ClientSocket in a browser tells a server apart from one that was down",
  async () => {
    const options: ClientOptions[] = [
      { plain: false },
      { plain: false, reconnect: { initialDelay: 100 } },
    ];
    for (const option of options) {
      for (const isOurs of [false, true]) {
        using sockets = new FakeWebSockets();
        const heard: unknown[] = [];
        const client = new ClientSocket(option);
        client.on("connect", () => heard.push("connect"));
        client.on("message", ({ data }) => heard.push(data));
        const connecting = client.connect("ws://example.test");
        await sockets.settle();
        const first = sockets.last;
        assert(first.protocols.includes("events.v1"));
        first.refuse(""); // browsers say nothing
        await sockets.wait(option.reconnect ? 100 : 0);
        const plain = sockets.last;
        assertEquals(plain.protocols, []);
        plain.open();
        plain.receive("greeting");
        await sockets.settle();
        assertEquals(heard, [], "it is not known yet which connection is used");
        const again = sockets.last;
        assertEquals(sockets.sockets.length, 3);
        assert(again.protocols.includes("events.v1"));
        if (isOurs) {
          again.protocol = "events.v1";
          again.open();
        } else again.refuse("");
        await connecting;
        await sockets.settle();
        assertEquals(heard, isOurs ? ["connect"] : ["connect", "greeting"]);
        assertStrictEquals(client.connection?.speaksEvents, isOurs);
        assertStrictEquals(plain.readyState, isOurs ? 3 : 1);
        await client.close();
      }
    }
  },
);
