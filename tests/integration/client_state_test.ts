/** A client that is told what to do: to connect now, elsewhere, or not at all. */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import {
  ConnectError,
  ConnectionEndedError,
  isTransient,
  type ReconnectOptions,
} from "../../client.ts";
import { ClientSocket, testClients } from "../support/client_classes.ts";
import { FakeWebSockets } from "../support/fake_websocket.ts";
import { lacksPermission } from "../support/permissions.ts";
import { Program } from "../support/program.ts";

const ONE = "ws://one.test";
const TWO = "ws://two.test";

/** Writes down all that a client tells, in order. */
function record(client: ClientSocket): string[] {
  const told: string[] = [];
  client.on("state", (state, previous) => {
    assertStrictEquals(client.state, state);
    told.push(`${previous} > ${state}`);
  });
  client.on("connect", ({ url }) => told.push(`connect ${new URL(url).host}`));
  client.on("reconnecting", (attempt) => told.push(`reconnecting ${attempt}`));
  client.on("giveup", (_error, reason) => told.push(`giveup ${reason}`));
  for (const type of ["close", "disconnect"] as const) {
    client.on(type, (code, reason) => {
      told.push(`${type} ${code} ${reason}`.trim());
    });
  }
  return told;
}

/** Takes what was told so far. */
const take = (told: string[]): string[] => told.splice(0);

const STATUS =
  "NetworkError: failed to connect to WebSocket: Invalid status code: ";

testClients(
  "ClientSocket.state follows the life of a client, and its event comes after the one that says why",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new ClientSocket({ reconnect: true });
    const told = record(client);
    assertStrictEquals(client.state, "idle");
    const connected = client.connect(ONE);
    await sockets.settle();
    sockets.last.refuse();
    await sockets.wait(1_000);
    sockets.last.open();
    await connected;
    assertEquals(take(told), [
      "idle > connecting",
      "reconnecting 1",
      "connecting > waiting",
      "waiting > connecting",
      "connect one.test",
      "connecting > open",
    ]);
    sockets.last.lose();
    await sockets.settle();
    assertEquals(take(told), [
      "disconnect 1006",
      "open > waiting",
      "reconnecting 2",
    ]);
    await sockets.wait(2_000);
    sockets.last.open();
    await sockets.settle();
    take(told);
    await client.close(4001, "bye");
    assertEquals(take(told), [
      "open > closing",
      "close 4001 bye",
      "closing > closed",
    ]);
    await client.close();
    assertEquals(take(told), []);
  },
);

testClients("ClientSocket.state is closed after connecting fails", async () => {
  using sockets = new FakeWebSockets();
  const client = new ClientSocket();
  const told = record(client);
  const failed = assertRejects(() => client.connect(ONE), ConnectError);
  await sockets.settle();
  sockets.last.refuse();
  await failed;
  assertEquals(told, ["idle > connecting", "connecting > closed"]);
});

testClients(
  "ClientSocket.connect() right after close() connects to the new URL",
  async () => {
    for (const answers of [true, false]) {
      using sockets = new FakeWebSockets();
      const client = new ClientSocket({ reconnect: true });
      const connected = client.connect(ONE);
      await sockets.settle();
      const first = sockets.last;
      first.answers = answers;
      first.open();
      await connected;
      const told = record(client);
      const closed = client.close(4001, "moved");
      const again = client.connect(TWO);
      client.send("waits");
      await sockets.settle();
      assertStrictEquals(sockets.sockets.length, 2);
      sockets.last.open();
      await Promise.all([closed, again]);
      // A server that does not answer holds nobody up.
      assertEquals(take(told), [
        "open > closing",
        "closing > connecting",
        answers ? "close 4001 moved" : "disconnect 1006",
        "connect two.test",
        "connecting > open",
      ]);
      assertEquals(sockets.last.sent, ["waits"]);
      assertEquals(first.sent, []);
      await sockets.wait(100_000);
      assertEquals(take(told), [], "there is one connection, and it is open");
      await client.close();
    }
  },
);

testClients(
  "ClientSocket.connect() is refused while the client is connected or connecting",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new ClientSocket();
    const connected = client.connect(ONE);
    await assertRejects(() => client.connect(TWO), Error, "is connecting to");
    await sockets.settle();
    sockets.last.open();
    await connected;
    await assertRejects(() => client.connect(TWO), Error, "is connected to");
    await client.close();
  },
);

