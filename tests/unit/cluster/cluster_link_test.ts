/** What goes to other servers, and comes from them, without any broker. */

import { assertEquals, assertStrictEquals } from "@std/assert";
import type { Adapter, AdapterHost } from "../../../core/cluster/adapter.ts";
import { ClusterLink } from "../../../core/cluster/cluster_link.ts";

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
        if (channel !== "fleet") this.log.push(channel);
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
    memberJoined: () => {},
    memberLeft: () => {},
    messageMissed: () => missed++,
    changed: () => {},
    failed: (error) => errors.push(String(error)),
  });
  return { relay, told, errors, missed: () => missed };
}

Deno.test("ClusterLink passes on the options of a message, and only those that it has", async () => {
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

Deno.test("ClusterLink passes on a text as it is, whatever it begins with", async () => {
  const wire = new Wire();
  const { relay: one } = relay(wire);
  const { relay: other, told } = relay(wire);
  const texts = ["\uFEFFmarked", "\n", "", "\u{1F600}\u0000"];
  for (const text of texts) one.publish(text, { except: [] }, {});
  assertEquals(told, texts.map((text) => ["all", text, {}]));
  await one.close();
  await other.close();
});

Deno.test("ClusterLink delivers once what is for several rooms", async () => {
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

Deno.test("ClusterLink keeps the order where the bytes of a Blob take time", async () => {
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
  Deno.test(`ClusterLink counts and tells what is lost: the adapter ${failure}`, async () => {
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

Deno.test("ClusterLink keeps the last messages while it cannot pass them on", async () => {
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

Deno.test("ClusterLink delivers what has options that only a later release knows", async () => {
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

Deno.test("ClusterLink bounds the bytes that wait for the broker", async () => {
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
