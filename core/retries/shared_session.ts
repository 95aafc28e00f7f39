/**
 * One session that several servers share through the records of an adapter. Whoever writes
 * first has claimed a request; all others find that out, and do not handle it.
 *
 * @module
 */

import { type Deferred, withResolvers } from "../util/deferred.ts";
import { isSameSecret } from "../util/hmac.ts";
import { withTimeout } from "../util/timer.ts";
import type { AdapterRecords } from "./adapter_records.ts";
import { decodeSession, encodeSession } from "./session_codec.ts";
import { type RequestSession, sessionIdOf } from "./session_memory.ts";
import type { SessionRecord } from "./session_record.ts";

/** The longest time to wait for the broker, in milliseconds. */
const BROKER_TIMEOUT_MS = 5_000;

/** How often a write is tried that other servers are faster than. */
const MAX_CONFLICTS = 32;

/**
 * A change of a record. It may be called several times, each time with a newer record.
 *
 * @param isMissing Whether the broker has no record (any more).
 * @returns Whether the record is to be written.
 */
export type RecordChange = (
  record: SessionRecord,
  isMissing: boolean,
) => boolean;

/** A change that waits to be written. */
interface UnwrittenChange {
  readonly apply: RecordChange;
  readonly done: Deferred<void>;
}

/** One session, as the broker has it. */
export class SharedSession {
  readonly #records: AdapterRecords;
  readonly #session: RequestSession;
  readonly #maxAge: number;
  /** Replaces the record of the session, whose size is counted. */
  readonly #replace: (session: RequestSession, record: SessionRecord) => void;
  #version: string | undefined;
  /** Whether the version may not be that of the broker. */
  #isStale = false;
  #changes: UnwrittenChange[] = [];
  #isWriting = false;
  /** How many writes have succeeded. */
  #writes = 0;

  constructor(
    records: AdapterRecords,
    session: RequestSession,
    maxAge: number,
    replace: (session: RequestSession, record: SessionRecord) => void,
    version?: string,
  ) {
    this.#version = version;
    this.#records = records;
    this.#session = session;
    this.#maxAge = maxAge;
    this.#replace = replace;
  }

  /**
   * Reads the record.
   *
   * @returns A promise of whether there is one. It rejects if the broker does not answer.
   */
  async load(): Promise<boolean> {
    let writes: number;
    let stored: StoredSession | undefined;
    do {
      writes = this.#writes;
      stored = await readSession(this.#records, this.#session.token);
      // What was read before a write of this server is older than what it has.
    } while (writes !== this.#writes);
    this.#isStale = false;
    this.#version = stored?.version;
    if (stored) this.#replace(this.#session, stored.record);
    return stored !== undefined;
  }

  /**
   * Changes the record.
   *
   * @returns A promise that resolves when the change is stored, or need not be. It rejects
   * if that is not known.
   */
  change(apply: RecordChange): Promise<void> {
    const done = withResolvers<void>();
    this.#changes.push({ apply, done });
    if (!this.#isWriting) this.#writeAll();
    return done.promise;
  }

  /** Writes the changes: those that come during a write go together into the next one. */
  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    while (this.#changes.length > 0) {
      const changes = this.#changes.splice(0);
      try {
        await this.#write(changes);
        for (const { done } of changes) done.resolve();
      } catch (error) {
        this.#isStale = true;
        for (const { done } of changes) done.reject(error);
      }
    }
    this.#isWriting = false;
  }

  async #write(changes: readonly UnwrittenChange[]): Promise<void> {
    let isMissing = this.#isStale && !await this.load();
    for (let i = 0; i < MAX_CONFLICTS; i++) {
      const session = this.#session;
      const record = session.record.copy();
      let isChanged = false;
      for (const { apply } of changes) {
        isChanged = apply(record, isMissing) || isChanged;
      }
      if (!isChanged) return;
      const { id, token } = session;
      const value = encodeSession({ token, record });
      const version = await answered(
        this.#records.write(id, value, this.#version, this.#maxAge),
      );
      if (version !== undefined) {
        this.#writes++;
        this.#version = version;
        this.#replace(session, record);
        return;
      }
      isMissing = !await this.load();
    }
    throw new Error("Other servers change the same requests all the time");
  }
}

/** A session, as the broker has it. */
export interface StoredSession {
  readonly record: SessionRecord;
  readonly version: string;
}

/**
 * Reads the session that a token proves.
 *
 * @returns A promise of the session; undefined if there is none. It rejects if the broker
 * does not answer.
 */
export async function readSession(
  records: AdapterRecords,
  token: string,
): Promise<StoredSession | undefined> {
  const found = await answered(records.read(sessionIdOf(token)));
  const stored = found && decodeSession(found.value);
  return stored && isSameSecret(stored.token, token)
    ? { record: stored.record, version: found.version }
    : undefined;
}

/** Waits for the broker. */
async function answered<T>(promise: Promise<T>): Promise<T> {
  const result = await withTimeout(
    BROKER_TIMEOUT_MS,
    promise.then((value) => ({ value })),
  );
  if (result) return result.value;
  throw new Error(
    `The broker has not answered within ${BROKER_TIMEOUT_MS / 1_000} s`,
  );
}
