/**
 * One of the servers of `retries.ts`, in a process of its own. Its handler appends a line
 * to a file, and answers some milliseconds later.
 *
 *     deno run --allow-all trials/retries_server.ts <redis> <port> <file>
 */

import { delay } from "@std/async";
import { redis } from "@ws/events/redis";
import { ServerSocket } from "@ws/events/server";

/** The longest time that a handler takes, in milliseconds. */
const MAX_HANDLING_MS = 60;

const [url = "", port, file = ""] = Deno.args;
const server = new ServerSocket({ adapter: redis({ url }) });
server.on("error", (error) => console.error(port, error));
server.handle(async ({ content }) => {
  Deno.writeTextFileSync(file, `${content}\n`, { append: true });
  await delay(Math.random() * MAX_HANDLING_MS);
  return content;
});

const up = server.waitFor("adapter", { filter: (state) => state === "up" });
await server.listen("127.0.0.1", Number(port));
await up;
console.log("ready");