testClients(
  "ClientSocket uses the last of many calls in one turn",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new ClientSocket({ reconnect: true });
    client.connect(ONE);
    for (const url of [TWO, ONE, TWO]) {
      client.close();
      client.connect(url);
    }
    await sockets.settle();
    const open = sockets.sockets.filter(({ readyState }) => readyState === 0);
    assertEquals(open.map(({ url }) => url), [`${TWO}/`]);
    open[0]?.open();
    await sockets.settle();
    assertStrictEquals(client.state, "open");
    client.close();
    client.connect(ONE);
    client.close();
    await sockets.wait(100_000);
    assertStrictEquals(client.state, "closed");
    assert(sockets.sockets.every(({ readyState }) => readyState === 3));
  },
);

testClients(
  "ClientSocket that is closed as the old connection makes way opens no other",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new ClientSocket({ reconnect: true });
    const connected = client.connect(ONE);
    await sockets.settle();
    sockets.last.answers = false;
    sockets.last.open();
    await connected;
    const told = record(client);
    client.once("disconnect", () => client.close());
    client.close();
    client.connect(TWO);
    await sockets.settle();
    sockets.last.open();
    await sockets.wait(20_000);
    assertEquals(told.filter((one) => !one.includes(">")), ["disconnect 1006"]);
    assertStrictEquals(client.state, "closed");
    assertStrictEquals(sockets.last.readyState, 3);
  },
);

testClients(
  "ClientSocket.reconnect() ends a delay, with the queue and all attempts",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new ClientSocket({ reconnect: { maxAttempts: 2 } });
    const connecting = client.connect(ONE);
    await sockets.settle();
    sockets.last.open();
    await connecting;
    sockets.last.lose();
    await sockets.settle();
    client.send("kept");
    // The server has asked for a long delay: the application may know better.
    for (const _ of [1, 2, 3, 4]) {
      const count = sockets.sockets.length;
      const back = client.reconnect();
      await sockets.settle();
      assertStrictEquals(sockets.sockets.length, count + 1, "at once");
      sockets.last.refuse();
      await sockets.settle();
      assertStrictEquals(client.state, "waiting");
      back.catch(() => {});
    }
    const back = client.reconnect();
    await sockets.settle();
    sockets.last.open();
    await back;
    assertEquals(sockets.last.sent, ["kept"]);
    await client.close();
  },
);

testClients(
  "ClientSocket.reconnect() ends the delay that a server has asked for",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new ClientSocket({ reconnect: true });
    client.connect(ONE);
    await sockets.settle();
    sockets.last.open();
    await sockets.settle();
    sockets.last.end(true, 1001, "retry-after=600");
    await sockets.wait(1_000);
    assertStrictEquals(client.state, "waiting");
    client.reconnect();
    await sockets.settle();
    assertStrictEquals(client.state, "connecting");
    await client.close();
  },
);

testClients(
  "ClientSocket.reconnect() replaces an open connection, and revives a closed client",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new ClientSocket();
    await assertRejects(
      () => client.reconnect(),
      Error,
      "call connect() with a URL",
    );
    const told = record(client);
    const connecting = client.connect(ONE);
    await sockets.settle();
    sockets.last.open();
    await connecting;
    take(told);
    const replaced = client.reconnect();
    client.send("next");
    await sockets.settle();
    sockets.last.open();
    await replaced;
    assertEquals(take(told), [
      "open > closing",
      "closing > connecting",
      "close 1000",
      "connect one.test",
      "connecting > open",
    ]);
    assertEquals(sockets.last.sent, ["next"]);
    await client.close();
    const revived = client.reconnect();
    await sockets.settle();
    sockets.last.open();
    await revived;
    assertStrictEquals(client.state, "open");
    await client.close();
  },
);

testClients(
  "ClientSocket with reconnect keeps what is sent before the first connect()",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new ClientSocket({ reconnect: true });
    const sent = Promise.all([client.send("a"), client.send("b")]);
    client.connect(ONE);
    await sockets.settle();
    sockets.last.open();
    await sent;
    assertEquals(sockets.last.sent, ["a", "b"]);
    await client.close();
    await assertRejects(() => client.send("late"), ConnectionEndedError);
    // One that is closed instead rejects, and so does one without the option.
    const other = new ClientSocket({ reconnect: true });
    const rejected = assertRejects(
      () => other.send("never"),
      ConnectionEndedError,
      "the client was closed",
    );
    const asked = assertRejects(() => other.request("never"));
    await other.close();
    await Promise.all([rejected, asked]);
    assertStrictEquals(other.state, "closed");
    await assertRejects(
      () => new ClientSocket().send("x"),
      ConnectionEndedError,
    );
  },
);

