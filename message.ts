/**
 * A message that has come, with all that can be asked of it.
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
 * Who a message is from, as far as a message needs to know: someone who can be
 * answered.
 *
 * @typeParam Outgoing What can be sent to the author.
 */
export interface MessageAuthor<Outgoing = Sendable> {
  /**
   * Sends to the author.
   *
   * @param data What to send.
   */
  send(data: Outgoing): Promise<void>;
}

/**
 * What else there is to know of a message.
 *
 * @typeParam Data The type of {@linkcode Message.data}.
 * @typeParam Outgoing What can be sent to the author.
 */
export interface MessageInit<Data, Outgoing> {
  /** The value that it holds, if it is known already. */
  readonly value?: { readonly data: Data };
  /** What decodes it; JSON if there is none. */
  readonly codec?: Codec | undefined;
  /**
   * Answers it, if it is a request.
   *
   * @param data The answer.
   */
  readonly answer?: ((data: Outgoing) => Promise<void>) | undefined;
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

/**
 * A message that has come. What it holds is decoded when it is first asked for,
 * and once.
 *
 * @typeParam Data The type of {@linkcode Message.data}. It is what the program
 * says it is; nothing checks it.
 * @typeParam Outgoing What can be sent to the author.
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
  /** Who it is from. */
  readonly author: From;
  readonly #raw: string | ArrayBuffer;
  readonly #createdAt: number;
  readonly #init: MessageInit<Data, Outgoing> | undefined;
  #value: { readonly data: Data } | undefined;

  /**
   * Creates a message, as sockets do.
   *
   * @param raw What came: a string of a text frame, a buffer of a binary one.
   * @param author Who it is from.
   * @param createdAt When it came, in milliseconds since the epoch.
   * @param init What else there is to know.
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
   * The decoded value: of a text frame what its JSON says, or the text itself
   * where it is no JSON; of a binary frame its bytes. So a text of `123` is a
   * number here: {@linkcode Message.content} has the text as it came. With a schema,
   * it is what the schema has made of that; with a codec, what the codec says.
   *
   * @throws {unknown} What the codec throws.
   */
  get data(): Data {
    if (this.#value === undefined) {
      const data = decodeWith(this.#raw, this.#init?.codec);
      // The type is the program's word for what its peer sends.
      this.#value = { data: data as Data };
    }
    return this.#value.data;
  }

  /** The text exactly as it came; of a binary frame, its bytes as UTF-8. */
  get content(): string {
    return typeof this.#raw === "string"
      ? this.#raw
      : decoder.decode(this.#raw);
  }

  /** The bytes as they came; of a text frame, its UTF-8. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return typeof this.#raw === "string"
      ? encoder.encode(this.#raw)
      : new Uint8Array(this.#raw);
  }

  /** How long it is: a text in UTF-16 code units, all else in bytes. */
  get size(): number {
    return typeof this.#raw === "string"
      ? this.#raw.length
      : this.#raw.byteLength;
  }

  /** Whether it came in a binary frame. */
  get isBinary(): boolean {
    return typeof this.#raw !== "string";
  }

  /** When it came. */
  get createdAt(): Date {
    return new Date(this.#createdAt);
  }

  /**
   * Whether the author has asked for an answer: then {@linkcode Message.reply} gives
   * it, and {@linkcode Connection.request} there resolves.
   */
  get isRequest(): boolean {
    return this.#init?.answer !== undefined;
  }

  /**
   * Answers the author: the request, if it is one; else by a message.
   *
   * @param data What to send.
   * @returns As {@linkcode MessageAuthor.send} of the author.
   * @throws {TypeError} If JSON cannot hold the data.
   * @throws {Error} If it is a request that has been answered.
   */
  reply(data: Outgoing): Promise<void> {
    const answer = this.#init?.answer;
    return answer ? answer(data) : this.author.send(data);
  }

  /** What `console.log` shows of it. */
  [Symbol.for("Deno.customInspect")](
    inspect: (value: unknown, options?: unknown) => string,
    options: unknown,
  ): string {
    const { data, isBinary, isRequest, createdAt } = this;
    const kind = isRequest ? "Request" : "Message";
    return `${kind} ${inspect({ data, isBinary, createdAt }, options)}`;
  }
}
