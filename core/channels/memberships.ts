/**
 * The channels that one client of a server asks for, or has joined.
 *
 * @module
 */

import type { Payload, RequestFailure } from "../protocol/frames.ts";

/** A channel that a client has joined. */
export interface JoinedMember {
  /** Takes a message or a request in the channel. */
  receive(
    payload: Payload,
    id: number | undefined,
    pending: Promise<unknown>[] | undefined,
  ): Promise<unknown> | undefined;
  /** Emits `leave`. */
  left(): void;
  /** Whether the client is sent the list of members. */
  readonly hasMembers: boolean;
}

/** A channel that a client asks for, or has joined. */
export class Membership {
  /** The number of the channel on the connection. */
  readonly number: number;
  readonly name: string;
  /** Undefined until the client is admitted. */
  joined: JoinedMember | undefined;
  /** Whether it has left, or need not be told. */
  isOver = false;
  /** The failure that the client gets if the server ends the membership. */
  removal: RequestFailure = {
    message: "The server ended the membership",
    code: "removed",
  };

  constructor(number: number, name: string) {
    this.number = number;
    this.name = name;
  }
}

/** The channels of one client, by their numbers and names. */
export class Memberships {
  readonly #byNumber = new Map<number, Membership>();
  readonly #byName = new Map<string, Membership>();

  get size(): number {
    return this.#byNumber.size;
  }

  numbered(number: number): Membership | undefined {
    return this.#byNumber.get(number);
  }

  named(name: string): Membership | undefined {
    return this.#byName.get(name);
  }

  add(number: number, name: string): Membership {
    const membership = new Membership(number, name);
    this.#byNumber.set(number, membership);
    this.#byName.set(name, membership);
    return membership;
  }

  delete({ number, name }: Membership): void {
    this.#byNumber.delete(number);
    this.#byName.delete(name);
  }
}
