/**
 * The public data of clients that other members of their rooms see.
 *
 * @module
 */

import type { Presence } from "../cluster/presence.ts";
import type { Connection } from "../connection/connection.ts";
import type { PresenceData, SocketTypes } from "../values/types.ts";
import type { PresenceOptions } from "./presence_options.ts";

/** Describes the clients of a server by its option `presence`. */
export class ClientPresence<Types extends SocketTypes> {
  readonly #options: Required<PresenceOptions<Types>>;
  readonly #presence: Presence<PresenceData<Types>>;
  readonly #failed: (error: unknown, client: Connection<Types>) => void;
  /** Data that has replaced what the option `presence` returns. */
  readonly #updates = new WeakMap<
    Connection<Types>,
    { readonly data: PresenceData<Types> }
  >();

  /** @param failed The option `presence` has thrown. */
  constructor(
    options: Required<PresenceOptions<Types>>,
    presence: Presence<PresenceData<Types>>,
    failed: (error: unknown, client: Connection<Types>) => void,
  ) {
    this.#options = options;
    this.#presence = presence;
    this.#failed = failed;
  }

  /** Makes a client a member of a room that it has joined, or replaces its data there. */
  track(client: Connection<Types>, room: string): void {
    const options = this.#options;
    try {
      const key = options.key(client);
      assertKey(key);
      const { data } = this.#updates.get(client) ??
        { data: toPresenceData(options.data(client)) };
      this.#presence.set(room, client.id, key, data);
    } catch (error) {
      this.#failed(error, client);
    }
  }

  /**
   * Replaces the public data of a client in all its rooms, also those that it joins later.
   *
   * @throws {TypeError} If the data cannot be serialized as JSON.
   */
  update(client: Connection<Types>, data: PresenceData<Types>): void {
    this.#updates.set(client, { data: toPresenceData(data) });
    if (client.readyState !== 1) return;
    for (const room of [...client.rooms]) {
      if (client.rooms.has(room)) this.track(client, room);
    }
  }
}

/** Copies data as other servers receive it. */
function toPresenceData<Data>(data: Data): Data {
  const text: string | undefined = JSON.stringify(data);
  return JSON.parse(text ?? "null");
}

function assertKey(key: string): void {
  if (typeof key === "string" && key !== "") return;
  throw new TypeError(
    `Cannot use the key of a client as "presence.key" returned it: return a string that is not empty: current value is ${
      key === "" ? '""' : `of type ${typeof key}`
    }`,
  );
}
