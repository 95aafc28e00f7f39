/**
 * The requests of a server's clients that are sent again after a loss: each is handled
 * once, and a repetition gets the remembered answer.
 *
 * @module
 */

import { type Connection, coreOf } from "../connection/connection.ts";
import { ignoreRejection, RESOLVED } from "../events/errors.ts";
import {
  type Payload,
  payloadOf,
  type RequestFailure,
} from "../protocol/frames.ts";
import {
  decodeRetryFrame,
  encodeOpened,
  type SessionOpening,
} from "../protocol/retry_frames.ts";
import { IncomingRequest } from "../requests/incoming_request.ts";
import { memoryOf } from "../values/codec.ts";
import type { SocketTypes } from "../values/types.ts";
import { addBounded } from "../util/bounded_set.ts";
import { type Deferred, withResolvers } from "../util/deferred.ts";
import { startTimer, withTimeout } from "../util/timer.ts";
import type { AdapterRecords } from "./adapter_records.ts";
import type { RetryOptions } from "./retry_options.ts";
import { RETRY_LATER, UNCERTAIN, UNSUPPORTED } from "./retry_codes.ts";
import {
  isSessionToken,
  type RequestSession,
  SessionMemory,
} from "./session_memory.ts";
import { digestOf, type Finding, type Outcome } from "./session_record.ts";
import {
  readSession,
  type RecordChange,
  SharedSession,
  type StoredSession,
} from "./shared_session.ts";

/** The largest part of the memory that one answer may take. */
const MAX_ANSWER_PART = 1 / 4;

/** How often the answer of another server is looked for, in milliseconds. */
const POLL_MS = 500;

/** How many claims are remembered whose fate is not known. */
const MAX_UNHANDLED = 10_000;

const REFUSED_UNSUPPORTED: RequestFailure = {
  message: "This server remembers no requests",
  code: UNSUPPORTED,
};

const REFUSED_LATER: RequestFailure = {
  message: "The server cannot remember the request now, and has not handled it",
  code: RETRY_LATER,
};

const REFUSED_UNCERTAIN: RequestFailure = {
  message:
    "It is not known whether the request was handled: the server does not remember it",
  code: UNCERTAIN,
};

const REFUSED_REUSED: RequestFailure = {
  message: "The number of the request was used for another one",
  code: "reused",
};

const REFUSED_CLOSED: RequestFailure = {
  message: "The connection has no session for requests that are sent again",
  code: "invalid",
};

/** A request that came, or came again. */
interface Asked<Types extends SocketTypes> {
  readonly client: Connection<Types>;
  /** Its id on the connection. */
  readonly id: number;
  readonly number: number;
  readonly payload: Payload;
  readonly trace: string | undefined;
}

/** A request that is being handled, or is about to be. */
interface RunningRequest<Types extends SocketTypes> {
  /** Where the answer goes: to the connection on which it came last. */
  asked: Asked<Types>;
  /** The answer, while the broker does not have it yet. */
  outcome: Outcome | undefined;
  /** Resolves when the answer is remembered. */
  readonly done: Deferred<void>;
}

/** A session, and its client's view of it. */
interface OpenSession {
  readonly session: RequestSession;
  /** Requests with larger numbers are sent for the first time on the connection. */
  readonly last: number;
}

/** The server to which {@linkcode RequestRetries} belongs. */
export interface RetriesHost {
  /** Its name, by which other servers know it. */
  readonly name: string;
  /** Whether another server is known to be lost. */
  isLost(server: string): boolean;
  /** Reports an error of the adapter. */
  failed(error: unknown): void;
}

/** Handles the requests that the clients of a server send again. */
export class RequestRetries<Types extends SocketTypes> {
  readonly #host: RetriesHost;
  readonly #memory: SessionMemory | undefined;
  readonly #maxAge: number;
  readonly #maxAnswer: number;
  /** What the servers share; undefined if they share nothing. */
  #records: AdapterRecords | undefined;
  readonly #open = new WeakMap<Connection<Types>, OpenSession>();
  /** What the broker has of sessions. */
  readonly #shared = new WeakMap<RequestSession, SharedSession>();
  /** By the ids of the requests. */
  readonly #running = new Map<string, RunningRequest<Types>>();
  /** Requests that this server may have claimed, and has not handled. */
  readonly #unhandled = new Set<string>();
  /** Whether the last error of the broker was reported. */
  #isBrokerFailing = false;
  #isClosed = false;
  /** Ends the waits of this server. */
  readonly #sleeping = new Set<() => void>();

