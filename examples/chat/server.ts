/**
 * A chat: one server for a page and its WebSocket, on one port.
 *
 *     deno run --allow-net --allow-read=examples/chat --allow-run examples/chat/server.ts [hostname] [port]
 *
 * Then open http://localhost:3000/ in two windows. There is no build step: the
 * page's script is bundled at the start, by `deno bundle`, which is what
 * `--allow-run` is for. The first time it loads its bundler from npm.
 *
 * Names are not authenticated: anybody may use any name, also one that another has. A
 * chat that needs more checks a login in `authorize`, as `examples/guarded.ts` does.
 */

import { RequestError, sameOrigin, ServerSocket } from "@ws/events";
import { channels } from "@ws/events/channels";
import type { ServerTypes } from "@ws/events/contract";
import { loadFiles } from "./files.ts";
import {
  CHANNEL,
  type Chat,
  isId,
  isSaid,
  MAX_OPEN,
  parseName,
  parseText,
  type Said,
} from "./protocol.ts";

type Types = ServerTypes<Chat> & { context: { name: string | undefined } };

const [hostname = "localhost", port = "3000"] = Deno.args;

const server = new ServerSocket<Types>({
  fallback: await loadFiles(),
  paths: ["/chat"],
  origins: sameOrigin,
  authorize: ({ url }) => ({
    name: parseName(new URL(url).searchParams.get("name")),
  }),
  presence: ({ context }) => context.name ?? "",
  // What newcomers get to see, and who comes back.
  history: { messages: 50, maxAge: 24 * 60 * 60 * 1_000 },
  // A message is stored before the next one of the same page is looked up.
  concurrency: 1,
  maxConnections: 200,
  maxConnectionsPerAddress: 50,
  // A text of the longest takes some 3,000 bytes, and a few to pack it.
  maxPayload: 4 * 1024,
  // What was typed while the server was away comes all at once.
  messageRate: { perSecond: 5, burst: 3 * MAX_OPEN },
  highWaterMark: 64 * 1024,
  maxBufferedAmount: 1024 * 1024,
});

channels(server).channel<ServerTypes<Chat> & { snapshot: Said[] }>(CHANNEL, {
  join: ({ client }) => client.context.name !== undefined,
  snapshot: readHistory,
  members: true,
});

async function readHistory(): Promise<Said[]> {
  const { messages } = await server.history(CHANNEL);
  return messages.map(({ data }) => data).filter(isSaid);
}

server.handle({
  async say({ author: { context: { name } }, data: { id, ...data } }) {
    const text = parseText(data.text);
    if (name === undefined || text === undefined || !isId(id)) {
      throw new RequestError("Cannot say that", "invalid");
    }
    // A page asks again with the same id if it cannot know whether it was heard.
    const known = (await readHistory()).find((said) => said.id === id);
    if (known) return known;
    const said = { id, name, text, at: Date.now() };
    server.to(CHANNEL).send({ type: "said", ...said });
    return said;
  },
});

server.on("message", ({ author }) => author.close(1008, "Send a request"));

server.on("ready", () => {
  const isAny = hostname === "0.0.0.0" || hostname === "::";
  const url = new URL(server.url.replace("ws:", "http:"));
  if (!isAny && !hostname.includes(":")) url.hostname = hostname;
  console.log(`Chat at ${url}`);
});

await server.listen(hostname, Number(port));

async function shutDown(): Promise<void> {
  await server.shutdown({ retryAfter: 1_000 });
  Deno.exit();
}

Deno.addSignalListener("SIGINT", shutDown);
// Windows has no such signal.
if (Deno.build.os !== "windows") Deno.addSignalListener("SIGTERM", shutDown);
