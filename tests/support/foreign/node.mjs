/**
 * Echo servers made of npm packages, which are in a folder: node.mjs LIBRARY
 * FOLDER. What they do is in `python.py`. Runs in Node, and in Bun for Bun's own.
 */

import { createServer } from "node:http";
import { createRequire } from "node:module";
import process from "node:process";

const [library, folder] = process.argv.slice(2);

/** Loads a package from the folder that is the last argument. */
const load = (name) => createRequire(folder)(name);

function tell(event) {
  console.log(JSON.stringify(event));
}

const kill = () => process.kill(process.pid, "SIGKILL");

function listen(server) {
  server.listen(0, "127.0.0.1", () => {
    tell({ on: "listening", port: server.address().port });
  });
}

const servers = {
  ws() {
    const { WebSocketServer } = load("ws");
    const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
    server.on("listening", () => {
      tell({ on: "listening", port: server.address().port });
    });
    server.on("connection", (socket) => {
      socket.on("error", () => {});
      socket.on("message", (data, isBinary) => {
        const text = isBinary ? "" : data.toString();
        if (text === "close me") socket.close(4002, "enough");
        else if (text === "kill") kill();
        else socket.send(data, { binary: isBinary });
      });
      socket.on("close", (code, reason) => {
        tell({ on: "close", code, reason: reason.toString() });
      });
    });
  },

  websocket() {
    const { server: WebSocketServer } = load("websocket");
    const httpServer = createServer();
    // By default a frame may have 64 KiB, and a message less than 1 MiB.
    const server = new WebSocketServer({
      httpServer,
      maxReceivedFrameSize: 2 ** 21,
      maxReceivedMessageSize: 2 ** 21,
    });
    server.on("request", (request) => {
      const socket = request.accept(null, request.origin);
      socket.on("message", ({ type, utf8Data, binaryData }) => {
        if (type === "binary") socket.sendBytes(binaryData);
        else if (utf8Data === "close me") socket.close(4002, "enough");
        else if (utf8Data === "kill") kill();
        else socket.sendUTF(utf8Data);
      });
      socket.on("close", (code, reason) => {
        tell({ on: "close", code, reason: reason ?? "" });
      });
    });
    listen(httpServer);
  },

  "faye-websocket"() {
    const WebSocket = load("faye-websocket");
    const httpServer = createServer();
    httpServer.on("upgrade", (request, tcp, body) => {
      const socket = new WebSocket(request, tcp, body);
      socket.on("message", ({ data }) => {
        if (data === "close me") socket.close(4002, "enough");
        else if (data === "kill") kill();
        else socket.send(data);
      });
      socket.on("close", ({ code, reason }) => {
        tell({ on: "close", code, reason });
      });
    });
    listen(httpServer);
  },

  bun() {
    const server = globalThis.Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: (request, server) =>
        server.upgrade(request) ? undefined : new Response("", { status: 400 }),
      websocket: {
        message(socket, message) {
          if (message === "close me") socket.close(4002, "enough");
          else if (message === "kill") kill();
          else socket.send(message);
        },
        close: (_socket, code, reason) => tell({ on: "close", code, reason }),
      },
    });
    tell({ on: "listening", port: server.port });
  },
};

servers[library]();
