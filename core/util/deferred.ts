/**
 * A promise with its `resolve` and `reject`: `Promise.withResolvers`, which Safari
 * has only since 17.4, and TypeScript's library since ES2024.
 *
 * @module
 */

/** A promise, and what settles it. */
export interface Deferred<T> {
  /** The promise. */
  readonly promise: Promise<T>;
  /** Resolves the promise. */
  readonly resolve: (value: T | PromiseLike<T>) => void;
  /** Rejects the promise. */
  readonly reject: (reason?: unknown) => void;
}

/** Creates a promise that its caller settles. */
export function withResolvers<T>(): Deferred<T> {
  // The constructor calls its argument at once.
  let resolve!: Deferred<T>["resolve"];
  let reject!: Deferred<T>["reject"];
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
