/**
 * What rooms cost a fleet of three: how long it takes to list 2,000 members, the memory
 * under 10,000 joins and leaves a second with history and presence, and what one message
 * to 3,000 rooms takes in the broker.
 *
 *     deno run --allow-all trials/churn.ts [seconds of joins and leaves] [redis or nats]
 */

import process from "node:process";
import { delay } from "@std/async";
import { ClientSocket } from "@ws/events/client";
import { type Connection, ServerSocket } from "@ws/events/server";
import { type Broker, brokers } from "../tests/support/brokers.ts";
import { argument, mib, percentile, Verdict } from "./support.ts";

const SECONDS = argument(0, 10);
const KINDS = Deno.args[1] === undefined ? ["redis", "nats"] : [Deno.args[1]];
const CLIENTS = 50;
const MEMBERS = 2_000;
const STEP_MS = 10;
/** Each of them is a join and a leave. */
const CHANGES_PER_STEP = 50;

const verdict = new Verdict();

/** A server whose clients act for many. */
class Node implements AsyncDisposable {
  readonly server: ServerSocket;
  readonly errors = new Map<string, number>();
  readonly clients: ClientSocket[] = [];
  #count = 0;

  constructor(broker: Broker) {
    this.server = new ServerSocket({
      adapter: broker.adapter(),
      adapterQueue: 1_000,
      history: true,
      presence: {
        key: () => `user ${this.server.port} ${this.#count++}`,
        data: ({ id }) => ({ name: id }),
      },
    });
    this.server.on("error", (error) => this.#note(`${error}`));
    this.server.on("adapter", (state, error) => {
      if (error !== undefined) this.#note(`${state}: ${error}`);
    });
  }

  #note(text: string): void {
    this.errors.set(text, (this.errors.get(text) ?? 0) + 1);
  }

  async start(count: number): Promise<Connection[]> {
    await this.server.listen("127.0.0.1", 0);
    while (this.server.adapterState?.state !== "up") await delay(10);
    while (this.clients.length < count) {
      const client = new ClientSocket();
      this.clients.push(client);
      await client.connect(this.server.url);
    }
    while (this.server.clients.size < count) await delay(10);
    return [...this.server.clients];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.clients) client.terminate();
    await this.server.close();
  }
}

for (const kind of KINDS) {
  await using broker = await brokers[kind]?.();
  if (!broker) throw new Error(`There is no broker ${kind}`);
  await using one = new Node(broker);
  await using two = new Node(broker);
  await using three = new Node(broker);
  const nodes = [one, two, three];
  const connections: Connection[][] = [];
  for (const node of nodes) {
    connections.push(await node.start(Math.ceil(MEMBERS / nodes.length)));
  }
  while (nodes.some(({ server }) => server.servers < 3)) await delay(10);
  console.log(`${kind}: ${MEMBERS} members on three servers`);
  await listMembers(one, connections.flat());
  for (const { clients } of nodes) {
    for (const client of clients.splice(CLIENTS)) client.terminate();
  }
  await delay(500);
  console.log(`${kind}: 10,000 joins and leaves a second at each server`);
  await churn(nodes, connections.map((all) => all.slice(0, CLIENTS)));
  console.log(`${kind}: one message to 3,000 rooms`);
  await sendToMany(one, broker, connections[1]?.slice(0, CLIENTS) ?? []);
}
verdict.finish();

async function listMembers(
  { server }: Node,
  connections: readonly Connection[],
): Promise<void> {
  for (const connection of connections) connection.join("lobby");
  while ((await server.members("lobby")).length < connections.length) {
    await delay(50);
  }
  await delay(500);
  const times: number[] = [];
  for (let i = 0; i < 50; i++) {
    const begun = performance.now();
    await server.members("lobby");
    times.push(performance.now() - begun);
    await delay(10);
  }
  times.sort((a, b) => a - b);
  const median = percentile(times, 0.5);
  verdict.note("milliseconds, median", median.toFixed(2));
  verdict.note("milliseconds, p99", percentile(times, 0.99).toFixed(2));
  verdict.claim("members() takes less than 5 ms", median < 5);
}

async function churn(
  nodes: readonly Node[],
  connections: readonly (readonly Connection[])[],
): Promise<void> {
  const before = Deno.memoryUsage().rss / 2 ** 20;
  const [, second = []] = connections;
  let peak = before;
  let count = 0;
  const end = performance.now() + SECONDS * 1_000;
  const begun = performance.now();
  const cpu = process.cpuUsage();
  for (let step = 0; performance.now() < end; step++) {
    for (const own of connections) {
      for (let i = 0; i < CHANGES_PER_STEP; i++) {
        const client = own[i % own.length];
        const room = `room ${(step * CHANGES_PER_STEP + i) % 5_000}`;
        client?.join(room);
        // Half of them leave later, so that the broker has to know of the room.
        if (i % 2 === 0) client?.leave(room);
        const earlier = `room ${((step - 20) * CHANGES_PER_STEP + i) % 5_000}`;
        client?.leave(earlier);
        count += 2;
      }
    }
    peak = Math.max(peak, Deno.memoryUsage().rss / 2 ** 20);
    const due = begun + (step + 1) * STEP_MS;
    await delay(Math.max(0, due - performance.now()));
  }
  const { user, system } = process.cpuUsage(cpu);
  const seconds = (performance.now() - begun) / 1_000;
  verdict.note("joins and leaves a second, all", Math.round(count / seconds));
  verdict.note("us of CPU for each", ((user + system) / count).toFixed(1));
  verdict.note("resident before", mib(before));
  verdict.note("resident, peak", mib(peak));
  for (const { errors } of nodes) {
    for (const [text, times] of errors) verdict.note(text, times);
  }
  verdict.claim("less than 300 MiB more", peak - before < 300);
  verdict.claim("no error", nodes.every(({ errors }) => errors.size === 0));
  // They still hear of each other.
  const [first] = nodes;
  const heard = first?.server.waitFor("join", {
    filter: (_member, room) => room === "last",
  });
  connections[0]?.[0]?.join("last");
  await heard;
  second[0]?.join("last");
  const isThere = async () =>
    (await first?.server.members("last"))?.length === 2;
  const late = performance.now() + 10_000;
  while (!await isThere() && performance.now() < late) await delay(50);
  verdict.claim("a join is heard of afterwards", await isThere());
}

async function sendToMany(
  { server }: Node,
  broker: Broker,
  members: readonly Connection[],
): Promise<void> {
  const rooms = Array.from({ length: 3_000 }, (_, i) => `many ${i}`);
  for (const [i, room] of rooms.entries()) {
    members[i % members.length]?.join(room);
  }
  await delay(2_000);
  const before = memoryOf(broker.pid);
  for (let i = 0; i < 20; i++) server.to(...rooms).send(`${i}`);
  await delay(2_000);
  verdict.note(
    "memory of the broker for 20 of them",
    mib(memoryOf(broker.pid) - before),
  );
}

/** The resident memory of a process, in MiB. */
function memoryOf(pid: number): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1_024;
}
