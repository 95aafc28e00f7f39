/**
 * What happens to brokers, one fault after the other: three servers share a Redis, send
 * all the time, and have clients that stay and clients that are away meanwhile. For each
 * fault it prints what clients have missed without being told (gaps), got twice
 * (doubles), and the seconds until the event `adapter` told the reason.
 *
 *     deno run --allow-all trials/fleet_faults.ts [clients back at once] [part of a fault's name]
 */

import { delay } from "@std/async";
import { createClient, createCluster, createSentinel } from "@redis/client";
import { ClientSocket } from "@ws/events/client";
import { redis, type RedisOptions } from "@ws/events/redis";
import { ServerSocket } from "@ws/events/server";
import {
  redisCluster,
  redisSentinel,
  RedisServer,
} from "../tests/support/redis_servers.ts";
import { TcpProxy } from "../tests/support/tcp_proxy.ts";
import { argument, Verdict } from "./support.ts";

const BACK = argument(0, 1_000);
const ONLY = Deno.args[1] ?? "";
const ROOMS = ["a", "b", "c"];
const EVERY_MS = 20;

const verdict = new Verdict();

/** Somebody who is in one room of one server, and counts what it misses. */
class Listener {
  readonly client = new ClientSocket({
    reconnect: { initialDelay: 20, maxDelay: 200 },
  });
  readonly last = new Map<string, number>();
  gaps = 0;
  doubles = 0;
  recovered = 0;
  lost = 0;

  constructor(readonly room: string) {
    this.client.on("message", ({ content }) => {
      const [name = "", text] = content.split(" ");
      const number = Number(text);
      const last = this.last.get(name);
      if (last !== undefined && number > last + 1) this.gaps++;
      if (last !== undefined && number <= last) this.doubles++;
      this.last.set(name, number);
    });
    this.client.on("recovery", (recovered) => {
      if (recovered) this.recovered++;
      else {
        this.lost++;
        this.last.clear();
      }
    });
  }
}

