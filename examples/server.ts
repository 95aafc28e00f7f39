/**
 * A server that greets whoever connects, and tells what happens to it.
 *
 *     deno run --allow-net examples/server.ts [hostname] [port]
 *
 * Ctrl-C and SIGTERM end it in good order: every client is told.
 */

import { ServerSocket } from "@ws/events";

const [hostname = "localhost", port = "3000"] = Deno.args;

const server = new ServerSocket();

server.on("ready", () => {
  console.log(
    `Server is ready listening at ws://${server.address}:${server.port}`,
  );
});

server.on("connect", async (client, path) => {
  console.log(`Client at ${client.remoteAddress} connected to ${path}.`);
  await client.send({ status: "Okay", alive: true, ping: 10.4 });
});

server.on("message", (message) => {
  // Inspected, so that no peer writes control characters to the terminal.
  console.log(
    `Message from ${message.author.remoteAddress} at ${message.createdAt.toISOString()}:`,
    Deno.inspect(message.data),
  );
});

server.on("disconnect", (client, code) => {
  console.log(`Client at ${client.remoteAddress} was lost:`, code);
  console.log("Lost so far:", server.disconnectedClients.length);
});

server.on("close", (client, code, reason) => {
  console.log(
    `Client at ${client.remoteAddress} closed:`,
    code,
    Deno.inspect(reason),
  );
});

await server.listen(hostname, Number(port));

async function shutDown(): Promise<void> {
  await server.close(1001, "The server shuts down.");
  console.log("Server is closed.");
  Deno.exit();
}

Deno.addSignalListener("SIGINT", shutDown);
Deno.addSignalListener("SIGTERM", shutDown);
