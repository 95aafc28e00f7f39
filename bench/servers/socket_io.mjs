/** The same on socket.io in Node, with events instead of paths. */

import { createServer } from "node:http";
import { createRequire } from "node:module";

const require = createRequire(
  new URL("../../.runtimes/package.json", import.meta.url),
);
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http, {
  transports: ["websocket"],
  serveClient: false,
  maxHttpBufferSize: 2 ** 21, // a MiB is more than it takes by default
});
io.on("connection", (socket) => {
  const isInRooms = socket.handshake.query.path === "/rooms";
  socket.on("message", (data) => {
    if (isInRooms) {
      if (socket.rooms.has("lobby")) socket.leave("lobby");
      else socket.join("lobby");
    }
    socket.send(data);
  });
  socket.on("all", (data) => socket.broadcast.emit("message", data));
  socket.on("ask", (data, answer) => answer(data));
});
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