testClients(
  "ClientSocket with a signal leaves no connection, attempt or rejection behind",
  async () => {
    const reason = new Error("unmounted");
    for (const moment of ["idle", "connecting", "open", "waiting", "before"]) {
      using sockets = new FakeWebSockets();
      const controller = new AbortController();
      const { signal } = controller;
      if (moment === "before") controller.abort(reason);
      const client = new ClientSocket({ reconnect: true, signal });
      const told = record(client);
      if (moment !== "idle") client.connect(ONE); // nobody awaits it
      await sockets.settle();
      if (moment === "open" || moment === "waiting") {
        sockets.last.open();
        await sockets.settle();
      }
      if (moment === "waiting") sockets.last.lose();
      client.send("may be lost");
      await sockets.settle();
      take(told);
      controller.abort(reason);
      await sockets.wait(100_000);
      assertStrictEquals(client.state, "closed", moment);
      assert(sockets.sockets.every(({ readyState }) => readyState === 3));
      const giveups = told.filter((one) => one.startsWith("giveup"));
      assertEquals(giveups, moment === "waiting" ? ["giveup aborted"] : []);
      client.connect(ONE);
      client.reconnect();
      assertStrictEquals(
        await client.connect(ONE).catch((error) => error),
        reason,
      );
      await assertRejects(() => client.send("late"), ConnectionEndedError);
      assertStrictEquals(sockets.time.next(), false, "no timer is left");
    }
  },
);

Deno.test(
  "ClientSocket says by giveup why it stops",
  async () => {
    const cases: [
      reason: string,
      options: ReconnectOptions,
      act: (client: ClientSocket, sockets: FakeWebSockets) => void,
    ][] = [
      ["closed", {}, (client) => void client.close()],
      ["closed", {}, (client) => client.terminate()],
      ["attempts", { maxAttempts: 1 }, (_, sockets) => sockets.last.refuse()],
      ["duration", { maxDuration: 1 }, (_, sockets) => sockets.last.refuse()],
      ["final", {}, (_, sockets) => sockets.last.refuse(`${STATUS}401`)],
      ["final", {
        shouldReconnect: (failure) => !(failure instanceof ConnectError),
      }, (_, sockets) => sockets.last.refuse()],
    ];
    for (const [reason, options, act] of cases) {
      using sockets = new FakeWebSockets();
      const client = new ClientSocket({
        reconnect: { initialDelay: 1, ...options },
      });
      const told = record(client);
      client.connect(ONE);
      await sockets.settle();
      sockets.last.open();
      await sockets.settle();
      sockets.last.lose();
      await sockets.wait(1);
      assertStrictEquals(client.state, "connecting");
      act(client, sockets);
      await sockets.wait(100_000);
      assertEquals(told.slice(-2), [`giveup ${reason}`, "connecting > closed"]);
    }
    using sockets = new FakeWebSockets();
    const stop = new AbortController();
    const client = new ClientSocket({ reconnect: { signal: stop.signal } });
    const told = record(client);
    client.connect(ONE);
    await sockets.settle();
    sockets.last.refuse();
    await sockets.settle();
    stop.abort();
    await sockets.settle();
    assertEquals(told.slice(-2), ["giveup aborted", "waiting > closed"]);
  },
);

Deno.test(
  "ClientSocket does not try again where the server has refused it for good",
  async () => {
    for (
      const [status, isFinal] of [
        ...[400, 401, 403, 404, 410, 426, 499].map((one) =>
          [one, true] as const
        ),
        ...[408, 425, 429, 302, 500, 502, 503].map((one) =>
          [one, false] as const
        ),
      ]
    ) {
      using sockets = new FakeWebSockets();
      const client = new ClientSocket({ reconnect: true });
      const told = record(client);
      let failure: unknown;
      client.connect(ONE).catch((error) => failure = error);
      await sockets.settle();
      sockets.last.refuse(`${STATUS}${status}`);
      await sockets.settle();
      // Some may be due to the offer of events.v1: those are tried once more.
      if (client.state === "connecting") {
        sockets.last.refuse(`${STATUS}${status}`);
      }
      await sockets.settle();
      assertStrictEquals(
        client.state,
        isFinal ? "closed" : "waiting",
        `${status}`,
      );
      if (isFinal) {
        assertInstanceOf(failure, ConnectError);
        assertEquals([failure.status, failure.kind], [status, "refused"]);
        assertEquals(told.at(-1), "connecting > closed");
      }
      await client.close();
    }
  },
);

