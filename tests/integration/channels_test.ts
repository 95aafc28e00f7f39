/** Channels: joining, refusals, messages, and what happens when a connection is lost. */

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
import {
  type Channel,
  channel,
  channels,
  type ChannelsOptions,
  type ServerChannels,
} from "../../channels.ts";
import { coreOf } from "../../core/connection/connection.ts";
import { decode, encode } from "@msgpack/msgpack";
import { broadcastChannel } from "../../adapters/broadcast_channel.ts";
import { MemoryNetwork } from "../../testing.ts";

/** A server with channels in an in-memory network, and one client. */
class Live implements AsyncDisposable {
  readonly server: ServerSocket;
  readonly live: ServerChannels;
  readonly network: MemoryNetwork;
  readonly client = new ClientSocket({
    reconnect: { initialDelay: 1, maxDelay: 1 },
  });

  constructor(
    options: ServerOptions = {},
    channelOptions: ChannelsOptions = {},
  ) {
    this.server = new ServerSocket(options);
    this.live = channels(this.server, channelOptions);
    this.network = new MemoryNetwork(this.server);
  }

  async connect(): Promise<void> {
    await this.client.connect(this.network.url);
  }

  /** The connection of the only client. */
  get connection(): Connection {
    const [connection] = this.server.clients;
    assert(connection);
    return connection;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
    await this.server.close();
    await this.network[Symbol.asyncDispose]();
  }
}

const open = { join: () => true };

/** Writes down what a channel emits. */
function record(channel: Channel): unknown[] {
  const heard: unknown[] = [];
  channel.on("open", (snapshot, isRejoin) => {
    heard.push(isRejoin ? ["open again", snapshot] : ["open", snapshot]);
  });
  channel.on("message", ({ data }) => heard.push(data));
  channel.on("recovery", (recovered) => heard.push(["recovery", recovered]));
  channel.on("close", (code) => heard.push(["close", code]));
  return heard;
}

Deno.test("channel() joins with data, and gets a snapshot and messages", async () => {
  await using at = new Live();
  const orders = at.live.channel("orders/:id", {
    join: ({ client, name, params, data }) => {
      assert(at.server.clients.has(client));
      assertEquals(name, "orders/a%2Fb");
      return data === "token" && { id: params.id };
    },
    snapshot: ({ params, context }) => ({ ...params, context }),
  });
  const received = orders.waitFor("message");
  const order = channel(at.client, "orders/a%2Fb", () => "token");
  assertEquals(order.state, "waiting");
  const heard = record(order);
  const sent = order.send({ type: "early" });
  await at.connect();
  assertEquals(await order.joined, { id: "a/b", context: { id: "a/b" } });
  await sent;
  const [message] = await deadline(received, 5_000);
  assertEquals(message.data, { type: "early" });
  assertEquals(message.author.params, { id: "a/b" });
  assertEquals(message.author.context, { id: "a/b" });

  const second = order.waitFor("message:second");
  const third = order.collect("message", { limit: 3 });
  at.server.to("orders/a%2Fb").send("first");
  message.author.send({ type: "second" });
  message.reply("third");
  await second;
  await third;
  assertEquals(heard, [
    ["open", { id: "a/b", context: { id: "a/b" } }],
    "first",
    { type: "second" },
    "third",
  ]);
  assertEquals(order.state, "open");
  assertEquals([...at.connection.rooms], ["orders/a%2Fb"]);
});

