/**
 * Received messages: data, author, time, and how to reply.
 *
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 *
 * const server = new ServerSocket();
 * server.on("message", async (message) => {
 *   console.log(message.author.remoteAddress, message.createdAt, message.data);
 *   await message.reply({ received: true });
 * });
 * ```
 *
 * @module
 */

import { type Codec, decodeWith, type Sendable } from "./core/values/codec.ts";

export type { Codec, Sendable, SendableObject } from "./core/values/codec.ts";

/**
 * The sender of a message.
 *
 * @typeParam Outgoing The type of the data that can be sent to the author.
 */
export interface MessageAuthor<Outgoing = Sendable> {
  /**
   * Sends a message to the author.
   *
   * @param data The data to send.
   * @returns A promise that settles when the message was sent, or could not be sent.
   */
  send(data: Outgoing): Promise<void>;
}

/**
 * Optional properties of a new {@linkcode Message}.
 *
 * @typeParam Data The type of {@linkcode Message.data}.
 * @typeParam Outgoing The type of the data that can be sent to the author.
 */
export interface MessageInit<Data, Outgoing> {
  /** The decoded value, if the frame has already been decoded. */
  readonly value?: { readonly data: Data };
  /** The codec that decodes the frame; JSON by default. */
  readonly codec?: Codec | undefined;
  /**
   * Sends the reply. Set only if the message is a request.
   *
   * @param data The reply.
   */
  readonly answer?: ((data: Outgoing) => Promise<void>) | undefined;
  /** The id of a request that may be sent again; see {@linkcode Message.requestId}. */
  readonly requestId?: string | undefined;
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

/**
 * A received message. Its data is decoded once, on first access.
 *
 * @typeParam Data The type of {@linkcode Message.data}. It is not checked at run time
 * unless the socket has a schema.
 * @typeParam Outgoing The type of the data that can be sent to the author.
 * @typeParam From The type of the author.
 *
 * @example
 * ```ts
 * import { ClientSocket } from "jsr:@ws/events";
 *
 * interface Status {
 *   status: string;
 *   alive: boolean;
 * }
 *
 * const client = new ClientSocket<{ incoming: Status }>();
 * client.on("message", (message) => {
 *   if (message.data.alive) console.log(message.data.status);
 * });
 * ```
 */
export class Message<
  Data = unknown,
  Outgoing = Sendable,
  From extends MessageAuthor<Outgoing> = MessageAuthor<Outgoing>,
> {
  /** The sender. Sockets set it to the connection that received the message. */
  readonly author: From;
  readonly #raw: string | ArrayBuffer;
  readonly #createdAt: number;
  readonly #init: MessageInit<Data, Outgoing> | undefined;
  #value: { readonly data: Data } | undefined;

  /**
   * Creates a message.
   *
   * @param raw The payload: a string for a text frame, a buffer for a binary frame.
   * @param author The sender.
   * @param createdAt The time of receipt, in milliseconds since the Unix epoch.
   * @param init Optional properties.
   */
  constructor(
    raw: string | ArrayBuffer,
    author: From,
    createdAt: number = Date.now(),
    init?: MessageInit<Data, Outgoing>,
  ) {
    this.#raw = raw;
    this.author = author;
    this.#createdAt = createdAt;
    this.#init = init;
    this.#value = init?.value;
  }

  /**
   * The decoded value. For a text frame: the parsed JSON, or the raw text if it does
   * not parse. For a binary frame: the bytes as a `Uint8Array`. The text `123` is
   * therefore the number 123 here; {@linkcode Message.content} has the raw text. With a
   * codec, it is the value that the codec decodes; with a schema, the schema's output.
   *
   * @throws {unknown} The error of the codec, if it cannot decode the frame.
   */
  get data(): Data {
    if (this.#value === undefined) {
      const data = decodeWith(this.#raw, this.#init?.codec);
      // The type is the application's claim about its peer.
      this.#value = { data: data as Data };
    }
    return this.#value.data;
  }

  /** The raw text. The bytes of a binary frame are decoded as UTF-8. */
  get content(): string {
    return typeof this.#raw === "string"
      ? this.#raw
      : decoder.decode(this.#raw);
  }

  /** The raw bytes. A text frame is encoded as UTF-8. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return typeof this.#raw === "string"
      ? encoder.encode(this.#raw)
      : new Uint8Array(this.#raw);
  }

  /**
   * The size of the payload: in UTF-16 code units for a text frame, in bytes for a
   * binary frame.
   */
  get size(): number {
    return typeof this.#raw === "string"
      ? this.#raw.length
      : this.#raw.byteLength;
  }

  /** Whether the message was a binary frame. */
  get isBinary(): boolean {
    return typeof this.#raw !== "string";
  }

  /** The time at which the message was received. */
  get createdAt(): Date {
    return new Date(this.#createdAt);
  }

  /**
   * Whether the author waits for a reply. {@linkcode Message.reply} sends it, and
   * resolves the author's {@linkcode Connection.request}.
   */
  get isRequest(): boolean {
    return this.#init?.answer !== undefined;
  }

  /**
   * The id of a request that its client sends with the option `retry`, the same each time
   * that it is sent: up to 43 hexadecimal digits and `-`. Undefined for all other messages.
   * Store it together with what the request changes, with a unique constraint, so that it
   * has its effect exactly once whatever happens to the server.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const orders = new Map<string, unknown>(); // a table with a unique column
   * const server = new ServerSocket();
   * server.handle("order", ({ data, requestId = crypto.randomUUID() }) => {
   *   if (!orders.has(requestId)) orders.set(requestId, data);
   *   return { accepted: true };
   * });
   * ```
   */
  get requestId(): string | undefined {
    return this.#init?.requestId;
  }

  /**
   * Replies to the author. A request gets its reply; for any other message, the data is
   * sent as a new message.
   *
   * @param data The data to send.
   * @returns A promise that settles as that of {@linkcode MessageAuthor.send} does.
   * @throws {TypeError} If the data cannot be serialized.
   * @throws {Error} If the request already has a reply.
   *
   * @example
   * ```ts
   * import { ServerSocket } from "jsr:@ws/events";
   *
   * const server = new ServerSocket();
   * server.on("message", async (message) => {
   *   if (message.isRequest) await message.reply({ time: Date.now() });
   * });
   * ```
   */
  reply(data: Outgoing): Promise<void> {
    const answer = this.#init?.answer;
    return answer ? answer(data) : this.author.send(data);
  }

  /** Formats the message for `console.log` and `Deno.inspect`. */
  [Symbol.for("Deno.customInspect")](
    inspect: (value: unknown, options?: unknown) => string,
    options: unknown,
  ): string {
    const { data, isBinary, isRequest, createdAt } = this;
    const kind = isRequest ? "Request" : "Message";
    return `${kind} ${inspect({ data, isBinary, createdAt }, options)}`;
  }
}
