/**
 * Sends a request to several clients of one server, and collects the replies from all
 * servers. It knows neither adapters nor rooms.
 *
 * @module
 */

import type {
  ClientReply,
  ClusterAnswer,
  SendAnswerPart,
  SerializedError,
} from "../cluster/cluster_host.ts";
import { type Connection, coreOf } from "../connection/connection.ts";
import { ConnectionEndedError, RequestError } from "../events/errors.ts";
import type { BroadcastBody } from "../history/envelope.ts";
import { concatBytes } from "../util/concat_bytes.ts";
import { startTimer, type Timer } from "../util/timer.ts";
import { type Codec, decodeWith, toBytes } from "../values/codec.ts";
import { type StandardSchema, validate } from "../values/schema.ts";
import type { SocketTypes } from "../values/types.ts";

/** The number of its clients that a server asks at most. */
export const MAX_ASKED = 10_000;

/** The largest reply, in bytes: brokers limit the size of a message. */
const MAX_REPLY_BYTES = 512 * 1024;

/** The limit of all replies to a request together, in bytes. */
const MAX_REPLIES_BYTES = 16 * 1024 * 1024;

/** The size and the delay after which collected replies are passed on. */
const MAX_PART_BYTES = 64 * 1024;
const PART_DELAY_MS = 10;

/** The number of ids or replies that are passed on together. */
const MAX_PART_ITEMS = 2_000;

/** How much longer than clients other servers have to answer, in milliseconds. */
export const SERVER_SLACK_MS = 1_000;

/**
 * The replies of several clients, on all servers.
 *
 * @typeParam Data The type of a reply.
 */
export interface AudienceReplies<Data = unknown> {
  /** The replies, by the {@linkcode Connection.id} of the client. */
  readonly replies: ReadonlyMap<string, Data>;
  /**
   * Why a client has not replied, by {@linkcode Connection.id}: a {@linkcode RequestError}
   * of its handler, a `DOMException` named `TimeoutError` or, if the client does not
   * support `events.v1`, `NotSupportedError`, a {@linkcode ConnectionEndedError}, or a
   * `RangeError` if the reply is too large, or a {@linkcode SchemaError} if it does not
   * match the contract.
   */
  readonly failures: ReadonlyMap<string, Error>;
  /**
   * The number of servers that were lost or have not finished in time. They may have
   * clients that are neither in `replies` nor in `failures`.
   */
  readonly missingServers: number;
}

/** Takes replies in the form in which servers exchange them. */
type TakeReplies = (
  replies: readonly ClientReply[],
  body: Uint8Array<ArrayBuffer>,
) => void;

/**
 * Sends a request to clients of this server.
 *
 * @param sendPart Takes the ids of the clients at once, and replies when they arrive.
 * @returns A promise that resolves when all have replied or failed.
 */
export async function askClients<Types extends SocketTypes>(
  clients: readonly Connection<Types>[],
  body: BroadcastBody,
  timeout: number,
  sendPart: SendAnswerPart,
): Promise<void> {
  const ids = clients.map(({ id }) => id);
  for (let i = 0; i < ids.length; i += MAX_PART_ITEMS) {
    sendPart({ number: 0, asked: ids.slice(i, i + MAX_PART_ITEMS) });
  }
  const batch = new ReplyBatch((replies, body) =>
    sendPart({ number: 0, replies }, body)
  );
  const asked = clients.slice(0, MAX_ASKED).map(async (client) => {
    const { id } = client;
    try {
      batch.reply(id, await coreOf(client).requestFrame(body, { timeout }));
    } catch (error) {
      batch.fail(id, error);
    }
  });
  for (const { id } of clients.slice(MAX_ASKED)) {
    batch.fail(
      id,
      new RangeError(
        `Cannot ask more than ${MAX_ASKED} clients of one server at once`,
      ),
    );
  }
  await Promise.all(asked);
  batch.flush();
}

/** Collects replies to pass them on together. */
class ReplyBatch {
  readonly #take: TakeReplies;
  #replies: ClientReply[] = [];
  #bodies: Uint8Array<ArrayBuffer>[] = [];
  #size = 0;
  #timer: Timer | undefined;

  constructor(take: TakeReplies) {
    this.#take = take;
  }

