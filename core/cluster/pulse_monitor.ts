/**
 * Decides whether messages of this server come back through the broker. It sends
 * nothing and has no clock.
 *
 * @module
 */

/** The interval between pulses, in milliseconds. */
const PULSE_INTERVAL_MS = 1_500;

/** The first interval while no pulse has come back, in milliseconds; it doubles. */
const FIRST_INTERVAL_MS = 50;

/**
 * After this time without a pulse that comes back the broker is lost, in milliseconds.
 * With the intervals before and after it, that is noticed within 9 seconds.
 */
export const MAX_SILENCE_MS = 7_500;

/** What to do next: send a pulse, and ask again after a delay. */
export interface NextPulse {
  /** The number of the pulse. */
  readonly number: number;
  /** The delay, in milliseconds. */
  readonly delay: number;
}

/** The pulses of one server. */
export class PulseMonitor {
  #last = 0;
  /** Pulses before this one were sent over an earlier connection. */
  #first = 1;
  /**
   * The delays since a pulse came back. They are added up, as a process that stood still
   * must not take its own silence for that of the broker.
   */
  #waited = 0;
  #delay = FIRST_INTERVAL_MS;

  /** The adapter has connected anew. */
  restart(): void {
    this.#first = this.#last + 1;
    this.#waited = 0;
    this.#delay = FIRST_INTERVAL_MS;
  }

  /**
   * Takes the next pulse.
   *
   * @returns The pulse; undefined if none has come back for too long.
   */
  next(): NextPulse | undefined {
    if (this.#waited >= MAX_SILENCE_MS) return undefined;
    const delay = this.#delay;
    this.#waited += delay;
    this.#delay = Math.min(2 * delay, PULSE_INTERVAL_MS);
    return { number: ++this.#last, delay };
  }

  /**
   * A pulse has come back.
   *
   * @returns Whether it was sent over the present connection.
   */
  returned(number: number): boolean {
    if (!(number >= this.#first && number <= this.#last)) return false;
    this.#waited = 0;
    this.#delay = PULSE_INTERVAL_MS;
    return true;
  }
}
