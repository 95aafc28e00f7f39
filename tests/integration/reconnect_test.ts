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
  ConnectError,
  ConnectionEndedError,
  isTransient,
} from "../../client.ts";
import { ClientSocket, testClients } from "../support/client_classes.ts";
import { FakePage } from "../support/fake_page.ts";
import { FakeWebSockets } from "../support/fake_websocket.ts";
import {
  openClient,
  reconnectClient,
  RecordingClient,
  URL,
} from "../support/recording_client.ts";

testClients("ClientSocket does not reconnect by default", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({});
  await openClient(sockets, client);
  sockets.last.lose();
  await sockets.wait(100_000);
  assertEquals(client.recorded, ["connect", "disconnect 1006 network"]);
  assertStrictEquals(sockets.sockets.length, 1);
  assertStrictEquals(sockets.time.next(), false);
});

testClients("ClientSocket reconnects with growing delays", async () => {
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

testClients(
  "ClientSocket repeats the first attempt with reconnect",
  async () => {
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
  },
);

testClients(
  "ClientSocket emits reconnecting without an error before the first attempt",
  async () => {
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
  },
);

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
  testClients(
    `ClientSocket reconnects after a close with ${code}: ${reconnects}`,
    async () => {
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
    },
  );
}

testClients("ClientSocket does not reconnect after a final close", async () => {
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

testClients("shouldReconnect decides, and gets the end", async () => {
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

testClients(
  "shouldReconnect that throws emits error and does not reconnect",
  async () => {
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
  },
);

testClients(
  "shouldReconnect can close the client, but not connect it",
  async () => {
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
  },
);

testClients("shouldReconnect can send messages", async () => {
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

testClients("ClientSocket ignores events of an old connection", async () => {
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
  testClients(
    `Connection.${how}() does not reconnect while the end is deferred`,
    async () => {
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
    },
  );
}

testClients("isTransient() accepts any end", () => {
  const end = { type: "close", reason: "", cause: "peer" } as const;
  assert(isTransient({ ...end, code: 1012 }));
  assert(!isTransient({ ...end, code: 1000 }));
});

for (const how of ["close", "terminate"] as const) {
  testClients(`ClientSocket.${how}() does not reconnect`, async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient();
    await openClient(sockets, client);
    client[how]();
    if (how === "close") sockets.last.end(true, 1000);
    await sockets.wait(100_000);
    assertStrictEquals(client.recorded.length, 2);
    assertStrictEquals(sockets.sockets.length, 1);
  });

  testClients(`Connection.${how}() does not reconnect`, async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient();
    await openClient(sockets, client);
    client.connection?.[how]();
    if (how === "close") sockets.last.end(true, 1000);
    await sockets.wait(100_000);
    assertStrictEquals(client.recorded.length, 2);
    assertStrictEquals(sockets.sockets.length, 1);
  });

  testClients(
    `ClientSocket.${how}() between two attempts stops reconnecting`,
    async () => {
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
    },
  );

  testClients(`ClientSocket.${how}() cancels an attempt`, async () => {
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

testClients(
  "ClientSocket.close() during a loss does not reconnect",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient();
    await openClient(sockets, client);
    client.close(4000);
    sockets.last.lose();
    await sockets.wait(100_000);
    assertEquals(client.recorded, ["connect", "disconnect 1006 network"]);
    assertStrictEquals(sockets.sockets.length, 1);
  },
);

for (const type of ["disconnect", "reconnecting"] as const) {
  testClients(
    `ClientSocket.close() works in a listener of ${type}`,
    async () => {
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
    },
  );
}

testClients(
  "ClientSocket reports the result of each sequence of attempts",
  async () => {
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
  },
);

testClients("ClientSocket gives up after maxAttempts", async () => {
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

testClients(
  "ClientSocket.connect() rejects when the first attempts fail",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient({ reconnect: { maxAttempts: 1 } });
    const connecting = client.connect(URL);
    const rejected = assertRejects(
      () => connecting,
      ConnectError,
      "after 1 att",
    );
    await sockets.settle();
    sockets.last.refuse();
    await sockets.wait(500);
    sockets.last.refuse();
    await sockets.wait(0);
    await rejected;
    assertEquals(client.recorded, [
      "reconnecting 1 500",
      "giveup ConnectError",
    ]);
  },
);

testClients("ClientSocket emits no giveup without reconnecting", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({ reconnect: { maxAttempts: 0 } });
  const connecting = client.connect(URL);
  await sockets.settle();
  sockets.last.refuse();
  await assertRejects(() => connecting, ConnectError);
  assertEquals(client.recorded, []);
});

for (const how of ["maxAttempts", "signal"] as const) {
  testClients(
    `ClientSocket emits giveup without an attempt, by ${how}`,
    async () => {
      using sockets = new FakeWebSockets();
      const stop = new AbortController();
      const client = new RecordingClient({
        reconnect: how === "signal"
          ? { signal: stop.signal }
          : { maxAttempts: 0 },
      });
      client.on(
        "disconnect",
        () => stop.abort(new ConnectError("enough", URL)),
      );
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
    },
  );
}

testClients("ClientSocket gives up after maxDuration", async () => {
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

testClients(
  "ClientSocket does not count the time of a frozen page",
  async () => {
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
  },
);

testClients("ClientSocket.connect() resets the count of attempts", async () => {
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

testClients(
  "ClientSocket keeps the count of attempts after a short connection",
  async () => {
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
  },
);

testClients("ClientSocket waits at least for retryAfter", async () => {
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

testClients(
  "reconnect.signal stops attempts, but not a connection",
  async () => {
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
  },
);

testClients(
  "reconnect.signal that is aborted disables reconnecting",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient({
      reconnect: { signal: AbortSignal.abort() },
    });
    await openClient(sockets, client);
    const message = client.waitFor("message");
    sockets.last.lose();
    await assertRejects(() => message, ConnectionEndedError);
    await assertRejects(() => client.send("late"), ConnectionEndedError);
  },
);

testClients(
  "reconnect.signal stops the first attempts, but not the very first",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient({
      reconnect: { signal: AbortSignal.abort(new RangeError("enough")) },
    });
    const connecting = client.connect(URL);
    await sockets.settle();
    sockets.last.refuse();
    await assertRejects(() => connecting, RangeError, "enough");
    assertEquals(client.recorded, []);
  },
);

testClients("reconnect.signal is released", async () => {
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

testClients(
  "ClientSocket.connect() stops all attempts when its signal is aborted",
  async () => {
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
  },
);

testClients("ClientSocket.connect() ignores its signal later", async () => {
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

Deno.test(
  "ClientSocket calls functions for URL, subprotocols and headers for each attempt",
  async () => {
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
  },
);

testClients(
  "ClientSocket treats a failing function as a failed attempt",
  async () => {
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
  },
);

testClients("ClientSocket limits functions by connectTimeout", async () => {
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

testClients("ClientSocket opens no socket after it is closed", async () => {
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

testClients("ClientSocket gives up at once for an invalid URL", async () => {
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

testClients("connectTimeout ends an attempt without a response", async () => {
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

testClients("connectTimeout of Infinity starts no timer", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({ connectTimeout: Infinity });
  const connecting = client.connect(URL);
  await sockets.settle();
  assertStrictEquals(sockets.time.next(), false);
  sockets.last.open();
  await connecting;
  await client.terminate();
});

testClients("idleTimeout disconnects a silent connection", async () => {
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
  testClients(
    `idleTimeout of ${idleTimeout} never ends a connection`,
    async () => {
      using sockets = new FakeWebSockets();
      const client = new RecordingClient({ idleTimeout });
      await openClient(sockets, client);
      await sockets.settle();
      assertStrictEquals(sockets.time.next(), false);
      await client.terminate();
    },
  );
}

Deno.test(
  "idleTimeout disconnects a connection whose server does not read",
  async () => {
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
  },
);

testClients("ClientSocket.waitFor() waits across connections", async () => {
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

testClients("ClientSocket.waitFor() resolves with giveup", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient();
  await openClient(sockets, client);
  sockets.last.lose();
  await sockets.settle();
  const giveup = client.waitFor("giveup");
  client.close();
  assertInstanceOf((await giveup)[0], ConnectError);
});

testClients("ClientSocket rejects invalid times", () => {
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

testClients("ClientSocket that reconnects leaks nothing", async () => {
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
    testClients(
      `ClientSocket gives up after ${turns} turns of an attempt by ${how}`,
      async () => {
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
      },
    );
  }
}

testClients(
  "ClientSocket makes no attempt when it is closed at the end of a delay",
  async () => {
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
  },
);

testClients(
  "ClientSocket waits for retryAfter even if the network is back",
  async () => {
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
  },
);

testClients(
  "ClientSocket gives up at once if retryAfter exceeds maxDuration",
  async () => {
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
  },
);

testClients(
  "ClientSocket.connect() causes no unhandled rejection after reconnecting",
  async () => {
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
  },
);

testClients(
  "ClientSocket.connect() causes an unhandled rejection without other reports",
  async () => {
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
  },
);

testClients(
  "shouldReconnect that returns undefined does not reconnect",
  async () => {
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
  },
);

testClients(
  "ClientSocket emits giveup after all listeners of reconnecting",
  async () => {
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
  },
);

testClients(
  "ClientSocket.waitFor() resolves with the end if a listener closes the client",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new ClientSocket({ reconnect: true });
    client.on("disconnect", () => client.close());
    const end = client.waitFor("disconnect");
    const message = client.waitFor("message");
    await openClient(sockets, client);
    sockets.last.lose();
    assertStrictEquals((await end)[0], 1006);
    await assertRejects(() => message, ConnectError, "was closed");
  },
);

testClients("ClientSocket.connect() resets the elapsed time", async () => {
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

Deno.test(
  "ClientSocket treats several failing functions as one failed attempt",
  async () => {
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
  },
);

testClients(
  "ClientSocket.connect() rejects with any reason of its signal",
  async () => {
    using _dial = new FakeWebSockets();
    const stop = new AbortController();
    const client = new RecordingClient();
    const reason = Object.create(null);
    const connecting = client.connect(URL, { signal: stop.signal });
    const sent = assertRejects(
      () => client.send("never"),
      ConnectionEndedError,
    );
    const message = assertRejects(
      () => client.waitFor("message"),
      ConnectError,
    );
    stop.abort(reason);
    await sent;
    await message;
    const caught = await connecting.catch((error: unknown) => error);
    assertStrictEquals(caught, reason);
  },
);

testClients(
  "ClientSocket.close() with an invalid code has no effect",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient();
    await openClient(sockets, client);
    sockets.last.lose();
    await sockets.settle();
    assertThrows(() => client.close(1001), RangeError);
    await reconnectClient(sockets);
    assertStrictEquals(client.recorded.at(-1), "connect");
    await client.close();
  },
);

testClients(
  "ClientSocket.close() rejects messages sent during a loss",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient();
    await openClient(sockets, client);
    sockets.last.readyState = 2;
    const sent = client.send("never");
    client.close();
    await assertRejects(() => sent, ConnectionEndedError, "was closed");
    sockets.last.lose();
  },
);

testClients("idleTimeout does not interrupt a closing handshake", async () => {
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

testClients("idleTimeout stops with the connection", async () => {
  using sockets = new FakeWebSockets();
  const client = new RecordingClient({ idleTimeout: 1_000 });
  await openClient(sockets, client);
  sockets.last.end(true, 1000);
  await sockets.settle();
  assertStrictEquals(sockets.time.next(), false);
});

testClients("ClientSocket accepts one subprotocol as a string", async () => {
  using sockets = new FakeWebSockets();
  for (const protocols of ["chat", () => "chat", ["chat"]]) {
    const client = new ClientSocket({ protocols, plain: true });
    await openClient(sockets, client);
    assertEquals(sockets.last.protocols, ["chat"]);
    await client.close();
  }
});

testClients("ClientSocket rejects a connectTimeout of 0", () => {
  assertThrows(
    () => new ClientSocket({ connectTimeout: 0 }),
    RangeError,
    "Infinity",
  );
});

for (const type of ["disconnect", "reconnecting"] as const) {
  testClients(
    `ClientSocket.connect() works in a listener of ${type}`,
    async () => {
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
    },
  );
}

testClients(
  "ClientSocket.connect() works in shouldReconnect after close()",
  async () => {
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
  },
);

testClients(
  "ClientSocket.waitFor() resolves with the end if shouldReconnect closes the client",
  async () => {
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
  },
);

Deno.test(
  "ClientSocket limits the wait for a socket that closes by itself",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new RecordingClient({
      reconnect: true,
      closeTimeout: 2_000,
    });
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
  },
);

Deno.test(
  "ClientSocket adds a hint if the runtime reveals no reason",
  async () => {
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
  },
);
