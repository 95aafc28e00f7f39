/**
 * The state of a server: its connections, rooms, listener and shutdown. The public
 * methods are in `server.ts`.
 *
 * @module
 */

import { Upgrader } from "../admission/upgrade.ts";
import {
  Connection,
  type ConnectionOwner,
  coreOf,
} from "../connection/connection.ts";
import {
  type ConnectionOptions,
  contractSide,
  resolveOptions,
} from "../connection/connection_options.ts";
import { type Endpoint, endpoints } from "../connection/endpoint.ts";
import { guardWith } from "../connection/inbound_guard.ts";
import type { InboundHook } from "../connection/inbound_gate.ts";
import { InboundHooks } from "../connection/inbound_hooks.ts";
import { emitMessage, isMessageHeard } from "../connection/typed_messages.ts";
import { emitEnd } from "../events/emit_end.ts";
import { emitError } from "../events/emit_error.ts";
import { emitters } from "../events/emitter.ts";
import { ErrorLog, errorReason } from "../events/error_log.ts";
import { ConnectionEndedError } from "../events/errors.ts";
import {
  AdapterEvent,
  ConnectEvent,
  EndEvent,
  MemberEvent,
  ReadyEvent,
  ReceivedEvent,
  RefusedEvent,
  ServerMessageEvent,
} from "../events/event_types.ts";
import { register } from "../events/instrumentation.ts";
import { Message } from "../../message.ts";
import { Broadcaster } from "../rooms/broadcaster.ts";
import { resolvePresence } from "../rooms/presence_options.ts";
import { RequestRetries } from "../retries/request_retries.ts";
import { registerChannelHost } from "../rooms/room_channels.ts";
import { registerDescriptions } from "../rooms/server_descriptions.ts";
import type { BroadcastBody } from "../history/envelope.ts";
import { assertOverflow } from "../sending/backpressure_queue.ts";
import { assertSendOptions, type SendOptions } from "../sending/send_queue.ts";
import { BufferBudget } from "../sending/buffer_budget.ts";
import { OnceWarnings } from "../util/once_warnings.ts";
import { encodeWith } from "../values/codec.ts";
import type { Outgoing, SocketTypes } from "../values/types.ts";
import { Authorizations } from "./authorizations.ts";
import { DisconnectedClients } from "./disconnected_clients.ts";
import { ServerListener } from "./listening.ts";
import type { ServerEvents } from "./server_events.ts";
import { resolveServerOptions, type ServerOptions } from "./server_options.ts";
import { ClientShutdown, type ShutdownPlan } from "./shutdown.ts";

/** The maximum number of reasons of the adapter that are written to the console. */
const MAX_ADAPTER_WARNINGS = 10;

/** The events that are only emitted with the option `presence`. */
const PRESENCE_EVENTS = ["join", "update", "leave"];

/** The state of one server. */
export class ServerCore<Types extends SocketTypes> {
  /** The open connections. */
  readonly clients: ReadonlySet<Connection<Types>>;
  readonly disconnected: DisconnectedClients;
  readonly broadcaster: Broadcaster<Types>;
  readonly listener: ServerListener;
  readonly upgrader: Upgrader<Types>;
  readonly #retries: RequestRetries<Types>;
  readonly #server: Endpoint<Types, ServerEvents<Types>>;
  readonly #options: ConnectionOptions<Types>;
  readonly #clients = new Set<Connection<Types>>();
  /** Connections that have ended while their `connect` listeners were still running. */
  readonly #endDeferred = new Set<Connection<Types>>();
  /** The hooks around what clients send, if there are any. */
  #hooks: InboundHooks<Connection<Types>> | undefined;
  readonly #authorizations: Authorizations<Types>;
  readonly #shutdown = new ClientShutdown(this.#clients);
  readonly #errorLog = new ErrorLog();
  readonly #adapterWarnings = new OnceWarnings(MAX_ADAPTER_WARNINGS);
  readonly #presenceWarnings = new OnceWarnings(PRESENCE_EVENTS.length);
  readonly #hasPresence: boolean;
  #closed: Promise<void> | undefined;

