import { assertEquals } from "@std/assert";
import { stub } from "@std/testing/mock";
import { freeTimers } from "../../../core/runtime/deno_internals.ts";
import {
  afterEventLoopTurn,
  clientDriver,
  destroySocket,
} from "../../../core/runtime/websocket.ts";
import { FakeSocket } from "../../support/fake_socket.ts";

/** A runtime without `setImmediate`, as browsers are. */
function asBrowser(): Disposable {
  const { get } = Reflect;
  return stub(
    Reflect,
    "get",
    (from: object, key: PropertyKey) =>
      key === "setImmediate" ? undefined : get(from, key),
  );
}

Deno.test("afterEventLoopTurn() calls back unless it is canceled", async () => {
  for (const runtime of [undefined, asBrowser()]) {
    using _ = runtime;
    const calls: string[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    afterEventLoopTurn(() => calls.push("stopped"))();
    afterEventLoopTurn(() => {
      calls.push("called");
      resolve();
    });
    calls.push("first");
    await promise;
    assertEquals(calls, ["first", "called"]);
  }
});

Deno.test("clientDriver.close() closes immediately and calls back later", async () => {
  const socket = new FakeSocket();
  socket.open();
  const { promise, resolve } = Promise.withResolvers<void>();
  clientDriver.close(socket, 4000, "bye", resolve);
  assertEquals(socket.closes, [[4000, "bye"]]);
  await promise;
  clientDriver.close(socket, 4000, "bye", () => {
    throw new Error("stopped");
  })();
});

Deno.test("destroySocket() closes a connecting socket when it opens", () => {
  const open = new FakeSocket();
  open.open();
  destroySocket(open);
  assertEquals(open.closes, [[undefined, undefined]]);
  const late = new FakeSocket();
  destroySocket(late);
  late.readyState = 0;
  late.open();
  assertEquals(late.closes.length, 2);
});

Deno.test("destroySocket() closes a socket without a private API", () => {
  const socket = new FakeSocket();
  socket.open();
  Object.assign(socket, { [Symbol("[[rid]]")]: 0 });
  const { get } = Reflect;
  using _ = stub(
    Reflect,
    "get",
    (from: object, key: PropertyKey) =>
      from === globalThis ? undefined : get(from, key),
  );
  destroySocket(socket);
  assertEquals(socket.closes, [[undefined, undefined]]);
});

Deno.test("freeTimers() cancels the runtime's timer", () => {
  const socket = new FakeSocket();
  freeTimers(socket); // nothing to release
  const duration = Symbol("[[idleTimeout]]");
  const handle = Symbol("[[idleTimeoutTimeout]]");
  const cancelled: unknown[] = [];
  const { get } = Reflect;
  const core = { cancelTimer: (timer: unknown) => cancelled.push(timer) };
  using _ = stub(
    Reflect,
    "get",
    (from: object, key: PropertyKey) => {
      if (from === globalThis) {
        return { internal: "private", private: { core } };
      }
      return get(from, key);
    },
  );
  Object.assign(socket, { [duration]: 30, [handle]: null });
  freeTimers(socket); // none has been set yet, and none will be
  assertEquals([get(socket, duration), cancelled], [0, []]);
  Object.assign(socket, { [handle]: 7 });
  freeTimers(socket);
  assertEquals(cancelled, [7]);
});
