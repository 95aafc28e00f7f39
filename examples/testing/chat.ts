/**
 * A small chat, as an application would write it: a function that makes the server,
 * so that a program can let it listen, and a test need not. Each path is a room.
 *
 * @module
 */

import { type Connection, ServerSocket } from "@ws/events";

/** What the others in a room hear. */
export type News = { said: string } | { left: string };

/** Makes the chat's server. */
export function makeChat(): ServerSocket<{ outgoing: News }> {
  const server = new ServerSocket<{ outgoing: News }>({ idleTimeout: 10_000 });
  server.on("connect", (client, path) => client.join(path));
  server.on("message", ({ author, content }) => {
    server.to(author.path).except(author).send({ said: content });
  });
  const leave = (client: Connection<{ outgoing: News }>) => {
    server.to(client.path).send({ left: client.remoteAddress });
  };
  server.on("close", leave);
  server.on("disconnect", leave);
  return server;
}

if (import.meta.main) await makeChat().listen("localhost", 3000);
