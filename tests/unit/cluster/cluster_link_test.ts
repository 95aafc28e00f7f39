/** What goes to other servers, and comes from them, without any broker. */

import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertStrictEquals,
} from "@std/assert";
import { FakeTime } from "@std/testing/time";
import type { Adapter, AdapterHost } from "../../../core/cluster/adapter.ts";
import { ClusterLink } from "../../../core/cluster/cluster_link.ts";
import {
  encodeEnvelope,
  encodeEnvelopeStart,
} from "../../../core/history/envelope.ts";

/** An adapter in memory: what one publishes comes to all, at once. */
class Wire {
  readonly buses: AdapterHost[] = [];
  readonly log: string[] = [];
  /** What `publish` does. */
  failure: "throws" | "rejects" | undefined;

  adapter(isUp = true): Adapter {
    return {
      open: (bus) => {
        this.buses.push(bus);
        if (isUp) bus.changed("up");
      },
      publish: (channel, message) => {
        if (this.failure === "throws") throw new Error("thrown");
        if (this.failure) return Promise.reject(new Error("rejected"));
        if (!/^(fleet$|to )/.test(channel)) this.log.push(channel);
        for (const bus of this.buses) bus.received(channel, message);
        return undefined;
      },
      subscribe: (channel) => void this.log.push(`+${channel}`),
      unsubscribe: (channel) => void this.log.push(`-${channel}`),
      close: () => Promise.resolve(),
    };
  }
}

/** A relay, and what it tells. */
function relay(wire: Wire, { maxQueued = 0, isUp = true } = {}) {
  const told: unknown[] = [];
  const errors: string[] = [];
  let missed = 0;
  const options = { name: crypto.randomUUID(), maxQueued };
  const relay = new ClusterLink(wire.adapter(isUp), options, {
    deliver: ({ body, target: { rooms, except }, options }) => {
      const to = rooms?.join() ?? "all";
      const but = except.length > 0 ? ` but ${except.join()}` : "";
      told.push([
        `${to}${but}`,
        typeof body === "string" ? body : "bytes",
        options,
      ]);
    },
    sendPositions: () => {},
    answer: () => ({ number: 0 }),
    appMessage: () => {},
    messageMissed: () => missed++,
    changed: () => {},
    failed: (error) => errors.push(String(error)),
  });
  return { relay, told, errors, missed: () => missed };
}

Deno.test("ClusterLink forwards only the options that are set", async () => {
  const wire = new Wire();
  const { relay: one } = relay(wire);
  const { relay: other, told } = relay(wire);
  one.publish("a", { except: [] }, {});
  one.publish("b", { rooms: ["r", "r"], except: ["x", "y"] }, {
    overflow: "latest",
    key: "",
  });
  assertEquals(told, [
    ["all", "a", {}],
    ["r,r but x,y", "b", { overflow: "latest", key: "" }],
  ]);
  assertEquals(wire.log.filter((entry) => !entry.startsWith("+")), [
    "all",
    "room r",
  ]);
  await one.close();
  await other.close();
});

Deno.test("ClusterLink forwards text unchanged", async () => {
  const wire = new Wire();
  const { relay: one } = relay(wire);
  const { relay: other, told } = relay(wire);
  const texts = ["\uFEFFmarked", "\n", "", "\u{1F600}\u0000"];
  for (const text of texts) one.publish(text, { except: [] }, {});
  assertEquals(told, texts.map((text) => ["all", text, {}]));
  await one.close();
  await other.close();
});

Deno.test("ClusterLink delivers a message to several rooms once", async () => {
  const wire = new Wire();
  const { relay: one } = relay(wire);
  const { relay: other, told } = relay(wire);
  for (let n = 0; n < 3; n++) {
    one.publish(`${n}`, { rooms: ["r", "s", "t"], except: [] }, {});
  }
  assertEquals(told.length, 3);
  for (const one of [other]) await one.close();
  await one.close();
});

Deno.test("ClusterLink publishes a message to many rooms once", async () => {
  const wire = new Wire();
  const { relay: one } = relay(wire);
  const { relay: other, told } = relay(wire);
  const channels = () =>
    wire.log.splice(0).filter((entry) => !entry.startsWith("+"));
  channels();
  const rooms = Array.from({ length: 3_000 }, (_, n) => `room number ${n}`);
  one.publish("to many", { rooms, except: [] }, {});
  assertEquals(channels(), ["all"]);
  one.publish("x".repeat(10_000), { rooms: ["r", "s"], except: [] }, {});
  assertEquals(channels(), ["all"]);
  // Servers without a member in the rooms are spared, unless that costs more.
  one.publish("small", { rooms: ["r", "s"], except: [] }, {});
  assertEquals(channels(), ["room r", "room s"]);
  one.publish("x".repeat(100_000), { rooms: ["r", "r"], except: [] }, {});
  assertEquals(channels(), ["room r"]);
  assertEquals(told.length, 4);
  for (const relay of [one, other]) await relay.close();
});

