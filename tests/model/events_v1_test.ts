/**
 * Two ends that speak `events.v1`, with programs that do random things on a random
 * network. Whatever happens, what `docs/protocol.md` promises must hold.
 */

import { assertEquals } from "@std/assert";
import { ClientSocket } from "../../client.ts";
import type { SendOptions } from "../../core/sending/send_queue.ts";
import { byteLengthOf, type Frame, toBytes } from "../../core/values/codec.ts";
import type {
  Connection,
  SocketMessage,
} from "../../core/connection/connection.ts";
import { MessageDroppedError, RequestError } from "../../core/events/errors.ts";
import { decodeFrame } from "../../core/protocol/frame_decoder.ts";
import { isMarked, type Payload } from "../../core/protocol/frames.ts";
import {
  creditCost,
  INITIAL_CREDIT,
} from "../../core/sending/credit_window.ts";
import { resolveOptions } from "../../core/connection/connection_options.ts";
import type { Overflow } from "../../core/sending/backpressure_queue.ts";
import type { SocketTypes } from "../../core/values/types.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { FakeWebSockets } from "../support/fake_websocket.ts";
import {
  createFixture,
  FakeOwner,
  FakeSocket,
  type Fixture,
} from "../support/fake_socket.ts";

/** How many runs there are of each model. */
const SEEDS = 40;

const POLICIES: readonly Overflow[] = [
  "terminate",
  "drop-oldest",
  "drop-newest",
  "latest",
];

/** What a payload may begin with, or hold. */
const BEGINNINGS = [
  "",
  "",
  "",
  "\u0001",
  "\u0001=",
  "\u0001=\u0001",
  "\u0001[",
];
const ENDINGS = ["", "", "\u001e", ",\u001e\u0001+5", " ".repeat(40)];

const LONG = "x".repeat(40_000);

/** A message of a program's, or a request. */
interface Sent {
  readonly id: string;
  /** Whether it may take another's place, or has none. */
  readonly isFree: boolean;
  /** Its key, if a newer message with the same key may take its place. */
  readonly key?: string | undefined;
  state: "pending" | "sent" | "dropped" | "rejected";
}

/** Payloads that hold an id, and all that is hard to tell from a marked frame. */
function payload(seeded: SeededRandom, id: string): Frame {
  const long = seeded.integer(40) === 0 ? LONG : "";
  const text = seeded.pick(BEGINNINGS) + `<${id}>` + seeded.pick(ENDINGS) +
    long;
  const bytes = new TextEncoder().encode(text);
  const marked = new Uint8Array(
    [0xc1, ...seeded.pick([[], [0x3d], [0x5b], [0x3d, 0xc1]]), ...bytes],
  );
  return seeded.pick<Frame>([
    text,
    text,
    bytes,
    marked,
    marked.buffer,
    new Blob([seeded.pick([bytes, marked])]),
  ]);
}

const latin1 = new TextDecoder("latin1");

/** The payload's bytes, to tell whether another is the same. */
async function fingerprint(frame: Frame): Promise<string> {
  const bytes = typeof frame === "string"
    ? new TextEncoder().encode(frame)
    : frame instanceof Blob
    ? new Uint8Array(await frame.arrayBuffer())
    : toBytes(frame);
  const kind = typeof frame === "string" ? "text" : "bytes";
  return kind + latin1.decode(bytes);
}

function idOf(content: string): string {
  return /<(\w+)>/.exec(content)?.[1] ?? "";
}

/** What goes through a socket: checks it, and counts what it costs. */
class Meter {
  #spent = 0;
  #limit: number = INITIAL_CREDIT;

  constructor(readonly faults: Set<string>) {}

  /** The sender hears of credit. */
  hear(data: Payload): void {
    for (const item of itemsOf(data)) {
      const frame = isMarked(item) ? decodeFrame(item) : undefined;
      if (frame?.kind !== "credit") continue;
      this.#limit = Math.max(this.#limit, frame.limit);
    }
  }

