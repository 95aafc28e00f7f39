/**
 * One client that connects, is lost, comes back and is closed, 1,000 times. Tells
 * what is still held of it, and how the heap has grown. Needs
 * `--v8-flags=--expose-gc`.
 */

import { ClientSocket } from "@ws/events/client";
import { ServerSocket } from "@ws/events/server";

const CYCLES = 1_000;

const gc: () => void = Reflect.get(globalThis, "gc");

const sockets: WeakRef<object>[] = [];
const connections: WeakRef<object>[] = [];

/** The heap half way; what comes later is not watched, as that takes some of it. */
let before = 0;

const { WebSocket } = globalThis;
Reflect.set(
  globalThis,
  "WebSocket",
  class extends WebSocket {
    constructor(...args: ConstructorParameters<typeof WebSocket>) {
      super(...args);
      if (before === 0) sockets.push(new WeakRef(this));
    }
  },
);

/** The heap in bytes, of what is in use. */
async function heap(): Promise<number> {
  for (let i = 0; i < 20; i++) {
    await new Promise((go) => setTimeout(go, 10));
    gc();
  }
  return Deno.memoryUsage().heapUsed;
}

const server = new ServerSocket({ maxDisconnectedClients: 0 });
server.on("message", ({ author, content }) => {
  if (content === "drop") author.terminate();
  else author.send(content);
});
await server.listen("127.0.0.1", 0);

const client = new ClientSocket({
  reconnect: { initialDelay: 0 },
  idleTimeout: 60_000,
});
client.on("connect", (connection) => {
  if (before === 0) connections.push(new WeakRef(connection));
});

async function cycle(): Promise<void> {
  const { signal } = new AbortController();
  await client.connect(server.url, { signal });
  const back = client.waitFor("connect");
  client.send("drop");
  await back;
  client.send("echo");
  await client.waitFor("message");
  await client.close();
}

for (let i = 0; i < CYCLES; i++) {
  if (i === CYCLES / 2) before = await heap();
  await cycle();
}
const after = await heap();
for (const [what, refs] of Object.entries({ sockets, connections })) {
  const held = refs.filter((ref) => ref.deref() !== undefined).length;
  console.log(`${what}: ${held} of ${refs.length} held`);
}
console.log(`grown: ${Math.round((after - before) / 1024)} KiB`);
await server.close();
console.log("done");
Deno.exit();
