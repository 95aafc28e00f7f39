/** The chat of the examples, as a program. */

import { Program } from "./program.ts";

/** Starts its server, and gives the URL of its page. */
export async function startChat(
  port = "0",
): Promise<{ server: Program; url: string }> {
  const server = new Program([
    "run",
    "--allow-net",
    "--allow-read=examples/chat",
    "--allow-run",
    "examples/chat/server.ts",
    "127.0.0.1",
    port,
  ]);
  return { server, url: await server.line("Chat at ") };
}