Deno.test("ClusterLink keeps the order while a Blob is read", async () => {
  const wire = new Wire();
  const { relay: one, errors } = relay(wire);
  const { relay: other, told } = relay(wire);
  const broken = new Blob(["x"]);
  broken.bytes = () => Promise.reject(new Error("gone"));
  one.publish(new Blob(["x"]), { except: [] }, {});
  one.publish("then", { except: [] }, {});
  one.publish(broken, { except: [] }, {});
  one.publish("last", { except: [] }, {});
  assertEquals(told, []);
  await one.close();
  assertEquals(told.map((entry) => Array.isArray(entry) && entry[1]), [
    "bytes",
    "then",
    "last",
  ]);
  assertEquals(errors, ["Error: gone"]);
  await other.close();
});

for (const failure of ["throws", "rejects"] as const) {
  Deno.test(`ClusterLink counts and reports lost messages: the adapter ${failure}`, async () => {
    const wire = new Wire();
    const { relay: one, errors, missed } = relay(wire);
    wire.failure = failure;
    one.publish("a", { except: [] }, {});
    await Promise.resolve();
    await Promise.resolve();
    assertStrictEquals(missed(), 1);
    assertStrictEquals(errors.length, 1);
    // That the broker is away is told already.
    wire.buses[0]?.changed("down");
    one.publish("b", { except: [] }, {});
    one.roomOpened("r");
    await Promise.resolve();
    assertStrictEquals(missed(), 2);
    assertStrictEquals(errors.length, 1);
    await one.close();
    await Promise.resolve();
    assertStrictEquals(errors.length, 1);
  });
}

Deno.test("ClusterLink queues the latest messages while the broker is down", async () => {
  const wire = new Wire();
  const { relay: one, missed } = relay(wire, { maxQueued: 2, isUp: false });
  const { relay: other, told } = relay(wire);
  for (const text of ["1", "2", "3"]) one.publish(text, { except: [] }, {});
  assertStrictEquals(missed(), 1);
  wire.buses[0]?.changed("up");
  wire.buses[0]?.changed("up");
  assertEquals(told.map((entry) => Array.isArray(entry) && entry[1]), [
    "2",
    "3",
  ]);
  await other.close();
  // A relay that is closed neither hears nor says anything.
  one.publish("4", { except: [] }, {});
  assertStrictEquals(told.length, 2);
  await one.close();
  one.roomClosed("r");
  assertStrictEquals(wire.log.at(-1), "all");
});

Deno.test("ClusterLink delivers messages with unknown options", async () => {
  const wire = new Wire();
  const { relay: one, told, errors } = relay(wire);
  const header = {
    ...{ version: 1, from: "x", id: 1, rooms: ["r"], except: [] },
    ...{ isBinary: false, overflow: "newest-twice", key: 7 },
  };
  const message = new TextEncoder().encode(`${JSON.stringify(header)}\nhello`);
  wire.buses[0]?.received("room r", message);
  assertEquals(told, [["r", "hello", {}]]);
  assertEquals(errors, []);
  await one.close();
});

Deno.test("ClusterLink limits the bytes queued for the broker", async () => {
  const wire = new Wire();
  const { relay: one, missed } = relay(wire, {
    maxQueued: Infinity,
    isUp: false,
  });
  const body = "x".repeat(8 * 1024 * 1024);
  for (let i = 0; i < 10; i++) one.publish(body, { except: [] }, {});
  assertEquals(missed(), 3);
  wire.buses[0]?.changed("up");
  assertEquals(wire.log.filter((entry) => entry === "all").length, 7);
  for (let i = 0; i < 2; i++) wire.buses[0]?.changed("down");
  for (let i = 0; i < 7; i++) one.publish(body, { except: [] }, {});
  assertEquals(missed(), 3);
  await one.close();
});

/** An adapter whose messages come back, and what happens to it. */
class EchoWire {
  host: AdapterHost | undefined;
  isDeaf = false;
  reconnects = 0;
  pulses = 0;

