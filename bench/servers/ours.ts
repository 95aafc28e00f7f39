/**
 * What all servers here do: they send back each message, to all others on the path
 * `/all`; on `/rooms` the sender first joins a room, or leaves it. They answer requests
 * with their data, and print their port. This one uses this library.
 */

import { ServerSocket } from "@ws/events/server";

const server = new ServerSocket<{ incoming: Record<string, unknown> }>();
server.on("message", (message) => {
  const { author } = message;
  const payload = message.isBinary ? message.bytes : message.content;
  if (author.path === "/rooms") {
    if (author.rooms.size > 0) author.leave("lobby");
    else author.join("lobby");
  }
  if (author.path === "/all") server.broadcast(payload, { except: author });
  else author.send(payload);
});
server.handle(({ data }) => data);
await server.listen("127.0.0.1", 0);
console.log(server.port);
