/** Batches of a peer that is not trusted are handed out in slices. */

import "../../core/features/full.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ConnectionEndedError } from "../../core/events/errors.ts";
import {
  encodeAddressed,
  encodeCredit,
  encodeTextBatch,
} from "../../core/protocol/frames.ts";
import { FakeTime } from "@std/testing/time";
import { stub } from "@std/testing/mock";
import { createFixture, FakeOwner } from "../support/fake_socket.ts";
import type { FixtureInit } from "../support/fake_socket.ts";

const LIMITS = { maxPayload: 1024 * 1024, messageRate: undefined };

/** A server's end that takes a millisecond for each message. */
function open(options: FixtureInit["options"] = {}, isEvents = true) {
  const one = createFixture("server", {
    options: { limits: LIMITS, ...options },
    negotiated: { protocol: "", isEvents },
  });
  const { connection, owner, socket } = one;
  socket.open();
  connection.on("message", () => {
    const end = performance.now() + 1;
    while (performance.now() < end);
  });
  return { ...one, heard: owner.events };
}

/** Names, of which the first is the given one. */
const names = (count: number, from = 0) =>
  Array.from({ length: count }, (_, i) => `${from + i}`);

const turn = () => new Promise<void>((go) => setImmediate(go));

/** Turns of the event loop until something holds. */
async function turnsUntil(holds: () => boolean): Promise<number> {
  let turns = 0;
  for (; !holds(); turns++) await turn();
  return turns;
}

Deno.test("Connection dispatches a batch in slices and in order", async () => {
  const { socket, heard, connection } = open();
  socket.receive(encodeTextBatch(names(60)));
  assert(heard.length < 40, "all at once");
  socket.receive("60");
  socket.receive(encodeTextBatch(names(9, 61)));
  socket.receive(new TextEncoder().encode("70").buffer);
  const turns = await turnsUntil(() => heard.length === 72);
  assert(turns > 1, `${turns} turns`);
  assertEquals(heard, ["connect", ...names(71)]);
  // From now on a message is handed out at once again.
  socket.receive("71");
  assertEquals(heard.at(-1), "71");
  connection.terminate();
});

Deno.test("Connection dispatches a short batch at once", () => {
  const { socket, heard, connection } = open();
  socket.receive(encodeTextBatch(names(8)));
  assertEquals(heard.length, 9);
  connection.terminate();
});

Deno.test("Connection emits its end after sliced messages", async () => {
  for (const concurrency of [Infinity, 1]) {
    const { socket, heard, owner } = open({ concurrency });
    socket.receive(encodeTextBatch(names(40)));
    socket.end(true, 4000, "bye");
    assertEquals(owner.ends, []);
    await turnsUntil(() => owner.ends.length > 0);
    assertEquals(heard, ["connect", ...names(40), "close"]);
  }
});

Deno.test("Connection.close() and terminate() drop waiting messages", async () => {
  for (const act of ["close", "terminate"] as const) {
    const { socket, heard, connection } = open();
    socket.receive(encodeTextBatch(names(40)));
    const { length } = heard;
    connection[act]();
    socket.end(true, 1000);
    const end = act === "close" ? "close" : "disconnect";
    assertEquals(heard.slice(length), [end]);
    await turn();
    await turn();
    assertEquals(heard.slice(length), [end]);
  }
});

Deno.test("Connection.close() in a slice drops the rest of the batch", async () => {
  const { socket, heard, connection } = open();
  connection.on("message", ({ content }) => {
    if (content === "20") connection.close(4000);
  });
  socket.receive(encodeTextBatch(names(40)));
  await turnsUntil(() => socket.closes.length > 0);
  await turn();
  assertEquals(heard.at(-1), "20");
  socket.end(true, 4000);
  assertEquals(heard.at(-1), "close");
});

Deno.test("Connection.request() resolves with a sliced reply before the end", async () => {
  const { socket, connection } = open();
  const answered = connection.request("?");
  const failed = connection.request("?");
  socket.receive(
    encodeTextBatch([...names(30), `${encodeAddressed("reply", 1, "yes")}`]),
  );
  socket.end(false, 0);
  assertEquals(await answered, "yes");
  await assertRejects(() => failed, ConnectionEndedError);
});

Deno.test("Connection closes a peer that exceeds its credit", async () => {
  const { socket, heard, owner } = open();
  // 1,024 may wait, and no more, whatever they come in.
  socket.receive(encodeTextBatch(names(1_000)));
  socket.receive(encodeTextBatch(names(20)));
  assertEquals(socket.closes, []);
  for (let i = 0; i < 100 && socket.closes.length === 0; i++) {
    socket.receive("more");
  }
  assertEquals(socket.closes, [[
    1008,
    "More messages came than there was credit for",
  ]]);
  // What there was credit for is still heard, and nothing after it.
  socket.receive("late");
  socket.end(true, 1008);
  await turnsUntil(() => owner.ends.length > 0);
  assertEquals(heard.filter((name) => name === "late"), []);
  assertEquals(heard.slice(1, 1_021), [...names(1_000), ...names(20)]);
  assertEquals(owner.ends.map(({ cause }) => cause), ["limit"]);
});

