/**
 * An echo server on the bare runtime, as a user would write it. What comes by the
 * path `/all` goes out to all others.
 */

const others = new Set<WebSocket>();

Deno.serve({ hostname: "127.0.0.1", port: 0, onListen }, (request) => {
  const { socket, response } = Deno.upgradeWebSocket(request);
  if (request.url.endsWith("/all")) {
    socket.onmessage = ({ data }) => {
      for (const other of others) other.send(data);
    };
    return response;
  }
  socket.onopen = () => others.add(socket);
  socket.onclose = () => others.delete(socket);
  socket.onmessage = (event) => socket.send(event.data);
  return response;
});

function onListen({ port }: Deno.NetAddr): void {
  console.log(port);
}
