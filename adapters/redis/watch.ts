/**
 * Notices what a client of Redis does not tell: that a server has become a replica, that
 * slots of a cluster have moved, and that a shard brings no messages.
 *
 * @module
 */

import { withTimeout } from "../../core/util/timer.ts";
import type { DriverHost, RedisDriver } from "./driver.ts";
import { hashSlot } from "./slots.ts";

/** The interval between looks, in milliseconds. */
const WATCH_INTERVAL_MS = 2_000;

/** How many probes of a shard may be missing. */
const MAX_MISSING_PROBES = 3;

/** Monitors one connection while it is open. */
export class RedisWatch {
  readonly #driver: RedisDriver;
  readonly #prefix: string;
  readonly #host: Pick<DriverHost, "lost">;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isStopped = false;
  /** Which master has which slots. */
  #slots: string | undefined;
  /** The probes of shards that have not come back, by the channel of each. */
  readonly #missing = new Map<string, number>();

  /** @param prefix The prefix of the channels of probes. */
  constructor(
    driver: RedisDriver,
    prefix: string,
    host: Pick<DriverHost, "lost">,
  ) {
    this.#driver = driver;
    this.#prefix = prefix;
    this.#host = host;
  }

  /** Looks for the first time. It rejects if that cannot be a connection to use. */
  async start(): Promise<void> {
    const fault = await this.#look();
    if (fault) throw fault;
    this.#schedule();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  /**
   * A message has arrived.
   *
   * @returns Whether it was a probe.
   */
  received(channel: string): boolean {
    if (!this.#missing.has(channel)) return false;
    this.#missing.set(channel, 0);
    return true;
  }

  #schedule(): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(async () => {
      const fault = this.#missingShard() ?? await this.#look();
      if (this.#isStopped) return;
      if (fault) this.#host.lost(fault);
      else this.#schedule();
    }, WATCH_INTERVAL_MS);
  }

  #missingShard(): Error | undefined {
    for (const [channel, count] of this.#missing) {
      if (count < MAX_MISSING_PROBES) continue;
      return new Error(
        `No message has come back through a shard of Redis for ${
          MAX_MISSING_PROBES * WATCH_INTERVAL_MS / 1_000
        } s: ${channel}`,
      );
    }
    return undefined;
  }

  /** Returns the problem, if any. */
  #look(): Promise<Error | undefined> {
    return this.#driver.isCluster ? this.#lookAtSlots() : this.#lookAtRole();
  }

  async #lookAtRole(): Promise<Error | undefined> {
    let info: unknown;
    try {
      info = await this.#driver.command(undefined, ["INFO", "replication"]);
    } catch {
      return undefined; // it may be forbidden; the pulses tell if Redis is gone
    }
    return /^role:slave/m.test(String(info))
      ? new Error("READONLY This Redis is a replica: connect to its master")
      : undefined;
  }

  async #lookAtSlots(): Promise<Error | undefined> {
    const isFirst = this.#slots === undefined;
    const ranges = await this.#readSlots();
    if (isFirst && !ranges) return new Error("Redis tells no slots");
    const slots = ranges && JSON.stringify(ranges);
    this.#slots ??= slots;
    if (slots !== undefined && slots !== this.#slots) {
      return new Error("The slots of the Redis Cluster have moved");
    }
    if (isFirst && ranges) {
      const masters = new Map(ranges.map(([first, , id]) => [id, first]));
      await Promise.all(
        [...masters.values()].map((slot) => this.#probe(slot)),
      );
    }
    for (const [channel, count] of this.#missing) {
      this.#missing.set(channel, count + 1);
      this.#driver.command(channel, ["SPUBLISH", channel, "{}"]).catch(
        () => {}, // it is missing then
      );
    }
    return undefined;
  }

  /** The slots; undefined if the server that was asked does not tell them in time. */
  async #readSlots(): Promise<SlotRange[] | undefined> {
    const answer = this.#driver.command(undefined, ["CLUSTER", "SLOTS"]);
    const reply = await withTimeout(
      WATCH_INTERVAL_MS,
      answer.catch(() => undefined),
    );
    return Array.isArray(reply) ? toRanges(reply) : undefined;
  }

  /** Subscribes to a channel in the slot, by which its master is probed. */
  async #probe(slot: number): Promise<void> {
    const channel = channelInSlot(this.#prefix, slot);
    this.#missing.set(channel, 0);
    await this.#driver.subscribe(channel);
  }
}

/** Some slots: the first, the last, and their master. */
type SlotRange = readonly [first: number, last: number, master: string];

function toRanges(reply: readonly unknown[]): SlotRange[] {
  return reply.flatMap((range): SlotRange[] => {
    if (!Array.isArray(range)) return [];
    const [first, last, master]: unknown[] = range;
    const [host, port, id]: unknown[] = Array.isArray(master) ? master : [];
    return [[Number(first), Number(last), String(id ?? `${host}:${port}`)]];
  }).sort(([a], [b]) => a - b);
}

/** A channel of this server that belongs to a slot. */
function channelInSlot(prefix: string, slot: number): string {
  for (let i = 0;; i++) {
    const tag = i.toString(36);
    if (hashSlot(tag) === slot) return `${prefix}{${tag}}`;
  }
}
