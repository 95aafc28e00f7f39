/**
 * Oak as it is on npm, with the socket in front of it. In JavaScript, as the types that
 * come with that package are at odds with Deno's.
 *
 *     oak.js HOSTNAME PORT
 */

import { Application, Router } from "npm:@oakserver/oak@14.1.0";
import { ServerSocket } from "../../mod.ts";

const [hostname, port] = Deno.args;

const server = new ServerSocket({
  authorize: ({ url }) =>
    new URL(url).searchParams.get("token") === "secret" ||
    new Response("Who are you?\n", { status: 401 }),
});
server.on("message", ({ author, content }) => author.send(content));
server.on("close", (_client, code, reason) => {
  console.log("closed", code, JSON.stringify(reason));
});
server.on("disconnect", (_client, code, _reason, cause) => {
  console.log("lost", code, cause);
});

const router = new Router();
router.get("/", ({ response }) => {
  response.body = "Sockets are at /live\n";
});
const app = new Application();
app.use(router.routes());

const http = Deno.serve({
  hostname,
  port: Number(port),
  onListen: ({ hostname, port }) => {
    console.log(`Listening at http://${hostname}:${port}`);
  },
}, async (request, info) => {
  if (new URL(request.url).pathname === "/live") {
    return server.fetch(request, info);
  }
  // Its answers are those of another implementation, which Deno does not take.
  const { body, status, headers } = await app.handle(request, info.remoteAddr);
  return new Response(body, { status, headers: [...headers] });
});

Deno.addSignalListener("SIGTERM", async () => {
  await server.close();
  await http.shutdown();
  console.log("Closed.");
  Deno.exit();
});
