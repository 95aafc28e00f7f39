/**
 * Stores messages in streams of Redis. All keys of a log have one hash tag, so that a
 * cluster keeps them on one shard, whose order is that of the log.
 *
 * @module
 */

import { createHash } from "node:crypto";
import type { Buffer } from "node:buffer";
import type {
  AdapterLog,
  AdapterLogEntry,
  AdapterLogLimits,
} from "../../core/cluster/adapter.ts";
import { toArgument } from "./argument.ts";
import type { RedisArgument } from "./driver.ts";

/**
 * Opens the log: raises the limits to those of this server, as another one may rely on
 * larger ones, and gives the log a new name if messages may be lost:
 *
 * - it has no name, or its index was evicted;
 * - a server knows that messages are lost;
 * - this Redis has a history of replication that continues another one: it is a replica
 *   that was promoted, which may have lagged, or it was loaded from a snapshot.
 *
 * Then offsets start again, and messages that were stored under the earlier name expire.
 */
const OPEN_SCRIPT = `
local known = redis.call('HMGET', KEYS[1], 'name', 'messages', 'age', 'replid')
local name = known[1]
local info = redis.pcall('INFO', 'replication')
local replid, earlier = '', ''
if type(info) == 'string' then
  replid = string.match(info, 'master_replid:(%w+)') or ''
  earlier = string.match(info, 'master_replid2:(%w+)') or ''
end
local isPromoted = known[4] and known[4] ~= '' and replid ~= '' and
  known[4] ~= replid and string.match(earlier, '[^0]')
if not name or name == ARGV[4] or isPromoted or
  not redis.call('ZSCORE', KEYS[2], '') then
  name = ARGV[1]
  redis.call('DEL', KEYS[2])
  redis.call('ZADD', KEYS[2], '+inf', '')
  redis.call('HSET', KEYS[1], 'offset', '0')
end
redis.call('HSET', KEYS[1], 'name', name, 'replid', replid) -- fails without memory
for i, field in ipairs({'messages', 'age'}) do
  if tonumber(ARGV[i + 1]) > tonumber(known[i + 1] or '0') then
    redis.call('HSET', KEYS[1], field, ARGV[i + 1])
  end
end
local policy, maximum = '', '0'
local memory = redis.pcall('INFO', 'memory')
if type(memory) == 'string' then
  policy = string.match(memory, 'maxmemory_policy:([%w-]+)') or ''
  maximum = string.match(memory, 'maxmemory:(%d+)') or '0'
end
return {name, policy, maximum}
`;

/**
 * Fails if messages were lost. The index says until when the stream of a channel exists:
 * a stream that is missing before was evicted.
 */
const CHECK_SCRIPT = `
local log = redis.call('HMGET', KEYS[1], 'name', 'messages', 'age')
if log[1] ~= ARGV[1] then
  return redis.error_reply('EPOCH The stored messages are gone')
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[2]) or '0')
local isEvicted = due > now and redis.call('EXISTS', KEYS[3]) == 0
if isEvicted or not redis.call('ZSCORE', KEYS[2], '') then
  redis.call('HDEL', KEYS[1], 'name')
  return redis.error_reply('EPOCH Redis has evicted stored messages: use maxmemory-policy noeviction')
end
`;

/**
 * Stores a message and publishes it in one step, so that all servers receive messages in
 * the order of the log. The published message begins with its offset and the name of the
 * log, which servers without a history ignore.
 */
const APPEND_SCRIPT = `${CHECK_SCRIPT}
local id = tonumber(ARGV[3])
if id <= tonumber(redis.call('GET', KEYS[4]) or '0') then return end
redis.call('SET', KEYS[4], id, 'PX', log[3])
local offset = redis.call('HINCRBY', KEYS[1], 'offset', 1)
redis.call('XADD', KEYS[3], 'MAXLEN', log[2], offset .. '-0', 'message', ARGV[4])
redis.call('PEXPIRE', KEYS[3], log[3])
redis.call('ZADD', KEYS[2], now + math.floor(0.75 * log[3]), ARGV[2])
if offset % 100 == 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. now)
end
redis.call(ARGV[5], ARGV[6],
  '{"offset":' .. offset .. ',"epoch":"' .. log[1] .. '",' .. string.sub(ARGV[4], 2))
`;

