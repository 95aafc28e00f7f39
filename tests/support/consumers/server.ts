/** What a program may write with the server and all else, in ES2022. */

import { ClientSocket, type Message, ServerSocket } from "@ws/events";
import type { Adapter } from "@ws/events/adapter";
import { broadcastChannel } from "@ws/events/broadcast-channel";
import { inspect } from "@ws/events/inspect";
import { Message as SameMessage } from "@ws/events/message";
import { MemoryNetwork, pair } from "@ws/events/testing";

interface Types {
  incoming: { type: "sum"; numbers: number[] };
  reply: number;
}

export async function main(): Promise<number> {
  const adapter: Adapter = broadcastChannel();
  const server = new ServerSocket<Types>({ adapter });
  server.handle("sum", ({ data }) => data.numbers.reduce((a, b) => a + b, 0));
  server.on("message", (message) => {
    const same: Message<Types["incoming"]> = message;
    if (same instanceof SameMessage) message.author.close(4000, "enough");
  });
  server.to("room").send({ type: "chat", text: "hello" });
  const show = inspect(server);
  await server.listen("127.0.0.1", 0);
  const network = new MemoryNetwork(server);
  const client = new ClientSocket<{ reply: number }>();
  await client.connect(network.url);
  const both = await pair();
  both.link.cut();
  await server.shutdown({ retryAfter: 1_000 });
  return show.length + await client.request({ type: "sum", numbers: [1, 2] });
}
