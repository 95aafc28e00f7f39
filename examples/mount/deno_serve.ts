/**
 * A socket beside other routes of one `Deno.serve`, on one port.
 *
 *     deno run --allow-net examples/mount/deno_serve.ts [hostname] [port]
 *
 * Pages at http://localhost:3000/, sockets at ws://localhost:3000/live?token=secret.
 * Ctrl-C and SIGTERM end both in good order.
 */

import { ServerSocket } from "@ws/events";

const [hostname = "localhost", port = "3000"] = Deno.args;

const server = new ServerSocket();
server.on("message", ({ author, content }) => author.send(content));
server.on("close", (_client, code, reason) => {
  console.log("closed", code, Deno.inspect(reason));
});
server.on("disconnect", (_client, code, _reason, cause) => {
  console.log("lost", code, cause);
});

const http = Deno.serve({
  hostname,
  port: Number(port),
  onListen: ({ hostname, port }) => {
    console.log(`Listening at http://${hostname}:${port}`);
  },
}, (request, info) => {
  const { pathname, searchParams } = new URL(request.url);
  switch (pathname) {
    case "/":
      return new Response("Sockets are at /live\n");
    case "/live":
      if (searchParams.get("token") !== "secret") {
        return new Response("Who are you?\n", { status: 401 });
      }
      return server.fetch(request, info);
    default:
      return new Response("Not found\n", { status: 404 });
  }
});

async function shutDown(): Promise<void> {
  await server.close(); // first the sockets, which would hold the other up
  // It waits without end for a client that has left while it was upgraded.
  const timeout = new Promise((resolve) => setTimeout(resolve, 1_000));
  await Promise.race([http.shutdown(), timeout]);
  console.log("Closed.");
  Deno.exit();
}

Deno.addSignalListener("SIGINT", shutDown);
Deno.addSignalListener("SIGTERM", shutDown);
