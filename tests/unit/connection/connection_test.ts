import "../../../core/features/full.ts";
import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { ConnectionEndedError } from "../../../core/events/errors.ts";
import type { Side } from "../../../core/runtime/websocket.ts";
import {
  createFixture,
  createPair,
  FakeOwner,
  type Fixture,
} from "../../support/fake_socket.ts";

const ROLES: readonly Side[] = ["server", "client"];
const MIB = 1024 * 1024;

/** All microtasks that are due, and those that they bring about. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

/** Runs a test with either side as the one that acts. */
function both(
  name: string,
  run: (self: Fixture, peer: Fixture, time: FakeTime) => Promise<void> | void,
): void {
  for (const side of ROLES) {
    Deno.test(`Connection on a ${side} ${name}`, async () => {
      using time = new FakeTime();
      const [self, peer] = createPair(side);
      await time.tickAsync(0); // nobody is expected to begin to listen any more
      await run(self, peer, time);
    });
  }
}

both(
  "sends text, JSON and bytes, and the peer gets them",
  async (self, peer) => {
    const seen: unknown[] = [];
    peer.connection.on("message", (message) => seen.push(message.data));
    await self.connection.send("");
    await self.connection.send({});
    await self.connection.send([1, "2"]);
    await self.connection.send("text");
    await self.connection.send(new Uint8Array([1, 2]));
    assertEquals(seen, ["", {}, [1, "2"], "text", new Uint8Array([1, 2])]);
    assertStrictEquals(self.socket.binaryType, "arraybuffer");
    assertEquals(peer.owner.events.length, 6);
  },
);

both("counts what it carries", async (self, peer) => {
  assertEquals(self.connection.traffic, {
    received: { messages: 0, bytes: 0 },
    sent: { messages: 0, bytes: 0 },
  });
  await self.connection.send("text");
  await self.connection.send({ a: 1 });
  await self.connection.send(new Uint8Array(100));
  await peer.connection.send("");
  const sent = { messages: 3, bytes: 4 + 7 + 100 };
  const received = { messages: 1, bytes: 0 };
  assertEquals(self.connection.traffic, { received, sent });
  assertEquals(peer.connection.traffic, { received: sent, sent: received });
  await self.connection.close();
  assertEquals(self.connection.traffic, { received, sent });
});

both("throws on what cannot be sent, and sends nothing", (self) => {
  const send: (data: string) => Promise<void> = (data) =>
    self.connection.send(data);
  for (const data of [undefined, () => {}, 1n, Symbol("s")]) {
    assertThrows(() => Reflect.apply(send, undefined, [data]), TypeError);
  }
  assertEquals(self.socket.sent, []);
});

both(
  "closes on both sides with the same code and reason",
  async (self, peer) => {
    const ends: unknown[] = [];
    self.connection.on("close", (...args) => ends.push(args));
    peer.connection.on("close", (...args) => ends.push(args));
    const closing = self.connection.close(4001, "bye");
    assertStrictEquals(self.connection.readyState, 2);
    await closing;
    assertStrictEquals(self.connection.readyState, 3);
    assertStrictEquals(self.driver.stops, 1); // nothing is left under way
    assertEquals(ends, [[4001, "bye", "peer"], [4001, "bye", "local"]]);
    assertEquals(self.owner.events, ["connect", "close"]);
    assertEquals(peer.owner.events, ["connect", "close"]);
  },
);

both("closes with 1000 by default, and once", async (self) => {
  await Promise.all([
    self.connection.close(),
    self.connection.close(4000),
    self.connection.close(),
  ]);
  await self.connection.close();
  assertEquals(self.socket.closes, [[1000, ""]]);
  assertEquals(self.owner.ends.length, 1);
  assertEquals(self.owner.ends[0]?.code, 1000);
});

both("refuses codes and reasons that may not be sent", async (self) => {
  const { side } = self.driver;
  const common = [
    0,
    999,
    1004,
    1005,
    1006,
    1014,
    1015,
    2999,
    5000,
    1000.5,
    NaN,
  ];
  const serverOnly = [1001, 1002, 1003, 1007, 1011, 1012, 1013];
  for (const code of side === "client" ? [...common, ...serverOnly] : common) {
    assertThrows(
      () => self.connection.close(code),
      RangeError,
      `Cannot close with code ${code}: a ${side} may send 1000`,
    );
  }
  assertThrows(
    () => self.connection.close(1000, "\u00e9".repeat(62)),
    RangeError,
    "Cannot close with a reason of 124 bytes",
  );
  assertThrows(
    () => Reflect.apply(self.connection.close, self.connection, [1000, 5]),
    TypeError,
    "Cannot close with a reason that is not a string",
  );
  assertStrictEquals(self.connection.readyState, 1);
  await self.connection.close(4999, "\u00e9".repeat(61) + "x");
  assertEquals(self.owner.ends[0]?.type, "close");
});

