/** The event `end`: once after every `close` and every `disconnect`, on all sockets. */

import { assertEquals, assertStrictEquals } from "@std/assert";
import { type Connection, type EndEvent, ServerSocket } from "../../mod.ts";
import { ClientSocket, testClients } from "../support/client_classes.ts";
import { lacksPermission } from "../support/permissions.ts";

const ignore = await lacksPermission("net");

/** A test of what a page cannot do, or does not hear of. */
function testOther(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore, fn });
}

function test(name: string, fn: () => Promise<void>): void {
  testClients(name, { ignore }, fn);
}

/** A server, a client and its connection, which record how they end. */
async function recorded() {
  const server = new ServerSocket();
  const client = new ClientSocket();
  const told: Record<string, unknown[]> = { server: [], client: [], peer: [] };
  for (const type of ["close", "disconnect"] as const) {
    server.on(type, () => void told.server?.push(type));
    client.on(type, () => void told.client?.push(type));
  }
  server.on("end", (_client, end) => void told.server?.push(end));
  client.on("end", (end) => void told.client?.push(end));
  server.on("connect", (peer) => {
    peer.on("close", () => void told.peer?.push("close"));
    peer.on("disconnect", () => void told.peer?.push("disconnect"));
    peer.on("end", (end) => void told.peer?.push(end));
  });
  await server.listen("127.0.0.1", 0);
  const connected = server.waitFor("connect");
  await client.connect(server.url);
  const [peer] = await connected;
  return { server, client, peer, told };
}

test("end follows close, with the same code and reason on all sockets", async () => {
  const { server, client, peer, told } = await recorded();
  const ended = server.waitFor("end");
  await client.close(4001, "bye");
  const [who, end] = await ended;
  assertStrictEquals(who, peer);
  const clean = { type: "close", code: 4001, reason: "bye", wasClean: true };
  assertEquals(end, { ...clean, type: "close", cause: "peer" });
  await server.close();
  assertEquals(told, {
    server: ["close", { ...clean, cause: "peer" }],
    client: ["close", { ...clean, cause: "local" }],
    peer: ["close", { ...clean, cause: "peer" }],
  });
});

testOther("end follows disconnect with wasClean false", async () => {
  const { server, client, told } = await recorded();
  const ended = server.waitFor("end");
  client.terminate();
  await ended;
  await server.close();
  const lost = { type: "disconnect", code: 1006, reason: "", wasClean: false };
  assertEquals(told, {
    server: ["disconnect", { ...lost, cause: "network" }],
    client: ["disconnect", { ...lost, cause: "local" }],
    peer: ["disconnect", { ...lost, cause: "network" }],
  });
});

test("end is emitted once per connection of a reconnecting client", async () => {
  const server = new ServerSocket();
  await server.listen("127.0.0.1", 0);
  await using client = new ClientSocket({ reconnect: { initialDelay: 1 } });
  const order: string[] = [];
  for (const type of ["connect", "disconnect", "reconnecting"] as const) {
    client.on(type, () => void order.push(type));
  }
  client.on("end", ({ type, wasClean }) => {
    order.push(`end ${type} ${wasClean}`);
  });
  const first = server.waitFor("connect");
  await client.connect(server.url);
  const [peer]: [Connection, string] = await first;
  const again = client.waitFor("connect");
  peer.terminate();
  await again;
  assertEquals(order, [
    "connect",
    "disconnect",
    "end disconnect false",
    "reconnecting",
    "connect",
  ]);
  await client.close();
  await server.close();
});

test("end is emitted if only it is listened to, and nothing after it", async () => {
  const { server, client, peer } = await recorded();
  const events: string[] = [];
  peer.on("end", () => {
    events.push("end");
    peer.close().then(() => events.push("closed"));
  });
  peer.on("error", () => void events.push("error"));
  await client.close();
  await peer.waitFor("end").catch(() => events.push("too late"));
  await server.close();
  assertEquals(events.filter((name) => name === "end").length, 1);
  assertEquals(events.includes("error"), false);
});

test("EndEvent has the connection and the end, on all sockets and for all events", async () => {
  const { server, client, peer } = await recorded();
  const own = client.connection;
  const seen: unknown[][] = [];
  const record = (event: EndEvent<Connection>) => {
    const { connection, end, code, reason, cause, wasClean } = event;
    assertEquals(end, { type: "close", code, reason, cause, wasClean });
    seen.push([event.type, connection, code, reason, wasClean]);
  };
  for (const type of ["close", "end"] as const) {
    server.addEventListener(type, record);
    client.addEventListener(type, record);
    peer.addEventListener(type, record);
  }
  const ended = peer.waitFor("end");
  await client.close(4001, "bye");
  await ended;
  await server.close();
  for (const type of ["close", "end"]) {
    const all = seen.filter(([name]) => name === type);
    assertEquals(all.filter(([, one]) => one === own).length, 1);
    for (const [, one, ...rest] of all) {
      assertEquals(rest, [4001, "bye", true]);
      if (one !== own) assertStrictEquals(one, peer);
    }
  }
});
