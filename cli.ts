/**
 * A command that talks to any WebSocket server from a terminal: lines in, lines out. It
 * can also be an echo server or a chat to try a client against, and measure round trips.
 *
 * ```sh
 * deno run --allow-net jsr:@ws/events/cli ws://localhost:3000
 * deno run --allow-net jsr:@ws/events/cli --listen 3000 --chat
 * deno run --allow-net jsr:@ws/events/cli --bench 100 ws://localhost:3000
 * deno run jsr:@ws/events/cli --help
 * ```
 *
 * @module
 */

import process from "node:process";
import { createInterface } from "node:readline";
import { run } from "./cli/run.ts";

if (import.meta.main) {
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  const code = await run(process.argv.slice(2), {
    // Made when it is read: lines that come before that are lost.
    lines: {
      [Symbol.asyncIterator]: () =>
        createInterface({ input: process.stdin })[Symbol.asyncIterator](),
    },
    isInteractive: process.stdin.isTTY && process.stdout.isTTY,
    print: (line) => console.log("%s", line),
    note: (line) => console.error("%s", line),
  }, stop.signal);
  process.exit(code);
}
