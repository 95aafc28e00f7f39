/**
 * The type of data with a property `type`; pure.
 *
 * @module
 */

/** Returns the property `type` of the data, if it is a string. */
export function typeOf(data: unknown): string | undefined {
  return typeof data === "object" && data !== null && "type" in data &&
      typeof data.type === "string"
    ? data.type
    : undefined;
}
