/**
 * What those do who have no compiler that tells them, or do not listen to it: each
 * mistake is an error at once, which says what is wrong and with which value.
 */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type Adapter, ClientSocket, ServerSocket } from "@ws/events";
import { broadcastChannel } from "@ws/events/broadcast-channel";
import { inspect } from "@ws/events/inspect";
import { nats } from "@ws/events/nats";
import { redis } from "@ws/events/redis";
import { advance, MemoryNetwork, pair } from "@ws/events/testing";

type Refusal = typeof TypeError | typeof RangeError;

/** Calls a function with whatever arguments. */
function call(
  action: (...args: never[]) => unknown,
  self: unknown,
  ...args: unknown[]
): unknown {
  return Reflect.apply(action, self, args);
}

const SIZES = {
  server: [
    "adapterQueue",
    "authorizeTimeout",
    "closeTimeout",
    "highWaterMark",
    "idleTimeout",
    "maxBufferedAmount",
    "maxBufferedTotal",
    "maxConnections",
    "maxConnectionsPerAddress",
    "maxDisconnectedClients",
    "maxPayload",
    "trustProxy",
  ],
  client: [
    "closeTimeout",
    "connectTimeout",
    "highWaterMark",
    "idleTimeout",
    "maxBufferedAmount",
    "maxPayload",
  ],
  reconnect: [
    "initialDelay",
    "maxAttempts",
    "maxDelay",
    "maxDuration",
    "minUptime",
  ],
};

Deno.test("numeric options throw for other types", () => {
  const makers: [string, (options: object) => unknown][] = [
    ["server", (options) => new ServerSocket(options)],
    ["client", (options) => new ClientSocket(options)],
    ["reconnect", (reconnect) => new ClientSocket({ reconnect })],
  ];
  const values: [unknown, Refusal, string][] = [
    [NaN, RangeError, "0 or more: current value is NaN"],
    [-1, RangeError, "0 or more: current value is -1"],
    ["10", TypeError, "a number: current value is of type string"],
    [true, TypeError, "a number: current value is of type boolean"],
    [10n, TypeError, "a number: current value is of type bigint"],
    [[], TypeError, "a number: current value is of type object"],
  ];
  for (const [whose, make] of makers) {
    const names = Object.entries(SIZES).find(([name]) => name === whose)?.[1];
    assert(names);
    for (const name of names) {
      for (const [value, Class, message] of values) {
        const text = `Cannot use "${name}" unless it is ${message}`;
        assertThrows(() => make({ [name]: value }), Class, text);
      }
      make({ [name]: undefined });
    }
  }
});

Deno.test("ServerSocket throws for invalid options", () => {
  const codec = { name: "a", encode: String };
  const cases: [options: unknown, message: string][] = [
    [null, '"options" unless it is an object: current value is of type null'],
    [3000, "of type number: a port goes to listen()"],
    [{ origins: "https://a.b" }, '"origins" unless it is a list or a function'],
    [
      { origins: [1] },
      'of "origins" that is neither a string nor a RegExp: current value is 1',
    ],
    [{ origins: ["*"] }, "or () => true to allow all"],
    [{ paths: "/live" }, '"paths" unless it is a list or a function'],
    [{ paths: ["live"] }, "use a path such as /live"],
    [{ protocols: "chat" }, 'a list of tokens such as ["chat"]'],
    [{ protocols: ["a b"] }, 'current value is ["a b"]'],
    [{ protocols: [1] }, "current value is [1]"],
    [{ authorize: true }, '"authorize" unless it is a function'],
    [{ fallback: new Response() }, '"fallback" unless it is a function'],
    [{ presence: "name" }, '"presence" unless it is an object'],
    [{ presence: {} }, '"presence.data" unless it is a function'],
    [
      { presence: { data: () => 1, key: "id" } },
      '"presence.key" unless it is a function',
    ],
    [{ presence: { data: () => 1, keys: () => "" } }, 'did you mean "key"?'],
    [{ adapter: broadcastChannel }, "of type function: call it, as in redis()"],
    [{ adapter: "redis" }, '"adapter" unless it is an object'],
    [{ adapter: {} }, '"adapter.open" unless it is a function'],
    [{ history: 100 }, '"history" unless it is an object'],
    [
      { history: { messages: "9" } },
      '"history.messages" unless it is a number',
    ],
    [{ messageRate: 10 }, '"messageRate" unless it is an object'],
    [{ messageRate: {} }, '"messageRate.perSecond" unless it is a number'],
    [
      { messageRate: { perSecond: 1, burst: "2" } },
      '"messageRate.burst" unless it is a number',
    ],
    [{ concurrency: "1" }, '"concurrency" unless it is a number'],
    [{ codec: "msgpack" }, '"codec" unless it is an object'],
    [{ codec: {} }, '"codec.encode" unless it is a function'],
    [{ codec }, '"codec.decode" unless it is a function'],
    [{ codec: { ...codec, name: undefined, decode: String } }, "whose name"],
    [{ schema: {} }, '"schema" unless it follows Standard Schema'],
  ];
  for (const [options, message] of cases) {
    const make = () => Reflect.construct(ServerSocket, [options]);
    assertThrows(make, TypeError, message);
  }
});