  readonly adapter: Adapter = {
    echoes: true,
    open: (host) => this.host = host,
    publish: (channel, message) => {
      if (channel.startsWith("pulse ")) this.pulses++;
      if (!this.isDeaf) this.host?.received(channel, message);
    },
    subscribe: () => Promise.resolve(),
    unsubscribe: () => {},
    reconnect: () => void this.reconnects++,
    close: () => Promise.resolve(),
  };
}

/** A link, and the states that it reports. */
function watched(adapter: Adapter) {
  const told: string[] = [];
  const link = new ClusterLink(adapter, { name: "a", maxQueued: 0 }, {
    deliver: () => {},
    sendPositions: () => {},
    answer: () => ({ number: 0 }),
    appMessage: () => {},
    messageMissed: () => {},
    changed: (state, error) =>
      told.push(error === undefined ? state : `${state}: ${error}`),
    failed: () => {},
  });
  return { link, told };
}

Deno.test("ClusterLink reports up only after a message of its own has come back", async () => {
  using time = new FakeTime();
  const wire = new EchoWire();
  const { link, told } = watched(wire.adapter);
  wire.isDeaf = true;
  wire.host?.changed("up");
  await time.tickAsync(1_000);
  assertEquals(told, []);
  assertStrictEquals(link.state?.state, "down");
  wire.isDeaf = false;
  await time.tickAsync(1_500);
  assertEquals(told, ["up"]);
  assertStrictEquals(link.state?.state, "up");
  await link.close();
});

Deno.test("ClusterLink reports down when its messages stop coming back, and reconnects", async () => {
  using time = new FakeTime();
  const wire = new EchoWire();
  const { link, told } = watched(wire.adapter);
  wire.host?.changed("up");
  await time.tickAsync(3_000);
  assertEquals(told, ["up"]);
  wire.isDeaf = true;
  await time.tickAsync(10_000);
  const reason =
    "down: Error: No message of this server has come back through the broker for 7.5 s";
  assertEquals(told, ["up", reason]);
  assertStrictEquals(wire.reconnects, 1);
  // It goes on to try, and tells the reason once.
  await time.tickAsync(20_000);
  assertStrictEquals(wire.reconnects, 3);
  assertStrictEquals(told.length, 2);
  wire.isDeaf = false;
  await time.tickAsync(1_500);
  assertEquals(told.slice(2), ["up"]);
  await link.close();
});

Deno.test("ClusterLink reports down in time at the start, and each new reason once", async () => {
  using time = new FakeTime();
  const wire = new EchoWire();
  const { link, told } = watched(wire.adapter);
  await time.tickAsync(5_000);
  assertStrictEquals(told.length, 1);
  assertMatch(told[0] ?? "", /^down: Error: No message/);
  for (const reason of ["refused", "refused", "NOAUTH", "refused"]) {
    wire.host?.changed("down", new Error(reason));
  }
  assertEquals(
    told.slice(1),
    ["refused", "NOAUTH", "refused"].map((reason) => `down: Error: ${reason}`),
  );
  const lookup = new AggregateError([new Error("::1"), new Error("127.0.0.1")]);
  wire.host?.changed("down", lookup);
  wire.host?.changed("down", new AggregateError(lookup.errors));
  assertStrictEquals(told.length, 5);
  assertStrictEquals(link.state?.lastError instanceof AggregateError, true);
  wire.host?.changed("up");
  await time.tickAsync(100);
  assertStrictEquals(told.at(-1), "up");
  assert(link.state?.lastError);
  await link.close();
});

Deno.test("ClusterLink reports why the broker refuses its first messages", async () => {
  using time = new FakeTime();
  const wire = new EchoWire();
  const denied = () => Promise.reject(new Error("NOPERM"));
  const { link, told } = watched({ ...wire.adapter, publish: denied });
  wire.host?.changed("up");
  await time.tickAsync(100);
  assertEquals(told, ["down: Error: NOPERM"]);
  await link.close();
});

Deno.test("encodeEnvelopeStart() is what broadcasts of one server begin with, and of no other", () => {
  const encode = (from: string) =>
    encodeEnvelope({
      from,
      id: 1,
      target: { except: [] },
      body: "",
      options: {},
    });
  const start = encodeEnvelopeStart("a");
  assertEquals(encode("a").subarray(0, start.length), start);
  assert(start.length < encode("ab").length);
  assertNotEquals(encode("ab").subarray(0, start.length), start);
});
