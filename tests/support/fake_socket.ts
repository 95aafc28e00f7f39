/**
 * Sockets that do what a test says, in the same turn, and also what no socket should,
 * so that a `Connection` alone can be tested; and those around it. Where both ends are
 * to work as they do, `testing.ts` has sockets in memory.
 */

import "../../core/features/full.ts";
import { parseSelected } from "../../core/protocol/subprotocol.ts";
import {
  Connection,
  type ConnectionInit,
  type ConnectionOwner,
  type SocketMessage,
} from "../../core/connection/connection.ts";
import type { QueuedMessage } from "../../core/sending/send_queue.ts";
import { byteLengthOf } from "../../core/values/codec.ts";
import {
  type ConnectionOptions,
  resolveOptions,
} from "../../core/connection/connection_options.ts";
import { guardWith } from "../../core/connection/inbound_guard.ts";
import type { SocketTypes } from "../../core/values/types.ts";
import type { Rooms } from "../../core/rooms/rooms.ts";
import type { Side } from "../../core/runtime/websocket.ts";
import type { RawSocket, SocketDriver } from "../../core/runtime/websocket.ts";
import type { ConnectionEnd } from "../../core/events/errors.ts";

/** A socket whose peer is another one. */
export class FakeSocket extends EventTarget implements RawSocket {
  binaryType = "blob";
  bufferedAmount = 0;
  protocol = "";
  readyState = 0;
  /** How many listeners it has. */
  listeners = 0;
  /** What this socket has sent. */
  readonly sent: unknown[] = [];
  /** The arguments of each `close`. */
  readonly closes: [number | undefined, string | undefined][] = [];
  /** Whether what is sent waits here, as a peer does that does not read. */
  isStalled = false;
  /** Whether it answers when the peer closes. */
  answers = true;
  peer: FakeSocket | undefined;

  override addEventListener(
    ...args: Parameters<EventTarget["addEventListener"]>
  ): void {
    this.listeners++;
    super.addEventListener(...args);
  }

  override removeEventListener(
    ...args: Parameters<EventTarget["removeEventListener"]>
  ): void {
    this.listeners--;
    super.removeEventListener(...args);
  }

  send(data: string | ArrayBuffer | ArrayBufferView<ArrayBuffer>): void {
    this.sent.push(data);
    if (this.isStalled) this.bufferedAmount += byteLengthOf(data);
    const { peer } = this;
    const copy = ArrayBuffer.isView(data) ? bytesOf(data) : data;
    queueMicrotask(() => peer?.receive(copy));
  }

  close(code?: number, reason?: string): void {
    this.closes.push([code, reason]);
    if (this.readyState > 1) return;
    this.readyState = 2;
    const { peer } = this;
    queueMicrotask(() => peer?.receiveClose(code ?? 1005, reason ?? ""));
  }

  open(): void {
    this.readyState = 1;
    this.dispatchEvent(new Event("open"));
  }

  receive(data: string | ArrayBuffer): void {
    this.dispatchEvent(new MessageEvent("message", { data }));
  }

  /** The peer's close frame has come. */
  receiveClose(code: number, reason: string): void {
    if (this.readyState === 1) {
      if (!this.answers) return;
      this.close(code, reason);
    }
    this.end(true, code, reason);
  }

  fail(message: string): void {
    this.dispatchEvent(new ErrorEvent("error", { message }));
  }

  end(wasClean: boolean, code: number, reason = ""): void {
    this.readyState = 3;
    this.dispatchEvent(new CloseEvent("close", { wasClean, code, reason }));
  }
}

function bytesOf(
  { buffer, byteOffset, byteLength }: ArrayBufferView<ArrayBuffer>,
) {
  return buffer.slice(byteOffset, byteOffset + byteLength);
}

