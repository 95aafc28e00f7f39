/**
 * A client in random circumstances, with a program that does random things at
 * random events. Whatever happens, what `docs/reconnecting.md` promises must hold.
 */

import { assertEquals } from "@std/assert";
import {
  type ClientOptions,
  ClientSocket,
  type SendOptions,
} from "../../client.ts";
import type { Connection } from "../../core/connection/connection.ts";
import type { Overflow } from "../../core/sending/backpressure_queue.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { FakeWebSockets } from "../support/fake_websocket.ts";

const SEEDS = 1_000;

const POLICIES: readonly Overflow[] = [
  "terminate",
  "drop-oldest",
  "drop-newest",
  "latest",
];

/** A message that the program has sent by its client. */
interface Sent {
  readonly id: string;
  /** Whether it may overtake others: a hello, or one of which the latest counts. */
  readonly isFree: boolean;
  /** Whether it is for one connection only, and may be rejected though it was sent. */
  readonly isBound: boolean;
  state: "pending" | "sent" | "rejected";
}

class Run {
  readonly #chance: SeededRandom;
  readonly #dial = new FakeWebSockets();
  readonly #options: ClientOptions;
  readonly #client: ClientSocket;
  readonly #stop = new AbortController();
  readonly #life = new AbortController();
  /** Promises of `connect` and `reconnect` that have not settled. */
  #unsettled = 0;
  /** Ends that were told, less those that `end` has told, too. */
  #ends = 0;
  readonly #messages: Sent[] = [];
  readonly #old: Connection[] = [];
  /** What is wrong. */
  readonly faults = new Set<string>();
  #phase: "apart" | "connected" = "apart";
  /** A `reconnecting` was told, and what follows it was not. */
  #isComing = false;
  /** An end was told, after which the client may come back. */
  #mayCome = false;
  #isConnecting = false;
  #acts = 0;
  #depth = 0;

