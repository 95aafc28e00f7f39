/**
 * Which other servers there are, and what they are asked: how many connections they
 * have, and to close one. It knows neither adapters nor connections.
 *
 * @module
 */

import type { Member } from "../events/event_types.ts";
import { startTimer, type Timer } from "../util/timer.ts";

/** What servers ask each other. */
export type Inquiry =
  /** How many connections there are; in a room, if one is named. */
  | { readonly type: "count"; readonly room?: string }
  /** Who is in a room. */
  | { readonly type: "who"; readonly room: string }
  /** Close one, wherever it is. */
  | {
    readonly type: "close";
    readonly id: string;
    readonly code: number;
    readonly reason: string;
  };

/** What a server answers; of several, the sum. */
export interface Answer {
  /** How many, or how many were closed. */
  readonly number: number;
  /** Who, if that was asked. */
  readonly members?: readonly Member[];
}

/** What servers say to each other. */
type Word =
  /** I am here. Who has just come wants to hear it of all others, too. */
  | { readonly type: "pulse"; readonly isNew: boolean }
  /** I am gone. */
  | { readonly type: "bye" }
  | { readonly type: "ask"; readonly id: number; readonly inquiry: Inquiry }
  | Answer & {
    readonly type: "answer";
    readonly id: number;
    readonly to: string;
  };

type Signed = Word & { readonly version: 1; readonly from: string };

/** What a fleet needs of its server. */
export interface Station {
  /**
   * Says something to all other servers.
   *
   * @param text What.
   */
  say(text: string): void;
  /**
   * Answers for this server.
   *
   * @param inquiry What is asked.
   * @returns The answer.
   */
  answer(inquiry: Inquiry): Answer;
  /**
   * Hears that a server is there.
   *
   * @param name Its name.
   */
  found?(name: string): void;
  /**
   * Hears that a server that was there could not be heard for a while.
   *
   * @param name Its name.
   */
  back?(name: string): void;
  /**
   * Hears that a server is there no more.
   *
   * @param name Its name.
   */
  lost?(name: string): void;
}

/** How often a server says that it is here, in milliseconds. */
const PULSE = 2_000;

/** After how many of them it is taken for dead. */
const DEAD = 3;

/** How long others may take to answer, in milliseconds. */
const PATIENCE = 1_000;

/** Somebody who waits for the others' answers. */
interface Waiting {
  readonly answers: Answer[];
  /** Who has not answered yet. */
  readonly left: Set<string>;
  readonly done: () => void;
}

/** One server among others. */
export class Fleet {
  readonly #name: string;
  readonly #station: Station;
  /** How many pulses the others have missed. */
  readonly #others = new Map<string, number>();
  readonly #waiting = new Map<number, Waiting>();
  #count = 0;
  #timer: Timer | undefined;

  /**
   * Begins, alone as far as it knows.
   *
   * @param name The name of this server.
   * @param station The server.
   */
  constructor(name: string, station: Station) {
    this.#name = name;
    this.#station = station;
  }

  /** How many servers there are, this one included. */
  get size(): number {
    return this.#others.size + 1;
  }

  /** Says that this server is here, now and from time to time. */
  start(): void {
    this.stop();
    this.#say({ type: "pulse", isNew: true });
    this.#timer = setInterval(() => this.#beat(), PULSE);
  }

  /** Says nothing any more; nobody can be heard either. */
  stop(): void {
    clearInterval(this.#timer);
    for (const name of [...this.#others.keys()]) this.#lose(name);
  }

  /** Says goodbye. */
  leave(): void {
    this.#say({ type: "bye" });
    this.stop();
  }

  /**
   * Asks all servers, this one included.
   *
   * @param inquiry What to ask.
   * @returns The sum of the answers. Who does not answer in time is not counted.
   */
  async ask(inquiry: Inquiry): Promise<Answer> {
    const own = this.#station.answer(inquiry);
    if (this.#others.size === 0) return own;
    const id = ++this.#count;
    const { promise, resolve } = Promise.withResolvers<void>();
    const left = new Set(this.#others.keys());
    const waiting: Waiting = { answers: [own], left, done: resolve };
    this.#waiting.set(id, waiting);
    const timer = startTimer(resolve, PATIENCE);
    this.#say({ type: "ask", id, inquiry });
    await promise;
    clearTimeout(timer);
    this.#waiting.delete(id);
    const { answers } = waiting;
    return {
      number: answers.reduce((sum, { number }) => sum + number, 0),
      members: answers.flatMap(({ members = [] }) => members),
    };
  }

  /**
   * Hears what a server says.
   *
   * @param text What it says; what is none of this version is passed over.
   * @throws {SyntaxError} If it is no JSON.
   */
  hear(text: string): void {
    const word: unknown = JSON.parse(text);
    if (!isWord(word) || word.from === this.#name) return;
    const { from } = word;
    switch (word.type) {
      case "bye":
        return this.#lose(from);
      case "pulse":
        if (word.isNew && this.#others.has(from)) this.#station.back?.(from);
        this.meet(from);
        if (word.isNew) this.#say({ type: "pulse", isNew: false });
        return;
      case "ask": {
        const answer = this.#station.answer(word.inquiry);
        return this.#say({ type: "answer", id: word.id, to: from, ...answer });
      }
      case "answer":
        if (word.to === this.#name) this.#take(word.id, from, word);
    }
  }

  #beat(): void {
    for (const [name, missed] of this.#others) {
      if (missed >= DEAD) this.#lose(name);
      else this.#others.set(name, missed + 1);
    }
    this.#say({ type: "pulse", isNew: false });
  }

  /**
   * Something has come from a server.
   *
   * @param name Its name.
   */
  meet(name: string): void {
    const isNew = !this.#others.has(name);
    this.#others.set(name, 0);
    if (isNew) this.#station.found?.(name);
  }

  #lose(name: string): void {
    if (this.#others.delete(name)) this.#station.lost?.(name);
    for (const id of this.#waiting.keys()) this.#take(id, name, { number: 0 });
  }

  #take(id: number, from: string, answer: Answer): void {
    const waiting = this.#waiting.get(id);
    if (!waiting?.left.delete(from)) return;
    waiting.answers.push(answer);
    if (waiting.left.size === 0) waiting.done();
  }

  #say(word: Word): void {
    const signed: Signed = { ...word, version: 1, from: this.#name };
    this.#station.say(JSON.stringify(signed));
  }
}

/** Whether something has come of another server of this version. */
function isWord(word: unknown): word is Signed {
  return typeof word === "object" && word !== null && "version" in word &&
    word.version === 1 && "from" in word && typeof word.from === "string" &&
    "type" in word;
}
