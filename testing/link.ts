/**
 * The link between two in-memory sockets, and its simulated faults.
 *
 * @module
 */

import type { Side } from "../core/runtime/websocket.ts";
import { assertSize, assertType } from "../core/events/errors.ts";
import { afterEventLoopTurn } from "../core/runtime/websocket.ts";
import type { Timer } from "../core/util/timer.ts";
import type {
  IncomingLane,
  LaneFrame,
  MemorySocket,
  OutgoingLane,
} from "./socket.ts";

/** The speed of a {@linkcode Lane}. */
export interface Slowness {
  /**
   * The latency of each message, in milliseconds.
   *
   * @default {0}
   */
  readonly delay?: number;
  /**
   * The bandwidth, in bytes per second.
   *
   * @default {Infinity}
   */
  readonly bytesPerSecond?: number;
}

/**
 * One direction of a {@linkcode Link}. Its messages are WebSocket messages: with
 * `events.v1`, all data sent in one turn of the event loop is one message, and the
 * library sends some of its own; with the option `plain`, each `send` is one message.
 *
 * @example
 * ```ts
 * import { pair } from "jsr:@ws/events/testing";
 *
 * await using both = await pair();
 * const received: unknown[] = [];
 * both.server.on("message", ({ data }) => received.push(data));
 * both.link.toServer.slow({ delay: 20 });
 * both.link.toServer.drop(1); // of the next messages
 * both.client.send("lost");
 * ```
 */
export interface Lane {
  /** The number of bytes of messages in flight. */
  readonly size: number;
  /** Holds all messages until `resume` is called. Neither side is notified. */
  stall(): void;
  /** Delivers held messages and new ones. */
  resume(): void;
  /**
   * Drops the next messages.
   *
   * @param count The number of messages. 1 by default.
   * @throws {RangeError} If `count` is not a non-negative integer.
   */
  drop(count?: number): void;
  /**
   * Delivers each of the next messages twice.
   *
   * @param count The number of messages. 1 by default.
   * @throws {RangeError} If `count` is not a non-negative integer.
   */
  duplicate(count?: number): void;
  /**
   * Holds the next messages until all of them are there, or the connection is closed;
   * then delivers them in reverse order.
   *
   * @param count The number of messages. 2 by default.
   * @throws {RangeError} If `count` is not a non-negative integer.
   *
   * @example
   * ```ts
   * import { pair } from "jsr:@ws/events/testing";
   *
   * await using both = await pair();
   * both.server.on("message", ({ data }) => console.log(data));
   * both.link.toServer.reorder(2);
   * both.client.send("first");
   * ```
   */
  reorder(count?: number): void;
  /**
   * Slows down messages from now on. Delays are those of `setTimeout` and `Date`, so that
   * they can be faked.
   *
   * @param slowness The speed. By default, the lane is not slowed down.
   * @throws {RangeError} If `delay` is negative or infinite, or `bytesPerSecond` is not
   * positive.
   */
  slow(slowness?: Slowness): void;
}

/**
 * The simulated network link of one connection.
 *
 * @example
 * ```ts
 * import { pair } from "jsr:@ws/events/testing";
 *
 * await using both = await pair();
 * both.server.on("disconnect", (code, _reason, cause) => console.log(code, cause));
 * both.link.stall(); // nothing arrives
 * both.link.resume(); // now it does
 * both.link.cut(); // 1006 network
 * ```
 */
export interface Link {
  /** The direction from the server to the client. */
  readonly toClient: Lane;
  /** The direction from the client to the server. */
  readonly toServer: Lane;
  /**
   * Holds all messages in both directions until `resume` is called. Neither side is
   * notified.
   */
  stall(): void;
  /** Delivers held messages and new ones. */
  resume(): void;
  /** Cuts the link. Both sides get a `disconnect` with code 1006. */
  cut(): void;
  /**
   * Cuts one side off, as if its cable had been unplugged. That side gets a `disconnect`;
   * the other side gets nothing until its idle timeout, or until {@linkcode Link.resume}.
   *
   * @param side The side that vanishes.
   * @throws {RangeError} If `side` is neither `client` nor `server`.
   *
   * @example
   * ```ts
   * import { pair } from "jsr:@ws/events/testing";
   *
   * await using both = await pair();
   * const lost = both.client.waitFor("disconnect");
   * both.link.vanish("client");
   * console.log(await lost); // [1006, "", "network"]
   * ```
   */
  vanish(side: "client" | "server"): void;
}

/** The number of frames that arrive within two turns. */
let pendingArrivals = 0;