Deno.test(
  "shouldReconnect is asked after failed attempts, and may take its time",
  async () => {
    using sockets = new FakeWebSockets();
    const asked: unknown[] = [];
    let decide: (decision: boolean) => void = () => {};
    const client = new ClientSocket({
      reconnect: {
        shouldReconnect: (failure) => {
          asked.push(
            failure instanceof ConnectError ? failure.status : failure.code,
          );
          return new Promise((resolve) => decide = resolve);
        },
      },
    });
    const told = record(client);
    client.connect(ONE);
    await sockets.settle();
    sockets.last.refuse(`${STATUS}401`);
    await sockets.wait(100_000);
    assertStrictEquals(sockets.sockets.length, 1, "it has not decided");
    decide(true);
    await sockets.wait(1_000);
    sockets.last.open();
    await sockets.settle();
    assertStrictEquals(client.state, "open");
    sockets.last.end(true, 4401, "expired");
    await sockets.wait(100_000);
    assertEquals(take(told).slice(-2), [
      "close 4401 expired",
      "open > waiting",
    ]);
    decide(true);
    await sockets.wait(2_000);
    sockets.last.open();
    await sockets.settle();
    sockets.last.lose();
    await sockets.settle();
    take(told);
    decide(false);
    await sockets.settle();
    assertEquals(told, ["giveup final", "waiting > closed"]);
    assertEquals(asked, [401, 4401, 1006]);
  },
);

testClients(
  "shouldReconnect that has not decided holds nobody up",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new ClientSocket({
      reconnect: { shouldReconnect: () => new Promise<boolean>(() => {}) },
    });
    const connecting = client.connect(ONE);
    await sockets.settle();
    sockets.last.refuse();
    await sockets.settle();
    client.close();
    await assertRejects(
      () => connecting,
      ConnectError,
      "the client was closed",
    );
    // One that throws, or rejects, decides against it.
    for (
      const failing of [
        () => Promise.reject(new Error("broken")),
        () => {
          throw new Error("broken");
        },
      ]
    ) {
      const other = new ClientSocket({
        reconnect: { shouldReconnect: failing },
      });
      const errors: unknown[] = [];
      other.on("error", (error, from) => errors.push(`${error} ${from}`));
      const failed = assertRejects(() => other.connect(ONE), ConnectError);
      await sockets.settle();
      sockets.last.refuse();
      await failed;
      assertEquals(errors, ["Error: broken reconnecting"]);
    }
  },
);

testClients("isTransient() tells what may pass from what is final", () => {
  const error = (details: ConstructorParameters<typeof ConnectError>[2]) =>
    new ConnectError("x", ONE, details);
  assertEquals(
    [
      error({}),
      error({ kind: "unreachable" }),
      error({ kind: "timeout" }),
      error({ kind: "refused", status: 503 }),
      error({ kind: "refused", status: 429 }),
      error({ kind: "refused", code: 1013 }),
    ].map(isTransient),
    [true, true, true, true, true, true],
  );
  assertEquals(
    [
      error({ kind: "refused", status: 401 }),
      error({ kind: "refused", code: 4401 }),
      error({ kind: "refused" }),
    ].map(isTransient),
    [false, false, false],
  );
});

Deno.test({
  name:
    "ClientSocket can be created where there are no timers and no chance yet",
  ignore: await lacksPermission("run"),
  fn: async () => {
    await using program = new Program(["run", "tests/support/global_scope.ts"]);
    assertEquals(await program.linesUntil("done"), []);
  },
});

testClients(
  "ClientSocket takes a protocol of null, as in workerd, for none",
  async () => {
    using sockets = new FakeWebSockets();
    const client = new ClientSocket();
    const connecting = client.connect(ONE);
    await sockets.settle();
    Reflect.set(sockets.last, "protocol", null);
    sockets.last.open();
    await connecting;
    assertStrictEquals(client.connection?.protocol, "");
    await client.close();
  },
);

testClients(
  "ClientSocket.reconnect() in shouldReconnect rejects if that decides against it",
  async () => {
    using sockets = new FakeWebSockets();
    const outcomes: Promise<void>[] = [];
    const client: ClientSocket = new ClientSocket({
      reconnect: {
        shouldReconnect: () => {
          outcomes.push(client.reconnect());
          return false;
        },
      },
    });
    const connecting = client.connect(ONE);
    await sockets.settle();
    sockets.last.open();
    await connecting;
    sockets.last.lose();
    assertStrictEquals(outcomes.length, 1);
    await assertRejects(
      () => outcomes[0] ?? Promise.resolve(),
      ConnectError,
      "shouldReconnect decided against it",
    );
    assertStrictEquals(client.state, "closed");
  },
);
