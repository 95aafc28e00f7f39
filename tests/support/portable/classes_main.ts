/**
 * Uses the classes of the packages `ws` and `undici`, as a program. The last two
 * arguments are the URLs of the servers. Bundled, it runs in Node and in Bun.
 */

import process from "node:process";
import { WebSocket as Undici } from "undici";
import { WebSocket as Ws } from "ws";
import { tryClass } from "./classes.ts";

const [url = "", bare = ""] = process.argv.slice(-2);
for (const [name, Class] of Object.entries({ ws: Ws, undici: Undici })) {
  // Node alone tells why a request of `undici` failed.
  const isNode = !process.versions.bun && !process.versions.deno;
  await tryClass(Class, url, bare, isNode || name === "ws");
  console.log(name);
}
console.log("done");
process.exit();