for (const code of [1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013]) {
  Deno.test(`Connection on a server closes with ${code}`, async () => {
    const [self, peer] = createPair("server");
    await self.connection.close(code, "why");
    assertEquals(peer.owner.ends, [
      { type: "close", code, reason: "why", cause: "peer" },
    ]);
  });
}

both("drops messages as soon as it is closing", async (self, peer) => {
  const seen: unknown[] = [];
  self.connection.on("message", ({ data }) => {
    seen.push(data);
    self.connection.close();
  });
  peer.connection.send("first");
  peer.connection.send("second");
  await settle();
  assertEquals(seen, ["first"]);
  assertEquals(self.owner.events, ["connect", "first", "close"]);
});

both("rejects sends while it closes and after the end", async (self) => {
  const closing = self.connection.close(4000, "bye");
  const early = await assertRejects(
    () => self.connection.send("x"),
    ConnectionEndedError,
    "Cannot send to localhost:80 as the connection is closing",
  );
  assertStrictEquals(early.end, undefined);
  await closing;
  const late = await assertRejects(
    () => self.connection.send("x"),
    ConnectionEndedError,
    'has ended: close with code 4000 and reason "bye"',
  );
  assertStrictEquals(late.end?.code, 4000);
  self.connection.send("nobody awaits this"); // and it is no unhandled rejection
});

both("ends a lost connection with one disconnect", async (self) => {
  const ends: unknown[] = [];
  self.connection.on("close", () => ends.push("close"));
  self.connection.on("disconnect", (...args) => ends.push(args));
  self.socket.fail("Unexpected EOF");
  self.socket.end(false, 0);
  self.socket.end(true, 1005);
  await settle();
  assertEquals(ends, [[1006, "", "network"]]);
  assertEquals(self.owner.events, ["connect", "disconnect"]);
  assertStrictEquals(self.connection.bufferedAmount, 0);
});

both("gives a silent peer closeTimeout to answer", async (self, peer, time) => {
  peer.socket.answers = false;
  const closing = self.connection.close(4000, "bye");
  await time.tickAsync(9_999);
  assertEquals(self.owner.ends, []);
  await time.tickAsync(1);
  await closing;
  assertEquals(self.owner.ends, [
    { type: "disconnect", code: 1006, reason: "", cause: "timeout" },
  ]);
  assertEquals(self.socket.closes.at(-1), [undefined, undefined]);
});

both("terminates at once, and hears nothing more", async (self, peer) => {
  const seen: unknown[] = [];
  self.connection.on("message", ({ data }) => seen.push(data));
  self.connection.on("disconnect", (code) => seen.push(code));
  peer.connection.send("on its way");
  self.connection.terminate();
  assertEquals(seen, [1006]);
  assertStrictEquals(self.connection.readyState, 3);
  assertStrictEquals(self.socket.listeners, 0);
  self.connection.terminate();
  await settle();
  self.socket.end(true, 1000);
  assertEquals(seen, [1006]);
  assertEquals(self.socket.closes.at(-1), [undefined, undefined]);
  assertEquals(self.owner.ends, [
    { type: "disconnect", code: 1006, reason: "", cause: "local" },
  ]);
});

both("lets terminate cut a close short", async (self, peer) => {
  peer.socket.answers = false;
  const closing = self.connection.close();
  self.connection.terminate();
  await closing;
  assertEquals(self.owner.ends[0]?.cause, "local");
});

both("sends a Blob in order, and before a close", async (self, peer) => {
  const { connection } = self;
  const changing = new Uint8Array([3]);
  const sends = [
    connection.send("1"),
    connection.send(new Blob(["2"])),
    connection.send(changing),
    connection.send("4"),
    connection.send(changing.buffer),
    connection.close(4000, "5"),
  ];
  changing[0] = 9; // what was given to send is as good as sent
  await Promise.all(sends);
  assertEquals(self.socket.sent, [
    "1",
    new TextEncoder().encode("2").buffer,
    new Uint8Array([3]).buffer,
    "4",
    new Uint8Array([3]).buffer,
  ]);
  assertEquals(peer.owner.events, [
    "connect",
    "1",
    "2",
    "\u0003",
    "4",
    "\u0003",
    "close",
  ]);
});

