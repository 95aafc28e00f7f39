/**
 * A server with so many rooms of three, in memory, and another one that sends to them.
 * It prints what a message costs, and what a room takes; then, whenever the broker has
 * come back, for how long it was away.
 *
 *     deno run -A --v8-flags=--expose-gc bench/servers/rooms.ts none|redis|nats|broadcast-channel <rooms> <milliseconds> [address]
 */

import process from "node:process";
import { delay } from "@std/async";
import { ClientSocket } from "@ws/events/client";
import { type Adapter, type Connection, ServerSocket } from "@ws/events/server";
import { MemoryNetwork } from "@ws/events/testing";
import { broadcastChannel } from "../../adapters/broadcast_channel.ts";
import { nats } from "../../adapters/nats.ts";
import { redis } from "../../adapters/redis.ts";

/** What was measured. */
export interface Rooms {
  /**
   * Microseconds of CPU for a message to one of ten rooms, always the same, and all that
   * comes of it.
   */
  readonly few: number;
  /** The same for a message to any of the rooms. */
  readonly any: number;
  /** Bytes of the heap for a room. */
  readonly heap: number;
  /** Microseconds of CPU until somebody has joined, for a room. */
  readonly joining: number;
}

const TEXT = '{"type":"chat","text":"hello there, how are you doing?","n":123}';
const CLIENTS = 12;
const MEMBERS = 3;
/** So many messages are under way at a time. */
const BURST = 50;

const [kind, count, duration, address = ""] = Deno.args;
const ROOMS = Number(count);

function adapterOf(): Adapter | undefined {
  if (kind === "redis") return redis({ url: address });
  if (kind === "nats") return nats({ servers: address });
  return kind === "broadcast-channel" ? broadcastChannel() : undefined;
}

async function start(): Promise<ServerSocket> {
  const adapter = adapterOf();
  const server = new ServerSocket(adapter && { adapter });
  if (address) await server.waitFor("adapter");
  return server;
}

function usedCpu(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

declare const gc: () => void;

function usedHeap(): number {
  gc();
  return Deno.memoryUsage().heapUsed;
}

/** What has come to the first client. */
let heard = 0;
const server = await start();
const elsewhere = kind === "none" ? server : await start();
const network = new MemoryNetwork(server);
const members: Connection[] = [];
server.on("connect", (client) => members.push(client));
for (let i = 0; i < CLIENTS; i++) {
  const client = new ClientSocket({ plain: true });
  client.on("message", () => heard++);
  await client.connect(network.url);
}

const heapBefore = usedHeap();
const cpuBefore = usedCpu();
for (let room = 0; room < ROOMS; room++) {
  for (let i = 0; i < MEMBERS; i++) {
    members[(room + i) % CLIENTS]?.join(`room ${room}`);
  }
  if (room % 1_000 === 999) await delay(0);
}
// The broker has heard of all rooms when it has of the last one.
const before = heard;
while (heard === before) {
  elsewhere.to(`room ${ROOMS - 1}`).send("");
  await delay(5);
}
const joining = (usedCpu() - cpuBefore) / ROOMS;
const heap = (usedHeap() - heapBefore) / ROOMS;

/** Sends for a while, to every so manieth room; microseconds of CPU a message. */
async function cost(step: number, milliseconds: number): Promise<number> {
  const end = performance.now() + milliseconds;
  const cpu = usedCpu();
  let sent = 0;
  while (performance.now() < end) {
    const due = heard + BURST * MEMBERS;
    for (let i = 0; i < BURST; i++, sent++) {
      const room = step * Math.floor(Math.random() * ROOMS / step);
      (i % 2 ? server : elsewhere).to(`room ${room}`).send(TEXT);
    }
    while (heard < due) await delay(0);
  }
  return (usedCpu() - cpu) / sent;
}

const time = Number(duration);
await cost(1, time);
const few = await cost(ROOMS / 10, time);
const any = await cost(1, time);
const found: Rooms = { few, any, heap, joining };
console.log(JSON.stringify(found));
let downAt = 0;
server.on("adapter", (state) => {
  if (state === "down") downAt ||= performance.now();
  else console.log(`back ${performance.now() - downAt}`);
});
