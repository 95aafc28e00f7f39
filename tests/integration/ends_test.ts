/**
 * How connections end between our own two ends, on real sockets, or in memory where
 * there is no permission for them: for each `connect` one `close` or one
 * `disconnect`, on both sides.
 */

import { assertEquals, assertStrictEquals } from "@std/assert";
import { stub } from "@std/testing/mock";
import { ClientSocket } from "../../client.ts";
import { type Connection, ServerSocket } from "../../server.ts";
import { lacksPermission } from "../support/permissions.ts";
import { listenForTest } from "../support/listen_for_test.ts";

const ignore = await lacksPermission("net");

/** Runs a test; one that is about the runtime's own server or sockets needs them. */
function test(
  name: string,
  fn: () => Promise<void>,
  { needsNet = false } = {},
): void {
  Deno.test({ name, ignore: needsNet && ignore, fn });
}

/** A server and a client that write down what ends, as each tells it. */
async function connected(server = new ServerSocket()) {
  const url = await listenForTest(server);
  const client = new ClientSocket();
  const told: Record<"server" | "client", unknown[]> = {
    server: [],
    client: [],
  };
  const both = Promise.withResolvers<void>();
  const tell = (side: "server" | "client", ...end: unknown[]) => {
    told[side].push(end);
    if (told.server.length > 0 && told.client.length > 0) both.resolve();
  };
  for (const type of ["close", "disconnect"] as const) {
    server.on(type, (_, ...end) => tell("server", type, ...end));
    client.on(type, (...end) => tell("client", type, ...end));
  }
  const connect = server.waitFor("connect");
  await client.connect(url);
  const [peer] = await connect;
  return {
    server,
    client,
    peer,
    told,
    /** Waits until both have ended, and until nothing more can come. */
    async ended() {
      await both.promise;
      await server.close();
      return told;
    },
  };
}

const CODES: [number, string][] = [
  [1000, ""],
  [1000, "done"],
  [3000, "library"],
  [4000, ""],
  [4001, "bye"],
  [4999, "\u{1f600}".repeat(30) + "abc"],
];

for (const [code, reason] of CODES) {
  test(`ends: the client closes with ${code} "${reason}"`, async () => {
    const { client, ended } = await connected();
    await client.close(code, reason);
    assertEquals(await ended(), {
      server: [["close", code, reason, "peer"]],
      client: [["close", code, reason, "local"]],
    });
  });
}

for (const [code, reason] of [...CODES, [1001, ""], [1011, "oops"]] as const) {
  test(`ends: the server closes with ${code} "${reason}"`, async () => {
    const { peer, ended } = await connected();
    await peer.close(code, reason);
    assertEquals(await ended(), {
      server: [["close", code, reason, "local"]],
      client: [["close", code, reason, "peer"]],
    });
  });
}

test("ends: a close without arguments, or with a reason alone, is 1000", async () => {
  const { client, ended } = await connected();
  await client.close(undefined, "done");
  assertEquals((await ended()).server, [["close", 1000, "done", "peer"]]);
  const other = await connected();
  await other.peer.close();
  assertEquals((await other.ended()).client, [["close", 1000, "", "peer"]]);
});

test("ends: both close in the same tick: the server's code counts", async () => {
  const { client, peer, ended } = await connected();
  await Promise.all([
    client.close(4001, "client"),
    peer.close(4000, "server"),
  ]);
  assertEquals(await ended(), {
    server: [["close", 4000, "server", "local"]],
    client: [["close", 4000, "server", "peer"]],
  });
});

test("ends: the server terminates", async () => {
  const { peer, ended, server } = await connected();
  peer.terminate();
  assertStrictEquals(server.clients.size, 0);
  assertEquals(await ended(), {
    server: [["disconnect", 1006, "", "local"]],
    client: [["disconnect", 1006, "", "network"]],
  });
});

test("ends: the server terminates right after it has sent and closed", async () => {
  const { peer, ended } = await connected();
  peer.send("x".repeat(1_000_000));
  peer.close(4000);
  peer.terminate();
  const told = await ended();
  assertEquals(told.server, [["disconnect", 1006, "", "local"]]);
  assertStrictEquals(told.client.length, 1);
});

test("ends: the client terminates", async () => {
  const { client, ended } = await connected();
  client.terminate();
  assertEquals(await ended(), {
    server: [["disconnect", 1006, "", "network"]],
    client: [["disconnect", 1006, "", "local"]],
  });
});