Deno.test("ClientSocket throws for invalid options", () => {
  const cases: [options: unknown, message: string][] = [
    ["ws://localhost", "of type string: pass the URL to connect()"],
    [{ reconnect: 5 }, '"reconnect" unless it is an object'],
    [{ reconnect: null }, '"reconnect" unless it is an object'],
    [
      { reconnect: { shouldReconnect: true } },
      '"shouldReconnect" unless it is a function',
    ],
  ];
  for (const [options, message] of cases) {
    const make = () => Reflect.construct(ClientSocket, [options]);
    assertThrows(make, TypeError, message);
  }
});

Deno.test("adapters throw for invalid options", () => {
  const makers: ((options?: object) => Adapter)[] = [
    redis,
    nats,
    broadcastChannel,
  ];
  for (const make of makers) {
    for (const options of ["redis://localhost", null]) {
      assertThrows(
        () => call(make, undefined, options),
        TypeError,
        'Cannot use "options" unless it is an object',
      );
    }
  }
});

Deno.test("ServerSocket.listen() throws for invalid hosts and options", async () => {
  const server = new ServerSocket();
  const cases: [unknown[], string][] = [
    [
      [3000],
      'as in listen("localhost", 3000): current value is of type number',
    ],
    [[{ port: 3000 }], "current value is of type object"],
    [["localhost", 0, null], '"options" unless it is an object'],
    [["localhost", 0, { path: 1 }], '"path" unless it is a string'],
  ];
  for (const [args, message] of cases) {
    await assertRejects(
      async () => await call(server.listen, server, ...args),
      TypeError,
      message,
    );
  }
});

Deno.test("ServerSocket.close() and shutdown() throw for invalid arguments", async () => {
  await using both = await pair();
  const server = new ServerSocket();
  const cases: [unknown[], string][] = [
    [["bye"], "other than a connection"],
    [[null], "other than a connection"],
    [[1000, 5], '"reason" unless it is a string'],
    [[both.server, "4000"], '"code" unless it is a number'],
  ];
  for (const [args, message] of cases) {
    assertThrows(() => call(server.close, server, ...args), TypeError, message);
  }
  const options: [unknown[], string][] = [
    [[{ drain: 5 }], '"drain" unless it is an object'],
    [[{ drain: { batch: "1" } }], '"drain.batch" unless it is a number'],
    [[{ drain: { every: "1" } }], '"drain.every" unless it is a number'],
    [[{ retryAfter: "5" }], '"retryAfter" unless it is a number'],
    [[4000], '"options" unless it is an object'],
  ];
  for (const [args, message] of options) {
    assertThrows(
      () => call(server.shutdown, server, ...args),
      TypeError,
      message,
    );
  }
  assertEquals(both.server.readyState, 1);
  await server.close();
});

Deno.test("Connection.close() throws for invalid codes", async () => {
  await using both = await pair();
  const { client } = both;
  for (const code of ["1000", "bye", null, {}]) {
    assertThrows(
      () => call(client.close, client, code),
      TypeError,
      '"code" unless it is a number',
    );
  }
  assertThrows(() => client.close(1001), RangeError, "1000, or 3000 to 4999");
  assertEquals(client.readyState, 1);
});

Deno.test("ServerSocket throws for invalid connections, rooms and ids", async () => {
  const server = new ServerSocket();
  const room = server.to("room");
  const cases: [() => unknown, string][] = [
    [() => call(server.send, server, "hello"), "broadcast() sends to all"],
    [() => call(room.except, room, {}), "a connection or a room"],
    [
      () => call(server.broadcast, server, "x", { except: 1 }),
      "a connection or a room: current value is of type number",
    ],
    [() => call(server.to, server, ["a"]), "Cannot send to a room unless"],
    [() => call(server.handle, server, 1, () => {}), '"type" unless'],
  ];
  for (const [action, message] of cases) {
    assertThrows(action, TypeError, message);
  }
  await assertRejects(
    async () => await call(server.closeById, server, 1),
    TypeError,
    '"id" unless it is a string',
  );
});

