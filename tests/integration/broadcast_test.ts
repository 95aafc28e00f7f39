/** Rooms and broadcasts of a server, with real sockets. */

import {
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { stub } from "@std/testing/mock";
import { ClientSocket } from "../../client.ts";
import {
  type Connection,
  type ServerOptions,
  ServerSocket,
} from "../../server.ts";
import { listenForTest } from "../support/listen_for_test.ts";

/** A server with some clients, each in the rooms that its path names. */
class Party implements AsyncDisposable {
  readonly clients = new Map<string, ClientSocket>();
  readonly connections = new Map<string, Connection>();
  readonly heard = new Map<string, unknown[]>();

  constructor(readonly server: ServerSocket, readonly url: string) {
    server.on("connect", (client, path) => {
      const [, name = "", ...rooms] = path.split("/");
      this.connections.set(name, client);
      for (const room of rooms) client.join(room);
    });
    server.on("message", ({ author }) => author.send("echo"));
  }

  static async begin(
    paths: string[],
    options: ServerOptions = {},
  ): Promise<Party> {
    const server = new ServerSocket(options);
    const party = new Party(server, await listenForTest(server));
    for (const path of paths) await party.enter(path);
    return party;
  }

  async enter(path: string): Promise<void> {
    const [name = ""] = path.split("/");
    const client = new ClientSocket();
    const heard: unknown[] = [];
    this.clients.set(name, client);
    this.heard.set(name, heard);
    client.on("message", (message) => {
      heard.push(message.isBinary ? [...message.bytes] : message.data);
    });
    const connected = this.server.waitFor("connect");
    await client.connect(`${this.url}/${path}`);
    await connected;
  }

  /** What everybody has heard, when all that was sent has come. */
  async all(): Promise<Record<string, unknown[]>> {
    await Promise.all([...this.clients.values()].map(async (client) => {
      const echo = client.waitFor("message", {
        filter: ({ content }) => content === "echo",
      });
      client.send("ask");
      await echo;
    }));
    const heard = [...this.heard].map(([name, list]) =>
      [name, list.filter((data) => data !== "echo")] as const
    );
    return Object.fromEntries(heard);
  }

  connection(name: string): Connection {
    const connection = this.connections.get(name);
    if (!connection) throw new Error(`Nobody is called ${name}`);
    return connection;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      [...this.clients.values()].map((client) => client.close()),
    );
    await this.server.close();
  }
}

function test(
  name: string,
  paths: string[],
  fn: (party: Party) => Promise<void> | void,
): void {
  Deno.test({
    name,
    fn: async () => {
      await using party = await Party.begin(paths);
      await fn(party);
    },
  });
}

test("ServerSocket.to() sends to the members of a room", [
  "ada/lobby",
  "grace/lobby/garden",
  "edith",
], async (party) => {
  await party.server.to("lobby").send({ to: "lobby" });
  await party.server.to("garden").send("garden");
  await party.server.to("nowhere").send("nobody");
  assertEquals(await party.all(), {
    ada: [{ to: "lobby" }],
    grace: [{ to: "lobby" }, "garden"],
    edith: [],
  });
});

test("ServerSocket.to() with several rooms sends once to each member", [
  "ada/lobby",
  "grace/lobby/garden",
  "edith/garden",
], async (party) => {
  party.server.to("lobby", "garden").send(new Uint8Array([1, 2]));
  assertEquals(await party.all(), {
    ada: [[1, 2]],
    grace: [[1, 2]],
    edith: [[1, 2]],
  });
});

test("Audience.except() excludes connections and members of rooms", [
  "ada/lobby",
  "grace/lobby/garden",
  "edith/lobby",
], async (party) => {
  const { server } = party;
  const lobby = server.to("lobby");
  lobby.except(party.connection("ada")).send(1);
  lobby.except("garden").send(2);
  lobby.except("garden").except(party.connection("edith")).send(3);
  lobby.send(4);
  assertEquals(await party.all(), {
    ada: [2, 3, 4],
    grace: [1, 4],
    edith: [1, 2, 4],
  });
});

test("ServerSocket.broadcast() sends to all clients except excluded ones", [
  "ada",
  "grace/garden",
  "edith",
], async (party) => {
  const { server } = party;
  await server.broadcast("all");
  server.broadcast("not ada", { except: party.connection("ada") });
  server.broadcast("edith", {
    except: [party.connection("ada"), "garden"],
  });
  assertEquals(await party.all(), {
    ada: ["all"],
    grace: ["all", "not ada"],
    edith: ["all", "not ada", "edith"],
  });
});

