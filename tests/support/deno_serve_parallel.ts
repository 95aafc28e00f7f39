/** A server for `deno serve --parallel`: each worker says who it is. */

import { broadcastChannel } from "../../adapters/broadcast_channel.ts";
import { ServerSocket } from "../../mod.ts";

const worker = crypto.randomUUID();
const server = new ServerSocket({ adapter: broadcastChannel() });
server.on("connect", (client) => client.send({ worker }));
server.on("message", ({ content }) => server.broadcast({ worker, content }));

export default server satisfies Deno.ServeDefaultExport;