  reply(id: string, payload: string | ArrayBuffer): void {
    const isBinary = typeof payload !== "string";
    const bytes = isBinary ? toBytes(payload) : replyEncoder.encode(payload);
    const size = bytes.length;
    if (size > MAX_REPLY_BYTES) {
      return this.fail(id, new RangeError(tooLarge(size, MAX_REPLY_BYTES)));
    }
    if (this.#size + size > MAX_PART_BYTES) this.flush();
    this.#bodies.push(bytes);
    this.#add({ id, size, isBinary }, size);
  }

  fail(id: string, error: unknown): void {
    this.#add({ id, error: serializeError(error) }, 0);
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#replies.length === 0) return;
    const replies = this.#replies;
    const body = concatBytes(this.#bodies);
    this.#replies = [];
    this.#bodies = [];
    this.#size = 0;
    this.#take(replies, body);
  }

  #add(reply: ClientReply, size: number): void {
    this.#replies.push(reply);
    this.#size += size;
    if (this.#replies.length >= MAX_PART_ITEMS) this.flush();
    else this.#timer ??= startTimer(() => this.flush(), PART_DELAY_MS);
  }
}

/** Collects the answers of all servers to one request. */
export class ReplyCollector {
  readonly #codec: Codec | undefined;
  readonly #replies = new Map<string, unknown>();
  readonly #failures = new Map<string, Error>();
  /** The clients that have not replied. */
  readonly #asked = new Set<string>();
  #size = 0;

  constructor(codec: Codec | undefined) {
    this.#codec = codec;
  }

  /**
   * Takes a part of the answer of a server.
   *
   * @throws {TypeError} If it is malformed.
   */
  receive(
    { asked = [], replies = [] }: ClusterAnswer,
    body: BroadcastBody = new Uint8Array(),
  ): void {
    for (const id of asked) this.#asked.add(id);
    const bytes = typeof body === "string"
      ? replyEncoder.encode(body)
      : toBytes(body);
    let at = 0;
    for (const reply of replies) {
      const size = "size" in reply ? reply.size : 0;
      if (!(size >= 0 && at + size <= bytes.length)) {
        throw new TypeError(
          "Cannot read the replies of another server: their sizes are wrong",
        );
      }
      this.#settle(reply, bytes.slice(at, at + size));
      at += size;
    }
  }

  /** All replies, when no more are waited for. */
  finish(missingServers: number): AudienceReplies {
    for (const id of this.#asked) {
      this.#failures.set(
        id,
        new DOMException("The client has not replied in time", "TimeoutError"),
      );
    }
    return { replies: this.#replies, failures: this.#failures, missingServers };
  }

  #settle(reply: ClientReply, bytes: Uint8Array<ArrayBuffer>): void {
    const { id } = reply;
    if (!this.#asked.delete(id)) return;
    if ("error" in reply) {
      this.#failures.set(id, deserializeError(reply.error));
      return;
    }
    this.#size += bytes.length;
    if (this.#size > MAX_REPLIES_BYTES) {
      this.#failures.set(
        id,
        new RangeError(tooLarge(this.#size, MAX_REPLIES_BYTES)),
      );
      return;
    }
    const payload = reply.isBinary ? bytes.buffer : replyDecoder.decode(bytes);
    try {
      this.#replies.set(id, decodeWith(payload, this.#codec));
    } catch (error) {
      this.#failures.set(id, toError(error));
    }
  }
}

/** Validates the replies of clients. An invalid one becomes a failure. */
export function validateReplies(
  { replies, failures, missingServers }: AudienceReplies,
  schema: StandardSchema,
): AudienceReplies {
  const valid = new Map<string, unknown>();
  const failed = new Map(failures);
  for (const [id, reply] of replies) {
    try {
      valid.set(id, validate(schema, reply, "The reply"));
    } catch (error) {
      failed.set(id, toError(error));
    }
  }
  return { replies: valid, failures: failed, missingServers };
}

const replyEncoder = new TextEncoder();
const replyDecoder = new TextDecoder("utf-8", { ignoreBOM: true }); // a BOM belongs to the text

function tooLarge(size: number, max: number): string {
  return `Cannot collect a reply as it makes ${size} bytes: the limit is ${max}`;
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

function serializeError(error: unknown): SerializedError {
  const { name, message } = toError(error);
  return error instanceof RequestError && error.code !== undefined
    ? { name, message, code: error.code }
    : { name, message };
}

function deserializeError({ name, message, code }: SerializedError): Error {
  switch (name) {
    case "RequestError":
      return new RequestError(message, code);
    case "ConnectionEndedError":
      return new ConnectionEndedError(message);
    case "RangeError":
      return new RangeError(message);
    case "TimeoutError":
    case "NotSupportedError":
      return new DOMException(message, name);
    default:
      return new Error(message);
  }
}
