/**
 * The runtime and the client of Redis alone, as `node.ts` otherwise: what a library can
 * at best cost.
 *
 *     deno run -A bench/servers/node_bare.ts none|redis [address]
 */

import { createClient } from "@redis/client";

const [kind, url = ""] = Deno.args;
const SENDING = "/send";
const name = crypto.randomUUID();
const rooms = new Map<string, Set<WebSocket>>();

function deliver(room: string, text: string): void {
  for (const socket of rooms.get(room) ?? []) socket.send(text);
}

const publisher = createClient({ url });
const subscriber = createClient({ url });
if (kind === "redis") {
  await publisher.connect();
  await subscriber.connect();
}

function join(room: string, socket: WebSocket): void {
  const others = rooms.get(room);
  if (others) {
    others.add(socket);
    return;
  }
  rooms.set(room, new Set([socket]));
  if (kind !== "redis") return;
  subscriber.subscribe(room, (message) => {
    if (!message.startsWith(name)) deliver(room, message.slice(name.length));
  });
}

Deno.serve({ hostname: "127.0.0.1", port: 0, onListen }, (request) => {
  const { socket, response } = Deno.upgradeWebSocket(request);
  const { pathname } = new URL(request.url);
  const isSender = pathname.startsWith(SENDING);
  const room = isSender ? pathname.slice(SENDING.length) : pathname;
  socket.onopen = () => {
    if (!isSender) join(room, socket);
  };
  socket.onmessage = ({ data }) => {
    deliver(room, data);
    if (kind === "redis") publisher.publish(room, name + data);
  };
  return response;
});

function onListen({ port }: Deno.NetAddr): void {
  console.log(`${port}`);
}
