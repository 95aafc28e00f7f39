/**
 * One server of a fleet under trial, in a process of its own. It numbers messages and
 * sends them to the rooms, without end, until a line comes in; then it tells how many.
 * At SIGTERM it goes in good order.
 *
 *     deno run --allow-all trials/node.ts redis|nats <address> <port> <every>
 */

import { ServerSocket } from "@ws/events/server";
import { adapters } from "../tests/support/brokers.ts";

/** How many rooms there are. */
const ROOMS = 4;

const [kind, address = "", port, every] = Deno.args;
const name = crypto.randomUUID().slice(0, 8);
const server = new ServerSocket({
  adapter: adapters[kind === "nats" ? "nats" : "redis"](address),
  adapterQueue: 100_000,
  history: { messages: 20_000, maxAge: 60_000 },
});
server.on("error", (error) => console.error(name, error));
server.on("connect", (client, path) => client.join(path.slice(1)));

let count = 0;
const up = server.waitFor("adapter", { filter: (state) => state === "up" });
await server.listen("127.0.0.1", Number(port));
await up;
const timer = setInterval(() => {
  count++;
  for (let room = 0; room < ROOMS; room++) {
    server.to(`room${room}`).send(`${name} ${count}`);
  }
}, Number(every));

/** Sends no more, and tells what it has sent. */
function stop(): void {
  clearInterval(timer);
  console.log(`stopped ${name} ${count} ${server.missed}`);
}

Deno.addSignalListener("SIGTERM", async () => {
  stop();
  await server.shutdown({ retryAfter: 0 });
  Deno.exit();
});
console.log("ready");
await Deno.stdin.read(new Uint8Array(100));
stop();
