/**
 * Three servers that share a broker, send all the time, and have clients that stay and
 * clients that are away while something happens to the broker.
 */

import { delay } from "@std/async";
import { type Adapter, ServerSocket } from "@ws/events/server";
import { TcpProxy } from "../tests/support/tcp_proxy.ts";
import { NumberedClient } from "./numbered_client.ts";
import { Verdict } from "./support.ts";

const ROOMS = ["a", "b", "c"];
const EVERY_MS = 20;

export const verdict = new Verdict();

/** What can go wrong, by its name. */
export type Faults = Readonly<Record<string, () => Promise<void>>>;

/** One server, which sends to all rooms. */
export class Node {
  readonly name = crypto.randomUUID().slice(0, 8);
  readonly server: ServerSocket;
  readonly told: { at: number; line: string }[] = [];
  count = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(adapter: Adapter) {
    this.server = new ServerSocket({
      adapter,
      adapterQueue: 100_000,
      history: { messages: 20_000, maxAge: 60_000 },
    });
    this.server.on("adapter", (state, error) => {
      const line = error === undefined ? state : `${state}: ${error}`;
      this.told.push({ at: performance.now(), line });
    });
    this.server.on("error", (error) => {
      this.told.push({ at: performance.now(), line: `error: ${error}` });
    });
    this.server.on("connect", (client, path) => client.join(path.slice(1)));
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.count++;
      for (const room of ROOMS) {
        this.server.to(room).send(`${this.name} ${this.count}`);
      }
    }, EVERY_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

/** Three servers, and who is there. */
export class Fleet implements AsyncDisposable {
  readonly nodes: Node[];
  readonly listeners: NumberedClient[] = [];
  readonly #doors: TcpProxy[] = [];

  constructor(adapters: readonly Adapter[]) {
    this.nodes = adapters.map((one) => new Node(one));
  }

  async open(perRoom = 2): Promise<void> {
    for (const { server } of this.nodes) await server.listen("127.0.0.1", 0);
    await this.up();
    for (const { server } of this.nodes) {
      const door = new TcpProxy(server.port);
      this.#doors.push(door);
      for (const room of ROOMS) {
        for (let i = 0; i < perRoom; i++) {
          const listener = new NumberedClient(room);
          this.listeners.push(listener);
          // The first stays; the others are away now and then.
          const url = i === 0 ? server.url : door.url;
          await listener.client.connect(`${url}/${room}`);
        }
      }
    }
    for (const node of this.nodes) node.start();
    await delay(500);
  }

  /** Waits until all servers reach each other. */
  async up(): Promise<void> {
    const isUp = ({ server }: Node) =>
      server.adapterState?.state === "up" &&
      server.servers === this.nodes.length;
    while (!this.nodes.every(isUp)) await delay(20);
  }

  /** Keeps some of the clients away. */
  away(isAway: boolean): void {
    for (const door of this.#doors) {
      if (!isAway) door.heal();
      else {
        door.refuse();
        door.cut();
      }
    }
  }