Deno.test("channels on one connection do not mix, in binary and text", async () => {
  await using at = new Live();
  at.live.channel("rooms/:id", open);
  await at.connect();
  const plain: unknown[] = [];
  at.client.on("message", ({ data }) => plain.push(data));
  const all = Array.from({ length: 20 }, (_, i) => {
    return channel(at.client, `rooms/${i}`);
  });
  const heard = all.map((one) => record(one));
  await Promise.all(all.map(({ joined }) => joined));
  for (let i = 0; i < 20; i++) {
    at.server.to(`rooms/${i}`).send({ i });
    at.server.to(`rooms/${i}`).send(new Uint8Array([0xc1, i]));
    at.server.to(`rooms/${i}`).send("\u0001?1,not a request");
    at.server.to(`rooms/${i}`).send(new Blob([new Uint8Array([i])]));
  }
  const last = at.client.waitFor("message");
  at.server.broadcast("to all");
  await last;
  for (const [i, one] of heard.entries()) {
    while (one.length < 5) await all[i]?.waitFor("message");
    assertEquals(one.slice(1), [
      { i },
      new Uint8Array([0xc1, i]),
      "\u0001?1,not a request",
      new Uint8Array([i]),
    ]);
  }
  assertEquals(plain, ["to all"]);
});

Deno.test("server.to() sends once to a client that is in several of the rooms", async () => {
  await using at = new Live();
  at.live.channel("rooms/:id", open);
  at.server.on("connect", (client) => client.join("plain"));
  await at.connect();
  const first = channel(at.client, "rooms/1");
  const second = channel(at.client, "rooms/2");
  await Promise.all([first.joined, second.joined]);
  const heard = [record(first), record(second)];
  at.server.to("plain", "rooms/2", "rooms/1").send("once");
  await second.waitFor("message");
  const other = at.client.waitFor("message");
  at.server.to("plain").send("plain");
  await other;
  assertEquals(heard, [[], ["once"]]);
});

Deno.test("a message that arrives with the answer waits for a listener", async () => {
  await using at = new Live();
  const rooms = at.live.channel("room", open);
  rooms.on("join", (member) => {
    member.send("during");
    queueMicrotask(() => member.send("after"));
  });
  await at.connect();
  const room = channel(at.client, "room");
  await room.joined;
  const heard = record(room);
  while (heard.length < 2) await room.waitFor("message");
  assertEquals(heard, ["during", "after"]);
});

Deno.test("messages during an asynchronous snapshot follow it", async () => {
  await using at = new Live();
  const gate = Promise.withResolvers<string>();
  const entered = Promise.withResolvers<void>();
  at.live.channel("room", {
    join: () => Promise.resolve(true),
    snapshot: () => {
      entered.resolve();
      return gate.promise;
    },
  });
  await at.connect();
  const room = channel(at.client, "room");
  const heard = record(room);
  await entered.promise;
  at.server.to("room").send("meanwhile");
  gate.resolve("snapshot");
  await room.waitFor("message");
  assertEquals(heard, [["open", "snapshot"], "meanwhile"]);
});

Deno.test("Channel.request() is answered by a handler, a listener or a refusal", async () => {
  await using at = new Live();
  const rooms = at.live.channel("rooms/:id", open);
  const room = channel<{ reply: unknown }>(at.client, "rooms/7");
  const early = room.request({ type: "sum", numbers: [1, 2] });
  await at.connect();
  const codeOf = async (reply: Promise<unknown>) =>
    (await assertRejects(() => reply, RequestError)).code;
  assertEquals(await codeOf(early), "unhandled");
  rooms.handle("sum", async ({ author }) => {
    await Promise.resolve();
    return { sum: 3, id: author.params.id };
  });
  assertEquals(await room.request({ type: "sum" }), { sum: 3, id: "7" });
  assertEquals(await codeOf(room.request({ type: "x" })), "unhandled");
  rooms.handle(({ data }) => {
    throw new RequestError(String(data), "mine");
  });
  const error = await assertRejects(() => room.request("why"), RequestError);
  assertEquals([error.message, error.code], ["why", "mine"]);
});

Deno.test("Channel.request() times out while the channel is not open", async () => {
  const client = new ClientSocket({ reconnect: true });
  const room = channel(client, "room");
  const error = await assertRejects(
    () => room.request("?", { timeout: 1 }),
    DOMException,
  );
  assertEquals(error.name, "TimeoutError");
  await client.close();
});

