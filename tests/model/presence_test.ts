/**
 * Servers that tell who is in their rooms, over a broker that comes and goes. In the end
 * all agree on who is where, and each member was told by one `join` and one `leave`.
 */

import { assertEquals } from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { ClientSocket, ServerSocket } from "../../mod.ts";
import { advance, MemoryNetwork, settle } from "../../testing.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { FakeBroker, type FakeLink } from "../support/fake_broker.ts";

const [count = "60", first = "1", isShown] = Deno.args;
const ROOMS = ["a", "b", "c"];

/** One server, and what it has told. */
class Node {
  readonly network: MemoryNetwork;
  readonly told = new Map(ROOMS.map((room) => [room, new Set<string>()]));
  isDead = false;

  constructor(
    readonly name: string,
    readonly server: ServerSocket<{ context: string }>,
    readonly link: FakeLink,
    fault: (what: string) => void,
  ) {
    this.network = new MemoryNetwork(server);
    server.on("error", (error) => fault(`${name}: ${error}`));
    server.on("join", ({ data }, room) => {
      const told = this.told.get(room);
      if (told?.has(`${data}`)) fault(`${name}: ${data} joins ${room} twice`);
      told?.add(`${data}`);
    });
    server.on("leave", ({ data }, room) => {
      const told = this.told.get(room);
      if (!told?.delete(`${data}`)) {
        fault(`${name}: ${data} leaves ${room} twice`);
      }
      // From then on it hears no more of it.
      if (!server.rooms.has(room)) told?.clear();
    });
  }
}

class Run {
  readonly faults = new Set<string>();
  readonly trace: string[] = [];
  readonly #chance: SeededRandom;
  readonly #broker: FakeBroker;
  readonly #time: FakeTime;
  readonly #nodes: Node[] = [];
  readonly #clients: ClientSocket[] = [];
  #names = 0;

  constructor(seed: number, time: FakeTime) {
    this.#chance = new SeededRandom(seed);
    for (let i = 0; i < 5; i++) this.#chance.next();
    this.#broker = new FakeBroker(this.#chance);
    this.#time = time;
  }

  #start(): void {
    const { link, adapter } = this.#broker.plainLink();
    const server = new ServerSocket<{ context: string }>({
      adapter,
      presence: ({ path }) => path.slice(1),
    });
    server.on("adapter", () => {}); // keeps the console quiet
    const name = `s${++this.#names}`;
    this.#nodes.push(
      new Node(name, server, link, (what) => {
        this.faults.add(what);
        this.trace.push(`!! ${what}`);
      }),
    );
    link.reach();
  }

  #enter(node: Node | undefined): void {
    if (!node) return;
    const name = `${node.name}-${this.#clients.length}`;
    const client = new ClientSocket();
    this.#clients.push(client);
    client.connect(`${node.network.url}/${name}`).catch(() => {});
  }

  get #live(): Node[] {
    return this.#nodes.filter(({ isDead }) => !isDead);
  }

  async #step(): Promise<void> {
    const seeded = this.#chance;
    const what = seeded.integer(30);
    const node = seeded.pick(this.#live);
    const room = seeded.pick(ROOMS);
    const clients = [...node.server.clients];
    const client = clients[seeded.integer(clients.length)];
    const say = (text: string) => this.trace.push(text);
    if (what < 2) {
      say(`somebody comes to ${node.name}`);
      this.#enter(node);
    } else if (what < 10 && client) {
      say(`${client.path} joins ${room}`);
      client.join(room);
    } else if (what < 15 && client) {
      say(`${client.path} leaves ${room}`);
      client.leave(room);
    } else if (what === 15 && client) {
      say(`${client.path} goes`);
      client.terminate();
    } else if (what < 20) this.#move(seeded.integer(20));
    else if (what < 24) {
      const ms = seeded.pick([1, 100, 1_000, 1_000, 9_000]);
      say(`${ms} ms`);
      await this.#pass(ms);
    } else if (what === 24) {
      say(`${node.name} loses the broker`);
      node.link.cut();
    } else if (what < 28) {
      say(`${node.name} reaches the broker`);
      node.link.reach();
    } else if (what === 28 && this.#live.length > 1) {
      say(`${node.name} dies`);
      node.link.isDead = true;
      node.link.cut();
      node.isDead = true;
    } else if (what === 29 && this.#live.length < 4) {
      this.#start();
      say(`s${this.#names} starts`);
    }
    await settle();
  }

  #move(count: number): void {
    for (let n = count; n > 0; n--) this.#broker.move();
  }

  /** Time goes by, and the broker is quick. */
  async #pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 500) {
      this.#move(1_000);
      await advance(this.#time, Math.min(left, 500));
      this.#move(1_000);
      await settle();
    }
  }

  async all(): Promise<void> {
    for (let i = 0; i < 3; i++) {
      this.#start();
      for (let n = 0; n < 2; n++) this.#enter(this.#nodes[i]);
    }
    await this.#pass(500);
    for (let n = 30 + this.#chance.integer(60); n > 0; n--) await this.#step();
    this.trace.push("calm");
    for (const { link } of this.#live) link.reach();
    await this.#pass(25_000);
    this.#judge();
    const clients = this.#clients.map((client) => client.close());
    const servers = this.#nodes.map(({ server }) => server.close());
    await this.#pass(1_000);
    await Promise.all([...clients, ...servers]);
    for (const { network } of this.#nodes) await network[Symbol.asyncDispose]();
    if (this.#time.next()) this.faults.add("a timer is left");
  }

  #judge(): void {
    for (const room of ROOMS) {
      const all = this.#live.flatMap(({ server }) =>
        [...server.rooms.get(room) ?? []].map(({ path }) => path.slice(1))
      );
      const expected = all.sort().join();
      for (const { name, server, told } of this.#live) {
        if (!server.rooms.has(room)) continue;
        const found = [...told.get(room) ?? []].sort().join();
        if (found === expected) continue;
        this.faults.add(`${name} in ${room}: ${found}, and not ${expected}`);
      }
    }
  }
}

Deno.test("Presence satisfies its model", async () => {
  const faults: Record<number, string[]> = {};
  for (let seed = Number(first); seed < Number(first) + Number(count); seed++) {
    using time = new FakeTime();
    const run = new Run(seed, time);
    await run.all();
    if (run.faults.size === 0) continue;
    faults[seed] = [...run.faults].slice(0, 5);
    if (isShown) console.log(run.trace.join("\n"));
  }
  assertEquals(faults, {});
});
