/**
 * The same {@linkcode ClientSocket} for pages, without what most pages do not use.
 *
 * Iterators, request handlers and the options `schema`, `codec` and `concurrency` are
 * imported from `@ws/events/client/iterators`, `/handlers`, `/schema`, `/codec` and
 * `/concurrency`; using one without its import throws an error that names the import.
 * Only `@ws/events/client` sends headers, knows the reasons for which other runtimes
 * refuse a handshake, and suggests the right spelling of options: use that in Deno, Node
 * and Bun.
 *
 * ```ts ignore
 * import "jsr:@ws/events/client/handlers";
 * import { ClientSocket } from "jsr:@ws/events/client/lean";
 *
 * const client = new ClientSocket({ reconnect: true });
 * client.handle("ping", () => "pong");
 * await client.connect("wss://example.com/live");
 * ```
 *
 * @module
 */

export * from "./core/client/client_socket.ts";
export * from "./core/public.ts";
