/**
 * A broker in memory that keeps messages, and in which everything takes its time: what
 * goes there and what comes from there moves only when it is told to.
 */

import type {
  Adapter,
  AdapterHost,
  AdapterLog,
  AdapterLogEntry,
} from "../../core/cluster/adapter.ts";
import type { SeededRandom } from "./seeded_random.ts";

/** One way of one connection: what is on it, in order. */
type Lane = (() => void)[];

/** What is kept of one channel. */
interface Stream {
  logged: AdapterLogEntry[];
  max: number;
}

export class FakeBroker {
  readonly links: FakeLink[] = [];
  /** Whether it runs, and can be reached. */
  isRunning = true;
  #isStill = false;
  #epoch = 1;
  #offset = 0;
  readonly #streams = new Map<string, Stream>();
  readonly #names = new Map<string, number>();
  /** All that was ever kept since it has forgotten everything. */
  readonly ledger: { channel: string; message: Uint8Array }[] = [];

  constructor(readonly seeded: SeededRandom) {}

  get epoch(): string {
    return `e${this.#epoch}`;
  }

  /** Makes an adapter for one more server. */
  link(): FakeLink {
    const link = new FakeLink(this);
    this.links.push(link);
    return link;
  }

  /** Makes an adapter that keeps nothing. */
  plainLink(): { link: FakeLink; adapter: Adapter } {
    const link = this.link();
    const adapter: Adapter = {
      open: (bus) => link.open(bus),
      publish: (...args) => link.publish(...args),
      subscribe: (channel) => link.subscribe(channel),
      unsubscribe: (channel) => link.unsubscribe(channel),
      close: () => link.close(),
    };
    return { link, adapter };
  }

