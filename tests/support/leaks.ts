/**
 * Ends connections in several ways, and tells of which of them something is
 * still held. Needs `--v8-flags=--expose-gc`.
 */

import { ServerSocket } from "@ws/events/server";
import { closeFrame, RawPeer } from "./raw_peer.ts";

const gc: () => void = Reflect.get(globalThis, "gc");

/** By way: what must be let go. */
const held = new Map<string, WeakRef<object>[]>();

/** The sockets that the runtime makes, in order. */
const sockets: WeakRef<WebSocket>[] = [];
const { upgradeWebSocket } = Deno;
Deno.upgradeWebSocket = (...args) => {
  const upgrade = upgradeWebSocket(...args);
  sockets.push(new WeakRef(upgrade.socket));
  return upgrade;
};

const server = new ServerSocket({
  closeTimeout: 20,
  highWaterMark: 1024,
  maxDisconnectedClients: 0,
});
server.on("connect", (client, path) => {
  const way = decodeURIComponent(path.slice(1));
  const refs = held.get(way) ?? [];
  held.set(way, refs);
  refs.push(new WeakRef(client));
  client.join("room");
  if (way === "terminated") client.terminate();
  if (way === "terminated with timers") {
    client.on("message", () => client.terminate());
  }
  if (way === "stalled" || way === "stalled and closed") {
    for (let i = 0; i < 64; i++) client.send(new Uint8Array(262_144));
    if (way === "stalled") client.terminate();
    else client.close();
  }
  if (way === "overflow") {
    for (let i = 0; i < 65; i++) client.send(new Uint8Array(262_144));
  }
});
let onEnd = () => {};
server.on("close", () => onEnd());
server.on("disconnect", () => onEnd());
await server.listen("127.0.0.1", 0);

const peers: RawPeer[] = [];
const WAYS = [
  "terminated",
  "terminated%20with%20timers",
  "stalled",
  "stalled%20and%20closed",
  "overflow",
  "closed",
  "lost",
];
for (const way of WAYS) {
  for (let i = 0; i < 3; i++) {
    const ended = Promise.withResolvers<void>();
    onEnd = ended.resolve;
    const peer = await RawPeer.open(server.port, `/${way}`);
    peers.push(peer);
    if (way.startsWith("terminated%20")) {
      await peer.write(Uint8Array.from([0x81, 0x80, 0, 0, 0, 0]));
    }
    if (way === "closed") await peer.write(closeFrame(1000));
    if (way === "lost") peer.close();
    await ended.promise;
  }
}

// Whatever is to be let go is, at the latest when the loop has gone round.
for (let i = 0; i < 50; i++) {
  await new Promise((go) => setTimeout(go, 10));
  gc();
}
for (const [way, refs] of held) {
  const left = refs.filter((ref) => ref.deref()).length;
  console.log(`${way}: ${left} of ${refs.length} connections are held`);
}
const left = sockets.filter((ref) => ref.deref()).length;
console.log(`${left} of ${sockets.length} sockets are held`);
console.log("done");
Deno.exit();