test("Connection.leave() stops messages of a room", [
  "ada/lobby",
  "grace/lobby",
], async (party) => {
  const ada = party.connection("ada");
  assertEquals([...ada.rooms], ["lobby"]);
  ada.leave("lobby");
  ada.leave("lobby");
  assertEquals([...ada.rooms], []);
  party.server.to("lobby").send("hello");
  assertEquals(await party.all(), { ada: [], grace: ["hello"] });
});

test(
  "ServerSocket.rooms lists rooms and members",
  ["ada/lobby/garden", "grace/lobby", "edith"],
  (party) => {
    const ada = party.connection("ada");
    const rooms = () =>
      [...party.server.rooms].map(([room, { size }]) => [room, size]);
    assertEquals(rooms(), [["lobby", 2], ["garden", 1]]);
    assertEquals([...party.server.rooms.get("garden") ?? []], [ada]);
    ada.leave("garden");
    assertEquals(rooms(), [["lobby", 2]]);
  },
);

test(
  "Audience lists its current clients",
  ["ada/lobby", "grace/lobby"],
  async (party) => {
    const lobby = party.server.to("lobby");
    const ada = party.connection("ada");
    assertStrictEquals(lobby.size, 2);
    assertEquals(lobby.except(ada).members, [party.connection("grace")]);
    await party.enter("edith/lobby");
    assertStrictEquals(lobby.size, 3);
  },
);

test(
  "Connection.rooms remains after the end",
  ["ada/lobby/garden", "grace/lobby"],
  async (party) => {
    const ada = party.connection("ada");
    const told: unknown[] = [];
    const listen = (who: string) => () => {
      told.push(who, [...ada.rooms], party.server.to("lobby").size);
      ada.join("kitchen");
      party.server.to("lobby").send("ada is gone");
    };
    party.server.on("close", listen("server"));
    ada.on("close", listen("connection"));
    await ada.close();
    assertEquals(told, [
      "server",
      ["lobby", "garden"],
      1,
      "connection",
      ["lobby", "garden"],
      1,
    ]);
    assertStrictEquals(party.server.to("kitchen").size, 0);
    assertStrictEquals(party.server.to("garden").size, 0);
    party.clients.delete("ada");
    const { grace } = await party.all();
    assertEquals(grace, ["ada is gone", "ada is gone"]);
  },
);

test("Audience.send() serializes once", [
  "ada/lobby",
  "grace/lobby",
], async (party) => {
  {
    using stringify = stub(JSON, "stringify", () => '"once"');
    await party.server.to("lobby").send({ to: "lobby" });
    assertStrictEquals(stringify.calls.length, 1);
  }
  assertEquals(await party.all(), { ada: ["once"], grace: ["once"] });
});

test(
  "Audience.send() throws for data that cannot be serialized",
  ["ada/lobby"],
  async (party) => {
    // @ts-expect-error No function can be sent
    assertThrows(() => party.server.to("lobby").send(() => 1), TypeError);
    assertThrows(
      // @ts-expect-error No such policy
      () => party.server.to("nobody").send("x", { overflow: "wait" }),
      RangeError,
    );
    assertEquals(await party.all(), { ada: [] });
  },
);

test("ServerSocket.to() throws for invalid names", [], async ({ server }) => {
  assertStrictEquals(server.to().size, 0);
  assertThrows(() => server.to("lobby", ""), TypeError, 'current value is ""');
  await server.broadcast("nobody is there");
});

test("Connection.join() throws on a client", ["ada"], async (party) => {
  const own = party.clients.get("ada")?.connection;
  assertThrows(() => own?.join("lobby"), Error, 'room "lobby" on a client');
  assertThrows(() => own?.leave("lobby"), Error, 'room "lobby" on a client');
  assertEquals([...own?.rooms ?? []], []);
  assertThrows(() => party.connection("ada").join(""), TypeError);
  await party.server.broadcast("still there");
  assertEquals(await party.all(), { ada: ["still there"] });
});

Deno.test({
  name: "Audience.send() does not wait for slow clients",
  fn: async () => {
    await using party = await Party.begin(["ada/lobby", "grace/lobby"], {
      highWaterMark: 1_024,
      maxBufferedAmount: 4_096,
    });
    const ada = party.connection("ada");
    const part = "x".repeat(1_024);
    // Ada is sent more in one turn than may wait for her; grace is not.
    for (let i = 0; i < 4; i++) ada.send(part).catch(() => {});
    const lost = party.server.waitFor("disconnect");
    await party.server.to("lobby").send(part);
    await party.server.to("lobby").send("end");
    const [client, , , cause] = await lost;
    assertStrictEquals(client, ada);
    assertStrictEquals(cause, "backpressure");
    party.clients.delete("ada");
    assertEquals((await party.all()).grace, [part, "end"]);
    await assertRejects(() => ada.send("late"));
  },
});
