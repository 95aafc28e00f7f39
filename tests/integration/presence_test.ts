/** Who is in a room, on whatever server. */

import {
  assert,
  assertEquals,
  assertMatch,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { deadline, delay } from "@std/async";
import { FakeTime } from "@std/testing/time";
import { Presence } from "../../core/cluster/presence.ts";
import { ClientSocket, type ServerOptions, ServerSocket } from "../../mod.ts";
import { type Broker, brokers, missingBrokers } from "../support/brokers.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { BROKER_PERMISSIONS, lacksPermission } from "../support/permissions.ts";
import { Program } from "../support/program.ts";

const ROOM = "r";

/** Servers that hear each other, as far as a test lets them. */
class World implements Disposable {
  readonly time = new FakeTime();
  readonly nodes = new Map<string, Side>();
  /** What is on its way. */
  readonly words: { to: Side; text: string }[] = [];

  add(name: string): Side {
    const side = new Side(this, name);
    this.nodes.set(name, side);
    return side;
  }

  /** Lets all that is on its way come. */
  settle(): void {
    this.time.tick(10); // changes of that time are published together
    for (let word = this.words.shift(); word; word = this.words.shift()) {
      word.to.hear(word.text);
    }
  }

  [Symbol.dispose](): void {
    for (const { presence } of this.nodes.values()) presence.stop();
    this.time[Symbol.dispose]();
  }
}

/** One of them, and who it thinks is there. */
class Side {
  readonly presence: Presence<string>;
  /** The data of each member, by its key. */
  readonly there = new Map<string, string>();
  readonly told: string[] = [];
  readonly own = new Set<string>();
  isUp = true;

  constructor(readonly world: World, readonly name: string) {
    this.presence = new Presence<string>(name, {
      memberJoined: ({ key, data }) => {
        assert(!this.there.has(key), `${key} joins ${name} twice`);
        this.there.set(key, data);
        this.told.push(`+${key} ${data}`);
      },
      memberUpdated: ({ key, data }) => {
        assert(this.there.has(key), `${key} is updated, but not there`);
        assert(this.there.get(key) !== data, `${key} is ${data} twice`);
        this.there.set(key, data);
        this.told.push(`=${key} ${data}`);
      },
      memberLeft: ({ key, data }) => {
        assert(this.there.delete(key), `${key} leaves twice`);
        this.told.push(`-${key} ${data}`);
      },
    }, (_room, text) => {
      if (!this.isUp) return;
      for (const to of world.nodes.values()) world.words.push({ to, text });
    });
  }

  hear(text: string): void {
    if (this.isUp) this.presence.receive(ROOM, text);
  }

  enter(id: string, key = id, data = key): void {
    const isFirst = this.own.size === 0;
    this.own.add(id);
    this.presence.set(ROOM, id, key, data);
    if (isFirst) this.presence.requestState(ROOM);
  }

  leave(id: string): void {
    this.own.delete(id);
    this.presence.leave(ROOM, id);
    if (this.own.size > 0) return;
    this.there.clear(); // nothing more is heard of it
  }

  get names(): string {
    return [...this.there.keys()].sort().join();
  }
}

Deno.test("Presence reports members that join and leave", () => {
  using world = new World();
  const [a, b] = [world.add("a"), world.add("b")];
  a.enter("ada");
  world.settle();
  b.enter("bob");
  world.settle();
  assertEquals([a.names, b.names], ["ada,bob", "ada,bob"]);
  a.enter("amy");
  a.leave("ada");
  world.settle();
  assertEquals([a.names, b.names], ["amy,bob", "amy,bob"]);
  b.leave("bob");
  world.settle();
  assertEquals(a.names, "amy");
  b.enter("ben");
  world.settle();
  assertEquals([a.names, b.names], ["amy,ben", "amy,ben"]);
});

Deno.test("Presence groups connections of several servers by key", () => {
  using world = new World();
  const [a, b] = [world.add("a"), world.add("b")];
  a.enter("ada1", "ada", "here");
  b.enter("bob1", "bob");
  world.settle();
  b.enter("ada2", "ada", "here");
  world.settle();
  a.enter("ada1", "ada", "typing");
  world.settle();
  b.enter("ada2", "ada", "away"); // the last one counts
  world.settle();
  for (const side of [a, b]) {
    assertEquals(Object.fromEntries(side.there), { ada: "away", bob: "bob" });
  }
  a.enter("amy1", "amy");
  a.leave("ada1");
  world.settle();
  b.leave("ada2");
  world.settle();
  for (const side of [a, b]) {
    side.told.sort();
    assertEquals(side.told, [
      "+ada here",
      "+amy amy",
      "+bob bob",
      "-ada away",
      "=ada away",
      "=ada typing",
    ]);
  }
});

Deno.test("Presence agrees on the data that was set last if clocks differ", () => {
  using world = new World();
  const [a, b] = [world.add("a"), world.add("b")];
  a.presence.noteClock(Date.now() + 300_000); // its clock is fast
  b.presence.noteClock(a.presence.clock); // by a heartbeat
  world.time.tick(1_000);
  a.enter("1", "ada", "first");
  world.settle();
  world.time.tick(1_000);
  b.enter("2", "ada", "second"); // it has not heard of the first
  world.settle();
  for (const { there } of [a, b]) assertEquals(there.get("ada"), "second");
});

Deno.test("Presence keeps a member that moves to another server", () => {
  using world = new World();
  const [a, b, c] = [world.add("a"), world.add("b"), world.add("c")];
  for (const side of [a, b, c]) side.enter(side.name);
  a.enter("ada1", "ada");
  world.settle();
  b.enter("ada2", "ada");
  world.settle();
  a.presence.stop(); // it dies
  world.nodes.delete("a");
  for (const side of [b, c]) side.presence.serverLost("a");
  world.settle();
  for (const side of [b, c]) {
    assertStrictEquals(side.names, "ada,b,c");
    assert(!side.told.some((line) => line.startsWith("-ada")));
  }
  b.presence.stop();
  world.nodes.delete("b");
  c.presence.serverLost("b");
  c.presence.serverLost("b"); // a second time is none
  assertEquals(c.told.slice(-2).sort(), ["-ada ada", "-b b"]);
});

Deno.test("Presence publishes changes of a moment together", () => {
  using world = new World();
  const [a, b] = [world.add("a"), world.add("b")];
  for (const side of [a, b]) side.enter(side.name);
  world.settle();
  for (let i = 0; i < 1_000; i++) {
    a.enter(`guest${i}`);
    a.leave(`guest${i}`);
    a.enter("a", "a", `${i}`);
  }
  world.time.tick(10);
  assertStrictEquals(world.words.length, 2); // one message, to each server
  assert(world.words.every(({ text }) => text.length < 300));
  world.settle();
  assertEquals(b.told.slice(2), ["=a 999"]);
  // A guest that comes and goes is no message at all.
  a.enter("guest");
  a.leave("guest");
  world.time.tick(10);
  assertStrictEquals(world.words.length, 0);
  a.enter("amy");
  world.settle();
  assertStrictEquals(b.told.at(-1), "+amy amy");
  // One that others know is told to leave, and one that returns is not.
  a.leave("amy");
  a.enter("amy");
  world.settle();
  assertStrictEquals(b.told.at(-1), "+amy amy");
  a.leave("amy");
  world.settle();
  assertStrictEquals(b.told.at(-1), "-amy amy");
});

Deno.test("Presence.unchangedSince() is true only of what others know", () => {
  using world = new World();
  const [a, b] = [world.add("a"), world.add("b")];
  for (const side of [a, b]) side.enter(side.name);
  const isUnchanged = () =>
    b.presence.unchangedSince(ROOM, a.presence.versionsOf(ROOM)) === "b";
  assert(!isUnchanged());
  world.settle();
  assert(isUnchanged());
  assertEquals([...a.presence.entriesOf(ROOM, "b") ?? []].length, 1);
  b.enter("ben");
  assert(!isUnchanged(), "it is not published yet");
  world.time.tick(10);
  assert(!isUnchanged(), "it is on its way");
  world.settle();
  assert(isUnchanged());
  assertEquals([...a.presence.entriesOf(ROOM, "b") ?? []].length, 2);
  a.presence.serverLost("b");
  assert(!isUnchanged());
  assertStrictEquals(a.presence.entriesOf(ROOM, "b"), undefined);
});

Deno.test("Presence publishes nothing of a room that is left before it is subscribed", () => {
  using world = new World();
  const a = world.add("a");
  for (let i = 0; i < 100; i++) {
    a.presence.set(ROOM, "ada", "ada", "ada");
    a.presence.leave(ROOM, "ada");
    a.presence.requestState(ROOM); // it is subscribed, too late
  }
  world.time.tick(10);
  assertEquals(world.words, []);
});

Deno.test("Presence removes members of a lost server and adds them again", () => {
  using world = new World();
  const [a, b] = [world.add("a"), world.add("b")];
  a.enter("ada");
  b.enter("bob");
  world.settle();
  a.presence.serverLost("b");
  assertEquals(a.names, "ada");
  // It was not dead.
  a.presence.serverFound("b");
  world.settle();
  assertEquals(a.names, "ada,bob");
});

Deno.test("Presence keeps members for a while when the broker is down", () => {
  using world = new World();
  const { time } = world;
  const [a, b, c] = [world.add("a"), world.add("b"), world.add("c")];
  for (const side of [a, b, c]) side.enter(`${side.name}1`);
  world.settle();
  a.isUp = false;
  a.presence.brokerDown();
  for (const name of ["b", "c"]) a.presence.serverLost(name);
  b.enter("b2");
  c.leave("c1");
  world.settle();
  time.tick(7_980);
  assertEquals(a.names, "a1,b1,c1");
  a.isUp = true;
  a.presence.brokerUp();
  world.settle();
  time.tick(2_000); // nobody is in a hurry to answer
  world.settle();
  assertEquals(a.names, "a1,b1,b2,c1", "c has nothing to say of the room");
  time.tick(6_000);
  assertEquals(a.names, "a1,b1,b2");
  // And if it does not come back, they are gone.
  a.presence.brokerDown();
  time.tick(8_000);
  assertEquals(a.names, "a1");
  a.presence.stop();
  assertStrictEquals(time.next(), false);
});

Deno.test("Presence answers many servers with one reply", () => {
  using world = new World();
  const { time } = world;
  const names = Array.from({ length: 10 }, (_, i) => `${i}`);
  const sides = names.map((name) => world.add(name));
  for (const side of sides) side.enter(side.name);
  world.settle();
  for (const side of sides) {
    side.isUp = false;
    side.presence.brokerDown();
  }
  // They come back one after the other, as they do.
  for (const side of sides) {
    side.isUp = true;
    side.presence.brokerUp();
    world.settle();
    time.tick(150);
  }
  let said = 0;
  for (let i = 0; i < 4; i++) {
    time.tick(1_000);
    said += world.words.length / sides.length;
    world.settle();
  }
  // Not ten by each of them.
  assertEquals(said, 9);
  for (const side of sides) assertEquals(side.names, names.join());
  time.tick(8_000);
  for (const side of sides) {
    assertEquals(side.names, names.join());
    side.presence.stop();
  }
});

Deno.test("Presence recovers from any lost message", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const seeded = new SeededRandom(seed);
    using world = new World();
    const sides = ["a", "b", "c"].map((name) => world.add(name));
    let count = 0;
    for (let step = 0; step < 60; step++) {
      const side = seeded.pick(sides);
      const [someone] = side.own;
      if (someone !== undefined && seeded.integer(2) === 0) side.leave(someone);
      else if (someone !== undefined && seeded.integer(3) === 0) {
        side.enter(someone, someone, `${count++}`);
      } else side.enter(`${side.name}${count++}`);
      world.time.tick(5);
      // Some words are lost, and some come twice.
      for (const word of world.words.splice(0)) {
        if (seeded.integer(5) > 0) word.to.hear(word.text);
        if (seeded.integer(5) === 0) word.to.hear(word.text);
      }
    }
    world.settle();
    // Everybody changes something, and from now on nothing is lost.
    for (const side of sides) side.enter(`${side.name} last`);
    world.settle();
    for (const side of sides) {
      side.enter(`${side.name} very last`);
      world.settle();
    }
    const all = sides.flatMap(({ own }) => [...own]).sort().join();
    for (const side of sides) {
      assertStrictEquals(side.names, all, `seed ${seed}, ${side.name}`);
      side.presence.stop();
    }
  }
});

