/**
 * A server to deploy: it stands behind a proxy, says whether it is well, and goes in
 * good order at SIGTERM. docs/deploy.md has all around it.
 *
 *     deno run --allow-net=127.0.0.1 examples/deploy/server.ts [hostname] [port]
 */

import { sameOrigin, ServerSocket } from "@ws/events";

const [hostname = "127.0.0.1", port = "3001"] = Deno.args;

let isLeaving = false;

const server = new ServerSocket({
  paths: ["/live"],
  origins: sameOrigin,
  trustProxy: 1,
  maxConnections: 10_000,
  maxConnectionsPerAddress: 100,
  maxPayload: 64 * 1024,
  highWaterMark: 64 * 1024,
  maxBufferedAmount: 1024 * 1024,
  fallback: tellHealth,
});

/** For whoever looks whether it is well, and whether to send it more clients. */
function tellHealth({ url }: Request): Response {
  if (new URL(url).pathname !== "/healthz") {
    return new Response("Not found\n", { status: 404 });
  }
  return isLeaving
    ? new Response("leaving\n", { status: 503 })
    : new Response(`well, with ${server.clients.size} clients\n`);
}

server.on("ready", () => console.log(`Listening at ${server.url}/live`));
server.on("connect", (client) => {
  console.log("connected", client.remoteAddress);
});
server.on("message", ({ author, content }) => author.send(content));
server.on("close", (client, code, reason) => {
  console.log("closed", client.remoteAddress, code, Deno.inspect(reason));
});
server.on("disconnect", (client, code, _reason, cause) => {
  console.log("lost", client.remoteAddress, code, cause);
});
await server.listen(hostname, Number(port));

async function shutDown(): Promise<void> {
  isLeaving = true;
  // 10,000 clients go within 20 seconds, and come back a second after that.
  await server.shutdown({
    drain: { batch: 500, every: 1_000 },
    retryAfter: 1_000,
  });
  console.log("Closed.");
  Deno.exit();
}

Deno.addSignalListener("SIGINT", shutDown);
Deno.addSignalListener("SIGTERM", shutDown);
