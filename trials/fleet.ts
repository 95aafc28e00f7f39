/**
 * Four servers that share a broker, under traffic, while a server is killed, the
 * broker is killed and stands still, and all servers are restarted one after the other;
 * then while both a server and the broker are killed, and the broker comes back empty.
 * All clients have to hear the same, each once and in the order of its sender, or to be
 * told that they may have missed something, which may happen in the last two steps only.
 *
 *     deno run --allow-all trials/fleet.ts [clients] [milliseconds between messages] [milliseconds that the broker stands still]
 */

import { delay } from "@std/async";
import { type Broker, brokers } from "../tests/support/brokers.ts";
import { Program } from "../tests/support/program.ts";
import { NumberedClient } from "./numbered_client.ts";
import { argument, Verdict } from "./support.ts";

const CLIENTS = argument(0, 40);
const EVERY = argument(1, 20);
const STILL = argument(2, 5_000);
const NODES = 4;
const ROOMS = 4;

/** How many messages may be on their way to a broker when it dies. */
const IN_FLIGHT = 10 * NODES * ROOMS;

const verdict = new Verdict();

/** A server of the fleet. */
class Node {
  #program: Program | undefined;
  /** What each process that has stopped in good order says to have sent, by its name. */
  static readonly sent = new Map<string, number>();
  static missed = 0;

  constructor(
    readonly kind: string,
    readonly address: string,
    readonly port: number,
  ) {}

  async start(): Promise<void> {
    this.#program = new Program([
      ...["run", "--allow-all", "trials/node.ts"],
      ...[this.kind, this.address, `${this.port}`, `${EVERY}`],
    ]);
    await this.#program.line("ready");
  }

  async kill(): Promise<void> {
    await this.#program?.[Symbol.asyncDispose]();
  }

  /** Lets it go in good order. */
  async leave(): Promise<void> {
    this.#program?.kill("SIGTERM");
    await this.#stopped();
    await this.#program?.exit();
    await this.kill();
  }

  /** Lets it send nothing more. */
  async hush(): Promise<void> {
    await this.#program?.write("stop");
    await this.#stopped();
  }

  async #stopped(): Promise<void> {
    const line = await this.#program?.line("stopped ");
    const [name = "", count, missed] = line?.split(" ") ?? [];
    Node.sent.set(name, Number(count));
    Node.missed += Number(missed);
  }
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

async function run(kind: string, broker: Broker): Promise<void> {
  console.log(`fleet: ${NODES} servers, ${CLIENTS} clients, by ${kind}`);
  Node.sent.clear();
  Node.missed = 0;
  const nodes = Array.from(
    { length: NODES },
    () => new Node(kind, broker.address, freePort()),
  );
  await Promise.all(nodes.map((node) => node.start()));
  const listeners = Array.from(
    { length: CLIENTS },
    (_, i) => new NumberedClient(`room${i % ROOMS}`),
  );
  for (const listener of listeners) {
    // What a client was told that it may have missed is no gap.
    listener.client.on("recovery", (recovered) => {
      if (!recovered) listener.gaps = 0;
    });
  }
  const away = new Set<Node>();
  let turn = 0;
  await Promise.all(listeners.map(({ client, room }) =>
    client.connect(() => {
      const open = nodes.filter((node) => !away.has(node));
      const { port } = open[turn++ % open.length] ?? { port: 0 };
      return `ws://127.0.0.1:${port}/${room}`;
    })
  ));

  /** Waits until all are connected, and hear something. */
  const settle = async () => {
    while (listeners.some(({ client }) => !client.connection)) await delay(20);
    const heard = listeners.map(({ client }) => client.waitFor("message"));
    await Promise.all(heard);
    await delay(500);
  };
  const steps: [string, () => Promise<void>, isWhole?: false][] = [
    ["nothing happens", () => delay(500)],
    ["a server is killed", async () => {
      const [node] = nodes;
      if (!node) return;
      away.add(node);
      await node.kill();
      await settle();
      await node.start();
      away.delete(node);
    }],
    ["the broker is killed", async () => {
      await broker.kill();
      await delay(1_000);
      await broker.start();
    }],
    [`the broker stands still for ${STILL} ms`, async () => {
      broker.pause(true);
      await delay(STILL);
      broker.pause(false);
    }],
    ["all servers are restarted, one by one", async () => {
      for (const node of nodes) {
        away.add(node);
        await node.leave();
        await node.start();
        away.delete(node);
        await settle();
      }
    }],
    [
      "the broker and a server are killed, and clients go elsewhere",
      async () => {
        const [, node] = nodes;
        if (!node) return;
        await broker.kill();
        away.add(node);
        await node.kill();
        while (listeners.some(({ client }) => !client.connection)) {
          await delay(20);
        }
        await delay(500);
        await broker.start();
        await settle();
        await node.start();
        away.delete(node);
      },
      false,
    ],
    ["the broker comes back empty", async () => {
      await broker.kill();
      await broker.forget();
      const told = listeners.map(({ client }) => client.waitFor("recovery"));
      await broker.start();
      const all = (await Promise.all(told)).flat();
      verdict.claim("all are told", !all.includes(true));
    }, false],
  ];
  for (const [what, act, isWhole = true] of steps) {
    const count = (
      key: "received" | "gaps" | "doubles" | "recovered" | "lost",
    ) => listeners.reduce((sum, listener) => sum + listener[key], 0);
    const keys = ["received", "gaps", "doubles", "recovered", "lost"] as const;
    const before = new Map(keys.map((key) => [key, count(key)]));
    await act();
    await settle();
    const shown = keys.map((key) =>
      `${count(key) - (before.get(key) ?? 0)} ${key}`
    );
    verdict.note(what, shown.join(", "));
    const faults = count("gaps") + count("doubles") +
      (isWhole ? count("lost") : 0);
    verdict.claim(
      isWhole ? "no gap, no double, nothing lost" : "no gap untold, no double",
      faults === 0,
    );
  }
  await Promise.all(nodes.map((node) => node.hush()));
  // All that anybody has heard, everybody has to hear.
  const isEven = () => {
    for (let room = 0; room < ROOMS; room++) {
      const all = listeners.filter((one) => one.room === `room${room}`);
      const names = new Set(all.flatMap(({ last }) => [...last.keys()]));
      for (const name of names) {
        const sent = Node.sent.get(name);
        // Who was told that it may have missed something may not know of the dead.
        const lasts = new Set(
          all.map(({ last }) => last.get(name))
            .filter((last) => last !== undefined || sent !== undefined),
        );
        const isLive = sent !== undefined;
        if (lasts.size > 1 || isLive && !lasts.has(sent)) return false;
      }
    }
    return true;
  };
  for (let i = 0; i < 100 && !isEven(); i++) await delay(100);
  verdict.claim("all have heard all that was sent, to the last", isEven());
  verdict.claim(
    "servers have missed no more than was on its way to a broker that forgot it",
    Node.missed <= IN_FLIGHT,
  );
  await Promise.all(listeners.map(({ client }) => client.close()));
  await Promise.all(nodes.map((node) => node.kill()));
}

for (const kind of ["redis", "nats"]) {
  await using broker = await brokers[kind]?.();
  if (broker) await run(kind, broker);
}
verdict.finish();
