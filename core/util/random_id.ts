/**
 * Generates unguessable ids.
 *
 * @module
 */

/** Returns 32 random hexadecimal digits. */
export function randomId(): string {
  // Unlike `randomUUID`, this works outside of secure contexts.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}