Deno.test("Connection drops messages after a malformed item of a batch", async () => {
  const { socket, heard, connection } = open();
  socket.receive(encodeTextBatch([...names(20), "\u0001!", ...names(20)]));
  socket.receive("more");
  await turnsUntil(() => socket.closes.length > 0);
  await turn();
  assertEquals(socket.closes.map(([code]) => code), [1002]);
  assertEquals(heard, ["connect", ...names(20)]);
  connection.terminate();
});

Deno.test("Connection dispatches messages of one turn in slices", async () => {
  for (const isEvents of [true, false]) {
    const { socket, heard, owner } = open({}, isEvents);
    for (const name of names(100)) socket.receive(name);
    assert(heard.length < 60, "all at once");
    socket.end(false, 0);
    assertEquals(owner.ends, []);
    await turnsUntil(() => owner.ends.length > 0);
    assertEquals(heard, ["connect", ...names(100), "disconnect"]);
  }
});

Deno.test("Connection does not make a peer wait for the messages of another", async () => {
  for (const isEvents of [true, false]) {
    const light = open({}, isEvents);
    // Whatever the peer has sent in earlier turns.
    for (let sent = 0; sent < 20; sent++) {
      const heavy = open({}, isEvents);
      for (const name of names(40)) heavy.socket.receive(name);
      assert(heavy.heard.length < 40, "all at once");
      light.socket.receive(`${sent}`);
      assertEquals(light.heard.at(-1), `${sent}`);
      heavy.connection.terminate();
      await turn();
    }
    light.connection.terminate();
  }
});

Deno.test("Connection closes a plain peer with too many small messages waiting", async () => {
  const { socket, heard, connection } = open({}, false);
  const small = "x".repeat(1_000);
  let sent = 0;
  for (; socket.closes.length === 0 && sent < 40_000; sent++) {
    socket.receive(small);
  }
  // In one turn: the messages are not handled only because others come.
  assert(heard.length < 200, `${heard.length} were handled`);
  assert(sent > 15_000, `${sent} were taken`);
  assertEquals(socket.closes, [[1008, "Too many messages wait to be handled"]]);
  connection.terminate();
  await turn();
});

Deno.test("Connection slows down a plain peer whose large messages wait", async () => {
  const { socket, heard, connection } = open({}, false);
  const large = "x".repeat(512 * 1024);
  for (let i = 0; i < 100; i++) socket.receive(large);
  assertEquals(socket.closes, []);
  // No more than 16 MiB wait.
  assert(heard.length > 60, `${heard.length} were handled`);
  connection.terminate();
  await turn();
});

Deno.test("messageRate allows no more than the burst in one turn of the event loop", async () => {
  const messageRate = {
    perSecond: 10_000,
    burst: 160,
    policy: "close",
  } as const;
  const limits = { ...LIMITS, messageRate };
  const { socket, connection } = open({ limits }, false);
  // Each takes a millisecond to handle, in which 10 tokens would be added.
  let sent = 0;
  for (; socket.closes.length === 0 && sent < 1_000; sent++) {
    socket.receive("x");
  }
  assert(sent > 159 && sent < 180, `${sent}`);
  assertEquals(socket.closes.map(([code]) => code), [1008]);
  connection.terminate();
  await turn();
});

Deno.test("Connection dispatches messages of separate turns at once", async () => {
  const { socket, heard, connection } = open({}, false);
  for (const name of names(40)) {
    socket.receive(name);
    assertEquals(heard.at(-1), name);
    await turn();
  }
  connection.terminate();
});

Deno.test("messageRate counts messages on receipt", async () => {
  const messageRate = { perSecond: 0, burst: 100, policy: "close" } as const;
  const limits = { ...LIMITS, messageRate };
  const { socket, heard, owner } = open({ limits }, false);
  for (const name of names(200)) socket.receive(name);
  assertEquals(socket.closes.map(([code]) => code), [1008]);
  socket.end(true, 1008);
  await turnsUntil(() => owner.ends.length > 0);
  const { length } = heard;
  assert(length > 100 && length < 110, `${length}`);
  assertEquals(heard.slice(1, -1), names(length - 2));
});