Deno.test("Presence ignores unknown messages", () => {
  using world = new World();
  const a = world.add("a");
  a.enter("ada");
  for (
    const text of [
      "1",
      "null",
      "{}",
      '{"version":2,"from":"x","at":1,"type":"join"}',
      '{"version":1,"from":"x","at":1,"type":"dance"}',
      '{"version":1,"from":"a","at":9,"type":"state","members":[]}',
    ]
  ) a.presence.receive(ROOM, text);
  assertEquals(a.names, "ada");
});

const ignore = await lacksPermission(...BROKER_PERMISSIONS);

/** A server whose clients are called as their paths say: `/room/name`. */
async function start(broker: Broker | undefined, options: ServerOptions = {}) {
  const told: string[] = [];
  const server = new ServerSocket({
    ...broker && { adapter: broker.adapter() },
    presence: ({ path }) => ({ name: path.split("/")[2] }),
    ...options,
  });
  const nameOf = (data: unknown) => JSON.stringify(data).split('"')[3];
  server.on("join", ({ data }, room) => told.push(`+${nameOf(data)} ${room}`));
  server.on("leave", ({ data }, room) => told.push(`-${nameOf(data)} ${room}`));
  server.on("connect", (client, path) => client.join(path.split("/")[1] ?? ""));
  await server.listen("127.0.0.1", 0);
  return { server, told };
}

