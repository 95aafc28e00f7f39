/**
 * Who is in a room on whatever server: what is said when somebody joins or leaves, and
 * what is made of what other servers say. It knows neither adapters nor connections.
 *
 * @module
 */

import type { ClusterHost } from "./cluster_host.ts";
import type { Member } from "../events/event_types.ts";
import { startTimer, type Timer } from "../util/timer.ts";

/** What servers say to each other, each in one room. */
type PresenceMessage =
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
type StateFlags = Pick<
  Extract<PresenceMessage, { type: "state" }>,
  "isAsking" | "isPatient"
>;

type SignedPresenceMessage = PresenceMessage & {
  readonly version: 1;
  readonly from: string;
  /** Which of its changes this is, or was the last one; no two have the same. */
  readonly at: number;
};

/** Some members of a room: those of one server. */
interface ServerMembers {
  /** Which of its server's changes was the last. */
  at: number;
  members: Map<string, Member>;
}

/** A room that somebody of this server is in. */
interface RoomView {
  readonly local: ServerMembers;
  readonly others: Map<string, ServerMembers>;
  /** Servers that may have nobody here any more: they could not say so. */
  readonly doubtful: Set<string>;
}

/**
 * How long other servers' members stay when nothing can be heard of them, in
 * milliseconds; a server that is alive says so every two seconds.
 */
const SERVER_GRACE_MS = 8_000;

/** How long who can hear others again waits for an answer, in milliseconds. */
const STATE_DELAY_MS = 2_000;

/** How many servers are remembered that were given up. */
const MAX_DROPPED_SERVERS = 100;

/** Who is in the rooms of one server. */
export class Presence {
  readonly #name: string;
  readonly #host: Pick<ClusterHost, "memberJoined" | "memberLeft">;
  readonly #publishText: (room: string, text: string) => void;
  readonly #rooms = new Map<string, RoomView>();
  /** How many changes there were here. */
  #version = 0;
  /** Whether the broker is away. */
  #isBrokerDown = false;
  /** Servers that were given up, and may be there all the same. */
  readonly #dropped = new Set<string>();
  /** Rooms of which this server is to say who is there. */
  readonly #stateRequests = new Set<string>();
  #stateTimer: Timer | undefined;
  #graceTimer: Timer | undefined;

  /**
   * Creates a view of empty rooms.
   *
   * @param name The name of this server.
   * @param host Is told of members that join and leave.
   * @param publish Sends a text to all servers that have a member in the room.
   */
  constructor(
    name: string,
    host: Pick<ClusterHost, "memberJoined" | "memberLeft">,
    publish: (room: string, text: string) => void,
  ) {
    this.#name = name;
    this.#host = host;
    this.#publishText = publish;
  }

