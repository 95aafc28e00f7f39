/** Servers that refuse after the handshake, so that a page can read why. */

import {
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { ConnectError } from "../../client.ts";
import { ClientSocket, testClients } from "../support/client_classes.ts";
import {
  CloseRefusal,
  type ServerOptions,
  ServerSocket,
} from "../../server.ts";
import { lacksPermission } from "../support/permissions.ts";
import { RawPeer } from "../support/raw_peer.ts";

const ignore = await lacksPermission("net");

/** A server that refuses everybody, and all that it tells. */
async function refusing(
  authorize: NonNullable<ServerOptions["authorize"]>,
  options: ServerOptions = {},
) {
  const server = new ServerSocket({ ...options, authorize });
  const told: string[] = [];
  server.on("refused", (_request, status, reason) => {
    told.push(`refused ${status} ${reason}`);
  });
  for (const type of ["connect", "close", "disconnect", "end"] as const) {
    server.on(type, () => told.push(type));
  }
  await server.listen("127.0.0.1", 0);
  return {
    server,
    told,
    [Symbol.asyncDispose]: () => server.close(),
  };
}

/** A test of what a page cannot do, or does not hear of. */
function testOther(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore, fn });
}

function test(name: string, fn: () => Promise<void>): void {
  testClients(name, { ignore }, fn);
}

test("CloseRefusal is told as a ConnectError, and as no connection on either side", async () => {
  const refuse = () => new CloseRefusal(4401, "Token expired");
  const ways: NonNullable<ServerOptions["authorize"]>[] = [
    refuse,
    () => Promise.resolve(refuse()),
    () => {
      throw refuse();
    },
    () => Promise.reject(refuse()),
  ];
  for (const authorize of ways) {
    await using server = await refusing(authorize, { protocols: ["chat"] });
    for (
      const options of [{}, { protocols: "chat" }, { requireEvents: true }]
    ) {
      const client = new ClientSocket({ ...options, reconnect: true });
      const heard: string[] = [];
      for (const type of ["connect", "close", "disconnect", "end"] as const) {
        client.on(type, () => heard.push(type));
      }
      const error = await assertRejects(
        () => client.connect(server.server.url),
        ConnectError,
        'refused with code 4401 and reason "Token expired"',
      );
      assertEquals(
        [error.kind, error.code, error.reason, error.status],
        ["refused", 4401, "Token expired", undefined],
      );
      assertEquals(heard, []);
      assertStrictEquals(client.state, "closed", "it is final");
    }
    const refused = "refused 101 Closed with code 4401: Token expired";
    assertEquals(server.told, [refused, refused, refused]);
    assertStrictEquals(server.server.clients.size, 0);
  }
});

test("CloseRefusal is an ordinary close to peers that know nothing of it", async () => {
  await using server = await refusing(() => new CloseRefusal(4403, "No"));
  for (const protocol of [undefined, "chat", "events.v1"]) {
    using peer = await RawPeer.open(server.server.port, "/", protocol);
    assertStrictEquals(await peer.end(), "4403 No");
  }
  const client = new ClientSocket({ plain: true });
  const ended = client.waitFor("end");
  await client.connect(server.server.url);
  const [{ type, code, reason, cause }] = await ended;
  assertEquals([type, code, reason, cause], ["close", 4403, "No", "peer"]);
});

test("CloseRefusal with 1013 is tried again, after the time that it names", async () => {
  let isFull = true;
  await using server = await refusing(() =>
    isFull ? new CloseRefusal(1013, "full; retry-after=0") : true
  );
  await using client = new ClientSocket({ reconnect: { initialDelay: 0 } });
  client.on("reconnecting", (_attempt, _delay, error) => {
    assertInstanceOf(error, ConnectError);
    assertStrictEquals(error.code, 1013);
    isFull = false;
  });
  await client.connect(server.server.url);
  assertEquals(server.told, [
    "refused 101 Closed with code 1013: full; retry-after=0",
    "connect",
  ]);
});

testOther(
  "CloseRefusal lets go of a peer that does not answer, and of its place",
  async () => {
    await using server = await refusing(
      ({ url }) => url.endsWith("/in") || new CloseRefusal(4000),
      { maxConnections: 1, closeTimeout: 50 },
    );
    {
      using mute = await RawPeer.open(server.server.port);
      assertStrictEquals((await mute.receive())?.opcode, 8);
      // It counts as a connection until it is gone.
      const full = await assertRejects(
        () => new ClientSocket().connect(`${server.server.url}/in`),
        ConnectError,
      );
      assertStrictEquals(full.status, 503);
      assertStrictEquals(await mute.receive(), undefined);
    }
    await using client = new ClientSocket({
      reconnect: { initialDelay: 0, maxDelay: 5 },
    });
    await client.connect(`${server.server.url}/in`);
    assertStrictEquals(server.server.clients.size, 1);
  },
);

testClients("CloseRefusal has a code that says so", () => {
  for (const code of [1008, 1013, 3000, 4000, 4999]) new CloseRefusal(code);
  for (const code of [0, 1000, 1001, 1006, 2999, 5000, NaN]) {
    assertThrows(() => new CloseRefusal(code), RangeError);
  }
  assertThrows(() => new CloseRefusal(4000, "x".repeat(124)), RangeError);
});
