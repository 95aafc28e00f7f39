/**
 * The server under trial, in a process of its own. Its arguments are its options
 * as JSON, and its port. It echoes, does what a message or a path says, and tells by
 * HTTP what has happened to it.
 */

import { inspect } from "@ws/events/inspect";
import { type Connection, ServerSocket } from "@ws/events/server";

/** What the server tells of itself. */
export interface Stats {
  readonly connects: number;
  /** How many ends of each kind, by `type code cause`. */
  readonly ends: Readonly<Record<string, number>>;
  /** Ends of what had no `connect`, or had ended already. */
  readonly doubles: number;
  /** How many refusals of each status. */
  readonly refusals: Readonly<Record<string, number>>;
  readonly errors: readonly string[];
  readonly messages: number;
  readonly clients: number;
  /** How many messages were dropped on their way out. */
  readonly dropped: number;
  /** In MiB. */
  readonly rss: number;
  /** In MiB. */
  readonly peakRss: number;
  /** In MiB. */
  readonly heap: number;
  /** In MiB, what is outside of the heap and known to V8, such as buffers. */
  readonly external: number;
  readonly descriptors: number;
}

const MIB = 1024 * 1024;
const open = new Set<string>();
const ends: Record<string, number> = {};
const refusals: Record<string, number> = {};
const errors: string[] = [];
let connects = 0, doubles = 0, messages = 0, dropped = 0, peakRss = 0;

/** What each client of `/push` was sent for sure, by its path. */
const pushed = new Map<string, number>();

/** Records from the first time on that it is asked. */
let page: ((request: Request) => Response) | undefined;

const server = new ServerSocket({
  ...JSON.parse(Deno.args[0] ?? "{}"),
  authorize: ({ url }: Request) => {
    if (!url.endsWith("/slowly")) return true;
    return new Promise<true>((go) => setTimeout(() => go(true), 20));
  },
  fallback: (request) => {
    switch (new URL(request.url).pathname) {
      case "/inspect":
        return (page ??= inspect(server))(request);
      case "/stats":
        return Response.json(stats());
      case "/close":
        shutDown();
        return new Response();
      case "/restart":
        server.shutdown({ retryAfter: 1_000 }).then(() => Deno.exit());
        return new Response();
      default:
        return new Response("nothing", { status: 404 });
    }
  },
});

server.on("connect", (client, path) => {
  connects++;
  open.add(client.id);
  if (path.startsWith("/offer/")) offer(client, Number(path.slice(7)));
  else if (path.startsWith("/push/")) push(client, path);
  else if (path.startsWith("/room/")) client.join(path);
  else if (path.startsWith("/into/")) client.join(path.slice(6));
  else if (path.startsWith("/hoard/")) hoard(client, path);
});
server.on("message", ({ author, content, isBinary, bytes }) => {
  messages++;
  if (content === "close") author.close(4000, "as you say");
  else if (content === "terminate") author.terminate();
  else if (author.path.startsWith("/into/")) {
    server.to(author.path.slice(6)).send(content);
  } else author.send(isBinary ? bytes : content);
});
for (const type of ["close", "disconnect"] as const) {
  server.on(type, (client, code, _reason, cause) => {
    if (!open.delete(client.id)) doubles++;
    const kind = `${type} ${code} ${cause}`;
    ends[kind] = (ends[kind] ?? 0) + 1;
    dropped += client.dropped.outgoing;
  });
}
server.on("refused", (_request, status) => {
  refusals[status] = (refusals[status] ?? 0) + 1;
});
server.on("error", (error) => errors.push(String(error)));

/** Offers so many MiB, 32 a second, without waiting for anybody. */
function offer(client: Connection, mebibytes: number): void {
  // What is offered for long is offered in larger parts: it is the client that is
  // on trial, not what the offering costs.
  const [size, every] = mebibytes < 1024 ? [65_536, 2] : [262_144, 8];
  const part = new Uint8Array(size);
  let left = mebibytes * MIB / size;
  const go = () => {
    client.send(part);
    if (--left > 0 && client.readyState === 1) setTimeout(go, every);
  };
  go();
}

/** Sends a number of texts of a size at once, each of its own. */
async function hoard(client: Connection, path: string): Promise<void> {
  const [count = 0, size = 0] = path.split("/").slice(2).map(Number);
  for (let i = 0; i < count && client.readyState === 1; i++) {
    client.send(`${i} `.padEnd(size, "."));
    if (i % 64 === 0) await new Promise((go) => setTimeout(go, 0));
  }
}

/** Sends numbers, one after the other, for as long as it can. */
async function push(client: Connection, path: string): Promise<void> {
  const padding = ".".repeat(1_000);
  try {
    for (let i = 0;; i++) {
      await client.send({ i, padding });
      pushed.set(path, i);
      if (i % 16 === 0) await new Promise((go) => setTimeout(go, 0));
    }
  } catch {
    // It has ended.
  }
}

function stats(): Stats {
  Reflect.get(globalThis, "gc")?.();
  const { rss, heapUsed, external } = Deno.memoryUsage();
  return {
    connects,
    ends,
    doubles,
    refusals,
    errors,
    messages,
    dropped,
    clients: server.clients.size,
    rss: rss / MIB,
    peakRss: Math.max(peakRss, rss / MIB),
    heap: heapUsed / MIB,
    external: external / MIB,
    descriptors: [...Deno.readDirSync("/proc/self/fd")].length,
  };
}

async function shutDown(): Promise<void> {
  await server.close();
  console.log(JSON.stringify({ pushed: [...pushed], stats: stats() }));
  Deno.exit();
}

setInterval(() => {
  peakRss = Math.max(peakRss, Deno.memoryUsage().rss / MIB);
}, 20);

await server.listen("127.0.0.1", Number(Deno.args[1] ?? 0));
console.log(server.port);
