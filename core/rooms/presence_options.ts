/**
 * The option `presence` of a server.
 *
 * @module
 */

import type { Connection } from "../connection/connection.ts";
import {
  assertKnown,
  assertOption,
  assertType,
  optionNames,
} from "../events/errors.ts";
import type { PresenceData, SocketTypes } from "../values/types.ts";

/**
 * Options of presence, which define the public data of a client for the other members of
 * its rooms.
 *
 * @typeParam Types The types of the messages of the server.
 */
export interface PresenceOptions<Types extends SocketTypes = SocketTypes> {
  /**
   * Returns the public data of a client that joins a room, such as its name. It is
   * serialized as JSON. A client for which it throws is not listed as a member, and the
   * error is emitted as `error`.
   *
   * @param client The client that joins a room.
   * @returns The value of `member.data`.
   */
  readonly data: (client: Connection<Types>) => PresenceData<Types>;
  /**
   * Returns the key that the connections of one member share, such as the id of a user
   * with two open windows. By default, each connection is a separate member.
   *
   * @param client The client that joins a room.
   * @returns A string that is not empty; the value of `member.key`.
   */
  readonly key?: (client: Connection<Types>) => string;
}

/**
 * Validates the option `presence`, and fills in the default.
 *
 * @throws {TypeError} If it is neither a function nor valid options.
 */
export function resolvePresence<Types extends SocketTypes>(
  presence:
    | PresenceOptions<Types>
    | PresenceOptions<Types>["data"]
    | undefined,
): Required<PresenceOptions<Types>> | undefined {
  if (presence === undefined) return undefined;
  const key = ({ id }: Connection<Types>) => id;
  if (typeof presence === "function") return { data: presence, key };
  assertType("presence", presence, "object", "write (client) => data");
  assertKnown("presence", presence, PRESENCE_OPTIONS);
  assertType("presence.data", presence.data, "function");
  assertOption("presence.key", presence.key, "function");
  return { key, ...presence };
}

const PRESENCE_OPTIONS = optionNames<PresenceOptions>({
  data: true,
  key: true,
});