  /** Lets something move, if it does anything. Tells whether there was something. */
  move(): boolean {
    if (this.#isStill) return false;
    const lanes = this.links.flatMap(({ lanes }) => lanes)
      .filter(({ length }) => length > 0);
    if (lanes.length === 0) return false;
    this.seeded.pick(lanes).shift()?.();
    return true;
  }

  /** Lets it do nothing for a while, or go on. */
  pause(isStill: boolean): void {
    this.#isStill = isStill;
  }

  /** It dies; what was on its way may have come there. */
  kill(): void {
    this.isRunning = false;
    this.#isStill = false;
    for (const link of this.links) link.cut();
  }

  /** It comes back. */
  start(isEmpty: boolean): void {
    this.isRunning = true;
    if (!isEmpty) return;
    this.#epoch++;
    this.#offset = 0;
    this.#streams.clear();
    this.#names.clear();
    this.ledger.length = 0;
  }

  /** As the script for Redis does. */
  append(
    channel: string,
    { from, id }: { from: string; id: number },
    message: Uint8Array,
    max: number,
  ): void {
    const name = `${from} ${channel}`;
    if (id <= (this.#names.get(name) ?? 0)) return;
    this.#names.set(name, id);
    const stream = this.#streams.get(channel) ?? { logged: [], max };
    this.#streams.set(channel, stream);
    const offset = ++this.#offset;
    stream.logged.push({ offset, message });
    if (stream.logged.length > max + 1) stream.logged.shift();
    this.ledger.push({ channel, message });
    this.publish(channel, message, offset);
  }

  publish(channel: string, message: Uint8Array, offset?: number): void {
    for (const link of this.links) link.bring(channel, message, offset);
  }

  read(channel: string, after: number, limit: number): AdapterLogEntry[] {
    const logged = this.#streams.get(channel)?.logged ?? [];
    return logged.filter(({ offset }) => offset > after).slice(0, limit);
  }
}

/** One server's way there: as Redis' it has two connections. */
export class FakeLink implements Adapter {
  readonly #broker: FakeBroker;
  #bus: AdapterHost | undefined;
  readonly #wanted = new Map<string, PromiseWithResolvers<void>>();
  /** What comes back by itself with the connection. */
  readonly #confirmed = new Set<string>();
  /** What the broker knows of. */
  readonly #subscribed = new Set<string>();
  /** Commands and subscriptions, and what comes back of each. */
  readonly #out: Lane = [];
  readonly #back: Lane = [];
  readonly #outListening: Lane = [];
  readonly #backListening: Lane = [];
  readonly lanes: Lane[];
  #isUp = false;
  /** Whether nothing of it counts any more: its server is dead. */
  isDead = false;
  #pending = new Set<PromiseWithResolvers<unknown>>();

  constructor(broker: FakeBroker) {
    this.#broker = broker;
    this.lanes = [
      this.#out,
      this.#back,
      this.#outListening,
      this.#backListening,
    ];
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** It reaches the broker again, if that runs. */
  reach(): void {
    if (this.#isUp || this.isDead || !this.#broker.isRunning) return;
    this.#isUp = true;
    for (const channel of this.#wanted.keys()) {
      if (this.#confirmed.has(channel)) this.#subscribed.add(channel);
      else this.#listen(channel);
    }
    this.#bus?.changed("up");
  }

  /** It loses its connections; of what was on its way, the first part has come. */
  cut(): void {
    if (!this.#isUp) return;
    for (const lane of [this.#outListening, this.#out]) {
      const count = this.#broker.seeded.integer(lane.length + 1);
      if (!this.isDead) { for (const act of lane.splice(0, count)) act(); }
    }
    this.#isUp = false;
    for (const lane of this.lanes) lane.length = 0;
    this.#subscribed.clear();
    const error = new Error("The connection is lost");
    const pending = [...this.#pending];
    this.#pending.clear();
    for (const { reject } of pending) reject(error);
    this.#bus?.changed("down", error);
  }

  open(bus: AdapterHost): void {
    this.#bus = bus;
  }

  publish(channel: string, message: Uint8Array<ArrayBuffer>): Promise<void> {
    return this.#command(() => this.#broker.publish(channel, message));
  }

  subscribe(channel: string): Promise<void> {
    const one = Promise.withResolvers<void>();
    this.#wanted.set(channel, one);
    if (this.#isUp) this.#listen(channel);
    return one.promise;
  }

  unsubscribe(channel: string): void {
    this.#wanted.get(channel)?.resolve();
    this.#wanted.delete(channel);
    this.#confirmed.delete(channel);
    if (!this.#isUp) return;
    this.#outListening.push(() => this.#subscribed.delete(channel));
  }

  #listen(channel: string): void {
    const one = this.#wanted.get(channel);
    this.#outListening.push(() => {
      this.#subscribed.add(channel);
      this.#backListening.push(() => {
        if (this.#wanted.get(channel) !== one) return;
        this.#confirmed.add(channel);
        one?.resolve();
      });
    });
  }

  /** Brings a message, if it is heard here. */
  bring(channel: string, message: Uint8Array, offset: number | undefined) {
    if (!this.#isUp || !this.#subscribed.has(channel)) return;
    this.#backListening.push(() =>
      this.#bus?.received(channel, message, offset)
    );
  }

  close(): Promise<void> {
    this.isDead = true;
    for (const lane of this.lanes) lane.length = 0;
    this.#isUp = false;
    this.#bus = undefined;
    return Promise.resolve();
  }

  #command<T>(act: () => T): Promise<T> {
    const one = Promise.withResolvers<T>();
    if (!this.#isUp) {
      return Promise.reject(new Error("The broker cannot be reached"));
    }
    this.#pending.add(one as PromiseWithResolvers<unknown>);
    this.#out.push(() => {
      const value = act();
      this.#back.push(() => {
        this.#pending.delete(one as PromiseWithResolvers<unknown>);
        one.resolve(value);
      });
    });
    return one.promise;
  }

  readonly log: AdapterLog = {
    open: () => this.#command(() => this.#broker.epoch),
    append: (channel, name, message) =>
      this.#command(() =>
        this.#broker.append(channel, name, message, this.messages)
      ),
    read: (channel, after, limit) =>
      this.#command(() => this.#broker.read(channel, after, limit)),
  };

  /** How many messages of a channel are kept. */
  messages = 8;
}