/** One server, which sends to all rooms. */
class Node {
  readonly name = crypto.randomUUID().slice(0, 8);
  readonly server: ServerSocket;
  readonly told: { at: number; line: string }[] = [];
  count = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(options: RedisOptions) {
    this.server = new ServerSocket({
      adapter: redis(options),
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
class Fleet implements AsyncDisposable {
  readonly nodes: Node[];
  readonly listeners: Listener[] = [];
  readonly #doors: TcpProxy[] = [];

  constructor(options: readonly RedisOptions[]) {
    this.nodes = options.map((one) => new Node(one));
  }

  async open(perRoom = 2): Promise<void> {
    for (const { server } of this.nodes) await server.listen("127.0.0.1", 0);
    await this.up();
    for (const { server } of this.nodes) {
      const door = new TcpProxy(server.port);
      this.#doors.push(door);
      for (const room of ROOMS) {
        for (let i = 0; i < perRoom; i++) {
          const listener = new Listener(room);
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
async function tryFault(
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

/** A fleet whose servers reach Redis through a proxy each. */
async function proxied(
  act: (
    fleet: Fleet,
    proxies: TcpProxy[],
    server: RedisServer,
  ) => Promise<void>,
): Promise<void> {
  await using server = await RedisServer.start();
  const proxies = [0, 1, 2].map(() => new TcpProxy(server.port));
  await using fleet = new Fleet(
    proxies.map(({ url }) => ({ url: url.replace("ws:", "redis:") })),
  );
  await act(fleet, proxies, server);
  for (const node of fleet.nodes) await node.server.close();
  for (const proxy of proxies) await proxy[Symbol.asyncDispose]();
}

const faults: Record<string, () => Promise<void>> = {
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
  "HELLO is never answered": () =>
    proxied(async (fleet, [proxy]) => {
      await tryFault(fleet, async (told) => {
        proxy?.swallow();
        proxy?.cut();
        await told(/^down/);
        await delay(9_000);
        proxy?.heal();
      });
    }),
  "the password is changed": async () => {
    await using server = await RedisServer.start(() => [
      ...["--requirepass", "old"],
    ]);
    let password = "old";
    const client = () => createClient({ url: server.url, password });
    await using fleet = new Fleet([{ client }, { client }, { client }]);
    await tryFault(fleet, async (told) => {
      await server.cli("-a", "old", "CONFIG", "SET", "requirepass", "new");
      await server.cli("-a", "new", "CLIENT", "KILL", "SKIPME", "yes");
      await told(/^down: .*WRONGPASS/);
      password = "new";
    });
  },
  "Redis evicts": () =>
    proxied(async (fleet, _proxies, server) => {
      await server.cli("CONFIG", "SET", "maxmemory-policy", "volatile-random");
      await tryFault(fleet, async (told) => {
        await server.cli("CONFIG", "SET", "maxmemory", "1");
        await delay(300);
        await server.cli("CONFIG", "SET", "maxmemory", "0");
        await told(/EPOCH|OOM/);
      });
    }),
  "Redis is out of memory": () =>
    proxied(async (fleet, _proxies, server) => {
      await tryFault(fleet, async (told) => {
        await server.cli("CONFIG", "SET", "maxmemory", "1");
        await told(/^down: .*OOM/);
        await delay(3_000);
        await server.cli("CONFIG", "SET", "maxmemory", "0");
      });
    }),
  "a replica that lagged is promoted": () =>
    proxied(async (fleet, proxies, server) => {
      await using replica = await RedisServer.start(() => [
        ...["--replicaof", "127.0.0.1", `${server.port}`],
      ]);
      await replica.until(/master_link_status:up/, "INFO", "replication");
      await tryFault(fleet, async (told) => {
        replica.pause(true);
        await delay(500);
        await server.kill();
        await told(/^down/);
        replica.pause(false);
        await replica.cli("REPLICAOF", "NO", "ONE");
        for (const proxy of proxies) proxy.target = replica.port;
        await fleet.up();
      });
      for (const node of fleet.nodes) await node.server.close();
    }),
  "Sentinel fails over": async () => {
    await using servers = await redisSentinel();
    const sentinelRootNodes = [{ host: "127.0.0.1", port: servers.at(2).port }];
    const client = () => createSentinel({ name: "main", sentinelRootNodes });
    await using fleet = new Fleet([{ client }, { client }, { client }]);
    await tryFault(fleet, async (told) => {
      await servers.at(0).kill();
      await told(/^down/);
    });
  },
  "a master of a cluster fails over": async () => {
    await using cluster = await redisCluster(1);
    const rootNodes = cluster.servers.map(({ url }) => ({ url }));
    const client = () => createCluster({ rootNodes });
    await using fleet = new Fleet([{ client }, { client }, { client }]);
    await tryFault(fleet, async (told) => {
      const slot = await cluster.at(0).cli(
        ...["CLUSTER", "KEYSLOT", "{ws-events:}log"],
      );
      const owner = Math.min(2, Math.floor(Number(slot) / 5_461));
      await cluster.at(owner).kill();
      await told(/^down/);
    });
  },
  "one channel is denied": () =>
    proxied(async (fleet, _proxies, server) => {
      await tryFault(fleet, async (told) => {
        await server.cli(
          ...["ACL", "SETUSER", "default", "resetchannels"],
          ...["all", "fleet", "pulse*", "server*", "room?a", "room?b", "room?c"]
            .map((channel) => `&ws-events:${channel}`),
        );
        const [node] = fleet.nodes;
        const { url = "" } = node?.server ?? {};
        await using client = new ClientSocket();
        await client.connect(`${url}/denied`);
        await told(/^error: .*(NOPERM|permissions)/);
      });
    }),
  [`${BACK} clients come back at once`]: () =>
    proxied(async (fleet) => {
      await fleet.open(1);
      for (const node of fleet.nodes) node.stop();
      const [from, to] = fleet.nodes;
      if (!from || !to) return;
      await using door = new TcpProxy(from.server.port);
      const all = Array.from({ length: BACK }, () => new Listener("a"));
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
      const count = (key: "gaps" | "doubles" | "recovered") =>
        all.reduce((total, one) => total + one[key], 0);
      verdict.note("seconds until all were told", seconds.toFixed(1));
      verdict.claim("all have recovered", count("recovered") === BACK);
      verdict.claim(
        "no gap, no double",
        count("gaps") + count("doubles") === 0,
      );
      for (const { client } of all) await client.close();
    }),
};

for (const [name, fault] of Object.entries(faults)) {
  if (!name.includes(ONLY)) continue;
  console.log(`redis: ${name}`);
  await fault();
}
verdict.finish();