/**
 * Calls a function after two turns of the event loop, like a network: by then, all
 * consequences of sending a frame have happened.
 *
 * @returns A function that cancels the call.
 */
export function afterTwoTurns(action: () => void): () => void {
  pendingArrivals++;
  let stop = afterEventLoopTurn(() => {
    stop = afterEventLoopTurn(() => {
      pendingArrivals--;
      action();
    });
  });
  return () => {
    pendingArrivals--;
    stop();
  };
}

/** The number of turns without arrivals after which the network is idle. */
const QUIET_TURNS = 3;

/**
 * Waits until no message is in flight on any in-memory link. Messages that are stalled or
 * delayed are not waited for.
 *
 * @returns A promise that resolves when the network is idle.
 *
 * @example
 * ```ts
 * import { pair, settle } from "jsr:@ws/events/testing";
 *
 * await using both = await pair();
 * const received: unknown[] = [];
 * both.server.on("message", ({ data }) => received.push(data));
 * both.link.toServer.drop();
 * both.client.send("lost");
 * await settle();
 * console.log(received.length); // 0
 * ```
 */
export async function settle(): Promise<void> {
  for (
    let quiet = 0;
    quiet < QUIET_TURNS;
    quiet = pendingArrivals > 0 ? 0 : quiet + 1
  ) {
    await new Promise<void>((resolve) => afterEventLoopTurn(resolve));
  }
}

/**
 * Advances fake time from timer to timer, and delivers all messages in between.
 * `FakeTime.tick` runs all timers at once, so that no reply could arrive in time.
 *
 * @param time The fake time: a `FakeTime` of `@std/testing/time`.
 * @param ms The duration in milliseconds.
 * @returns A promise that resolves when the time has passed and the network is idle.
 * @throws {Error} (rejects) If time is not faked.
 * @throws {RangeError} (rejects) If `ms` is negative or `NaN`.
 *
 * @example
 * ```ts ignore
 * import { FakeTime } from "jsr:@std/testing/time";
 * import { advance, pair } from "jsr:@ws/events/testing";
 *
 * using time = new FakeTime();
 * await using both = await pair();
 * both.link.vanish("client");
 * const lost = both.server.waitFor("disconnect");
 * await advance(time, 30_000); // the default of `idleTimeout`
 * console.log(await lost); // [1006, "", "timeout"]
 * ```
 */
export async function advance(
  time: { next(): boolean },
  ms: number,
): Promise<void> {
  assertSize("ms", ms);
  let hasPassed = false;
  const timer = setTimeout(() => hasPassed = true, ms);
  while (!hasPassed) {
    await settle();
    if (!time.next()) {
      clearTimeout(timer);
      throw new Error(
        "Cannot advance time as it is not faked: create a FakeTime first, and restore it last",
      );
    }
  }
  await settle();
}

/** One direction of a link, as its sockets use it. */
class MemoryLane implements Lane, OutgoingLane, IncomingLane {
  readonly #receiver: MemorySocket;
  #size = 0;
  /** The frames in flight, and when they arrive. */
  readonly #queue: { readonly frame: LaneFrame; readonly arrivesAt: number }[] =
    [];
  /** Frames that are held to be reordered. */
  #held: LaneFrame[] = [];
  /** The number of frames still to hold. */
  #holdCount = 0;
  #drops = 0;
  #duplicates = 0;
  #delay = 0;
  #bytesPerSecond = Infinity;
  /** When the bandwidth is free again. */
  #freeAt = 0;
  #isStalled = false;
  #isEnded = false;
  #isAbandoned = false;
  /** Cancels the next arrival. */
  #stop: (() => void) | undefined;

  constructor(receiver: MemorySocket) {
    this.#receiver = receiver;
  }

  get size(): number {
    return this.#size;
  }

  stall(): void {
    this.#isStalled = true;
    this.#stop?.();
    this.#stop = undefined;
  }

