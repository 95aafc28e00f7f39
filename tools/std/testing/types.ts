// What the tests use of `jsr:@std/testing/types`, for machines that cannot
// reach JSR.

/** Does not compile unless the type argument is that of the argument. */
export function assertType<T extends boolean>(_expectTrue: T): void {}

/** Does not compile unless the type argument is `true`. */
export type AssertTrue<T extends true> = [T] extends [true] ? never : never;

/** Does not compile unless the type argument is `false`. */
export type AssertFalse<T extends false> = [T] extends [false] ? never : never;

/** Whether a type is `any`. */
export type IsAny<T> = 0 extends (1 & T) ? true : false;

/** Whether a type is `never`. */
export type IsNever<T> = [T] extends [never] ? true : false;

/** Whether a type is `unknown`. */
export type IsUnknown<T> = unknown extends T
  ? ([T] extends [null] ? false : true)
  : false;

/** Whether two types are the same, `any` being like nothing but itself. */
export type IsExact<T, U> = Same<Flat<T>, Flat<U>>;

// The compiler holds two conditional types for alike only when what they extend
// is identical.
type Same<T, U> = (<X>(_: T) => X extends T ? 1 : 2) extends
  (<X>(_: U) => X extends U ? 1 : 2)
  ? (<X>(_: U) => X extends U ? 1 : 2) extends
    (<X>(_: T) => X extends T ? 1 : 2) ? true
  : false
  : false;

type Flat<T> = IsAny<T> extends true ? T
  : T extends Record<PropertyKey, unknown> ? { [Key in keyof T]: Flat<T[Key]> }
  : T;