/** Where the server closes amid what the client sends. */
const BURSTS: [string, (close: () => void) => void][] = [
  ["at once", (close) => close()],
  ["in a microtask", (close) => queueMicrotask(close)],
  ["in a task", (close) => setTimeout(close, 0)],
];

for (const [when, then] of BURSTS) {
  test(`ends: the server closes ${when} in a message listener, amid a burst`, async () => {
    for (const burst of [1, 50, 2_000]) {
      const { server, client, ended } = await connected();
      server.on("message", (message) => {
        then(() => message.author.close(4000, "bye"));
      }, { once: true });
      for (let i = 0; i < burst; i++) client.send("x".repeat(100));
      assertEquals(await ended(), {
        server: [["close", 4000, "bye", "local"]],
        client: [["close", 4000, "bye", "peer"]],
      });
    }
  });
}

test("ends: the server closes while the client does not stop to send", async () => {
  const { server, client, ended } = await connected();
  server.on("message", ({ author }) => author.close(4000, "bye"), {
    once: true,
  });
  const flood = setInterval(() => {
    for (let i = 0; i < 100; i++) client.send("x".repeat(100));
  }, 0);
  client.on("close", () => clearInterval(flood));
  client.on("disconnect", () => clearInterval(flood));
  assertEquals(await ended(), {
    server: [["close", 4000, "bye", "local"]],
    client: [["close", 4000, "bye", "peer"]],
  });
});

test("ends: the client closes in a message listener, amid a burst", async () => {
  const { client, peer, ended } = await connected();
  client.on("message", () => client.close(4000, "bye"), { once: true });
  for (let i = 0; i < 2_000; i++) peer.send("x".repeat(100));
  assertEquals(await ended(), {
    server: [["close", 4000, "bye", "peer"]],
    client: [["close", 4000, "bye", "local"]],
  });
});

test("ends: what was sent before a close arrives before it", async () => {
  const { client, peer, ended } = await connected();
  const got = client.collect("message");
  for (let i = 0; i < 1_000; i++) peer.send(i);
  peer.close(4000);
  const messages = await got;
  assertEquals(
    messages.map(([{ data }]) => data),
    Array.from(Array(1_000).keys()),
  );
  await ended();
});

test("ends: a close in the connect listener", async () => {
  await using server = new ServerSocket();
  server.on("connect", (client) => client.close(4003, "not today"));
  const ends = server.collect("close", { limit: 1 });
  const url = await listenForTest(server);
  const client = new ClientSocket();
  const closed = client.waitFor("close");
  await client.connect(url);
  assertEquals(await closed, [4003, "not today", "peer"]);
  assertEquals((await ends).map(([, ...end]) => end), [[
    4003,
    "not today",
    "local",
  ]]);
});

test("ends: a listener of the end that throws changes nothing", async () => {
  const { server, client, peer, ended } = await connected();
  server.on("error", () => {});
  client.on("error", () => {});
  const fail = () => {
    throw new Error("in a listener");
  };
  server.on("close", fail);
  client.on("close", fail);
  peer.on("close", fail);
  await client.close(4000);
  const told = await ended();
  assertEquals([told.server.length, told.client.length], [1, 1]);
});

test("ends: nothing more is emitted after the end", async () => {
  const { client, peer, server, told, ended } = await connected();
  const late: unknown[] = [];
  const watch = (connection: Connection) => {
    for (const type of ["message", "close", "disconnect", "error"] as const) {
      connection.on(type, () => late.push(type));
    }
  };
  peer.on("disconnect", () => {
    watch(peer);
    peer.close();
    peer.terminate();
    peer.send("x");
  });
  client.send("on its way");
  peer.terminate();
  await ended();
  assertEquals(late, []);
  assertEquals(told.server.length, 1);
  assertStrictEquals(server.clients.size, 0);
});

test("ends: the server is closed before a connection is open", async () => {
  const server = new ServerSocket();
  const events: string[] = [];
  for (const type of ["connect", "close", "disconnect"] as const) {
    server.on(type, () => events.push(type));
  }
  let closed: Promise<void> | undefined;
  const http = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request, info) => {
      const response = server.fetch(request, info);
      closed = server.close();
      return response;
    },
  );
  const client = new ClientSocket();
  const end = client.waitFor("disconnect");
  await client.connect(`ws://127.0.0.1:${http.addr.port}`);
  assertEquals(await end, [1006, "", "network"]);
  await closed;
  assertEquals(events, []);
  await http.shutdown();
}, { needsNet: true });

