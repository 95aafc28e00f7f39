/** The same on socket.io in Node, joined by Redis: Pub/Sub, or Streams. */

import { createServer } from "node:http";
import { createRequire } from "node:module";

const require = createRequire(
  new URL("../../.runtimes/package.json", import.meta.url),
);
const { Server } = require("socket.io");
const { createClient } = require("redis");

const [kind, url] = process.argv.slice(2);

/** The adapter that is asked for, with its connections. */
async function adapterOf() {
  if (kind === "none") return {};
  const client = createClient({ url });
  await client.connect();
  if (kind === "redis-streams") {
    const { createAdapter } = require("@socket.io/redis-streams-adapter");
    return { adapter: createAdapter(client) };
  }
  const subscriber = client.duplicate();
  await subscriber.connect();
  const { createAdapter } = require("@socket.io/redis-adapter");
  return { adapter: createAdapter(client, subscriber) };
}

const http = createServer();
const io = new Server(http, {
  transports: ["websocket"],
  serveClient: false,
  ...await adapterOf(),
});
io.on("connection", (socket) => {
  const { path } = socket.handshake.query;
  const room = path.replace("/send", "");
  if (room === path) socket.join(room);
  else socket.on("all", (data) => io.to(room).emit("message", data));
});
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
