/**
 * Servers and clients in random circumstances, over a broker that keeps messages and
 * fails in all ways. Whatever happens, what `docs/recovery.md` promises must hold.
 *
 * More of it, or one seed with all that happens:
 *
 *     deno test -A tests/model/recovery_test.ts -- 5000
 *     deno test -A tests/model/recovery_test.ts -- 1 4711 show
 */

import { assertEquals } from "@std/assert";
import { delay } from "@std/async";
import { FakeTime } from "@std/testing/time";
import { ClientSocket, ServerSocket } from "../../mod.ts";
import { advance, MemoryNetwork, settle } from "../../testing.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { FakeBroker, type FakeLink } from "../support/fake_broker.ts";

const [count = "300", first = "1", isShown] = Deno.args;
const SEEDS = Number(count);
const FIRST = Number(first);
const ROOMS = ["a", "b"];
const KEPT = 8;

/** One server, and how it is reached. */
class Node {
  readonly network = new MemoryNetwork();
  server!: ServerSocket;
  link!: FakeLink;
  name = "";
  /** How many messages it has sent to each room. */
  sent = new Map<string, number>();
  isThere = false;
}

/** Somebody in one room or in both. */
class Listener {
  readonly client = new ClientSocket({
    reconnect: { initialDelay: 20, maxDelay: 200 },
  });
  readonly last = new Map<string, number>();
  /** Since when it knows that it may have missed something. */
  falses = 0;
  /** Gaps, of which it has to be told. */
  readonly gaps = new Map<string, number>();
  node: Node | undefined;
  log: string[] = [];
}

class Run {
  readonly chance: SeededRandom;
  readonly broker: FakeBroker;
  readonly nodes: Node[] = [];
  readonly listeners: Listener[] = [];
  readonly faults = new Set<string>();
  readonly trace: string[] = [];
  readonly keep: number;
  /** Whether somebody is in each room of each server all the time. */
  readonly hasResidents: boolean;
  readonly residents: ClientSocket[] = [];
  readonly dead: ServerSocket[] = [];
  #names = 0;
  isCalm = false;

  constructor(readonly seed: number, readonly time: FakeTime) {
    this.chance = new SeededRandom(seed);
    for (let i = 0; i < 5; i++) this.chance.next();
    this.broker = new FakeBroker(this.chance);
    this.keep = this.chance.pick([0, 3, 1_000, 1_000]);
    this.hasResidents = this.chance.integer(2) === 0;
  }

  start(node: Node): void {
    node.link = this.broker.link();
    node.name = `s${++this.#names}`;
    node.sent = new Map();
    const server = node.server = new ServerSocket({
      adapter: node.link,
      adapterQueue: this.keep,
      history: { messages: KEPT, maxAge: 30_000 },
    });
    server.on("error", (error) => this.faults.add(`${error}`));
    server.on("adapter", () => {}); // keeps the console quiet
    const link = node.link;
    server.on("connect", async (client, path) => {
      const enter = (room: string) => {
        const isOpen = !link.isDead && client.readyState === 1;
        if (isOpen && ROOMS.includes(room)) client.join(room);
      };
      if (path.endsWith("late")) await Promise.resolve();
      if (path.endsWith("slow")) await delay(1_500);
      const [first = "", second = ""] = path.slice(1, 3);
      enter(first);
      // As by a request that comes some time after the connect.
      if (path.endsWith("asks")) delay(400).then(() => enter(second));
      else enter(second);
    });
    node.network.server = server;
    node.isThere = true;
    if (this.hasResidents) {
      const resident = new ClientSocket({ plain: true });
      this.residents.push(resident);
      resident.connect(`${node.network.url}/ab`).catch(() => {});
    }
    if (this.chance.integer(2) > 0) node.link.reach();
  }

  async enter(): Promise<void> {
    const listener = new Listener();
    this.listeners.push(listener);
    const rooms = this.chance.pick(["a", "b", "ab"]);
    const late = this.chance.pick(["", "/late", "/slow", "/asks"]);
    const { client } = listener;
    client.on("error", (error) => this.faults.add(`client: ${error}`));
    client.on("message", ({ content }) => this.#hear(listener, content));
    client.on("recovery", (recovered) => {
      listener.log.push(recovered ? "recovered" : "lost");
      if (recovered) return;
      listener.falses++;
      listener.last.clear();
    });
    await client.connect(() => {
      const open = this.nodes.filter(({ isThere }) => isThere);
      const node = listener.node = this.chance.pick(open);
      listener.log.push(`at ${node.name}`);
      return `${node.network.url}/${rooms.padEnd(2, "-")}${late}`;
    });
  }

  #hear(listener: Listener, content: string): void {
    listener.log.push(content);
    const [name = "", room = "", text] = content.split(" ");
    const key = `${name} ${room}`;
    const number = Number(text);
    const last = listener.last.get(key);
    listener.last.set(key, number);
    if (last === undefined) return;
    if (number <= last) {
      this.#fault(listener, `a double or out of order: ${content}`);
    }
    if (number > last + 1 && this.keep === 1_000 && this.hasResidents) {
      listener.gaps.set(content, listener.falses);
    }
  }