both("sends directly again when a Blob has gone out", async (self) => {
  await self.connection.send(new Blob(["1"]));
  await settle();
  self.connection.send("2");
  assertEquals(self.socket.sent.length, 2);
});

both(
  "rejects a Blob whose connection ends before it has left",
  async (self) => {
    const sending = self.connection.send(new Blob(["1"]));
    self.connection.close();
    self.connection.terminate();
    await assertRejects(() => sending, ConnectionEndedError);
    await settle();
    assertEquals(self.socket.sent, []);
    assertEquals(self.socket.closes, [[undefined, undefined]]); // terminate
  },
);

both("rejects a send that its socket would not take any more", async (self) => {
  self.socket.readyState = 3; // the runtime has the end, but has not told yet
  await assertRejects(
    () => self.connection.send("x"),
    ConnectionEndedError,
    "as the connection is closing",
  );
  const late = self.connection.send(new Blob(["x"]));
  await assertRejects(() => late, ConnectionEndedError);
  self.connection.close(4000);
  self.socket.end(true, 4001);
  assertEquals([self.socket.sent, self.socket.closes], [[], []]);
  assertEquals(self.owner.ends, [
    { type: "close", code: 4001, reason: "", cause: "peer" },
  ]);
});

both("ends once even if a listener of the end ends it", async (self, peer) => {
  for (const how of ["close", "terminate"] as const) {
    const [one] = createPair(self.driver.side);
    const seen: string[] = [];
    const { ended } = one.owner;
    one.owner.ended = (connection, end) => {
      connection[how]();
      seen.push("owner");
      ended.call(one.owner, connection, end);
    };
    one.connection.on("close", () => {
      one.connection[how]();
      seen.push("own");
    });
    one.socket.receive("unheard");
    await one.connection.close();
    assertEquals(seen, ["owner", "own"]);
  }
  await peer.connection.close();
});

both("rejects a waiting send when the connection ends", async (self) => {
  self.socket.bufferedAmount = MIB + 1;
  const sending = self.connection.send(new Uint8Array(MIB + 1));
  self.socket.end(false, 0);
  const error = await assertRejects(() => sending, ConnectionEndedError);
  assertStrictEquals(error.end?.code, 1006);
});

both("stops all that waits for it when it has ended", async (self) => {
  const { connection } = self;
  const message = connection.waitFor("message");
  const end = connection.waitFor("close");
  const all = connection.collect("message");
  await connection.close(4000);
  assertEquals(await end, [4000, "", "local"]);
  assertEquals(await all, []);
  const error = await assertRejects(() => message, ConnectionEndedError);
  assertStrictEquals(error.end?.code, 4000);
  await assertRejects(
    () => connection.waitFor("message"),
    ConnectionEndedError,
  );
});

both(
  "tells errors of its listeners here, or at its owner's",
  async (self, peer) => {
    const errors: unknown[] = [];
    self.connection.on("message", ({ data }) => {
      throw data;
    });
    await peer.connection.send("first");
    await settle();
    assertEquals(self.owner.errors, ["first"]);
    self.connection.on("error", (...args) => errors.push(args));
    await peer.connection.send("second");
    await settle();
    assertEquals(self.owner.errors, ["first"]);
    assertEquals(errors, [["second", "message", self.connection]]);
  },
);

both("dispatches events with the same values", async (self, peer) => {
  const seen: unknown[] = [];
  self.connection.addEventListener("message", (event) => {
    seen.push(event.message.content);
  });
  self.connection.addEventListener("close", (event) => {
    seen.push([event.code, event.reason, event.cause, event.wasClean]);
  });
  await peer.connection.send("text");
  await settle();
  await peer.connection.close(4000, "bye");
  assertEquals(seen, ["text", [4000, "bye", "peer", true]]);
});