Deno.test("Connection grants credit as it dispatches", async () => {
  const { socket, heard } = open();
  socket.receive(encodeTextBatch(names(1_024)));
  assertEquals(socket.sent, []);
  await turnsUntil(() => heard.length === 1_025);
  assertEquals(socket.sent, [
    encodeCredit(512 + 1_024),
    encodeCredit(1_024 + 1_024),
  ]);
  socket.end(true, 1000);
});

Deno.test("Connection grants credit within messageRate", async () => {
  const messageRate = {
    perSecond: 100,
    burst: 1_500,
    policy: "close",
  } as const;
  using time = new FakeTime();
  let now = 0;
  using _now = stub(performance, "now", () => now);
  const { socket } = createFixture("server", {
    options: { limits: { ...LIMITS, messageRate } },
    negotiated: { protocol: "", isEvents: true },
  });
  socket.open();
  for (let i = 0; i < 600; i++) socket.receive("x");
  await time.tickAsync(0);
  assertEquals(socket.sent, []);
  // 1,280 tokens have to be there, and 900 are.
  now = 3_799;
  await time.tickAsync(3_799);
  assertEquals(socket.sent, []);
  now = 3_900;
  await time.tickAsync(4_000);
  assertEquals(socket.sent, [encodeCredit(600 + 1_024)]);
  assertEquals(socket.closes, []);
  socket.end(true, 1000);
});

for (const isEarly of [true, false]) {
  const side = isEarly ? "server" : "client";
  Deno.test(`Connection.messages() on a ${side} closes a peer that is too fast, without other listeners`, async () => {
    for (const others of ["nobody", "here", "owner"] as const) {
      const owner = new FakeOwner(others === "owner");
      const { socket, connection } = createFixture(side, {}, owner);
      socket.open();
      if (others === "here") connection.on("message", () => {});
      const messages = connection.messages({ limit: 2 });
      const contents: string[] = [];
      for (const name of ["a", "b", "c", "d"]) socket.receive(name);
      assertEquals(
        socket.closes,
        others === "nobody"
          ? [[isEarly ? 1008 : 4008, "Messages come faster than they are read"]]
          : [],
      );
      await assertRejects(
        async () => {
          for await (const { content } of messages) contents.push(content);
        },
        RangeError,
        "handle them faster",
      );
      assertEquals(contents, ["a", "b"]);
      socket.end(true, isEarly ? 1008 : 4008);
      if (others === "nobody") {
        assertEquals(owner.ends.map(({ cause }) => cause), ["limit"]);
      }
    }
  });
}

Deno.test("Connection gives no credit while too many asynchronous listeners are running", async () => {
  const { socket, owner, connection } = createFixture("server", {
    options: { limits: LIMITS },
    negotiated: { protocol: "", isEvents: true },
  });
  socket.open();
  const { promise, resolve } = Promise.withResolvers<void>();
  let count = 0;
  connection.on("message", () => {
    count++;
    return promise;
  });
  const limit = 16 * 1024; // with 1,024 bytes for each message
  for (let i = 0; i < limit; i++) {
    socket.receive("");
    if (i % 256 === 0) await turnsUntil(() => count === i + 1);
  }
  await turnsUntil(() => count === limit);
  const credits = socket.sent.length;
  assertEquals(owner.errors, []);
  for (let i = 0; i < 1_024; i++) socket.receive("");
  await turnsUntil(() => count === limit + 1_024);
  assertEquals(socket.sent.length, credits);
  assertEquals(owner.errors.map(String), [
    'RangeError: Cannot give localhost:80 credit for more messages while 16777216 bytes of earlier ones are being handled: let listeners and handlers finish, or set "concurrency"',
  ]);
  assert(connection.readyState === 1);
  resolve();
  await turn();
  assertEquals(socket.sent.length, credits + 1);
  for (let i = 0; i < 1_000; i++) socket.receive("");
  await turnsUntil(() => count === limit + 2_024);
  assertEquals([owner.errors.length, socket.closes], [1, []]);
  connection.terminate();
});

Deno.test("Connection closes a peer that sends without credit while listeners are running", async () => {
  const { socket, connection } = createFixture("server", {
    options: { limits: LIMITS },
    negotiated: { protocol: "", isEvents: true },
  });
  socket.open();
  let count = 0;
  connection.on("message", () => {
    count++;
    return new Promise(() => {});
  });
  let sent = 0;
  for (; socket.closes.length === 0 && sent < 30_000; sent++) {
    socket.receive("");
    if (sent % 256 === 0) {
      await turnsUntil(() => count === sent + 1 || socket.closes.length > 0);
    }
  }
  assert(sent > 16_384 + 1_024 && sent < 16_384 + 2_048, `${sent}`);
  assertEquals(socket.closes, [[1008, "Too many messages are being handled"]]);
  connection.terminate();
});
