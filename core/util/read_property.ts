/**
 * Reads properties of values of unknown type; pure.
 *
 * @module
 */

/** Returns the property of an object; undefined for a value that is no object. */
export function readProperty(object: unknown, key: string): unknown {
  return typeof object === "object" && object !== null
    ? Reflect.get(object, key)
    : undefined;
}
