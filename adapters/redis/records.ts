/**
 * Stores the records that servers share in hashes of Redis.
 *
 * @module
 */

import type {
  AdapterRecord,
  AdapterRecords,
} from "../../core/cluster/adapter.ts";
import { toArgument } from "./argument.ts";
import type { RedisArgument } from "./driver.ts";

/** Replaces a record, unless it has another version. */
const WRITE_SCRIPT = `
local version = redis.call('HGET', KEYS[1], 'version') or ''
if version ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'value', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
`;

/** Where records are. */
export interface RedisRecordsHost {
  /** The prefix of all keys. */
  readonly keyPrefix: string;
  /** Sends a command to the server that has a key. */
  command(key: string, args: readonly RedisArgument[]): Promise<unknown>;
}

/** The records of one server. */
export class RedisRecords implements AdapterRecords {
  readonly #host: () => RedisRecordsHost;

  /** @param host Where they are; throws if Redis is not connected. */
  constructor(host: () => RedisRecordsHost) {
    this.#host = host;
  }

  async read(key: string): Promise<AdapterRecord | undefined> {
    const reply = await this.#run(key, (name) => [
      "HMGET",
      name,
      "version",
      "value",
    ]);
    const [version, value]: unknown[] = Array.isArray(reply) ? reply : [];
    return version instanceof Uint8Array && value instanceof Uint8Array
      ? { version: String(version), value }
      : undefined;
  }

  async write(
    key: string,
    value: Uint8Array<ArrayBuffer>,
    version: string | undefined,
    maxAge: number,
  ): Promise<string | undefined> {
    const next = crypto.randomUUID();
    const isWritten = await this.#run(key, (name) => [
      ...["EVAL", WRITE_SCRIPT, "1", name],
      ...[version ?? "", next, toArgument(value), `${Math.ceil(maxAge)}`],
    ]);
    return Number(isWritten) === 1 ? next : undefined;
  }

  /** Sends a command about a record. A user may not be allowed to. */
  async #run(
    key: string,
    toCommand: (name: string) => readonly RedisArgument[],
  ): Promise<unknown> {
    const host = this.#host();
    const name = `${host.keyPrefix}requests ${key}`;
    try {
      return await host.command(name, toCommand(name));
    } catch (error) {
      const { message } = error instanceof Error ? error : new Error("");
      if (!/^(?:NOPERM|ERR unknown command)/.test(message)) throw error;
      throw new Error(
        `Cannot store requests in Redis, so that each server remembers its own: ${message}`,
        { cause: "unsupported" },
      );
    }
  }
}