Deno.test("ServerChannelOptions.join admits only on a truthy value", async () => {
  await using at = new Live();
  const errors: unknown[] = [];
  at.server.on("error", (error) => errors.push(error));
  const results: Record<string, () => unknown> = {
    true: () => true,
    later: () => Promise.resolve({}),
    false: () => false,
    nothing: () => {},
    null: () => Promise.resolve(null),
    response: () => new Response(null, { status: 401 }),
    error: () => new Error("returned"),
    function: () => () => true,
    thrown: () => {
      throw new Error("secret");
    },
    rejected: () => Promise.reject(new Error("secret")),
    refused: () => Promise.reject(new RequestError("No", "mine")),
    "no code": () => Promise.reject(new RequestError("No")),
  };
  at.live.channel("try/:how", {
    join: ({ params }) => results[params.how]?.(),
  });
  await at.connect();
  const codes: Record<string, string> = {};
  for (const how of Object.keys(results)) {
    const one = channel(at.client, `try/${encodeURIComponent(how)}`);
    codes[how] = await one.joined.then(
      () => "in",
      (error) => `${error.code}: ${error.message}`,
    );
  }
  const forbidden = "forbidden: Not authorized";
  const internal = "internal: The request has failed";
  assertEquals(codes, {
    true: "in",
    later: "in",
    false: forbidden,
    nothing: forbidden,
    null: forbidden,
    response: forbidden,
    error: internal,
    function: internal,
    thrown: internal,
    rejected: internal,
    refused: "mine: No",
    "no code": "refused: No",
  });
  assertEquals(errors.length, 4);
  assertEquals([...at.connection.rooms], ["try/true", "try/later"]);
});

Deno.test("a channel is refused with a reason, and emits close once", async () => {
  await using at = new Live({}, { maxPerClient: 2 });
  at.live.channel("room/:id", open);
  at.live.channel("broken", {
    join: () => true,
    snapshot: () => {
      throw new RequestError("No snapshot", "broken");
    },
  });
  await at.connect();
  const reasons: unknown[] = [];
  for (
    const name of ["other", "room/%61", "room/a b", "x".repeat(1_025), "broken"]
  ) {
    const one = channel(at.client, name);
    const heard = record(one);
    const error = await assertRejects(() => one.joined, RequestError);
    assertEquals(heard, [["close", error.code]]);
    assertEquals(one.state, "closed");
    reasons.push(error.code);
  }
  assertEquals(reasons, ["unknown", "unknown", "unknown", "invalid", "broken"]);
  assertEquals(at.connection.rooms.size, 0);
  const all = ["1", "2", "3"].map((id) => channel(at.client, `room/${id}`));
  const results = await Promise.allSettled(all.map(({ joined }) => joined));
  assertEquals(results.map(({ status }) => status), [
    "fulfilled",
    "fulfilled",
    "rejected",
  ]);
  all[0]?.leave();
  await channel(at.client, "room/3").joined;
});

Deno.test("channel() refuses to join twice until the first one has left", async () => {
  await using at = new Live();
  const rooms = at.live.channel("room", open);
  const order: string[] = [];
  rooms.on("join", () => order.push("join"));
  rooms.on("leave", () => order.push("leave"));
  await at.connect();
  const first = channel(at.client, "room");
  const heard = record(first);
  assertThrows(() => channel(at.client, "room"), Error, "twice");
  await first.joined;
  first.leave();
  first.leave();
  const second = channel(at.client, "room");
  await second.joined;
  assertEquals(heard, [["open", null], ["close", "left"]]);
  assertEquals(order, ["join", "leave", "join"]);
  await assertRejects(() => first.send("late"), ConnectionEndedError);
  await assertRejects(() => first.request("late"), ConnectionEndedError);
  await assertRejects(() => first.waitFor("message"), ConnectionEndedError);
});

