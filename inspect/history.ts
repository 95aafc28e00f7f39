/**
 * Counts the events of the last minutes in slices of time; pure.
 *
 * @module
 */

/** The length of a slice, in milliseconds. */
export const SLICE_MS = 2_000;

/** The number of slices: five minutes. */
export const SLICE_COUNT = 150;

/** The number of slices that a rate is averaged over: ten seconds. */
const RATE_SLICES = 5;

/**
 * The fields of a slice: the number of connections at its end, and counts of events in
 * it.
 */
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

/** The name of a field. */
export type Field = typeof FIELDS[number];

/** The counts of a slice. */
export type Slice = Record<Field, number>;

/** The fields that are totals, and are read at the end of a slice. */
const TRAFFIC = [
  "messagesReceived",
  "bytesReceived",
  "messagesSent",
  "bytesSent",
] as const;

/** The total traffic of all connections. */
export type Traffic = Record<typeof TRAFFIC[number], number>;

/**
 * The most recent slices. Traffic is read once per slice, so that its cost does not
 * depend on the number of messages.
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
   * @param now The time of a monotonic clock, in milliseconds.
   * @param connections The number of connections.
   * @param read Returns the total traffic.
   */
  constructor(now: number, connections: number, read: () => Traffic) {
    this.#start = now;
    this.#connections = connections;
    this.#readTraffic = read;
    this.#traffic = { ...read() };
  }

  /** The complete slices, oldest first. */
  get slices(): readonly Slice[] {
    return this.#slices;
  }

  /** The recent rates per second, and the current number of connections. */
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
   * Completes the slices that are over.
   *
   * @returns The time until the next slice, in milliseconds.
   */
  advance(now: number): number {
    const number = Math.floor((now - this.#start) / SLICE_MS);
    if (number > this.#sliceNumber) {
      this.settle();
      const connections = this.#connections;
      // No more than fit.
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

  /** Counts an event. */
  count(field: "connects" | "ends" | "refusals", now: number): void {
    this.advance(now);
    this.#current[field]++;
    if (field === "connects") this.#connections++;
    if (field === "ends") this.#connections--;
  }

  /** Adds the traffic since the last reading to the current slice. */
  settle(): void {
    const traffic = this.#readTraffic();
    for (const field of TRAFFIC) {
      // While a connection ends, its traffic may be in neither total.
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
