/** A server whose `authorize` takes time: for a client that leaves, and one that stays. */

import { delay } from "@std/async";
import { ServerSocket } from "../../mod.ts";
import { HANDSHAKE, RawPeer, request } from "./raw_peer.ts";

const asked = Promise.withResolvers<void>();
const left = Promise.withResolvers<void>();
const server = new ServerSocket({
  authorize: async () => {
    asked.resolve();
    await left.promise;
    return true;
  },
});
await server.listen("127.0.0.1", 0);
const refused = server.waitFor("refused");
const peer = await RawPeer.connect(server.port);
await peer.write(request(HANDSHAKE));
await asked.promise;
peer.close();
await delay(200); // nobody but `request.signal` tells that it is gone
left.resolve();
const [, status] = await refused;
console.log(`refused ${status}`);
console.warn("a warning of the program");
const other = await RawPeer.open(server.port);
console.log("upgraded");
other.close();
await server.close();