Deno.test("Channel.leave() while joining takes the client out", async () => {
  await using at = new Live();
  const gate = Promise.withResolvers<boolean>();
  const asked = Promise.withResolvers<void>();
  let asks = 0;
  const rooms = at.live.channel("room", {
    join: () => {
      asked.resolve();
      return ++asks === 1 ? gate.promise : true;
    },
  });
  const joins: unknown[] = [];
  rooms.on("join", (member) => joins.push(member));
  await at.connect();
  const room = channel(at.client, "room");
  const heard = record(room);
  await asked.promise;
  room.leave();
  const again = channel(at.client, "room");
  await again.joined;
  gate.resolve(true);
  again.leave();
  await rooms.waitFor("leave");
  assertEquals(heard, [["close", "left"]]);
  assertEquals(joins.length, 1);
  assertEquals(at.connection.rooms.size, 0);
  const error = await assertRejects(() => room.joined, RequestError);
  assertEquals(error.code, "left");
});

Deno.test("ChannelMember.remove() and Connection.leave() close the channel", async () => {
  await using at = new Live();
  const rooms = at.live.channel("rooms/:id", open);
  const left: string[] = [];
  rooms.on("leave", ({ name }) => left.push(name));
  rooms.on("message", ({ author }) => {
    author.send("last");
    author.remove("banned", "Too loud");
    author.remove();
  });
  await at.connect();
  const room = channel(at.client, "rooms/1");
  const other = channel(at.client, "rooms/2");
  const heard = [record(room), record(other)];
  await Promise.all([room.joined, other.joined]);
  room.send("noise");
  const closed = other.waitFor("close");
  assertEquals(await room.waitFor("close"), ["banned", "Too loud"]);
  at.connection.leave("rooms/2");
  assertEquals((await closed)[0], "removed");
  assertEquals(heard, [
    [["open", null], "last", ["close", "banned"]],
    [["open", null], ["close", "removed"]],
  ]);
  assertEquals(left, ["rooms/1", "rooms/2"]);
  at.network.link.cut();
  await at.client.waitFor("connect");
  assertEquals(at.connection.rooms.size, 0, "it does not join again");
});

Deno.test("a client that is removed as it joins is told why", async () => {
  await using at = new Live();
  const rooms = at.live.channel("room", {
    join: () => true,
    snapshot: (member) => member.remove("full", "There is no room"),
  });
  rooms.on("join", (member) => member.send("never seen"));
  await at.connect();
  const room = channel(at.client, "room");
  const heard = record(room);
  await room.waitFor("close");
  assertEquals(heard, [["close", "full"]]);
});

Deno.test("a channel joins again with fresh data, and says what is not known", async () => {
  await using at = new Live();
  const seen: unknown[] = [];
  at.live.channel("room", {
    join: ({ data }) => seen.push(data),
    snapshot: () => seen.length,
  });
  let attempt = 0;
  const room = channel(at.client, "room", () => Promise.resolve(++attempt));
  const heard = record(room);
  await at.connect();
  await room.joined;
  for (let i = 2; i < 4; i++) {
    const told = room.waitFor("recovery");
    at.network.link.cut();
    await told;
  }
  assertEquals(seen, [1, 2, 3]);
  assertEquals(heard, [
    ["open", 1],
    ["open again", 2],
    ["recovery", false],
    ["open again", 3],
    ["recovery", false],
  ]);
});

Deno.test("a channel is sent what it missed, from the history", async () => {
  await using at = new Live({ history: true });
  at.live.channel("rooms/:id", open);
  const all = ["1", "2"].map((id) => channel(at.client, `rooms/${id}`));
  const heard = all.map((one) => record(one));
  await at.connect();
  await Promise.all(all.map(({ joined }) => joined));
  at.server.to("rooms/1").send("before");
  await all[0]?.waitFor("message");
  const told = all.map((one) => one.waitFor("recovery"));
  at.connection.terminate();
  for (let i = 0; i < 3; i++) {
    for (const id of [1, 2]) at.server.to(`rooms/${id}`).send({ id, i });
  }
  await Promise.all(told);
  at.server.to("rooms/1").send("after");
  await all[0]?.waitFor("message");
  const missed = (id: number) => [0, 1, 2].map((i) => ({ id, i }));
  assertEquals(heard, [
    [
      ["open", null],
      "before",
      ["open again", null],
      ...missed(1),
      ["recovery", true],
      "after",
    ],
    [["open", null], ["open again", null], ...missed(2), ["recovery", true]],
  ]);
});

