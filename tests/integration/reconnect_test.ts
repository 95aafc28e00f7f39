/**
 * A client that comes back, over sockets that do what the test says: no network,
 * no waiting.
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { stub } from "@std/testing/mock";
import {
  type ClientOptions,
  ClientSocket,
  ConnectError,
  ConnectionEndedError,
  isTransient,
} from "../../client.ts";
import { FakePage } from "../support/fake_page.ts";
import { FakeWebSockets } from "../support/fake_websocket.ts";
import {
  openClient,
  reconnectClient,
  RecordingClient,
  URL,
} from "../support/recording_client.ts";

Deno.test("ClientSocket does not come back unless it is told to", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({});
  await openClient(sockets, client);
  sockets.last.lose();
  await sockets.wait(100_000);
  assertEquals(client.recorded, ["connect", "disconnect 1006 network"]);
  assertStrictEquals(sockets.sockets.length, 1);
  assertStrictEquals(sockets.time.next(), false);
});

Deno.test("ClientSocket comes back after a loss, with longer and longer delays", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  await openClient(sockets, client);
  sockets.last.lose();
  await sockets.wait(500);
  sockets.last.refuse();
  await sockets.wait(999);
  assertStrictEquals(sockets.sockets.length, 2);
  await sockets.wait(1);
  assertStrictEquals(sockets.sockets.length, 3);
  assertEquals(client.connection, undefined);
  sockets.last.open();
  await sockets.settle();
  assertEquals(client.recorded, [
    "connect",
    "disconnect 1006 network",
    "reconnecting 1 500",
    "reconnecting 2 1000",
    "connect",
  ]);
  assertEquals(client.connection?.url, URL);
  await client.close();
});

Deno.test("ClientSocket goes on with its first attempt, too, if it may come back", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  const errors: unknown[] = [];
  client.on("reconnecting", (_attempt, _delay, error) => errors.push(error));
  const connecting = client.connect(URL);
  await sockets.settle();
  sockets.last.refuse();
  await reconnectClient(sockets);
  await connecting;
  assertEquals(client.recorded, ["reconnecting 1 500", "connect"]);
  assertInstanceOf(errors[0], ConnectError);
  await client.close();
});

Deno.test("ClientSocket tells no error of the attempt before the first", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  const errors: unknown[] = [];
  client.on("reconnecting", (_attempt, _delay, error) => errors.push(error));
  client.addEventListener("reconnecting", (event) => {
    errors.push(event.attempt, event.delay, event.error);
  });
  await openClient(sockets, client);
  sockets.last.lose();
  await sockets.settle();
  assertEquals(errors, [undefined, 1, 500, undefined]);
  await client.close();
});

const CLEAN: [code: number, reconnects: boolean][] = [
  [1000, false],
  [1001, true],
  [1005, false],
  [1008, false],
  [1011, true],
  [1012, true],
  [1013, true],
  [1014, true],
  [3000, false],
  [4001, false],
];

for (const [code, reconnects] of CLEAN) {
  Deno.test(`ClientSocket after a close with ${code} comes back: ${reconnects}`, async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient();
    await openClient(sockets, client);
    sockets.last.end(true, code);
    await sockets.wait(100_000);
    assertStrictEquals(sockets.sockets.length, reconnects ? 2 : 1);
    assertEquals(client.recorded.slice(0, 3), [
      "connect",
      `close ${code}`,
      ...reconnects ? ["reconnecting 1 500"] : [],
    ]);
    await client.close();
  });
}

Deno.test("ClientSocket does not come back if the server said no before the loss", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  await openClient(sockets, client);
  // A browser may tell the code of a close frame, though the rest went wrong.
  sockets.last.fail("");
  sockets.last.end(false, 4001, "out");
  await sockets.wait(100_000);
  assertEquals(client.recorded, ["connect", "disconnect 4001 network"]);
  assertStrictEquals(sockets.sockets.length, 1);
});

Deno.test("shouldReconnect decides, and gets the end", async () => {
  using sockets = new FakeWebSockets();
  const asked: unknown[] = [];
  const client = new RecordingClient({
    reconnect: {
      shouldReconnect: (end) => {
        asked.push(
          end instanceof ConnectError
            ? end.kind
            : [end.code, end.reason, end.wasClean, end.cause],
        );
        return end.code === 4100;
      },
    },
  });
  await openClient(sockets, client);
  sockets.last.end(true, 4100, "moved");
  await reconnectClient(sockets);
  sockets.last.lose();
  await sockets.wait(100_000);
  assertEquals(asked, [
    [4100, "moved", true, "peer"],
    [1006, "", false, "network"],
  ]);
  assertStrictEquals(client.connection, undefined);
});

Deno.test("shouldReconnect that throws is an error, and the client stays away", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({
    reconnect: {
      shouldReconnect: () => {
        throw new Error("oops");
      },
    },
  });
  const errors: unknown[] = [];
  client.on("error", (error, from) => errors.push(error, from));
  await openClient(sockets, client);
  sockets.last.lose();
  await sockets.wait(100_000);
  assertEquals(client.recorded, ["connect", "disconnect 1006 network"]);
  assertInstanceOf(errors[0], Error);
  assertStrictEquals(errors[1], "disconnect");
});

Deno.test("shouldReconnect may close the client, and cannot connect it", async () => {
  using sockets = new FakeWebSockets();
  let act: () => unknown = () => client.close();
  const client: RecordingClient = new RecordingClient({
    reconnect: {
      shouldReconnect: () => {
        act();
        return true;
      },
    },
  });
  await openClient(sockets, client);
  sockets.last.lose();
  await sockets.wait(100_000);
  assertStrictEquals(sockets.sockets.length, 1);
  await openClient(sockets, client);
  const rejected: Promise<unknown>[] = [];
  act = () => {
    rejected.push(
      assertRejects(() => client.connect(URL), Error, "is connecting"),
    );
  };
  sockets.last.lose();
  await reconnectClient(sockets);
  await Promise.all(rejected);
  assertStrictEquals(rejected.length, 1);
  assertEquals(client.recorded, [
    "connect",
    "disconnect 1006 network",
    "connect",
    "disconnect 1006 network",
    "reconnecting 1 500",
    "connect",
  ]);
  await client.close();
});

Deno.test("shouldReconnect may send, for what comes next or for nothing", async () => {
  using sockets = new FakeWebSockets();
  const sends: Promise<void>[] = [];
  const client: ClientSocket = new ClientSocket({
    reconnect: {
      shouldReconnect: () => {
        sends.push(client.send(`${sends.length}`));
        return sends.length < 2;
      },
    },
  });
  await openClient(sockets, client);
  sockets.last.lose();
  await reconnectClient(sockets);
  await sends[0];
  assertEquals(sockets.last.sent, ["0"]);
  sockets.last.lose();
  await assertRejects(async () => await sends[1], ConnectionEndedError);
});

Deno.test("ClientSocket does not mind what becomes of an old connection", async () => {
  for (const how of ["close", "terminate"] as const) {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient();
    await openClient(sockets, client);
    const old = client.connection;
    sockets.last.lose();
    await reconnectClient(sockets);
    old?.[how]();
    sockets.last.lose();
    await reconnectClient(sockets);
    assertStrictEquals(client.recorded.at(-1), "connect");
    await client.close();
  }
});

for (const how of ["close", "terminate"] as const) {
  Deno.test(`Connection.${how}() is no loss for the client, nor while its end is kept back`, async () => {
    using sockets = new FakeWebSockets();
    const client = new ClientSocket({ reconnect: true });
    await openClient(sockets, client);
    // Nobody has listened yet, and somebody may still come.
    sockets.last.receive("early");
    sockets.last.lose();
    client.connection?.[how]();
    await sockets.wait(100_000);
    assertStrictEquals(sockets.sockets.length, 1);
    assertEquals(client.connection, undefined);
  });
}

Deno.test("isTransient() may be asked of any end", () => {
  const end = { type: "close", reason: "", cause: "peer" } as const;
  assert(isTransient({ ...end, code: 1012 }));
  assert(!isTransient({ ...end, code: 1000 }));
});

for (const how of ["close", "terminate"] as const) {
  Deno.test(`ClientSocket.${how}() is no loss`, async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient();
    await openClient(sockets, client);
    client[how]();
    if (how === "close") sockets.last.end(true, 1000);
    await sockets.wait(100_000);
    assertStrictEquals(client.recorded.length, 2);
    assertStrictEquals(sockets.sockets.length, 1);
  });

  Deno.test(`Connection.${how}() is no loss for the client either`, async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient();
    await openClient(sockets, client);
    client.connection?.[how]();
    if (how === "close") sockets.last.end(true, 1000);
    await sockets.wait(100_000);
    assertStrictEquals(client.recorded.length, 2);
    assertStrictEquals(sockets.sockets.length, 1);
  });

  Deno.test(`ClientSocket.${how}() between two attempts ends them`, async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient();
    await openClient(sockets, client);
    sockets.last.lose();
    await sockets.settle();
    await client[how]();
    assertStrictEquals(sockets.time.next(), false);
    assertEquals(client.recorded.slice(1), [
      "disconnect 1006 network",
      "reconnecting 1 500",
      "giveup ConnectError",
    ]);
    // And it may be connected again at once, and comes back as before.
    const connected = client.waitFor("connect");
    await openClient(sockets, client);
    await connected;
    sockets.last.lose();
    await reconnectClient(sockets);
    assertStrictEquals(client.recorded.at(-1), "connect");
    await client.close();
  });

  Deno.test(`ClientSocket.${how}() in an attempt ends it`, async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient();
    await openClient(sockets, client);
    sockets.last.lose();
    await sockets.wait(500);
    await client[how]();
    await sockets.wait(100_000);
    assertStrictEquals(sockets.sockets.length, 2);
    assertStrictEquals(sockets.last.readyState, 3);
    assertStrictEquals(client.recorded.at(-1), "giveup ConnectError");
  });
}

Deno.test("ClientSocket that is closed while its connection is being lost stays away", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  await openClient(sockets, client);
  client.close(4000);
  sockets.last.lose();
  await sockets.wait(100_000);
  assertEquals(client.recorded, ["connect", "disconnect 1006 network"]);
  assertStrictEquals(sockets.sockets.length, 1);
});

for (const type of ["disconnect", "reconnecting"] as const) {
  Deno.test(`ClientSocket may be closed in a listener of ${type}`, async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient();
    client.on(type, () => client.close());
    await openClient(sockets, client);
    sockets.last.lose();
    await sockets.wait(100_000);
    assertStrictEquals(sockets.sockets.length, 1);
    assertEquals(
      client.recorded.slice(2),
      type === "disconnect"
        ? ["giveup ConnectError"]
        : ["reconnecting 1 500", "giveup ConnectError"],
    );
  });
}

Deno.test("ClientSocket tells each way to a connection to its end", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  const order: string[] = [];
  client.on("disconnect", () => order.push("client"));
  client.on("reconnecting", () => order.push("reconnecting"));
  client.on("connect", (connection) => {
    connection.on("disconnect", () => order.push("connection"));
  });
  await openClient(sockets, client);
  sockets.last.lose();
  await sockets.settle();
  assertEquals(order, ["client", "connection", "reconnecting"]);
  await client.close();
});

Deno.test("ClientSocket gives up after maxAttempts", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({ reconnect: { maxAttempts: 2 } });
  const errors: unknown[] = [];
  client.on("giveup", (error) => errors.push(error));
  client.addEventListener("giveup", (event) => errors.push(event.error));
  await openClient(sockets, client);
  sockets.last.lose();
  for (const delay of [500, 1_000]) {
    await sockets.wait(delay);
    sockets.last.refuse();
  }
  await sockets.wait(100_000);
  assertEquals(client.recorded.slice(1), [
    "disconnect 1006 network",
    "reconnecting 1 500",
    "reconnecting 2 1000",
    "giveup ConnectError",
  ]);
  const [error] = errors;
  assertInstanceOf(error, ConnectError);
  assertMatch(error.message, /Cannot connect to ws:.*after 2 attempts/);
  assertInstanceOf(error.cause, ConnectError);
  assertStrictEquals(errors[1], error);
});

Deno.test("ClientSocket.connect() rejects when the first way is given up", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({ reconnect: { maxAttempts: 1 } });
  const connecting = client.connect(URL);
  const rejected = assertRejects(() => connecting, ConnectError, "after 1 att");
  await sockets.settle();
  sockets.last.refuse();
  await sockets.wait(500);
  sockets.last.refuse();
  await sockets.wait(0);
  await rejected;
  assertEquals(client.recorded, ["reconnecting 1 500", "giveup ConnectError"]);
});

Deno.test("ClientSocket tells of no giving up if it never said that it goes on", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({ reconnect: { maxAttempts: 0 } });
  const connecting = client.connect(URL);
  await sockets.settle();
  sockets.last.refuse();
  await assertRejects(() => connecting, ConnectError);
  assertEquals(client.recorded, []);
});

for (const how of ["maxAttempts", "signal"] as const) {
  Deno.test(`ClientSocket tells that it gives up, though there is no attempt, by ${how}`, async () => {
    using sockets = new FakeWebSockets();
    const stop = new AbortController();
    const client = new RecordingClient({
      reconnect: how === "signal"
        ? { signal: stop.signal }
        : { maxAttempts: 0 },
    });
    client.on("disconnect", () => stop.abort(new ConnectError("enough", URL)));
    await openClient(sockets, client);
    const message = client.waitFor("message");
    sockets.last.lose();
    await sockets.wait(100_000);
    assertEquals(client.recorded, [
      "connect",
      "disconnect 1006 network",
      "giveup ConnectError",
    ]);
    await assertRejects(() => message, ConnectError);
    assertStrictEquals(sockets.sockets.length, 1);
  });
}

Deno.test("ClientSocket gives up after maxDuration", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({
    reconnect: { maxDuration: 3_000 },
    connectTimeout: 1_000,
  });
  await openClient(sockets, client);
  sockets.last.lose();
  // Each attempt takes its second, and fails.
  for (let i = 0; i < 20; i++) await sockets.wait(500);
  assertEquals(client.recorded.slice(2), [
    "reconnecting 1 500",
    "reconnecting 2 1000",
    "giveup ConnectError",
  ]);
  assertStrictEquals(sockets.sockets.length, 3);
});

Deno.test("ClientSocket does not give up for the time that its page was frozen", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({ reconnect: { maxDuration: 3_000 } });
  await openClient(sockets, client);
  sockets.last.lose();
  await sockets.settle();
  sockets.frozen += 1_000_000;
  await sockets.wait(500);
  sockets.frozen += 1_000_000;
  sockets.last.refuse();
  await sockets.settle();
  // An attempt counts as long as it may take, which is more than that.
  assertEquals(client.recorded.slice(2), [
    "reconnecting 1 500",
    "giveup ConnectError",
  ]);
  await openClient(sockets, client);
  sockets.last.lose();
  await sockets.settle();
  sockets.frozen += 1_000_000;
  await sockets.wait(500);
  sockets.last.refuse();
  await sockets.settle();
  assertStrictEquals(client.recorded.at(-1), "reconnecting 2 1000");
  await client.close();
});

Deno.test("ClientSocket.connect() counts attempts anew", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({ reconnect: { maxAttempts: 1 } });
  for (let i = 0; i < 2; i++) {
    const connecting = client.connect(URL);
    const rejected = assertRejects(() => connecting, ConnectError);
    await sockets.settle();
    sockets.last.refuse();
    await sockets.wait(500);
    sockets.last.refuse();
    await sockets.settle();
    await rejected;
  }
  const once = ["reconnecting 1 500", "giveup ConnectError"];
  assertEquals(client.recorded, [...once, ...once]);
});

Deno.test("ClientSocket counts its attempts on if a connection did not live", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({ reconnect: { minUptime: 1_000 } });
  await openClient(sockets, client);
  await sockets.wait(999);
  sockets.last.lose();
  await reconnectClient(sockets);
  await sockets.wait(999);
  sockets.last.lose();
  await reconnectClient(sockets);
  await sockets.wait(1_000);
  sockets.last.lose();
  await sockets.settle();
  assertEquals(client.recorded.filter((line) => line.startsWith("rec")), [
    "reconnecting 1 500",
    "reconnecting 2 1000",
    "reconnecting 1 500",
  ]);
  await client.close();
});

Deno.test("ClientSocket waits as long as the server has asked for, and a while", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  await openClient(sockets, client);
  sockets.last.end(true, 1001, "retry-after=5");
  await sockets.wait(7_999);
  assertStrictEquals(sockets.sockets.length, 1);
  await sockets.wait(1);
  sockets.last.refuse();
  await sockets.settle();
  assertEquals(client.recorded.slice(2), [
    "reconnecting 1 8000",
    "reconnecting 2 1000",
  ]);
  await client.close();
});

Deno.test("reconnect.signal ends attempts, but no connection", async () => {
  using sockets = new FakeWebSockets();
  const stop = new AbortController();
  const client = new RecordingClient({ reconnect: { signal: stop.signal } });
  await openClient(sockets, client);
  sockets.last.lose();
  await reconnectClient(sockets);
  sockets.last.lose();
  await sockets.settle();
  stop.abort(new RangeError("enough"));
  assertStrictEquals(sockets.time.next(), false);
  assertStrictEquals(client.recorded.at(-1), "giveup RangeError");
  // It still connects if it is asked to, and stays then.
  await openClient(sockets, client);
  sockets.last.lose();
  await sockets.wait(100_000);
  assertEquals(client.recorded.slice(-2), [
    "connect",
    "disconnect 1006 network",
  ]);
});

Deno.test("reconnect.signal that is aborted makes an end the last", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({
    reconnect: { signal: AbortSignal.abort() },
  });
  await openClient(sockets, client);
  const message = client.waitFor("message");
  sockets.last.lose();
  await assertRejects(() => message, ConnectionEndedError);
  await assertRejects(() => client.send("late"), ConnectionEndedError);
});

Deno.test("reconnect.signal ends the first way, too, but not its first attempt", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({
    reconnect: { signal: AbortSignal.abort(new RangeError("enough")) },
  });
  const connecting = client.connect(URL);
  await sockets.settle();
  sockets.last.refuse();
  await assertRejects(() => connecting, RangeError, "enough");
  assertEquals(client.recorded, []);
});

Deno.test("reconnect.signal has no listeners once the client is connected, or has given up", async () => {
  using sockets = new FakeWebSockets();
  const { signal } = new AbortController();
  using adds = stub(signal, "addEventListener");
  using removes = stub(signal, "removeEventListener");
  const client = new RecordingClient({ reconnect: { signal } });
  const connecting = client.connect(URL, { signal });
  await sockets.settle();
  sockets.last.refuse();
  await reconnectClient(sockets);
  await connecting;
  sockets.last.lose();
  await reconnectClient(sockets);
  sockets.last.lose();
  await sockets.settle();
  await client.close();
  assert(adds.calls.length > 2);
  assertStrictEquals(removes.calls.length, adds.calls.length);
});

Deno.test("ClientSocket.connect() gives up all attempts when its signal is aborted", async () => {
  using sockets = new FakeWebSockets();
  const stop = new AbortController();
  const client = new RecordingClient();
  const connecting = client.connect(URL, { signal: stop.signal });
  const rejected = assertRejects(() => connecting, RangeError, "enough");
  await sockets.settle();
  sockets.last.refuse();
  await sockets.settle();
  stop.abort(new RangeError("enough"));
  await rejected;
  await sockets.wait(100_000);
  assertStrictEquals(sockets.sockets.length, 1);
  assertEquals(client.recorded, ["reconnecting 1 500", "giveup RangeError"]);
});

Deno.test("ClientSocket.connect() has nothing to do with its signal later", async () => {
  using sockets = new FakeWebSockets();
  const stop = new AbortController();
  const client = new RecordingClient();
  const connecting = client.connect(URL, { signal: stop.signal });
  await sockets.settle();
  sockets.last.open();
  await connecting;
  stop.abort();
  sockets.last.lose();
  await reconnectClient(sockets);
  assertStrictEquals(client.recorded.at(-1), "connect");
  await client.close();
});

Deno.test("ClientSocket asks functions for URL, subprotocols and headers at each attempt", async () => {
  using sockets = new FakeWebSockets();
  let count = 0;
  const client = new ClientSocket({
    reconnect: true,
    protocols: () => [`p${count}`],
    plain: true,
    headers: () => Promise.resolve({ count: String(count) }),
  });
  const connecting = client.connect(async () => {
    count++;
    await Promise.resolve();
    return new globalThis.URL(`${URL}${count}`);
  });
  await sockets.settle();
  sockets.last.open();
  await connecting;
  sockets.last.lose();
  await reconnectClient(sockets);
  assertEquals(
    sockets.sockets.map((
      { url, protocols, headers },
    ) => [url, protocols, headers]),
    [
      [`${URL}1`, ["p1"], { count: "1" }],
      [`${URL}2`, ["p2"], { count: "2" }],
    ],
  );
  assertStrictEquals(client.connection?.path, "/2");
  await client.close();
});

Deno.test("ClientSocket takes a function that fails for an attempt that failed", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  const errors: unknown[] = [];
  client.on("reconnecting", (_attempt, _delay, error) => errors.push(error));
  let count = 0;
  const connecting = client.connect(() => {
    if (++count === 1) throw new Error("no token");
    return URL;
  });
  await reconnectClient(sockets);
  await connecting;
  const [error] = errors;
  assertInstanceOf(error, ConnectError);
  assertMatch(error.message, /could not be determined: no token/);
  assertInstanceOf(error.cause, Error);
  await client.close();
});

Deno.test("ClientSocket does not wait for a function longer than connectTimeout", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({ connectTimeout: 1_000 });
  const late = Promise.withResolvers<string>();
  const connecting = client.connect(() => late.promise);
  const rejected = assertRejects(
    () => connecting,
    ConnectError,
    "no response within 1000 ms",
  );
  await sockets.wait(1_000);
  await rejected;
  late.resolve(URL);
  await sockets.wait(1_000);
  assertStrictEquals(sockets.sockets.length, 0);
});

Deno.test("ClientSocket opens no socket for a function that answers when it is closed", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  const late = Promise.withResolvers<string>();
  const connecting = client.connect(() => late.promise);
  const rejected = assertRejects(() => connecting, ConnectError, "was closed");
  await sockets.settle();
  late.resolve(URL);
  await client.close();
  await rejected;
  await sockets.wait(1_000);
  assertStrictEquals(sockets.sockets.length, 0);
});

Deno.test("ClientSocket gives up at once if its URL is none", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  const error = await assertRejects(
    () => client.connect("nonsense"),
    DOMException,
    "it is not a valid URL",
  );
  assertStrictEquals(error.name, "SyntaxError");
  await sockets.wait(100_000);
  assertEquals(client.recorded, []);
  assertStrictEquals(sockets.sockets.length, 0);
});

Deno.test("connectTimeout ends an attempt that nobody answers", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({});
  const connecting = client.connect(URL);
  const rejected = assertRejects(
    () => connecting,
    ConnectError,
    "Cannot connect to ws://example.test/: no response within 10000 ms",
  );
  await sockets.wait(9_999);
  assertStrictEquals(sockets.last.readyState, 0);
  await sockets.wait(1);
  await rejected;
  assert(sockets.last.readyState >= 2);
  assertStrictEquals(sockets.time.next(), false);
});

Deno.test("connectTimeout of Infinity waits for ever, and leaves no timer behind", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({ connectTimeout: Infinity });
  const connecting = client.connect(URL);
  await sockets.settle();
  assertStrictEquals(sockets.time.next(), false);
  sockets.last.open();
  await connecting;
  await client.terminate();
});

Deno.test("idleTimeout ends a connection that is silent, as a loss", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({ idleTimeout: 1_000, reconnect: true });
  await openClient(sockets, client);
  await sockets.wait(900);
  sockets.last.receive("alive");
  await sockets.wait(999);
  assertEquals(client.recorded, ["connect"]);
  await sockets.wait(251);
  assertEquals(client.recorded.slice(1), [
    "disconnect 1006 timeout",
    "reconnecting 1 500",
  ]);
  await client.close();
  assertStrictEquals(sockets.time.next(), false);
});

for (const idleTimeout of [0, Infinity]) {
  Deno.test(`idleTimeout of ${idleTimeout} never ends a connection`, async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient({ idleTimeout });
    await openClient(sockets, client);
    await sockets.settle();
    assertStrictEquals(sockets.time.next(), false);
    await client.terminate();
  });
}

Deno.test("idleTimeout ends a connection that takes nothing, though it is not silent", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({
    idleTimeout: 1_000,
    highWaterMark: 100,
  });
  await openClient(sockets, client);
  sockets.last.isStalled = true;
  client.send("x".repeat(100));
  for (let i = 0; i < 20 && client.connection; i++) {
    await sockets.wait(500);
    sockets.last.receive("alive");
  }
  assertEquals(client.recorded, ["connect", "disconnect 1006 backpressure"]);
});

Deno.test("ClientSocket.waitFor() waits across connections, and not beyond the last", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({ reconnect: { maxAttempts: 1 } });
  await openClient(sockets, client);
  const message = client.waitFor("message");
  const close = client.waitFor("close");
  sockets.last.lose();
  await reconnectClient(sockets);
  sockets.last.receive("hello");
  assertStrictEquals((await message)[0].content, "hello");
  await sockets.wait(5_000);
  sockets.last.lose();
  await sockets.wait(500);
  sockets.last.refuse();
  await sockets.settle();
  await assertRejects(() => close, ConnectError, "after 1 attempts");
});

Deno.test("ClientSocket.waitFor() gets the giveup itself", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  await openClient(sockets, client);
  sockets.last.lose();
  await sockets.settle();
  const giveup = client.waitFor("giveup");
  client.close();
  assertInstanceOf((await giveup)[0], ConnectError);
});

Deno.test("ClientSocket refuses options that are no numbers of time", () => {
  const wrong: ClientOptions[] = [
    { connectTimeout: -1 },
    { idleTimeout: NaN },
    { reconnect: { initialDelay: -1 } },
    { reconnect: { maxDelay: NaN } },
    { reconnect: { maxAttempts: -1 } },
    { reconnect: { maxDuration: -1 } },
    { reconnect: { minUptime: NaN } },
  ];
  for (const options of wrong) {
    assertThrows(() => new ClientSocket(options), RangeError, "0 or more");
  }
});

Deno.test("ClientSocket that comes back leaves nothing behind", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  await openClient(sockets, client);
  for (let i = 0; i < 100; i++) {
    sockets.last.lose();
    await reconnectClient(sockets);
  }
  client.terminate();
  assertStrictEquals(sockets.time.next(), false);
  assertStrictEquals(sockets.sockets.length, 101);
  for (const socket of sockets.sockets) assertStrictEquals(socket.listeners, 0);
});

for (let turns = 0; turns < 8; turns++) {
  for (const how of ["close", "terminate", "abort"] as const) {
    Deno.test(`ClientSocket gives up after ${turns} turns of an attempt by ${how}`, async () => {
      using sockets = new FakeWebSockets();
      const stop = new AbortController();
      const client = new RecordingClient();
      let connecting = client.connect(URL, { signal: stop.signal });
      connecting.catch(() => {});
      for (let i = 0; i < turns; i++) await null;
      if (how === "abort") stop.abort();
      else client[how]();
      const { length } = sockets.sockets;
      await sockets.settle();
      assertStrictEquals(sockets.sockets.length, length);
      await assertRejects(() => connecting);
      assertEquals(client.recorded, []);
      // What is left of it does not get into the way of the next one.
      connecting = client.connect(URL);
      await sockets.settle();
      sockets.last.open();
      await connecting;
      assertEquals(client.recorded, ["connect"]);
      await client.close();
      assertStrictEquals(sockets.time.next(), false);
    });
  }
}

Deno.test("ClientSocket makes no attempt when it is closed as its pause ends", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  await openClient(sockets, client);
  sockets.last.lose();
  await sockets.settle();
  const close = () => client.close();
  addEventListener("online", close);
  try {
    dispatchEvent(new Event("online"));
  } finally {
    removeEventListener("online", close);
  }
  await sockets.wait(100_000);
  assertStrictEquals(sockets.sockets.length, 1);
  assertStrictEquals(client.recorded.at(-1), "giveup ConnectError");
});

Deno.test("ClientSocket does not come before the server has asked it to, network or not", async () => {
  using page = new FakePage();
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  await openClient(sockets, client);
  sockets.last.end(true, 1012, "retry-after=5");
  await sockets.settle();
  page.network(true);
  await sockets.wait(5_000);
  assertStrictEquals(sockets.sockets.length, 1);
  await reconnectClient(sockets);
  sockets.last.lose();
  await sockets.settle();
  page.network(true);
  await sockets.settle();
  assertStrictEquals(sockets.sockets.length, 3);
  await client.close();
});

Deno.test("ClientSocket gives up at once if the server asks for more than maxDuration", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({ reconnect: { maxDuration: 60_000 } });
  const giveup: unknown[] = [];
  client.on("giveup", (error) => giveup.push(error));
  await openClient(sockets, client);
  const message = client.waitFor("message");
  sockets.last.end(true, 1012, "retry-after=3600");
  await assertRejects(() => message, ConnectError, "delay of 3600000 ms");
  await sockets.wait(100_000);
  assertEquals(client.recorded, [
    "connect",
    "close 1012retry-after=3600",
    "giveup ConnectError",
  ]);
  assertStrictEquals(giveup.length, 1);
  assertInstanceOf(giveup[0], ConnectError);
  assertStrictEquals(sockets.sockets.length, 1);
});

Deno.test("ClientSocket.connect() need not be awaited once it has told that it goes on", async () => {
  using sockets = new FakeWebSockets();
  const stop = new AbortController();
  const client = new RecordingClient({
    reconnect: { maxAttempts: 1, signal: stop.signal },
  });
  client.connect(URL);
  await sockets.settle();
  sockets.last.refuse();
  await sockets.wait(500);
  sockets.last.refuse();
  await sockets.settle();
  assertStrictEquals(client.recorded.at(-1), "giveup ConnectError");
  client.connect(URL);
  await sockets.settle();
  client.close();
  client.connect(URL);
  await sockets.settle();
  sockets.last.refuse();
  await sockets.settle();
  stop.abort(new RangeError("enough"));
  await sockets.settle();
  assertStrictEquals(client.recorded.at(-1), "giveup RangeError");
});

Deno.test("ClientSocket.connect() that nobody else would hear of is heard of", async () => {
  using sockets = new FakeWebSockets();
  const heard: unknown[] = [];
  const hear = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    heard.push(event.reason);
  };
  addEventListener("unhandledrejection", hear);
  try {
    const client = new RecordingClient({ reconnect: { maxAttempts: 0 } });
    client.connect(URL);
    await sockets.settle();
    sockets.last.refuse();
    await sockets.settle();
    await new Promise((resolve) => setImmediate(resolve));
    assertInstanceOf(heard[0], ConnectError);
    assertEquals(client.recorded, []);
  } finally {
    removeEventListener("unhandledrejection", hear);
  }
});

Deno.test("shouldReconnect that decides nothing keeps the client away", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({
    // @ts-expect-error It has to decide
    reconnect: { shouldReconnect: () => {} },
  });
  await openClient(sockets, client);
  sockets.last.lose();
  await assertRejects(() => client.send("late"), ConnectionEndedError);
  await openClient(sockets, client);
  await client.close();
});

Deno.test("ClientSocket tells all of reconnecting before it gives up in it", async () => {
  using sockets = new FakeWebSockets();
  const client = new ClientSocket({ reconnect: true });
  client.on("reconnecting", () => client.close());
  const told: string[] = [];
  client.on("reconnecting", () => told.push("reconnecting"));
  client.on("giveup", () => told.push("giveup"));
  await openClient(sockets, client);
  sockets.last.lose();
  await sockets.settle();
  assertEquals(told, ["reconnecting", "giveup"]);
});

Deno.test("ClientSocket.waitFor() gets the end that a listener closes the client at", async () => {
  using sockets = new FakeWebSockets();
  const client = new ClientSocket({ reconnect: true });
  client.on("disconnect", () => client.close());
  const end = client.waitFor("disconnect");
  const message = client.waitFor("message");
  await openClient(sockets, client);
  sockets.last.lose();
  assertStrictEquals((await end)[0], 1006);
  await assertRejects(() => message, ConnectError, "was closed");
});

Deno.test("ClientSocket.connect() does not count the time of one before it", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({ reconnect: { maxDuration: 8_000 } });
  client.connect(URL);
  await sockets.wait(9_000);
  client.close();
  client.connect(URL);
  await sockets.settle();
  sockets.last.refuse();
  await sockets.settle();
  assertEquals(client.recorded, ["reconnecting 1 500"]);
  await client.close();
});

Deno.test("ClientSocket takes several functions that fail for one attempt that failed", async () => {
  using sockets = new FakeWebSockets();
  const client = new ClientSocket({
    protocols: () => {
      throw new Error("no protocols");
    },
    headers: () => Promise.reject(new Error("no headers")),
  });
  await assertRejects(
    () => client.connect(() => Promise.reject(new Error("no URL"))),
    ConnectError,
    "could not be determined: no",
  );
  assertStrictEquals(sockets.sockets.length, 0);
});

Deno.test("ClientSocket.connect() takes any reason of its signal", async () => {
  using _dial = new FakeWebSockets();
  const stop = new AbortController();
  const client = new RecordingClient();
  const reason = Object.create(null);
  const connecting = client.connect(URL, { signal: stop.signal });
  const sent = assertRejects(() => client.send("never"), ConnectionEndedError);
  const message = assertRejects(() => client.waitFor("message"), ConnectError);
  stop.abort(reason);
  await sent;
  await message;
  const caught = await connecting.catch((error: unknown) => error);
  assertStrictEquals(caught, reason);
});

Deno.test("ClientSocket.close() with a wrong code changes nothing", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  await openClient(sockets, client);
  sockets.last.lose();
  await sockets.settle();
  assertThrows(() => client.close(1001), RangeError);
  await reconnectClient(sockets);
  assertStrictEquals(client.recorded.at(-1), "connect");
  await client.close();
});

Deno.test("ClientSocket.close() rejects what was sent as the connection was lost", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  await openClient(sockets, client);
  sockets.last.readyState = 2;
  const sent = client.send("never");
  client.close();
  await assertRejects(() => sent, ConnectionEndedError, "was closed");
  sockets.last.lose();
});

Deno.test("idleTimeout does not cut a closing handshake short", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({ idleTimeout: 1_000 });
  await openClient(sockets, client);
  sockets.last.answers = false;
  client.close(4000, "bye");
  await sockets.wait(5_000);
  assertEquals(client.recorded, ["connect"]);
  sockets.last.end(true, 4000, "bye");
  assertEquals(client.recorded, ["connect", "close 4000bye"]);
  assertStrictEquals(sockets.time.next(), false);
});

Deno.test("idleTimeout is over with the connection", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({ idleTimeout: 1_000 });
  await openClient(sockets, client);
  sockets.last.end(true, 1000);
  await sockets.settle();
  assertStrictEquals(sockets.time.next(), false);
});

Deno.test("ClientSocket takes one subprotocol as a text, too, as WebSocket does", async () => {
  using sockets = new FakeWebSockets();
  for (const protocols of ["chat", () => "chat", ["chat"]]) {
    const client = new ClientSocket({ protocols, plain: true });
    await openClient(sockets, client);
    assertEquals(sockets.last.protocols, ["chat"]);
    await client.close();
  }
});

Deno.test("ClientSocket refuses a connectTimeout of 0, which no attempt could meet", () => {
  assertThrows(
    () => new ClientSocket({ connectTimeout: 0 }),
    RangeError,
    "Infinity",
  );
});

for (const type of ["disconnect", "reconnecting"] as const) {
  Deno.test(`ClientSocket may be connected anew in a listener of ${type}`, async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient();
    const told: string[] = [];
    const ends: Promise<unknown>[] = [];
    const waits: Promise<unknown>[] = [];
    client.on("giveup", () => told.push("giveup"));
    await openClient(sockets, client);
    client.once(type, () => {
      ends.push(assertRejects(() => early, ConnectError, "was closed"));
      client.close();
      client.connect("ws://other.test/");
      told.push("connecting");
      waits.push(client.waitFor("connect"));
    });
    const early = client.waitFor("message");
    sockets.last.lose();
    await sockets.settle();
    sockets.last.open();
    await Promise.all([...ends, ...waits]);
    assertStrictEquals(waits.length, 1);
    assertStrictEquals(client.connection?.url, "ws://other.test/");
    // What is told of the old way is told before the new one begins.
    assertStrictEquals(told.at(-1), "connecting");
    assertStrictEquals(client.recorded.at(-1), "connect");
    await client.close();
  });
}

Deno.test("ClientSocket may be connected anew by shouldReconnect, once it is closed", async () => {
  using sockets = new FakeWebSockets();
  const waits: Promise<unknown>[] = [];
  const client: RecordingClient = new RecordingClient({
    reconnect: {
      shouldReconnect: () => {
        client.close();
        client.connect("ws://other.test/");
        waits.push(client.waitFor("connect"));
        return true;
      },
    },
  });
  await openClient(sockets, client);
  const end = client.waitFor("disconnect");
  sockets.last.lose();
  await sockets.settle();
  sockets.last.open();
  await Promise.all([...waits, end]);
  assertStrictEquals(waits.length, 1);
  assertStrictEquals(client.connection?.url, "ws://other.test/");
  assertEquals(client.recorded, [
    "connect",
    "disconnect 1006 network",
    "connect",
  ]);
  await client.close();
});

Deno.test("ClientSocket.waitFor() gets the end that shouldReconnect closes the client at", async () => {
  using sockets = new FakeWebSockets();
  const client: RecordingClient = new RecordingClient({
    reconnect: {
      shouldReconnect: () => {
        client.close();
        return true;
      },
    },
  });
  await openClient(sockets, client);
  const end = client.waitFor("disconnect");
  const message = client.waitFor("message");
  sockets.last.lose();
  assertStrictEquals((await end)[0], 1006);
  await assertRejects(() => message, ConnectError, "was closed");
  assertEquals(client.recorded, ["connect", "disconnect 1006 network"]);
});

Deno.test("ClientSocket does not wait for ever for a socket that closes by itself", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({ reconnect: true, closeTimeout: 2_000 });
  await openClient(sockets, client);
  sockets.last.readyState = 2; // as in Node, until the server ends TCP, too
  const sent = client.send("late");
  client.send("later");
  await sockets.wait(1_999);
  assertEquals(client.recorded, ["connect"]);
  await sockets.wait(1);
  assertEquals(client.recorded.slice(1), [
    "disconnect 1006 timeout",
    "reconnecting 1 500",
  ]);
  await reconnectClient(sockets);
  await sent;
  assertEquals(sockets.last.sent, ["late", "later"]);
  await client.close();
  assertStrictEquals(sockets.time.next(), false);
});

Deno.test("ClientSocket says what may help if a runtime does not say why it could not connect", async () => {
  using sockets = new FakeWebSockets();
  const codec = { name: "x", encode: String, decode: Number };
  const client = new ClientSocket({ codec });
  const refused = assertRejects(
    () => client.connect(URL),
    ConnectError,
    'does not know the codec "x", use the option "plain"',
  );
  await sockets.settle();
  sockets.last.refuse("");
  await refused;
});
