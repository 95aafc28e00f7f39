/**
 * Two servers, as on two machines, and a Redis between them: what is said to a client
 * of one is heard by a client of the other, also after the broker was away for a while.
 *
 *     deno run --allow-net --allow-env --allow-sys --allow-run=redis-server examples/cluster/main.ts
 *
 * It starts a `redis-server` of its own on a free port of this machine; Debian and
 * Ubuntu have it in the package of that name.
 */

import { ClientSocket, ServerSocket } from "@ws/events";
import { redis } from "@ws/events/redis";

/** Starts a broker. */
function startRedis(port: number): Deno.ChildProcess {
  return new Deno.Command("redis-server", {
    args: ["--port", `${port}`, "--bind", "127.0.0.1", "--save", ""],
    stdout: "null",
  }).spawn();
}

/** Starts a server that passes on what its clients say, to all in the lobby. */
async function startServer(name: string, url: string): Promise<ServerSocket> {
  const server = new ServerSocket({
    adapter: redis({ url }),
    adapterQueue: 100,
  });
  server.on("adapter", (state) => console.log(`${name}: Redis is ${state}`));
  server.on("connect", (client) => client.join("lobby"));
  server.on("message", ({ content }) => {
    server.to("lobby").send(`${content} (by ${name})`);
  });
  const isUp = server.waitFor("adapter", { filter: (state) => state === "up" });
  await server.listen("127.0.0.1", 0);
  await isUp;
  return server;
}

/** Lets somebody in, who says what they hear. */
async function enter(name: string, url: string): Promise<ClientSocket> {
  const client = new ClientSocket();
  client.on(
    "message",
    ({ content }) => console.log(`${name} hears: ${Deno.inspect(content)}`),
  );
  await client.connect(url);
  return client;
}

const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
const { port } = listener.addr;
listener.close();
const url = `redis://127.0.0.1:${port}`;

let broker = startRedis(port);
const north = await startServer("north", url);
const south = await startServer("south", url);
const ada = await enter("Ada", north.url);
const grace = await enter("Grace", south.url);

/** Lets Ada say something, and waits until Grace hears it. */
async function say(text: string): Promise<void> {
  const heard = grace.waitFor("message");
  await ada.send(text);
  await heard;
}

await say("Hello from the north");

const downs = [north, south].map((server) => server.waitFor("adapter"));
broker.kill("SIGKILL");
await Promise.all(downs);
const ups = [north, south].map((server) =>
  server.waitFor("adapter", { filter: (state) => state === "up" })
);
broker = startRedis(port);
await Promise.all(ups);
await say("And hello again");

for (const client of [ada, grace]) await client.close();
for (const server of [north, south]) await server.close();
broker.kill();
await broker.status;