Deno.test("a channel that is refused as it joins again does not spoil the others", async () => {
  await using at = new Live({ history: true });
  let isBanned = false;
  at.live.channel("rooms/:id", {
    join: ({ params }) => params.id !== "1" || !isBanned,
  });
  const banned = channel(at.client, "rooms/1");
  const other = channel(at.client, "rooms/2");
  const heard = [record(banned), record(other)];
  await at.connect();
  await Promise.all([banned.joined, other.joined]);
  at.server.to("rooms/2").send("before");
  await other.waitFor("message");
  isBanned = true;
  const told = at.client.waitFor("recovery");
  at.connection.terminate();
  at.server.to("rooms/1").send("secret");
  at.server.to("rooms/2").send("missed");
  assertEquals(await deadline(told, 5_000), [true]);
  assertEquals(heard, [
    [["open", null], ["close", "forbidden"]],
    [
      ["open", null],
      "before",
      ["open again", null],
      "missed",
      ["recovery", true],
    ],
  ]);
});

Deno.test("a channel that was never open is not sent what came before", async () => {
  await using at = new Live({ history: true });
  at.live.channel("room", open);
  const first = channel(at.client, "room");
  await at.connect();
  await first.joined;
  const back = at.client.waitFor("connect");
  at.connection.terminate();
  at.server.to("room").send("before");
  first.leave();
  const second = channel(at.client, "room");
  const heard = record(second);
  await back;
  await second.joined;
  at.server.to("room").send("after");
  await second.waitFor("message");
  assertEquals(heard, [["open", null], "after"]);
});

Deno.test("a connection that is lost while joining is joined again", async () => {
  await using at = new Live();
  let asks = 0;
  const first = Promise.withResolvers<boolean>();
  at.live.channel("room", {
    join: () => {
      if (++asks > 1) return true;
      at.network.link.cut();
      return first.promise;
    },
  });
  const room = channel(at.client, "room");
  const heard = record(room);
  await at.connect();
  await room.joined;
  first.resolve(true);
  assertEquals(asks, 2);
  assertEquals(heard, [["open", null]]);
  assertEquals(at.server.rooms.get("room")?.size, 1);
});

Deno.test("a channel ends with its client", async () => {
  await using at = new Live();
  at.live.channel("room", open);
  const client = new ClientSocket();
  const room = channel(client, "room");
  const heard = record(room);
  await client.connect(at.network.url);
  await room.joined;
  const waiting = assertRejects(
    () => room.waitFor("message"),
    ConnectionEndedError,
  );
  at.connection.terminate();
  await waiting;
  assertEquals(heard, [["open", null], ["close", "ended"]]);
  const late = channel(client, "room");
  assertEquals((await late.waitFor("close"))[0], "ended");
});

Deno.test("a channel joins again on another server", async () => {
  await using at = new Live({ history: true });
  at.live.channel("room", { ...open, snapshot: () => "first" });
  const room = channel(at.client, "room");
  const heard = record(room);
  await at.connect();
  await room.joined;
  await using second = new ServerSocket({ history: true });
  channels(second).channel("room", { ...open, snapshot: () => "second" });
  at.network.server = second;
  const told = room.waitFor("recovery");
  at.connection.terminate();
  await told;
  assertEquals(heard, [
    ["open", "first"],
    ["open again", "second"],
    ["recovery", false],
  ]);
});

