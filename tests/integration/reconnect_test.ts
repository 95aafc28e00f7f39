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
import type { Cause } from "../../core/events/errors.ts";
import { Dial } from "../support/dialled.ts";
import { comeBack, Observed, open, URL } from "../support/observed.ts";

Deno.test("ClientSocket does not come back unless it is told to", async () => {
  using dial = new Dial();
  const client = new Observed({});
  await open(dial, client);
  dial.last.lose();
  await dial.wait(100_000);
  assertEquals(client.told, ["connect", "disconnect 1006 network"]);
  assertStrictEquals(dial.sockets.length, 1);
  assertStrictEquals(dial.time.next(), false);
});

Deno.test("ClientSocket comes back after a loss, with longer and longer delays", async () => {
  using dial = new Dial();
  const client = new Observed();
  await open(dial, client);
  dial.last.lose();
  await dial.wait(500);
  dial.last.refuse();
  await dial.wait(999);
  assertStrictEquals(dial.sockets.length, 2);
  await dial.wait(1);
  assertStrictEquals(dial.sockets.length, 3);
  assertEquals(client.connection, undefined);
  dial.last.open();
  await dial.settle();
  assertEquals(client.told, [
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
  using dial = new Dial();
  const client = new Observed();
  const errors: unknown[] = [];
  client.on("reconnecting", (_attempt, _delay, error) => errors.push(error));
  const connecting = client.connect(URL);
  await dial.settle();
  dial.last.refuse();
  await comeBack(dial);
  await connecting;
  assertEquals(client.told, ["reconnecting 1 500", "connect"]);
  assertInstanceOf(errors[0], ConnectError);
  await client.close();
});

Deno.test("ClientSocket tells no error of the attempt before the first", async () => {
  using dial = new Dial();
  const client = new Observed();
  const errors: unknown[] = [];
  client.on("reconnecting", (_attempt, _delay, error) => errors.push(error));
  client.addEventListener("reconnecting", (event) => {
    errors.push(event.attempt, event.delay, event.error);
  });
  await open(dial, client);
  dial.last.lose();
  await dial.settle();
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
    using dial = new Dial();
    const client = new Observed();
    await open(dial, client);
    dial.last.end(true, code);
    await dial.wait(100_000);
    assertStrictEquals(dial.sockets.length, reconnects ? 2 : 1);
    assertEquals(client.told.slice(0, 3), [
      "connect",
      `close ${code}`,
      ...reconnects ? ["reconnecting 1 500"] : [],
    ]);
    await client.close();
  });
}

Deno.test("ClientSocket does not come back if the server said no before the loss", async () => {
  using dial = new Dial();
  const client = new Observed();
  await open(dial, client);
  // A browser may tell the code of a close frame, though the rest went wrong.
  dial.last.fail("");
  dial.last.end(false, 4001, "out");
  await dial.wait(100_000);
  assertEquals(client.told, ["connect", "disconnect 4001 network"]);
  assertStrictEquals(dial.sockets.length, 1);
});

Deno.test("shouldReconnect decides, and gets the end", async () => {
  using dial = new Dial();
  const asked: [number, string, boolean, Cause][] = [];
  const client = new Observed({
    reconnect: {
      shouldReconnect: (end) => {
        asked.push([end.code, end.reason, end.wasClean, end.cause]);
        return end.code === 4100;
      },
    },
  });
  await open(dial, client);
  dial.last.end(true, 4100, "moved");
  await comeBack(dial);
  dial.last.lose();
  await dial.wait(100_000);
  assertEquals(asked, [
    [4100, "moved", true, "peer"],
    [1006, "", false, "network"],
  ]);
  assertStrictEquals(client.connection, undefined);
});

Deno.test("shouldReconnect that throws is an error, and the client stays away", async () => {
  using dial = new Dial();
  const client = new Observed({
    reconnect: {
      shouldReconnect: () => {
        throw new Error("oops");
      },
    },
  });
  const errors: unknown[] = [];
  client.on("error", (error, from) => errors.push(error, from));
  await open(dial, client);
  dial.last.lose();
  await dial.wait(100_000);
  assertEquals(client.told, ["connect", "disconnect 1006 network"]);
  assertInstanceOf(errors[0], Error);
  assertStrictEquals(errors[1], "disconnect");
});

Deno.test("shouldReconnect may close the client, and cannot connect it", async () => {
  using dial = new Dial();
  let act: () => unknown = () => client.close();
  const client: Observed = new Observed({
    reconnect: {
      shouldReconnect: () => {
        act();
        return true;
      },
    },
  });
  await open(dial, client);
  dial.last.lose();
  await dial.wait(100_000);
  assertStrictEquals(dial.sockets.length, 1);
  await open(dial, client);
  const rejected: Promise<unknown>[] = [];
  act = () => {
    rejected.push(
      assertRejects(() => client.connect(URL), Error, "on its way"),
    );
  };
  dial.last.lose();
  await comeBack(dial);
  await Promise.all(rejected);
  assertStrictEquals(rejected.length, 1);
  assertEquals(client.told, [
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
  using dial = new Dial();
  const sends: Promise<void>[] = [];
  const client: ClientSocket = new ClientSocket({
    reconnect: {
      shouldReconnect: () => {
        sends.push(client.send(`${sends.length}`));
        return sends.length < 2;
      },
    },
  });
  await open(dial, client);
  dial.last.lose();
  await comeBack(dial);
  await sends[0];
  assertEquals(dial.last.sent, ["0"]);
  dial.last.lose();
  await assertRejects(async () => await sends[1], ConnectionEndedError);
});

Deno.test("ClientSocket does not mind what becomes of an old connection", async () => {
  for (const how of ["close", "terminate"] as const) {
    using dial = new Dial();
    const client = new Observed();
    await open(dial, client);
    const old = client.connection;
    dial.last.lose();
    await comeBack(dial);
    old?.[how]();
    dial.last.lose();
    await comeBack(dial);
    assertStrictEquals(client.told.at(-1), "connect");
    await client.close();
  }
});

for (const how of ["close", "terminate"] as const) {
  Deno.test(`Connection.${how}() is no loss for the client, nor while its end is kept back`, async () => {
    using dial = new Dial();
    const client = new ClientSocket({ reconnect: true });
    await open(dial, client);
    // Nobody has listened yet, and somebody may still come.
    dial.last.receive("early");
    dial.last.lose();
    client.connection?.[how]();
    await dial.wait(100_000);
    assertStrictEquals(dial.sockets.length, 1);
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
    using dial = new Dial();
    const client = new Observed();
    await open(dial, client);
    client[how]();
    if (how === "close") dial.last.end(true, 1000);
    await dial.wait(100_000);
    assertStrictEquals(client.told.length, 2);
    assertStrictEquals(dial.sockets.length, 1);
  });

  Deno.test(`Connection.${how}() is no loss for the client either`, async () => {
    using dial = new Dial();
    const client = new Observed();
    await open(dial, client);
    client.connection?.[how]();
    if (how === "close") dial.last.end(true, 1000);
    await dial.wait(100_000);
    assertStrictEquals(client.told.length, 2);
    assertStrictEquals(dial.sockets.length, 1);
  });

  Deno.test(`ClientSocket.${how}() between two attempts ends them`, async () => {
    using dial = new Dial();
    const client = new Observed();
    await open(dial, client);
    dial.last.lose();
    await dial.settle();
    await client[how]();
    assertStrictEquals(dial.time.next(), false);
    assertEquals(client.told.slice(1), [
      "disconnect 1006 network",
      "reconnecting 1 500",
      "giveup ConnectError",
    ]);
    // And it may be connected again at once, and comes back as before.
    const connected = client.waitFor("connect");
    await open(dial, client);
    await connected;
    dial.last.lose();
    await comeBack(dial);
    assertStrictEquals(client.told.at(-1), "connect");
    await client.close();
  });

  Deno.test(`ClientSocket.${how}() in an attempt ends it`, async () => {
    using dial = new Dial();
    const client = new Observed();
    await open(dial, client);
    dial.last.lose();
    await dial.wait(500);
    await client[how]();
    await dial.wait(100_000);
    assertStrictEquals(dial.sockets.length, 2);
    assertStrictEquals(dial.last.readyState, 3);
    assertStrictEquals(client.told.at(-1), "giveup ConnectError");
  });
}

Deno.test("ClientSocket that is closed while its connection is being lost stays away", async () => {
  using dial = new Dial();
  const client = new Observed();
  await open(dial, client);
  client.close(4000);
  dial.last.lose();
  await dial.wait(100_000);
  assertEquals(client.told, ["connect", "disconnect 1006 network"]);
  assertStrictEquals(dial.sockets.length, 1);
});

for (const type of ["disconnect", "reconnecting"] as const) {
  Deno.test(`ClientSocket may be closed in a listener of ${type}`, async () => {
    using dial = new Dial();
    const client = new Observed();
    client.on(type, () => client.close());
    await open(dial, client);
    dial.last.lose();
    await dial.wait(100_000);
    assertStrictEquals(dial.sockets.length, 1);
    assertEquals(
      client.told.slice(2),
      type === "disconnect"
        ? ["giveup ConnectError"]
        : ["reconnecting 1 500", "giveup ConnectError"],
    );
  });
}

Deno.test("ClientSocket tells each way to a connection to its end", async () => {
  using dial = new Dial();
  const client = new Observed();
  const order: string[] = [];
  client.on("disconnect", () => order.push("client"));
  client.on("reconnecting", () => order.push("reconnecting"));
  client.on("connect", (connection) => {
    connection.on("disconnect", () => order.push("connection"));
  });
  await open(dial, client);
  dial.last.lose();
  await dial.settle();
  assertEquals(order, ["client", "connection", "reconnecting"]);
  await client.close();
});

Deno.test("ClientSocket gives up after maxAttempts", async () => {
  using dial = new Dial();
  const client = new Observed({ reconnect: { maxAttempts: 2 } });
  const errors: unknown[] = [];
  client.on("giveup", (error) => errors.push(error));
  client.addEventListener("giveup", (event) => errors.push(event.error));
  await open(dial, client);
  dial.last.lose();
  for (const delay of [500, 1_000]) {
    await dial.wait(delay);
    dial.last.refuse();
  }
  await dial.wait(100_000);
  assertEquals(client.told.slice(1), [
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
  using dial = new Dial();
  const client = new Observed({ reconnect: { maxAttempts: 1 } });
  const connecting = client.connect(URL);
  const rejected = assertRejects(() => connecting, ConnectError, "after 1 att");
  await dial.settle();
  dial.last.refuse();
  await dial.wait(500);
  dial.last.refuse();
  await dial.wait(0);
  await rejected;
  assertEquals(client.told, ["reconnecting 1 500", "giveup ConnectError"]);
});

Deno.test("ClientSocket tells of no giving up if it never said that it goes on", async () => {
  using dial = new Dial();
  const client = new Observed({ reconnect: { maxAttempts: 0 } });
  const connecting = client.connect(URL);
  await dial.settle();
  dial.last.refuse();
  await assertRejects(() => connecting, ConnectError);
  assertEquals(client.told, []);
});

for (const how of ["maxAttempts", "signal"] as const) {
  Deno.test(`ClientSocket tells that it gives up, though there is no attempt, by ${how}`, async () => {
    using dial = new Dial();
    const stop = new AbortController();
    const client = new Observed({
      reconnect: how === "signal"
        ? { signal: stop.signal }
        : { maxAttempts: 0 },
    });
    client.on("disconnect", () => stop.abort(new ConnectError("enough", URL)));
    await open(dial, client);
    const message = client.waitFor("message");
    dial.last.lose();
    await dial.wait(100_000);
    assertEquals(client.told, [
      "connect",
      "disconnect 1006 network",
      "giveup ConnectError",
    ]);
    await assertRejects(() => message, ConnectError);
    assertStrictEquals(dial.sockets.length, 1);
  });
}

Deno.test("ClientSocket gives up after maxDuration", async () => {
  using dial = new Dial();
  const client = new Observed({
    reconnect: { maxDuration: 3_000 },
    connectTimeout: 1_000,
  });
  await open(dial, client);
  dial.last.lose();
  // Each attempt takes its second, and fails.
  for (let i = 0; i < 20; i++) await dial.wait(500);
  assertEquals(client.told.slice(2), [
    "reconnecting 1 500",
    "reconnecting 2 1000",
    "giveup ConnectError",
  ]);
  assertStrictEquals(dial.sockets.length, 3);
});

Deno.test("ClientSocket does not give up for the time that its page was frozen", async () => {
  using dial = new Dial();
  const client = new Observed({ reconnect: { maxDuration: 3_000 } });
  await open(dial, client);
  dial.last.lose();
  await dial.settle();
  dial.frozen += 1_000_000;
  await dial.wait(500);
  dial.frozen += 1_000_000;
  dial.last.refuse();
  await dial.settle();
  // An attempt counts as long as it may take, which is more than that.
  assertEquals(client.told.slice(2), [
    "reconnecting 1 500",
    "giveup ConnectError",
  ]);
  await open(dial, client);
  dial.last.lose();
  await dial.settle();
  dial.frozen += 1_000_000;
  await dial.wait(500);
  dial.last.refuse();
  await dial.settle();
  assertStrictEquals(client.told.at(-1), "reconnecting 2 1000");
  await client.close();
});

Deno.test("ClientSocket.connect() counts attempts anew", async () => {
  using dial = new Dial();
  const client = new Observed({ reconnect: { maxAttempts: 1 } });
  for (let i = 0; i < 2; i++) {
    const connecting = client.connect(URL);
    const rejected = assertRejects(() => connecting, ConnectError);
    await dial.settle();
    dial.last.refuse();
    await dial.wait(500);
    dial.last.refuse();
    await dial.settle();
    await rejected;
  }
  const once = ["reconnecting 1 500", "giveup ConnectError"];
  assertEquals(client.told, [...once, ...once]);
});

Deno.test("ClientSocket counts its attempts on if a connection did not live", async () => {
  using dial = new Dial();
  const client = new Observed({ reconnect: { minUptime: 1_000 } });
  await open(dial, client);
  await dial.wait(999);
  dial.last.lose();
  await comeBack(dial);
  await dial.wait(999);
  dial.last.lose();
  await comeBack(dial);
  await dial.wait(1_000);
  dial.last.lose();
  await dial.settle();
  assertEquals(client.told.filter((line) => line.startsWith("rec")), [
    "reconnecting 1 500",
    "reconnecting 2 1000",
    "reconnecting 1 500",
  ]);
  await client.close();
});

Deno.test("ClientSocket waits as long as the server has asked for, and a while", async () => {
  using dial = new Dial();
  const client = new Observed();
  await open(dial, client);
  dial.last.end(true, 1001, "retry-after=5");
  await dial.wait(7_999);
  assertStrictEquals(dial.sockets.length, 1);
  await dial.wait(1);
  dial.last.refuse();
  await dial.settle();
  assertEquals(client.told.slice(2), [
    "reconnecting 1 8000",
    "reconnecting 2 1000",
  ]);
  await client.close();
});

Deno.test("reconnect.signal ends attempts, but no connection", async () => {
  using dial = new Dial();
  const stop = new AbortController();
  const client = new Observed({ reconnect: { signal: stop.signal } });
  await open(dial, client);
  dial.last.lose();
  await comeBack(dial);
  dial.last.lose();
  await dial.settle();
  stop.abort(new RangeError("enough"));
  assertStrictEquals(dial.time.next(), false);
  assertStrictEquals(client.told.at(-1), "giveup RangeError");
  // It still connects if it is asked to, and stays then.
  await open(dial, client);
  dial.last.lose();
  await dial.wait(100_000);
  assertEquals(client.told.slice(-2), ["connect", "disconnect 1006 network"]);
});

Deno.test("reconnect.signal that is aborted makes an end the last", async () => {
  using dial = new Dial();
  const client = new Observed({ reconnect: { signal: AbortSignal.abort() } });
  await open(dial, client);
  const message = client.waitFor("message");
  dial.last.lose();
  await assertRejects(() => message, ConnectionEndedError);
  await assertRejects(() => client.send("late"), ConnectionEndedError);
});

Deno.test("reconnect.signal ends the first way, too, but not its first attempt", async () => {
  using dial = new Dial();
  const client = new Observed({
    reconnect: { signal: AbortSignal.abort(new RangeError("enough")) },
  });
  const connecting = client.connect(URL);
  await dial.settle();
  dial.last.refuse();
  await assertRejects(() => connecting, RangeError, "enough");
  assertEquals(client.told, []);
});

Deno.test("reconnect.signal has no listeners once the client is connected, or has given up", async () => {
  using dial = new Dial();
  const { signal } = new AbortController();
  using adds = stub(signal, "addEventListener");
  using removes = stub(signal, "removeEventListener");
  const client = new Observed({ reconnect: { signal } });
  const connecting = client.connect(URL, { signal });
  await dial.settle();
  dial.last.refuse();
  await comeBack(dial);
  await connecting;
  dial.last.lose();
  await comeBack(dial);
  dial.last.lose();
  await dial.settle();
  await client.close();
  assert(adds.calls.length > 2);
  assertStrictEquals(removes.calls.length, adds.calls.length);
});

Deno.test("ClientSocket.connect() gives up all attempts when its signal is aborted", async () => {
  using dial = new Dial();
  const stop = new AbortController();
  const client = new Observed();
  const connecting = client.connect(URL, { signal: stop.signal });
  const rejected = assertRejects(() => connecting, RangeError, "enough");
  await dial.settle();
  dial.last.refuse();
  await dial.settle();
  stop.abort(new RangeError("enough"));
  await rejected;
  await dial.wait(100_000);
  assertStrictEquals(dial.sockets.length, 1);
  assertEquals(client.told, ["reconnecting 1 500", "giveup RangeError"]);
});

Deno.test("ClientSocket.connect() has nothing to do with its signal later", async () => {
  using dial = new Dial();
  const stop = new AbortController();
  const client = new Observed();
  const connecting = client.connect(URL, { signal: stop.signal });
  await dial.settle();
  dial.last.open();
  await connecting;
  stop.abort();
  dial.last.lose();
  await comeBack(dial);
  assertStrictEquals(client.told.at(-1), "connect");
  await client.close();
});

Deno.test("ClientSocket asks functions for URL, subprotocols and headers at each attempt", async () => {
  using dial = new Dial();
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
  await dial.settle();
  dial.last.open();
  await connecting;
  dial.last.lose();
  await comeBack(dial);
  assertEquals(
    dial.sockets.map((
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
  using dial = new Dial();
  const client = new Observed();
  const errors: unknown[] = [];
  client.on("reconnecting", (_attempt, _delay, error) => errors.push(error));
  let count = 0;
  const connecting = client.connect(() => {
    if (++count === 1) throw new Error("no token");
    return URL;
  });
  await comeBack(dial);
  await connecting;
  const [error] = errors;
  assertInstanceOf(error, ConnectError);
  assertMatch(error.message, /could not be had: no token/);
  assertInstanceOf(error.cause, Error);
  await client.close();
});

Deno.test("ClientSocket does not wait for a function longer than connectTimeout", async () => {
  using dial = new Dial();
  const client = new Observed({ connectTimeout: 1_000 });
  const late = Promise.withResolvers<string>();
  const connecting = client.connect(() => late.promise);
  const rejected = assertRejects(
    () => connecting,
    ConnectError,
    "no answer within 1000 ms",
  );
  await dial.wait(1_000);
  await rejected;
  late.resolve(URL);
  await dial.wait(1_000);
  assertStrictEquals(dial.sockets.length, 0);
});

Deno.test("ClientSocket opens no socket for a function that answers when it is closed", async () => {
  using dial = new Dial();
  const client = new Observed();
  const late = Promise.withResolvers<string>();
  const connecting = client.connect(() => late.promise);
  const rejected = assertRejects(() => connecting, ConnectError, "was closed");
  await dial.settle();
  late.resolve(URL);
  await client.close();
  await rejected;
  await dial.wait(1_000);
  assertStrictEquals(dial.sockets.length, 0);
});

Deno.test("ClientSocket gives up at once if its URL is none", async () => {
  using dial = new Dial();
  const client = new Observed();
  await assertRejects(() => client.connect("nonsense"), TypeError);
  await dial.wait(100_000);
  assertEquals(client.told, []);
  assertStrictEquals(dial.sockets.length, 0);
});

Deno.test("connectTimeout ends an attempt that nobody answers", async () => {
  using dial = new Dial();
  const client = new Observed({});
  const connecting = client.connect(URL);
  const rejected = assertRejects(
    () => connecting,
    ConnectError,
    "Cannot connect to ws://example.test/: no answer within 10000 ms",
  );
  await dial.wait(9_999);
  assertStrictEquals(dial.last.readyState, 0);
  await dial.wait(1);
  await rejected;
  assert(dial.last.readyState >= 2);
  assertStrictEquals(dial.time.next(), false);
});

Deno.test("connectTimeout of Infinity waits for ever, and leaves no timer behind", async () => {
  using dial = new Dial();
  const client = new Observed({ connectTimeout: Infinity });
  const connecting = client.connect(URL);
  await dial.settle();
  assertStrictEquals(dial.time.next(), false);
  dial.last.open();
  await connecting;
  await client.terminate();
});

Deno.test("idleTimeout ends a connection that is silent, as a loss", async () => {
  using dial = new Dial();
  const client = new Observed({ idleTimeout: 1_000, reconnect: true });
  await open(dial, client);
  await dial.wait(900);
  dial.last.receive("alive");
  await dial.wait(999);
  assertEquals(client.told, ["connect"]);
  await dial.wait(251);
  assertEquals(client.told.slice(1), [
    "disconnect 1006 timeout",
    "reconnecting 1 500",
  ]);
  await client.close();
  assertStrictEquals(dial.time.next(), false);
});

for (const idleTimeout of [0, Infinity]) {
  Deno.test(`idleTimeout of ${idleTimeout} never ends a connection`, async () => {
    using dial = new Dial();
    const client = new Observed({ idleTimeout });
    await open(dial, client);
    await dial.settle();
    assertStrictEquals(dial.time.next(), false);
    await client.terminate();
  });
}

Deno.test("idleTimeout ends a connection that takes nothing, though it is not silent", async () => {
  using dial = new Dial();
  const client = new Observed({ idleTimeout: 1_000, highWaterMark: 100 });
  await open(dial, client);
  dial.last.isStalled = true;
  client.send("x".repeat(100));
  for (let i = 0; i < 20 && client.connection; i++) {
    await dial.wait(500);
    dial.last.receive("alive");
  }
  assertEquals(client.told, ["connect", "disconnect 1006 backpressure"]);
});

Deno.test("ClientSocket.waitFor() waits across connections, and not beyond the last", async () => {
  using dial = new Dial();
  const client = new Observed({ reconnect: { maxAttempts: 1 } });
  await open(dial, client);
  const message = client.waitFor("message");
  const close = client.waitFor("close");
  dial.last.lose();
  await comeBack(dial);
  dial.last.receive("hello");
  assertStrictEquals((await message)[0].content, "hello");
  await dial.wait(5_000);
  dial.last.lose();
  await dial.wait(500);
  dial.last.refuse();
  await dial.settle();
  await assertRejects(() => close, ConnectError, "after 1 attempts");
});

Deno.test("ClientSocket.waitFor() gets the giveup itself", async () => {
  using dial = new Dial();
  const client = new Observed();
  await open(dial, client);
  dial.last.lose();
  await dial.settle();
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
  using dial = new Dial();
  const client = new Observed();
  await open(dial, client);
  for (let i = 0; i < 100; i++) {
    dial.last.lose();
    await comeBack(dial);
  }
  client.terminate();
  assertStrictEquals(dial.time.next(), false);
  assertStrictEquals(dial.sockets.length, 101);
  for (const socket of dial.sockets) assertStrictEquals(socket.listeners, 0);
});

for (let turns = 0; turns < 8; turns++) {
  for (const how of ["close", "terminate", "abort"] as const) {
    Deno.test(`ClientSocket gives up after ${turns} turns of an attempt by ${how}`, async () => {
      using dial = new Dial();
      const stop = new AbortController();
      const client = new Observed();
      let connecting = client.connect(URL, { signal: stop.signal });
      connecting.catch(() => {});
      for (let i = 0; i < turns; i++) await null;
      if (how === "abort") stop.abort();
      else client[how]();
      const { length } = dial.sockets;
      await dial.settle();
      assertStrictEquals(dial.sockets.length, length);
      await assertRejects(() => connecting);
      assertEquals(client.told, []);
      // What is left of it does not get into the way of the next one.
      connecting = client.connect(URL);
      await dial.settle();
      dial.last.open();
      await connecting;
      assertEquals(client.told, ["connect"]);
      await client.close();
      assertStrictEquals(dial.time.next(), false);
    });
  }
}

Deno.test("ClientSocket makes no attempt when it is closed as its pause ends", async () => {
  using dial = new Dial();
  const client = new Observed();
  await open(dial, client);
  dial.last.lose();
  await dial.settle();
  const close = () => client.close();
  addEventListener("online", close);
  try {
    dispatchEvent(new Event("online"));
  } finally {
    removeEventListener("online", close);
  }
  await dial.wait(100_000);
  assertStrictEquals(dial.sockets.length, 1);
  assertStrictEquals(client.told.at(-1), "giveup ConnectError");
});

Deno.test("ClientSocket does not come before the server has asked it to, network or not", async () => {
  using dial = new Dial();
  const client = new Observed();
  await open(dial, client);
  dial.last.end(true, 1012, "retry-after=5");
  await dial.settle();
  dispatchEvent(new Event("online"));
  await dial.wait(5_000);
  assertStrictEquals(dial.sockets.length, 1);
  await comeBack(dial);
  dial.last.lose();
  await dial.settle();
  dispatchEvent(new Event("online"));
  await dial.settle();
  assertStrictEquals(dial.sockets.length, 3);
  await client.close();
});

Deno.test("ClientSocket gives up at once if the server asks for more than maxDuration", async () => {
  using dial = new Dial();
  const client = new Observed({ reconnect: { maxDuration: 60_000 } });
  const giveup: unknown[] = [];
  client.on("giveup", (error) => giveup.push(error));
  await open(dial, client);
  const message = client.waitFor("message");
  dial.last.end(true, 1012, "retry-after=3600");
  await assertRejects(() => message, ConnectError, "after 3600000 ms");
  await dial.wait(100_000);
  assertEquals(client.told, [
    "connect",
    "close 1012retry-after=3600",
    "giveup ConnectError",
  ]);
  assertStrictEquals(giveup.length, 1);
  assertInstanceOf(giveup[0], ConnectError);
  assertStrictEquals(dial.sockets.length, 1);
});

Deno.test("ClientSocket.connect() need not be awaited once it has told that it goes on", async () => {
  using dial = new Dial();
  const stop = new AbortController();
  const client = new Observed({
    reconnect: { maxAttempts: 1, signal: stop.signal },
  });
  client.connect(URL);
  await dial.settle();
  dial.last.refuse();
  await dial.wait(500);
  dial.last.refuse();
  await dial.settle();
  assertStrictEquals(client.told.at(-1), "giveup ConnectError");
  client.connect(URL);
  await dial.settle();
  client.close();
  client.connect(URL);
  await dial.settle();
  dial.last.refuse();
  await dial.settle();
  stop.abort(new RangeError("enough"));
  await dial.settle();
  assertStrictEquals(client.told.at(-1), "giveup RangeError");
});

Deno.test("ClientSocket.connect() that nobody else would hear of is heard of", async () => {
  using dial = new Dial();
  const heard: unknown[] = [];
  const hear = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    heard.push(event.reason);
  };
  addEventListener("unhandledrejection", hear);
  try {
    const client = new Observed({ reconnect: { maxAttempts: 0 } });
    client.connect(URL);
    await dial.settle();
    dial.last.refuse();
    await dial.settle();
    await new Promise((resolve) => setImmediate(resolve));
    assertInstanceOf(heard[0], ConnectError);
    assertEquals(client.told, []);
  } finally {
    removeEventListener("unhandledrejection", hear);
  }
});

Deno.test("shouldReconnect that decides nothing keeps the client away", async () => {
  using dial = new Dial();
  const client = new Observed({
    // @ts-expect-error A decision cannot wait
    reconnect: { shouldReconnect: () => Promise.resolve(true) },
  });
  await open(dial, client);
  dial.last.lose();
  await assertRejects(() => client.send("late"), ConnectionEndedError);
  await open(dial, client);
  await client.close();
});

Deno.test("ClientSocket tells all of reconnecting before it gives up in it", async () => {
  using dial = new Dial();
  const client = new ClientSocket({ reconnect: true });
  client.on("reconnecting", () => client.close());
  const told: string[] = [];
  client.on("reconnecting", () => told.push("reconnecting"));
  client.on("giveup", () => told.push("giveup"));
  await open(dial, client);
  dial.last.lose();
  await dial.settle();
  assertEquals(told, ["reconnecting", "giveup"]);
});

Deno.test("ClientSocket.waitFor() gets the end that a listener closes the client at", async () => {
  using dial = new Dial();
  const client = new ClientSocket({ reconnect: true });
  client.on("disconnect", () => client.close());
  const end = client.waitFor("disconnect");
  const message = client.waitFor("message");
  await open(dial, client);
  dial.last.lose();
  assertStrictEquals((await end)[0], 1006);
  await assertRejects(() => message, ConnectError, "was closed");
});

Deno.test("ClientSocket.connect() does not count the time of one before it", async () => {
  using dial = new Dial();
  const client = new Observed({ reconnect: { maxDuration: 8_000 } });
  client.connect(URL);
  await dial.wait(9_000);
  client.close();
  client.connect(URL);
  await dial.settle();
  dial.last.refuse();
  await dial.settle();
  assertEquals(client.told, ["reconnecting 1 500"]);
  await client.close();
});

Deno.test("ClientSocket takes several functions that fail for one attempt that failed", async () => {
  using dial = new Dial();
  const client = new ClientSocket({
    protocols: () => {
      throw new Error("no protocols");
    },
    headers: () => Promise.reject(new Error("no headers")),
  });
  await assertRejects(
    () => client.connect(() => Promise.reject(new Error("no URL"))),
    ConnectError,
    "could not be had: no",
  );
  assertStrictEquals(dial.sockets.length, 0);
});

Deno.test("ClientSocket.connect() takes any reason of its signal", async () => {
  using _dial = new Dial();
  const stop = new AbortController();
  const client = new Observed();
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
  using dial = new Dial();
  const client = new Observed();
  await open(dial, client);
  dial.last.lose();
  await dial.settle();
  assertThrows(() => client.close(1001), RangeError);
  await comeBack(dial);
  assertStrictEquals(client.told.at(-1), "connect");
  await client.close();
});

Deno.test("ClientSocket.close() rejects what was sent as the connection was lost", async () => {
  using dial = new Dial();
  const client = new Observed();
  await open(dial, client);
  dial.last.readyState = 2;
  const sent = client.send("never");
  client.close();
  await assertRejects(() => sent, ConnectionEndedError, "was closed");
  dial.last.lose();
});

Deno.test("idleTimeout does not cut a closing handshake short", async () => {
  using dial = new Dial();
  const client = new Observed({ idleTimeout: 1_000 });
  await open(dial, client);
  dial.last.answers = false;
  client.close(4000, "bye");
  await dial.wait(5_000);
  assertEquals(client.told, ["connect"]);
  dial.last.end(true, 4000, "bye");
  assertEquals(client.told, ["connect", "close 4000bye"]);
  assertStrictEquals(dial.time.next(), false);
});

Deno.test("idleTimeout is over with the connection", async () => {
  using dial = new Dial();
  const client = new Observed({ idleTimeout: 1_000 });
  await open(dial, client);
  dial.last.end(true, 1000);
  await dial.settle();
  assertStrictEquals(dial.time.next(), false);
});

Deno.test("ClientSocket takes one subprotocol as a text, too, as WebSocket does", async () => {
  using dial = new Dial();
  for (const protocols of ["chat", () => "chat", ["chat"]]) {
    const client = new ClientSocket({ protocols, plain: true });
    await open(dial, client);
    assertEquals(dial.last.protocols, ["chat"]);
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
    using dial = new Dial();
    const client = new Observed();
    const told: string[] = [];
    const ends: Promise<unknown>[] = [];
    const waits: Promise<unknown>[] = [];
    client.on("giveup", () => told.push("giveup"));
    await open(dial, client);
    client.once(type, () => {
      ends.push(assertRejects(() => early, ConnectError, "was closed"));
      client.close();
      client.connect("ws://other.test/");
      told.push("connecting");
      waits.push(client.waitFor("connect"));
    });
    const early = client.waitFor("message");
    dial.last.lose();
    await dial.settle();
    dial.last.open();
    await Promise.all([...ends, ...waits]);
    assertStrictEquals(waits.length, 1);
    assertStrictEquals(client.connection?.url, "ws://other.test/");
    // What is told of the old way is told before the new one begins.
    assertStrictEquals(told.at(-1), "connecting");
    assertStrictEquals(client.told.at(-1), "connect");
    await client.close();
  });
}

Deno.test("ClientSocket may be connected anew by shouldReconnect, once it is closed", async () => {
  using dial = new Dial();
  const waits: Promise<unknown>[] = [];
  const client: Observed = new Observed({
    reconnect: {
      shouldReconnect: () => {
        client.close();
        client.connect("ws://other.test/");
        waits.push(client.waitFor("connect"));
        return true;
      },
    },
  });
  await open(dial, client);
  const end = client.waitFor("disconnect");
  dial.last.lose();
  await dial.settle();
  dial.last.open();
  await Promise.all([...waits, end]);
  assertStrictEquals(waits.length, 1);
  assertStrictEquals(client.connection?.url, "ws://other.test/");
  assertEquals(client.told, ["connect", "disconnect 1006 network", "connect"]);
  await client.close();
});

Deno.test("ClientSocket.waitFor() gets the end that shouldReconnect closes the client at", async () => {
  using dial = new Dial();
  const client: Observed = new Observed({
    reconnect: {
      shouldReconnect: () => {
        client.close();
        return true;
      },
    },
  });
  await open(dial, client);
  const end = client.waitFor("disconnect");
  const message = client.waitFor("message");
  dial.last.lose();
  assertStrictEquals((await end)[0], 1006);
  await assertRejects(() => message, ConnectError, "was closed");
  assertEquals(client.told, ["connect", "disconnect 1006 network"]);
});

Deno.test("ClientSocket does not wait for ever for a socket that closes by itself", async () => {
  using dial = new Dial();
  const client = new Observed({ reconnect: true, closeTimeout: 2_000 });
  await open(dial, client);
  dial.last.readyState = 2; // as in Node, until the server ends TCP, too
  const sent = client.send("late");
  client.send("later");
  await dial.wait(1_999);
  assertEquals(client.told, ["connect"]);
  await dial.wait(1);
  assertEquals(client.told.slice(1), [
    "disconnect 1006 timeout",
    "reconnecting 1 500",
  ]);
  await comeBack(dial);
  await sent;
  assertEquals(dial.last.sent, ["late", "later"]);
  await client.close();
  assertStrictEquals(dial.time.next(), false);
});

Deno.test("ClientSocket says what may help where a runtime tells nothing", async () => {
  using dial = new Dial();
  const cases: [plain: boolean, told: string, isAdvised: boolean][] = [
    [false, "", true], // as in browsers
    [false, "Server did not respond with sent protocols.", true], // Node
    [false, "Missing client protocol", true], // Bun
    [false, "tcp connect error", false], // Deno
    [true, "", false],
  ];
  for (const [plain, told, isAdvised] of cases) {
    const client = new ClientSocket({ plain });
    const connecting = client.connect(URL);
    await dial.settle();
    dial.last.fail(told);
    dial.last.end(false, 1006);
    const { message } = await assertRejects(() => connecting, ConnectError);
    assertStrictEquals(message.includes('the option "plain"'), isAdvised, told);
    assert(message.includes(told));
  }
});