  /** The sender sends. */
  spend(data: Payload): void {
    if (isMarked(data) && decodeFrame(data)?.kind === "batch") {
      if (byteLengthOf(data) > 65_536) this.faults.add("a batch is too large");
    }
    for (const item of itemsOf(data)) {
      const frame = isMarked(item) ? decodeFrame(item) : undefined;
      if (isMarked(item) && (!frame || frame.kind === "batch")) {
        this.faults.add("a frame is malformed");
      }
      const kind = frame?.kind ?? "message";
      if (kind !== "message" && kind !== "request") continue;
      if (this.#spent >= this.#limit) this.faults.add("credit is overrun");
      this.#spent += creditCost(item);
    }
  }
}

function itemsOf(data: Payload): readonly Payload[] {
  const frame = isMarked(data) ? decodeFrame(data) : undefined;
  return frame?.kind === "batch" ? frame.items : [data];
}

/** The way from one socket to the other, which may not get on. */
class Wire extends FakeSocket {
  readonly #queue: (() => void)[] = [];
  #isHeld = false;

  constructor(
    readonly from: FakeSocket,
    readonly to: FakeSocket,
    readonly meter: Meter,
    readonly back: Meter,
  ) {
    super();
    from.peer = this;
    const send = from.send.bind(from);
    from.send = (data) => {
      this.meter.spend(
        typeof data === "string" ? data : toBytes(data).slice().buffer,
      );
      send(data);
    };
  }

  set isHeld(isHeld: boolean) {
    this.#isHeld = this.from.isStalled = isHeld;
    if (isHeld) return;
    this.from.bufferedAmount = 0;
    for (const act of this.#queue.splice(0)) act();
  }

  override receive(data: string | ArrayBuffer): void {
    this.#pass(() => {
      this.back.hear(data);
      this.to.receive(data);
    });
  }

  override receiveClose(code: number, reason: string): void {
    this.#pass(() => this.to.receiveClose(code, reason));
  }

  #pass(act: () => void): void {
    if (this.#isHeld) this.#queue.push(act);
    else act();
  }
}

/** One end, and what its program has done and seen. */
class End {
  readonly party: Fixture;
  readonly concurrency: number;
  readonly sent: Sent[] = [];
  /** Payloads by id. */
  readonly payloads = new Map<string, Frame>();
  readonly heard: SocketMessage<SocketTypes>[] = [];
  readonly #requests = new Set<string>();
  readonly #late: (() => void)[] = [];
  readonly #controllers: AbortController[] = [];
  #running = 0;
  #isOver = false;
  #closes = 0;
  #closed = 0;
  readonly #byDefault: Overflow;

  constructor(
    readonly role: "server" | "client",
    readonly seeded: SeededRandom,
    readonly faults: Set<string>,
  ) {
    const pick = <T>(...list: T[]): T => seeded.pick(list);
    this.concurrency = pick(1, 2, 3, Infinity, Infinity);
    this.#byDefault = seeded.pick(POLICIES);
    const options = resolveOptions<SocketTypes>(
      {
        concurrency: this.concurrency,
        highWaterMark: pick(10, 1_000, 1_000_000),
        maxBufferedAmount: pick(100, 10_000, 1_000_000),
        overflow: this.#byDefault,
      },
      0,
      {
        maxPayload: Infinity,
        closeTimeout: pick(500, 10_000),
        idleTimeout: () => pick(0, 0, 100_000),
      },
    );
    const owner = new FakeOwner(false);
    const spoken = { protocol: "", isEvents: true };
    this.party = createFixture(role, { options, negotiated: spoken }, owner);
    if (seeded.integer(4) > 0) {
      owner.handler = (request) => this.#handle(request);
    }
    const { connection } = this.party;
    connection.on("message", (message) => this.#hear(message));
    connection.on("error", (error) => {
      if (!String(error).includes("Cannot deliver the last")) {
        const isMeant = String(error).includes("meant");
        if (!isMeant) faults.add(`error: ${error}`);
      }
    });
    for (const type of ["close", "disconnect"] as const) {
      connection.on(type, () => {
        if (this.#isOver) faults.add("two ends");
        this.#isOver = true;
      });
    }
    connection.on("drain", () => {
      if (this.#isOver) faults.add("drain after the end");
    });
  }

  get connection(): Connection {
    return this.party.connection;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  #begin(): void {
    if (this.#isOver) this.faults.add("a message after the end");
    if (++this.#running > this.concurrency) {
      this.faults.add("too many at a time");
    }
  }

  /** Is done now, or later, or never; perhaps by throwing. */
  #end<T>(value: T, isLate: boolean): T | Promise<T> {
    if (!isLate) {
      this.#running--;
      if (this.seeded.integer(8) === 0) throw new Error("meant");
      return value;
    }
    return new Promise((resolve, reject) =>
      this.#late.push(() => {
        this.#running--;
        if (this.seeded.integer(8) === 0) reject(new Error("meant"));
        else resolve(value);
      })
    );
  }

  #hear(message: SocketMessage<SocketTypes>): void | Promise<void> {
    this.#begin();
    this.heard.push(message);
    if (message.isRequest && this.seeded.integer(2) > 0) {
      message.reply(`re <${idOf(message.content)}>`);
    }
    return this.#end(undefined, this.seeded.integer(3) === 0);
  }

