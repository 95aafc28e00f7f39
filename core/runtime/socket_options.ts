/**
 * Opens sockets with headers, and with options of Deno, Node or Bun.
 *
 * @module
 */

import { withoutSecrets } from "../util/safe_url.ts";
import type { OpenedSocket, WebSocketOptions } from "./websocket.ts";

/**
 * Opens a client's socket.
 *
 * @throws {TypeError} If there are headers or options that the runtime does not support.
 */
export function openWithOptions(
  url: string | URL,
  protocols: readonly string[],
  headers: HeadersInit | undefined,
  options: WebSocketOptions,
): OpenedSocket {
  const { WebSocket: Class = globalThis.WebSocket, ...others } = options;
  if (typeof Class !== "function") {
    throw new TypeError(
      `Cannot connect to ${
        withoutSecrets(url)
      } as this runtime has no WebSocket: use Node 22 or later`,
    );
  }
  const members = new Map<string, unknown>(Object.entries(others));
  if (headers !== undefined) members.set("headers", headers);
  const unread = new Set(members.keys());
  const args: unknown[] = [url, protocols];
  if (Class.length > 2) {
    // The package `ws` has a third argument, and reads all members of it.
    if (unread.delete("headers")) {
      args.push({ headers: Object.fromEntries(new Headers(headers)) });
    }
  } else if (members.size > 0) {
    // Browsers accept only subprotocols as the second argument. Other runtimes accept an
    // object with more, and read what they support of it.
    const init = args[1] = {};
    unread.add("protocols");
    for (const [name, value] of members.set("protocols", protocols)) {
      Object.defineProperty(init, name, {
        enumerable: true,
        get() {
          unread.delete(name);
          return value;
        },
      });
    }
  }
  let socket: WebSocket | undefined;
  try {
    socket = Reflect.construct(Class, args);
  } catch (error) {
    if (unread.size === 0) throw error;
  }
  // A socket of the package `ws` throws its error if nothing listens to it.
  if (options.WebSocket) socket?.addEventListener("error", () => {});
  const [name] = unread;
  if (socket !== undefined && name === undefined) return socket;
  socket?.close();
  throw new TypeError(
    name === "headers"
      ? `Cannot send headers to ${
        withoutSecrets(url)
      } as this runtime's WebSocket does not support them: pass the values in the URL or a subprotocol`
      : `Cannot connect to ${
        withoutSecrets(url)
      } with the WebSocket option "${name}" as this runtime does not support it`,
  );
}
