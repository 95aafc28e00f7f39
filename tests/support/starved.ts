/**
 * A server in a process that has few file descriptors. It echoes, tells of its errors,
 * and closes when it reads a line.
 */

import { ServerSocket } from "../../mod.ts";
import { CERTIFICATE, KEY } from "./certificate.ts";

const [how, path = ""] = Deno.args;

const server = new ServerSocket();
server.on("message", (message) => message.reply(message.content));
server.on("error", (error, from) => console.log(`error ${from}: ${error}`));
await server.listen(
  "127.0.0.1",
  0,
  {
    tcp: {},
    tls: { cert: CERTIFICATE, key: KEY },
    unix: { path, mode: 0o660 },
  }[how ?? ""],
);
console.log(`listening ${server.port}`);

for await (const _line of Deno.stdin.readable) break;
await server.close();
console.log("closed");