Deno.test("waitFor(), collect() and events() throw for invalid numbers", () => {
  const server = new ServerSocket();
  const cases: [() => unknown, Refusal, string][] = [
    [() => call(server.waitFor, server, "ready", 500), TypeError, '"options"'],
    [
      () => call(server.waitFor, server, "ready", { timeout: "5" }),
      TypeError,
      '"timeout" unless it is a number',
    ],
    [() => server.waitFor("ready", { timeout: NaN }), RangeError, '"timeout"'],
    [() => call(server.collect, server, "ready", 5), TypeError, '"options"'],
    [() => server.collect("ready", { limit: NaN }), RangeError, '"limit"'],
    [() => server.collect("ready", { during: -1 }), RangeError, '"during"'],
    [() => server.events("ready", { limit: NaN }), RangeError, '"limit"'],
    [() => call(server.messages, server, 5), TypeError, '"options"'],
  ];
  for (const [action, Class, message] of cases) {
    assertThrows(action, Class, message);
  }
});

Deno.test("request() throws for an invalid timeout or schema", async () => {
  await using both = await pair();
  const { client } = both;
  const cases: [object, Refusal, string][] = [
    [{ timeout: "5" }, TypeError, '"timeout" unless it is a number'],
    [{ timeout: NaN }, RangeError, '"timeout" unless it is 0 or more'],
    [{ schema: {} }, TypeError, '"schema" unless it follows Standard Schema'],
  ];
  for (const [options, Class, message] of cases) {
    assertThrows(() => client.request("x", options), Class, message);
  }
});

Deno.test("ClientSocket.request() rejects an invalid timeout while connecting", async () => {
  await using server = new ServerSocket();
  await using network = new MemoryNetwork(server);
  await using client = new ClientSocket();
  const connected = client.connect(network.url);
  await assertRejects(
    () => client.request("x", { timeout: NaN }),
    RangeError,
    '"timeout" unless it is 0 or more: current value is NaN',
  );
  await connected;
});

Deno.test("testing throws for invalid arguments", async () => {
  await using both = await pair();
  const { link } = both;
  assertThrows(
    () => call(link.vanish, link, "peer"),
    RangeError,
    '"client" or "server": current value is "peer"',
  );
  assertThrows(
    () => call(link.toClient.slow, link.toClient, { delay: "5" }),
    TypeError,
    '"delay" unless it is a number',
  );
  await assertRejects(
    () => advance({ next: () => false }, NaN),
    RangeError,
    '"ms" unless it is 0 or more',
  );
});

Deno.test("inspect() throws if the argument is not a server", () => {
  for (const server of [undefined, {}, () => {}]) {
    assertThrows(
      () => call(inspect, undefined, server),
      TypeError,
      "Cannot inspect a value that is not a ServerSocket",
    );
  }
});

Deno.test("misspelled options throw with a suggestion", async () => {
  const as = (options: object): object => options;
  const listener = () => {};
  const cases: [attempt: () => unknown, name: string][] = [
    [() => new ServerSocket(as({ orgins: [] })), '"origins"'],
    [() => new ServerSocket(as({ maxpayload: 1 })), '"maxPayload"'],
    [() => new ServerSocket(as({ history: { maxage: 1 } })), '"maxAge"'],
    [() => new ServerSocket(as({ messageRate: { persecond: 1 } })), "perSec"],
    [() => new ClientSocket(as({ reconect: true })), '"reconnect"'],
    [() => new ClientSocket(as({ reconnect: { maxDelays: 1 } })), '"maxDelay"'],
    [() => new ServerSocket().on("close", listener, as({ one: 1 })), '"once"'],
    [
      () => new ServerSocket().handle(() => 1, as({ signals: 1 })),
      '"signal"',
    ],
    [() => new ServerSocket().waitFor("close", as({ timout: 1 })), '"timeout"'],
    [() => new ServerSocket().collect("close", as({ limits: 1 })), '"limit"'],
    [() => new ServerSocket().events("close", as({ limits: 1 })), '"limit"'],
    [() => new ServerSocket().messages(as({ limits: 1 })), '"limit"'],
  ];
  for (const [attempt, name] of cases) {
    assertThrows(attempt, TypeError, name);
  }
  await assertRejects(
    () => new ServerSocket().listen("localhost", 0, as({ certs: "" })),
    TypeError,
    '"cert"',
  );
  await assertRejects(
    () => new ClientSocket().connect("ws://localhost:1", as({ sgnal: 1 })),
    TypeError,
    '"signal"',
  );
});

Deno.test("unknown options throw with the list of options", () => {
  const options: object = { port: 3000 };
  assertThrows(() => new ServerSocket(options), TypeError, '"closeTimeout"');
});
