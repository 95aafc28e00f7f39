/** An echo server on the bare runtime, as a user would write it. */

Deno.serve({ hostname: "127.0.0.1", port: 0, onListen }, (request) => {
  const { socket, response } = Deno.upgradeWebSocket(request);
  socket.onmessage = (event) => socket.send(event.data);
  return response;
});

function onListen({ port }: Deno.NetAddr): void {
  console.log(port);
}