async function enter(server: ServerSocket, room: string, name: string) {
  const client = new ClientSocket();
  const joined = server.waitFor("connect");
  await client.connect(`${server.url}/${room}/${name}`);
  await joined;
  return client;
}

/** Waits until so much has been told. */
async function until(told: string[], count: number): Promise<string[]> {
  while (told.length < count) await delay(5);
  return told.splice(0).sort();
}

Deno.test("ServerSocket.members() without an adapter lists local members", {
  ignore,
}, async () => {
  const { server, told } = await start(undefined);
  await using _server = server;
  const ada = await enter(server, "lobby", "ada");
  await using _bob = await enter(server, "lobby", "bob");
  const members = await server.members("lobby");
  assertEquals(members.map(({ data }) => data), [
    { name: "ada" },
    { name: "bob" },
  ]);
  assertEquals(
    members.map(({ key }) => key),
    [...server.clients].map(({ id }) => id),
  );
  await ada.close();
  assertEquals(await until(told, 3), [
    "+ada lobby",
    "+bob lobby",
    "-ada lobby",
  ]);
  assertEquals(await server.members("nowhere"), []);
});

Deno.test(
  "presence that throws emits error and lists no member",
  { ignore },
  async () => {
    await using server = new ServerSocket({
      presence: ({ path }) => {
        if (path === "/x") throw new Error("no name");
        return path;
      },
    });
    const failed = server.waitFor("error");
    const joined = server.waitFor("join");
    server.on("connect", (client) => client.join("lobby"));
    await server.listen("127.0.0.1", 0);
    await using nobody = new ClientSocket();
    await nobody.connect(`${server.url}/x`);
    const [error, from] = await failed;
    assertEquals([String(error), from], ["Error: no name", "presence"]);
    await using client = new ClientSocket();
    await client.connect(`${server.url}/y`);
    assertStrictEquals((await joined)[0].data, "/y");
    assertEquals((await server.members("lobby")).length, 1);
    const [first] = server.clients;
    assert(first);
    server.updatePresence(first, "named later");
    const members = await server.members("lobby");
    assertEquals(members.map(({ data }) => data), ["/y", "named later"]);
    const left = server.waitFor("leave");
    await nobody.close();
    await left;
    assertEquals((await server.members("lobby")).length, 1);
  },
);

