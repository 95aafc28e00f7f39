/** A global `WebSocket` that connects to nothing, and does what a test says. */

import { assert } from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { FakeSocket } from "./fake_socket.ts";

/** A socket that a client has opened. */
export class FakeClientSocket extends FakeSocket {
  readonly url: string;
  readonly protocols: readonly string[];
  readonly headers: HeadersInit | undefined;

  constructor(
    url: string | URL,
    init: readonly string[] | {
      protocols: readonly string[];
      headers: HeadersInit;
    },
  ) {
    super();
    this.url = new URL(url).href;
    if ("headers" in init) {
      this.headers = init.headers;
      this.protocols = init.protocols;
    } else this.protocols = init;
    FakeWebSockets.installed?.sockets.push(this);
  }

  override close(code?: number, reason?: string): void {
    const wasOpen = this.readyState === 1;
    if (this.readyState === 0) queueMicrotask(() => this.refuse());
    super.close(code, reason);
    if (!wasOpen || !this.answers) return;
    queueMicrotask(() => this.end(true, code ?? 1005, reason));
  }

  /** The attempt fails: nobody listens there, as Deno tells it. */
  refuse(
    message = "NetworkError: failed to connect to WebSocket: tcp connect error",
  ): void {
    this.fail(message);
    this.end(false, 1006);
  }

  /** The connection is lost. */
  lose(): void {
    this.fail("");
    this.end(false, 1006);
  }
}

/**
 * Stands for the network, and for time and chance, for as long as it is in use.
 * Chance gives what the test says; 0.5 by default.
 */
export class FakeWebSockets implements Disposable {
  static installed: FakeWebSockets | undefined;
  readonly sockets: FakeClientSocket[] = [];
  readonly time = new FakeTime();
  random = 0.5;
  /** How long nothing has run, though time went by: as in a page that was frozen. */
  frozen = 0;
  readonly #WebSocket = globalThis.WebSocket;
  readonly #random = Math.random;
  readonly #now = performance.now;

  constructor() {
    FakeWebSockets.installed = this;
    const start = this.time.now;
    Reflect.set(globalThis, "WebSocket", FakeClientSocket);
    Math.random = () => this.random;
    performance.now = () => this.time.now - start + this.frozen;
  }

  /** The socket that was opened last. */
  get last(): FakeClientSocket {
    const last = this.sockets.at(-1);
    assert(last, "No socket was opened");
    return last;
  }

  /** Lets all go on that waits for nothing but its turn. */
  async settle(): Promise<void> {
    await this.time.tickAsync(0);
    await this.time.runMicrotasks();
  }

  /** Lets time go by. */
  async wait(ms: number): Promise<void> {
    await this.settle();
    await this.time.tickAsync(ms);
    await this.settle();
  }

  [Symbol.dispose](): void {
    Reflect.set(globalThis, "WebSocket", this.#WebSocket);
    Math.random = this.#random;
    performance.now = this.#now;
    this.time.restore();
    FakeWebSockets.installed = undefined;
  }
}