  constructor(seed: number) {
    this.#chance = new SeededRandom(seed);
    const pick = <T>(...list: T[]): T => this.#chance.pick(list);
    this.#options = {
      highWaterMark: pick(5, 20, 1_000),
      maxBufferedAmount: pick(30, 100, 1_000),
      overflow: this.#chance.pick(POLICIES),
      connectTimeout: pick(3_000, Infinity),
      idleTimeout: pick(0, 2_000),
      closeTimeout: pick(500, 10_000),
      signal: this.#life.signal,
      reconnect: pick(true, true, false) && {
        initialDelay: pick(100, 1_000),
        maxDelay: 3_000,
        maxAttempts: pick(Infinity, 1, 3),
        maxDuration: pick(Infinity, 5_000),
        minUptime: pick(0, 5_000),
        signal: this.#stop.signal,
        ...pick(true, false) && {
          shouldReconnect: () => {
            this.#actAt();
            const answer = this.#chance.integer(4) > 0;
            return this.#chance.pick([
              answer,
              answer,
              Promise.resolve(answer),
              new Promise((resolve) => setTimeout(() => resolve(answer), 700)),
              new Promise(() => {}),
            ]);
          },
        },
      },
    };
    this.#client = new ClientSocket(this.#options);
    this.#listen();
  }

  /** Who listens first sees everything in order, and then does something. */
  #listen(): void {
    const client = this.#client;
    client.on("error", () => {});
    client.on("connect", (connection) => {
      if (this.#phase === "connected") this.faults.add("two connects");
      if (this.#life.signal.aborted) this.faults.add("a connect after the end");
      this.#phase = "connected";
      this.#isComing = this.#mayCome = false;
      this.#old.push(connection);
      connection.on("error", () => {});
      this.#isConnecting = true;
      this.#actAt();
      this.#isConnecting = false;
    });
    for (const type of ["close", "disconnect"] as const) {
      client.on(type, () => {
        if (this.#phase === "apart") this.faults.add("an end of nothing");
        this.#phase = "apart";
        this.#ends++;
        this.#mayCome = this.#options.reconnect !== false;
        this.#actAt();
      });
    }
    client.on("end", () => {
      if (--this.#ends !== 0) this.faults.add("an end told twice, or not");
      this.#actAt();
    });
    client.on("state", (state, previous) => {
      if (state === previous || state !== client.state) {
        this.faults.add("a state that is not");
      }
      this.#actAt();
    });
    client.on("reconnecting", () => {
      // A connection that makes way for a new one may still be closing.
      if (client.connection?.readyState === 1) {
        this.faults.add("reconnecting, though connected");
      }
      this.#isComing = true;
      this.#actAt();
    });
    client.on("giveup", () => {
      if (!this.#isComing && !this.#mayCome) {
        this.faults.add("a giveup of nothing");
      }
      this.#isComing = this.#mayCome = false;
      this.#actAt();
    });
    for (const type of ["message", "drain"] as const) {
      client.on(type, () => {
        if (this.#phase === "apart") {
          this.faults.add(`${type} without a connection`);
        }
        this.#actAt();
      });
    }
  }

  #actAt(): void {
    if (this.#depth > 2 || ++this.#acts > 100) return;
    if (this.#chance.integer(3) > 0) return;
    this.#depth++;
    try {
      this.#act(this.#chance.integer(11));
    } finally {
      this.#depth--;
    }
  }

  /** What a program may do. */
  #act(what: number): void {
    const client = this.#client;
    switch (what) {
      case 0:
        client.close(4_000);
        break;
      case 1:
        client.terminate();
        break;
      case 2:
        this.#follow(client.connect(this.#url()));
        break;
      case 3:
        this.#anyOld()?.close();
        break;
      case 4:
        this.#anyOld()?.terminate();
        break;
      case 5:
        this.#follow(client.reconnect());
        break;
      case 6:
        client.close(4_001);
        this.#follow(client.connect(this.#url(), { signal: this.#signal() }));
        break;
      default:
        this.#send();
    }
  }

  #signal(): AbortSignal {
    const controller = new AbortController();
    const ms = this.#chance.pick([0, 50, 1_000, 10_000]);
    setTimeout(() => controller.abort(), ms);
    return controller.signal;
  }

  #follow(promise: Promise<void>): void {
    this.#unsettled++;
    const settled = () => {
      this.#unsettled--;
    };
    promise.then(settled, settled);
  }

  /** A connection, live or of long ago. */
  #anyOld(): Connection | undefined {
    return this.#old[this.#chance.integer(this.#old.length + 1)];
  }

  #url(): string | (() => string | Promise<string>) {
    const url = "ws://example.test/";
    const late = (ms: number) =>
      new Promise<string>((resolve) => setTimeout(() => resolve(url), ms));
    return this.#chance.pick([
      url,
      url,
      () => Promise.reject(new Error("no URL")),
      () => late(500),
      () => late(20_000),
      () => {
        this.#actAt();
        return url;
      },
    ]);
  }

  #send(): void {
    const { reconnect, overflow: byDefault } = this.#options;
    const id = `m${this.#messages.length + 1}`;
    const text = id + " ".repeat(this.#chance.pick([0, 0, 10, 40]));
    const options: SendOptions = this.#chance.pick([
      { key: "k" },
      ...POLICIES.map((overflow) => ({ overflow, key: "k" })),
    ]);
    const data = this.#chance.pick([
      text,
      text,
      new TextEncoder().encode(text),
      new Blob([text]),
    ]);
    const message: Sent = {
      id,
      isFree: this.#isConnecting ||
        (options.overflow ?? byDefault) === "latest",
      isBound: reconnect === false || this.#isConnecting,
      state: "pending",
    };
    this.#messages.push(message);
    this.#client.send(data, options).then(
      () => message.state = "sent",
      () => message.state = "rejected",
    );
  }

  /** What the world does, or the program. */
  #happen(): void {
    const socket = this.#dial.sockets.at(-1);
    const state = socket?.readyState ?? 3;
    const what = this.#chance.integer(30);
    if (this.#chance.integer(200) === 0) this.#stop.abort();
    if (this.#chance.integer(200) === 0) this.#life.abort();
    if (what < 8) return this.#send();
    if (what === 8) return this.#act(this.#chance.integer(11));
    if (state === 3 || socket === undefined) {
      return what < 20 ? this.#act(2) : undefined;
    }
    if (state === 0) {
      // A browser does not say why an attempt failed.
      const texts = ["tcp connect error", "", "Invalid status code: 429"];
      return what < 24
        ? socket.open()
        : socket.refuse(this.#chance.pick(texts));
    }
    if (what < 12) socket.lose();
    else if (what < 15) {
      const code = this.#chance.pick([1000, 1001, 1012, 4001]);
      socket.end(true, code, this.#chance.pick(["", "retry-after=1"]));
    } else if (what < 17) socket.readyState = 2;
    else if (what < 20) socket.isStalled = !socket.isStalled;
    else if (what < 22) socket.bufferedAmount = 0;
    else if (what < 24 && state === 1) socket.receive("hello");
    else if (what < 26) socket.answers = !socket.answers;
  }

  /** Some turns, or some time. */
  async #wait(ms: number): Promise<void> {
    for (let i = this.#chance.integer(6); i > 0; i--) await null;
    if (ms === 0) return;
    for (let left = ms; left > 0; left -= 100) {
      this.#dial.time.tick(Math.min(left, 100));
      for (let i = 0; i < 20; i++) await null;
    }
  }

  async all(): Promise<void> {
    using sockets = this.#dial;
    for (let step = 20 + this.#chance.integer(40); step > 0; step--) {
      this.#happen();
      await this.#wait(this.#chance.pick([0, 1, 100, 1_000, 5_000]));
      const open = sockets.sockets.filter(({ readyState, listeners }) =>
        readyState === 1 && listeners > 1
      );
      if (open.length > 1) this.faults.add("two connections at once");
    }
    this.#depth = 99; // nobody does anything any more
    const closed = this.#client.close();
    const { length } = sockets.sockets;
    await this.#wait(40_000);
    await closed;
    await this.#wait(40_000);
    if (sockets.sockets.length > length) {
      this.faults.add("an attempt after all");
    }
    this.#judge();
  }

  #judge(): void {
    const { sockets, time } = this.#dial;
    if (time.next()) this.faults.add("a timer is left");
    if (this.#phase === "connected") {
      this.faults.add("a connect without an end");
    }
    if (this.#ends !== 0) this.faults.add("no end");
    if (this.#unsettled > 0) this.faults.add("a connect() that never settles");
    if (this.#client.state !== "closed") this.faults.add("not closed");
    if (this.#isComing) this.faults.add("reconnecting without an end");
    if (this.#client.bufferedAmount > 0) this.faults.add("something waits");
    if (sockets.some(({ readyState }) => readyState === 1)) {
      this.faults.add("a socket is open");
    }
    const sent = sockets.flatMap((socket) => socket.sent.map(textOf));
    for (const { id, state, isBound } of this.#messages) {
      const count = sent.filter((text) => text === id).length;
      if (state === "pending") this.faults.add("a promise that never settles");
      if (count > 1) this.faults.add("a message sent twice");
      if (state === "sent" && count === 0) this.faults.add("a message lost");
      if (state === "rejected" && count > 0 && !isBound) {
        this.faults.add("a message sent, though rejected");
      }
    }
    const free = new Set(
      this.#messages.filter(({ isFree }) => isFree).map(({ id }) => id),
    );
    const order = sent.filter((id) => !free.has(id))
      .map((id) => Number(id.slice(1)));
    if (order.some((number, i) => number < (order[i - 1] ?? 0))) {
      this.faults.add("messages out of order");
    }
  }
}

function textOf(data: unknown): string {
  return (data instanceof ArrayBuffer || ArrayBuffer.isView(data)
    ? new TextDecoder().decode(data)
    : String(data)).trim();
}

Deno.test("ClientSocket satisfies its model", async () => {
  const faults: Record<number, string[]> = {};
  using _errors = { [Symbol.dispose]: silence() };
  for (let seed = 1; seed <= SEEDS; seed++) {
    const run = new Run(seed);
    await run.all();
    if (run.faults.size > 0) faults[seed] = [...run.faults];
  }
  assertEquals(faults, {});
});

/** Keeps what nobody listens to from the console; gives what ends that. */
function silence(): () => void {
  const { error } = console;
  console.error = () => {};
  return () => {
    console.error = error;
  };
}