  #fault(listener: Listener, what: string): void {
    const index = this.listeners.indexOf(listener);
    this.faults.add(`listener ${index}: ${what}`);
    this.trace.push(`!! listener ${index}: ${what}`);
  }

  send(node: Node, room = this.chance.pick(ROOMS)): void {
    const count = (node.sent.get(room) ?? 0) + 1;
    node.sent.set(room, count);
    node.server.to(room).send(`${node.name} ${room} ${count}`);
  }

  async crash(node: Node): Promise<void> {
    node.link.isDead = true;
    node.link.cut();
    this.dead.push(node.server);
    node.network.server = undefined;
    node.isThere = false;
    for (const link of node.network.links) link.cut();
    await settle();
  }

  /** A line of somebody who may lose it. */
  #line(node: Node) {
    return node.network.links[this.hasResidents && node.isThere ? 1 : 0];
  }

  async step(): Promise<void> {
    const { chance: seeded, broker, nodes } = this;
    const what = seeded.integer(40);
    const node = seeded.pick(nodes);
    const say = (text: string) => this.trace.push(text);
    if (what < 14) {
      say(`${node.name} sends`);
      for (let n = seeded.pick([1, 1, 2, 4]); n > 0; n--) {
        if (node.isThere) this.send(node);
      }
    } else if (what < 20) {
      say("moves");
      for (let n = seeded.integer(20); n > 0; n--) {
        broker.move();
        if (seeded.integer(3) === 0) await settle();
      }
    } else if (what < 25) {
      const ms = seeded.pick([1, 30, 100, 300, 1_200]);
      say(`${ms} ms`);
      await advance(this.time, ms);
    } else if (what < 29) {
      const link = this.#line(node);
      if (link) say(`a client of ${node.name} is cut`);
      link?.cut();
    } else if (what < 31) {
      say(`${node.name} loses the broker`);
      node.link.cut();
    } else if (what < 34) {
      say(`${node.name} reaches the broker`);
      node.link.reach();
    } else if (what === 34) {
      say(broker.isRunning ? "the broker dies" : "the broker is back");
      if (broker.isRunning) broker.kill();
      else {
        const isEmpty = seeded.integer(3) === 0;
        if (isEmpty) say("but empty");
        broker.start(isEmpty);
      }
    } else if (what === 35) {
      const isStill = seeded.integer(2) === 0;
      say(`the broker ${isStill ? "stands still" : "goes on"}`);
      broker.pause(isStill);
    } else if (what === 36 && node.isThere) {
      if (nodes.filter(({ isThere }) => isThere).length > 1) {
        say(`${node.name} crashes`);
        await this.crash(node);
      }
    } else if (what === 37 && !node.isThere) {
      this.start(node);
      say(`${node.name} starts`);
    } else if (what === 38 && this.listeners.length < 6) {
      say("a client comes");
      this.enter().catch(() => {});
    } else if (what === 39) {
      // Somebody is in a room for a moment, or for good.
      const client = node.isThere ? [...node.server.clients].at(-1) : undefined;
      const room = seeded.pick(["c", "d"]);
      say(`${room} is joined, or left`);
      if (client?.rooms.has(room)) client.leave(room);
      else client?.join(room);
    }
    await settle();
  }

  /** Lets all move that can. */
  async calm(): Promise<void> {
    for (let i = 0; i < 4; i++) {
      for (const { link } of this.nodes) link.reach();
      for (let n = 0; n < 4_000; n++) {
        if (!this.broker.move()) {
          await settle();
          if (!this.broker.move()) break;
        }
        if (n % 5 === 0) await settle();
      }
      await advance(this.time, 700);
    }
  }

  async all(): Promise<void> {
    for (let i = 0; i < 3; i++) {
      const node = new Node();
      this.nodes.push(node);
      this.start(node);
    }
    for (let i = 0; i < 3; i++) this.enter().catch(() => {});
    for (let n = 20 + this.chance.integer(60); n > 0; n--) await this.step();
    this.trace.push("calm");
    this.broker.pause(false);
    if (!this.broker.isRunning) this.broker.start(false);
    for (const node of this.nodes) if (!node.isThere) this.start(node);
    await this.calm();
    for (const node of this.nodes) {
      for (const room of ROOMS) this.send(node, room);
    }
    await this.calm();
    // A room that no listener joins again would be in doubt.
    for (const { server } of this.nodes) {
      for (const client of server.clients) {
        for (const room of ["c", "d"]) client.leave(room);
      }
    }
    // Who still waits for such a room is told.
    await advance(this.time, 11_000);
    await this.calm();
    // Nobody is stuck: who comes back now recovers.
    const before = this.listeners.map(({ falses }) => falses);
    for (const node of this.nodes) {
      for (let link = this.#line(node); link; link = this.#line(node)) {
        link.cut();
        await settle();
      }
    }
    for (const node of this.nodes) {
      for (const room of ROOMS) this.send(node, room);
    }
    await this.calm();
    this.#judge(before);
    const clients = [
      ...this.listeners.map(({ client }) => client),
      ...this.residents,
    ];
    await this.#finish(clients.map((client) => client.close()));
    const servers = [...this.nodes.map(({ server }) => server), ...this.dead];
    await this.#finish(servers.map((server) => server.close()));
    for (const { network } of this.nodes) await network[Symbol.asyncDispose]();
    if (this.time.next()) this.faults.add("a timer is left");
  }

  /** Lets time go by until something is done. */
  async #finish(all: readonly Promise<void>[]): Promise<void> {
    let isDone = false;
    Promise.all(all).then(() => isDone = true);
    for (let i = 0; !isDone && i < 100; i++) {
      await settle();
      while (this.broker.move()) await settle();
      if (!isDone) await advance(this.time, 200);
    }
    if (!isDone) this.faults.add("something is never closed");
  }

  #judge(before: readonly number[]): void {
    for (const [i, listener] of this.listeners.entries()) {
      if (!listener.client.connection) this.#fault(listener, "not connected");
      for (const [content, falses] of listener.gaps) {
        if (falses < listener.falses) continue;
        this.#fault(listener, `an untold gap before ${content}`);
      }
      if (listener.falses !== before[i]) {
        this.#fault(listener, "not recovered though all is well");
      }
      const path = listener.client.connection?.path ?? "";
      for (const room of ROOMS) {
        if (!path.slice(1, 3).includes(room)) continue;
        for (const { name, sent } of this.nodes) {
          const last = listener.last.get(`${name} ${room}`);
          if (last !== sent.get(room)) {
            this.#fault(
              listener,
              `has heard ${last} of ${sent.get(room)} of ${name} in ${room}`,
            );
          }
        }
        if (listener.falses > 0 || this.keep < 1_000 || !this.hasResidents) {
          continue;
        }
        // What a dead server has sent, and was kept, everybody has.
        const kept = new Map<string, number>();
        for (const { channel, message } of this.broker.ledger) {
          if (channel !== `room ${room}`) continue;
          const [, body = ""] = new TextDecoder().decode(message).split("\n");
          const [name = "", , number] = body.split(" ");
          kept.set(`${name} ${room}`, Number(number));
        }
        for (const [key, number] of kept) {
          const last = listener.last.get(key);
          if (last !== undefined && last < number) {
            this.#fault(listener, `has not heard the last of ${key}`);
          }
        }
      }
    }
  }
}

/** Chance and the one clock that is not faked go by the seed and by fake time. */
function determined(seed: number): Disposable {
  const { random } = Math;
  const now = performance.now;
  const seeded = new SeededRandom(seed + 1e6);
  const start = Date.now();
  Math.random = () => seeded.next();
  performance.now = () => Date.now() - start;
  return {
    [Symbol.dispose]: () => {
      Math.random = random;
      performance.now = now;
    },
  };
}

Deno.test("recovery satisfies its model", async () => {
  const faults: Record<number, string[]> = {};
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
    using time = new FakeTime();
    const run = new Run(seed, time);
    using _world = determined(seed);
    await run.all();
    if (run.faults.size === 0) continue;
    faults[seed] = [...run.faults].slice(0, 5);
    if (isShown) {
      console.log(run.trace.join("\n"));
      for (const [i, { log }] of run.listeners.entries()) {
        console.log(i, log.join(", "));
      }
    }
  }
  assertEquals(faults, {});
});
