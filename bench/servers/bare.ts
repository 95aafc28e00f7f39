/**
 * The runtime alone.
 *
 *     deno run -A bench/servers/bare.ts [idleTimeout in seconds]
 */

const [idleTimeout = 120] = Deno.args.map(Number);
const clients = new Set<WebSocket>();

Deno.serve({ hostname: "127.0.0.1", port: 0, onListen }, (request) => {
  const { socket, response } = Deno.upgradeWebSocket(request, {
    idleTimeout,
  });
  const { pathname } = new URL(request.url);
  socket.onopen = () => clients.add(socket);
  socket.onclose = () => clients.delete(socket);
  socket.onmessage = ({ data }) => {
    if (pathname === "/all") {
      for (const client of clients) if (client !== socket) client.send(data);
    } else {
      socket.send(data);
    }
  };
  return response;
});

function onListen({ port }: Deno.NetAddr): void {
  console.log(port);
}
