/**
 * A server for `deno serve`, on all cores: each worker has clients of its own, and
 * what is said in a room is heard at all of them.
 *
 *     deno serve --parallel --host localhost --port 3000 examples/mount/deno_serve_parallel.ts
 *
 * Pages at http://localhost:3000/, sockets at ws://localhost:3000/live?token=secret.
 * Without `--parallel` there is one worker. Needs no permission.
 */

import { ServerSocket } from "@ws/events";
import { broadcastChannel } from "@ws/events/broadcast-channel";

const worker = crypto.randomUUID();
console.log("Worker", worker);

const server = new ServerSocket({
  adapter: broadcastChannel(),
  paths: ["/live"],
  authorize: ({ url }) =>
    new URL(url).searchParams.get("token") === "secret" ||
    new Response("Who are you?\n", { status: 401 }),
  fallback: ({ url }) =>
    new URL(url).pathname === "/"
      ? new Response("Sockets are at /live\n")
      : new Response("Not found\n", { status: 404 }),
});
server.on("connect", (client) => {
  client.join("lobby");
  client.send({ worker });
});
server.on("message", ({ content }) => server.to("lobby").send(content));
server.on("close", (_client, code, reason) => {
  console.log("closed", code, Deno.inspect(reason));
});
server.on("disconnect", (_client, code, _reason, cause) => {
  console.log("lost", code, cause);
});

// At these signals, `deno serve` stops listening, and ends the process once nothing is
// left to do. Each worker only closes its own server: `Deno.exit()` here would also end
// the other workers, before they have closed their clients.
async function shutDown(): Promise<void> {
  await server.close();
  Deno.removeSignalListener("SIGINT", shutDown);
  Deno.removeSignalListener("SIGTERM", shutDown);
  // A client that leaves during its upgrade would keep the process alive.
  Deno.unrefTimer(setTimeout(() => Deno.exit(), 10_000));
}

Deno.addSignalListener("SIGINT", shutDown);
Deno.addSignalListener("SIGTERM", shutDown);

export default server satisfies Deno.ServeDefaultExport;
