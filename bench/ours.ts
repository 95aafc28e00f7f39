/** The same server on this library. */

import { ServerSocket } from "@ws/events/server";

const server = new ServerSocket<{ incoming: Record<string, unknown> }>();
server.on("message", ({ author, content }) => {
  if (author.path === "/all") server.broadcast(content, { except: author });
  else author.send(content);
});
server.handle(({ data }) => data);
await server.listen("127.0.0.1", 0);
console.log(server.port);
