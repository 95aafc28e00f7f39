/**
 * The client: {@linkcode ClientSocket}. It needs only a global `WebSocket`, so it also
 * runs in browsers, Node and Bun. For pages in which each kilobyte counts, there is
 * `@ws/events/client/lean`.
 *
 * ```ts ignore
 * import { ClientSocket } from "jsr:@ws/events/client";
 *
 * const client = new ClientSocket();
 * client.on("message", (message) => console.log(message.data));
 * await client.connect("ws://localhost:3000");
 * await client.send({ hello: "server" });
 * ```
 *
 * @module
 */

import "./core/features/full.ts";
export * from "./core/client/client_socket.ts";
export * from "./core/public.ts";
