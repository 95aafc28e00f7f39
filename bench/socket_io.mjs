/** A server that answers requests, on socket.io in Node. */

import { createServer } from "node:http";
import { createRequire } from "node:module";

const require = createRequire(
  new URL("../.runtimes/package.json", import.meta.url),
);
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false });
io.on("connection", (socket) => {
  socket.on("ask", (data, answer) => answer(data));
});
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
