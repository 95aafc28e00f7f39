/**
 * HMAC-SHA-256 (RFC 2104, FIPS 180-4). Unlike `crypto.subtle`, it is synchronous, so that
 * what it signs can be sent in the same turn of the event loop.
 *
 * @module
 */

const BLOCK = 64;

/** Returns the first 32 bits of the fractional parts of the roots of the first primes. */
function fractions(count: number, root: (prime: number) => number): number[] {
  const found: number[] = [];
  for (let n = 2; found.length < count; n++) {
    let isPrime = true;
    for (let d = 2; d * d <= n && isPrime; d++) isPrime = n % d !== 0;
    if (isPrime) found.push((root(n) % 1) * 2 ** 32 | 0);
  }
  return found;
}

const INITIAL = Int32Array.from(fractions(8, Math.sqrt));
const K = Int32Array.from(fractions(64, Math.cbrt));

const words = new Int32Array(64);

/** Updates a state with one block. */
function compress(state: Int32Array, bytes: Uint8Array, start: number): void {
  const w = words;
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, BLOCK);
  for (let i = 0; i < 16; i++) w[i] = view.getInt32(i * 4);
  for (let i = 16; i < 64; i++) {
    const x = w[i - 15] ?? 0, y = w[i - 2] ?? 0;
    const s0 = (x >>> 7 | x << 25) ^ (x >>> 18 | x << 14) ^ x >>> 3;
    const s1 = (y >>> 17 | y << 15) ^ (y >>> 19 | y << 13) ^ y >>> 10;
    w[i] = (w[i - 16] ?? 0) + s0 + (w[i - 7] ?? 0) + s1 | 0;
  }
  const at = (i: number) => state[i] ?? 0; // destructuring costs four times as much
  let a = at(0), b = at(1), c = at(2), d = at(3);
  let e = at(4), f = at(5), g = at(6), h = at(7);
  for (let i = 0; i < 64; i++) {
    const s1 = (e >>> 6 | e << 26) ^ (e >>> 11 | e << 21) ^ (e >>> 25 | e << 7);
    const s0 = (a >>> 2 | a << 30) ^ (a >>> 13 | a << 19) ^
      (a >>> 22 | a << 10);
    const t1 = h + s1 + (e & f ^ ~e & g) + (K[i] ?? 0) + (w[i] ?? 0) | 0;
    const t2 = s0 + (a & b ^ a & c ^ b & c) | 0;
    h = g;
    g = f;
    f = e;
    e = d + t1 | 0;
    d = c;
    c = b;
    b = a;
    a = t1 + t2 | 0;
  }
  state[0] = at(0) + a;
  state[1] = at(1) + b;
  state[2] = at(2) + c;
  state[3] = at(3) + d;
  state[4] = at(4) + e;
  state[5] = at(5) + f;
  state[6] = at(6) + g;
  state[7] = at(7) + h;
}

/** Completes a hash whose state already has one block. */
function finish(state: Int32Array, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const length = bytes.length;
  const padded = new Uint8Array(Math.ceil((length + 9) / BLOCK) * BLOCK);
  padded.set(bytes);
  padded[length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, (BLOCK + length) / 2 ** 29);
  view.setUint32(padded.length - 4, (BLOCK + length) * 8);
  for (let at = 0; at < padded.length; at += BLOCK) compress(state, padded, at);
  const digest = new Uint8Array(32);
  const out = new DataView(digest.buffer);
  for (const [i, word] of state.entries()) out.setInt32(i * 4, word);
  return digest;
}

const hmacEncoder = new TextEncoder();

/** Computes HMACs with one key. */
export class Hmac {
  /** The states after the first block, which depends on the key only. */
  readonly #inner: Int32Array;
  readonly #outer: Int32Array;

  /**
   * @param key The secret, at most 64 bytes of UTF-8.
   * @throws {RangeError} If the key is too long.
   */
  constructor(key: string) {
    const bytes = hmacEncoder.encode(key);
    if (bytes.length > BLOCK) {
      throw new RangeError(
        `Cannot use a key of more than ${BLOCK} bytes: current value has ${bytes.length}`,
      );
    }
    const first = (mask: number) => {
      const block = new Uint8Array(BLOCK).fill(mask);
      for (const [i, byte] of bytes.entries()) block[i] = byte ^ mask;
      const state = INITIAL.slice();
      compress(state, block, 0);
      return state;
    };
    this.#inner = first(0x36);
    this.#outer = first(0x5c);
  }

  /** Returns the HMAC of a text, 32 bytes. */
  digest(text: string): Uint8Array<ArrayBuffer> {
    const inner = finish(this.#inner.slice(), hmacEncoder.encode(text));
    return finish(this.#outer.slice(), inner);
  }
}

/** Compares two strings in a time that depends only on their lengths. */
export function isSameSecret(a: string, b: string): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) {
    difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  }
  return difference === 0;
}
