/** The same on `ws` in Node. */

import { createRequire } from "node:module";

const require = createRequire(
  new URL("../../.runtimes/package.json", import.meta.url),
);
const { WebSocket, WebSocketServer } = require("ws");

const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
server.on("connection", (socket, request) => {
  socket.on("message", (data, isBinary) => {
    if (request.url === "/all") {
      for (const client of server.clients) {
        if (client !== socket && client.readyState === WebSocket.OPEN) {
          client.send(data, { binary: isBinary });
        }
      }
    } else {
      socket.send(data, { binary: isBinary });
    }
  });
});
server.on("listening", () => console.log(server.address().port));