Deno.test("presence.key groups connections into one member", {
  ignore,
}, async () => {
  await using server = new ServerSocket<{ presence: { tab: string } }>({
    presence: {
      key: ({ path }) => path.split("/")[1] ?? "",
      data: ({ path }) => ({ tab: path.split("/")[2] ?? "" }),
    },
  });
  const told: string[] = [];
  for (const type of ["join", "update", "leave"] as const) {
    server.on(type, ({ key, data, connections }) => {
      told.push(`${type} ${key} ${data.tab} ${connections.length}`);
    });
  }
  server.on("connect", (client) => client.join("lobby"));
  await server.listen("127.0.0.1", 0);
  const tabs: ClientSocket[] = [];
  for (const path of ["ada/1", "ada/2", "bob/1"]) {
    const tab = new ClientSocket();
    const connected = server.waitFor("connect");
    await tab.connect(`${server.url}/${path}`);
    await connected;
    tabs.push(tab);
  }
  const ids = [...server.clients].map(({ id }) => id);
  assertEquals(await server.members("lobby"), [
    { key: "ada", data: { tab: "2" }, connections: ids.slice(0, 2) },
    { key: "bob", data: { tab: "1" }, connections: ids.slice(2) },
  ]);
  const [one, two] = server.clients;
  assert(one && two);
  server.updatePresence(one, { tab: "one" });
  server.updatePresence(one, { tab: "one" }); // the same again
  one.leave("lobby");
  one.join("lobby");
  one.leave("lobby");
  two.leave("lobby");
  const ended = server.waitFor("leave", { filter: ({ key }) => key === "bob" });
  for (const tab of tabs) await tab.close();
  await ended;
  assertEquals(told, [
    "join ada 1 1",
    "update ada 2 2",
    "join bob 1 1",
    "update ada one 2",
    "update ada 2 1", // one has left
    "update ada one 2", // and is back
    "update ada 2 1",
    "leave ada 2 1",
    "leave bob 1 1",
  ]);
});

