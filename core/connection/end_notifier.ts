/**
 * Emits the end of a connection, once: first on the owner, then on the connection, and
 * not before the messages that arrived earlier.
 *
 * @module
 */

import { type Deferred, withResolvers } from "../util/deferred.ts";
import { emitters } from "../events/emitter.ts";
import { type ConnectionEnd, RESOLVED } from "../events/errors.ts";
import { emitEnd } from "../events/emit_end.ts";
import { startTimer, type Timer } from "../util/timer.ts";
import type { SocketTypes } from "../values/types.ts";
import type { Dispatcher } from "./dispatcher.ts";
import type { ConnectionHost } from "./connection_host.ts";
import type { OwnedConnection } from "./owner.ts";
import type { Receiver } from "./receiver.ts";

/** Emits the end of one connection. */
export class EndNotifier<
  Types extends SocketTypes,
  C extends OwnedConnection<Types>,
> {
  readonly #dispatcher: Dispatcher<Types, C>;
  readonly #receiver: Receiver<Types, C>;
  readonly #host: ConnectionHost<Types, C>;
  #timer: Timer | undefined;
  #isOwnerNotified = false;
  #isEmitted = false;
  #emitted: Deferred<void> | undefined;

  /** Creates the notifier of a connection that has not ended. */
  constructor(
    host: ConnectionHost<Types, C>,
    dispatcher: Dispatcher<Types, C>,
    receiver: Receiver<Types, C>,
  ) {
    this.#host = host;
    this.#dispatcher = dispatcher;
    this.#receiver = receiver;
  }

  /** A promise that resolves when the end has been emitted. */
  get emitted(): Promise<void> {
    return this.#isEmitted
      ? RESOLVED
      : (this.#emitted ??= withResolvers()).promise;
  }

  /** Ends a connection that was never open. It emits nothing. */
  refuse(end: ConnectionEnd): void {
    this.#isEmitted = true;
    const { owner, connection, closing } = this.#host;
    owner.refused(connection, closing.failure, end);
    this.#emitted?.resolve();
  }

  /** Drops the messages that wait, so that nothing holds up the end. */
  discardWaiting(): void {
    this.#receiver.drop();
    this.#dispatcher.discard();
    if (!this.#dispatcher.isDispatching) this.notify();
  }

  /** Emits the end, if there is one, where it does not have to wait. */
  notify(): void {
    const { state } = this.#host.closing;
    if (state.phase !== "ended" || this.#isEmitted) return;
    const { isServer } = this.#host.closing;
    const dispatcher = this.#dispatcher;
    if (dispatcher.isWaiting || this.#receiver.isBusy) {
      return this.#awaitHandling();
    }
    const mustWait = dispatcher.early.isWaiting && !this.#canOvertakeEarly();
    if (!this.#isOwnerNotified && (isServer || !mustWait)) {
      this.#isOwnerNotified = true;
      // The listeners of the owner come first, whatever they do.
      dispatcher.callListenersOfEnd(() =>
        this.#host.owner.ended(this.#host.connection, state.end)
      );
    }
    if (!mustWait || !dispatcher.early.isWaiting) return this.#emit(state.end);
    if (isServer) this.#host.owner.endDeferred(this.#host.connection, true);
    // The end is emitted even if nobody adds a listener.
    this.#timer ??= startTimer(
      () => this.discardWaiting(),
      this.#host.options.closeTimeout,
    );
  }

  /** Waits until the messages that arrived before the end are handled, up to a limit. */
  #awaitHandling(): void {
    this.#timer ??= startTimer(() => {
      this.#receiver.drop();
      const count = this.#dispatcher.discardWaiting();
      if (count > 0) {
        this.#dispatcher.reportError(
          new Error(
            `Cannot deliver the last ${count} messages from ${this.#host.connection.remoteAddress} as the connection has ended and earlier messages took too long`,
          ),
          "message",
        );
      }
      this.discardWaiting();
    }, this.#host.options.closeTimeout);
  }

  /** Whether the end may be emitted before messages that wait for a listener. */
  #canOvertakeEarly(): boolean {
    const { isServer } = this.#host.closing;
    // The application may add listeners right after `connect()` of a client.
    if (!this.#dispatcher.early.isConnectPending) return isServer;
    // The `connect` listeners may themselves wait for the end.
    const isHeard = (type: "close" | "disconnect" | "end") =>
      emitters.isHeard(this.#host.connection, type) ||
      (!isServer && this.#host.owner.hasListener(type));
    return isHeard("close") || isHeard("disconnect") || isHeard("end");
  }

  #emit(end: ConnectionEnd): void {
    const connection = this.#host.connection;
    this.#isEmitted = true;
    this.#host.owner.endDeferred(connection, false);
    this.#dispatcher.early.stop();
    clearTimeout(this.#timer);
    emitters.stopWaiting(
      connection,
      () => this.#host.closing.error("wait"),
      true,
      () => emitEnd(connection, connection, end),
    );
    this.#emitted?.resolve();
  }
}
