/** Subscriptions over a client that is confused by commands which overtake each other. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { delay } from "@std/async";
import { FakeTime } from "@std/testing/time";
import {
  type SubscriptionCommands,
  SubscriptionQueue,
} from "../../../core/cluster/subscription_queue.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

/**
 * A client as that of Redis: it sends no command for a channel that it takes for
 * subscribed, and the answer to an `UNSUBSCRIBE` removes the listener.
 */
class FakeClient implements SubscriptionCommands {
  /** The channels that the broker delivers and the client passes on. */
  readonly heard = new Set<string>();
  readonly #listeners = new Set<string>();
  readonly #busy = new Set<string>();
  isLost = false;
  overlaps = 0;

  constructor(readonly pause: () => Promise<void>) {}

  async subscribe(channel: string): Promise<void> {
    if (this.#busy.has(channel)) this.overlaps++;
    if (this.#listeners.has(channel)) return; // no command
    this.#listeners.add(channel);
    await this.#command(channel);
    this.heard.add(channel);
  }

  async unsubscribe(channel: string): Promise<void> {
    if (this.#busy.has(channel)) this.overlaps++;
    await this.#command(channel);
    this.#listeners.delete(channel);
    this.heard.delete(channel);
  }

  async #command(channel: string): Promise<void> {
    this.#busy.add(channel);
    await this.pause();
    this.#busy.delete(channel);
    if (this.isLost) throw new Error("The connection is lost");
  }
}

Deno.test("SubscriptionQueue reaches the last wanted state, whatever the delays are", async () => {
  for (let seed = 1; seed <= 100; seed++) {
    const random = new SeededRandom(seed);
    const pause = async () => {
      for (let i = random.integer(8); i > 0; i--) await Promise.resolve();
    };
    const queue = new SubscriptionQueue(() => {});
    let client: FakeClient | undefined;
    const clients: FakeClient[] = [];
    const wanted = new Set<string>();
    for (let step = 0; step < 200; step++) {
      const channel = `c${random.integer(4)}`;
      const action = random.integer(20);
      if (action === 0) {
        if (client) client.isLost = true;
        client = undefined;
        queue.disconnected();
      } else if (action === 1 || !client) {
        if (client) client.isLost = true;
        client = new FakeClient(pause);
        clients.push(client);
        queue.connected(client);
      } else if (action % 2 === 0) {
        wanted.add(channel);
        queue.subscribe(channel);
      } else {
        wanted.delete(channel);
        queue.unsubscribe(channel);
      }
      await pause();
    }
    if (!client) queue.connected(client = new FakeClient(pause));
    clients.push(client);
    await Promise.all([...wanted].map((channel) => queue.subscribe(channel)));
    for (let i = 0; i < 50; i++) await Promise.resolve();
    assertEquals(client.heard, wanted, `seed ${seed}`);
    for (const { overlaps } of clients) assertEquals(overlaps, 0);
  }
});

Deno.test("SubscriptionQueue.subscribe() resolves only when the last subscription is confirmed", async () => {
  const gates: PromiseWithResolvers<void>[] = [];
  const gate = () => {
    const one = Promise.withResolvers<void>();
    gates.push(one);
    return one.promise;
  };
  const queue = new SubscriptionQueue(() => {});
  queue.connected({ subscribe: gate, unsubscribe: gate });
  const first = queue.subscribe("a");
  queue.unsubscribe("a");
  await first; // not wanted any more
  let isConfirmed = false;
  const second = queue.subscribe("a").then(() => isConfirmed = true);
  // It was subscribed to for the first call, and stays so.
  await delay(0);
  assertEquals([gates.length, isConfirmed], [1, false]);
  gates[0]?.resolve();
  await second;
  assertEquals(gates.length, 1);
});

Deno.test("SubscriptionQueue tells that a subscription is refused, and tries it again", async () => {
  using time = new FakeTime();
  let isAllowed = false;
  let count = 0;
  const queue = new SubscriptionQueue(() => {});
  queue.connected({
    subscribe: () => {
      count++;
      return isAllowed
        ? Promise.resolve()
        : Promise.reject(new Error("NOPERM"));
    },
    unsubscribe: () => Promise.resolve(),
  });
  await assertRejects(() => queue.subscribe("a"), Error, "NOPERM");
  await time.tickAsync(5_000);
  assertEquals(count, 2);
  isAllowed = true;
  await time.tickAsync(5_000);
  assertEquals(count, 3);
  await time.tickAsync(60_000);
  assertEquals(count, 3);
  assert(queue.isWanted("a"));
  queue.disconnected();
});

Deno.test("SubscriptionQueue tells of a refusal to unsubscribe, and of a client that throws", async () => {
  using time = new FakeTime();
  const errors: unknown[] = [];
  const queue = new SubscriptionQueue((error) => errors.push(`${error}`));
  queue.connected({
    subscribe: () => Promise.resolve(),
    unsubscribe: () => {
      throw new Error("closed");
    },
  });
  await queue.subscribe("a");
  queue.unsubscribe("a");
  assertEquals(errors, ["Error: closed"]);
  await time.tickAsync(5_000);
  assertEquals(errors.length, 2);
  queue.disconnected();
});
