/**
 * Names that nobody can guess; pure but for chance.
 *
 * @module
 */

/**
 * Makes a name.
 *
 * @returns 32 hexadecimal digits.
 */
export function randomId(): string {
  // Unlike `randomUUID`, this works in pages that came over plain HTTP.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}
