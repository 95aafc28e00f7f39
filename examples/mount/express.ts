/**
 * A socket in front of Express, or of whatever else stands on `node:http`, on one port.
 *
 *     deno run --allow-net --allow-env --allow-read examples/mount/express.ts [hostname] [port]
 *
 * Pages at http://localhost:3000/, sockets at ws://localhost:3000/live?token=secret.
 * Ctrl-C and SIGTERM end both in good order. Express itself reads the environment and
 * files of its own. docs/mounting.md says why it does not stand in front.
 */

import { ServerSocket } from "@ws/events";
import express from "express";
import {
  createServer,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";

const [hostname = "localhost", port = "3000"] = Deno.args;

const app = express();
app.set("trust proxy", "loopback"); // so that `request.ip` is the client's
app.get("/", (_request: IncomingMessage, response: ServerResponse) => {
  response.end("Sockets are at /live\n");
});

// Only this machine reaches it, at a port that nobody has to know.
const pages = createServer(app);
await new Promise<void>((resolve) => pages.listen(0, "127.0.0.1", resolve));
const address = pages.address();
const host = typeof address === "object" ? `127.0.0.1:${address?.port}` : "";

// What Express never sees it cannot guard: what is a middleware there is an option here.
const server = new ServerSocket({
  paths: ["/live"],
  authorize: ({ url }) =>
    new URL(url).searchParams.get("token") === "secret" ||
    new Response("Who are you?\n", { status: 401 }),
  async fallback({ method, url, headers, body }, { remoteAddr }) {
    const target = new URL(url);
    const all = new Headers(headers);
    all.set("x-forwarded-host", target.host);
    all.set("x-forwarded-for", remoteAddr?.hostname ?? "unknown");
    target.host = host;
    try {
      const init = { method, headers: all, body, redirect: "manual" } as const;
      return await fetch(target, init);
    } catch {
      return new Response("The pages are away\n", { status: 502 });
    }
  },
});
server.on("ready", () => {
  console.log(`Listening at ${server.url.replace("ws", "http")}`);
});
server.on("message", ({ author, content }) => author.send(content));
server.on("close", (_client, code, reason) => {
  console.log("closed", code, Deno.inspect(reason));
});
server.on("disconnect", (_client, code, _reason, cause) => {
  console.log("lost", code, cause);
});
await server.listen(hostname, Number(port));

async function shutDown(): Promise<void> {
  await server.close();
  pages.close();
  console.log("Closed.");
  Deno.exit();
}

Deno.addSignalListener("SIGINT", shutDown);
Deno.addSignalListener("SIGTERM", shutDown);