/** A hub that writes down what it hears. */
export class FakeOwner<Types extends SocketTypes = SocketTypes>
  implements ConnectionOwner<Types> {
  readonly events: string[] = [];
  readonly ends: ConnectionEnd[] = [];
  readonly errors: unknown[] = [];
  /** What was left of what may go out by another connection. */
  readonly entries: QueuedMessage[] = [];
  /** What `connect` listeners have not finished. */
  pending: Promise<void>[] = [];
  /** Called when the connection is open, as `connect` listeners are. */
  onOpened: (connection: Connection<Types>) => void = () => {};
  failure: unknown;
  flush: () => void = () => {};
  /** Whether somebody listens to `close`. */
  awaitsEnd = false;
  /** Whether the connection waits for listeners of its own. */
  isLingering = false;

  constructor(public listens: boolean = true) {}

  isMessageHeard(): boolean {
    return this.listens;
  }

  hasListener(type: "message" | "close" | "disconnect"): boolean {
    return type === "message" ? this.listens : this.awaitsEnd;
  }

  readonly rooms: Rooms<Connection<Types>> | undefined = undefined;

  beforeClose(): "local" {
    return "local";
  }

  isHosted(): boolean {
    return false;
  }

  opened(connection: Connection<Types>, flush: () => void): Promise<void>[] {
    this.events.push("connect");
    this.flush = flush;
    this.onOpened(connection);
    return this.pending;
  }

  /** What answers requests, if something does. */
  handler: ReturnType<ConnectionOwner<Types>["findHandler"]>;

  findHandler(): ReturnType<ConnectionOwner<Types>["findHandler"]> {
    return this.handler;
  }

  received(
    message: SocketMessage<Types>,
    _pending?: Promise<unknown>[],
  ): void {
    if (this.listens) this.events.push(message.content);
  }

  unsent(entries: readonly QueuedMessage[]): void {
    this.entries.push(...entries);
  }

  drained(): void {
    this.events.push("drain");
  }

  ended(_connection: Connection<Types>, end: ConnectionEnd): void {
    this.ends.push(end);
    this.events.push(end.type);
  }

  endDeferred(_connection: Connection<Types>, isWaiting: boolean): void {
    this.isLingering = isWaiting;
  }

  refused(_connection: Connection<Types>, failure: unknown): void {
    this.failure = failure;
    this.events.push("refused");
  }

  failed(error: unknown): void {
    this.errors.push(error);
  }
}

/** A side whose close frame goes out at once, and which counts what it stops. */
export function fakeDriver(side: Side): SocketDriver & { stops: number } {
  const driver = {
    side,
    stops: 0,
    close(socket: RawSocket, code: number, reason: string, sent: () => void) {
      socket.close(code, reason);
      sent();
      return () => driver.stops++;
    },
  };
  return driver;
}

/** One end of a pair, with all that belongs to it. */
export interface Fixture {
  readonly socket: FakeSocket;
  readonly driver: ReturnType<typeof fakeDriver>;
  readonly owner: FakeOwner;
  readonly connection: Connection;
}

/** What a party is made of that is unlike the others. */
export interface FixtureInit
  extends Partial<Omit<ConnectionInit<SocketTypes>, "options">> {
  readonly options?: Partial<ConnectionOptions<SocketTypes>> & {
    /** The limits of a server. */
    readonly limits?: InboundLimits;
  };
}

/** What a peer may send. */
export interface InboundLimits {
  readonly maxPayload: number;
  readonly messageRate: Parameters<typeof guardWith>[0];
}

/** The defaults, and nothing that happens by itself. */
function testOptions(): ConnectionOptions<SocketTypes> {
  return resolveOptions({}, 0, {
    closeTimeout: 10_000,
    idleTimeout: () => 0,
    maxPayload: Infinity,
  });
}

/** Makes one party, not open yet. */
export function createFixture(
  side: Side,
  { options, ...init }: FixtureInit = {},
  owner: FakeOwner = new FakeOwner(),
): Fixture {
  const socket = new FakeSocket();
  const driver = fakeDriver(side);
  const connection = new Connection({
    socket,
    driver,
    url: "ws://localhost/path?query",
    path: "/path",
    headers: new Headers(),
    remoteAddress: "localhost:80",
    negotiate: (selected) =>
      parseSelected(selected, { isPlain: false, codecName: "" }),
    ...init,
    options: {
      ...testOptions(),
      ...options,
      ...options?.limits && {
        maxPayload: options.limits.maxPayload,
        guard: guardWith(options.limits.messageRate),
      },
    },
  }, owner);
  return { socket, driver, owner, connection };
}

/** Makes two parties that are each other's peer, and opens both. */
export function createPair(
  first: Side = "server",
  init: FixtureInit = {},
): [Fixture, Fixture] {
  const one = createFixture(first, init);
  const other = createFixture(first === "server" ? "client" : "server", init);
  one.socket.peer = other.socket;
  other.socket.peer = one.socket;
  one.socket.open();
  other.socket.open();
  return [one, other];
}
