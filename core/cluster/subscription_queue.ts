/**
 * Brings the subscriptions of an adapter to what its server wants. For each channel one
 * command is under way at a time, so that a client of a broker never has to understand a
 * `SUBSCRIBE` that overtakes an `UNSUBSCRIBE`.
 *
 * @module
 */

import { ignoreRejection } from "../events/errors.ts";
import { startTimer, type Timer } from "../util/timer.ts";

/** The commands of one connection to a broker. */
export interface SubscriptionCommands {
  /** Subscribes. The promise resolves when the broker has confirmed it. */
  subscribe(channel: string): Promise<unknown>;
  /** Unsubscribes. The promise resolves when the broker has confirmed it. */
  unsubscribe(channel: string): Promise<unknown>;
}

/** The state of one channel. */
interface SubscriptionState {
  /** What the server wants. */
  isWanted: boolean;
  /** What the broker has confirmed on the present connection. */
  isSubscribed: boolean;
  /** Whether a command is under way, or a refused one is to be repeated. */
  isBusy: boolean;
  /** Resolves when the broker has confirmed the subscription that is wanted. */
  confirmed: PromiseWithResolvers<void>;
}

/** After this time a subscription that was refused is tried again, in milliseconds. */
const RETRY_MS = 5_000;

/** The subscriptions of one adapter. */
export class SubscriptionQueue {
  readonly #onError: (error: unknown) => void;
  readonly #channels = new Map<string, SubscriptionState>();
  /** Channels whose command was refused. */
  readonly #refused = new Set<string>();
  #retryTimer: Timer | undefined;
  #commands: SubscriptionCommands | undefined;

  /** @param onError Is told if the broker refuses to unsubscribe. */
  constructor(onError: (error: unknown) => void) {
    this.#onError = onError;
  }

  /** Whether the server wants a channel. */
  isWanted(channel: string): boolean {
    return this.#channels.get(channel)?.isWanted ?? false;
  }

  /**
   * Wants a channel.
   *
   * @returns A promise that resolves when the broker has confirmed it, or when it is not
   * wanted any more. It rejects if the broker refuses it, which is tried again later.
   */
  subscribe(channel: string): Promise<void> {
    const state = this.#channels.get(channel);
    if (state?.isWanted) return state.confirmed.promise;
    const confirmed = Promise.withResolvers<void>();
    ignoreRejection(confirmed.promise);
    this.#refused.delete(channel);
    const next = state ??
      { isWanted: true, isSubscribed: false, isBusy: false, confirmed };
    next.isWanted = true;
    next.confirmed = confirmed;
    this.#channels.set(channel, next);
    this.#run(channel, next);
    return confirmed.promise;
  }

  /** Wants a channel no more. */
  unsubscribe(channel: string): void {
    const state = this.#channels.get(channel);
    if (!state?.isWanted) return;
    state.isWanted = false;
    state.confirmed.resolve();
    this.#run(channel, state);
  }

  /**
   * There is a new connection, which has no subscriptions. All that is wanted is
   * subscribed to.
   */
  connected(commands: SubscriptionCommands): void {
    this.disconnected();
    this.#commands = commands;
    for (const [channel, state] of this.#channels) this.#run(channel, state);
  }

  /** The connection is lost, and with it all subscriptions. */
  disconnected(): void {
    this.#commands = undefined;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    this.#refused.clear();
    for (const [channel, state] of this.#channels) {
      state.isSubscribed = state.isBusy = false;
      if (!state.isWanted) this.#channels.delete(channel);
    }
  }

  /** Sends the next command of a channel, unless one is under way. */
  #run(channel: string, state: SubscriptionState): void {
    const commands = this.#commands;
    if (state.isBusy || this.#refused.has(channel)) return;
    if (state.isWanted === state.isSubscribed || !commands) {
      if (state.isWanted && state.isSubscribed) state.confirmed.resolve();
      if (!state.isWanted && !state.isSubscribed) {
        this.#channels.delete(channel);
      }
      return;
    }
    state.isBusy = true;
    const isSubscribing = state.isWanted;
    const done = () => {
      if (this.#commands !== commands) return; // all starts anew
      state.isBusy = false;
      state.isSubscribed = isSubscribing;
      this.#run(channel, state);
    };
    const failed = (error: unknown) => {
      if (this.#commands !== commands) return;
      state.isBusy = false;
      this.#refuse(channel, state, isSubscribing, error);
    };
    try {
      const command = isSubscribing
        ? commands.subscribe(channel)
        : commands.unsubscribe(channel);
      command.then(done, failed);
    } catch (error) {
      failed(error);
    }
  }

  /** A command was refused: it is repeated later, as it may be allowed by then. */
  #refuse(
    channel: string,
    state: SubscriptionState,
    isSubscribing: boolean,
    error: unknown,
  ): void {
    if (!isSubscribing) this.#onError(error);
    else if (state.isWanted) state.confirmed.reject(error);
    this.#refused.add(channel);
    this.#retryTimer ??= startTimer(() => {
      this.#retryTimer = undefined;
      const channels = [...this.#refused];
      this.#refused.clear();
      for (const one of channels) {
        const state = this.#channels.get(one);
        if (state) this.#run(one, state);
      }
    }, RETRY_MS);
  }
}
