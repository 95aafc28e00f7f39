/** A server that tells who is in its rooms, in a process of its own. */

import { ServerSocket } from "../../mod.ts";
import { adapters } from "./brokers.ts";

const [kind, address = ""] = Deno.args;
const server = new ServerSocket({
  adapter: adapters[kind === "nats" ? "nats" : "redis"](address),
  presence: ({ path }) => ({ name: path.split("/")[2] }),
});
server.on("connect", (client, path) => client.join(path.split("/")[1] ?? ""));
const up = server.waitFor("adapter");
await server.listen("127.0.0.1", 0);
await up;
console.log(`listening at ${server.url}`);
