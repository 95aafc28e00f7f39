/**
 * Requests with the option `retry` over connections that are lost at random, between
 * servers that are killed at random, and a broker that fails at random: each handler runs
 * once at most, and each request ends with the one answer, or is known to be uncertain.
 */

import { assert, assertEquals } from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { ClientSocket, RequestError, ServerSocket } from "../../mod.ts";
import { advance, MemoryNetwork, settle } from "../../testing.ts";
import { FakeFleet } from "../support/fake_fleet.ts";
import { SeededRandom } from "../support/seeded_random.ts";

interface Faults {
  /** How many servers there are. */
  readonly servers: number;
  /** Whether they share what they remember. */
  readonly isShared: boolean;
  /** Whether servers are killed. */
  readonly kills: boolean;
  /** The chance that the broker fails. */
  readonly failures: number;
}

const CLIENTS = 3;
const STEPS = 60;

/** What has become of all requests of a run. */
interface Result {
  readonly requests: number;
  readonly repetitions: number;
  readonly uncertain: number;
}

/** One server of a run. */
interface Node {
  readonly server: ServerSocket;
  readonly link: { kill(): void } | undefined;
  isDead: boolean;
}

async function run(seed: number, faults: Faults): Promise<Result> {
  const seeded = new SeededRandom(seed);
  using time = new FakeTime();
  const fleet = new FakeFleet(seeded);
  fleet.latency = faults.isShared ? 20 : 0;
  const runs = new Map<string, number>();
  const begun = new Map<unknown, number>();
  const nodes: Node[] = [];
  let received = 0;

  const start = (): Node => {
    const link = faults.isShared ? fleet.link() : undefined;
    const server = new ServerSocket(link ? { adapter: link } : {});
    server.on("error", () => {});
    const node: Node = { server, link, isDead: false };
    server.handle(async ({ data, requestId = "" }) => {
      if (node.isDead) return await new Promise<never>(() => {});
      runs.set(requestId, (runs.get(requestId) ?? 0) + 1);
      begun.set(data, (begun.get(data) ?? 0) + 1);
      const duration = seeded.integer(4) * seeded.integer(400);
      if (duration > 0) {
        await new Promise((resolve) => setTimeout(resolve, duration));
      }
      if (node.isDead) return await new Promise<never>(() => {});
      if (Number(data) % 7 === 0) throw new RequestError(`no ${data}`, "seven");
      return Number(data) * 2;
    });
    nodes.push(node);
    return node;
  };
  for (let i = 0; i < faults.servers; i++) start();
  const alive = () => nodes.filter(({ isDead }) => !isDead);
  const networks = Array.from(
    { length: CLIENTS },
    () => new MemoryNetwork(seeded.pick(nodes).server),
  );
  const clients = networks.map((network) => {
    const client = new ClientSocket({
      reconnect: { initialDelay: 50, maxDelay: 200, minUptime: 0 },
    });
    client.connect(network.url).catch(() => {});
    return client;
  });
  await advance(time, 2_000);
  fleet.failures = faults.failures;

  const pending: Promise<void>[] = [];
  let uncertain = 0;
  let last = 0;
  const ask = (client: ClientSocket) => {
    const data = ++last;
    const reply = client.request(data, { retry: true, timeout: Infinity });
    pending.push(reply.then((value) => {
      received++;
      assertEquals(value, data * 2);
      assert(data % 7 !== 0);
      assertEquals(begun.get(data), 1, `${data} of seed ${seed}`);
    }, (error) => {
      received++;
      assert(error instanceof RequestError, `${error} of seed ${seed}`);
      if (error.code === "seven") {
        assertEquals(error.message, `no ${data}`);
        assertEquals(begun.get(data), 1);
        return;
      }
      assertEquals(error.code, "uncertain", `${error}`);
      uncertain++;
    }));
  };

  let repetitions = 0;
  for (let step = 0; step < STEPS; step++) {
    const index = seeded.integer(CLIENTS);
    const [client, network] = [clients[index], networks[index]];
    assert(client && network);
    const link = network.links[0];
    switch (seeded.integer(9)) {
      case 0:
        network.server = seeded.pick(alive()).server;
        link?.cut();
        repetitions++;
        break;
      case 1:
        link?.toServer.stall();
        break;
      case 2:
        link?.toClient.stall();
        break;
      case 3:
        link?.cut();
        repetitions++;
        break;
      case 4: {
        if (!faults.kills || seeded.integer(4) > 0) break;
        const victim = seeded.pick(alive());
        const others = alive().filter((node) => node !== victim);
        const next = others.length > 0 && seeded.integer(2) > 0
          ? seeded.pick(others)
          : start();
        victim.isDead = true;
        victim.link?.kill();
        for (const one of networks) {
          if (one.server !== victim.server) continue;
          one.server = next.server;
          for (const link of one.links) link.cut();
        }
        break;
      }
      default:
        for (let i = seeded.integer(4); i >= 0; i--) ask(client);
    }
    await advance(time, seeded.integer(3) * seeded.integer(150));
  }
  fleet.failures = 0;
  for (const network of networks) {
    for (const { toServer, toClient } of network.links) {
      toServer.resume();
      toClient.resume();
    }
  }
  for (let i = 0; i < 120 && received < pending.length; i++) {
    await advance(time, 500);
  }
  assertEquals(received, pending.length, `seed ${seed}: some have no answer`);
  await Promise.all(pending);
  for (const [id, count] of runs) assertEquals(count, 1, `${id} of ${seed}`);
  for (const [data, count] of begun) assertEquals(count, 1, `${data}, ${seed}`);

  const closed = [
    ...clients.map((client) => client.close()),
    ...nodes.filter(({ isDead }) => !isDead).map(({ server }) =>
      server.close()
    ),
    ...networks.map((network) => network[Symbol.asyncDispose]()),
  ];
  for (let i = 0; i < 30; i++) await advance(time, 1_000);
  await Promise.all(closed);
  await settle();
  return { requests: last, repetitions, uncertain };
}

