/**
 * What has happened in the last minutes, slice by slice; pure.
 *
 * @module
 */

/** How long a slice is, in milliseconds. */
export const SLICE = 2_000;

/** How many slices are kept: five minutes. */
export const SLICES = 150;

/** Over how many slices a rate is taken: ten seconds. */
const RECENT = 5;

/** What a slice says of itself: what there was at its end, and what happened in it. */
export const FIELDS = [
  "connections",
  "connects",
  "ends",
  "refusals",
  "messagesReceived",
  "bytesReceived",
  "messagesSent",
  "bytesSent",
] as const;

/** A field of a slice. */
export type Field = typeof FIELDS[number];

/** What happened in a slice. */
export type Slice = Record<Field, number>;

/** What only grows, and is looked at from time to time. */
const TRAFFIC = [
  "messagesReceived",
  "bytesReceived",
  "messagesSent",
  "bytesSent",
] as const;

/** What all connections have carried so far. */
export type Traffic = Record<typeof TRAFFIC[number], number>;

/**
 * The last slices of time. What a slice has carried is read when it is over, so that
 * the cost is that of one reading a slice, however much there is to be counted.
 */
export class History {
  readonly #read: () => Traffic;
  readonly #start: number;
  readonly #slices: Slice[] = [];
  #number = 0;
  #current = empty();
  #connections: number;
  readonly #traffic: Traffic;

  /**
   * Begins with nothing.
   *
   * @param now The time, in milliseconds of a clock that only goes forward.
   * @param connections How many connections there are.
   * @param read Tells what all of them have carried so far.
   */
  constructor(now: number, connections: number, read: () => Traffic) {
    this.#start = now;
    this.#connections = connections;
    this.#read = read;
    this.#traffic = { ...read() };
  }

  /** The slices that are over, the oldest first. */
  get slices(): readonly Slice[] {
    return this.#slices;
  }

  /** How often each thing happened in a second, of late; and how many there are. */
  get rates(): Slice {
    const rates = empty();
    const recent = this.#slices.slice(-RECENT);
    for (const slice of recent) {
      for (const field of FIELDS) {
        rates[field] += slice[field] / (recent.length * SLICE / 1_000);
      }
    }
    rates.connections = this.#connections;
    return rates;
  }

  /**
   * Closes the slices that are over.
   *
   * @param now The time.
   * @returns In how many milliseconds the next one is.
   */
  advance(now: number): number {
    const number = Math.floor((now - this.#start) / SLICE);
    if (number > this.#number) {
      this.settle();
      const connections = this.#connections;
      // More than are kept need not be made.
      const count = Math.min(number - this.#number, SLICES + 1);
      for (let i = 0; i < count; i++) {
        this.#slices.push({ ...this.#current, connections });
        this.#current = empty();
      }
      this.#slices.splice(0, this.#slices.length - SLICES);
      this.#number = number;
    }
    return this.#start + (this.#number + 1) * SLICE - now;
  }

  /**
   * Counts something that has happened.
   *
   * @param field What.
   * @param now The time.
   */
  count(field: "connects" | "ends" | "refusals", now: number): void {
    this.advance(now);
    this.#current[field]++;
    if (field === "connects") this.#connections++;
    if (field === "ends") this.#connections--;
  }

  /** Reads what has been carried since it was last read. */
  settle(): void {
    const traffic = this.#read();
    for (const field of TRAFFIC) {
      // Amid the end of a connection, what it carried may be in neither sum.
      const more = Math.max(0, traffic[field] - this.#traffic[field]);
      this.#current[field] += more;
      this.#traffic[field] += more;
    }
  }
}

function empty(): Slice {
  return {
    connections: 0,
    connects: 0,
    ends: 0,
    refusals: 0,
    messagesReceived: 0,
    bytesReceived: 0,
    messagesSent: 0,
    bytesSent: 0,
  };
}
