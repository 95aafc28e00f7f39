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

import { decode, type Sendable } from "./core/codec.ts";

export type { Inert, Sendable } from "./core/codec.ts";

/**
 * Who a message is from, as far as a message needs to know: someone who can be
 * answered.
 *
 * @typeParam Outgoing What can be sent to the author.
 */
export interface Author<Outgoing = Sendable> {
  /**
   * Sends to the author.
   *
   * @param data What to send.
   */
  send(data: Outgoing): Promise<void>;
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
  From extends Author<Outgoing> = Author<Outgoing>,
> {
  /** Who it is from. */
  readonly author: From;
  readonly #raw: string | ArrayBuffer;
  readonly #createdAt: number;
  #data: { readonly value: Data } | undefined;

  /**
   * Creates a message, as sockets do.
   *
   * @param raw What came: a string of a text frame, a buffer of a binary one.
   * @param author Who it is from.
   * @param createdAt When it came, in milliseconds since the epoch.
   */
  constructor(
    raw: string | ArrayBuffer,
    author: From,
    createdAt: number = Date.now(),
  ) {
    this.#raw = raw;
    this.author = author;
    this.#createdAt = createdAt;
  }

  /**
   * The decoded value: of a text frame what its JSON says, or the text itself
   * where it is no JSON; of a binary frame its bytes. So a text of `123` is a
   * number here: {@linkcode Message.content} has the text as it came.
   */
  get data(): Data {
    if (this.#data === undefined) {
      const value = typeof this.#raw === "string"
        ? decode(this.#raw)
        : this.bytes;
      // The type is the program's word for what its peer sends.
      this.#data = { value: value as Data };
    }
    return this.#data.value;
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

  /** Whether it came in a binary frame. */
  get isBinary(): boolean {
    return typeof this.#raw !== "string";
  }

  /** When it came. */
  get createdAt(): Date {
    return new Date(this.#createdAt);
  }

  /**
   * Answers the author.
   *
   * @param data What to send.
   * @returns As {@linkcode Author.send} of the author.
   * @throws {TypeError} If JSON cannot hold the data.
   */
  reply(data: Outgoing): Promise<void> {
    return this.author.send(data);
  }

  /** What `console.log` shows of it. */
  [Symbol.for("Deno.customInspect")](
    inspect: (value: unknown, options?: unknown) => string,
    options: unknown,
  ): string {
    const { data, isBinary, createdAt } = this;
    return `Message ${inspect({ data, isBinary, createdAt }, options)}`;
  }
}
