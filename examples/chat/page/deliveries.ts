/**
 * What has become of the messages that this page has sent. The library says when
 * one has been handed to a connection; only its echo says that it has arrived.
 * What was handed over and has no echo, although the page is back, is perhaps
 * lost: nobody can tell whether the message was lost, or the echo.
 *
 * @module
 */

/**
 * - `waiting`: for a connection; the library sends it then.
 * - `sending`: on its way to the server and back.
 * - `doubtful`: perhaps lost.
 * - `failed`: not sent, and it will not be.
 * - `sent`: the server has broadcast it.
 */
export type Delivery = "waiting" | "sending" | "doubtful" | "failed" | "sent";

interface Entry {
  delivery: Delivery;
  /** The number of the connection that it was handed to, if it was. */
  handedTo: number | undefined;
}

/** The messages that have no echo yet. */
export class Deliveries {
  readonly #entries = new Map<string, Entry>();
  readonly #onChange: (id: string, delivery: Delivery) => void;
  #phase: "connected" | "away" | "over" = "away";
  #connections = 0;

  /** Calls back whenever a message fares differently. */
  constructor(onChange: (id: string, delivery: Delivery) => void) {
    this.#onChange = onChange;
  }

  /** How many messages wait for a connection, or for their echo. */
  get open(): number {
    return [...this.#entries.values()].filter(({ delivery }) =>
      delivery === "waiting" || delivery === "sending"
    ).length;
  }

  /** A message is given to the library, for the first time or once more. */
  begin(id: string): void {
    const entry: Entry = { delivery: "failed", handedTo: undefined };
    this.#entries.set(id, entry);
    const isConnected = this.#phase === "connected";
    this.#change(id, entry, isConnected ? "sending" : "waiting");
  }

  /** The library has handed a message to a connection. */
  handOver(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    entry.handedTo = this.#connections;
    this.#change(id, entry, this.#phase === "over" ? "doubtful" : "sending");
  }

  /** The library has not sent a message, and will not. */
  fail(id: string): void {
    const entry = this.#entries.get(id);
    if (entry !== undefined) this.#change(id, entry, "failed");
  }

  /** The server says that everybody has the message; false if it is no open one. */
  confirm(id: string): boolean {
    const entry = this.#entries.get(id);
    if (entry === undefined) return false;
    this.#entries.delete(id);
    this.#change(id, entry, "sent");
    return true;
  }

  /** There is a connection. */
  connect(): void {
    this.#phase = "connected";
    this.#connections++;
  }

  /**
   * The server has told what was said meanwhile: what an earlier connection took
   * and is not among it may be lost. Returns the ids of that.
   */
  welcome(): string[] {
    const doubtful: string[] = [];
    for (const [id, entry] of this.#entries) {
      const { delivery, handedTo = Infinity } = entry;
      if (delivery === "sending" && handedTo < this.#connections) {
        this.#change(id, entry, "doubtful");
        doubtful.push(id);
      }
    }
    return doubtful;
  }

  /** The connection has ended, and another may follow. */
  lose(): void {
    this.#phase = "away";
    for (const [id, entry] of this.#entries) {
      const { delivery, handedTo } = entry;
      if (delivery === "sending" && handedTo === undefined) {
        this.#change(id, entry, "waiting");
      }
    }
  }

  /** No other connection follows, unless the user asks for one. */
  end(): void {
    this.#phase = "over";
    for (const [id, entry] of this.#entries) {
      const { delivery, handedTo } = entry;
      if (delivery === "sending" && handedTo !== undefined) {
        this.#change(id, entry, "doubtful");
      }
    }
  }

  /** The user wants a connection again. */
  retry(): void {
    this.#phase = "away";
  }

  #change(id: string, entry: Entry, delivery: Delivery): void {
    if (entry.delivery === delivery) return;
    entry.delivery = delivery;
    this.#onChange(id, delivery);
  }
}
