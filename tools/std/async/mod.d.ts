// The types of `jsr:@std/async`, as far as the tests need them.

export interface DeadlineOptions {
  signal?: AbortSignal;
}

export interface DelayOptions {
  signal?: AbortSignal;
  persistent?: boolean;
}

export declare function abortable<T>(
  p: Promise<T>,
  signal: AbortSignal,
): Promise<T>;
export declare function abortable<T>(
  p: AsyncIterable<T>,
  signal: AbortSignal,
): AsyncGenerator<T>;

export declare function deadline<T>(
  p: Promise<T>,
  ms: number,
  options?: DeadlineOptions,
): Promise<T>;

export declare function delay(
  ms: number,
  options?: DelayOptions,
): Promise<void>;
