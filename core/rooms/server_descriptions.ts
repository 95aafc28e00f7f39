/**
 * How the inspect page of one server learns about the other servers.
 *
 * @module
 */

/** Describes one server, and asks the others. */
export interface ServerDescriptions {
  /** Sets how this server describes itself to the others. */
  describe: (() => object) | undefined;
  /** Lists the descriptions of the other servers, as far as they answer. */
  descriptions(): Promise<readonly unknown[]>;
}

const byServer = new WeakMap<object, ServerDescriptions>();

/** Registers the descriptions of a server. */
export function registerDescriptions(
  server: object,
  descriptions: ServerDescriptions,
): void {
  byServer.set(server, descriptions);
}

/** Returns the descriptions of a server; undefined for any other object. */
export function descriptionsOf(server: object): ServerDescriptions | undefined {
  return byServer.get(server);
}
