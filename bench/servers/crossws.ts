/** The same on crossws. */

import crossws from "crossws/adapters/deno";

const adapter = crossws({
  getNamespace: () => "all",
  hooks: {
    open(peer) {
      peer.subscribe("all");
    },
    message(peer, message) {
      if (new URL(peer.request.url).pathname === "/all") {
        peer.publish("all", message.rawData);
      } else {
        peer.send(message.rawData);
      }
    },
  },
});

Deno.serve({ hostname: "127.0.0.1", port: 0, onListen }, (request, info) => {
  if (request.headers.get("upgrade") === "websocket") {
    return adapter.handleUpgrade(request, info);
  }
  return new Response("No WebSocket", { status: 400 });
});

function onListen({ port }: Deno.NetAddr): void {
  console.log(port);
}