Deno.test("channel() says that a plain server has no channels", async () => {
  await using server = new ServerSocket({ plain: true });
  await using network = new MemoryNetwork(server);
  await using client = new ClientSocket();
  await client.connect(network.url);
  const room = channel(client, "room");
  const error = await assertRejects(() => room.joined, RequestError);
  assertEquals(error.code, "unsupported");
  assertEquals(
    error.message,
    'Cannot join the channel "room" as the server does not support events.v1: use a server of this library',
  );
});

Deno.test("channel() says that a server without channels does not answer", async () => {
  await using server = new ServerSocket();
  server.on("message", () => {});
  await using network = new MemoryNetwork(server);
  await using client = new ClientSocket();
  await client.connect(network.url);
  const room = channel(client, "room", undefined, { timeout: 10 });
  const error = await assertRejects(() => room.joined, RequestError);
  assertEquals(error.code, "timeout");
  const reply = client.waitFor("message");
  server.broadcast("still open");
  assertEquals((await reply)[0].data, "still open");
});

Deno.test("members are told who is in the channel", async () => {
  await using at = new Live({ presence: (client) => client.path });
  at.live.channel("room", { ...open, members: true });
  at.live.channel("quiet", open);
  await using other = new ClientSocket();
  await other.connect(`${at.network.url}/other`);
  const first = channel(other, "room");
  await first.joined;
  const events: unknown[] = [];
  await at.client.connect(`${at.network.url}/own`);
  const room = channel(at.client, "room");
  for (const type of ["join", "leave"] as const) {
    room.on(type, ({ data }) => events.push([type, data]));
  }
  await room.joined;
  while (room.members.length < 2) await room.waitFor("join");
  const known = new Set(room.members.map(({ data }) => data));
  assertEquals(known, new Set(["/own", "/other"]));
  const left = room.waitFor("leave");
  other.close();
  await left;
  assertEquals(room.members.map(({ data }) => data), ["/own"]);
  assertEquals(events.at(-1), ["leave", "/other"]);
  const quiet = channel(at.client, "quiet");
  await quiet.joined;
  assertEquals(quiet.members, []);
  assertThrows(
    () => channels(new ServerSocket()).channel("a", { ...open, members: true }),
    TypeError,
    "presence",
  );
});

Deno.test("channels work across servers", async () => {
  const name = crypto.randomUUID();
  const adapter = () => broadcastChannel({ name });
  await using first = new Live({ adapter: adapter() });
  await using second = new Live({ adapter: adapter() });
  const heard: unknown[][] = [];
  for (const at of [first, second]) {
    at.live.channel("rooms/:id", open);
    if (at.server.adapterState?.state !== "up") {
      await at.server.waitFor("adapter", { filter: (state) => state === "up" });
    }
    await at.connect();
    const room = channel(at.client, "rooms/1");
    heard.push(record(room));
    await room.joined;
  }
  while ((await first.server.count("rooms/1")) < 2) { /* not known yet */ }
  first.server.to("rooms/1").send("from the first");
  while (heard.some((one) => one.length < 2)) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assertEquals(heard, [
    [["open", null], "from the first"],
    [["open", null], "from the first"],
  ]);
});

Deno.test("concurrency holds messages of channels back in order", async () => {
  await using at = new Live();
  at.live.channel("room", open);
  await using client = new ClientSocket({ concurrency: 1 });
  await client.connect(at.network.url);
  const room = channel(client, "room");
  let running = 0;
  const heard: number[] = [];
  const done = Promise.withResolvers<void>();
  room.on("message", async ({ data }) => {
    assertEquals(++running, 1);
    await new Promise((resolve) => setTimeout(resolve, 0));
    running--;
    heard.push(Number(data));
    if (heard.length === 2_000) done.resolve();
  });
  await room.joined;
  for (let i = 0; i < 2_000; i++) at.server.to("room").send(i);
  await done.promise;
  assertEquals(heard, Array.from({ length: 2_000 }, (_, i) => i));
});