  /** Waits until all have heard what was sent last. */
  async settle(): Promise<void> {
    await this.up();
    for (const node of this.nodes) node.stop();
    const isEven = () =>
      this.listeners.every(({ client, last }) =>
        client.connection &&
        this.nodes.every(({ name, count }) =>
          last.get(name) === undefined || last.get(name) === count
        )
      );
    for (let i = 0; i < 200 && !isEven(); i++) await delay(50);
    verdict.claim("all have heard what was sent last", isEven());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { client } of this.listeners) await client.close();
    for (const node of this.nodes) {
      node.stop();
      await node.server.close();
    }
    for (const door of this.#doors) await door[Symbol.asyncDispose]();
  }
}

/** Lets something happen to a fleet, and tells what came of it. */
export async function tryFault(
  fleet: Fleet,
  fault: (told: (pattern: RegExp) => Promise<void>) => Promise<void>,
): Promise<void> {
  await fleet.open();
  fleet.away(true);
  const start = performance.now();
  let seconds = NaN;
  const find = (pattern: RegExp) =>
    fleet.nodes.flatMap(({ told }) => told)
      .find(({ at, line }) => at > start && pattern.test(line));
  await fault(async (pattern) => {
    while (!find(pattern)) await delay(20);
    const { at = NaN, line = "" } = find(pattern) ?? {};
    seconds = (at - start) / 1_000;
    verdict.note("told", line);
  });
  await fleet.up();
  fleet.away(false);
  await delay(500);
  await fleet.settle();
  const sum = (key: "gaps" | "doubles" | "recovered" | "lost") =>
    fleet.listeners.reduce((total, one) => total + one[key], 0);
  verdict.note(
    "found",
    `${sum("gaps")} gaps or wrong trues, ${sum("doubles")} doubles, ${
      sum("recovered")
    } recovered, ${sum("lost")} told that they may have missed something`,
  );
  verdict.note("seconds until it was told", seconds.toFixed(1));
  verdict.claim("no gap untold, no double", sum("gaps") + sum("doubles") === 0);
  verdict.claim("told within 10 seconds", seconds <= 10);
}

/** Lets clients lose one server and come back to another one at the same time. */
export async function comeBack(fleet: Fleet, count: number): Promise<void> {
  await fleet.open(1);
  for (const node of fleet.nodes) node.stop();
  const [from, to] = fleet.nodes;
  if (!from || !to) return;
  await using door = new TcpProxy(from.server.port);
  const all = Array.from({ length: count }, () => new NumberedClient("a"));
  for (const { client } of all) await client.connect(`${door.url}/a`);
  to.server.to("a").send(`${to.name} ${++to.count}`);
  while (all.some(({ last }) => !last.has(to.name))) await delay(20);
  await delay(500); // for their positions
  door.refuse();
  door.cut();
  for (let i = 0; i < 90; i++) {
    to.server.to("a").send(`${to.name} ${++to.count}`);
  }
  await delay(1_000);
  door.target = to.server.port;
  const start = performance.now();
  door.heal();
  while (all.some(({ recovered, lost }) => recovered + lost === 0)) {
    await delay(20);
  }
  const seconds = (performance.now() - start) / 1_000;
  const sum = (key: "gaps" | "doubles" | "recovered") =>
    all.reduce((total, one) => total + one[key], 0);
  verdict.note("seconds until all were told", seconds.toFixed(1));
  verdict.claim("all have recovered", sum("recovered") === count);
  verdict.claim(
    "no gap, no double",
    sum("gaps") + sum("doubles") === 0,
  );
  for (const { client } of all) await client.close();
}

/** What is tried with a fleet whose servers reach the broker through a proxy each. */
type ProxiedAction = (fleet: Fleet, proxies: TcpProxy[]) => Promise<void>;

/**
 * Tries something with such a fleet.
 *
 * @param port The port of the broker.
 * @param connect Makes the adapter that reaches the broker at a URL of a proxy.
 */
export async function throughProxies(
  port: number,
  connect: (url: string) => Adapter,
  act: ProxiedAction,
): Promise<void> {
  const proxies = [0, 1, 2].map(() => new TcpProxy(port));
  await using fleet = new Fleet(proxies.map(({ url }) => connect(url)));
  await act(fleet, proxies);
  for (const node of fleet.nodes) await node.server.close();
  for (const proxy of proxies) await proxy[Symbol.asyncDispose]();
}

/**
 * What the network between the servers and any broker may do.
 *
 * @param silence Names the fault that a broker is silent from the start.
 */
export const networkFaults = (
  proxied: (act: ProxiedAction) => Promise<void>,
  silence: string,
): Faults => ({
  "one server is partitioned, half-open": () =>
    proxied(async (fleet, [proxy]) => {
      await tryFault(fleet, async (told) => {
        proxy?.swallow();
        await told(/^down/);
        proxy?.heal();
      });
    }),
  "all servers are partitioned, and new connections are accepted": () =>
    proxied(async (fleet, proxies) => {
      await tryFault(fleet, async (told) => {
        for (const proxy of proxies) proxy.swallow();
        await told(/^down/);
        await delay(5_000);
        for (const proxy of proxies) proxy.heal();
      });
    }),
  [silence]: () =>
    proxied(async (fleet, [proxy]) => {
      await tryFault(fleet, async (told) => {
        proxy?.swallow();
        proxy?.cut();
        await told(/^down/);
        await delay(9_000);
        proxy?.heal();
      });
    }),
});
