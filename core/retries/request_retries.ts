/**
 * The requests of a server's clients that are sent again after a loss: each is handled
 * once, and a repetition gets the remembered answer.
 *
 * @module
 */

import { type Connection, coreOf } from "../connection/connection.ts";
import { ignoreRejection, RESOLVED } from "../events/errors.ts";
import type { Payload, RequestFailure } from "../protocol/frames.ts";
import { decodeRetryFrame, encodeOpened } from "../protocol/retry_frames.ts";
import { IncomingRequest } from "../requests/incoming_request.ts";
import { type Frame, memoryOf, toBytes } from "../values/codec.ts";
import type { SocketTypes } from "../values/types.ts";
import { withTimeout } from "../util/timer.ts";
import type { RetryOptions } from "./retry_options.ts";
import { RETRY_LATER, UNCERTAIN, UNSUPPORTED } from "./retry_codes.ts";
import { type RequestSession, SessionMemory } from "./session_memory.ts";
import { digestOf, type Outcome } from "./session_record.ts";

/** The largest part of the memory that one answer may take. */
const MAX_ANSWER_PART = 1 / 4;

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

/** A request that is being handled. */
interface RunningRequest<Types extends SocketTypes> {
  /** Where the answer goes: to the connection on which it came last. */
  asked: Asked<Types>;
  readonly done: Promise<void>;
}

/** Handles the requests that the clients of a server send again. */
export class RequestRetries<Types extends SocketTypes> {
  readonly #memory: SessionMemory | undefined;
  readonly #maxAnswer: number;
  readonly #sessions = new WeakMap<Connection<Types>, RequestSession>();
  /** By the ids of the requests. */
  readonly #running = new Map<string, RunningRequest<Types>>();

  /** @param options What to remember; undefined for nothing. */
  constructor(options: Required<RetryOptions> | undefined) {
    this.#memory = options && new SessionMemory(options);
    this.#maxAnswer = (options?.maxBytes ?? 0) * MAX_ANSWER_PART;
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
      return dispatcher.acceptTask(() => {
        this.#open(client, id, opening.token);
        return undefined;
      }, payload);
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
    const session = this.#sessions.get(client);
    if (!session) return;
    this.#sessions.delete(client);
    this.#memory?.detach(session, performance.now());
  }

  /** Waits until the requests that are being handled have an answer. */
  async settle(timeout: number): Promise<void> {
    if (this.#running.size === 0) return;
    const all = Array.from(this.#running.values(), ({ done }) => done);
    await withTimeout(timeout, Promise.all(all));
  }

  /** Opens the session of a client, or a new one if its session is not known. */
  #open(
    client: Connection<Types>,
    id: number,
    token: string | undefined,
  ): void {
    const { dispatcher } = coreOf(client);
    const memory = this.#memory;
    if (!memory) return dispatcher.refuse(id, REFUSED_UNSUPPORTED);
    const opened = this.#sessions.get(client) ??
      this.#attach(memory, client, token);
    if (!opened) return dispatcher.refuse(id, REFUSED_LATER);
    ignoreRejection(dispatcher.reply(id, encodeOpened(opened.token)));
  }

  #attach(
    memory: SessionMemory,
    client: Connection<Types>,
    token: string | undefined,
  ): RequestSession | undefined {
    if (client.readyState !== 1) return undefined; // its end was told already
    const now = performance.now();
    let session = token === undefined ? undefined : memory.find(token, now);
    if (session) memory.attach(session);
    else if (memory.isFull) return undefined;
    else session = memory.create(now);
    this.#sessions.set(client, session);
    return session;
  }

  /** Handles a request, or answers it again. */
  #ask(
    asked: Asked<Types>,
    settled: number,
    pending: Promise<unknown>[],
  ): undefined {
    const { client, id, number, payload } = asked;
    const refuse = (failure: RequestFailure) =>
      coreOf(client).dispatcher.refuse(id, failure);
    const memory = this.#memory;
    const session = this.#sessions.get(client);
    if (!memory || !session) return void refuse(REFUSED_CLOSED);
    memory.update(session, (record) => record.forgetTo(settled));
    const digest = digestOf(payload);
    const found = session.record.find(number, digest);
    switch (found) {
      case "reused":
        return void refuse(REFUSED_REUSED);
      case "forgotten":
        return void refuse(REFUSED_UNCERTAIN);
      case "new":
        if (memory.isFull) return void refuse(REFUSED_LATER);
        memory.update(
          session,
          (record) =>
            record.set(number, { digest, owner: "", outcome: undefined }),
        );
        this.#run(memory, session, asked, pending);
        return;
    }
    if (found.outcome) return void answer(asked, found.outcome);
    const running = this.#running.get(requestId(session, number));
    if (running) running.asked = asked;
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
    const { promise: done, resolve } = Promise.withResolvers<void>();
    const running: RunningRequest<Types> = { asked, done };
    this.#running.set(key, running);
    const settle = (outcome: Outcome): Promise<void> => {
      this.#running.delete(key);
      resolve();
      const isLarge = outcome.kind === "reply" &&
        memoryOf(outcome.payload) > this.#maxAnswer;
      memory.update(
        session,
        (record) =>
          record.settle(number, isLarge ? { kind: "forgotten" } : outcome),
      );
      return answer(running.asked, outcome);
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

/** The payload of a frame, as it is sent: the application may change its own bytes later. */
function payloadOf(frame: Exclude<Frame, Blob>): Payload {
  return typeof frame === "string" ? frame : toBytes(frame).slice().buffer;
}
