/** The hooks around what one connection receives, without a connection. */

import { assertEquals, assertStrictEquals } from "@std/assert";
import { stub } from "@std/testing/mock";
import { FakeTime } from "@std/testing/time";
import type {
  InboundGate,
  InboundHook,
} from "../../../core/connection/inbound_gate.ts";
import { InboundHooks } from "../../../core/connection/inbound_hooks.ts";

const CLIENT = { name: "client" };

/** A gate with hooks, and what has become of what has come in. */
function begin(...added: InboundHook<typeof CLIENT>[]) {
  const log: string[] = [];
  const hooks = new InboundHooks<typeof CLIENT>();
  for (const hook of added) hooks.add(hook);
  const gate: InboundGate<typeof CLIENT> = hooks.createGate(CLIENT, {
    callListeners: (action) => action(),
    reportError: (error) => log.push(String(error)),
    idle: () => log.push("idle"),
  });
  const receive = (data: unknown, handled?: Promise<void>) =>
    gate.enter(() =>
      gate.run({ kind: "request", source: { data } }, {
        deliver: () => {
          log.push(`delivered ${data}`);
          return handled;
        },
        drop: ({ code }) => log.push(`dropped ${data} ${code}`),
      })
    );
  return { hooks, gate, log, receive };
}

/** Lets everything happen that needs no time. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

Deno.test("InboundGate passes on at once what no hook holds", async () => {
  const { gate, log, receive } = begin((_inbound, next) => next());
  assertStrictEquals(gate.isBusy, false);
  const handled = Promise.withResolvers<void>();
  const done = receive(1, handled.promise);
  const other = receive(2);
  assertEquals(log.filter((line) => line !== "idle"), [
    "delivered 1",
    "delivered 2",
  ]);
  handled.resolve();
  await Promise.all([done, other]);
});

Deno.test("InboundGate has finished where hooks and listeners are synchronous", () => {
  const { receive } = begin((_inbound, next) => void next());
  assertStrictEquals(receive(1), undefined);
});

Deno.test("InboundGate gives up a hook after ten seconds, and goes on", async () => {
  using time = new FakeTime();
  const late: (() => Promise<void>)[] = [];
  const { gate, log, receive } = begin(({ data }, next) => {
    if (data !== "stuck") return next();
    late.push(next);
    return new Promise(() => {});
  });
  const first = receive("stuck");
  const second = receive("stuck");
  receive("after");
  await time.tickAsync(10_000);
  assertEquals(log, []);
  await time.tickAsync(2_500);
  await first;
  const expired = [
    "dropped stuck timeout",
    "TimeoutError: Cannot wait any longer for a hook of use(): it has not called next() for 10000 ms",
  ];
  assertEquals(log, expired);
  await settle();
  await time.tickAsync(10_000);
  assertEquals(log, expired);
  await time.tickAsync(2_500);
  await second;
  await settle();
  assertEquals(log, [...expired, ...expired, "delivered after", "idle"]);
  assertStrictEquals(gate.isBusy, false);
  // Whatever becomes of the hooks later changes nothing.
  for (const next of late) await next();
  assertEquals(log.length, 6);
});

Deno.test("InboundGate gives each hook its own ten seconds, with one timer", async () => {
  using time = new FakeTime();
  let timers = 0;
  const { setTimeout: start } = globalThis;
  using _counted = stub(
    globalThis,
    "setTimeout",
    (...args: Parameters<typeof setTimeout>) => {
      timers++;
      return start(...args);
    },
  );
  const opened: (() => void)[] = [];
  const { hooks, log, receive } = begin(async (_inbound, next) => {
    await new Promise<void>((resolve) => opened.push(resolve));
    await next();
  });
  for (let i = 0; i < 6; i++) receive(i);
  for (let i = 0; i < 5; i++) {
    await time.tickAsync(9_000);
    opened[i]?.();
    await settle();
  }
  assertEquals(log, [0, 1, 2, 3, 4].map((i) => `delivered ${i}`));
  assertEquals(timers <= 1 + 45_000 / 2_500, true, `${timers}`);
  await time.tickAsync(12_500);
  assertEquals(log[5], "dropped 5 timeout");
  hooks.clientEnded(CLIENT);
});

Deno.test("InboundHooks has no timer for a client that has ended", async () => {
  using time = new FakeTime();
  const { hooks, gate, log, receive } = begin(() => new Promise(() => {}));
  const all = [receive(1), receive(2), receive(3)];
  assertEquals(gate.clear(), 3);
  hooks.clientEnded(CLIENT);
  await Promise.all(all);
  await time.tickAsync(60_000);
  assertEquals(log, []);
});

Deno.test("InboundGate drops what is cleared, though its hook calls next()", async () => {
  const gates = Promise.withResolvers<void>();
  const { gate, hooks, log, receive } = begin(async (_inbound, next) => {
    await gates.promise;
    await next();
  });
  const all = [receive(1), receive(2)];
  assertEquals(gate.clear(), 2);
  gates.resolve();
  await Promise.all(all);
  await settle();
  assertEquals(log, []);
  hooks.clientEnded(CLIENT);
});

Deno.test("InboundGate divides what has waited for a hook into slices", async () => {
  const opened = Promise.withResolvers<void>();
  const { hooks, log, receive } = begin(({ data }, next) => {
    if (data === "first") return opened.promise.then(next);
    const end = performance.now() + 1;
    while (performance.now() < end);
    return next();
  });
  const all = [receive("first")];
  for (let i = 0; i < 100; i++) all.push(receive(i));
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  opened.resolve();
  await Promise.all(all);
  clearInterval(timer);
  assertEquals(log.filter((line) => line !== "idle"), [
    "delivered first",
    ...Array.from({ length: 100 }, (_, i) => `delivered ${i}`),
  ]);
  assertEquals(turns > 3, true, `${turns}`);
  hooks.clientEnded(CLIENT);
});
