/**
 * How a test's clients reach its server: over TCP where the run may use the network,
 * in memory where it may not. So the same tests run both ways, and none is ignored.
 */

import type { ServerSocket } from "../../server.ts";
import { MemoryNetwork } from "../../testing.ts";
import { lacksPermission } from "./permissions.ts";

const hasNoNetwork = await lacksPermission("net");

/** Lets clients come in, and gives the URL to connect to. */
export async function listenForTest(
  server: Pick<ServerSocket, "fetch" | "listen" | "url">,
): Promise<string> {
  // Who closes the server leaves nothing behind in it.
  if (hasNoNetwork) return new MemoryNetwork(server).url;
  await server.listen("127.0.0.1", 0);
  return server.url;
}
