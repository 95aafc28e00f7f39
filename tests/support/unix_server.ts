/**
 * A server at a Unix socket, in a process of its own, which may keep what the runtime
 * does not give back. It shuts down when a line is written to it, and then writes down
 * what it has seen as JSON.
 */

import { ServerSocket } from "../../mod.ts";
import { busyFor } from "./busy.ts";

/** What the server has seen. */
export interface UnixServerReport {
  /** The requests that passed all checks but the last. */
  readonly authorized: number;
  readonly connects: number;
  readonly ends: number;
  /** How long the shutdown took, in milliseconds. */
  readonly shutdown: number;
}

const [path = "", places = "", authorizes = ""] = Deno.args;
let authorized = 0, connects = 0, ends = 0;
const server = new ServerSocket({
  trustProxy: 1,
  maxConnections: Number(places),
  closeTimeout: 60_000,
  authorize: () => {
    authorized++;
    busyFor(20); // long enough for clients to leave before the response is written
    return authorizes === "later" ? Promise.resolve(true) : true;
  },
});
server.on("refused", () => {});
server.on("connect", () => connects++);
server.on("end", () => ends++);
server.on("message", ({ author, content }) => author.send(content));
await server.listen("", 0, { path, mode: 0o666 });
console.log("listening");
await Deno.stdin.read(new Uint8Array(16));
const start = performance.now();
await server.close();
const report: UnixServerReport = {
  authorized,
  connects,
  ends,
  shutdown: performance.now() - start,
};
console.log(`closed ${JSON.stringify(report)}`);
Deno.exit();