  /**
   * Who of this server is in a room.
   *
   * @param room The room.
   * @returns The members, in the order in which they came.
   */
  localMembers(room: string): readonly Member[] {
    return [...this.#rooms.get(room)?.local.members.values() ?? []];
  }

  /**
   * Somebody of this server is in a room now.
   *
   * @param room The room.
   * @param member Who.
   */
  join(room: string, member: Member): void {
    const { local } = this.#viewOf(room);
    const before = local.at;
    local.at = ++this.#version;
    local.members.set(member.id, member);
    this.#publish(room, local.at, { type: "join", before, member });
    this.#host.memberJoined(member, room);
  }

  /**
   * Somebody of this server is in a room no more.
   *
   * @param room The room.
   * @param id Who.
   */
  leave(room: string, id: string): void {
    const view = this.#rooms.get(room);
    const member = view?.local.members.get(id);
    if (!view || !member) return;
    const { local } = view;
    const before = local.at;
    local.at = ++this.#version;
    local.members.delete(id);
    this.#publish(room, local.at, { type: "leave", before, id });
    // Nobody here is there to hear more of it.
    if (local.members.size === 0) this.#rooms.delete(room);
    this.#host.memberLeft(member, room);
  }

  /**
   * What is said of a room can be heard now: asks who is there.
   *
   * @param room The room.
   */
  requestState(room: string): void {
    this.#publishState(room, { isAsking: true });
  }

  /**
   * Hears what a server says.
   *
   * @param room The room that it is about.
   * @param text What; what is none of this version is passed over.
   * @returns Which server has said it; undefined for this one, or if it is passed over.
   * @throws {SyntaxError} If it is no JSON.
   */
  receive(room: string, text: string): string | undefined {
    const message: unknown = JSON.parse(text);
    if (!isPresenceMessage(message) || message.from === this.#name) {
      return undefined;
    }
    const view = this.#rooms.get(room);
    if (view) this.#apply(room, view, message);
    return message.from;
  }

  #apply(room: string, view: RoomView, message: SignedPresenceMessage): void {
    const { from, at } = message;
    const group = view.others.get(from);
    switch (message.type) {
      case "state":
        view.doubtful.delete(from);
        this.#replaceMembers(room, from, {
          at,
          members: byId(message.members),
        });
        if (message.isAsking && message.isPatient) this.#publishStateSoon(room);
        else if (message.isAsking) this.#publishState(room);
        return;
      case "ask":
        if (message.to === this.#name) this.#publishState(room);
        return;
      case "join":
      case "leave":
        if (group && at <= group.at) return; // it is known
        if (!group || message.before !== group.at) {
          return this.#publish(room, view.local.at, { type: "ask", to: from });
        }
        view.doubtful.delete(from);
        group.at = at;
        if (message.type === "join") {
          this.#addMember(room, group, message.member);
        } else this.#removeMember(room, group, message.id);
    }
  }

  /**
   * A server is there that was not.
   *
   * @param name Its name.
   */
  serverFound(name: string): void {
    if (!this.#dropped.delete(name)) return;
    for (const [room, { local }] of this.#rooms) {
      this.#publish(room, local.at, { type: "ask", to: name });
    }
  }

  /**
   * A server that was there all the time could not be heard for a while. It says now
   * who is there; of a room that all have left meanwhile it says nothing.
   *
   * @param name Its name.
   */
  serverBack(name: string): void {
    let isDoubtful = false;
    for (const { others, doubtful } of this.#rooms.values()) {
      if (!others.has(name)) continue;
      doubtful.add(name);
      isDoubtful = true;
    }
    if (isDoubtful) this.#startGrace();
  }

  /**
   * A server is there no more.
   *
   * @param name Its name.
   */
  serverLost(name: string): void {
    if (!this.#isBrokerDown) this.#dropServer(name);
  }

  /** Nothing can be heard any more, for now. */
  brokerDown(): void {
    this.#isBrokerDown = true;
    for (const { others, doubtful } of this.#rooms.values()) {
      for (const name of others.keys()) doubtful.add(name);
    }
    this.#startGrace();
  }

  /** Others can be heard: asks who is where. */
  brokerUp(): void {
    this.#isBrokerDown = false;
    if (this.#graceTimer !== undefined) this.#startGrace();
    for (const room of this.#rooms.keys()) {
      this.#publishState(room, { isAsking: true, isPatient: true });
    }
  }

  /** Ends. */
  stop(): void {
    clearTimeout(this.#graceTimer);
    clearTimeout(this.#stateTimer);
    this.#rooms.clear();
  }

  /** Lets those go who are still not heard of after a while. */
  #startGrace(): void {
    clearTimeout(this.#graceTimer);
    this.#graceTimer = startTimer(() => {
      this.#graceTimer = undefined;
      for (const [room, { doubtful }] of this.#rooms) {
        for (const name of doubtful) this.#removeServer(room, name);
      }
    }, SERVER_GRACE_MS);
  }

  #dropServer(name: string): void {
    this.#dropped.add(name);
    for (const oldest of this.#dropped) {
      if (this.#dropped.size <= MAX_DROPPED_SERVERS) break;
      this.#dropped.delete(oldest);
    }
    for (const room of this.#rooms.keys()) this.#removeServer(room, name);
  }

  /** Nobody of a server is in a room any more. */
  #removeServer(room: string, name: string): void {
    const view = this.#rooms.get(room);
    view?.doubtful.delete(name);
    if (!view?.others.has(name)) return;
    this.#replaceMembers(room, name, { at: Infinity, members: new Map() });
    view.others.delete(name);
  }

  #viewOf(room: string): RoomView {
    const known = this.#rooms.get(room);
    if (known) return known;
    const view = {
      local: { at: 0, members: new Map() },
      others: new Map(),
      doubtful: new Set<string>(),
    };
    this.#rooms.set(room, view);
    return view;
  }

  /** Those of a server are these now. */
  #replaceMembers(room: string, name: string, group: ServerMembers): void {
    const view = this.#rooms.get(room);
    if (!view) return;
    const before = view.others.get(name) ?? { at: 0, members: new Map() };
    view.others.set(name, { at: group.at, members: before.members });
    for (const id of [...before.members.keys()]) {
      if (!group.members.has(id)) this.#removeMember(room, before, id);
    }
    for (const member of group.members.values()) {
      this.#addMember(room, before, member);
    }
  }

  #addMember(room: string, { members }: ServerMembers, member: Member): void {
    const isNew = !members.has(member.id);
    members.set(member.id, member);
    if (isNew) this.#host.memberJoined(member, room);
  }

  #removeMember(room: string, { members }: ServerMembers, id: string): void {
    const member = members.get(id);
    members.delete(id);
    if (member) this.#host.memberLeft(member, room);
  }

  /**
   * Says who of this server is there, but not at once. When a broker is back all ask at
   * about the same time, and all hear each answer: so one answers many.
   */
  #publishStateSoon(room: string): void {
    this.#stateRequests.add(room);
    this.#stateTimer ??= startTimer(() => {
      this.#stateTimer = undefined;
      for (const one of this.#stateRequests) this.#publishState(one);
    }, STATE_DELAY_MS);
  }

  /** Says who of this server is there. */
  #publishState(room: string, flags: StateFlags = { isAsking: false }): void {
    this.#stateRequests.delete(room); // who has asked hears this
    const local = this.#rooms.get(room)?.local;
    if (!local) return;
    const members = [...local.members.values()];
    this.#publish(room, local.at, { type: "state", ...flags, members });
  }

  #publish(room: string, at: number, message: PresenceMessage): void {
    const signed: SignedPresenceMessage = {
      ...message,
      version: 1,
      from: this.#name,
      at,
    };
    this.#publishText(room, JSON.stringify(signed));
  }
}

function byId(members: readonly Member[]): Map<string, Member> {
  return new Map(members.map((member) => [member.id, member]));
}

function isPresenceMessage(value: unknown): value is SignedPresenceMessage {
  return typeof value === "object" && value !== null && "version" in value &&
    value.version === 1 && "from" in value && typeof value.from === "string" &&
    "at" in value && typeof value.at === "number" && "type" in value;
}
