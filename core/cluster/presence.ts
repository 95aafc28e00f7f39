/**
 * Who is in a room on whatever server: what is said when somebody joins or leaves, and
 * what is made of what other servers say. It knows neither adapters nor connections.
 *
 * @module
 */

import type { Member } from "../events/event_types.ts";
import { startTimer, type Timer } from "../util/timer.ts";

/** What servers say to each other, each in one room. */
type Word =
  /** All of mine who are there; who asks wants to hear the same of all others. */
  | {
    readonly type: "state";
    readonly isAsking: boolean;
    /** Whether that can wait a little, as many may ask just now. */
    readonly isPatient?: boolean;
    readonly members: readonly Member[];
  }
  | { readonly type: "join"; readonly before: number; readonly member: Member }
  | { readonly type: "leave"; readonly before: number; readonly id: string }
  /** I have missed something of yours. */
  | { readonly type: "ask"; readonly to: string };

/** How it is said who is there. */
type Manner = Pick<
  Extract<Word, { type: "state" }>,
  "isAsking" | "isPatient"
>;

type Signed = Word & {
  readonly version: 1;
  readonly from: string;
  /** Which of its changes this is, or was the last one; no two have the same. */
  readonly at: number;
};

/** What a presence needs of its server. */
export interface Voice {
  /**
   * Says something to all servers that have somebody in a room.
   *
   * @param room The room.
   * @param text What.
   */
  say(room: string, text: string): void;
  /**
   * Hears that somebody has joined a room, on whatever server.
   *
   * @param member Who.
   * @param room The room.
   */
  joined(member: Member, room: string): void;
  /**
   * Hears that somebody has left a room, on whatever server.
   *
   * @param member Who.
   * @param room The room.
   */
  left(member: Member, room: string): void;
}

/** Some members of a room: those of one server. */
interface Group {
  /** Which of its server's changes was the last. */
  at: number;
  members: Map<string, Member>;
}

/** A room that somebody of this server is in. */
interface View {
  readonly own: Group;
  readonly others: Map<string, Group>;
  /** Servers that may have nobody here any more: they could not say so. */
  readonly doubtful: Set<string>;
}

/**
 * How long other servers' members stay when nothing can be heard of them, in
 * milliseconds; a server that is alive says so every two seconds.
 */
const GRACE = 8_000;

/** How long who can hear others again waits for an answer, in milliseconds. */
const PAUSE = 2_000;

/** How many servers are remembered that were given up. */
const MEMORY = 100;

/** Who is in the rooms of one server. */
export class Presence {
  readonly #name: string;
  readonly #voice: Voice;
  readonly #views = new Map<string, View>();
  /** How many changes there were here. */
  #at = 0;
  /** Whether the broker is away. */
  #isAway = false;
  /** Servers that were given up, and may be there all the same. */
  readonly #dropped = new Set<string>();
  /** Rooms of which this server is to say who is there. */
  readonly #asked = new Set<string>();
  #pause: Timer | undefined;
  #grace: Timer | undefined;

  /**
   * Begins with nobody.
   *
   * @param name The name of this server.
   * @param voice The server.
   */
  constructor(name: string, voice: Voice) {
    this.#name = name;
    this.#voice = voice;
  }

