/**
 * A channel on a client.
 *
 * @module
 */

import { Message } from "../../message.ts";
import { type Connection, coreOf } from "../connection/connection.ts";
import type { ConnectionOptions } from "../connection/connection_options.ts";
import { emitMessage } from "../connection/typed_messages.ts";
import type { ValueOrFunction } from "../client/client_options.ts";
import { Emitter, emitters } from "../events/emitter.ts";
import type { EmitterHooks } from "../events/emitter_internals.ts";
import { eventNames } from "../events/event_names.ts";
import {
  assertSize,
  ConnectionEndedError,
  ignoreRejection,
  RequestError,
} from "../events/errors.ts";
import {
  FailureEvent,
  type ReceivedEvent,
  RecoveryEvent,
} from "../events/event_types.ts";
import {
  type ChannelMemberInfo,
  encodeInChannel,
  encodeJoin,
  encodeLeave,
} from "../protocol/channel_frames.ts";
import { encodeAddressed, escapeFrame } from "../protocol/frames.ts";
import {
  REQUEST_TIMEOUT_MS,
  type RequestOptions,
} from "../requests/session.ts";
import { assertOverflow } from "../sending/backpressure_queue.ts";
import {
  assertSendOptions,
  type SendOptions,
  SendQueue,
} from "../sending/send_queue.ts";
import { type Deferred, withResolvers } from "../util/deferred.ts";
import { printable } from "../util/printable.ts";
import { startTimer, type Timer } from "../util/timer.ts";
import { encodeWith, type Frame } from "../values/codec.ts";
import type {
  Incoming,
  Outgoing,
  Reply,
  RequestData,
  RequestType,
  SocketTypes,
} from "../values/types.ts";
import {
  ChannelCloseEvent,
  ChannelMemberEvent,
  ChannelOpenEvent,
} from "./channel_events.ts";
import type {
  ChannelMessage,
  ChannelTypes,
  JoinData,
  Snapshot,
  TypedChannelMessages,
} from "./channel_types.ts";
import { MemberList } from "./member_list.ts";
import { type ChannelItem, ReceivedItems } from "./received_items.ts";

/**
 * The state of a {@linkcode Channel}:
 *
 * - `waiting`: the client has no connection.
 * - `joining`: the server was asked, and has not answered yet.
 * - `open`: the client is in the channel.
 * - `closed`: the client is not in the channel, and does not join it again.
 */
export type ChannelState = "waiting" | "joining" | "open" | "closed";

/**
 * The events of a {@linkcode Channel}.
 *
 * @typeParam Types The types of the channel.
 *
 * @example
 * ```ts
 * import { channel } from "jsr:@ws/events/channels";
 * import { ClientSocket } from "jsr:@ws/events/client";
 *
 * const client = new ClientSocket();
 * const order = channel(client, "orders/42");
 * order.on("open", (snapshot, isRejoin) => console.log(snapshot, isRejoin));
 * order.on("message", ({ data }) => console.log(data));
 * order.on("close", (code, reason) => console.log(code, reason));
 * ```
 */
export interface ChannelEvents<Types extends ChannelTypes> {
  /**
   * The client has joined the channel, for the first time or again after its connection
   * was lost. Listeners get the snapshot of the server, and whether the client was in the
   * channel before.
   */
  open: {
    args: [snapshot: Snapshot<Types>, isRejoin: boolean];
    event: ChannelOpenEvent<Snapshot<Types>>;
  };
  /** A message was received in the channel. Listeners get the message. */
  message: {
    args: [message: ChannelMessage<Types, Channel<Types>>];
    event: ReceivedEvent<ChannelMessage<Types, Channel<Types>>>;
  };
  /**
   * A member has joined. Only emitted if the server has the option `members`. Listeners
   * get the member.
   */
  join: {
    args: [member: ChannelMemberInfo];
    event: ChannelMemberEvent<ChannelMemberInfo>;
  };
  /**
   * The data of a member has changed. Only emitted if the server has the option `members`.
   * Listeners get the member.
   */
  update: {
    args: [member: ChannelMemberInfo];
    event: ChannelMemberEvent<ChannelMemberInfo>;
  };
  /**
   * A member has left. Only emitted if the server has the option `members`. Listeners get
   * the member.
   */
  leave: {
    args: [member: ChannelMemberInfo];
    event: ChannelMemberEvent<ChannelMemberInfo>;
  };
  /**
   * The client has joined again after its connection was lost. Listeners get `true` if all
   * missed messages were replayed, before this event. If it is `false`, use the snapshot
   * of `open`, or reload the state.
   */
  recovery: { args: [recovered: boolean]; event: RecoveryEvent };
  /**
   * The channel is closed for good: the client was refused, was removed, or has left.
   * Listeners get the code and the reason. No event follows.
   */
  close: { args: [code: string, reason: string]; event: ChannelCloseEvent };
  /**
   * A listener threw, its promise rejected, or a message could not be decoded. Listeners
   * get the error and the name of the event whose listener failed.
   */
  error: {
    args: [error: unknown, from: string, client: undefined];
    event: FailureEvent<undefined>;
  };
}

