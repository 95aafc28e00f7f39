/**
 * A peer made of npm `ws`, as a process of its own. It is told what to do by
 * lines of JSON, and tells what it sees by lines of JSON.
 *
 *     npm_ws.js server [protocol ...]
 *     npm_ws.js client URL [protocol ...]
 */

import { WebSocket, WebSocketServer } from "ws";

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

function tell(event) {
  console.log(JSON.stringify(event));
}

function serve(socket) {
  tell({
    on: "open",
    protocol: socket.protocol,
    extensions: socket.extensions,
  });
  socket.on("error", () => {});
  socket.on("message", (data, isBinary) => {
    if (isBinary) tell({ on: "binary", hex: data.toHex() });
    else tell({ on: "text", text: decoder.decode(data) });
  });
  socket.on("close", (code, reason) => {
    tell({ on: "close", code, reason: decoder.decode(reason) });
  });
  obey(socket);
}

async function obey(socket) {
  const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
  let rest = "";
  for await (const chunk of lines) {
    const parts = (rest + chunk).split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) act(socket, JSON.parse(part));
  }
}

function act(socket, command) {
  const { text, hex, count = 1, code, reason } = command;
  switch (command.do) {
    case "send":
      for (let i = 0; i < count; i++) {
        socket.send(hex === undefined ? `${text}` : Uint8Array.fromHex(hex));
      }
      break;
    case "close":
      socket.close(code, reason);
      break;
    case "terminate":
      socket.terminate();
      break;
    case "pause":
      socket.pause();
  }
}

const [role, ...rest] = Deno.args;
if (role === "server") {
  const server = new WebSocketServer({
    host: "127.0.0.1",
    port: 0,
    handleProtocols: (asked) =>
      rest.find((protocol) => asked.has(protocol)) ?? false,
  });
  server.on("connection", serve);
  server.on("listening", () => {
    tell({ on: "listening", port: server.address().port });
  });
} else {
  const [url = "", ...protocols] = rest;
  const socket = new WebSocket(url, protocols, { perMessageDeflate: true });
  socket.on("open", () => serve(socket));
}