  /**
   * Who of this server is in a room.
   *
   * @param room The room.
   * @returns The members, in the order in which they came.
   */
  own(room: string): readonly Member[] {
    return [...this.#views.get(room)?.own.members.values() ?? []];
  }

  /**
   * Somebody of this server is in a room now.
   *
   * @param room The room.
   * @param member Who.
   */
  join(room: string, member: Member): void {
    const { own } = this.#viewOf(room);
    const before = own.at;
    own.at = ++this.#at;
    own.members.set(member.id, member);
    this.#say(room, own.at, { type: "join", before, member });
    this.#voice.joined(member, room);
  }

  /**
   * Somebody of this server is in a room no more.
   *
   * @param room The room.
   * @param id Who.
   */
  leave(room: string, id: string): void {
    const view = this.#views.get(room);
    const member = view?.own.members.get(id);
    if (!view || !member) return;
    const { own } = view;
    const before = own.at;
    own.at = ++this.#at;
    own.members.delete(id);
    this.#say(room, own.at, { type: "leave", before, id });
    // Nobody here is there to hear more of it.
    if (own.members.size === 0) this.#views.delete(room);
    this.#voice.left(member, room);
  }

  /**
   * What is said of a room can be heard now: asks who is there.
   *
   * @param room The room.
   */
  greet(room: string): void {
    this.#tell(room, { isAsking: true });
  }

  /**
   * Hears what a server says.
   *
   * @param room The room that it is about.
   * @param text What; what is none of this version is passed over.
   * @returns Which server has said it; undefined for this one, or if it is passed over.
   * @throws {SyntaxError} If it is no JSON.
   */
  hear(room: string, text: string): string | undefined {
    const word: unknown = JSON.parse(text);
    if (!isWord(word) || word.from === this.#name) return undefined;
    const view = this.#views.get(room);
    if (view) this.#heed(room, view, word);
    return word.from;
  }

  #heed(room: string, view: View, word: Signed): void {
    const { from, at } = word;
    const group = view.others.get(from);
    switch (word.type) {
      case "state":
        view.doubtful.delete(from);
        this.#replace(room, from, { at, members: indexed(word.members) });
        if (word.isAsking && word.isPatient) this.#tellSoon(room);
        else if (word.isAsking) this.#tell(room);
        return;
      case "ask":
        if (word.to === this.#name) this.#tell(room);
        return;
      case "join":
      case "leave":
        if (group && at <= group.at) return; // it is known
        if (!group || word.before !== group.at) {
          return this.#say(room, view.own.at, { type: "ask", to: from });
        }
        view.doubtful.delete(from);
        group.at = at;
        if (word.type === "join") this.#add(room, group, word.member);
        else this.#take(room, group, word.id);
    }
  }

  /**
   * A server is there that was not.
   *
   * @param name Its name.
   */
  found(name: string): void {
    if (!this.#dropped.delete(name)) return;
    for (const [room, { own }] of this.#views) {
      this.#say(room, own.at, { type: "ask", to: name });
    }
  }

  /**
   * A server that was there all the time could not be heard for a while. It says now
   * who is there; of a room that all have left meanwhile it says nothing.
   *
   * @param name Its name.
   */
  back(name: string): void {
    let isDoubtful = false;
    for (const { others, doubtful } of this.#views.values()) {
      if (!others.has(name)) continue;
      doubtful.add(name);
      isDoubtful = true;
    }
    if (isDoubtful) this.#wait();
  }

  /**
   * A server is there no more.
   *
   * @param name Its name.
   */
  lost(name: string): void {
    if (!this.#isAway) this.#drop(name);
  }

  /** Nothing can be heard any more, for now. */
  down(): void {
    this.#isAway = true;
    for (const { others, doubtful } of this.#views.values()) {
      for (const name of others.keys()) doubtful.add(name);
    }
    this.#wait();
  }

  /** Others can be heard: asks who is where. */
  up(): void {
    this.#isAway = false;
    if (this.#grace !== undefined) this.#wait();
    for (const room of this.#views.keys()) {
      this.#tell(room, { isAsking: true, isPatient: true });
    }
  }

  /** Ends. */
  stop(): void {
    clearTimeout(this.#grace);
    clearTimeout(this.#pause);
    this.#views.clear();
  }

  /** Lets those go who are still not heard of after a while. */
  #wait(): void {
    clearTimeout(this.#grace);
    this.#grace = startTimer(() => {
      this.#grace = undefined;
      for (const [room, { doubtful }] of this.#views) {
        for (const name of doubtful) this.#remove(room, name);
      }
    }, GRACE);
  }

  #drop(name: string): void {
    this.#dropped.add(name);
    for (const oldest of this.#dropped) {
      if (this.#dropped.size <= MEMORY) break;
      this.#dropped.delete(oldest);
    }
    for (const room of this.#views.keys()) this.#remove(room, name);
  }

  /** Nobody of a server is in a room any more. */
  #remove(room: string, name: string): void {
    const view = this.#views.get(room);
    view?.doubtful.delete(name);
    if (!view?.others.has(name)) return;
    this.#replace(room, name, { at: Infinity, members: new Map() });
    view.others.delete(name);
  }

  #viewOf(room: string): View {
    const known = this.#views.get(room);
    if (known) return known;
    const view = {
      own: { at: 0, members: new Map() },
      others: new Map(),
      doubtful: new Set<string>(),
    };
    this.#views.set(room, view);
    return view;
  }

  /** Those of a server are these now. */
  #replace(room: string, name: string, group: Group): void {
    const view = this.#views.get(room);
    if (!view) return;
    const before = view.others.get(name) ?? { at: 0, members: new Map() };
    view.others.set(name, { at: group.at, members: before.members });
    for (const id of [...before.members.keys()]) {
      if (!group.members.has(id)) this.#take(room, before, id);
    }
    for (const member of group.members.values()) {
      this.#add(room, before, member);
    }
  }

  #add(room: string, { members }: Group, member: Member): void {
    const isNew = !members.has(member.id);
    members.set(member.id, member);
    if (isNew) this.#voice.joined(member, room);
  }

  #take(room: string, { members }: Group, id: string): void {
    const member = members.get(id);
    members.delete(id);
    if (member) this.#voice.left(member, room);
  }

  /**
   * Says who of this server is there, but not at once. When a broker is back all ask at
   * about the same time, and all hear each answer: so one answers many.
   */
  #tellSoon(room: string): void {
    this.#asked.add(room);
    this.#pause ??= startTimer(() => {
      this.#pause = undefined;
      for (const one of this.#asked) this.#tell(one);
    }, PAUSE);
  }

  /** Says who of this server is there. */
  #tell(room: string, how: Manner = { isAsking: false }): void {
    this.#asked.delete(room); // who has asked hears this
    const own = this.#views.get(room)?.own;
    if (!own) return;
    const members = [...own.members.values()];
    this.#say(room, own.at, { type: "state", ...how, members });
  }

  #say(room: string, at: number, word: Word): void {
    const signed: Signed = { ...word, version: 1, from: this.#name, at };
    this.#voice.say(room, JSON.stringify(signed));
  }
}

function indexed(members: readonly Member[]): Map<string, Member> {
  return new Map(members.map((member) => [member.id, member]));
}

function isWord(word: unknown): word is Signed {
  return typeof word === "object" && word !== null && "version" in word &&
    word.version === 1 && "from" in word && typeof word.from === "string" &&
    "at" in word && typeof word.at === "number" && "type" in word;
}
