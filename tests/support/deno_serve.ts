/** A server for `deno serve`, which writes to stderr as that does. */

import { ServerSocket } from "../../mod.ts";

const server = new ServerSocket({ fallback: () => new Response("page") });
server.on("message", (message) => message.reply(message.author.remoteAddress));
for (const type of ["close", "disconnect"] as const) {
  server.on(type, (_client, code, reason, cause) => {
    console.error(`ended: ${type} ${code} "${reason}" ${cause}`);
  });
}

Deno.addSignalListener("SIGTERM", async () => {
  await server.close();
  console.error("closed");
  Deno.exit();
});

export default server satisfies Deno.ServeDefaultExport;
