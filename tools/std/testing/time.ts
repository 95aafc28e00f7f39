// What the tests use of `jsr:@std/testing/time`, for machines that cannot
// reach JSR.

const real = {
  Date: globalThis.Date,
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  setInterval: globalThis.setInterval,
  clearInterval: globalThis.clearInterval,
  timeout: AbortSignal.timeout,
};

interface Timer {
  readonly call: () => void;
  readonly due: number;
  /** Milliseconds between two calls of an interval. */
  readonly every: number | undefined;
}

/** The fake time in force. */
let current: FakeTime | undefined;

/** The timers of {@linkcode current} by id; of those due at once, in order. */
let timers = new Map<number, Timer>();
let lastId = 0;
let now = 0;

/** What fake time cannot do in the state that it is in. */
export class TimeError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "TimeError";
  }
}

function assertFaked(): void {
  if (current === undefined) {
    throw new TimeError("Cannot use a fake timer: time is not faked");
  }
}

type Callback = (...args: unknown[]) => unknown;

function start(
  name: string,
  repeat: boolean,
): (callback: Callback, delay?: number, ...args: unknown[]) => number {
  return (callback, delay = 0, ...args) => {
    if (typeof callback !== "function") {
      throw new TimeError(
        `FakeTime does not support non-function callbacks to ${name}`,
      );
    }
    assertFaked();
    const milliseconds = Math.max(repeat ? 1 : 0, Math.floor(delay));
    timers.set(++lastId, {
      call: () => void callback.apply(null, args),
      due: now + milliseconds,
      every: repeat ? milliseconds : undefined,
    });
    return lastId;
  };
}

function stop(id?: unknown): void {
  assertFaked();
  if (typeof id === "number") timers.delete(id);
}

const fakeSetTimeout = start("setTimeout", false);

const fake = {
  Date: new Proxy(real.Date, {
    apply: () => new real.Date(now).toString(),
    construct: (target, args) =>
      Reflect.construct(target, args.length === 0 ? [now] : args),
    get: (target, key, receiver) =>
      key === "now" ? () => now : Reflect.get(target, key, receiver),
  }),
  setTimeout: fakeSetTimeout as unknown as typeof real.setTimeout,
  clearTimeout: stop as typeof real.clearTimeout,
  setInterval: start("setInterval", true) as unknown as typeof real.setInterval,
  clearInterval: stop as typeof real.clearInterval,
  timeout(milliseconds: number): AbortSignal {
    const controller = new AbortController();
    fakeSetTimeout(() => {
      controller.abort(new DOMException("Signal timed out.", "TimeoutError"));
    }, milliseconds);
    return controller.signal;
  },
};

function install({ timeout, ...globals }: typeof real): void {
  Object.assign(globalThis, globals);
  AbortSignal.timeout = timeout;
}

/** The timer that is due first. */
function first(): [id: number, timer: Timer] | undefined {
  let found: [number, Timer] | undefined;
  for (const entry of timers) {
    if (found === undefined || entry[1].due < found[1].due) found = entry;
  }
  return found;
}

/** Time that stands still until it is told to go on. */
export class FakeTime {
  readonly start: number;

  constructor(start?: number | string | Date | null) {
    if (current !== undefined) {
      throw new TimeError("Cannot construct FakeTime: time is already faked");
    }
    this.start = typeof start === "number"
      ? Math.floor(start)
      : new real.Date(start ?? real.Date.now()).getTime();
    if (Number.isNaN(this.start)) {
      throw new TypeError("Cannot construct FakeTime: invalid start time NaN");
    }
    now = this.start;
    timers = new Map();
    lastId = 0;
    current = this;
    install(fake);
  }

  /** Restores real time. */
  static restore(): void {
    if (current === undefined) {
      throw new TimeError("Cannot restore time: time is already restored");
    }
    current.restore();
  }

  get now(): number {
    return now;
  }

  /** Calls what is due until then, in order. */
  set now(value: number) {
    if (value < now) {
      throw new RangeError(
        `Cannot set current time in the past, time must be >= ${now}: received ${value}`,
      );
    }
    for (let next = first(); next && next[1].due <= value; next = first()) {
      const [id, timer] = next;
      now = timer.due;
      timers.delete(id);
      if (timer.every !== undefined) {
        timers.set(id, { ...timer, due: now + timer.every });
      }
      timer.call();
    }
    now = value;
  }

  /** Waits in real time. */
  delay(ms: number, options: { signal?: AbortSignal } = {}): Promise<void> {
    const { signal } = options;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const abort = () => {
      real.clearTimeout.call(globalThis, timer);
      reject(new DOMException("Delay was aborted.", "AbortError"));
    };
    const timer = real.setTimeout.call(globalThis, () => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, ms);
    if (signal?.aborted) abort();
    else signal?.addEventListener("abort", abort, { once: true });
    return promise;
  }

  /** Runs all pending microtasks. */
  async runMicrotasks(): Promise<void> {
    await this.delay(0);
  }

  /** Goes on by so many milliseconds. */
  tick(ms = 0): void {
    this.now += ms;
  }

  /** Runs all pending microtasks, then goes on. */
  async tickAsync(ms = 0): Promise<void> {
    await this.runMicrotasks();
    this.now += ms;
  }

  /** Goes on to the timer that is due next; tells whether there was one. */
  next(): boolean {
    const next = first();
    if (next === undefined) return false;
    this.now = next[1].due;
    return true;
  }

  /** Runs all pending microtasks, then goes on to the next timer. */
  async nextAsync(): Promise<boolean> {
    await this.runMicrotasks();
    return this.next();
  }

  /** Goes on until no timer is left. */
  runAll(): void {
    while (this.next());
  }

  /** Goes on until no timer is left, running microtasks before each. */
  async runAllAsync(): Promise<void> {
    while (timers.size > 0) await this.nextAsync();
  }

  /** Restores real time. */
  restore(): void {
    if (current === undefined) {
      throw new TimeError("Cannot restore time: time is already restored");
    }
    current = undefined;
    install(real);
  }

  [Symbol.dispose](): void {
    this.restore();
  }
}
