/**
 * A server among others that are joined by an adapter: who comes by `/room7` is in that
 * room, and what comes by `/send/room7` goes to all who are in it. It prints its port;
 * or the ports of all workers, where the adapter joins workers.
 *
 *     deno run -A bench/servers/node.ts none|redis|nats|broadcast-channel [address]
 */

import { type Adapter, ServerSocket } from "@ws/events/server";
import { broadcastChannel } from "../../adapters/broadcast_channel.ts";
import { nats } from "../../adapters/nats.ts";
import { redis } from "../../adapters/redis.ts";

const WORKERS = 2;
const SENDING = "/send";

const [kind, address = ""] = Deno.args;
const isWorker = self.name === "worker";

/** The adapter that is asked for; workers have theirs at once. */
function adapterOf(): Adapter | undefined {
  if (isWorker) return broadcastChannel();
  if (kind === "redis") return redis({ url: address });
  if (kind === "nats") return nats({ servers: address });
  return undefined;
}

/** Starts a server, and gives its port. */
async function start(): Promise<number> {
  const adapter = adapterOf();
  const server = new ServerSocket(adapter && { adapter });
  if (adapter && !isWorker) await server.waitFor("adapter");
  server.on("connect", (client, path) => {
    if (!path.startsWith(SENDING)) client.join(path);
  });
  server.on("message", ({ author, content }) => {
    server.to(author.path.slice(SENDING.length)).send(content);
  });
  await server.listen("127.0.0.1", 0);
  return server.port;
}

/** Starts servers in workers, and gives their ports. */
async function startWorkers(): Promise<number[]> {
  const ports: number[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  told.onmessage = ({ data }) => {
    ports.push(data);
    if (ports.length === WORKERS) resolve();
  };
  for (let i = 0; i < WORKERS; i++) {
    new Worker(import.meta.url, { type: "module", name: "worker" });
  }
  await promise;
  return ports;
}

/** By which workers tell their ports. */
const told = new BroadcastChannel("ports");
if (isWorker) told.postMessage(await start());
else if (kind !== "broadcast-channel") console.log(`${await start()}`);
else console.log(`${await startWorkers()}`);
