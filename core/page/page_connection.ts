/**
 * The public class of a connection of a page. The mechanism is in `page_link.ts`.
 *
 * @module
 */

import type {
  CheckedRequestOptions,
  ConnectionEvents,
  SocketMessage,
  TypedMessages,
} from "../connection/connection.ts";
import type { Owner } from "../connection/owner.ts";
import { Emitter, emitters } from "../events/emitter.ts";
import type { EmitterHooks } from "../events/emitter_internals.ts";
import { assertCloseFrame, CloseCode } from "../events/errors.ts";
import { eventNames } from "../events/event_names.ts";
import { assertSendOptions, type SendOptions } from "../sending/send_queue.ts";
import { encodeValue } from "../values/codec.ts";
import type { RequestOptions } from "../requests/session.ts";
import type {
  Outgoing,
  Reply,
  RequestData,
  RequestType,
  SocketTypes,
} from "../values/types.ts";
import { type LinkInit, PageLink } from "./page_link.ts";

/**
 * A message that a page has received.
 *
 * @typeParam Types The types of the client.
 */
export type PageMessage<Types extends SocketTypes> = SocketMessage<
  Types,
  PageConnection<Types>
>;

/** Returns the link of a connection. Only the rest of this library uses it. */
export let linkOf: <Types extends SocketTypes>(
  connection: PageConnection<Types>,
) => PageLink<Types, PageConnection<Types>>;

/** Opens a connection. Only the rest of this library uses it. */
export let openConnection: <Types extends SocketTypes>(
  init: LinkInit<Types, PageConnection<Types>>,
) => void;

let pageConnectionHooks: EmitterHooks;

/**
 * A connection of a {@linkcode ClientSocket} in a page. It is that of
 * `@ws/events/client`, except `headers`, `context`, `traffic`, `dropped`, `id`,
 * `messages`, and the rooms, which a client does not have.
 *
 * @typeParam Types The types of the data that the connection sends and receives.
 *
 * @example
 * ```ts ignore
 * import { ClientSocket } from "jsr:@ws/events/client/page";
 *
 * const client = new ClientSocket({ reconnect: true });
 * client.on("connect", (connection) => connection.send({ token: "secret" }));
 * await client.connect("wss://example.com/live");
 * ```
 */
export class PageConnection<Types extends SocketTypes = SocketTypes>
  extends Emitter<
    ConnectionEvents<Types, PageConnection<Types>>,
    TypedMessages<Types, PageConnection<Types>>
  > {
  /** The path of the URL. */
  readonly path: string;
  /** The host and the port of the server. */
  readonly remoteAddress: string;
  /** The URL, with the scheme `ws:` or `wss:`. */
  readonly url: string;
  /** When the connection was opened. */
  readonly connectedAt: Date = new Date();
  /** The subprotocol of the application; empty if there is none. */
  readonly protocol: string;
  readonly #owner: Owner<Types, PageConnection<Types>>;
  readonly #link: PageLink<Types, PageConnection<Types>>;

  static {
    pageConnectionHooks = {
      names: eventNames<ConnectionEvents<SocketTypes>>({
        message: true,
        drain: true,
        close: true,
        disconnect: true,
        end: true,
        error: true,
      }),
      failed: (connection: PageConnection, error, from) =>
        connection.#owner.failed(error, from, connection),
      added: (connection: PageConnection, type) => {
        if (type.startsWith("message")) connection.#link.deliverEarly();
      },
    };
    linkOf = (connection) => connection.#link;
    openConnection = (init) => new PageConnection(init).#link.start();
  }

  private constructor(init: LinkInit<Types, PageConnection<Types>>) {
    super();
    emitters.attach(this, pageConnectionHooks);
    const { open, owner } = init;
    const { host, pathname, port, protocol, href } = new URL(open.socket.url);
    this.url = href;
    this.path = pathname;
    this.remoteAddress = port
      ? host
      : `${host}:${protocol === "wss:" ? 443 : 80}`;
    this.protocol = open.negotiated.protocol;
    this.#owner = owner;
    this.#link = new PageLink<Types, PageConnection<Types>>(
      this,
      this.remoteAddress,
      init,
    );
  }

  /** Whether the server supports `events.v1`. */
  get speaksEvents(): boolean {
    return this.#link.isEvents;
  }

  /** The state, as that of a `WebSocket`: 1 for open, 2 for closing, 3 for closed. */
  get readyState(): 1 | 2 | 3 {
    return this.#link.readyState;
  }

  /** The number of bytes that wait to be sent. */
  get bufferedAmount(): number {
    const { buffered, isOpen, outbox } = this.#link;
    return isOpen ? buffered + outbox.size : 0;
  }

  /**
   * Sends a message, on this connection only.
   *
   * @param data The data to send.
   * @param options The options.
   * @returns A promise that resolves when the message was passed to the socket and less
   * than `highWaterMark` bytes wait there. An unawaited rejection is not reported as
   * unhandled.
   * @throws {ConnectionEndedError} (rejects) If the connection is closing or has ended.
   * @throws {MessageDroppedError} (rejects) If the message was dropped under its
   * `overflow` policy.
   * @throws {TypeError} If the data cannot be serialized.
   * @throws {RangeError} If `overflow` is not a valid policy.
   */
  send(data: Outgoing<Types>, options?: SendOptions): Promise<void> {
    if (options !== undefined) assertSendOptions(options);
    return this.#link.send(encodeValue(data), options, false);
  }

  /**
   * Sends a request to the server, on this connection only. It fails if the server does
   * not support `events.v1`.
   *
   * @param data The data of the request.
   * @param options The options.
   * @returns A promise of the data of the reply. An unawaited rejection is not reported as
   * unhandled.
   * @throws {RequestError} (rejects) If the server refused the request.
   * @throws {ConnectionEndedError} (rejects) If the connection ends before the reply.
   * @throws {DOMException} (rejects) With the name `TimeoutError` if there is no reply in
   * time, or `NotSupportedError` if the server does not support `events.v1`.
   * @throws {TypeError} If the data cannot be serialized.
   */
  request<Type extends RequestType<Types>, Output = Reply<Types, Type>>(
    data: RequestData<Types, Type>,
    options?: CheckedRequestOptions<Output>,
  ): Promise<NoInfer<Output>>;
  request(data: unknown, options: RequestOptions = {}): Promise<unknown> {
    return this.#link.request(data, options);
  }

  /**
   * Starts the closing handshake, after everything that was sent before. The client does
   * not reconnect.
   *
   * @param code The close code: 1000, or 3000 to 4999.
   * @param reason The close reason, at most 123 bytes of UTF-8.
   * @returns A promise that resolves when the connection has ended.
   * @throws {RangeError} If the code is not allowed, or the reason is too long.
   */
  close(code: number = CloseCode.Normal, reason = ""): Promise<void> {
    assertCloseFrame(code, reason, "client");
    this.#owner.beforeClose();
    this.#link.close(code, reason, "local");
    return this.#link.ended.promise;
  }

  /**
   * Ends the connection for this page immediately, which is a `disconnect`, and starts the
   * closing handshake: a page can do no more. The client does not reconnect.
   */
  terminate(): void {
    this.#owner.beforeClose();
    this.#link.terminate("local");
  }
}
