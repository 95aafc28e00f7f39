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
if (how === "mounted") mount();
else {
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
}

for await (const _line of Deno.stdin.readable) break;
await server.close();
console.log("closed");
if (how === "mounted") Deno.exit();

/** Listens by `Deno.serve`, and goes on as docs/mounting.md has it. */
function mount(): void {
  let port = 0;
  const serve = () => {
    try {
      const hostname = "127.0.0.1";
      const onListen = () => {};
      const http = Deno.serve({ hostname, port, onListen }, server.fetch);
      if (port === 0) console.log(`listening ${http.addr.port}`);
      port = http.addr.port;
      http.finished.catch(serveLater);
    } catch (error) {
      serveLater(error);
    }
  };
  const serveLater = (error: unknown) => {
    console.log(`error listen: ${error}`);
    setTimeout(serve, 100);
  };
  serve();
}
