/**
 * What a client is made of, in pages and elsewhere.
 *
 * @module
 */

import type { MessageAuthor } from "../../message.ts";
import type { ConnectError, ConnectErrorDetails } from "../events/errors.ts";
import type { Instrumented } from "../events/instrumentation.ts";
import type { ResolvedReconnectOptions } from "../reconnect/reconnect_options.ts";
import type { ClientRetries } from "../retries/retry_feature.ts";
import type { QueuedMessage, SendOptions } from "../sending/send_queue.ts";
import type { Frame } from "../values/codec.ts";
import type { CheckedRequestOptions } from "../connection/connection.ts";
import type {
  Outgoing,
  Reply,
  RequestData,
  RequestType,
  SocketTypes,
} from "../values/types.ts";
import type { CreateOwner } from "./attempt_result.ts";
import type { ConnectOptions, ValueOrFunction } from "./client_options.ts";

/**
 * A connection, as its client uses it.
 *
 * @typeParam Types The types of the client.
 */
export interface ClientConnection<Types extends SocketTypes>
  extends EventTarget, MessageAuthor<Outgoing<Types>> {
  /** The URL. */
  readonly url: string;
  /** The path of the URL. */
  readonly path: string;
  /** The number of bytes that wait to be sent. */
  readonly bufferedAmount: number;
  /**
   * Sends a message.
   *
   * @param data The data to send.
   * @param options The options.
   * @returns A promise that resolves when there is room for more.
   */
  send(data: Outgoing<Types>, options?: SendOptions): Promise<void>;
  /**
   * Sends a request to the server.
   *
   * @param data The data of the request.
   * @param options The options.
   * @returns A promise of the data of the reply.
   */
  request<Type extends RequestType<Types>, Output = Reply<Types, Type>>(
    data: RequestData<Types, Type>,
    options?: CheckedRequestOptions<Output>,
  ): Promise<NoInfer<Output>>;
  /**
   * Closes the connection.
   *
   * @param code The close code.
   * @param reason The close reason.
   * @returns A promise that resolves when the connection has ended.
   */
  close(code?: number, reason?: string): Promise<void>;
  /** Drops the connection. */
  terminate(): void;
}

/** Opens connections. */
export interface ClientConnector<
  Types extends SocketTypes,
  C extends ClientConnection<Types>,
> {
  /** Where to connect to. */
  url: ValueOrFunction<string | URL>;
  /**
   * Makes one attempt.
   *
   * @param signal Cancels it, with its reason.
   * @param createOwner Returns the owner of a connection.
   * @returns A promise that resolves when the connection is open.
   */
  connect(
    signal: AbortSignal,
    createOwner: CreateOwner<Types, C>,
  ): Promise<void>;
  /** Creates the error of an attempt that failed. */
  createError(reason: string, details?: ConnectErrorDetails): ConnectError;
}

/** The messages that wait for a connection. */
export interface OfflineQueue {
  /** The size of all messages, in bytes. */
  readonly size: number;
  /** The number of messages that were dropped. */
  readonly dropped: number;
  /** Adds a message, or drops it. */
  addTransferable(
    frame: Frame,
    options: SendOptions | undefined,
  ): Promise<void>;
  /** Adds messages that have waited elsewhere, before the others. */
  putBack(entries: readonly QueuedMessage[]): void;
  /** Removes all messages. */
  takeAll(): QueuedMessage[];
  /** Drops a message that cannot be sent at once. */
  dropVolatile(): Promise<void>;
  /** Drops the message that one with these options has just replaced. */
  dropSuperseded(options: SendOptions | undefined): void;
}

/** The parts of a client, and its options. */
export interface ClientParts<
  Types extends SocketTypes,
  C extends ClientConnection<Types>,
> {
  readonly connector: ClientConnector<Types, C>;
  readonly queue: OfflineQueue;
  readonly reconnect: ResolvedReconnectOptions | undefined;
  readonly connectTimeout: number;
  readonly signal: AbortSignal | undefined;
  readonly instrumented: Instrumented;
  /**
   * Checks the options of `connect`.
   *
   * @throws {TypeError} If an option has the wrong type, or does not exist.
   */
  assertConnectOptions(options: ConnectOptions): void;
  /**
   * Encodes the data of a message.
   *
   * @throws {TypeError} If it cannot be serialized.
   */
  encode(data: unknown): Frame;
  /**
   * Sends a message on a connection.
   *
   * @param isTransferable Whether the next connection may send it.
   * @returns A promise as that of `send`; undefined if the connection takes no message.
   */
  send(
    connection: C,
    frame: Frame,
    options: SendOptions | undefined,
    isTransferable: boolean,
  ): Promise<void> | undefined;
  /** Sends messages that have waited for a connection. */
  adopt(connection: C, entries: readonly QueuedMessage[]): void;
  /**
   * Creates the requests that are sent again after a loss.
   *
   * @throws {Error} If this client has no code for them.
   */
  createRetries(): ClientRetries<Types, C>;
  /** Asks the server for a sign of life, which has to come in time. */
  probe(connection: C, timeout: number): void;
  /** Closes a connection whose messages come faster than an iterator reads them. */
  iteratorOverflowed?(connection: C): void;
}
