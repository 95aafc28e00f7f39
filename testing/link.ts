/**
 * What is between two sockets in memory, and what can go wrong with it.
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

/** How slow one way of a link is. */
export interface Slowness {
  /**
   * How long each message is on its way, in milliseconds.
   *
   * @default {0}
   */
  readonly delay?: number;
  /**
   * How many bytes of messages get through in a second.
   *
   * @default {Infinity}
   */
  readonly bytesPerSecond?: number;
}

/**
 * One way of a {@linkcode Link}. A message here is one that the sockets exchange: by
 * `events.v1`, what is sent in one turn is one message, and there are some of the
 * library's own; with the option `plain` each `send` is one.
 */
export interface Lane {
  /** How many bytes of messages are under way. */
  readonly size: number;
  /** From now on nothing gets through, and nobody is told. */
  stall(): void;
  /** From now on all gets through again, what was held up first. */
  resume(): void;
  /**
   * Loses the next messages.
   *
   * @param count How many; one by default.
   * @throws {RangeError} If it is no whole number, or is negative.
   */
  drop(count?: number): void;
  /**
   * Lets each of the next messages arrive twice.
   *
   * @param count How many; one by default.
   * @throws {RangeError} If it is no whole number, or is negative.
   */
  duplicate(count?: number): void;
  /**
   * Keeps the next messages until all of them are there, or the connection is closed;
   * then they arrive, the last one first.
   *
   * @param count How many; two by default.
   * @throws {RangeError} If it is no whole number, or is negative.
   */
  reorder(count?: number): void;
  /**
   * From now on messages take their time, which is that of `setTimeout` and `Date`.
   *
   * @param slowness How slow it is; as fast as it was by default.
   * @throws {RangeError} If `delay` is negative or infinite, or `bytesPerSecond` is
   * not positive.
   */
  slow(slowness?: Slowness): void;
}

/** What one connection goes by: a line that breaks when it is told to. */
export interface Link {
  /** The way to the client. */
  readonly toClient: Lane;
  /** The way to the server. */
  readonly toServer: Lane;
  /** From now on nothing gets through, either way, and nobody is told. */
  stall(): void;
  /** From now on all gets through again, what was held up first. */
  resume(): void;
  /** Cuts the line. Both sides are told: `disconnect` with 1006. */
  cut(): void;
  /**
   * One side is gone without a word, as if its cable had been pulled: it gets a
   * `disconnect`, and the other side hears nothing, until it finds out by itself, or
   * {@linkcode Link.resume} lets it know.
   *
   * @param side Which side is gone.
   */
  vanish(side: "client" | "server"): void;
}

/** How much is about to arrive, and waits for nothing but its turn. */
let pendingArrivals = 0;

/**
 * Calls back after two turns of the event loop, as what comes by a network does: by
 * then all that has followed from sending it has happened.
 *
 * @param action What to call.
 * @returns What stops it from being called.
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

/** For how many turns nothing may move for all to be quiet. */
const QUIET_TURNS = 3;

/**
 * Waits until nothing is under way, on any line in memory, that waits for nothing but
 * its turn. What is stalled, or takes time, is not waited for.
 *
 * @returns A promise that resolves when all is quiet.
 *
 * @example
 * ```ts
 * import { pair, settle } from "jsr:@ws/events/testing";
 *
 * await using both = await pair();
 * const got: unknown[] = [];
 * both.server.on("message", ({ data }) => got.push(data));
 * both.link.toServer.drop();
 * both.client.send("lost");
 * await settle();
 * console.log(got.length); // 0
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
 * Lets time go by that is faked, from timer to timer; whatever a timer sends arrives
 * before the next one is due. `FakeTime.tick` calls all timers in one go, so that no
 * answer could come in time.
 *
 * @param time What fakes it: a `FakeTime` of `@std/testing/time`.
 * @param ms How many milliseconds.
 * @returns A promise that resolves when it is over, and all is quiet.
 * @throws {Error} (rejects) If time is not faked.
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
  let isOver = false;
  const timer = setTimeout(() => isOver = true, ms);
  while (!isOver) {
    await settle();
    if (!time.next()) {
      clearTimeout(timer);
      throw new Error(
        "Cannot advance time as it is not faked: make a FakeTime first, and restore it last",
      );
    }
  }
  await settle();
}

/** A lane, as the sockets see it. */
class MemoryLane implements Lane, OutgoingLane, IncomingLane {
  readonly #receiver: MemorySocket;
  #size = 0;
  /** What is under way, and when it is due. */
  readonly #queue: { readonly frame: LaneFrame; readonly due: number }[] = [];
  /** What is kept to be put in another order. */
  #held: LaneFrame[] = [];
  /** How many to keep. */
  #holdCount = 0;
  #drops = 0;
  #duplicates = 0;
  #delay = 0;
  #bytesPerSecond = Infinity;
  /** When all that is under way will be through. */
  #freeAt = 0;
  #isStalled = false;
  #isEnded = false;
  #isAbandoned = false;
  /** Stops what is about to arrive. */
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
      // One who gets it may change it.
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
    const took = frameBytes(frame) / this.#bytesPerSecond * 1000;
    this.#freeAt = Math.max(this.#freeAt, now) + took;
    const due = frame.type === "lost" ? now : this.#freeAt + this.#delay;
    this.#queue.push({ frame, due });
    this.#deliverNext();
  }

  /** Lets the first arrive: when it is due, and it is its turn. */
  #deliverNext(): void {
    const [first] = this.#queue;
    if (!first || this.#isStalled || this.#stop) return;
    const wait = first.due - Date.now();
    const act = () => {
      this.#stop = undefined;
      if (wait <= 0) {
        this.#queue.shift();
        this.#size -= frameBytes(first.frame);
        this.#receiver.receive(first.frame);
      }
      this.#deliverNext();
    };
    if (wait <= 0) {
      this.#stop = afterTwoTurns(act);
      return;
    }
    const timer: Timer = setTimeout(act, Math.ceil(wait));
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
    `Cannot ${name} messages unless their number is a whole one: current value is ${count}`,
  );
}

/** A link, and its two ends. */
export class MemoryLink implements Link {
  readonly toClient: MemoryLane;
  readonly toServer: MemoryLane;
  readonly #ends: Readonly<Record<Side, MemorySocket>>;

  /**
   * Joins two sockets.
   *
   * @param client The client's.
   * @param server The server's.
   */
  constructor(client: MemorySocket, server: MemorySocket) {
    this.#ends = { client, server };
    this.toClient = new MemoryLane(client);
    this.toServer = new MemoryLane(server);
    client.attach(this.toServer, this.toClient);
    server.attach(this.toClient, this.toServer);
  }

  /** Whether a connection goes by it, as one side at least believes. */
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
    for (const wire of [this.toClient, this.toServer]) {
      wire.end();
      wire.resume();
    }
  }

  vanish(side: Side): void {
    if (!(side in this.#ends)) {
      throw new RangeError(
        `Cannot let a side vanish unless it is client or server: current value is ${side}`,
      );
    }
    this.stall();
    const wire = side === "client" ? this.toServer : this.toClient;
    wire.end();
    afterTwoTurns(() =>
      this.#ends[side].receive({ type: "lost", reason: "Gone" })
    );
  }
}
