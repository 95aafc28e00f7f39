/**
 * A server that is asked, and asks: requests both ways, data that is checked, and a
 * client that sends no faster than it is read. Both ends are in this one program.
 *
 *     deno run --allow-net examples/requests.ts
 */

import { ClientSocket, RequestError, ServerSocket } from "@ws/events";
import { z } from "zod";

const Order = z.discriminatedUnion("type", [
  z.object({ type: z.literal("price"), fruit: z.string() }),
  z.object({
    type: z.literal("buy"),
    fruit: z.string(),
    count: z.int().positive(),
  }),
]);

const prices = new Map([["apple", 3], ["pear", 4]]);

/** What a fruit costs. */
function priceOf(fruit: string): number {
  const price = prices.get(fruit);
  if (price === undefined) {
    throw new RequestError(`There is no ${fruit}`, "unknown-fruit");
  }
  return price;
}

await using server = new ServerSocket({ schema: Order, concurrency: 1 });
server.handle("price", ({ data }) => priceOf(data.fruit));
server.handle("buy", async ({ author, data }) => {
  const total = priceOf(data.fruit) * data.count;
  // Asks back before it answers.
  const isSure = await author.request(`Pay ${total} for it?`);
  return isSure ? `${data.count} of ${data.fruit} for ${total}` : "nothing";
});
server.on("error", (error) => console.log("The server says:", String(error)));
await server.listen("localhost", 0);

await using client = new ClientSocket();
client.handle(({ content }) => {
  console.log(content, "Yes.");
  return true;
});
await client.connect(server.url);

console.log(
  "An apple costs",
  await client.request({ type: "price", fruit: "apple" }),
);
console.log(
  "Bought",
  await client.request({ type: "buy", fruit: "pear", count: 3 }),
);
for (
  const question of [
    { type: "price", fruit: "plum" },
    { type: "buy", fruit: "pear", count: -1 },
  ]
) {
  try {
    await client.request(question);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    console.log(`Refused (${error.code}): ${error.message}`);
  }
}
