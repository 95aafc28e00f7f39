/** The same as `ours.ts`, seen by OpenTelemetry. */

import { ServerSocket } from "@ws/events/server";
import { instrument } from "@ws/events/telemetry";

const server = new ServerSocket<{ incoming: Record<string, unknown> }>();
instrument(server);
server.on("message", (message) => {
  const { author } = message;
  const payload = message.isBinary ? message.bytes : message.content;
  if (author.path === "/all") server.broadcast(payload, { except: author });
  else author.send(payload);
});
server.handle(({ data }) => data);
await server.listen("127.0.0.1", 0);
console.log(server.port);
