/** A client with none of the code that a page loads only if it imports it. */

import { ClientSocket } from "../../lean.ts";

function messageOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof Error) return error.message;
  }
  return "";
}

const [url = ""] = Deno.args;
const client = new ClientSocket();
const codec = { name: "none", encode: String, decode: String };
const refused = [
  messageOf(() => client.messages()),
  messageOf(() => client.events("message")),
  messageOf(() => client.collect("message")),
  messageOf(() => client.handle(() => 1)),
  messageOf(() => new ClientSocket({ codec })),
  messageOf(() => new ClientSocket({ concurrency: 1 })),
  messageOf(() => Reflect.construct(ClientSocket, [{ schema: {} }])),
  messageOf(() => Reflect.construct(ClientSocket, [{ shema: 1 }])),
];
const errors: string[] = [];
client.on("error", (error) => errors.push(String(error)));
const end = client.waitFor("end");
await client.connect(url);
const sum = await client.request({ type: "sum", numbers: [1, 2] });
const [message] = await client.waitFor("message");
await client.send("done");
const [{ type, code, reason }] = await end;
console.log(
  JSON.stringify({
    refused,
    errors,
    sum,
    data: message.data,
    type,
    code,
    reason,
  }),
);
