/**
 * The values that JSON does not change, as types.
 *
 * @module
 */

/**
 * A type that data is assignable to if JSON represents it. Where JSON would change a value
 * without an error, it is a text that says so.
 *
 * @typeParam Data The type.
 */
export type JsonData<Data> = unknown extends Data ? Data
  : Data extends string | number | boolean | null | undefined | void ? Data
  : Data extends bigint ? "JSON has no bigint: use a string"
  : Data extends symbol ? "JSON has no symbols: use a string"
  : Data extends Date
    ? "JSON makes a string of a Date: use a string or a number"
  : Data extends ReadonlyMap<unknown, unknown>
    ? "JSON makes {} of a Map: use an object or an array"
  : Data extends ReadonlySet<unknown> ? "JSON makes {} of a Set: use an array"
  : Data extends ArrayBufferLike | ArrayBufferView | Blob
    ? "JSON cannot hold bytes: use a string in base64"
  : Data extends PromiseLike<unknown> ? "JSON makes {} of a promise: await it"
  : Data extends
    | ((...args: never) => unknown)
    | (abstract new (...args: never) => unknown) ? "JSON omits functions"
  : Data extends readonly (infer Item)[] ? readonly (
      unknown extends Item ? Item
        : undefined extends Item
          ? "JSON makes null of undefined in an array: use null"
        : JsonData<Item>
    )[]
  : {
    [Name in keyof Data]: Name extends symbol ? Data[Name]
      : JsonData<Data[Name]>;
  };
