/**
 * One contract for both ends: the schemas of all that a server and its clients send. They
 * type and check both sides, which are in this one program; usually the contract is a
 * module that both import.
 *
 *     deno run --allow-net examples/contract.ts
 */

import { ClientSocket, RequestError, ServerSocket } from "@ws/events";
import { contract } from "@ws/events/contract";
import { z } from "zod";

const shop = contract({
  client: {
    // a message
    look: z.object({ fruit: z.string() }),
    // requests, with their replies
    price: { data: z.object({ fruit: z.string() }), reply: z.number() },
    buy: {
      data: z.object({
        fruit: z.string(),
        count: z.int().positive().default(1),
      }),
      reply: z.object({ total: z.number() }),
    },
  },
  server: {
    looking: z.object({ fruit: z.string(), people: z.number() }),
  },
});

const prices = new Map([["apple", 3], ["pear", 4]]);

function priceOf(fruit: string): number {
  const price = prices.get(fruit);
  if (price === undefined) throw new RequestError(`There is no ${fruit}`);
  return price;
}

await using server = new ServerSocket({ contract: shop });
server.on("message:look", ({ data: { fruit } }) => {
  server.broadcast({ type: "looking", fruit, people: server.clients.size });
});
// Without one of these, or with another type of reply, it does not compile.
server.handle({
  price: ({ data }) => priceOf(data.fruit),
  buy: ({ data }) => ({ total: priceOf(data.fruit) * data.count }),
});
server.on("error", (error) => console.log("The server says:", String(error)));
await server.listen("localhost", 0);

await using client = new ClientSocket({ contract: shop });
client.on("message:looking", ({ data }) => {
  console.log(data.people, "looks at the", data.fruit);
});
await client.connect(server.url);
await client.send({ type: "look", fruit: "pear" });
const price = await client.request({ type: "price", fruit: "apple" });
console.log("An apple costs", price.toFixed(2));
const { total } = await client.request({ type: "buy", fruit: "pear" });
console.log("A pear costs", total);

// A client without the contract, such as one of an older version, is checked as well.
await using other = new ClientSocket();
await other.connect(server.url);
await other.request({ type: "buy", fruit: "pear", count: -1 }).catch(
  (error) => {
    if (!(error instanceof RequestError)) throw error;
    console.log(`Refused (${error.code}):`, error.message);
  },
);