  /**
   * Validates the options.
   *
   * @param server The server, which emits the events.
   * @throws {TypeError} If an option is unknown or has the wrong type, or an origin, a
   * path or a subprotocol could never match.
   * @throws {RangeError} If a number is negative, `NaN` or too small.
   */
  constructor(
    server: Endpoint<Types, ServerEvents<Types>>,
    options: ServerOptions<Types>,
  ) {
    this.#server = server;
    this.clients = this.#clients;
    const resolved = resolveServerOptions(options);
    this.#hasPresence = options.presence !== undefined;
    const { idleTimeout, pongGrace, closeTimeout, history } = resolved;
    this.#options = resolveOptions(options, idleTimeout, {
      closeTimeout,
      maxPayload: resolved.maxPayload,
      guard: guardWith(resolved.messageRate),
      budget: new BufferBudget(
        resolved.maxBufferedTotal,
        () => this.#holders(),
        (connection) => coreOf(connection).memory,
        (connection) => coreOf(connection).terminateForMemory(),
      ),
      idleTimeout: () => 0, // the upgrader has one timer for all connections
    }, contractSide(options, options.contract, options.contract?.server));
    register(server, this.#options);
    this.disconnected = new DisconnectedClients(
      resolved.maxDisconnectedClients,
    );
    this.broadcaster = new Broadcaster({
      clients: this.#clients,
      codec: this.#options.codec,
      replySchemas: this.#options.replySchemas,
      writerLimits: this.#options.writerLimits,
      adapter: resolved.adapter,
      maxQueued: resolved.adapterQueue,
      history,
      presence: resolvePresence(options.presence),
    }, {
      memberJoined: (...args) => this.#emit("join", MemberEvent, args),
      memberUpdated: (...args) => this.#emit("update", MemberEvent, args),
      memberLeft: (...args) => this.#emit("leave", MemberEvent, args),
      appMessage: (body) => this.#appMessage(body),
      changed: (state, error) => this.#adapterChanged(state, error),
      failed: (error, from, client) => this.#reportError(error, from, client),
    });
    registerChannelHost(server, this.broadcaster);
    registerDescriptions(server, this.broadcaster.cluster);
    this.#retries = new RequestRetries(resolved.retries, {
      name: this.broadcaster.name,
      isLost: (name) => this.broadcaster.isLost(name),
      failed: (error) => this.#reportError(error, "adapter"),
    }, resolved.adapter?.records);
    this.#authorizations = new Authorizations(options.expiresAt);
    this.upgrader = new Upgrader({
      admission: options,
      support: {
        ...this.#options.support,
        hasHistory: history !== undefined,
      },
      fallback: options.fallback,
      connection: this.#options,
      idleTimeout,
      pongGrace,
    }, {
      owner: this.#createOwner(),
      admitted: (client, expiresAt) =>
        this.#authorizations.admitted(client, expiresAt),
      isRefusedHeard: () => emitters.isHeard(server, "refused"),
      refused: (...args) => this.#emit("refused", RefusedEvent, args),
      failed: (error, from) => this.#reportError(error, from),
    });
    this.listener = new ServerListener({
      fetch: (request, info) => this.upgrader.respond(request, info),
      ready: () => this.#emit("ready", ReadyEvent, []),
      failed: (error) => this.#reportError(error, "listen"),
    });
  }

  /** Shuts down; later calls return the same promise. */
  shutdown(plan: ShutdownPlan): Promise<void> {
    return this.#closed ??= this.#shutDown(plan);
  }

  /** Warns of a listener that would never be called. */
  listenerAdded(type: string): void {
    if (this.#hasPresence || !PRESENCE_EVENTS.includes(type)) return;
    this.#presenceWarnings.warn(
      type,
      () =>
        `The event "${type}" is not emitted without the option "presence": pass, for example, presence: (client) => ({ id: client.id })`,
    );
  }

  /** Reports an error that no other listener receives. */
  reportError(error: unknown, from: string, subject?: unknown): void {
    this.#reportError(error, from, clientOf<Types>(subject));
  }

  async #shutDown(plan: ShutdownPlan): Promise<void> {
    const { closeTimeout } = this.#options;
    this.listener.close();
    this.upgrader.close(plan.retryAfter);
    this.upgrader.terminatePending();
    const settled = this.broadcaster.settle(closeTimeout);
    if (settled) await settled;
    await this.#retries.settle(closeTimeout);
    await this.#shutdown.closeAll(plan, !this.listener.isBound);
    for (const client of this.#endDeferred) client.terminate();
    await this.#retries.settle(closeTimeout);
    this.#retries.close();
    const { answers, hasLostUpgrades } = this.upgrader;
    await this.listener.stop(answers, closeTimeout, hasLostUpgrades);
    await this.broadcaster.close();
    this.#errorLog.flush();
    emitters.stopWaiting(
      this.#server,
      () =>
        new ConnectionEndedError(
          "Cannot wait any longer for an event from a server that was closed",
        ),
      true,
    );
  }

  #emit<Type extends keyof ServerEvents<Types> & string>(
    type: Type,
    Event: new (
      type: Type,
      ...args: ServerEvents<Types>[Type]["args"]
    ) => ServerEvents<Types>[Type]["event"],
    args: ServerEvents<Types>[Type]["args"],
    pending?: Promise<unknown>[],
  ): void {
    emitters.emit(this.#server, type, Event, args, pending);
  }

  #reportError(error: unknown, from: string, client?: Connection<Types>): void {
    emitError(this.#server, this.#options, this.#errorLog, error, from, client);
  }

  /** Sends a message to the client of any server that has this id. */
  async sendById(
    id: string,
    data: Outgoing<Types>,
    options: SendOptions = {},
  ): Promise<boolean> {
    assertSendOptions(options);
    const frame = encodeWith(data, this.#options.codec);
    assertOverflow(options);
    return await this.broadcaster.cluster.sendById(id, frame, options);
  }

  /** Adds a hook around everything that clients send. */
  use(hook: InboundHook<Connection<Types>>): void {
    const hooks = this.#hooks ?? new InboundHooks<Connection<Types>>();
    hooks.add(hook);
    if (this.#hooks) return;
    this.#hooks = hooks;
    for (const client of this.#clients) coreOf(client).dispatcher.hooksAdded();
  }

  /** Emits a message of another server. */
  #appMessage(body: BroadcastBody): void {
    if (typeof body !== "string") {
      throw new TypeError("Cannot decode a message of a server: it is no text");
    }
    const data: unknown = JSON.parse(body);
    this.#emit("servermessage", ServerMessageEvent, [data]);
  }

  #adapterChanged(state: "up" | "down", error: unknown): void {
    if (state === "down" && !emitters.isHeard(this.#server, "adapter")) {
      const reason = error === undefined
        ? "the connection is lost"
        : errorReason(error);
      this.#adapterWarnings.warn(
        reason,
        () =>
          `Cannot reach other servers through the adapter: ${reason} (each reason is logged once: listen to "adapter" for all)`,
      );
    }
    this.#emit("adapter", AdapterEvent, [state, error]);
  }

  /** All connections that may have queued messages. */
  *#holders(): Generator<Connection<Types>> {
    yield* this.#clients;
    yield* this.#endDeferred;
  }

  /** Handles what connections report. */
  #createOwner(): ConnectionOwner<Types> {
    const hooks = () => this.#hooks;
    return {
      get hooks() {
        return hooks();
      },
      rooms: this.broadcaster.rooms,
      renew: (client, context) => this.#authorizations.renew(client, context),
      beforeClose: () => this.#shutdown.isClosing ? "shutdown" : "local",
      isHosted: () => !this.listener.isBound,
      hasListener: (type) =>
        emitters.isHeard(this.#server, type) ||
        (type === "message" && emitters.hasTyped(this.#server)),
      isMessageHeard: (message) => isMessageHeard(this.#server, message),
      opened: (client) => {
        this.upgrader.opened(client);
        this.#clients.add(client);
        const pending: Promise<unknown>[] = [];
        this.broadcaster.clientConnected(client);
        this.#emit("connect", ConnectEvent, [client, client.path], pending);
        this.broadcaster.recover(client, pending);
        return pending;
      },
      received: (message, pending) =>
        emitMessage(this.#server, message, pending),
      findHandler: (request) =>
        endpoints.handlerOf<Types, ServerEvents<Types>, Connection<Types>>(
          this.#server,
          request,
        ),
      receiveRetry: (client, payload) => this.#retries.receive(client, payload),
      drained: () => {},
      ended: (client, end) => {
        this.#clients.delete(client);
        this.#hooks?.clientEnded(client);
        this.#authorizations.ended(client);
        this.broadcaster.clientEnded(client);
        this.#retries.clientEnded(client);
        this.#shutdown.clientEnded();
        this.upgrader.released(client, end);
        if (end.type === "disconnect") this.disconnected.add(client, end);
        emitEnd(this.#server, client, end, client);
      },
      unsent: () => {},
      endDeferred: (client, isWaiting) => {
        if (isWaiting) this.#endDeferred.add(client);
        else this.#endDeferred.delete(client);
      },
      refused: (client) => {
        this.#authorizations.ended(client);
        this.upgrader.lost(client);
      },
      failed: (error, from, client) => this.#reportError(error, from, client),
    };
  }
}

/** The client that an event is about, if it is about one. */
function clientOf<Types extends SocketTypes>(
  subject: unknown,
): Connection<Types> | undefined {
  if (subject instanceof ReceivedEvent) subject = subject.message;
  if (subject instanceof ConnectEvent || subject instanceof EndEvent) {
    subject = subject.connection;
  }
  if (subject instanceof Message) subject = subject.author;
  return subject instanceof Connection ? subject : undefined;
}
