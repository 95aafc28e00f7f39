/**
 * A socket as a route of Hono, on the port of its pages.
 *
 *     deno run --allow-net examples/mount/hono.ts [hostname] [port]
 *
 * Pages at http://localhost:3000/, sockets at ws://localhost:3000/live?token=secret.
 * Ctrl-C and SIGTERM end both in good order.
 */

import { ServerSocket } from "@ws/events";
import { Hono } from "hono";
import { cors } from "hono/cors";

const [hostname = "localhost", port = "3000"] = Deno.args;

const server = new ServerSocket();
server.on("message", ({ author, content }) => author.send(content));
server.on("close", (_client, code, reason) => {
  console.log("closed", code, Deno.inspect(reason));
});
server.on("disconnect", (_client, code, _reason, cause) => {
  console.log("lost", code, cause);
});

// What Deno.serve tells of a request is what Hono calls its environment.
const app = new Hono<{ Bindings: Deno.ServeHandlerInfo }>();

app.use(cors()); // adds headers to every answer, also to that of the socket
app.get("/", (context) => context.text("Sockets are at /live\n"));
app.use("/live", async (context, next) => {
  const isKnown = context.req.query("token") === "secret";
  return isKnown ? await next() : context.text("Who are you?\n", 401);
});
app.get("/live", (context) => server.fetch(context.req.raw, context.env));

const http = Deno.serve({
  hostname,
  port: Number(port),
  onListen: ({ hostname, port }) => {
    console.log(`Listening at http://${hostname}:${port}`);
  },
}, app.fetch);

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
