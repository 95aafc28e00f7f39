/**
 * The hooks of one server, which run around everything that its clients send.
 *
 * @module
 */

import { assertType } from "../events/errors.ts";
import { PollTimer } from "../sending/poll_timer.ts";
import {
  HOOK_CHECK_MS,
  InboundGate,
  type InboundGateHost,
  type InboundHook,
} from "./inbound_gate.ts";

/** The hooks of one server, in the order in which they are called. */
export class InboundHooks<Client extends object> {
  readonly #hooks: InboundHook<Client>[] = [];
  readonly #gates = new Map<Client, InboundGate<Client>>();
  /** Polls the gates whose hooks hold a message. */
  readonly #timer = new PollTimer();

  /**
   * Adds a hook.
   *
   * @throws {TypeError} If it is not a function.
   */
  add(hook: InboundHook<Client>): void {
    assertType("hook", hook, "function");
    this.#hooks.push(hook);
  }

  /** Creates the gate of a client. */
  createGate(client: Client, host: InboundGateHost): InboundGate<Client> {
    const gate = new InboundGate(
      client,
      this.#hooks,
      host,
      (gate) => this.#timer.add(gate, HOOK_CHECK_MS),
    );
    this.#gates.set(client, gate);
    return gate;
  }

  /** Forgets a client that has ended. */
  clientEnded(client: Client): void {
    const gate = this.#gates.get(client);
    if (gate) this.#timer.remove(gate);
    this.#gates.delete(client);
  }
}
