/**
 * What all servers here do: they send back what comes, to all others if it comes
 * by the path `/all`, and answer requests with what was asked. They print their
 * port. This one does it by this library.
 */

import { ServerSocket } from "@ws/events/server";

const server = new ServerSocket<{ incoming: Record<string, unknown> }>();
server.on("message", (message) => {
  const { author } = message;
  const payload = message.isBinary ? message.bytes : message.content;
  if (author.path === "/all") server.broadcast(payload, { except: author });
  else author.send(payload);
});
server.handle(({ data }) => data);
await server.listen("127.0.0.1", 0);
console.log(server.port);
