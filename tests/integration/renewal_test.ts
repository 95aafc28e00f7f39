/** Authorizations that expire, and how they are renewed. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  ClientSocket,
  CloseCode,
  ConnectError,
  type Connection,
  type ServerOptions,
  ServerSocket,
} from "../../mod.ts";
import { MemoryNetwork } from "../../testing.ts";

interface Session {
  user: string;
  until?: number | Date;
}

type Types = { context: Session };

/** A server in memory whose clients expire. */
class Sessions implements AsyncDisposable {
  readonly server: ServerSocket<Types>;
  readonly network: MemoryNetwork;
  readonly client = new ClientSocket();
  readonly errors: unknown[] = [];

  constructor(
    first: () => Session | Promise<Session>,
    options: ServerOptions<Types> = {},
  ) {
    this.server = new ServerSocket<Types>({
      authorize: first,
      expiresAt: ({ until }) => until,
      ...options,
    });
    this.network = new MemoryNetwork(this.server);
    this.server.on("error", (error, from) => this.errors.push(from, error));
  }

  async connect(): Promise<Connection<Types>> {
    const connected = this.server.waitFor("connect");
    await this.client.connect(this.network.url);
    const [connection] = await connected;
    return connection;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
    await this.server.close();
    await this.network[Symbol.asyncDispose]();
  }
}

const EXPIRED = [4401, "The authorization has expired"];

Deno.test("expiresAt closes the connection with 4401 on both sides", async () => {
  for (const toUntil of [(ms: number) => ms, (ms: number) => new Date(ms)]) {
    let until = 0;
    await using self = new Sessions(async () => {
      await null;
      until = Date.now() + 300;
      return { user: "ada", until: toUntil(until) };
    });
    const { server, client } = self;
    await self.connect();
    const ends = [server.waitFor("end"), client.waitFor("close")] as const;
    const [[, end], [code, reason]] = await Promise.all(ends);
    assert(Date.now() >= until);
    assertEquals([code, reason], EXPIRED);
    assertEquals([end.code, end.reason], EXPIRED);
    assertEquals([end.type, end.cause], ["close", "local"]);
    assertEquals(CloseCode.Expired, 4401);
  }
});

Deno.test("Connection.renew() replaces the context and its deadline", async () => {
  await using self = new Sessions(() => ({
    user: "ada",
    until: Date.now() + 800,
  }));
  const { server, client } = self;
  server.handle("renew", ({ author }) => {
    author.renew({ user: "ada, again", until: Date.now() + 3_600_000 });
    return author.context.user;
  });
  const connection = await self.connect();
  assertEquals(await client.request({ type: "renew" }), "ada, again");
  await new Promise((done) => setTimeout(done, 850));
  assertEquals(connection.readyState, 1);
  // And by an earlier one, and by none.
  connection.renew({ user: "forever" });
  assertEquals(connection.context, { user: "forever" });
  const closed = client.waitFor("close");
  connection.renew({ user: "short", until: Date.now() + 10 });
  assertEquals((await closed).slice(0, 2), EXPIRED);
});

Deno.test("Connection.renew() closes a client whose new context has expired", async () => {
  await using self = new Sessions(() => ({ user: "ada" }));
  const connection = await self.connect();
  const closed = self.client.waitFor("close");
  connection.renew({ user: "late", until: Date.now() - 1 });
  assertEquals((await closed).slice(0, 2), EXPIRED);
  assertEquals(connection.context.user, "late");
  connection.renew({ user: "after the end", until: Date.now() + 10 });
  assertEquals(connection.context.user, "after the end");
});

Deno.test("Connection.renew() keeps the context if expiresAt fails", async () => {
  await using self = new Sessions(() => ({
    user: "ada",
    until: Date.now() + 3_600_000,
  }));
  const connection = await self.connect();
  for (
    const [until, message] of [
      [NaN, "valid time"],
      [new Date("no date"), "valid time"],
      [Date.now() / 1_000, "multiply seconds"],
      ["soon", "a number, a Date or undefined"],
      [null, "a number, a Date or undefined"],
    ] as const
  ) {
    const session = Object.assign({ user: "eve" }, { until });
    assertThrows(
      () => Reflect.apply(connection.renew, connection, [session]),
      Error,
      message,
    );
  }
  assertEquals([connection.context.user, connection.readyState], ["ada", 1]);
  const own = self.client.connection;
  assertThrows(
    () => own?.renew(undefined),
    Error,
    "Cannot renew the context on a client",
  );
});

Deno.test("Connection.renew() replaces the context of a server without expiresAt", async () => {
  const server = new ServerSocket<Types>();
  await using network = new MemoryNetwork(server);
  await using client = new ClientSocket();
  const connected = server.waitFor("connect");
  await client.connect(network.url);
  const [connection] = await connected;
  connection.renew({ user: "bob", until: 1 });
  assertEquals(connection.context.user, "bob");
  await client.close();
  await server.close();
});

Deno.test("expiresAt refuses a client that has expired, so that it can read why", async () => {
  const now = Date.now();
  await using self = new Sessions(() => ({ user: "ada", until: now }));
  const events: string[] = [];
  self.server.on("connect", () => events.push("connect"));
  self.server.on("refused", (_request, status) => events.push(`${status}`));
  const error = await assertRejects(
    () => self.client.connect(self.network.url),
    ConnectError,
  );
  assertEquals([error.code, error.reason], EXPIRED);
  assertEquals(events, ["101"]);
  assertEquals(self.server.clients.size, 0);
});

Deno.test("expiresAt that throws refuses with 500, and is an error event", async () => {
  for (
    const expiresAt of [
      () => {
        throw new Error("a bug");
      },
      () => 1_764_000_000,
    ]
  ) {
    await using self = new Sessions(() => ({ user: "ada" }), { expiresAt });
    const error = await assertRejects(
      () => self.client.connect(self.network.url),
      ConnectError,
    );
    assertEquals(error.status, 500);
    assertEquals(self.errors[0], "authorize");
    assert(self.errors[1] instanceof Error);
  }
  assertThrows(
    () => new ServerSocket({ expiresAt: () => 1 }),
    TypeError,
    'Cannot use "expiresAt" without "authorize"',
  );
  assertThrows(
    () => new ServerSocket(Object.assign({ expiresAt: 1 })),
    TypeError,
    "expiresAt",
  );
});

Deno.test("expiresAt leaves no timer behind a client that left, or a server that shut down", async () => {
  await using self = new Sessions(() => ({
    user: "ada",
    until: Date.now() + 3_600_000,
  }));
  const { server, client, network } = self;
  await self.connect();
  await client.close();
  await self.connect();
  const lost = server.waitFor("disconnect");
  network.link.cut();
  await lost;
  await self.connect();
  // The sanitizers would find a timer.
  await server.shutdown();
});

Deno.test("expiresAt passes while the server shuts down: one end, with its code", async () => {
  await using self = new Sessions(() => ({
    user: "ada",
    until: Date.now() + 50,
  }));
  const connection = await self.connect();
  const codes: number[] = [];
  connection.on("close", (code) => codes.push(code));
  self.client.on("close", (code) => codes.push(code));
  const shut = self.server.shutdown({
    code: 1012,
    drain: { batch: 1, every: 100 },
  });
  await shut;
  await new Promise((done) => setTimeout(done, 5));
  assertEquals(codes.length, 2);
  assertEquals(codes[0], codes[1]);
});