Deno.test("ServerSocket.updatePresence() applies to rooms joined later", {
  ignore,
}, async () => {
  await using server = new ServerSocket<{ presence: string }>({
    presence: () => "new",
  });
  const connected = server.waitFor("connect");
  await server.listen("127.0.0.1", 0);
  await using client = new ClientSocket();
  await client.connect(server.url);
  const [member] = await connected;
  server.updatePresence(member, "known");
  member.join("a");
  assertStrictEquals((await server.members("a"))[0]?.data, "known");
});

Deno.test("ServerSocket.updatePresence() refuses what it cannot send", {
  ignore,
}, async () => {
  const loop: { self?: unknown } = {};
  loop.self = loop;
  for (
    const [options, data, text] of [
      [{}, "x", 'without the option "presence"'],
      [{ presence: () => "x" }, loop, "circular"],
      [{ presence: () => "x" }, 1n, "BigInt"],
    ] as const
  ) {
    await using server = new ServerSocket(options);
    const connected = server.waitFor("connect");
    await server.listen("127.0.0.1", 0);
    await using client = new ClientSocket();
    await client.connect(server.url);
    const [member] = await connected;
    assertThrows(() => server.updatePresence(member, data), Error, text);
  }
});

Deno.test("presence.key has to return a string that is not empty", {
  ignore,
}, async () => {
  for (const key of ["", 7, undefined]) {
    await using server = new ServerSocket({
      // @ts-expect-error a key is a string
      presence: { key: () => key, data: () => null },
    });
    server.on("join", () => {
      throw new Error("it joins");
    });
    const failed = server.waitFor("error");
    server.on("connect", (client) => client.join("lobby"));
    await server.listen("127.0.0.1", 0);
    await using client = new ClientSocket();
    await client.connect(server.url);
    const [error, from] = await failed;
    assertStrictEquals(from, "presence");
    assert(error instanceof TypeError);
    assertMatch(error.message, /return a string that is not empty/);
  }
});

