/**
 * The server of `trials/flood.ts`, in a process of its own. Its argument is its
 * options as JSON. A message is sent to a room of 30, and a request is answered. The
 * first `/lag` starts a measurement, and each one returns what was measured since the
 * last.
 */

import { ServerSocket } from "@ws/events/server";
import type { StandardSchema } from "@ws/events/server";
import { z } from "zod";

/** What the server measured since it was last asked. */
export interface Lag {
  /** The longest time between two ticks of a timer of 1 ms, in ms. */
  readonly stall: number;
  /** The most memory, in MiB. */
  readonly rss: number;
  /** How many messages were handed out. */
  readonly messages: number;
  /** How many errors were told. */
  readonly errors: number;
  /** How many ends of each kind, by `type code cause`. */
  readonly ends: Readonly<Record<string, number>>;
}

const MEMBERS = 30;
let stall = 0, rss = 0, messages = 0, errors = 0;
let ends: Record<string, number> = {};
let last = performance.now();

const { isChecked = false, ...options } = JSON.parse(Deno.args[0] ?? "{}");
const schema: StandardSchema | undefined = isChecked
  ? z.union([z.string(), z.array(z.string())])
  : undefined;
const server = new ServerSocket({
  ...options,
  ...schema && { schema },
  fallback: (request) => {
    if (!request.url.endsWith("/lag")) return new Response("nothing");
    const lag: Lag = { stall, rss, messages, errors, ends };
    stall =
      rss =
      messages =
      errors =
        0;
    ends = {};
    return Response.json(lag);
  },
});
server.on("connect", (client, path) => {
  if (path === "/member") client.join("all");
});
server.on("message", (message) => {
  messages++;
  if (message.author.path === "/healthy") return void message.reply(1);
  server.to("all").send(message.content.slice(0, 64));
});
server.handle(({ data }) => typeof data);
for (const type of ["close", "disconnect"] as const) {
  server.on(type, (_client, code, _reason, cause) => {
    const kind = `${type} ${code} ${cause}`;
    ends[kind] = (ends[kind] ?? 0) + 1;
  });
}
// Without a listener of "error", as most programs are at first.
const { error } = console;
console.error = (...args: unknown[]) => {
  errors++;
  error(...args);
};

setInterval(() => {
  const now = performance.now();
  stall = Math.max(stall, now - last);
  last = now;
  rss = Math.max(rss, Deno.memoryUsage().rss / 1024 / 1024);
}, 1);

await server.listen("127.0.0.1", 0);
console.log(`${server.port} ${MEMBERS}`);
