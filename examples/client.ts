/**
 * A client of `examples/server.ts`.
 *
 *     deno run --allow-net examples/client.ts [url]
 *
 * Ctrl-C closes the connection with 4001 "bye".
 */

import { ClientSocket, ConnectError } from "@ws/events";

/** What the server sends. */
interface Status {
  status: string;
  alive: boolean;
  ping: number;
}

const [url = "ws://localhost:3000"] = Deno.args;

const client = new ClientSocket<{ incoming: Status }>();

client.on("connect", () => {
  console.log(`Connected to ${client.connection?.remoteAddress}`);
});

client.on("message", async (message) => {
  const { status, alive, ping } = message.data;
  console.log(`Status: ${status}, alive: ${alive}, ping: ${ping}`);
  await message.author.send("Okay received.");
});

client.on("disconnect", (code) => {
  console.log("Lost the server:", code);
  console.log("At:", client.disconnection?.time.toISOString());
  Deno.exit(1);
});

client.on("close", (code, reason) => {
  console.log("Closed:", code, Deno.inspect(reason));
  Deno.exit();
});

Deno.addSignalListener("SIGINT", () => client.close(4001, "bye"));

try {
  await client.connect(url);
} catch (error) {
  if (!(error instanceof ConnectError)) throw error;
  console.error(`${error.message}. Is examples/server.ts running?`);
  Deno.exit(1);
}
