/**
 * What has happened in the last minutes, slice by slice; pure.
 *
 * @module
 */

/** How long a slice is, in milliseconds. */
export const SLICE_MS = 2_000;

/** How many slices are kept: five minutes. */
export const SLICE_COUNT = 150;

/** Over how many slices a rate is taken: ten seconds. */
const RATE_SLICES = 5;

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
export class TrafficHistory {
  readonly #readTraffic: () => Traffic;
  readonly #start: number;
  readonly #slices: Slice[] = [];
  #sliceNumber = 0;
  #current = emptySlice();
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
    this.#readTraffic = read;
    this.#traffic = { ...read() };
  }

  /** The slices that are over, the oldest first. */
  get slices(): readonly Slice[] {
    return this.#slices;
  }

  /** How often each thing happened in a second, of late; and how many there are. */
  get rates(): Slice {
    const rates = emptySlice();
    const recent = this.#slices.slice(-RATE_SLICES);
    for (const slice of recent) {
      for (const field of FIELDS) {
        rates[field] += slice[field] / (recent.length * SLICE_MS / 1_000);
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
    const number = Math.floor((now - this.#start) / SLICE_MS);
    if (number > this.#sliceNumber) {
      this.settle();
      const connections = this.#connections;
      // More than are kept need not be made.
      const count = Math.min(number - this.#sliceNumber, SLICE_COUNT + 1);
      for (let i = 0; i < count; i++) {
        this.#slices.push({ ...this.#current, connections });
        this.#current = emptySlice();
      }
      this.#slices.splice(0, this.#slices.length - SLICE_COUNT);
      this.#sliceNumber = number;
    }
    return this.#start + (this.#sliceNumber + 1) * SLICE_MS - now;
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
    const traffic = this.#readTraffic();
    for (const field of TRAFFIC) {
      // Amid the end of a connection, what it carried may be in neither sum.
      const more = Math.max(0, traffic[field] - this.#traffic[field]);
      this.#current[field] += more;
      this.#traffic[field] += more;
    }
  }
}

function emptySlice(): Slice {
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