const READ_SCRIPT = `${CHECK_SCRIPT}
return redis.call('XRANGE', KEYS[3], ARGV[3], '+', 'COUNT', ARGV[4])
`;

const APPEND_SHA1 = createHash("sha1").update(APPEND_SCRIPT).digest("hex");

/** Errors after which the log has to be opened again. */
const LOST_PATTERN = /^(?:EPOCH|NOSCRIPT|OOM|MISCONF|READONLY)/;

const OFFSET_PATTERN = /^\{"offset":([0-9]+),"epoch":"([0-9a-z]+)",/;

/** How many bytes {@linkcode OFFSET_PATTERN} can match. */
const MAX_OFFSET_BYTES = 96;

/** Where a log is, and what it reports. */
export interface RedisLogHost {
  /** The prefix of all keys, with a hash tag in a cluster. */
  readonly keyPrefix: string;
  /** The command that publishes. */
  readonly publishCommand: "PUBLISH" | "SPUBLISH";
  /** The name by which a channel is published. */
  channelName(channel: string): string;
  /** Sends a command to the server that has a key. */
  command(key: string, args: readonly RedisArgument[]): Promise<unknown>;
  /** The log has to be opened again. */
  lost(error: Error): void;
  /** Redis may drop messages. */
  warned(error: Error): void;
}

/** The log of one server. */
export class RedisLog implements AdapterLog {
  readonly #host: () => RedisLogHost;
  #name = "";
  /** Other logs whose messages arrive, but are not stored here. */
  readonly #foreign = new Set<string>();
  /** When the first of them was seen. */
  #foreignSince = 0;
  #warnedPolicy = "";

  /** @param host Where it is; throws if Redis is not connected. */
  constructor(host: () => RedisLogHost) {
    this.#host = host;
  }

  async open(limits: AdapterLogLimits, lost = ""): Promise<string> {
    const host = this.#host();
    const { messages, maxAge } = limits;
    const key = `${host.keyPrefix}log`;
    const fresh = crypto.randomUUID().replaceAll("-", "");
    const args = [fresh, `${messages + 1}`, `${Math.ceil(2 * maxAge)}`, lost];
    const reply = await host.command(key, [
      ...["EVAL", OPEN_SCRIPT, "2", key, `${host.keyPrefix}streams`],
      ...args,
    ]);
    const [name = "", policy = "", maximum = ""] = texts(reply);
    this.#name = name;
    await this.#loadScript(host);
    this.#warn(host, policy, Number(maximum));
    return name;
  }

  async append(
    channel: string,
    { from, id }: { readonly from: string; readonly id: number },
    message: Uint8Array<ArrayBuffer>,
  ): Promise<void> {
    const host = this.#host();
    const keys = this.#keys(host, channel);
    const nameKey = `${host.keyPrefix}${this.#name} from ${from} ${channel}`;
    await this.#run(host, () =>
      host.command(keys[0], [
        ...["EVALSHA", APPEND_SHA1, "4", ...keys, nameKey],
        ...[this.#name, channel, `${id}`, toArgument(message)],
        ...[host.publishCommand, host.channelName(channel)],
      ]));
  }

  async invalidate(): Promise<void> {
    const host = this.#host();
    const key = `${host.keyPrefix}log`;
    await host.command(key, ["HDEL", key, "name"]);
  }

  async read(
    channel: string,
    after: number,
    limit: number,
  ): Promise<readonly AdapterLogEntry[]> {
    const host = this.#host();
    const keys = this.#keys(host, channel);
    const reply = await this.#run(host, () =>
      host.command(keys[0], [
        ...["EVAL", READ_SCRIPT, "3", ...keys],
        ...[this.#name, channel, `${after + 1}`, `${limit}`],
      ]));
    return (Array.isArray(reply) ? reply : []).flatMap(toEntry);
  }

  /**
   * The offset of a message.
   *
   * @returns The offset; undefined if the message was not stored, and `"foreign"` if it
   * belongs to another log.
   */
  offsetOf(message: Buffer): number | undefined | "foreign" {
    if (this.#name === "" || message[2] !== 0x6f) return undefined; // {"o
    const start = message.toString("latin1", 0, MAX_OFFSET_BYTES);
    const [, digits, name = ""] = OFFSET_PATTERN.exec(start) ?? [];
    if (digits === undefined) return undefined;
    if (name === this.#name) return Number(digits);
    if (this.#isNewForeign(name)) {
      this.#host().lost(new Error("The log of messages has another name"));
    }
    return "foreign";
  }

  /**
   * Whether the log has to be opened again, as it may have this name now. The number of
   * names is limited, because anyone who can publish can invent new ones.
   */
  #isNewForeign(name: string): boolean {
    const now = performance.now();
    const isFull = this.#foreign.size >= MAX_FOREIGN;
    if (isFull && now - this.#foreignSince >= FOREIGN_MS) this.#foreign.clear();
    if (this.#foreign.has(name) || this.#foreign.size >= MAX_FOREIGN) {
      return false;
    }
    if (this.#foreign.size === 0) this.#foreignSince = now;
    this.#foreign.add(name);
    return true;
  }

  #keys(host: RedisLogHost, channel: string): [string, string, string] {
    const { keyPrefix } = host;
    return [
      `${keyPrefix}log`,
      `${keyPrefix}streams`,
      `${keyPrefix}${this.#name} kept ${channel}`,
    ];
  }

  /** Runs a script. Some errors say that the log has to be opened again. */
  async #run<T>(host: RedisLogHost, action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof Error && LOST_PATTERN.test(error.message))) {
        throw error;
      }
      host.lost(error);
      throw new Error(error.message, { cause: "refused" });
    }
  }

  /**
   * Loads the script that appends, on the server that has the log. Later it must not be
   * sent again because it is missing: it would be overtaken by what is under way.
   */
  async #loadScript(host: RedisLogHost): Promise<void> {
    const keys = this.#keys(host, "");
    const nameKey = `${host.keyPrefix}from`;
    const rest = ["4", ...keys, nameKey, "", "", "0", "", "", ""]; // no log's name
    for (const call of [["EVAL", APPEND_SCRIPT], ["EVALSHA", APPEND_SHA1]]) {
      try {
        await host.command(keys[0], [...call, ...rest]);
      } catch (error) {
        const isRun = error instanceof Error && /^EPOCH/.test(error.message);
        if (!isRun) throw error;
      }
    }
  }

  #warn(host: RedisLogHost, policy: string, maximum: number): void {
    if (policy === this.#warnedPolicy) return;
    this.#warnedPolicy = policy;
    if (policy === "" || policy === "noeviction" || maximum === 0) return;
    host.warned(
      new Error(
        `Redis may evict stored messages, after which no client recovers: maxmemory-policy is ${policy}, use noeviction`,
      ),
    );
  }
}

/** How many names of other logs are remembered, and open the log again. */
const MAX_FOREIGN = 10;

/** After this time they are forgotten if there are too many, in milliseconds. */
const FOREIGN_MS = 10_000;

function texts(reply: unknown): string[] {
  return Array.isArray(reply) ? reply.map(String) : [];
}

/** An entry of a stream: its id, and its fields with their values. */
function toEntry(value: unknown): AdapterLogEntry[] {
  const [id, fields]: unknown[] = Array.isArray(value) ? value : [];
  const message: unknown = Array.isArray(fields) ? fields[1] : undefined;
  return message instanceof Uint8Array
    ? [{ offset: parseInt(String(id)), message }]
    : [];
}