  #handle(
    request: SocketMessage<SocketTypes>,
  ): void | string | Promise<string | void> {
    this.#begin();
    this.heard.push(request);
    const answer = `re <${idOf(request.content)}>`;
    const isLate = this.seeded.integer(2) === 0;
    if (this.seeded.integer(4) > 0) return this.#end(answer, isLate);
    request.reply(answer);
    return this.#end(undefined, isLate);
  }

  /** Changes as long as it gets on. */
  get progress(): number {
    return this.heard.length + this.party.socket.sent.length;
  }

  /** Some that are late are done, in any order. */
  finish(count: number): void {
    for (; count > 0 && this.#late.length > 0; count--) {
      this.#late.splice(this.seeded.integer(this.#late.length), 1)[0]?.();
    }
  }

  #options(): SendOptions {
    const { seeded } = this;
    if (seeded.integer(3) > 0) return {};
    return { overflow: seeded.pick(POLICIES), key: seeded.pick(["k", "l"]) };
  }

  send(): void {
    const id = `${this.role}${this.payloads.size}`;
    const data = payload(this.seeded, id);
    const options = this.#options();
    this.payloads.set(id, data);
    const isFree = (options.overflow ?? this.#byDefault) === "latest";
    const key = isFree ? options.key ?? "" : undefined;
    const message: Sent = { id, isFree, key, state: "pending" };
    this.sent.push(message);
    if (isBytes(data)) this.payloads.set(id, new Blob([data]));
    this.connection.send(data, options).then(
      () => message.state = "sent",
      (error) =>
        message.state = error instanceof MessageDroppedError
          ? "dropped"
          : "rejected",
    );
    if (isBytes(data)) toBytes(data).fill(7); // they are the sender's again
  }

  request(): void {
    const { seeded } = this;
    const id = `${this.role}${this.payloads.size}`;
    const data = payload(seeded, id);
    this.payloads.set(id, data);
    const request: Sent = {
      id,
      isFree: this.#byDefault === "latest",
      state: "pending",
    };
    this.sent.push(request);
    this.#requests.add(id);
    const controller = new AbortController();
    if (seeded.integer(5) === 0) this.#controllers.push(controller);
    this.connection.request(data, {
      timeout: seeded.pick([1, 100, 5_000, Infinity]),
      signal: controller.signal,
    }).then((answer) => {
      request.state = "sent";
      if (answer !== `re <${id}>` && answer !== null) {
        this.faults.add("another's answer");
      }
    }, (error) => {
      request.state = error instanceof MessageDroppedError
        ? "dropped"
        : "rejected";
      if (error instanceof RequestError && !error.code) {
        this.faults.add("a failure without a code");
      }
    });
  }

  abort(): void {
    this.#controllers.pop()?.abort(new Error("aborted"));
  }

  close(): void {
    this.#closes++;
    this.connection.close(4_000, "bye").then(() => this.#closed++);
  }

  /** All is over. */
  async judge(peer: End, isWhole: boolean): Promise<void> {
    const { faults } = this;
    if (!this.#isOver) faults.add("an open without an end");
    if (this.#closed < this.#closes) faults.add("a close that never settles");
    if (this.connection.bufferedAmount > 0) faults.add("something waits");
    for (const { state } of this.sent) {
      if (state === "pending") faults.add("a promise that never settles");
    }
    const ids = peer.heard.map(({ content }) => idOf(content));
    const came = new Set(ids);
    if (came.size < ids.length) faults.add("a message came twice");
    const isKnown = new Map(this.sent.map((sent, i) => [sent.id, { sent, i }]));
    const places = ids.map((id) => isKnown.get(id))
      .filter((known) => known && !known.sent.isFree)
      .map((known) => known?.i ?? 0);
    if (places.some((place, i) => place < (places[i - 1] ?? 0))) {
      faults.add("out of order");
    }
    const newest = new Map(
      this.sent.filter(({ id }) => came.has(id)).map((
        { id, key },
      ) => [key, id]),
    );
    for (const { id, key, state } of this.sent) {
      if (state === "dropped" && came.has(id)) {
        faults.add("came, though dropped");
      }
      const isRequest = this.#requests.has(id);
      const place = isKnown.get(id)?.i ?? 0;
      const newer = isKnown.get(newest.get(key) ?? "")?.i ?? -1;
      const isReplaced = key !== undefined && newer > place;
      const isLost = state !== "dropped" && !came.has(id) && !isReplaced;
      if (isWhole && !isRequest && isLost) faults.add("a message is lost");
      if (isWhole && state === "rejected" && !isRequest) {
        faults.add("rejected, while it lived");
      }
    }
    const dropped = this.sent.filter(({ state }) => state === "dropped");
    // Answers may be dropped, too.
    if (this.connection.dropped.outgoing < dropped.length) {
      faults.add("dropped, and not counted");
    }
    for (const message of peer.heard) {
      const was = this.payloads.get(idOf(message.content));
      const is = message.isBinary ? message.bytes : message.content;
      if (
        was === undefined || await fingerprint(was) !== await fingerprint(is)
      ) {
        faults.add("came as something else");
      }
    }
  }
}

function isBytes(frame: Frame): frame is Exclude<Frame, string | Blob> {
  return typeof frame !== "string" && !(frame instanceof Blob);
}

/** Two ends of one connection. */
class PairRun {
  readonly #chance: SeededRandom;
  readonly #dial = new FakeWebSockets();
  readonly faults = new Set<string>();
  readonly #ends: readonly [End, End];
  readonly #wires: readonly [Wire, Wire];

  constructor(seed: number) {
    this.#chance = new SeededRandom(seed);
    const one = new End("server", this.#chance, this.faults);
    const other = new End("client", this.#chance, this.faults);
    this.#ends = [one, other];
    const [a, b] = [one.party.socket, other.party.socket];
    const [ofA, ofB] = [new Meter(this.faults), new Meter(this.faults)];
    this.#wires = [new Wire(a, b, ofA, ofB), new Wire(b, a, ofB, ofA)];
    a.open();
    b.open();
  }

  /** Some turns, and all that is read of a Blob; or some time. */
  async #wait(ms: number): Promise<void> {
    for (let i = this.#chance.integer(4); i > 0; i--) await null;
    if (ms === 0) return;
    await turn();
    for (let left = ms; left > 0; left -= 50) {
      this.#dial.time.tick(Math.min(left, 50));
      for (let i = 0; i < 10; i++) await null;
    }
  }

  #happen(isLethal: boolean): void {
    const seeded = this.#chance;
    const end = seeded.pick(this.#ends);
    const what = seeded.integer(40);
    if (what < 12) {
      const count = seeded.pick([1, 1, 3, 30, ...isLethal ? [200] : [600]]);
      for (let i = 0; i < count; i++) {
        if (seeded.integer(4) === 0) end.request();
        else end.send();
      }
    } else if (what < 16) end.request();
    else if (what < 17) end.abort();
    else if (what < 22) end.finish(1 + seeded.integer(50));
    else if (what < 28) seeded.pick(this.#wires).isHeld = true;
    else if (what < 36) seeded.pick(this.#wires).isHeld = false;
    else if (!isLethal) return;
    else if (what < 37) end.close();
    else if (what < 38) end.connection.terminate();
    else if (what < 39) this.#lose();
  }

  #lose(): void {
    for (const { party: { socket } } of this.#ends) {
      if (socket.readyState < 3) socket.end(false, 1006);
    }
  }

  async all(): Promise<void> {
    using _dial = this.#dial;
    const isLethal = this.#chance.integer(2) === 0;
    for (let step = 10 + this.#chance.integer(40); step > 0; step--) {
      this.#happen(isLethal);
      await this.#wait(this.#chance.pick([0, 0, 1, 50, 200]));
    }
    await this.#settle();
    const [one, other] = this.#ends;
    const isWhole = !one.isOver && !other.isOver;
    if (isWhole) {
      for (const end of this.#ends) {
        if (end.connection.bufferedAmount > 0) this.faults.add("a deadlock");
      }
    }
    this.#chance.pick(this.#ends).close();
    await this.#wait(20_000);
    for (const end of this.#ends) end.finish(Infinity);
    await this.#wait(20_000);
    await one.judge(other, isWhole);
    await other.judge(one, isWhole);
    if (this.#dial.time.next()) this.faults.add("a timer is left");
  }

  /** All gets on until nothing is left to do. */
  async #settle(): Promise<void> {
    for (const wire of this.#wires) wire.isHeld = false;
    let before = "";
    for (let quiet = 0; quiet < 6; quiet++) {
      for (const end of this.#ends) end.finish(Infinity);
      for (let i = 0; i < 20; i++) await null;
      if (quiet > 0) await this.#wait(quiet < 3 ? 10 : 300);
      const now = this.#ends.map((end) => end.progress).join();
      if (now !== before) quiet = 0;
      before = now;
    }
  }
}

/** A client that comes back, to a server that speaks `events.v1` or does not. */
class ClientRun {
  readonly #chance: SeededRandom;
  readonly #dial = new FakeWebSockets();
  readonly #client: ClientSocket;
  readonly faults = new Set<string>();
  readonly #sent: Sent[] = [];
  readonly #payloads = new Map<string, Frame>();
  readonly #asked: Sent[] = [];
  readonly #byDefault: Overflow;
  /** What each socket may be sent. */
  readonly #limits = new Map<FakeSocket, number>();

  constructor(seed: number) {
    const seeded = this.#chance = new SeededRandom(seed);
    this.#byDefault = seeded.pick(POLICIES);
    this.#client = new ClientSocket({
      highWaterMark: seeded.pick([10, 1_000, 1_000_000]),
      maxBufferedAmount: seeded.pick([200, 20_000, 1_000_000]),
      overflow: this.#byDefault,
      reconnect: { initialDelay: 100, maxDelay: 500, minUptime: 0 },
    });
  }

  #send(): void {
    const seeded = this.#chance;
    const id = `m${this.#payloads.size}`;
    const data = payload(seeded, id);
    const options = seeded.pick<SendOptions>([
      {},
      ...POLICIES.map((overflow) => ({ overflow, key: "k" })),
    ]);
    const isFree = (options.overflow ?? this.#byDefault) === "latest";
    const message: Sent = { id, isFree, state: "pending" };
    this.#sent.push(message);
    this.#payloads.set(id, data);
    this.#client.send(data, options).then(
      () => message.state = "sent",
      () => message.state = "rejected",
    );
  }

  #request(): void {
    const id = `r${this.#payloads.size}`;
    this.#payloads.set(id, id);
    const asked: Sent = { id, isFree: true, state: "pending" };
    this.#asked.push(asked);
    const timeout = this.#chance.pick([100, 2_000]);
    this.#client.request(`<${id}>`, { timeout }).then((answer) => {
      asked.state = "sent";
      if (answer !== `re ${id}`) this.faults.add("another's answer");
    }, () => asked.state = "rejected");
  }

  #happen(): void {
    const seeded = this.#chance;
    const socket = this.#dial.sockets.at(-1);
    const what = seeded.integer(20);
    if (what < 6) {
      for (
        let i = seeded.pick([1, 1, 1, 3, 3, 10, 10, 30, 30, 600]);
        i > 0;
        i--
      ) {
        this.#send();
      }
    } else if (what < 8) this.#request();
    else if (socket?.readyState === 0) {
      socket.protocol = seeded.pick(["", "events.v1", "events.v1"]);
      this.#limits.set(socket, INITIAL_CREDIT);
      socket.open();
    } else if (socket?.readyState !== 1) return;
    else if (what < 10) socket.lose();
    else if (what < 12) socket.isStalled = !socket.isStalled;
    else if (what < 15) socket.bufferedAmount = 0;
    else if (socket.protocol === "") return;
    else if (what < 17) this.#answer(socket);
    else this.#allow(socket, seeded.pick([100, 1_000]));
  }

  #allow(socket: FakeSocket, more: number): void {
    const limit = (this.#limits.get(socket) ?? 0) + more;
    this.#limits.set(socket, limit);
    socket.receive(`\u0001+${limit}`);
  }

  /** Answers what was asked, in any order, and perhaps twice. */
  #answer(socket: FakeSocket): void {
    for (const data of socket.sent) {
      for (const item of itemsOf(payloadOf(data))) {
        const frame = isMarked(item) ? decodeFrame(item) : undefined;
        if (frame?.kind !== "request" || this.#chance.integer(2) > 0) continue;
        const text = typeof frame.payload === "string" ? frame.payload : "";
        socket.receive(`\u0001!${frame.id},re ${idOf(text)}`);
      }
    }
  }

  async #wait(ms: number): Promise<void> {
    for (let i = this.#chance.integer(4); i > 0; i--) await null;
    await turn(); // what happens to a socket does so in a task of its own
    for (let left = ms; left > 0; left -= 100) {
      this.#dial.time.tick(Math.min(left, 100));
      for (let i = 0; i < 10; i++) await null;
    }
  }

  async all(): Promise<void> {
    using sockets = this.#dial;
    this.#client.connect("ws://example.test/").catch(() => {});
    for (let step = 20 + this.#chance.integer(30); step > 0; step--) {
      this.#happen();
      await this.#wait(this.#chance.pick([0, 0, 1, 100, 600]));
    }
    // What is handed over as the time to close is over would be lost.
    for (let i = 0; i < 2_000 && this.#client.bufferedAmount > 0; i++) {
      const socket = this.#dial.sockets.at(-1);
      if (socket?.readyState !== 1) break;
      socket.isStalled = false;
      socket.bufferedAmount = 0;
      if (socket.protocol) this.#allow(socket, 100);
      await this.#wait(20);
    }
    const closed = this.#client.close();
    await this.#wait(15_000);
    await closed;
    if (this.#client.bufferedAmount > 0) this.faults.add("something waits");
    if (sockets.time.next()) this.faults.add("a timer is left");
    await this.#judge();
  }

  async #judge(): Promise<void> {
    const { faults } = this;
    const ids: string[] = [];
    for (const socket of this.#dial.sockets) {
      for (const data of socket.sent.map(payloadOf)) {
        const isEvents = socket.protocol !== "";
        for (const item of isEvents ? itemsOf(data) : [data]) {
          const frame = isEvents && isMarked(item)
            ? decodeFrame(item)
            : { kind: "message", payload: item } as const;
          if (frame?.kind !== "message") continue;
          const is = await fingerprint(frame.payload);
          const id = idOf(is);
          ids.push(id);
          const was = this.#payloads.get(id);
          if (was === undefined || is !== await fingerprint(was)) {
            faults.add("sent as something else");
          }
        }
      }
    }
    const came = new Set(ids);
    if (came.size < ids.length) faults.add("a message sent twice");
    for (const { id, state } of this.#sent) {
      if (state === "pending") faults.add("a promise that never settles");
      if (state === "sent" && !came.has(id)) faults.add("a message lost");
      if (state === "rejected" && came.has(id)) {
        faults.add("a message sent, though rejected");
      }
    }
    if (this.#asked.some(({ state }) => state === "pending")) {
      faults.add("a request that never settles");
    }
    const places = new Map(
      this.#sent.map(({ id, isFree }, i) => [id, isFree ? -1 : i]),
    );
    const order = ids.map((id) => places.get(id) ?? -1).filter((i) => i >= 0);
    if (order.some((place, i) => place < (order[i - 1] ?? 0))) {
      faults.add("out of order");
    }
  }
}

/** What a socket was given. */
function payloadOf(data: unknown): Payload {
  if (typeof data === "string" || data instanceof ArrayBuffer) return data;
  return data instanceof Uint8Array ? data.slice().buffer : "";
}

/** What was begun outside of the fake time gets on. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function judge(
  run: (seed: number) => { readonly faults: Set<string>; all(): Promise<void> },
): Promise<void> {
  const faults: Record<number, string[]> = {};
  for (let seed = 1; seed <= SEEDS; seed++) {
    const one = run(seed);
    await one.all();
    if (one.faults.size > 0) faults[seed] = [...one.faults];
  }
  assertEquals(faults, {});
}

Deno.test("events.v1 satisfies its model", () =>
  judge((seed) => new PairRun(seed)));

Deno.test("ClientSocket transfers messages to servers with other subprotocols", () =>
  judge((seed) => new ClientRun(seed)));