  resume(): void {
    if (this.#isAbandoned) return;
    this.#isStalled = false;
    this.#deliverNext();
  }

  abandon(): void {
    this.#isAbandoned = true;
    this.stall();
  }

  drop(count = 1): void {
    this.#drops = assertCount("drop", count);
  }

  duplicate(count = 1): void {
    this.#duplicates = assertCount("duplicate", count);
  }

  reorder(count = 2): void {
    this.#holdCount = assertCount("reorder", count);
    if (count === 0) this.#releaseHeld();
  }

  slow({ delay = 0, bytesPerSecond = Infinity }: Slowness = {}): void {
    assertType("delay", delay, "number");
    assertType("bytesPerSecond", bytesPerSecond, "number");
    if (!(delay >= 0 && delay < Infinity)) {
      throw new RangeError(
        `Cannot use a "delay" that is negative or infinite: current value is ${delay}`,
      );
    }
    if (!(bytesPerSecond > 0)) {
      throw new RangeError(
        `Cannot use "bytesPerSecond" unless it is positive: current value is ${bytesPerSecond}`,
      );
    }
    this.#delay = delay;
    this.#bytesPerSecond = bytesPerSecond;
  }

  push(frame: LaneFrame): void {
    if (this.#isEnded) return;
    if (frame.type === "close") this.#releaseHeld();
    if (frame.type !== "message") return this.#enqueue(frame);
    if (this.#drops > 0) {
      this.#drops--;
      return;
    }
    const { data } = frame;
    const all = [frame];
    if (this.#duplicates > 0) {
      this.#duplicates--;
      // A listener may modify its copy.
      all.push({ ...frame, data: isText(data) ? data : data.slice() });
    }
    this.#size += frame.size * all.length;
    if (this.#holdCount === 0) return all.forEach((one) => this.#enqueue(one));
    this.#held.unshift(...all);
    if (--this.#holdCount === 0) this.#releaseHeld();
  }

  end(): void {
    if (this.#isEnded) return;
    this.#stop?.();
    this.#stop = undefined;
    this.#queue.length = this.#size = 0;
    this.#held = [];
    this.push({ type: "lost", reason: "Unexpected EOF" });
    this.#isEnded = true;
  }

  #releaseHeld(): void {
    const frames = this.#held;
    this.#held = [];
    this.#holdCount = 0;
    for (const frame of frames) this.#enqueue(frame);
  }

  #enqueue(frame: LaneFrame): void {
    const now = Date.now();
    const transferMs = frameBytes(frame) / this.#bytesPerSecond * 1000;
    this.#freeAt = Math.max(this.#freeAt, now) + transferMs;
    const arrivesAt = frame.type === "lost" ? now : this.#freeAt + this.#delay;
    this.#queue.push({ frame, arrivesAt });
    this.#deliverNext();
  }

  /** Delivers the first frame when it is time. */
  #deliverNext(): void {
    const [first] = this.#queue;
    if (!first || this.#isStalled || this.#stop) return;
    const wait = first.arrivesAt - Date.now();
    const deliver = () => {
      this.#stop = undefined;
      if (wait <= 0) {
        this.#queue.shift();
        this.#size -= frameBytes(first.frame);
        this.#receiver.receive(first.frame);
      }
      this.#deliverNext();
    };
    if (wait <= 0) {
      this.#stop = afterTwoTurns(deliver);
      return;
    }
    const timer: Timer = setTimeout(deliver, Math.ceil(wait));
    this.#stop = () => clearTimeout(timer);
  }
}

function isText(data: string | ArrayBuffer): data is string {
  return typeof data === "string";
}

function frameBytes(frame: LaneFrame): number {
  return frame.type === "message" ? frame.size : 0;
}

function assertCount(name: string, count: number): number {
  if (Number.isInteger(count) && count >= 0) return count;
  throw new RangeError(
    `Cannot ${name} messages unless their number is a non-negative integer: current value is ${count}`,
  );
}

/** A link with its two ends. */
export class MemoryLink implements Link {
  readonly toClient: MemoryLane;
  readonly toServer: MemoryLane;
  readonly #ends: Readonly<Record<Side, MemorySocket>>;

  /** Connects two sockets. */
  constructor(client: MemorySocket, server: MemorySocket) {
    this.#ends = { client, server };
    this.toClient = new MemoryLane(client);
    this.toServer = new MemoryLane(server);
    client.attach(this.toServer, this.toClient);
    server.attach(this.toClient, this.toServer);
  }

  /** Whether at least one side is still open. */
  get isLive(): boolean {
    const { client, server } = this.#ends;
    return client.readyState < 3 || server.readyState < 3;
  }

  stall(): void {
    this.toClient.stall();
    this.toServer.stall();
  }

  resume(): void {
    this.toClient.resume();
    this.toServer.resume();
  }

  cut(): void {
    for (const lane of [this.toClient, this.toServer]) {
      lane.end();
      lane.resume();
    }
  }

  vanish(side: Side): void {
    if (!(side in this.#ends)) {
      throw new RangeError(
        `Cannot make a side vanish unless it is "client" or "server": current value is "${side}"`,
      );
    }
    this.stall();
    const lane = side === "client" ? this.toServer : this.toClient;
    lane.end();
    afterTwoTurns(() =>
      this.#ends[side].receive({ type: "lost", reason: "Gone" })
    );
  }
}
