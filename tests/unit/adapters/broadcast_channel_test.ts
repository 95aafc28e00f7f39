import { assert, assertEquals, assertMatch } from "@std/assert";
import { broadcastChannel } from "../../../adapters/broadcast_channel.ts";

/** An adapter over a channel that the test dispatches events on. */
function opened() {
  const { BroadcastChannel: original } = globalThis;
  const target = Object.assign(new EventTarget(), {
    onmessage: (_event: MessageEvent) => {},
    onmessageerror: (_event: MessageEvent) => {},
    postMessage() {},
    close() {},
  });
  Reflect.set(globalThis, "BroadcastChannel", function () {
    return target;
  });
  const seen: unknown[][] = [];
  const adapter = broadcastChannel({ name: "test" });
  try {
    adapter.open({
      changed: (...args) => seen.push(args),
      received: (...args) => seen.push(args),
    });
  } finally {
    Reflect.set(globalThis, "BroadcastChannel", original);
  }
  return { adapter, target, seen };
}

Deno.test("broadcastChannel() reports a message that could not be deserialized", async () => {
  const { adapter, target, seen } = opened();
  assertEquals(seen.splice(0), [["up"]]);
  target.onmessageerror(new MessageEvent("messageerror"));
  const [[state, error] = [], after] = seen;
  assertEquals([state, after], ["down", ["up"]]);
  assert(error instanceof Error);
  assertMatch(error.message, /BroadcastChannel "test".*lost/);
  await adapter.close();
});

Deno.test("broadcastChannel() ignores what is no message of a server", async () => {
  const { adapter, target, seen } = opened();
  adapter.subscribe("a");
  seen.length = 0;
  for (
    const data of [undefined, 1, [], ["a"], ["a", "text"], [
      "b",
      new Uint8Array(),
    ]]
  ) {
    target.onmessage(new MessageEvent("message", { data }));
  }
  assertEquals(seen, []);
  const message = new Uint8Array([1]);
  target.onmessage(new MessageEvent("message", { data: ["a", message] }));
  assertEquals(seen, [["a", message]]);
  await adapter.close();
});
