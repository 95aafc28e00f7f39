/**
 * Those to whom a server sends the same message.
 *
 * @module
 */

import { assertSendOptions, type SendOptions } from "../sending/send_queue.ts";
import { type Codec, encodeWith, type Frame } from "../values/codec.ts";
import { Connection, internals } from "../connection/connection.ts";
import { RESOLVED } from "../events/errors.ts";
import { assertOverflow } from "../sending/bounded_queue.ts";
import { assertRoom, type Rooms } from "./rooms.ts";
import type { Outgoing, SocketTypes } from "../values/types.ts";

/**
 * Who is not to get a message: a connection, or all who are in a room.
 *
 * @typeParam Types The types of the sockets.
 */
export type Excluded<Types extends SocketTypes> = Connection<Types> | string;

/** Sends a message to all of an audience, wherever they are. */
type Dispatch<Types extends SocketTypes> = (
  frame: Frame,
  audience: Audience<Types>,
  except: readonly Excluded<Types>[],
  options: SendOptions | undefined,
) => void;

/**
 * Sends the same to many.
 *
 * @param connections To whom.
 * @param frame What.
 * @param options What to do where it does not fit.
 */
export function sendToAll<Types extends SocketTypes>(
  connections: Iterable<Connection<Types>>,
  frame: Frame,
  options: SendOptions | undefined,
): void {
  for (const connection of connections) {
    internals.send(connection, frame, options, false);
  }
}

/**
 * Some of a server's clients: what `server.to(...)` gives. It is not a list: who is
 * in it is found out whenever it is asked, or sends.
 *
 * @typeParam Types The types of what comes in and goes out.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 *
 * const server = new ServerSocket();
 * server.on("connect", (client) => client.join("lobby"));
 * server.on("message", ({ author, data }) => {
 *   server.to("lobby").except(author).send({ from: author.id, data });
 * });
 * ```
 */
export class Audience<Types extends SocketTypes = SocketTypes> {
  readonly #rooms: Rooms<Connection<Types>>;
  readonly #groups: () => ReadonlySet<Connection<Types>>[];
  readonly #except: readonly Excluded<Types>[];
  readonly #codec: Codec | undefined;
  readonly #dispatch: Dispatch<Types>;

  /**
   * Servers make audiences; programs get them from servers.
   *
   * @param rooms Who is in which room.
   * @param groups Those who are in it.
   * @param except But not these.
   * @param codec What messages are encoded by; JSON if there is none.
   * @param dispatch Sends them.
   */
  constructor(
    rooms: Rooms<Connection<Types>>,
    groups: () => ReadonlySet<Connection<Types>>[],
    except: readonly Excluded<Types>[],
    codec: Codec | undefined,
    dispatch: Dispatch<Types>,
  ) {
    this.#rooms = rooms;
    this.#groups = groups;
    this.#except = except;
    this.#codec = codec;
    this.#dispatch = dispatch;
    for (const one of except) {
      if (typeof one === "string") assertRoom("leave out", one);
      if (typeof one === "string" || one instanceof Connection) continue;
      throw new TypeError(
        `Cannot leave out something other than a connection or a room: current value is of type ${typeof one}`,
      );
    }
  }

  /** Those who are in it now, of this server. */
  get members(): Connection<Types>[] {
    return this.#rooms.select(this.#groups(), this.#except);
  }

  /** How many are in it now, of this server. */
  get size(): number {
    return this.members.length;
  }

  /**
   * The same audience without some.
   *
   * @param excluded Connections, and rooms of which nobody is to be in it.
   * @returns A new audience.
   */
  except(...excluded: Excluded<Types>[]): Audience<Types> {
    return new Audience(
      this.#rooms,
      this.#groups,
      [...this.#except, ...excluded],
      this.#codec,
      this.#dispatch,
    );
  }

  /**
   * Sends a message to all who are in it now. It is serialised once. Each of them has
   * bounds of their own, and who is slow holds nobody up: what becomes of a message
   * that does not fit is what `overflow` says, for that one.
   *
   * @param data What to send.
   * @param options What to do where it does not fit.
   * @returns A promise that resolves when the message has been handed to the
   * connections, whether they keep up or not, or is on its way to the broker, if there
   * is an adapter. It does not pace a program by its slowest client: `connection.send`
   * does.
   * @throws {TypeError} If JSON cannot hold the data. Then nothing has been sent.
   * @throws {RangeError} If `overflow` is no policy.
   */
  send(data: Outgoing<Types>, options?: SendOptions): Promise<void> {
    if (options !== undefined) assertSendOptions(options);
    const frame = encodeWith(data, this.#codec);
    assertOverflow(options);
    this.#dispatch(frame, this, this.#except, options);
    return RESOLVED;
  }
}
