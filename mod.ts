/**
 * Event-based WebSockets: a server, a client, and five events.
 *
 * An end is either a `close` (the closing handshake was finished; both sides get
 * the same code and reason) or a `disconnect` (the connection was lost, usually
 * with 1006 and no reason): exactly one of the two, exactly once.
 *
 * @example A server
 * ```ts ignore
 * import { ServerSocket } from "jsr:@ws/events";
 *
 * const server = new ServerSocket();
 * server.on("ready", () => console.log(`listening at ${server.url}`));
 * server.on("connect", (client) => client.send({ status: "Okay" }));
 * server.on("message", (message) => message.reply(message.content));
 * server.on("close", (client, code, reason) => console.log("closed", code, reason));
 * server.on("disconnect", (client) => console.log("lost", client.remoteAddress));
 * await server.listen("localhost", 3000);
 * ```
 *
 * @example A client
 * ```ts ignore
 * import { ClientSocket } from "jsr:@ws/events";
 *
 * const client = new ClientSocket<{ incoming: { status: string } }>();
 * client.on("message", (message) => console.log(message.data.status));
 * client.on("close", (code, reason) => console.log("closed", code, reason));
 * client.on("disconnect", () => console.log("lost"));
 * await client.connect("ws://localhost:3000");
 * await client.send("Okay received.");
 * ```
 *
 * @module
 */

export * from "./server.ts";
export * from "./client.ts";
