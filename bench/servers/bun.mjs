/** The same on Bun's own server. */

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, server) {
    const { pathname } = new URL(request.url);
    if (server.upgrade(request, { data: { pathname } })) return;
    return new Response("No WebSocket", { status: 400 });
  },
  websocket: {
    open(socket) {
      socket.subscribe("all");
    },
    message(socket, data) {
      if (socket.data.pathname === "/all") socket.publish("all", data);
      else socket.send(data);
    },
  },
});
console.log(server.port);