async function runAll(seeds: number, faults: Faults): Promise<Result> {
  const total = { requests: 0, repetitions: 0, uncertain: 0 };
  for (let seed = 1; seed <= seeds; seed++) {
    const { requests, repetitions, uncertain } = await run(seed, faults);
    total.requests += requests;
    total.repetitions += repetitions;
    total.uncertain += uncertain;
  }
  return total;
}

Deno.test("requests with retry end with their one answer, each handled once, over random losses", async () => {
  const { requests, repetitions, uncertain } = await runAll(40, {
    servers: 1,
    isShared: false,
    kills: false,
    failures: 0,
  });
  assert(requests > 2_000 && repetitions > 200, `${requests}, ${repetitions}`);
  assertEquals(uncertain, 0);
});

Deno.test("requests with retry end with their one answer, each handled once, on any of three servers", async () => {
  const { requests, uncertain } = await runAll(30, {
    servers: 3,
    isShared: true,
    kills: false,
    failures: 0,
  });
  assert(requests > 1_500, `${requests}`);
  assertEquals(uncertain, 0);
});

Deno.test("requests with retry are handled once at most if servers are killed and the broker fails", async () => {
  const { requests, uncertain } = await runAll(30, {
    servers: 3,
    isShared: true,
    kills: true,
    failures: 0.05,
  });
  assert(requests > 1_500, `${requests}`);
  assert(uncertain > 0 && uncertain < requests / 4, `${uncertain}`);
});

Deno.test("requests with retry are handled once at most if servers share nothing", async () => {
  const { requests, uncertain } = await runAll(20, {
    servers: 2,
    isShared: false,
    kills: true,
    failures: 0,
  });
  assert(requests > 1_000, `${requests}`);
  assert(uncertain > 0 && uncertain < requests, `${uncertain}`);
});
