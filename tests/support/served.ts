/** A server for `deno serve`. */

import { ServerSocket } from "../../mod.ts";

const server = new ServerSocket({ fallback: () => new Response("page") });
server.on("message", (message) => message.reply(message.author.remoteAddress));

export default server satisfies Deno.ServeDefaultExport;
