/**
 * Both ends speak MessagePack instead of JSON, so that dates and bytes are values like
 * any other.
 *
 *     deno run --allow-net examples/msgpack.ts
 */

import { decode, encode } from "@msgpack/msgpack";
import { ClientSocket, type Codec, ServerSocket } from "@ws/events";

const codec: Codec = {
  name: "msgpack",
  encode: (value) => encode(value),
  decode: (frame) => typeof frame === "string" ? frame : decode(frame),
};

await using server = new ServerSocket({ codec });
server.on("message", (message) => {
  console.log("The server got", message.data);
  message.reply({ received: new Date(0), bytes: message.bytes.length });
});
await server.listen("localhost", 0);

await using client = new ClientSocket({ codec });
await client.connect(server.url);
const answer = client.waitFor("message");
await client.send({ pixels: new Uint8Array([1, 2, 3]), at: new Date(0) });
const [message] = await answer;
console.log("The client got", message.data);

// Who does not speak it is told so.
await using other = new ClientSocket();
await other.connect(server.url).catch(() => console.log("JSON is refused"));
