/**
 * Channels over random losses: each joined channel is joined again, gets its messages in
 * order and none twice, and `recovery` says `true` only if none is missing.
 */

import { assert, assertEquals } from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { type Channel, channel, channels } from "../../channels.ts";
import { ClientSocket, ServerSocket } from "../../mod.ts";
import { advance, MemoryNetwork, settle } from "../../testing.ts";
import { SeededRandom } from "../support/seeded_random.ts";

const NAMES = ["a", "b", "c"];
const KEPT = 8;

/** What one channel has heard since it was last known to be whole. */
class Listener {
  readonly channel: Channel;
  /** The numbers of the messages that are not told of yet. */
  #heard: number[] = [];
  /** The last number that is known to be heard. */
  #last = 0;
  #snapshot = 0;
  #openedAt = 0;
  recovered = 0;
  lost = 0;
  ends: string[] = [];
  faults: unknown[] = [];

  constructor(channel: Channel) {
    this.channel = channel;
    channel.on("open", (snapshot, isRejoin) => {
      this.#snapshot = Number(snapshot);
      this.#openedAt = this.#heard.length;
      if (!isRejoin) this.#last = this.#snapshot;
    });
    channel.on("message", ({ data }) => this.#heard.push(Number(data)));
    channel.on("recovery", (recovered) => {
      if (recovered) this.recovered++;
      else {
        this.lost++;
        // The snapshot is what the client goes on from.
        this.#heard = this.#heard.slice(this.#openedAt);
        this.#last = this.#snapshot;
      }
      this.check();
    });
    channel.on("close", (code) => this.ends.push(code));
    channel.on("error", (error) => this.faults.push(error));
  }

  /** Checks that no number is missing, and none comes twice. */
  check(): void {
    for (const next of this.#heard) {
      assertEquals(next, this.#last + 1, `in ${this.channel.name}`);
      this.#last = next;
    }
    this.#heard = [];
  }

  get last(): number {
    return this.#heard.at(-1) ?? this.#last;
  }
}

async function run(seed: number, time: FakeTime): Promise<[number, number]> {
  const random = new SeededRandom(seed);
  const server = new ServerSocket({ history: { messages: KEPT } });
  const sent = new Map(NAMES.map((name) => [name, 0]));
  let isSlow = false;
  channels(server).channel(":name", {
    join: async () => {
      if (isSlow) await new Promise((resolve) => setTimeout(resolve, 30));
      return true;
    },
    snapshot: ({ params }) => sent.get(params.name) ?? 0,
  });
  const send = (name: string) => {
    const number = (sent.get(name) ?? 0) + 1;
    sent.set(name, number);
    server.to(name).send(number);
  };
  await using network = new MemoryNetwork(server);
  const client = new ClientSocket({
    reconnect: { initialDelay: 20, maxDelay: 40 },
  });
  const connected = client.connect(network.url);
  const listeners = NAMES.map((name) => new Listener(channel(client, name)));
  await settle();
  await connected;
  for (let step = 0; step < 60; step++) {
    isSlow = random.integer(4) === 0;
    const choice = random.integer(10);
    if (choice === 0 && client.connection) network.link.cut();
    else if (choice === 1) {
      for (const one of server.clients) one.terminate();
    } else if (choice < 8) {
      const times = random.integer(4);
      for (let i = 0; i < times; i++) send(random.pick(NAMES));
    } else await advance(time, random.integer(80));
    if (random.integer(2) === 0) await settle();
  }
  await advance(time, 15_000);
  for (const name of NAMES) send(name);
  await advance(time, 10);
  for (const listener of listeners) {
    const { channel, last, ends, faults } = listener;
    listener.check();
    assertEquals(faults, [], `seed ${seed}`);
    assertEquals(channel.state, "open", `seed ${seed}`);
    assertEquals(ends, []);
    assertEquals(last, sent.get(channel.name), `seed ${seed}, ${channel.name}`);
    assertEquals(server.rooms.get(channel.name)?.size, 1);
  }
  const closed = client.close();
  await settle();
  await closed;
  assertEquals(listeners.map(({ ends }) => ends), NAMES.map(() => ["ended"]));
  const stopped = server.close();
  await advance(time, 10);
  await stopped;
  return [
    listeners.reduce((sum, { recovered }) => sum + recovered, 0),
    listeners.reduce((sum, { lost }) => sum + lost, 0),
  ];
}

Deno.test("channels over random losses lose nothing in silence", async () => {
  let recovered = 0;
  let lost = 0;
  for (let seed = 1; seed <= 60; seed++) {
    using time = new FakeTime();
    const [more, less] = await run(seed, time);
    recovered += more;
    lost += less;
  }
  assert(recovered > 50, `${recovered} recovered`);
  assert(lost > 50, `${lost} lost`);
});
