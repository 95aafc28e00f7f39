/**
 * Channels: a client that joins two orders on one connection, loses the connection, and
 * misses nothing. Both ends are in this one program.
 *
 *     deno run --allow-net examples/channels.ts
 */

import { ClientSocket, RequestError, ServerSocket } from "@ws/events";
import { channel, channels } from "@ws/events/channels";

const orders = new Map([["41", "packed"], ["42", "packed"]]);

await using server = new ServerSocket({ history: true });
const live = channels(server).channel("orders/:id", {
  join({ params, data }) {
    if (orders.has(params.id)) return data === "secret";
    throw new RequestError(`There is no order ${params.id}`, "unknown-order");
  },
  snapshot: ({ params }) => orders.get(params.id),
});
live.handle("cancel", ({ author }) => {
  setStatus(author.params.id, "cancelled");
});
await server.listen("localhost", 0);

/** Changes an order, and tells all who watch it. */
function setStatus(id: string, status: string): void {
  orders.set(id, status);
  server.to(`orders/${id}`).send({ status });
}

/** Watches an order, and prints what happens to it. */
function watch(client: ClientSocket, id: string) {
  const order = channel<{ incoming: { status: string }; snapshot: string }>(
    client,
    `orders/${id}`,
    () => "secret",
  );
  order.on("open", (status) => console.log(`Order ${id} is ${status}`));
  order.on("message", ({ data }) => {
    console.log(`Order ${id} is now ${data.status}`);
  });
  order.on("recovery", (recovered) => {
    console.log(
      `Order ${id} has missed ${recovered ? "nothing" : "something"}`,
    );
  });
  order.on("close", (code, reason) => {
    console.log(`Order ${id} is closed (${code}): ${reason}`);
  });
  return order;
}

await using client = new ClientSocket({ reconnect: { initialDelay: 100 } });
await client.connect(server.url);
const first = watch(client, "41");
const second = watch(client, "42");
await Promise.all([first.joined, second.joined]);

setStatus("42", "sent");
await second.waitFor("message");

const back = Promise.all([first, second].map((one) => one.waitFor("recovery")));
for (const connection of server.clients) connection.terminate();
setStatus("42", "delivered"); // nobody is there to hear it
await back;

await Promise.all([
  first.waitFor("message"),
  first.request({ type: "cancel" }),
]);
await watch(client, "43").waitFor("close");
second.leave();
