/**
 * `AsyncDisposable` and `Disposable` for published types: a program whose TypeScript
 * library is ES2022 knows neither, and may still use what has them.
 *
 * @module
 */

/** `AsyncDisposable`, or an empty type where the library of a program lacks it. */
export type AsyncDisposer = {
  readonly [
    Key in SymbolConstructor extends
      { readonly asyncDispose: infer Dispose extends symbol } ? Dispose : never
  ]: () => Promise<void>;
};

/** `Disposable`, or an empty type where the library of a program lacks it. */
export type Disposer = {
  readonly [
    Key in SymbolConstructor extends
      { readonly dispose: infer Dispose extends symbol } ? Dispose : never
  ]: () => void;
};

/**
 * Sets what `await using` calls on the instances of a class; nothing where the
 * runtime has no `Symbol.asyncDispose`, as Safari.
 *
 * @param prototype The prototype of the class.
 * @param dispose Disposes of an instance.
 */
export function onAsyncDispose<Instance extends object>(
  prototype: Instance,
  dispose: (instance: Instance) => Promise<void>,
): void {
  if (typeof Symbol.asyncDispose !== "symbol") return;
  Object.defineProperty(prototype, Symbol.asyncDispose, {
    configurable: true,
    writable: true,
    value(this: Instance) {
      return dispose(this);
    },
  });
}
