/**
 * A server whose middleware does what must not be done to an upgrade: it throws
 * afterwards, or answers with something else.
 *
 *     mounted_badly.ts throws|replaces
 */

import { Hono } from "hono";
import { ServerSocket } from "../../mod.ts";

const server = new ServerSocket();
server.on("message", ({ author, content }) => author.send(content));
const app = new Hono<{ Bindings: Deno.ServeHandlerInfo }>();
app.use("/live", async (context, next) => {
  await next();
  if (Deno.args[0] === "throws") throw new Error("late");
  context.res = undefined;
  context.res = new Response("something else");
});
for (const path of ["/live", "/fine"]) {
  app.get(path, (context) => server.fetch(context.req.raw, context.env));
}

const http = Deno.serve({
  hostname: "127.0.0.1",
  port: 0,
  onListen: ({ port }) => console.log(`Listening at ws://127.0.0.1:${port}`),
}, app.fetch);
await http.finished;
console.log("Nobody listens any more");
