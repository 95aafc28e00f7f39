/**
 * An order that is handled once, although its connection is lost. The server handles it,
 * and the connection ends before the answer arrives. The client sends the order again on
 * the next connection, and gets the answer of the first time. Both ends are in this one
 * program.
 *
 *     deno run --allow-net examples/orders.ts
 */

import { ClientSocket, ServerSocket } from "@ws/events";

let handled = 0;

await using server = new ServerSocket();
server.handle(({ content, author }) => {
  handled++;
  console.log("Handled:", content);
  // The first answer never arrives.
  if (handled === 1) author.terminate();
  return `order ${handled}, ${content}`;
});
await server.listen("localhost", 0);

await using client = new ClientSocket({ reconnect: { initialDelay: 100 } });
client.on("connect", () => console.log("Connected"));
client.on("disconnect", () => console.log("Lost the connection"));
await client.connect(server.url);

for (const item of ["apple", "pear"]) {
  const answer = await client.request(item, { retry: true });
  console.log("Confirmed:", answer);
}
console.log("Handlers called:", handled);
