/**
 * Signs what a client needs to prove when it comes back: its session, the rooms that it
 * was in, and from which message on.
 *
 * @module
 */

import { Hmac, isSameSecret } from "../util/hmac.ts";

/** What a server has known of a client when it signed a token. */
export interface Resumable {
  /** A secret name of the client: 32 hexadecimal digits, the same on each connection. */
  readonly session: string;
  /** The number of the last message that was sent before. */
  readonly start: number;
  /** The tags of the rooms that it was in. */
  readonly rooms: ReadonlySet<string>;
}

/** The largest number of rooms that a token can hold. Each takes 8 characters. */
export const MAX_ROOMS = 256;

const TOKEN = /^([\w-]{22})([0-9a-f]{32})([0-9a-f]{14})((?:[\w-]{8}){0,256})$/;

/** How many rooms' tags are remembered. */
const MEMORY = 4096;

/** Signs tokens, and checks them. */
export class ResumeTokens {
  readonly #hmac: Hmac;
  readonly #tags = new Map<string, string>();
  /** A public name of the secret: what was signed by another one means nothing here. */
  readonly epoch: string;

  /**
   * Takes the secret that servers share whose tokens are to be valid at each other.
   *
   * @param secret A random text of at most 64 bytes that nobody else knows.
   */
  constructor(secret: string) {
    this.#hmac = new Hmac(secret);
    this.epoch = Array.from(
      this.#hmac.digest("epoch").subarray(0, 16),
      (byte) => byte.toString(16).padStart(2, "0"),
    ).join("");
  }

  /**
   * The tag of a room. It does not show the room's name to the client.
   *
   * @param room The room.
   * @returns 8 characters.
   */
  tagOf(room: string): string {
    const known = this.#tags.get(room);
    if (known !== undefined) return known;
    if (this.#tags.size >= MEMORY) this.#tags.clear();
    const tag = base64url(this.#hmac.digest(`room ${room}`).subarray(0, 6));
    this.#tags.set(room, tag);
    return tag;
  }

  /**
   * Makes a token.
   *
   * @param session The client.
   * @param start The number of the last message that was sent before.
   * @param rooms The rooms that it is in, at most {@linkcode MAX_ROOMS}.
   * @returns Letters, digits, `-` and `_`, which fit into a subprotocol.
   */
  sign(session: string, start: number, rooms: Iterable<string>): string {
    const tags = Array.from(rooms, (room) => this.tagOf(room)).join("");
    const text = session + start.toString(16).padStart(14, "0") + tags;
    return this.#codeOf(text) + text;
  }

  /**
   * Checks a token.
   *
   * @param token What a client has presented.
   * @returns What was signed; undefined if it was not signed with this secret.
   */
  verify(token: string): Resumable | undefined {
    const [, code = "", session = "", start = "", tags = ""] =
      TOKEN.exec(token) ?? [];
    const text = session + start + tags;
    if (text === "" || !isSameSecret(code, this.#codeOf(text))) {
      return undefined;
    }
    const rooms = new Set(tags.match(/.{8}/g));
    return { session, start: parseInt(start, 16), rooms };
  }

  #codeOf(text: string): string {
    return base64url(this.#hmac.digest(`token ${text}`).subarray(0, 16));
  }
}

/**
 * The session that a token names, without a look at whether it was signed: it is a
 * secret of the client, which only hides messages from those who know it.
 *
 * @param token What a client has presented.
 * @returns The session; undefined if it is no token.
 */
export function sessionIn(token: string): string | undefined {
  return TOKEN.exec(token)?.[2];
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-")
    .replaceAll("/", "_").replaceAll("=", "");
}
