/**
 * The sessions that a server remembers, within a limit of bytes.
 *
 * @module
 */

import { isSameSecret } from "../util/hmac.ts";
import { randomId } from "../util/random_id.ts";
import { SESSION_COST, SessionRecord } from "./session_record.ts";

/** The length of a public id, and of the secret that follows it in a token. */
const ID_LENGTH = 32;

/** Whether a text has the form of a token. */
export function isSessionToken(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}

/** The public id that a token begins with. */
export function sessionIdOf(token: string): string {
  return token.slice(0, ID_LENGTH);
}

/** A session of a client. */
export interface RequestSession {
  /** Its public id, which is part of the ids of its requests. */
  readonly id: string;
  /** What the client proves it by: the id and a secret. */
  readonly token: string;
  /** Its requests, on all servers that share it. */
  record: SessionRecord;
  /** How many connections use it. */
  connections: number;
  /** When the last connection ended, in milliseconds of the monotonic clock. */
  lastUsed: number;
}

/** The limits of a {@linkcode SessionMemory}. */
export interface SessionLimits {
  /** How long a session is remembered without a connection, in milliseconds. */
  readonly maxAge: number;
  /** The memory of all sessions, in bytes. */
  readonly maxBytes: number;
}

/**
 * The sessions of a server.
 *
 * Above the limit of bytes, the sessions with the largest answers forget their oldest ones
 * first, so that a client that stores much does not cost others theirs. Then sessions
 * without a connection are forgotten.
 */
export class SessionMemory {
  readonly #limits: SessionLimits;
  /** By public id. */
  readonly #sessions = new Map<string, RequestSession>();
  /** Those without a connection, in the order of their last use. */
  readonly #idle = new Set<RequestSession>();
  #size = 0;

  constructor(limits: SessionLimits) {
    this.#limits = limits;
  }

  /** The approximate memory of all sessions, in bytes. */
  get size(): number {
    return this.#size;
  }

  /** The number of sessions. */
  get count(): number {
    return this.#sessions.size;
  }

  /** Whether nothing more can be remembered. */
  get isFull(): boolean {
    return this.#size > this.#limits.maxBytes;
  }

  /** Creates a session that a connection uses, perhaps one of another server. */
  create(
    now: number,
    token: string = randomId() + randomId(),
    record: SessionRecord = new SessionRecord(),
  ): RequestSession {
    const id = sessionIdOf(token);
    const session = { id, token, record, connections: 1, lastUsed: now };
    this.#removeExpired(now);
    this.#sessions.set(id, session);
    this.#size += record.size;
    this.#shrink();
    return session;
  }

  /** Finds the session that a token proves. */
  find(token: string, now: number): RequestSession | undefined {
    this.#removeExpired(now);
    const session = this.#sessions.get(sessionIdOf(token));
    return session && isSameSecret(session.token, token) ? session : undefined;
  }

  /** A connection uses a session that was found. */
  attach(session: RequestSession): void {
    session.connections++;
    this.#idle.delete(session);
  }

  /** A connection that used a session has ended. */
  detach(session: RequestSession, now: number): void {
    session.connections--;
    session.lastUsed = now;
    if (session.connections === 0) this.#idle.add(session);
  }

  /** Changes the remembered state of a session. */
  update(
    session: RequestSession,
    change: (record: SessionRecord) => void,
  ): void {
    const { record } = session;
    const before = record.size;
    change(record);
    if (this.#sessions.get(session.id) !== session) return; // it was removed
    this.#size += record.size - before;
    this.#shrink();
  }

  /** Replaces what is remembered of a session by what other servers know, too. */
  replace(session: RequestSession, record: SessionRecord): void {
    const before = session.record.size;
    session.record = record;
    if (this.#sessions.get(session.id) !== session) return; // it was removed
    this.#size += record.size - before;
    this.#shrink();
  }

  #removeExpired(now: number): void {
    for (const session of this.#idle) {
      if (now - session.lastUsed < this.#limits.maxAge) return;
      this.#remove(session);
    }
  }

  #remove(session: RequestSession): void {
    this.#idle.delete(session);
    this.#sessions.delete(session.id);
    this.#size -= session.record.size;
  }

  /** Forgets answers, and then sessions, if they take too much memory. */
  #shrink(): void {
    const { maxBytes } = this.#limits;
    if (this.#size <= maxBytes) return;
    const target = maxBytes * 15 / 16;
    const sessions = [...this.#sessions.values()].sort((a, b) =>
      b.record.size - a.record.size
    );
    let largest = sessions[0]?.record.size ?? 0;
    // Each pass halves the largest, so that there are few passes.
    for (; largest > SESSION_COST && this.#size > target; largest /= 2) {
      for (const { record } of sessions) {
        if (this.#size <= target) return;
        const before = record.size;
        record.shrink(largest / 2);
        this.#size += record.size - before;
      }
    }
    for (const session of this.#idle) {
      if (this.#size <= target) return;
      if (!session.record.isBusy) this.#remove(session);
    }
  }
}
