// What the tests use of `jsr:@std/testing/mock`, for machines that cannot
// reach JSR.

import {
  assertEquals,
  AssertionError,
  assertIsError,
} from "jsr:@std/assert@^1";

// deno-lint-ignore no-explicit-any
type Any = any;

/** What is asked of a spy that it cannot do. */
export class MockError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "MockError";
  }
}

/** One call of a spy. */
export interface SpyCall<
  Self = Any,
  Args extends unknown[] = Any[],
  Return = Any,
> {
  args: Args;
  returned?: Return;
  error?: Error;
  self?: Self;
}

/** A function that records its calls. */
export interface Spy<
  Self = Any,
  Args extends unknown[] = Any[],
  Return = Any,
> {
  (this: Self, ...args: Args): Return;
  original: (this: Self, ...args: Args) => Return;
  calls: SpyCall<Self, Args, Return>[];
  restored: boolean;
  restore(): void;
}

/** A method that records its calls. */
export interface MethodSpy<
  Self = Any,
  Args extends unknown[] = Any[],
  Return = Any,
> extends Spy<Self, Args, Return>, Disposable {}

/** A method that is replaced, and records its calls. */
export interface Stub<
  Self = Any,
  Args extends unknown[] = Any[],
  Return = Any,
> extends MethodSpy<Self, Args, Return> {
  fake: (this: Self, ...args: Args) => Return;
}

/** The arguments of a method. */
export type GetParametersFromProp<Self, Prop extends keyof Self> =
  Self[Prop] extends (...args: infer Args) => unknown ? Args : unknown[];

/** What a method returns. */
export type GetReturnFromProp<Self, Prop extends keyof Self> =
  Self[Prop] extends (...args: Any[]) => infer Return ? Return : unknown;

/** A function that calls `run` and notes how it went. */
function record(run: (...args: unknown[]) => unknown, extra: object): Stub {
  const calls: SpyCall[] = [];
  const recorded = function (this: unknown, ...args: unknown[]): unknown {
    const call: SpyCall = { args };
    if (this) call.self = this;
    try {
      return call.returned = run.apply(this, args);
    } catch (error) {
      call.error = error as Error;
      throw error;
    } finally {
      calls.push(call);
    }
  };
  Object.defineProperties(
    recorded,
    Object.getOwnPropertyDescriptors({ calls, ...extra }),
  );
  return recorded as unknown as Stub;
}

function replace(
  target: Any,
  property: PropertyKey,
  verb: "spy" | "stub",
  fake?: (...args: Any[]) => unknown,
): Stub {
  const original = target[property];
  if (typeof original !== "function") {
    throw new MockError(`Cannot ${verb}: property is not an instance method`);
  }
  if (Array.isArray(original.calls) && "restored" in original) {
    throw new MockError(`Cannot ${verb}: already spying on instance method`);
  }
  const descriptor = Object.getOwnPropertyDescriptor(target, property);
  const stub = record(fake ?? original, {
    original,
    fake,
    restored: false,
    restore() {
      if (stub.restored) {
        throw new MockError("Cannot restore: instance method already restored");
      }
      if (descriptor) Object.defineProperty(target, property, descriptor);
      else delete target[property];
      stub.restored = true;
    },
    [Symbol.dispose]: () => stub.restore(),
  });
  Object.defineProperty(target, property, {
    configurable: true,
    enumerable: descriptor?.enumerable ?? false,
    writable: descriptor?.writable ?? false,
    value: stub,
  });
  return stub;
}

/** A spy that returns nothing, one of a function, or one of a method. */
export function spy<
  Self = Any,
  Args extends unknown[] = Any[],
  Return = undefined,
>(): Spy<Self, Args, Return>;
export function spy<Self, Args extends unknown[], Return>(
  func: (this: Self, ...args: Args) => Return,
): Spy<Self, Args, Return>;
export function spy<Self, Prop extends keyof Self>(
  self: Self,
  property: Prop,
): MethodSpy<
  Self,
  GetParametersFromProp<Self, Prop>,
  GetReturnFromProp<Self, Prop>
>;
export function spy(target?: unknown, property?: PropertyKey): Spy {
  if (property !== undefined) return replace(target, property, "spy");
  const original = (target ?? (() => {})) as () => unknown;
  return record(original, {
    original,
    restored: false,
    restore() {
      throw new MockError("Cannot restore: function cannot be restored");
    },
  });
}

/** Replaces a method until the stub is restored. */
export function stub<Self, Prop extends keyof Self>(
  self: Self,
  property: Prop,
  func: (
    this: Self,
    ...args: GetParametersFromProp<Self, Prop>
  ) => GetReturnFromProp<Self, Prop> = (() => {}) as never,
): Stub<
  Self,
  GetParametersFromProp<Self, Prop>,
  GetReturnFromProp<Self, Prop>
> {
  return replace(self, property, "stub", func) as Stub<Self, Any, Any>;
}

/** Asserts how often a spy was called. */
export function assertSpyCalls<Self, Args extends unknown[], Return>(
  spy: Spy<Self, Args, Return>,
  expectedCalls: number,
): void {
  const count = spy.calls.length;
  if (count === expectedCalls) return;
  throw new AssertionError(
    `${
      count < expectedCalls
        ? "Spy not called as much as expected"
        : "Spy called more than expected"
    }: ${count} instead of ${expectedCalls}`,
  );
}

/** What is expected of a call. */
export interface ExpectedSpyCall<
  Self = Any,
  Args extends unknown[] = Any[],
  Return = Any,
> {
  args?: [...Args, ...unknown[]];
  self?: Self;
  returned?: Return;
  error?: { Class?: new (...args: Any[]) => Error; msgIncludes?: string };
}

/** Asserts how a spy was called. */
export function assertSpyCall<Self, Args extends unknown[], Return>(
  spy: Spy<Self, Args, Return>,
  callIndex: number,
  expected: ExpectedSpyCall<Self, Args, Return> = {},
): void {
  const call = spy.calls[callIndex];
  if (call === undefined) {
    throw new AssertionError("Spy not called as much as expected");
  }
  if (expected.args) assertEquals<unknown>(call.args, expected.args);
  if ("self" in expected) assertEquals<unknown>(call.self, expected.self);
  if ("returned" in expected) {
    if (call.error) {
      throw new AssertionError(
        "Spy call did not return expected value, an error was thrown.",
      );
    }
    assertEquals(call.returned, expected.returned);
  }
  if ("error" in expected) {
    const { Class, msgIncludes } = expected.error ?? {};
    assertIsError(call.error, Class, msgIncludes);
  }
}
