/**
 * Signs what a client has to prove when it reconnects: its session, the rooms that it was
 * in, and the offset from which on it may read.
 *
 * @module
 */

import { Hmac, isSameSecret } from "../util/hmac.ts";

/** The contents of a token. */
export interface Resumable {
  /** The secret name of the client: 32 hexadecimal digits, the same on each connection. */
  readonly session: string;
  /** The offset of the last message that was sent before the token. */
  readonly start: number;
  /** The tags of its rooms. */
  readonly rooms: ReadonlySet<string>;
}

/** The largest number of rooms that a token can hold. Each takes 8 characters. */
export const MAX_ROOMS = 256;

const TOKEN = /^([\w-]{22})([0-9a-f]{32})([0-9a-f]{14})((?:[\w-]{8}){0,256})$/;

/** The number of tags to cache. */
const MEMORY = 4096;

/** Signs and verifies tokens. */
export class ResumeTokens {
  readonly #hmac: Hmac;
  readonly #tags = new Map<string, string>();
  /** A public name of the secret. Tokens of another secret are invalid. */
  readonly epoch: string;

  /**
   * @param secret A random string of at most 64 bytes. Servers that share it accept each
   * other's tokens.
   */
  constructor(secret: string) {
    this.#hmac = new Hmac(secret);
    this.epoch = Array.from(
      this.#hmac.digest("epoch").subarray(0, 16),
      (byte) => byte.toString(16).padStart(2, "0"),
    ).join("");
  }

  /**
   * The tag of a room: 8 characters that do not reveal its name to the client.
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
   * Creates a token.
   *
   * @param start The offset of the last message that was sent before.
   * @param rooms The rooms of the client, at most {@linkcode MAX_ROOMS}.
   * @returns Letters, digits, `-` and `_`, so that it can be part of a subprotocol.
   */
  sign(session: string, start: number, rooms: Iterable<string>): string {
    const tags = Array.from(rooms, (room) => this.tagOf(room)).join("");
    const text = session + start.toString(16).padStart(14, "0") + tags;
    return this.#codeOf(text) + text;
  }

  /**
   * Verifies a token.
   *
   * @returns Its contents; undefined if it was not signed with this secret.
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
 * The session that a token names. The signature is not verified: a session is a secret
 * of its client, and can only exclude a client from messages.
 *
 * @returns The session; undefined if the string does not have the form of a token.
 */
export function sessionIn(token: string): string | undefined {
  return TOKEN.exec(token)?.[2];
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-")
    .replaceAll("/", "_").replaceAll("=", "");
}
