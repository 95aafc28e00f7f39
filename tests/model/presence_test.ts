/**
 * Servers that tell who is in their rooms, over a broker that comes and goes. Several
 * connections, also to different servers, are one member. In the end all servers agree on
 * who is where with which data, and each member was told by one `join` and one `leave`,
 * with no `update` before or after them, and none without a change.
 */

import { assertEquals } from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { ClientSocket, type Connection, ServerSocket } from "../../mod.ts";
import { advance, MemoryNetwork, settle } from "../../testing.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { FakeBroker, type FakeLink } from "../support/fake_broker.ts";

const [count = "60", first = "1", isShown] = Deno.args;
const ROOMS = ["a", "b", "c"];
const PEOPLE = 6;

interface Types {
  context: string;
  presence: string;
}

/** One server, and what it has told. */
class Node {
  readonly network: MemoryNetwork;
  /** The data of each member, by its key, for each room. */
  readonly told = new Map(
    ROOMS.map((room) => [room, new Map<string, string>()]),
  );
  isDead = false;

  constructor(
    readonly name: string,
    readonly server: ServerSocket<Types>,
    readonly link: FakeLink,
    fault: (what: string) => void,
  ) {
    this.network = new MemoryNetwork(server);
    server.on("error", (error) => fault(`${name}: ${error}`));
    server.on("join", ({ key, data }, room) => {
      const told = this.told.get(room);
      if (told?.has(key)) fault(`${name}: ${key} joins ${room} twice`);
      told?.set(key, data);
    });
    server.on("update", ({ key, data }, room) => {
      const told = this.told.get(room);
      if (!told?.has(key)) fault(`${name}: ${key} is not in ${room}`);
      if (told?.get(key) === data) fault(`${name}: ${key} is ${data} again`);
      told?.set(key, data);
    });
    server.on("leave", ({ key, data }, room) => {
      const told = this.told.get(room);
      if (told?.get(key) !== data) fault(`${name}: ${key} leaves as ${data}`);
      if (!told?.delete(key)) fault(`${name}: ${key} leaves ${room} twice`);
    });
  }

  /** Forgets rooms that the last client has left: nothing more is told of them. */
  forget(): void {
    for (const [room, told] of this.told) {
      if (!this.server.rooms.has(room)) told.clear();
    }
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
  #updates = 0;

  constructor(seed: number, time: FakeTime) {
    this.#chance = new SeededRandom(seed);
    for (let i = 0; i < 5; i++) this.#chance.next();
    this.#broker = new FakeBroker(this.#chance);
    this.#time = time;
  }

  #start(): void {
    const { link, adapter } = this.#broker.plainLink();
    const server = new ServerSocket<Types>({
      adapter,
      presence: { key: ({ path }) => path.slice(1), data: () => "new" },
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
    const name = `p${this.#chance.integer(PEOPLE)}`;
    const client = new ClientSocket();
    this.#clients.push(client);
    client.connect(`${node.network.url}/${name}`).catch(() => {});
  }

  get #live(): Node[] {
    return this.#nodes.filter(({ isDead }) => !isDead);
  }

  async #step(): Promise<void> {
    const seeded = this.#chance;
    const what = seeded.integer(34);
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
    } else if (what >= 30 && client) this.#update(node, client);
    await settle();
    node.forget();
  }

  #update(node: Node, client: Connection<Types>): string {
    // Sometimes to what it is already.
    const data = `${this.#updates += this.#chance.integer(2)}`;
    this.trace.push(`${client.path} of ${node.name} is ${data}`);
    node.server.updatePresence(client, data);
    return data;
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
      for (const node of this.#nodes) node.forget();
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
    // From now on, what is set last is the data of a member, wherever it is set.
    const data = new Map<Connection<Types>, [at: number, data: string]>();
    const all = this.#live.flatMap((node) =>
      [...node.server.clients].map((client) => ({ node, client }))
    );
    while (all.length > 0) {
      const [one] = all.splice(this.#chance.integer(all.length), 1);
      if (!one) break;
      const { node, client } = one;
      data.set(client, [data.size, this.#update(node, client)]);
      await this.#pass(20);
    }
    this.#judge(data);
    const clients = this.#clients.map((client) => client.close());
    const servers = this.#nodes.map(({ server }) => server.close());
    await this.#pass(1_000);
    await Promise.all([...clients, ...servers]);
    for (const { network } of this.#nodes) await network[Symbol.asyncDispose]();
    if (this.#time.next()) this.faults.add("a timer is left");
  }

  #judge(data: Map<Connection<Types>, [at: number, data: string]>): void {
    for (const room of ROOMS) {
      const there = new Map<string, [at: number, data: string]>();
      for (const { server } of this.#live) {
        for (const client of server.rooms.get(room) ?? []) {
          const key = client.path.slice(1);
          const [at = -1, text = ""] = data.get(client) ?? [];
          const [latest = -2] = there.get(key) ?? [];
          if (at > latest) there.set(key, [at, text]);
        }
      }
      const expected = list([...there].map(([key, [, text]]) => [key, text]));
      for (const { name, server, told } of this.#live) {
        if (!server.rooms.has(room)) continue;
        const found = list(told.get(room) ?? []);
        if (found === expected) continue;
        this.faults.add(`${name} in ${room}: ${found}, and not ${expected}`);
      }
    }
  }
}

function list(members: Iterable<readonly [key: string, data: string]>): string {
  return Array.from(members, ([key, data]) => `${key}=${data}`).sort().join();
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
