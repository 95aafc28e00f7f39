/**
 * A chat: one server for a page and its WebSocket, on one port.
 *
 *     deno run --allow-net --allow-read=examples/chat --allow-run examples/chat/server.ts [hostname] [port]
 *
 * Then open http://localhost:3000/ in two windows. There is no build step: the
 * page's script is bundled at the start, by `deno bundle`, which is what
 * `--allow-run` is for. The first time it loads its bundler from npm.
 *
 * Names are not authenticated: anybody may come by any name, also by one that
 * another has. A chat that needs more asks for a login in `authorize`, as
 * `examples/guarded.ts` does, and takes the name from there.
 */

import { type Connection, sameOrigin, ServerSocket } from "@ws/events";
import { loadFiles } from "./files.ts";
import {
  ALIVE_EVERY,
  type FromServer,
  MAX_OPEN,
  parseFromPage,
} from "./protocol.ts";
import { Room } from "./room.ts";

/** What the sockets carry; what comes in is parsed before it is believed. */
interface Types {
  incoming: unknown;
  outgoing: FromServer;
}

/** How long a connection may take to say who it is, in milliseconds. */
const HELLO_TIMEOUT = 10_000;

const [hostname = "localhost", port = "3000"] = Deno.args;

const room = new Room<Connection<Types>>();

const server = new ServerSocket<Types>({
  fallback: await loadFiles(),
  paths: ["/chat"],
  origins: sameOrigin,
  maxConnections: 200,
  maxConnectionsPerAddress: 50,
  // A text of the longest takes some 3,000 bytes, and a few to pack it.
  maxPayload: 4 * 1024,
  // What was typed while the server was away comes all at once, after a hello.
  messageRate: { perSecond: 5, burst: 2 * MAX_OPEN },
  highWaterMark: 64 * 1024,
  maxBufferedAmount: 1024 * 1024,
});

/** All who have said hello. */
const guests = server.to("guests");

/** Tells everybody who is there. Who is slow gets the newest list only. */
function tellPeople(): void {
  guests.send(
    { kind: "people", names: room.names },
    { overflow: "latest", key: "people" },
  );
}

server.on("ready", () => {
  const isAny = hostname === "0.0.0.0" || hostname === "::";
  const url = new URL(server.url.replace("ws:", "http:"));
  if (!isAny && !hostname.includes(":")) url.hostname = hostname;
  console.log(`Chat at ${url}`);
});

server.on("connect", (client) => {
  const timer = setTimeout(() => {
    if (room.nameOf(client) === undefined) refuse(client, "Say hello first");
  }, HELLO_TIMEOUT);
  const stop = () => clearTimeout(timer);
  client.on("close", stop);
  client.on("disconnect", stop);
});

server.on("message", ({ author, data }) => {
  const message = parseFromPage(data);
  const name = room.nameOf(author);
  if (message === undefined) return refuse(author, "Malformed message");
  if (message.kind === "hello") {
    if (name !== undefined) return refuse(author, "Say hello only once");
    author.send({ kind: "welcome", history: room.history });
    room.enter(author, message.name);
    author.join("guests");
    return tellPeople();
  }
  if (name === undefined) return refuse(author, "Say hello first");
  const said = room.take(message, name, Date.now());
  if (said === undefined) author.send({ kind: "known", id: message.id });
  else guests.send({ kind: "said", said });
});

/** Closes a connection that breaks the rules; its page does not come back by itself. */
function refuse(client: Connection<Types>, reason: string): void {
  client.close(1008, reason);
}

function leave(client: Connection<Types>): void {
  if (room.leave(client)) tellPeople();
}

server.on("close", leave);
server.on("disconnect", leave);

await server.listen(hostname, Number(port));
setInterval(() => guests.send({ kind: "alive" }), ALIVE_EVERY);

async function shutDown(): Promise<void> {
  await server.shutdown({ retryAfter: 1_000 });
  Deno.exit();
}

Deno.addSignalListener("SIGINT", shutDown);
// Windows has no such signal.
if (Deno.build.os !== "windows") Deno.addSignalListener("SIGTERM", shutDown);
