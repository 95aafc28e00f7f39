/**
 * Tracks the members of rooms across servers. Each server publishes the changes of its
 * own members and applies those of the others. It knows neither adapters nor
 * connections.
 *
 * @module
 */

import type { ClusterHost } from "./cluster_host.ts";
import type { Member } from "../events/event_types.ts";
import { startTimer, type Timer } from "../util/timer.ts";

/** A message between servers about one room. */
type PresenceMessage =
  /** All members of the sender. If `isAsking`, the others reply with theirs. */
  | {
    readonly type: "state";
    readonly isAsking: boolean;
    /** Whether the reply may be delayed, as many servers may ask now. */
    readonly isPatient?: boolean;
    readonly members: readonly Member[];
  }
  | { readonly type: "join"; readonly before: number; readonly member: Member }
  | { readonly type: "leave"; readonly before: number; readonly id: string }
  /** The sender has missed a change of server `to` and needs its state. */
  | { readonly type: "ask"; readonly to: string };

type StateFlags = Pick<
  Extract<PresenceMessage, { type: "state" }>,
  "isAsking" | "isPatient"
>;

type AddressedPresenceMessage = PresenceMessage & {
  readonly version: 1;
  readonly from: string;
  /** The number of this change, or of the last one; unique for the sender. */
  readonly at: number;
};

/** The members of a room on one server. */
interface ServerMembers {
  /** The number of the last change of that server. */
  at: number;
  members: Map<string, Member>;
}

/** A room that has members on this server. */
interface RoomView {
  readonly local: ServerMembers;
  readonly others: Map<string, ServerMembers>;
  /** Servers whose members may have left without a message arriving. */
  readonly doubtful: Set<string>;
}

/**
 * The time after which members of an unreachable server are removed, in milliseconds. A
 * server sends a heartbeat every two seconds.
 */
const SERVER_GRACE_MS = 8_000;

/** The delay before a reply that may be delayed, in milliseconds. */
const STATE_DELAY_MS = 2_000;

/** The number of removed servers to remember. */
const MAX_DROPPED_SERVERS = 100;

/** The members of all rooms that one server has members in. */
export class Presence {
  readonly #name: string;
  readonly #host: Pick<ClusterHost, "memberJoined" | "memberLeft">;
  readonly #publishText: (room: string, text: string) => void;
  readonly #rooms = new Map<string, RoomView>();
  /** The number of changes on this server. */
  #version = 0;
  #isBrokerDown = false;
  /** Servers that were removed, and may still be running. */
  readonly #dropped = new Set<string>();
  /** Rooms for which a delayed reply is due. */
  readonly #stateRequests = new Set<string>();
  #stateTimer: Timer | undefined;
  #graceTimer: Timer | undefined;

  /**
   * Creates a view of empty rooms.
   *
   * @param name The name of this server.
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
   * The members of a room on this server, in the order in which they joined.
   */
  localMembers(room: string): readonly Member[] {
    return [...this.#rooms.get(room)?.local.members.values() ?? []];
  }

  /** A member on this server has joined a room. */
  join(room: string, member: Member): void {
    const { local } = this.#viewOf(room);
    const before = local.at;
    local.at = ++this.#version;
    local.members.set(member.id, member);
    this.#publish(room, local.at, { type: "join", before, member });
    this.#host.memberJoined(member, room);
  }

  /** A member on this server has left a room. */
  leave(room: string, id: string): void {
    const view = this.#rooms.get(room);
    const member = view?.local.members.get(id);
    if (!view || !member) return;
    const { local } = view;
    const before = local.at;
    local.at = ++this.#version;
    local.members.delete(id);
    this.#publish(room, local.at, { type: "leave", before, id });
    // Without local members, nothing more is published or received here.
    if (local.members.size === 0) this.#rooms.delete(room);
    this.#host.memberLeft(member, room);
  }

  /** Asks the other servers for their members, as messages of a room now arrive. */
  requestState(room: string): void {
    this.#publishState(room, { isAsking: true });
  }

  /**
   * Handles a message about a room. Messages of another version are ignored.
   *
   * @returns The name of the sender; undefined if it is this server, or for a message
   * that is ignored.
   * @throws {SyntaxError} If the text is not valid JSON.
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

  #apply(
    room: string,
    view: RoomView,
    message: AddressedPresenceMessage,
  ): void {
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
        if (group && at <= group.at) return; // it was applied already
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

  /** A server has appeared. If it was removed before, its state is needed again. */
  serverFound(name: string): void {
    if (!this.#dropped.delete(name)) return;
    for (const [room, { local }] of this.#rooms) {
      this.#publish(room, local.at, { type: "ask", to: name });
    }
  }

  /**
   * A server that was never removed has lost the broker for a while. It now publishes
   * the state of its rooms, but not of rooms that all its members have left.
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

  /** A server has left or is silent. */
  serverLost(name: string): void {
    if (!this.#isBrokerDown) this.#dropServer(name);
  }

  /** No messages arrive until {@linkcode Presence.brokerUp}. */
  brokerDown(): void {
    this.#isBrokerDown = true;
    for (const { others, doubtful } of this.#rooms.values()) {
      for (const name of others.keys()) doubtful.add(name);
    }
    this.#startGrace();
  }

  /** Messages arrive again: asks the other servers for their members. */
  brokerUp(): void {
    this.#isBrokerDown = false;
    if (this.#graceTimer !== undefined) this.#startGrace();
    for (const room of this.#rooms.keys()) {
      this.#publishState(room, { isAsking: true, isPatient: true });
    }
  }

  /** Stops all timers. */
  stop(): void {
    clearTimeout(this.#graceTimer);
    clearTimeout(this.#stateTimer);
    this.#rooms.clear();
  }

  /** Removes servers that are still in doubt after a while. */
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
   * Publishes the state of a room after a delay. When a broker comes up, all servers ask
   * at about the same time. All receive each reply, so one reply is enough.
   */
  #publishStateSoon(room: string): void {
    this.#stateRequests.add(room);
    this.#stateTimer ??= startTimer(() => {
      this.#stateTimer = undefined;
      for (const one of this.#stateRequests) this.#publishState(one);
    }, STATE_DELAY_MS);
  }

  #publishState(room: string, flags: StateFlags = { isAsking: false }): void {
    this.#stateRequests.delete(room); // this is the reply
    const local = this.#rooms.get(room)?.local;
    if (!local) return;
    const members = [...local.members.values()];
    this.#publish(room, local.at, { type: "state", ...flags, members });
  }

  #publish(room: string, at: number, message: PresenceMessage): void {
    const signed: AddressedPresenceMessage = {
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

function isPresenceMessage(value: unknown): value is AddressedPresenceMessage {
  return typeof value === "object" && value !== null && "version" in value &&
    value.version === 1 && "from" in value && typeof value.from === "string" &&
    "at" in value && typeof value.at === "number" && "type" in value;
}
