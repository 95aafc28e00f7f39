/**
 * A server as it may stand on the open internet: it lets in who has a token,
 * from its own pages, bounds what each may send and what waits for each, and goes
 * down in good order.
 *
 *     deno run --allow-net --allow-env=TOKENS examples/guarded.ts [hostname] [port]
 *
 * `TOKENS` says who may come in, as in `secret:ada,other:grace`; by default
 * `secret` is ada's. Ctrl-C and SIGTERM close a hundred connections a second, and
 * tell the clients to come back after two.
 */

import { sameOrigin, ServerSocket } from "@ws/events";

/** What is known of a client that was let in. */
interface User {
  name: string;
}

const [hostname = "localhost", port = "3000"] = Deno.args;

/** Who each token stands for. */
const users = new Map<string, User>();
for (const entry of (Deno.env.get("TOKENS") ?? "secret:ada").split(",")) {
  const [token, name] = entry.split(":");
  if (!token || !name) {
    console.error('TOKENS has to be a list as in "secret:ada,other:grace"');
    Deno.exit(2);
  }
  users.set(token, { name });
}

const server = new ServerSocket<{ context: User; incoming: string }>({
  paths: ["/live"],
  origins: sameOrigin,
  authorize({ url }) {
    // A page cannot set headers: its token comes in the URL, or in a cookie.
    const token = new URL(url).searchParams.get("token");
    return token && users.get(token) ||
      new Response("Log in first\n", { status: 401 });
  },
  maxConnections: 10_000,
  maxConnectionsPerAddress: 100,
  maxPayload: 64 * 1024,
  messageRate: { perSecond: 50, burst: 100 },
  highWaterMark: 64 * 1024,
  maxBufferedAmount: 1024 * 1024,
});

server.on("ready", () => console.log(`Listening at ${server.url}/live`));
server.on("connect", ({ context }) => console.log(`${context.name} connected`));
server.on("message", ({ author, content }) => {
  server.broadcast({ from: author.context.name, says: content });
});
server.on("refused", (_request, status, reason, remoteAddress) => {
  console.log(`Refused ${remoteAddress}: ${status} ${reason}`);
});
server.on("close", ({ context }, code, reason) => {
  console.log(`${context.name} closed: ${code} ${Deno.inspect(reason)}`);
});
server.on("disconnect", ({ context }, code, _reason, cause) => {
  console.log(`${context.name} was lost: ${code}, ${cause}`);
});

await server.listen(hostname, Number(port));

async function shutDown(): Promise<void> {
  await server.shutdown({
    drain: { batch: 100, every: 1_000 },
    retryAfter: 2_000,
  });
  console.log("Server is closed.");
  Deno.exit();
}

Deno.addSignalListener("SIGINT", shutDown);
Deno.addSignalListener("SIGTERM", shutDown);