test("ends: the runtime's server shuts down under a mounted one", async () => {
  const server = new ServerSocket();
  const http = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    server.fetch,
  );
  const client = new ClientSocket();
  const seen: unknown[] = [];
  server.on("close", (_, ...end) => seen.push(end));
  server.on("disconnect", (_, ...end) => seen.push(end));
  const closed = client.waitFor("close");
  await client.connect(`ws://127.0.0.1:${http.addr.port}`);
  await http.shutdown();
  assertEquals((await closed)[0], 1001);
  // The runtime closes on its own, and tells the socket no code.
  assertEquals(seen, [[1005, "", "peer"]]);
  await server.close();
}, { needsNet: true });

/** Deno's sockets seem to have no fields but public ones. */
function withoutPrivateFields(): Disposable {
  const { getOwnPropertySymbols, hasOwn } = Object;
  const stack = new DisposableStack();
  stack.use(stub(
    Object,
    "getOwnPropertySymbols",
    (value) => value instanceof WebSocket ? [] : getOwnPropertySymbols(value),
  ));
  stack.use(stub(
    Object,
    "hasOwn",
    (value, key) => !(value instanceof WebSocket) && hasOwn(value, key),
  ));
  return stack;
}

test(
  "ends: without the runtime's private fields a close goes out all the same",
  async () => {
    const { server, client, ended } = await connected(
      new ServerSocket({ plain: true }),
    );
    server.on("message", ({ author }) => author.close(4000, "bye"), {
      once: true,
    });
    using _ = withoutPrivateFields();
    for (let i = 0; i < 500; i++) client.send("x".repeat(100));
    assertEquals(await ended(), {
      server: [["close", 4000, "bye", "local"]],
      client: [["close", 4000, "bye", "peer"]],
    });
  },
  { needsNet: true },
);

test(
  "ends: without the runtime's private fields terminate still ends",
  async () => {
    const { peer, ended } = await connected();
    using _ = withoutPrivateFields();
    peer.terminate();
    assertEquals(await ended(), {
      server: [["disconnect", 1006, "", "local"]],
      client: [["close", 1005, "", "peer"]],
    });
  },
  { needsNet: true },
);

test("ends: hundreds of connections that end in all ways at once", async () => {
  await using server = new ServerSocket({ maxDisconnectedClients: 1_000 });
  const open = new Map<string, number>();
  let ends = 0;
  const all = Promise.withResolvers<void>();
  server.on("connect", (client) => {
    open.set(client.id, 0);
    client.send("welcome");
  });
  for (const type of ["close", "disconnect"] as const) {
    server.on(type, ({ id }) => {
      open.set(id, (open.get(id) ?? -10) + 1);
      if (++ends === 300) all.resolve();
    });
  }
  server.on("message", (message) => {
    const { author } = message;
    if (message.content === "close") author.close(4000, "as asked");
    else if (message.content === "terminate") author.terminate();
    else author.send("no");
  });
  const url = await listenForTest(server);
  const ways: ((client: ClientSocket) => unknown)[] = [
    (client) => client.close(4001),
    (client) => client.send("close"),
    (client) => client.send("terminate"),
    (client) => client.terminate(),
    (client) => {
      client.send("close");
      client.close(4002);
    },
    (client) => {
      for (let i = 0; i < 100; i++) client.send("noise");
      client.send("close");
    },
  ];
  let clientEnds = 0;
  await Promise.all(Array.from({ length: 300 }, async (_, i) => {
    const client = new ClientSocket();
    const end = Promise.withResolvers<void>();
    for (const type of ["close", "disconnect"] as const) {
      client.on(type, () => {
        clientEnds++;
        end.resolve();
      });
    }
    const welcome = client.waitFor("message");
    await client.connect(url);
    // Of a client that leaves before that, the server may never hear.
    await welcome;
    ways[i % ways.length]?.(client);
    await end.promise;
  }));
  await all.promise;
  assertStrictEquals(server.clients.size, 0);
  assertStrictEquals(open.size, 300);
  assertEquals(new Set(open.values()), new Set([1]));
  assertStrictEquals(clientEnds, 300);
});
