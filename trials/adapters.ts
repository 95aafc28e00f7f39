/**
 * What an adapter adds to the way of a message: from a server to a client of another
 * one, beside the way to a client of its own.
 *
 *     deno run --allow-all trials/adapters.ts [messages]
 *
 * Both servers are in this process; Redis and NATS are processes of their own, on this
 * machine. One message is under way at a time.
 */

import { ClientSocket, ServerSocket } from "../mod.ts";
import { type Broker, brokers } from "../tests/support/brokers.ts";

const MESSAGES = Number(Deno.args[0] ?? 5_000);
const TEXT = '{"type":"chat","text":"hello there, how are you doing?","n":123}';

/** Starts a server whose clients are in the lobby. */
async function start(broker: Broker): Promise<ServerSocket> {
  const server = new ServerSocket({ adapter: broker.adapter() });
  server.on("connect", async (client) => {
    client.join("lobby");
    await client.send("in");
  });
  await server.listen("127.0.0.1", 0);
  return server;
}

async function enter(server: ServerSocket): Promise<ClientSocket> {
  const client = new ClientSocket();
  const greeting = client.waitFor("message");
  await client.connect(server.url);
  await greeting;
  return client;
}

/** How long a message takes until a client hears it, in milliseconds, in order. */
async function measure(
  from: ServerSocket,
  client: ClientSocket,
): Promise<number[]> {
  // Until the other server hears the room, messages are lost to it.
  const first = client.waitFor("message");
  const timer = setInterval(() => from.to("lobby").send("first"), 20);
  await first;
  clearInterval(timer);
  const last = client.waitFor("message", {
    filter: ({ content }) => content === "last",
  });
  from.to("lobby").send("last");
  await last;
  const times: number[] = [];
  for (let n = 0; n < MESSAGES; n++) {
    const start = performance.now();
    const heard = client.waitFor("message");
    from.to("lobby").send(TEXT);
    await heard;
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b);
}

function show(name: string, times: readonly number[]): void {
  const at = (part: number) =>
    (times[Math.floor((times.length - 1) * part)] ?? NaN).toFixed(3);
  console.log(`${name.padEnd(28)} p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`);
}

for (const [name, begin] of Object.entries(brokers)) {
  await using broker = await begin();
  await using here = await start(broker);
  await using there = await start(broker);
  await using near = await enter(here);
  show(`${name}, same server`, await measure(here, near));
  await near.close();
  await using far = await enter(there);
  show(`${name}, other server`, await measure(here, far));
}
Deno.exit();