/** The channels of a client, as one of them uses them. */
export interface ChannelOwner {
  /** The options of the client. */
  readonly options: ConnectionOptions<SocketTypes>;
  /** A channel has its number on the current connection. */
  numbered(number: number, channel: ChannelInbox): void;
  /** A channel is closed. */
  closed(name: string, number: number | undefined): void;
  /** Reports an error as an `error` event of the client. */
  failed(error: unknown, from: string): void;
}

/** A channel, as the channels of its client see it. */
export interface ChannelInbox {
  /** The client has a connection. */
  connected(connection: Connection): void;
  /** The connection of the client has ended. */
  disconnected(): void;
  /** Takes a frame in the channel. */
  receive(item: ChannelItem, pending: Promise<unknown>[] | undefined): void;
  /** Closes the channel. */
  close(code: string, reason: string): void;
}

/** Options of {@linkcode channel}. */
export interface ChannelOptions {
  /**
   * How long the server may take to answer, in milliseconds. After that, the channel is
   * closed with the code `timeout`.
   *
   * @default {10_000}
   */
  readonly timeout?: number;
}

/** Options of {@linkcode Channel.history}. */
export interface ChannelHistoryOptions {
  /** The largest number of messages; as many as the server allows by default. */
  readonly limit?: number;
  /** The position of a message: only later messages are returned. */
  readonly since?: string;
}

/**
 * The answer of {@linkcode Channel.history}.
 *
 * @typeParam Types The types of the channel.
 */
export interface ChannelHistoryPage<Types extends ChannelTypes> {
  /** The messages, in order, with their positions. */
  readonly messages: readonly {
    readonly position: string;
    readonly data: Incoming<Types>;
  }[];
  /** Whether there are no other messages that were asked for. */
  readonly isComplete: boolean;
}

/** Creates a channel, and its inbox. */
export let createChannel: <Types extends ChannelTypes>(
  owner: ChannelOwner,
  name: string,
  data: ValueOrFunction<JoinData<Types>> | undefined,
  options: ChannelOptions,
) => [Channel<Types>, ChannelInbox];

let clientChannelHooks: EmitterHooks;

/**
 * A channel that a client joins, which {@linkcode channel} returns.
 *
 * It joins as soon as the client is connected, and again after each loss of the connection.
 * It ends with exactly one `close`, and emits nothing after that.
 *
 * @typeParam Types The types of the channel.
 *
 * @example
 * ```ts
 * import { channel } from "jsr:@ws/events/channels";
 * import { ClientSocket } from "jsr:@ws/events/client";
 *
 * const client = new ClientSocket({ reconnect: true });
 * const order = channel(client, "orders/42", () => ({ token: "fresh" }));
 * order.on("open", (snapshot) => console.log("now", snapshot));
 * order.on("message", ({ data }) => console.log("then", data));
 * order.on("recovery", (recovered) => console.log("back", recovered));
 * order.on("close", (code, reason) => console.log("out", code, reason));
 * ```
 */
export class Channel<Types extends ChannelTypes = ChannelTypes> extends Emitter<
  ChannelEvents<Types>,
  TypedChannelMessages<Types, Channel<Types>>
