/**
 * The wall clock that code under test reads. To assign `Date.now` under `FakeTime` would
 * change it for good, as its `Date` may be a proxy of the real one.
 */

function setDate(value: unknown): void {
  Object.defineProperty(globalThis, "Date", {
    value,
    configurable: true,
    writable: true,
  });
}

/** Replaces `Date.now` until the result is disposed. */
export function setWallClock(now: () => number): Disposable {
  const before = globalThis.Date;
  setDate(
    class extends before {
      static override now(): number {
        return now();
      }
    },
  );
  return { [Symbol.dispose]: () => setDate(before) };
}