Deno.test("more messages than the first credit get through, both ways", async () => {
  await using at = new Live();
  const rooms = at.live.channel("room", open);
  await at.connect();
  const room = channel(at.client, "room");
  await room.joined;
  const count = 5_000;
  const up = rooms.collect("message", { limit: count });
  const down = room.collect("message", { limit: count });
  for (let i = 0; i < count; i++) {
    room.send(i);
    at.server.to("room").send(i);
  }
  assertEquals((await deadline(up, 20_000)).length, count);
  assertEquals((await deadline(down, 20_000)).length, count);
});

Deno.test("channels use the codec of their sockets", async () => {
  const codec = {
    name: "msgpack",
    encode: (value: unknown) => encode(value),
    decode: (frame: string | Uint8Array) =>
      typeof frame === "string" ? frame : decode(frame),
  };
  await using at = new Live({ codec });
  const rooms = at.live.channel("room", {
    ...open,
    snapshot: () => new Map([["a", 1]]).size,
  });
  rooms.handle("sum", () => ({ sum: 3 }));
  await using client = new ClientSocket({ codec });
  const room = channel(client, "room", { token: 1 });
  await client.connect(at.network.url);
  assertEquals(await room.joined, 1);
  assertEquals(await room.request({ type: "sum" }), { sum: 3 });
});

Deno.test("ServerChannelOptions.schema validates messages and requests", async () => {
  const errors: unknown[] = [];
  await using at = new Live();
  at.server.on("error", (error) => errors.push(error));
  const rooms = at.live.channel("room", {
    ...open,
    schema: {
      "~standard": {
        version: 1,
        vendor: "test",
        validate: (value: unknown) =>
          typeof value === "number"
            ? { value: value * 2 }
            : { issues: [{ message: "No number" }] },
      },
    },
  });
  rooms.handle(({ data }) => Number(data));
  await at.connect();
  const room = channel(at.client, "room");
  assertEquals(await room.request(4), 8);
  const error = await assertRejects(() => room.request("four"), RequestError);
  assertEquals(error.code, "invalid");
  assertEquals(errors.length, 1);
});

Deno.test("malformed frames of channels close the connection with 1002", async () => {
  for (const frame of ["\u0001j1,{}", "\u0001c1,\u0001X", "\u0001l"]) {
    await using at = new Live();
    at.live.channel("room", open);
    await at.connect();
    const { connection } = at.client;
    assert(connection);
    coreOf(connection).sendMarked(frame);
    const [code] = await deadline(at.client.waitFor("close"), 5_000);
    assertEquals(code, 1002, frame);
  }
});

Deno.test("channel() and channels() refuse wrong arguments", async () => {
  const server = new ServerSocket();
  const live = channels(server);
  live.channel("a/:b", open);
  assertThrows(() => channels(server), Error, "twice");
  assertThrows(() => live.channel("a/:c", open), Error, "twice");
  const wrong: [() => unknown, string][] = [
    [() => Reflect.apply(channels, undefined, [{}]), "ServerSocket"],
    [() => Reflect.apply(channel, undefined, [server, "a"]), "ClientSocket"],
    [() => Reflect.apply(channel, undefined, [{}, "a"]), "ClientSocket"],
    [() => Reflect.apply(channel, undefined, [null, "a"]), "ClientSocket"],
    [() => channel(new ClientSocket(), ""), "empty"],
    [() => Reflect.apply(live.channel, live, ["b", {}]), '"join"'],
    [() => Reflect.apply(live.channel, live, ["b", { memb: 1 }]), '"memb"'],
    [
      () => Reflect.apply(channel, undefined, [new ClientSocket(), 1]),
      '"name"',
    ],
    [
      () =>
        Reflect.apply(channels, undefined, [new ServerSocket(), { max: 1 }]),
      "maxPerClient",
    ],
  ];
  for (const [call, text] of wrong) assertThrows(call, TypeError, text);
  await server.close();
});