  /**
   * @param options What to remember; undefined for nothing.
   * @param records What the servers share, if the adapter can store it.
   */
  constructor(
    options: Required<RetryOptions> | undefined,
    host: RetriesHost,
    records: AdapterRecords | undefined,
  ) {
    this.#host = host;
    this.#memory = options && new SessionMemory(options);
    this.#maxAge = options?.maxAge ?? 0;
    this.#maxAnswer = (options?.maxBytes ?? 0) * MAX_ANSWER_PART;
    this.#records = records;
  }

  /** Takes a frame of a client. */
  receive(client: Connection<Types>, payload: Payload): void {
    const { dispatcher, receiver } = coreOf(client);
    const frame = decodeRetryFrame(payload);
    if (frame === undefined) {
      return receiver.protocolError(
        "A frame of a request that may be sent again is malformed",
      );
    }
    if (frame.kind === "open") {
      const { id, opening } = frame;
      return dispatcher.acceptTask(
        () => this.#openSession(client, id, opening),
        payload,
      );
    }
    const { id, number, settled } = frame;
    const trace = receiver.session?.takeTrace(id);
    const asked = { client, id, number, payload: frame.payload, trace };
    dispatcher.acceptTask(
      (pending = []) => this.#ask(asked, settled, pending),
      payload,
    );
  }

  /** A connection has ended. */
  clientEnded(client: Connection<Types>): void {
    const open = this.#open.get(client);
    if (!open) return;
    this.#open.delete(client);
    this.#memory?.detach(open.session, performance.now());
  }

  /** Waits until the requests that are being handled have an answer. */
  async settle(timeout: number): Promise<void> {
    if (this.#running.size === 0) return;
    const all = Array.from(this.#running.values(), ({ done }) => done.promise);
    await withTimeout(timeout, Promise.all(all));
  }

  /** Stops waiting for the broker and for other servers. */
  close(): void {
    this.#isClosed = true;
    for (const wake of this.#sleeping) wake();
  }

  /** Opens the session of a client, or a new one if its session is not known. */
  #openSession(
    client: Connection<Types>,
    id: number,
    opening: SessionOpening,
  ): Promise<void> | undefined {
    const { dispatcher } = coreOf(client);
    const memory = this.#memory;
    if (!memory) return void dispatcher.refuse(id, REFUSED_UNSUPPORTED);
    const answerWith = ({ session }: OpenSession) =>
      void ignoreRejection(
        dispatcher.reply(id, encodeOpened(session.token)),
      );
    const open = this.#open.get(client);
    if (open) return answerWith(open);
    if (client.readyState !== 1) return undefined; // its end was told already
    const { token, last } = opening;
    const records = this.#records;
    if (!records) {
      const session = this.#findOrCreate(memory, token);
      if (!session) return void dispatcher.refuse(id, REFUSED_LATER);
      return answerWith(this.#attach(memory, client, session, last));
    }
    if (memory.isFull) return void dispatcher.refuse(id, REFUSED_LATER);
    return this.#openShared(memory, records, client, token, last).then(
      (open) => {
        this.#isBrokerFailing = false;
        answerWith(open);
      },
      (error) => {
        this.#brokerFailed(error);
        if (this.#records) return dispatcher.refuse(id, REFUSED_LATER);
        return this.#openSession(client, id, opening);
      },
    );
  }

  /** Finds the session of a token, or creates one, if there is room. */
  #findOrCreate(
    memory: SessionMemory,
    token: string | undefined,
  ): RequestSession | undefined {
    const now = performance.now();
    const known = token === undefined ? undefined : memory.find(token, now);
    if (known) memory.attach(known);
    return known ?? (memory.isFull ? undefined : memory.create(now));
  }

  /** Opens a session that other servers may know. */
  async #openShared(
    memory: SessionMemory,
    records: AdapterRecords,
    client: Connection<Types>,
    token: string | undefined,
    last: number,
  ): Promise<OpenSession> {
    const known = token !== undefined && isSessionToken(token)
      ? await this.#findShared(memory, records, token)
      : undefined;
    if (known) return this.#attach(memory, client, known, last);
    const session = memory.create(performance.now());
    const shared = this.#share(memory, records, session);
    try {
      await shared.change(() => true);
    } catch (error) {
      memory.detach(session, performance.now());
      throw error;
    }
    return this.#attach(memory, client, session, 0);
  }

  /** Finds the session of a token in the broker, and counts one more connection. */
  async #findShared(
    memory: SessionMemory,
    records: AdapterRecords,
    token: string,
  ): Promise<RequestSession | undefined> {
    let known = memory.find(token, performance.now());
    let stored: StoredSession | undefined;
    if (!known) {
      stored = await readSession(records, token);
      known = memory.find(token, performance.now());
    }
    const shared = known && this.#shared.get(known);
    if (known && shared) {
      memory.attach(known);
      try {
        if (await shared.load()) return known;
      } catch (error) {
        memory.detach(known, performance.now());
        throw error;
      }
      memory.detach(known, performance.now());
      return undefined;
    }
    if (!stored) return undefined;
    const { record, version } = stored;
    const session = memory.create(performance.now(), token, record);
    this.#share(memory, records, session, version);
    return session;
  }

