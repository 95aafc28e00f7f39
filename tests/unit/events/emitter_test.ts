import "../../../core/features/full.ts";
import {
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { spy, stub } from "@std/testing/mock";
import { Emitter, emitters } from "../../../core/events/emitter.ts";
import type { EmitterHooks } from "../../../core/events/emitter_internals.ts";
import { eventNames } from "../../../core/events/event_names.ts";

class NumberEvent extends Event {
  constructor(type: string, readonly value: number) {
    super(type);
  }
}

class FaultEvent extends Event {
  constructor(type: string, readonly error: unknown, readonly from: string) {
    super(type);
  }
}

interface Events {
  number: { args: [value: number]; event: NumberEvent };
  done: { args: []; event: Event };
  error: { args: [error: unknown, from: string]; event: FaultEvent };
}

const HOOKS: EmitterHooks = {
  names: eventNames<Events>({ number: true, done: true, error: true }),
  failed: (source: Source, error, from, subject) =>
    source.report(error, from, subject),
  added: (source: Source, type) => source.added.push(type),
};

class Source extends Emitter<Events> {
  constructor() {
    super();
    emitters.attach(this, HOOKS);
  }

  readonly added: string[] = [];
  readonly subjects: unknown[] = [];

  number(value: number): Promise<unknown>[] {
    const pending: Promise<unknown>[] = [];
    emitters.emit(this, "number", NumberEvent, [value], pending);
    return pending;
  }

  done(): void {
    emitters.emit(this, "done", Event, []);
  }

  end(forGood = true, last?: () => void): void {
    emitters.stopWaiting(this, () => new Error("ended"), forGood, last);
  }

  hears(type: "number" | "done" | "error"): boolean {
    return emitters.isHeard(this, type);
  }

  report(
    error: unknown,
    from: string,
    subject: unknown,
  ): void {
    this.subjects.push(subject);
    emitters.emit(this, "error", FaultEvent, [error, from]);
  }
}

/** What the source has been asked to tell to a listener of `on`. */
function log(source: Source): number[] {
  const values: number[] = [];
  source.on("number", (value) => values.push(value));
  return values;
}

Deno.test("Emitter.on() calls listeners in order with the arguments", () => {
  const source = new Source();
  const calls: string[] = [];
  assertStrictEquals(source.on("number", (n) => calls.push(`a${n}`)), source);
  source.on("number", (n) => calls.push(`b${n}`));
  source.number(1);
  source.number(2);
  source.done();
  assertEquals(calls, ["a1", "b1", "a2", "b2"]);
});

Deno.test("Emitter.on() ignores a listener that was already added", () => {
  const source = new Source();
  const listener = spy(() => {});
  source.on("number", listener).on("number", listener).on("done", listener);
  source.number(1);
  source.done();
  assertEquals(listener.calls.map(({ args }) => args), [[1], []]);
});

Deno.test("Emitter.on() throws if the listener is not a function", () => {
  const source = new Source();
  const on: (type: "number", listener: never) => unknown = source.on.bind(
    source,
  );
  const nothing: unknown = undefined;
  assertThrows(
    () => Reflect.apply(on, source, ["number", nothing]),
    TypeError,
    'Cannot listen to "number" with something other than a function',
  );
});

Deno.test("Emitter.once() calls the listener once, even if the event is emitted within it", () => {
  const source = new Source();
  const values: number[] = [];
  source.once("number", (value) => {
    values.push(value);
    if (value < 3) source.number(value + 1);
  });
  source.number(1);
  source.number(9);
  assertEquals(values, [1]);
  assertStrictEquals(source.hears("number"), false);
});

Deno.test("Emitter.off() removes a listener that is about to be called", () => {
  const source = new Source();
  const second = spy(() => {});
  source.on("number", () => source.off("number", second));
  source.on("number", second);
  source.number(1);
  source.off("number", second).off("done", () => {});
  assertEquals(second.calls.length, 0);
});

Deno.test("Emitter.on() within a listener takes effect from the next event on", () => {
  const source = new Source();
  const late = spy(() => {});
  source.on("number", () => source.on("number", late));
  source.number(1);
  assertEquals(late.calls.length, 0);
  source.number(2);
  assertEquals(late.calls.length, 1);
});

Deno.test("Emitter.on() removes the listener on abort and releases the signal", () => {
  const source = new Source();
  const { signal, abort } = spiedSignal();
  const values: number[] = [];
  source.on("number", (value) => values.push(value), { signal });
  source.once("number", (value) => values.push(-value), { signal });
  source.number(1);
  assertStrictEquals(signal.listeners, 1); // the other one is used up
  abort("enough");
  source.number(2);
  assertEquals(values, [1, -1]);
  assertStrictEquals(signal.listeners, 0);
  source.on("number", (value) => values.push(value), { signal });
  source.number(3);
  assertEquals(values, [1, -1]);
});

Deno.test("Emitter emits error if a listener throws", () => {
  const source = new Source();
  const errors: unknown[] = [];
  const thrown = new Error("listener");
  source.on("error", (...args) => errors.push(args));
  source.on("number", () => {
    throw thrown;
  });
  const values = log(source);
  source.number(1);
  assertEquals(values, [1]);
  assertEquals(errors, [[thrown, "number"]]);
  assertEquals(source.subjects, [1]);
});

Deno.test("Emitter emits error if the promise of a listener rejects", async () => {
  const source = new Source();
  const errors: unknown[] = [];
  source.on("error", (error) => errors.push(error));
  source.on("number", () => Promise.reject("no"));
  source.on(
    "number",
    () => ({ then: (_: unknown, no: (e: string) => void) => no("thenable") }),
  );
  await Promise.all(source.number(1));
  assertEquals(errors.sort(), ["no", "thenable"]);
});

Deno.test("Emitter logs errors of error listeners", async () => {
  using written = stub(console, "error");
  const source = new Source();
  const others = spy(() => {});
  source.on("error", () => {
    throw new Error("worse");
  });
  source.on("error", () => Promise.reject(new Error("later")));
  source.on("error", others);
  source.on("number", () => {
    throw new Error("bad");
  });
  source.number(1);
  await Promise.resolve();
  await Promise.resolve();
  assertEquals(written.calls.length, 2);
  assertEquals(others.calls.length, 1);
});

Deno.test("Emitter is an EventTarget: handlers get a typed Event", () => {
  const source = new Source();
  const seen: unknown[] = [];
  source.addEventListener("number", function (this: Source, event) {
    seen.push(event.value, event.target === source, this === source);
  });
  const object = {
    handleEvent: (event: NumberEvent) => seen.push(event.value),
  };
  source.addEventListener("number", object, { once: true });
  source.addEventListener("number", object, { once: true }); // the same
  source.addEventListener("number", null);
  source.on("number", (value) => seen.push(-value)); // but called first
  source.number(1);
  assertEquals(seen, [-1, 1, true, true, 1]);
  source.number(2);
  assertEquals(seen.slice(5), [-2, 2, true, true]);
});

Deno.test("Emitter.removeEventListener() removes what was added", () => {
  const source = new Source();
  const handler = spy(() => {});
  source.addEventListener("number", handler);
  source.removeEventListener("number", null);
  source.removeEventListener("number", () => {});
  source.number(1);
  source.removeEventListener("number", handler);
  source.number(2);
  assertEquals(handler.calls.length, 1);
});

Deno.test("Emitter emits error if an event handler throws", async () => {
  const source = new Source();
  const errors: unknown[] = [];
  source.addEventListener(
    "error",
    (event) => errors.push([event.error, event.from]),
  );
  source.addEventListener("number", () => {
    throw "thrown";
  });
  source.addEventListener("number", {
    handleEvent: () => Promise.reject("no"),
  });
  source.number(1);
  await Promise.resolve();
  await Promise.resolve();
  assertEquals(errors, [["thrown", "number"], ["no", "number"]]);
});

Deno.test("Emitter reports the event in which a shared handler threw", () => {
  using written = stub(console, "error");
  const source = new Source();
  const from: string[] = [];
  source.on("error", (_, type) => from.push(type));
  const fail = () => {
    throw new Error("always");
  };
  for (const type of ["done", "number", "error"] as const) {
    source.addEventListener(type, fail);
  }
  source.number(1);
  source.done();
  assertEquals(from, ["number", "done"]);
  assertStrictEquals(written.calls.length, 2); // of "error" itself
});

Deno.test("Emitter.addEventListener() supports once, signal and capture", () => {
  const source = new Source();
  const { signal, abort } = spiedSignal();
  const seen: string[] = [];
  source.addEventListener("number", () => seen.push("once"), { once: true });
  source.addEventListener("number", () => seen.push("signal"), { signal });
  const both = () => seen.push("both");
  source.addEventListener("number", both, true);
  source.addEventListener("number", both, { capture: true }); // the same
  source.addEventListener("number", both, { capture: false });
  source.number(1);
  assertEquals(seen.sort(), ["both", "both", "once", "signal"]);
  abort("enough");
  assertStrictEquals(signal.listeners, 0);
  source.removeEventListener("number", both, { capture: true });
  assertStrictEquals(source.hears("number"), true);
  source.removeEventListener("number", both);
  assertStrictEquals(source.hears("number"), false);
  source.addEventListener("number", both, { signal }); // aborted already
  source.number(2);
  assertStrictEquals(seen.length, 4);
});

/** Checks that a handler which takes a while is waited for. */
async function waitsForHandler(source: Source): Promise<void> {
  const order: string[] = [];
  source.addEventListener("number", async () => {
    await new Promise((resolve) => setTimeout(resolve));
    order.push("handler");
  });
  await Promise.all(source.number(1));
  order.push("after");
  assertEquals(order, ["handler", "after"]);
}

Deno.test("Emitter collects promises of event handlers", async () => {
  await waitsForHandler(new Source());
});

Deno.test("Emitter collects promises of nested events", async () => {
  const source = new Source();
  source.addEventListener("done", () => {});
  source.addEventListener("number", () => source.done());
  await waitsForHandler(source);
});

Deno.test("Emitter creates no Event without event handlers", () => {
  let made = 0;
  class Counted extends Emitter<{ x: { args: []; event: Event } }> {
    constructor() {
      super();
      emitters.attach(this, { names: new Set(["x"]), failed: () => {} });
    }
    x(): void {
      emitters.emit(this, "x", Made, []);
    }
  }
  class Made extends Event {
    constructor(type: string) {
      super(type);
      made++;
    }
  }
  const source = new Counted();
  source.on("x", () => {});
  source.x();
  assertStrictEquals(made, 0);
  source.addEventListener("x", () => {});
  source.x();
  assertStrictEquals(made, 1);
});

Deno.test("Emitter calls its hook for each added listener", () => {
  const source = new Source();
  source.on("number", () => {});
  source.addEventListener("done", () => {});
  source.waitFor("number");
  assertEquals(source.added, ["number", "done", "number"]);
});

Deno.test("Emitter.waitFor() resolves with the next event's arguments", async () => {
  const source = new Source();
  const next = source.waitFor("number");
  source.number(1);
  source.number(2);
  assertEquals(await next, [1]);
  assertStrictEquals(source.hears("number"), false);
});

Deno.test("Emitter.waitFor() resolves with the first event that passes the filter", async () => {
  const source = new Source();
  const next = source.waitFor("number", { filter: (value) => value > 1 });
  source.number(1);
  source.number(2);
  assertEquals(await next, [2]);
});

Deno.test("Emitter.waitFor() rejects with the error of the filter", async () => {
  const source = new Source();
  const next = source.waitFor("number", {
    filter: () => {
      throw new Error("filter");
    },
  });
  source.number(1);
  await assertRejects(() => next, Error, "filter");
  assertStrictEquals(source.hears("number"), false);
});

Deno.test("Emitter.waitFor() rejects when the signal is aborted", async () => {
  const source = new Source();
  const { signal, abort } = spiedSignal();
  const next = source.waitFor("number", { signal });
  abort(new Error("enough"));
  await assertRejects(() => next, Error, "enough");
  assertStrictEquals(signal.listeners, 0);
  await assertRejects(
    () => source.waitFor("number", { signal }),
    Error,
    "enough",
  );
  assertStrictEquals(source.hears("number"), false);
});

Deno.test("Emitter.waitFor() rejects after the timeout", async () => {
  using time = new FakeTime();
  const source = new Source();
  const next = source.waitFor("number", { timeout: 1_000 });
  const rejected = assertRejects(
    () => next,
    DOMException,
    "1000 ms have passed",
  );
  time.tick(999);
  assertStrictEquals(source.hears("number"), true);
  time.tick(1);
  assertStrictEquals((await rejected).name, "TimeoutError");
  assertStrictEquals(source.hears("number"), false);
});

Deno.test("Emitter.waitFor() and collect() cause no unhandled rejection", async () => {
  const source = new Source();
  const { signal, abort } = spiedSignal();
  source.waitFor("number");
  source.collect("number", { signal });
  abort("enough");
  source.end();
  await new Promise((resolve) => setTimeout(resolve)); // no unhandled rejection
});

Deno.test("Emitter.waitFor() releases its listeners after the event", async () => {
  const source = new Source();
  const { signal } = spiedSignal();
  const next = source.waitFor("number", { signal });
  source.number(1);
  await next;
  source.end();
  assertStrictEquals(signal.listeners, 0);
});

Deno.test("Emitter.waitFor() has no timer if the timeout is infinite", async () => {
  using time = new FakeTime();
  const source = new Source();
  const forEver = source.waitFor("number", { timeout: Infinity });
  const long = source.waitFor("number", { timeout: 2 ** 40 });
  await time.tickAsync(1_000_000_000);
  source.number(1);
  assertEquals([await forEver, await long], [[1], [1]]);
});

Deno.test("Emitter.waitFor() clears its timer after the event", async () => {
  const source = new Source();
  const next = source.waitFor("number", { timeout: 100_000 });
  source.number(1);
  assertEquals(await next, [1]);
});

Deno.test("Emitter.waitFor() rejects when the emitter ends, or has ended", async () => {
  const source = new Source();
  const { signal } = spiedSignal();
  const next = source.waitFor("number", { signal, timeout: 100_000 });
  source.end();
  await assertRejects(() => next, Error, "ended");
  assertStrictEquals(signal.listeners, 0);
  await assertRejects(() => source.waitFor("number"), Error, "ended");
});

Deno.test("Emitter.waitFor() works after an end that is not final", async () => {
  const source = new Source();
  const before = source.waitFor("number");
  let within: Promise<[number]> | undefined;
  source.on("done", () => within = source.waitFor("number"));
  const last = source.waitFor("done");
  source.end(false, () => source.done());
  await assertRejects(() => before, Error, "ended");
  assertEquals(await last, []);
  source.number(1);
  assertEquals(await within, [1]);
});

Deno.test("Emitter.collect() resolves at the limit", async () => {
  const source = new Source();
  const some = source.collect("number", { limit: 2, filter: (n) => n !== 2 });
  for (const n of [1, 2, 3, 4]) source.number(n);
  assertEquals(await some, [[1], [3]]);
  assertEquals(await source.collect("number", { limit: 0 }), []);
  assertStrictEquals(source.hears("number"), false);
});

Deno.test("Emitter.collect() resolves after the duration", async () => {
  using time = new FakeTime();
  const source = new Source();
  const some = source.collect("number", { during: 1_000 });
  source.number(1);
  time.tick(999);
  source.number(2);
  time.tick(1);
  source.number(3);
  assertEquals(await some, [[1], [2]]);
});

Deno.test("Emitter.collect() clears its timer at the limit", async () => {
  const source = new Source();
  const some = source.collect("number", { limit: 1, during: 100_000 });
  source.number(1);
  assertEquals(await some, [[1]]);
});

Deno.test("Emitter.collect() resolves when the emitter ends, or has ended", async () => {
  const source = new Source();
  const all = source.collect("number", { during: 100_000 });
  source.number(1);
  source.end();
  assertEquals(await all, [[1]]);
  assertEquals(await source.collect("number"), []);
});

Deno.test("Emitter.collect() rejects on abort and with the error of the filter", async () => {
  const source = new Source();
  const { signal, abort } = spiedSignal();
  const aborted = source.collect("number", { signal, during: 100_000 });
  abort(new Error("enough"));
  await assertRejects(() => aborted, Error, "enough");
  const failed = source.collect("number", {
    filter: () => {
      throw new Error("filter");
    },
  });
  source.number(1);
  await assertRejects(() => failed, Error, "filter");
});

Deno.test("Emitter.events() iterates in order, from the call on", async () => {
  const source = new Source();
  const events = source.events("number");
  source.number(1);
  source.number(2);
  const seen: number[] = [];
  for await (const [value] of events) {
    seen.push(value);
    if (value === 2) queueMicrotask(() => source.number(3));
    if (value === 3) source.end();
  }
  assertEquals(seen, [1, 2, 3]);
});

Deno.test("Emitter.events() returns queued events before it ends with the emitter", async () => {
  const source = new Source();
  const events = source.events("number");
  source.number(1);
  source.end();
  source.number(2);
  assertEquals(await Array.fromAsync(events), [[1]]);
  assertEquals(await Array.fromAsync(source.events("number")), []);
});

Deno.test("Emitter.events() resolves pending calls of next()", async () => {
  const source = new Source();
  const events = source.events("number");
  const asked = [events.next(), events.next(), events.next()];
  source.number(1);
  source.number(2);
  source.end();
  assertEquals(await Promise.all(asked), [
    { done: false, value: [1] },
    { done: false, value: [2] },
    { done: true, value: undefined },
  ]);
});

Deno.test("Emitter.events() releases everything on break", async () => {
  const source = new Source();
  const { signal } = spiedSignal();
  const events = source.events("number", { signal });
  source.number(1);
  source.number(2);
  for await (const _ of events) break;
  assertStrictEquals(source.hears("number"), false);
  assertStrictEquals(signal.listeners, 0);
  assertEquals(await events.next(), { done: true, value: undefined });
});

Deno.test("Emitter.events() rejects once on abort", async () => {
  const source = new Source();
  const { signal, abort } = spiedSignal();
  const waiting = source.events("number", { signal });
  const asked = waiting.next();
  const filled = source.events("number", { signal });
  source.number(1);
  assertEquals((await asked).value, [1]);
  const askedAgain = waiting.next();
  abort(new Error("enough"));
  await assertRejects(() => askedAgain, Error, "enough");
  assertEquals((await waiting.next()).done, true);
  assertEquals((await filled.next()).value, [1]);
  await assertRejects(() => filled.next(), Error, "enough");
  assertEquals((await filled.next()).done, true);
});

Deno.test("Emitter.events() rejects if more events wait than the limit", async () => {
  const source = new Source();
  const events = source.events("number", { limit: 2 });
  source.number(1);
  source.number(2);
  assertStrictEquals(source.hears("number"), true);
  source.number(3);
  assertStrictEquals(source.hears("number"), false);
  assertEquals((await events.next()).value, [1]);
  assertEquals((await events.next()).value, [2]);
  await assertRejects(
    () => events.next(),
    RangeError,
    'Cannot queue more than 2 "number" events',
  );
  assertEquals((await events.next()).done, true);
});

/** A signal that knows how many listen to it. */
function spiedSignal() {
  const controller = new AbortController();
  const { signal } = controller;
  const counted = Object.assign(signal, { listeners: 0 });
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
    counted.listeners++;
    addEventListener.apply(signal, args);
  };
  signal.removeEventListener = (
    ...args: Parameters<typeof removeEventListener>
  ) => {
    counted.listeners--;
    removeEventListener.apply(signal, args);
  };
  return {
    signal: counted,
    abort: (reason: unknown) => controller.abort(reason),
  };
}
