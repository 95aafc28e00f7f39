/** The same echo server on this library. */

import { ServerSocket } from "@ws/events/server";

const server = new ServerSocket();
server.on("message", (message) => message.author.send(message.content));
await server.listen("127.0.0.1", 0);
console.log(server.port);