for (const adapter of Object.keys(brokers)) {
  Deno.test({
    name: `${adapter}: members of all servers are reported once`,
    ignore: ignore || missingBrokers.has(adapter),
    fn: () => deadline(everywhere(adapter), 30_000),
  });
}

async function everywhere(adapter: string): Promise<void> {
  await using broker = await brokers[adapter]?.();
  assert(broker);
  const one = await start(broker);
  const two = await start(broker);
  await using _one = one.server;
  await using _two = two.server;
  while (one.server.servers < 2 || two.server.servers < 2) await delay(5);
  const ada = await enter(one.server, "lobby", "ada");
  await using _bob = await enter(two.server, "lobby", "bob");
  await using _eve = await enter(two.server, "garden", "eve");
  assertEquals(await until(one.told, 2), ["+ada lobby", "+bob lobby"]);
  assertEquals(await until(two.told, 3), [
    "+ada lobby",
    "+bob lobby",
    "+eve garden",
  ]);
  const members = await one.server.members("lobby");
  assertEquals(members.map(({ data }) => data), [{ name: "ada" }, {
    name: "bob",
  }]);
  assertEquals((await one.server.members("garden")).length, 1);
  // What is known already is not sent again, and what is new is not left out.
  const [bobThere] = [...two.server.rooms.get("lobby") ?? []];
  assert(bobThere);
  for (let i = 0; i < 20; i++) {
    two.server.updatePresence(bobThere, { name: `bob${i}` });
    const [, bob] = await one.server.members("lobby");
    assertEquals(bob?.data, { name: `bob${i}` });
    const again = await one.server.members("lobby");
    assertEquals(again.length, 2);
  }
  await ada.close();
  assertEquals(await until(two.told, 1), ["-ada lobby"]);
}

for (const adapter of ["redis", "nats"]) {
  Deno.test({
    name:
      `${adapter}: members of a server that is killed leave within ten seconds`,
    ignore: ignore || missingBrokers.has(adapter),
    fn: () => deadline(killed(adapter), 60_000),
  });
}

async function killed(adapter: string): Promise<void> {
  await using broker = await brokers[adapter]?.();
  assert(broker);
  const { server, told } = await start(broker);
  await using _server = server;
  await using _ada = await enter(server, "lobby", "ada");
  await using program = new Program([
    ...["run", "--allow-all", "tests/support/presence_server.ts"],
    ...[adapter, broker.address],
  ]);
  const url = await program.line("listening at ");
  const clients = ["x", "y", "z"].map(() => new ClientSocket());
  for (const [i, client] of clients.entries()) {
    await client.connect(`${url}/lobby/${"xyz"[i]}`);
  }
  const lost = clients.map((client) => client.waitFor("disconnect"));
  assertEquals((await until(told, 4)).length, 4);
  program.kill("SIGKILL");
  await Promise.all(lost);
  const begun = performance.now();
  assertEquals(await until(told, 3), ["-x lobby", "-y lobby", "-z lobby"]);
  assert(performance.now() - begun < 10_000);
}