> {
  /** The name of the channel, such as `orders/42`. */
  readonly name: string;
  readonly #owner: ChannelOwner;
  readonly #data: ValueOrFunction<JoinData<Types>> | undefined;
  readonly #timeout: number;
  /** Messages that wait until the channel is open. */
  readonly #queue: SendQueue;
  readonly #joined: Deferred<Snapshot<Types>> = withResolvers();
  readonly #members = new MemberList();
  #state: ChannelState = "waiting";
  #connection: Connection | undefined;
  /** The number of the channel on the connection, once the server was asked. */
  #number: number | undefined;
  /** Whether the client was in the channel before. */
  #wasOpen = false;
  /** Ends the current attempt to join. */
  #attempt = new AbortController();
  /** Received items that cannot be emitted yet, in order. */
  readonly #held = new ReceivedItems();
  /** Whether messages without a listener wait for one. */
  #isOpening = false;
  #openTimer: Timer | undefined;
  #closedReason = "";
  readonly #inbox: ChannelInbox = {
    connected: (connection) => this.#connected(connection),
    disconnected: () => this.#disconnected(),
    receive: (item, pending) => this.#receive(item, pending),
    close: (code, reason) => this.#close(code, reason),
  };

  static {
    clientChannelHooks = {
      names: eventNames<ChannelEvents<ChannelTypes>>({
        open: true,
        message: true,
        join: true,
        update: true,
        leave: true,
        recovery: true,
        close: true,
        error: true,
      }),
      failed: (channel: Channel, error, from) => channel.#report(error, from),
      added: (channel: Channel, type) => {
        if (!type.startsWith("message") || !channel.#isOpening) return;
        queueMicrotask(() => channel.#emitHeld());
      },
    };
    createChannel = (owner, name, data, options) => {
      const channel = new Channel(owner, name, data, options);
      return [channel, channel.#inbox];
    };
  }

  private constructor(
    owner: ChannelOwner,
    name: string,
    data: ValueOrFunction<JoinData<Types>> | undefined,
    { timeout = REQUEST_TIMEOUT_MS }: ChannelOptions,
  ) {
    super();
    emitters.attach(this, clientChannelHooks);
    assertSize("timeout", timeout);
    this.name = name;
    this.#owner = owner;
    this.#data = data;
    this.#timeout = timeout;
    this.#queue = new SendQueue(owner.options.writerLimits);
    ignoreRejection(this.#joined.promise);
  }

  /** The state: `waiting`, `joining`, `open` or `closed`; see {@linkcode ChannelState}. */
  get state(): ChannelState {
    return this.#state;
  }

  /**
   * A promise of the first snapshot. It rejects with a {@linkcode RequestError} if the
   * channel is closed before it was ever open; its `code` is that of `close`. If it is not
   * awaited, its rejection is not reported as unhandled.
   */
  get joined(): Promise<Snapshot<Types>> {
    return this.#joined.promise;
  }

  /**
   * The members of the channel on all servers. Empty unless the server has the option
   * `members`. Without a connection, the last known members.
   */
  get members(): readonly ChannelMemberInfo[] {
    return this.#members.all;
  }

  /** The number of messages that were dropped while the channel was not open. */
  get droppedOffline(): number {
    return this.#queue.dropped;
  }

  /**
   * Sends a message to the server in the channel. Until the channel is open, messages wait
   * in order, up to `maxBufferedAmount`.
   *
   * A message is sent at most once. An unawaited rejection is not reported as unhandled.
   *
   * @param data The data to send.
   * @param options The `overflow` policy, a key, and whether the message is volatile.
   * @returns A promise that resolves as that of {@linkcode Connection.send}.
   * @throws {ConnectionEndedError} (rejects) If the channel is closed, or the connection is
   * lost before the message was passed to it.
   * @throws {MessageDroppedError} (rejects) If the message was dropped under its `overflow`
   * policy.
   * @throws {TypeError} If the data cannot be serialized.
   *
   * @example
   * ```ts
   * import { channel } from "jsr:@ws/events/channels";
   * import { ClientSocket } from "jsr:@ws/events/client";
   *
   * const client = new ClientSocket();
   * const order = channel(client, "orders/42");
   * order.on("open", () => order.send({ type: "seen" }));
   * ```
   */
  send(data: Outgoing<Types>, options?: SendOptions): Promise<void> {
    if (options !== undefined) assertSendOptions(options);
    const frame = escapeFrame(encodeWith(data, this.#owner.options.codec));
    if (this.#state === "closed") {
      return ignoreRejection(Promise.reject(this.#closedError()));
    }
    assertOverflow(options);
    const sent = this.#state === "open"
      ? this.#sendNow(frame, options)
      : undefined;
    if (sent) return sent;
    if (options?.volatile) return this.#queue.dropVolatile();
    const { entry, isQueued } = this.#queue.add(frame, options, true, 0);
    if (!isQueued) this.#queue.drop(entry);
    return entry.promise;
  }

  /**
   * Sends a request to the server in the channel. Until the channel is open, it waits.
   *
   * @param data The data of the request.
   * @param options The timeout, which includes the time until the channel is open, and a
   * signal.
   * @returns A promise of the data of the reply. It rejects as that of {@linkcode
   * Connection.request}, and with a `ConnectionEndedError` if the channel is closed. An
   * unawaited rejection is not reported as unhandled.
   * @throws {TypeError} If the data cannot be serialized.
   *
   * @example
   * ```ts
   * import { channel } from "jsr:@ws/events/channels";
   * import { ClientSocket } from "jsr:@ws/events/client";
   *
   * const client = new ClientSocket();
   * const order = channel(client, "orders/42");
   * order.on("open", async () => {
   *   const receipt = await order.request({ type: "receipt" }, { timeout: 5_000 });
   *   console.log(receipt);
   * });
   * ```
   */
  request<Type extends RequestType<Types>>(
    data: RequestData<Types, Type>,
    options: RequestOptions = {},
  ): Promise<Reply<Types, Type>> {
    encodeWith(data, this.#owner.options.codec); // throws at once for invalid data
    return ignoreRejection(this.#request(data, options));
  }

  /**
   * Reads stored messages of the channel, if the server lets members do so by the option
   * `history` of the channel.
   *
   * @param options How many messages: the last ones, or the first ones after `since`, the
   * position of a message.
   * @returns A promise of the messages, in order, and of whether there are no others. It
   * rejects as that of {@linkcode Channel.request}: with the code `unhandled` if the server
   * does not let members read the history. Messages of bytes are only included with a
   * codec.
   *
   * @example
   * ```ts
   * import { channel } from "jsr:@ws/events/channels";
   * import { ClientSocket } from "jsr:@ws/events/client";
   *
   * async function showLast(client: ClientSocket): Promise<void> {
   *   const lobby = channel<{ incoming: { text: string } }>(client, "lobby");
   *   const { messages } = await lobby.history({ limit: 20 });
   *   for (const { data } of messages) console.log(data.text);
   * }
   * ```
   */
  history(
    options: ChannelHistoryOptions = {},
  ): Promise<ChannelHistoryPage<Types>> {
    return ignoreRejection(this.#requestHistory(options));
  }

  async #requestHistory(
    { limit, since }: ChannelHistoryOptions,
  ): Promise<ChannelHistoryPage<Types>> {
    const request = { type: "history", limit, since };
    return await this.#request(request, {});
  }

  /**
   * Leaves the channel: `close` is emitted with the code `left`. The promises of waiting
   * messages reject; messages that were passed to the connection are still sent.
   *
   * @example
   * ```ts
   * import { channel } from "jsr:@ws/events/channels";
   * import { ClientSocket } from "jsr:@ws/events/client";
   *
   * const client = new ClientSocket();
   * const order = channel(client, "orders/42");
   * order.on("close", (code) => console.log(code)); // left
   * order.leave();
   * ```
   */
  leave(): void {
    this.#leave("left", "This side has left the channel");
  }

  #leave(code: string, reason: string): void {
    if (this.#number !== undefined && this.#connection) {
      coreOf(this.#connection).sendMarked(encodeLeave(this.#number));
    }
    this.#close(code, reason);
  }

  async #request<Answer>(
    data: unknown,
    options: RequestOptions,
  ): Promise<Answer> {
    const { timeout = REQUEST_TIMEOUT_MS, signal } = options;
    assertSize("timeout", timeout);
    let left = timeout;
    if (this.#state !== "open") {
      const start = performance.now();
      await emitters.waitFor(this, "open", {
        ...signal && { signal },
        ...timeout < Infinity && { timeout },
      });
      left = Math.max(0, timeout - (performance.now() - start));
    }
    const connection = this.#connection;
    const number = this.#number;
    if (!connection || number === undefined) throw this.#closedError();
    const reply = await coreOf(connection).request(
      data,
      { ...options, timeout: left },
      undefined,
      (id, frame) =>
        encodeInChannel(number, encodeAddressed("request", id, frame)),
    );
    // The type is the application's claim about its peer.
    return reply as Answer;
  }

  /** Sends a frame. Returns undefined if the connection is not open. */
  #sendNow(
    frame: Frame,
    options: SendOptions | undefined,
  ): Promise<void> | undefined {
    const connection = this.#connection;
    const number = this.#number;
    if (!connection || number === undefined) return undefined;
    // Messages of two channels never replace each other.
    const key = `${number} ${options?.key ?? ""}`;
    return coreOf(connection).sendMarked(
      encodeInChannel(number, frame),
      { ...options, key },
    );
  }

  #connected(connection: Connection): void {
    this.#disconnected();
    if (this.#state === "closed") return;
    this.#connection = connection;
    this.#state = "joining";
    const attempt = this.#attempt = new AbortController();
    this.#join(connection, attempt.signal).then(
      (snapshot) => {
        if (!attempt.signal.aborted) this.#opened(snapshot);
      },
      (error) => {
        if (!attempt.signal.aborted) this.#failed(error);
      },
    );
  }

  #disconnected(): void {
    if (this.#state === "closed") return;
    this.#attempt.abort();
    this.#state = "waiting";
    this.#connection = undefined;
    this.#number = undefined;
    this.#closeUnopened();
    // Items received before the channel was ever open are older than its next snapshot.
    if (!this.#wasOpen) this.#held.clear();
  }

  /** Asks the server. Resolves with the snapshot. */
  async #join(
    connection: Connection,
    signal: AbortSignal,
  ): Promise<Snapshot<Types>> {
    const given: unknown = this.#data;
    const data = isProvider(given) ? await given() : given;
    signal.throwIfAborted();
    const reply = await coreOf(connection).request(
      null,
      { timeout: this.#timeout, signal },
      undefined,
      (id) => {
        this.#number = id;
        this.#owner.numbered(id, this.#inbox);
        const { name } = this;
        return encodeJoin(id, { name, data, isRejoin: this.#wasOpen });
      },
    );
    // The type is the application's claim about its server.
    return reply as Snapshot<Types>;
  }

  #opened(snapshot: Snapshot<Types>): void {
    const isRejoin = this.#wasOpen;
    this.#state = "open";
    this.#wasOpen = true;
    this.#isOpening = true;
    clearTimeout(this.#openTimer);
    this.#openTimer = startTimer(() => {
      this.#isOpening = false;
      this.#emitHeld();
    }, 0);
    this.#joined.resolve(snapshot);
    emitters.emit(this, "open", ChannelOpenEvent, [snapshot, isRejoin]);
    this.#sendQueued();
    this.#emitHeld();
  }

  #failed(error: unknown): void {
    if (error instanceof ConnectionEndedError) return; // the client tells its end
    const name = error instanceof Error ? error.name : "";
    const reason = error instanceof Error ? error.message : String(error);
    if (error instanceof RequestError) {
      this.#close(error.code ?? "refused", reason);
    } else if (name === "NotSupportedError") {
      this.#close("unsupported", `${this.#attemptText} as ${NEEDS_EVENTS}`);
    } else if (name === "TimeoutError" && this.#number !== undefined) {
      this.#leave("timeout", `${this.#attemptText} as ${NO_ANSWER}`);
    } else {
      this.#report(error, "join");
      this.#close("failed", reason);
    }
  }

  get #attemptText(): string {
    return `Cannot join the channel "${printable(this.name)}"`;
  }

  /** Sends the messages that have waited for the channel. */
  #sendQueued(): void {
    for (const entry of this.#queue.takeAll()) {
      const { overflow, key } = entry;
      const sent = this.#state === "open"
        ? this.#sendNow(entry.frame, { overflow, key })
        : undefined;
      if (sent) sent.then(entry.resolve, entry.reject);
      else if (this.#state === "closed") {
        entry.reject(this.#closedError());
      } else if (!this.#queue.enqueue(entry, 0)) this.#queue.drop(entry);
    }
  }

  #receive(
    item: ChannelItem,
    pending: Promise<unknown>[] | undefined,
  ): void {
    if (this.#state === "closed") return;
    if (this.#state === "open" && this.#held.isEmpty) {
      const isEarly = item.kind === "message" && this.#isOpening &&
        !this.#isHeard;
      if (!isEarly) return this.#emitItem(item, pending);
    }
    this.#held.add(item);
    if (this.#held.size > this.#owner.options.writerLimits.maxBufferedAmount) {
      return this.#leave(
        "overflow",
        "Too many messages came before the channel was open",
      );
    }
    if (this.#state === "open") this.#emitHeld();
    // The server does not answer if it has already removed the client.
    else if (item.kind === "leave") startTimer(() => this.#closeUnopened(), 0);
  }

  get #isHeard(): boolean {
    return emitters.isHeard(this, "message") || emitters.hasTyped(this);
  }

  /** Emits held items, up to a message that waits for a listener. */
  #emitHeld(): void {
    while (this.#state === "open") {
      const item = this.#held.first;
      if (!item) return;
      if (item.kind === "message" && this.#isOpening && !this.#isHeard) return;
      this.#held.shift();
      this.#emitItem(item, undefined);
    }
  }

  #emitItem(
    item: ChannelItem,
    pending: Promise<unknown>[] | undefined,
  ): void {
    switch (item.kind) {
      case "message": {
        const { codec } = this.#owner.options;
        const message: ChannelMessage<Types, Channel<Types>> = new Message(
          item.payload,
          this,
          undefined,
          { codec },
        );
        return emitMessage(this, message, pending);
      }
      case "recovery":
        return emitters.emit(this, "recovery", RecoveryEvent, [item.recovered]);
      case "members":
        for (const { type, member } of this.#members.apply(item.update)) {
          const Event = ChannelMemberEvent<ChannelMemberInfo>;
          emitters.emit(this, type, Event, [member]);
        }
        return;
      case "leave":
        return this.#close(item.code, item.reason);
    }
  }

  /** Closes a channel that the server has ended while the client was joining. */
  #closeUnopened(): void {
    if (this.#state === "open" || this.#state === "closed") return;
    const end = this.#held.leave;
    if (end) this.#close(end.code, end.reason);
  }

  #close(code: string, reason: string): void {
    if (this.#state === "closed") return;
    const number = this.#number;
    this.#state = "closed";
    this.#attempt.abort();
    clearTimeout(this.#openTimer);
    this.#held.clear();
    this.#connection = this.#number = undefined;
    this.#owner.closed(this.name, number);
    this.#joined.reject(new RequestError(reason, code));
    const makeError = () => this.#closedError();
    for (const entry of this.#queue.stop(makeError)) entry.reject(makeError());
    this.#closedReason = reason;
    emitters.stopWaiting(this, makeError, true, () => {
      emitters.emit(this, "close", ChannelCloseEvent, [code, reason]);
    });
  }

  #closedError(): ConnectionEndedError {
    return new ConnectionEndedError(
      `Cannot send in the channel "${printable(this.name)}" as it is closed: ${
        printable(this.#closedReason)
      }`,
    );
  }

  #report(error: unknown, from: string): void {
    if (!emitters.isHeard(this, "error")) {
      return this.#owner.failed(error, from);
    }
    emitters.emit(this, "error", FailureEvent<undefined>, [
      error,
      from,
      undefined,
    ]);
  }
}

const NEEDS_EVENTS =
  "the server does not support events.v1: use a server of this library";

const NO_ANSWER =
  "the server has not answered: does it call channels(), and does its join return?";

function isProvider(value: unknown): value is () => unknown {
  return typeof value === "function";
}