both("knows who and when it is", (self, peer) => {
  const { connection } = self;
  assertMatch(connection.id, /^[0-9a-f]{32}$/);
  assertStrictEquals(connection.id, connection.id);
  assertNotEquals(connection.id, peer.connection.id);
  assertStrictEquals(connection.url, "ws://localhost/path?query");
  assertStrictEquals(connection.path, "/path");
  assertStrictEquals(connection.remoteAddress, "localhost:80");
  assert(connection.connectedAt.getTime() <= Date.now());
  assertMatch(Deno.inspect(connection), /^Connection \{[^]*localhost:80/);
});

Deno.test("Connection.protocol returns the negotiated subprotocol", () => {
  const spoken = { protocol: "a", isEvents: true };
  const { connection } = createFixture("server", { negotiated: spoken });
  assertStrictEquals(connection.protocol, "a");
  assertStrictEquals(connection.speaksEvents, true);
  for (
    const [picked, protocol, isEvents] of [
      ["b", "b", false],
      ["", "", false],
      ["events.v1", "", true],
      ["events.v1+b", "b", true],
    ] as const
  ) {
    const { connection: other, socket } = createFixture("client");
    socket.protocol = picked;
    assertStrictEquals(other.protocol, "");
    socket.open();
    assertStrictEquals(other.protocol, protocol);
    assertStrictEquals(other.speaksEvents, isEvents);
    other.terminate();
  }
});

Deno.test("Connection emits nothing if it could not be opened", async () => {
  const { connection, socket, owner } = createFixture("client");
  assertStrictEquals(connection.readyState, 0);
  await assertRejects(
    () => connection.send("x"),
    ConnectionEndedError,
    "as the connection is connecting",
  );
  socket.fail("refused");
  socket.end(false, 0);
  assertEquals(owner.events, ["refused"]);
  assertStrictEquals(owner.failure, "refused");
  assertStrictEquals(connection.readyState, 3);
});

Deno.test("Connection emits nothing if its upgrade fails", () => {
  const { socket, owner } = createFixture("server");
  socket.fail("upgrade failed");
  assertEquals(owner.events, ["refused"]);
});

Deno.test("Connection.close() cancels connecting", async () => {
  const { connection, socket, owner } = createFixture("client");
  const closing = connection.close();
  assertEquals(socket.closes.length, 1);
  socket.end(false, 0);
  await closing;
  assertEquals(owner.events, ["refused"]);
});

Deno.test("Connection.terminate() emits nothing before the connection is open", () => {
  const { connection, socket, owner } = createFixture("server");
  connection.terminate();
  socket.open();
  assertEquals(owner.events, ["refused"]);
  assertEquals(socket.closes.length, 2); // at once, and when it is open
});

Deno.test("Connection reports the server's code if both sides close at once", async () => {
  const [server, client] = createPair("server", {
    negotiated: { protocol: "", isEvents: true },
  });
  await Promise.all([
    server.connection.close(4000, "server"),
    client.connection.close(4001, "client"),
  ]);
  assertEquals(server.owner.ends, [
    { type: "close", code: 4000, reason: "server", cause: "local" },
  ]);
  assertEquals(client.owner.ends, [
    { type: "close", code: 4000, reason: "server", cause: "peer" },
  ]);
});

/** A server's connection whose `connect` listener is busy until `ready`. */
function opening() {
  const { promise, resolve } = Promise.withResolvers<void>();
  const self = createFixture("server");
  self.owner.pending = [promise];
  const seen: string[] = [];
  return { ...self, seen, ready: resolve };
}

Deno.test("Connection holds messages for a connect listener that awaits first", async () => {
  using time = new FakeTime();
  const { connection, socket, owner, seen, ready } = opening();
  socket.open();
  socket.receive("1");
  socket.receive("2");
  assertEquals(owner.events, ["connect", "1", "2"]); // the server does not wait
  await time.tickAsync(1_000);
  connection.on("message", ({ content }) => seen.push(content));
  socket.receive("3"); // must not overtake those that wait
  assertEquals(seen, []); // nor is a listener called while it is being added
  await settle();
  socket.receive("4");
  ready();
  await time.tickAsync(0);
  socket.receive("5");
  assertEquals(seen, ["1", "2", "3", "4", "5"]);
  assertEquals(owner.events, ["connect", "1", "2", "3", "4", "5"]);
});

Deno.test("Connection holds messages between calls of waitFor()", async () => {
  using time = new FakeTime();
  const { connection, socket, ready } = opening();
  socket.open();
  for (const text of ["1", "2", "3"]) socket.receive(text);
  const [first] = await connection.waitFor("message");
  const [second] = await connection.waitFor("message");
  assertEquals([first.content, second.content], ["1", "2"]);
  const events = connection.events("message");
  assertStrictEquals((await events.next()).value?.[0].content, "3");
  ready();
  await time.tickAsync(0);
  await events.return?.();
});

Deno.test("Connection stops holding messages when connect listeners have finished", async () => {
  using time = new FakeTime();
  const { connection, socket, seen, ready } = opening();
  socket.open();
  socket.receive("1");
  ready();
  await time.tickAsync(0);
  connection.on("message", ({ content }) => seen.push(content));
  await settle();
  socket.receive("2");
  assertEquals(seen, ["2"]);
});

Deno.test("Connection reports the number of early messages that were dropped", async () => {
  using _time = new FakeTime();
  const { connection, socket, owner, seen } = opening();
  socket.open();
  for (let i = 0; i < 300; i++) socket.receive(`${i}`);
  assertEquals(owner.events.length, 301);
  connection.on("message", ({ content }) => seen.push(content));
  await settle();
  socket.receive("last");
  assertEquals(seen, ["last"]);
  assertMatch(String(owner.errors), /first 300 messages/);
});

Deno.test("Connection emits its end after earlier messages", async () => {
  using time = new FakeTime();
  const { connection, socket, owner, seen } = opening();
  socket.open();
  socket.receive("1");
  socket.end(true, 1000);
  assertEquals(owner.events, ["connect", "1", "close"]); // the server does not wait
  await time.tickAsync(5_000);
  assertStrictEquals(connection.readyState, 3);
  connection.on("message", ({ content }) => seen.push(content));
  connection.on("close", () => seen.push("close"));
  await settle();
  assertEquals(seen, ["1", "close"]);
  assertEquals(owner.events, ["connect", "1", "close"]);
});

Deno.test("Connection emits its end after connect listeners, within a timeout", async () => {
  using time = new FakeTime();
  for (const isPatient of [true, false]) {
    const { connection, socket, owner, ready } = opening();
    let isStopped = false;
    connection.waitFor("error").catch(() => isStopped = true);
    socket.open();
    socket.receive("1");
    socket.end(false, 0);
    await time.tickAsync(9_000);
    assertEquals([isStopped, owner.isLingering], [false, true]);
    if (isPatient) ready();
    await time.tickAsync(999);
    assertStrictEquals(isStopped, isPatient);
    await time.tickAsync(1);
    assertEquals([isStopped, owner.isLingering], [true, false]);
    ready();
    await time.tickAsync(0);
  }
});

Deno.test("Connection drops messages after its owner closes it", () => {
  using _time = new FakeTime();
  const { connection, socket, owner } = opening();
  owner.received = () => connection.close(4000);
  socket.open();
  socket.receive("1");
  socket.end(true, 4000);
  assertEquals([owner.ends.length, owner.isLingering], [1, false]);
});

Deno.test("Connection on a server emits its end immediately without pending listeners", async () => {
  using _time = new FakeTime();
  const { connection, socket, owner } = createFixture("server");
  const end = connection.waitFor("close");
  const message = connection.waitFor("error");
  socket.open();
  socket.receive("1");
  socket.end(true, 4000);
  assertEquals(await end, [4000, "", "peer"]);
  await assertRejects(() => message, ConnectionEndedError);
  assertStrictEquals(owner.isLingering, false);
});

Deno.test("Connection on a client emits its end a turn after connect() resolves", async () => {
  using time = new FakeTime();
  for (const comes of [true, false]) {
    const owner = new FakeOwner(false);
    const { socket } = createFixture("client", {}, owner);
    socket.open();
    socket.receive("1");
    socket.end(true, 4000);
    assertEquals(owner.events, ["connect"]);
    if (comes) {
      owner.listens = true;
      owner.flush();
    }
    await time.tickAsync(0);
    assertEquals(
      owner.events,
      comes ? ["connect", "1", "close"] : ["connect", "close"],
    );
  }
});

Deno.test("Connection.close() ends the wait for listeners", async () => {
  using time = new FakeTime();
  for (const how of ["close", "terminate"] as const) {
    const { connection, socket, owner } = opening();
    socket.open();
    socket.receive("1");
    socket.end(true, 4000);
    assertStrictEquals(owner.isLingering, true);
    await connection[how]();
    assertStrictEquals(owner.isLingering, false);
  }
  await time.tickAsync(0);
});

Deno.test("Connection emits its end to a connect listener that waits for it", async () => {
  using _time = new FakeTime();
  const { connection, socket } = opening();
  socket.open();
  const closed = connection.waitFor("close");
  socket.receive("1");
  socket.end(true, 4000);
  assertEquals(await closed, [4000, "", "peer"]);

  const owner = new FakeOwner(false);
  owner.pending = [new Promise(() => {})];
  owner.awaitsEnd = true;
  const client = createFixture("client", {}, owner);
  client.socket.open();
  client.socket.receive("1");
  client.socket.end(true, 4000);
  assertEquals(owner.events, ["connect", "close"]);
});

Deno.test("Connection emits its end immediately without held messages", () => {
  const { socket, owner } = opening();
  socket.open();
  socket.end(true, 1000);
  assertEquals(owner.events, ["connect", "close"]);
});

Deno.test("Connection drops held messages if this side ends it", async () => {
  using _time = new FakeTime();
  for (const how of ["close", "terminate"] as const) {
    const { connection, socket, owner, seen } = opening();
    socket.open();
    socket.receive("1");
    connection[how]();
    connection.on("message", ({ content }) => seen.push(content));
    socket.end(true, 1000);
    await settle();
    assertEquals(seen, []);
    assertEquals(owner.ends.length, 1);
  }
});

Deno.test("Connection emits no messages after a listener has ended it", async () => {
  using _time = new FakeTime();
  for (const how of ["close", "terminate"] as const) {
    const { connection, socket, owner, seen } = opening();
    socket.open();
    socket.receive("1");
    socket.receive("2");
    connection.on("message", ({ content }) => {
      seen.push(content);
      connection[how]();
    });
    await settle();
    socket.end(true, 1000);
    assertEquals(seen, ["1"]);
    assertEquals(owner.ends.length, 1);
  }
});

both("tells all of a message before the end that came amid it", (self) => {
  const seen: unknown[] = [];
  const { connection, owner } = self;
  owner.received = () => connection.terminate();
  connection.on("message", ({ content }) => seen.push(content));
  connection.on("message", () => seen.push(connection.readyState));
  connection.on("disconnect", () => seen.push("disconnect"));
  self.socket.receive("1");
  self.socket.receive("2");
  assertEquals(seen, ["1", 3, "disconnect"]);
  assertEquals(owner.ends.length, 1);
});

both("resolves close() after the end was emitted", async (self) => {
  self.connection.terminate();
  await self.connection.close();
  self.connection.terminate();
  assertEquals(self.owner.ends.length, 1);
});

both(
  "waits for ever if closeTimeout is infinite",
  async (_self, _peer, time) => {
    const { connection, socket, owner } = createFixture("server", {
      options: { closeTimeout: Infinity },
    });
    socket.open();
    const closing = connection.close();
    await time.tickAsync(1_000_000_000);
    assertEquals(owner.ends, []);
    socket.end(true, 1000);
    await closing;
  },
);

both("resolves a waiting send when the handshake is finished", async (self) => {
  self.socket.bufferedAmount = MIB + 1;
  let isDone = false;
  const sending = self.connection.send(new Uint8Array(MIB + 1)).then(() =>
    isDone = true
  );
  const closing = self.connection.close();
  await Promise.resolve();
  assertStrictEquals(isDone, false);
  await closing;
  await sending;
});

Deno.test("Connection on a client holds messages until there is a listener", async () => {
  using time = new FakeTime();
  const owner = new FakeOwner(false);
  const { socket, connection } = createFixture("client", {}, owner);
  socket.open();
  socket.receive("1");
  socket.receive("2");
  owner.listens = true;
  owner.flush();
  await settle();
  assertEquals(owner.events, ["connect", "1", "2"]);
  await time.tickAsync(0);
  owner.listens = false;
  const seen: string[] = [];
  connection.on("message", ({ content }) => seen.push(content));
  socket.receive("3");
  assertEquals(seen, ["3"]);
});

Deno.test("Connection on a client drops held messages a turn after connect", async () => {
  using time = new FakeTime();
  const owner = new FakeOwner(false);
  const { socket } = createFixture("client", {}, owner);
  socket.open();
  socket.receive("1");
  await time.tickAsync(0);
  owner.listens = true;
  owner.flush();
  await settle();
  assertEquals(owner.events, ["connect"]);
});
