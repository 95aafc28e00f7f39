/**
 * Takes away what browsers have learnt since the oldest ones that the client is
 * for, early in 2023: see docs/compatibility.md.
 */

/** Methods, by the object that has them; newer than Safari 16.4. */
const NEWER: readonly (readonly [object, readonly string[]])[] = [
  [Promise, ["withResolvers", "try"]],
  [URL, ["canParse", "parse"]],
  [AbortSignal, ["any"]],
  [Array, ["fromAsync"]],
  [Object, ["groupBy"]],
  [Map, ["groupBy"]],
  [RegExp, ["escape"]],
  [Uint8Array, ["fromHex", "fromBase64"]],
  [Uint8Array.prototype, ["toHex", "toBase64"]],
  [ArrayBuffer.prototype, ["transfer"]],
  [String.prototype, ["isWellFormed", "toWellFormed"]],
  [Set.prototype, [
    "union",
    "intersection",
    "difference",
    "isSubsetOf",
    "isSupersetOf",
    "isDisjointFrom",
  ]],
  [Object.getPrototypeOf(Object.getPrototypeOf([].values())), [
    "map",
    "filter",
    "take",
    "drop",
    "flatMap",
    "reduce",
    "toArray",
    "forEach",
    "some",
    "every",
    "find",
  ]],
];

for (const [object, names] of NEWER) {
  for (const name of names) Reflect.deleteProperty(object, name);
}
