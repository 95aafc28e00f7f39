/**
 * An adapter in memory for several servers: it passes messages on at once, and its records
 * take their time, get lost, or are stored without an answer, as chance has it.
 */

import type {
  Adapter,
  AdapterHost,
  AdapterRecord,
  AdapterRecords,
} from "../../adapter.ts";
import type { SeededRandom } from "./seeded_random.ts";

interface StoredRecord extends AdapterRecord {
  readonly expiresAt: number;
}

export class FakeFleet {
  readonly #hosts = new Map<AdapterHost, Set<string>>();
  readonly #records = new Map<string, StoredRecord>();
  #lastVersion = 0;
  /** How many operations on records were carried out. */
  operations = 0;
  /** The chance that an operation fails, before or after it was carried out. */
  failures = 0;
  /** The longest time that an operation takes, in milliseconds. */
  latency = 0;

  constructor(readonly seeded: SeededRandom) {}

  /** How many records there are. */
  get size(): number {
    return this.#records.size;
  }

  /** Forgets all records. */
  clear(): void {
    this.#records.clear();
  }

  /** Makes the adapter of one more server; `kill` ends it without a word. */
  link(): Adapter & { kill(): void } {
    const channels = new Set<string>();
    let own: AdapterHost | undefined;
    let isDead = false;
    const run = async <T>(action: () => T): Promise<T> => {
      const { seeded, latency, failures } = this;
      if (isDead) return await new Promise<T>(() => {});
      const [before, after] = [seeded.next(), seeded.next()];
      if (latency > 0) await pause(seeded.integer(latency));
      if (before < failures) throw new Error("The broker is lost");
      this.operations++;
      const result = action();
      if (latency > 0) await pause(seeded.integer(latency));
      if (isDead) return await new Promise<T>(() => {});
      if (after < failures) throw new Error("The answer is lost");
      return result;
    };
    const records: AdapterRecords = {
      read: (key) => run(() => this.#find(key)),
      write: (key, value, version, maxAge) =>
        run(() => {
          if (this.#find(key)?.version !== version) return undefined;
          const next = `${++this.#lastVersion}`;
          this.#records.set(key, {
            value: value.slice(),
            version: next,
            expiresAt: Date.now() + maxAge,
          });
          return next;
        }),
    };
    return {
      records,
      open: (host) => {
        this.#hosts.set(own = host, channels);
        host.changed("up");
      },
      publish: (channel, message) => {
        if (isDead) return;
        for (const [host, subscribed] of this.#hosts) {
          if (host !== own && subscribed.has(channel)) {
            host.received(channel, message.slice());
          }
        }
      },
      subscribe: (channel) => void channels.add(channel),
      unsubscribe: (channel) => void channels.delete(channel),
      close: () => {
        if (own) this.#hosts.delete(own);
        return Promise.resolve();
      },
      kill: () => {
        isDead = true;
        if (own) this.#hosts.delete(own);
      },
    };
  }

  #find(key: string): StoredRecord | undefined {
    const found = this.#records.get(key);
    return found && found.expiresAt > Date.now() ? found : undefined;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