  #share(
    memory: SessionMemory,
    records: AdapterRecords,
    session: RequestSession,
    version?: string,
  ): SharedSession {
    const shared = new SharedSession(
      records,
      session,
      this.#maxAge,
      (session, record) => memory.replace(session, record),
      version,
    );
    this.#shared.set(session, shared);
    return shared;
  }

  #attach(
    memory: SessionMemory,
    client: Connection<Types>,
    session: RequestSession,
    last: number,
  ): OpenSession {
    const before = this.#open.get(client);
    const open = { session, last };
    if (client.readyState === 1 && !before) this.#open.set(client, open);
    else memory.detach(session, performance.now()); // it has ended meanwhile
    return before ?? open;
  }

  /** Handles a request, or answers it again. */
  #ask(
    asked: Asked<Types>,
    settled: number,
    pending: Promise<unknown>[],
  ): Promise<void> | undefined {
    const memory = this.#memory;
    const open = this.#open.get(asked.client);
    if (!memory || !open) return refuse(asked, REFUSED_CLOSED);
    const { session } = open;
    const shared = this.#shared.get(session);
    const key = requestId(session, asked.number);
    const digest = digestOf(asked.payload);
    if (!shared) {
      memory.update(session, (record) => record.forgetTo(settled));
    }
    const found = session.record.find(asked.number, digest);
    if (found === "reused") return refuse(asked, REFUSED_REUSED);
    const running = this.#running.get(key);
    if (running) {
      if (running.outcome) return void answer(asked, running.outcome);
      running.asked = asked;
      return undefined;
    }
    if (typeof found === "object" && found.outcome) {
      return void answer(asked, found.outcome);
    }
    if (shared) return this.#askShared(memory, open, shared, asked, settled);
    if (found !== "new") return refuse(asked, REFUSED_UNCERTAIN);
    if (memory.isFull) return refuse(asked, REFUSED_LATER);
    const owner = this.#host.name;
    memory.update(session, (record) => {
      record.set(asked.number, { digest, owner, outcome: undefined });
    });
    this.#start(key, asked);
    this.#run(memory, session, asked, pending);
    return undefined;
  }

  /** Claims a request for this server, and handles it. */
  async #askShared(
    memory: SessionMemory,
    { session, last }: OpenSession,
    shared: SharedSession,
    asked: Asked<Types>,
    settled: number,
  ): Promise<void> {
    const { number } = asked;
    const owner = this.#host.name;
    const key = requestId(session, number);
    const digest = digestOf(asked.payload);
    const running = this.#start(key, asked);
    const mayBeOurs = this.#unhandled.has(key);
    let found: Finding = "forgotten";
    try {
      if (memory.isFull) return this.#stop(key, REFUSED_LATER);
      const wasForgotten = session.record.find(number, digest) === "forgotten";
      await shared.change((record, isMissing) => {
        found = "forgotten";
        // Without the record it is not known whether the request was handled.
        if (isMissing && number <= last) return false;
        record.forgetTo(settled);
        found = record.find(number, digest);
        const isOurs = typeof found === "object" && !found.outcome &&
          found.owner === owner;
        if (isOurs) found = mayBeOurs ? "new" : "forgotten";
        if (wasForgotten && found === "new") found = "forgotten";
        if (found !== "new") return false;
        record.set(number, { digest, owner, outcome: undefined });
        return true;
      });
    } catch (error) {
      addBounded(this.#unhandled, key, MAX_UNHANDLED);
      this.#brokerFailed(error);
      this.#stop(key, REFUSED_LATER);
      return this.#withdraw(shared, number, key);
    }
    this.#isBrokerFailing = false;
    this.#unhandled.delete(key);
    await this.#proceed(memory, session, shared, running, found, digest);
  }

  /** Handles a request that was claimed, or answers what is known of it. */
  async #proceed(
    memory: SessionMemory,
    session: RequestSession,
    shared: SharedSession,
    { asked }: RunningRequest<Types>,
    found: Finding,
    digest: string,
  ): Promise<void> {
    const key = requestId(session, asked.number);
    switch (found) {
      case "new": {
        const pending: Promise<unknown>[] = [];
        this.#run(memory, session, asked, pending);
        await Promise.all(pending);
        return;
      }
      case "reused":
        return this.#stop(key, REFUSED_REUSED);
      case "forgotten":
        return this.#stop(key, REFUSED_UNCERTAIN);
    }
    if (found.outcome) {
      this.#stop(key, undefined);
      return await answer(asked, found.outcome);
    }
    await this.#followElsewhere(session, shared, key, digest, found.owner);
  }

  /** Waits until another server has answered a request, or is lost. */
  async #followElsewhere(
    session: RequestSession,
    shared: SharedSession,
    key: string,
    digest: string,
    owner: string,
  ): Promise<void> {
    for (;;) {
      const isLost = this.#host.isLost(owner);
      let isKnown = true;
      try {
        isKnown = await shared.load();
      } catch (error) {
        this.#brokerFailed(error);
      }
      const asked = this.#running.get(key)?.asked;
      if (!asked) return;
      const found = session.record.find(asked.number, digest);
      if (isKnown && found === "new") {
        // That server has withdrawn its claim.
        this.#stop(key, REFUSED_LATER);
        return;
      }
      if (!isKnown || typeof found !== "object") {
        return this.#stop(key, REFUSED_UNCERTAIN);
      }
      if (found.outcome) {
        this.#stop(key, undefined);
        return await answer(asked, found.outcome);
      }
      if (asked.client.readyState !== 1 || this.#isClosed) {
        return this.#stop(key, undefined); // the client asks again elsewhere
      }
      if (isLost) return this.#stop(key, REFUSED_UNCERTAIN);
      await this.#sleep();
    }
  }

  /** Waits until the broker is asked again, or the server is closed. */
  #sleep(): Promise<void> {
    const { promise, resolve } = withResolvers<void>();
    const wake = () => {
      clearTimeout(timer);
      this.#sleeping.delete(wake);
      resolve();
    };
    const timer = startTimer(wake, POLL_MS);
    this.#sleeping.add(wake);
    return promise;
  }

  #start(key: string, asked: Asked<Types>): RunningRequest<Types> {
    const running = { asked, outcome: undefined, done: withResolvers<void>() };
    this.#running.set(key, running);
    return running;
  }

  /** A request is not handled here (any more). */
  #stop(key: string, failure: RequestFailure | undefined): void {
    const running = this.#running.get(key);
    this.#running.delete(key);
    running?.done.resolve();
    if (running && failure) refuse(running.asked, failure);
  }

  /** Calls the handler of a request. */
  #run(
    memory: SessionMemory,
    session: RequestSession,
    asked: Asked<Types>,
    pending: Promise<unknown>[],
  ): void {
    const { client, number, payload, trace } = asked;
    const { dispatcher } = coreOf(client);
    const key = requestId(session, number);
    const settle = (outcome: Outcome): Promise<void> => {
      const running = this.#running.get(key);
      ignoreRejection(this.#remember(memory, session, number, outcome));
      return answer(running?.asked ?? asked, outcome);
    };
    const request = new IncomingRequest(number, {
      name: dispatcher.name,
      encode: (data) => dispatcher.encode(data),
      reply: (_id, frame) => {
        if (!(frame instanceof Blob)) {
          return settle({ kind: "reply", payload: payloadOf(frame) });
        }
        return frame.arrayBuffer().then((payload) =>
          settle({ kind: "reply", payload })
        );
      },
      refuse: (_id, failure) => void settle({ kind: "failure", failure }),
      failed: (error) => dispatcher.failed(error),
    }, trace);
    pending.push(...dispatcher.handleRequest(payload, request, key));
  }

  /** Remembers an answer. */
  async #remember(
    memory: SessionMemory,
    session: RequestSession,
    number: number,
    outcome: Outcome,
  ): Promise<void> {
    const shared = this.#shared.get(session);
    const key = requestId(session, number);
    const isLarge = outcome.kind === "reply" &&
      memoryOf(outcome.payload) > this.#maxAnswer;
    const kept: Outcome = isLarge ? { kind: "forgotten" } : outcome;
    if (!shared) {
      memory.update(session, (record) => record.settle(number, kept));
      return this.#stop(key, undefined);
    }
    const running = this.#running.get(key);
    if (running) running.outcome = kept;
    await this.#persist(shared, (record, isMissing) => {
      record.settle(number, kept);
      return !isMissing;
    });
    this.#stop(key, undefined);
  }

  /**
   * Gives up a claim that may be stored, though the broker has not confirmed it, so that
   * other servers need not wait for this one.
   */
  async #withdraw(
    shared: SharedSession,
    number: number,
    key: string,
  ): Promise<void> {
    await this.#persist(shared, (record, isMissing) => {
      const isOurs = this.#unhandled.has(key) && !this.#running.has(key) &&
        record.entries.get(number)?.owner === this.#host.name;
      if (isOurs) record.withdraw(number);
      // A claim that is still on its way to the broker is refused after this.
      return !isMissing;
    });
    if (!this.#running.has(key)) this.#unhandled.delete(key);
  }

  /** Changes a session as soon as the broker can be reached. */
  async #persist(shared: SharedSession, change: RecordChange): Promise<void> {
    const deadline = performance.now() + this.#maxAge;
    while (!this.#isClosed && performance.now() < deadline) {
      try {
        return await shared.change(change);
      } catch (error) {
        this.#brokerFailed(error);
        await this.#sleep();
      }
    }
  }

  /** The broker does not answer, or cannot store records. */
  #brokerFailed(error: unknown): void {
    if (error instanceof Error && error.cause === "unsupported") {
      this.#records = undefined;
    }
    if (!this.#isBrokerFailing) this.#host.failed(error);
    this.#isBrokerFailing = true;
  }
}

function refuse<Types extends SocketTypes>(
  { client, id }: Asked<Types>,
  failure: RequestFailure,
): undefined {
  coreOf(client).dispatcher.refuse(id, failure);
}

/** The id of a request, which its handler sees. */
function requestId({ id }: RequestSession, number: number): string {
  return `${id}-${number}`;
}

/** Sends an answer on the connection on which a request came. */
function answer<Types extends SocketTypes>(
  { client, id }: Asked<Types>,
  outcome: Outcome,
): Promise<void> {
  const { dispatcher } = coreOf(client);
  switch (outcome.kind) {
    case "reply":
      // If the connection has ended, the client asks again.
      return dispatcher.reply(id, outcome.payload).catch(() => {});
    case "failure":
      dispatcher.refuse(id, outcome.failure);
      return RESOLVED;
    case "forgotten":
      dispatcher.refuse(id, REFUSED_UNCERTAIN);
      return RESOLVED;
  }
}
