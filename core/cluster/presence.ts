/**
 * Tracks the members of rooms across servers. Each server publishes the changes of its
 * own members and applies those of the others. It knows neither adapters nor
 * connections.
 *
 * @module
 */

import type { Member } from "../events/event_types.ts";
import { addBounded } from "../util/bounded_set.ts";
import { startTimer, type Timer } from "../util/timer.ts";
import {
  groupMembers,
  isPresenceEntry,
  type MemberChange,
  type PresenceEntry,
  RoomMembers,
} from "./presence_members.ts";

/** Is called when members of rooms change, on any server. */
export interface PresenceHost<Data> {
  /** A member has its first connection in a room. */
  memberJoined(member: Member<Data>, room: string): void;
  /** The data of a member has changed. */
  memberUpdated(member: Member<Data>, room: string): void;
  /** A member has lost its last connection in a room. */
  memberLeft(member: Member<Data>, room: string): void;
}

/** A message between servers about one room. */
type PresenceMessage<Data> =
  /** All connections of the sender. If `isAsking`, the others reply with theirs. */
  | {
    readonly type: "state";
    readonly isAsking: boolean;
    /** Whether the reply may be delayed, as many servers may ask now. */
    readonly isPatient?: boolean;
    readonly entries: readonly PresenceEntry<Data>[];
  }
  /** Changes that follow the one with the number `before`. */
  | {
    readonly type: "change";
    readonly before: number;
    readonly set: readonly PresenceEntry<Data>[];
    readonly removed: readonly string[];
  }
  /** The sender has missed a change of server `to` and needs its state. */
  | { readonly type: "ask"; readonly to: string };

interface StateFlags {
  readonly isAsking: boolean;
  readonly isPatient?: boolean;
}

type AddressedPresenceMessage<Data> = PresenceMessage<Data> & {
  readonly version: 1;
  readonly from: string;
  /** The number of the change, or of the last one; unique for the sender. */
  readonly at: number;
};

/** The connections of one server in a room. */
interface ServerEntries<Data> {
  /** The number of the last change that the server has published. */
  at: number;
  entries: Map<string, PresenceEntry<Data>>;
}

/** A room that has members on this server. */
interface RoomView<Data> {
  readonly members: RoomMembers<Data>;
  readonly local: ServerEntries<Data>;
  readonly others: Map<string, ServerEntries<Data>>;
  /** Servers whose members may have left without a message arriving. */
  readonly doubtful: Set<string>;
  /** Whether the state was published, so that changes are published from now on. */
  isAnnounced: boolean;
}

/** The changes of a room that are to be published together. */
interface PendingChange<Data> {
  /** The connections of this server, also if they have all left. */
  readonly local: ServerEntries<Data>;
  readonly set: Map<string, PresenceEntry<Data>>;
  /** Those in `set` that other servers do not know. */
  readonly added: Set<string>;
  readonly removed: Set<string>;
}

/**
 * The time after which members of an unreachable server are removed, in milliseconds. A
 * server sends a heartbeat every two seconds.
 */
const SERVER_GRACE_MS = 8_000;

/** The delay before a reply that may be delayed, in milliseconds. */
const STATE_DELAY_MS = 2_000;

/**
 * The delay before changes are published, in milliseconds. A connection that joins and
 * leaves within it is not published at all.
 */
const CHANGE_DELAY_MS = 10;

/** The number of removed servers to remember. */
const MAX_DROPPED_SERVERS = 100;

/** The members of all rooms that one server has members in. */
export class Presence<Data> {
  readonly #name: string;
  readonly #host: PresenceHost<Data>;
  readonly #publishText: (room: string, text: string) => void;
  readonly #rooms = new Map<string, RoomView<Data>>();
  /**
   * The number of the last change. It is larger than that of all changes that were
   * received, so that the same data is the newest one on all servers.
   */
  #version = 0;
  /**
   * How far the fastest clock of the servers is ahead of this one, in milliseconds. All
   * servers follow it, so that the order of their changes is that of time.
   */
  #aheadMs = 0;
  #isBrokerDown = false;
  /** Servers that were removed, and may still be running. */
  readonly #dropped = new Set<string>();
  /** Changes that are to be published, by room. */
  readonly #changes = new Map<string, PendingChange<Data>>();
  #changeTimer: Timer | undefined;
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
    host: PresenceHost<Data>,
    publish: (room: string, text: string) => void,
  ) {
    this.#name = name;
    this.#host = host;
    this.#publishText = publish;
  }

  /** The time by the fastest clock of the servers that is known. */
  get clock(): number {
    return Math.max(this.#version, Date.now() + this.#aheadMs);
  }

  /** Follows the clock of another server if it is ahead. */
  noteClock(clock: number): void {
    this.#version = Math.max(this.#version, clock);
    this.#aheadMs = Math.max(this.#aheadMs, clock - Date.now());
  }

  /**
   * The connections in a room on this server, in the order in which they joined.
   */
  localEntries(room: string): readonly PresenceEntry<Data>[] {
    return [...this.#rooms.get(room)?.local.entries.values() ?? []];
  }

  /** The number of the last change of each other server in a room that is known here. */
  versionsOf(room: string): Record<string, number> {
    const others = this.#rooms.get(room)?.others ?? [];
    return Object.fromEntries(
      Array.from(others, ([name, { at }]) => [name, at]),
    );
  }

  /** The connections in a room on another server; undefined if they are not known here. */
  entriesOf(
    room: string,
    server: string,
  ): Iterable<PresenceEntry<Data>> | undefined {
    return this.#rooms.get(room)?.others.get(server)?.entries.values();
  }

  /**
   * The name of this server, if nothing has changed in a room since the version that another
   * server knows.
   */
  unchangedSince(
    room: string,
    versions: Readonly<Record<string, number>>,
  ): string | undefined {
    const at = this.#rooms.get(room)?.local.at;
    const isSame = at !== undefined && versions[this.#name] === at &&
      !this.#changes.has(room);
    return isSame ? this.#name : undefined;
  }

  /** The members of a room that has members on this server, on all servers. */
  membersOf(room: string): readonly Member<Data>[] {
    const view = this.#rooms.get(room);
    if (view === undefined) return [];
    return groupMembers(
      [view.local, ...view.others.values()]
        .flatMap(({ entries }) => [...entries.values()]),
    );
  }

  /** A connection on this server has joined a room, or its data is another one. */
  set(room: string, id: string, key: string, data: Data): void {
    const view = this.#viewOf(room);
    const entry: PresenceEntry<Data> = {
      id,
      ...key !== id && { key },
      data,
      at: this.#nextVersion(),
    };
    const change = this.#changeOf(room, view);
    if (change) {
      const isKnown = view.local.entries.has(id) || change.removed.delete(id);
      if (!isKnown) change.added.add(id);
      change.set.set(id, entry);
    }
    view.local.entries.set(id, entry);
    this.#tell(room, view.members.set(entry));
  }

  /** A connection on this server has left a room. */
  leave(room: string, id: string): void {
    const view = this.#rooms.get(room);
    const entry = view?.local.entries.get(id);
    if (!view || !entry) return;
    const change = this.#changeOf(room, view);
    change?.set.delete(id);
    if (!change?.added.delete(id)) change?.removed.add(id);
    view.local.entries.delete(id);
    // Without local members, nothing more is published or received here.
    if (view.local.entries.size === 0) this.#rooms.delete(room);
    this.#tell(room, view.members.delete(entry));
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
    if (!isPresenceMessage<Data>(message) || message.from === this.#name) {
      return undefined;
    }
    const view = this.#rooms.get(room);
    this.noteClock(message.at);
    if (view) this.#apply(room, view, message);
    return message.from;
  }

  #apply(
    room: string,
    view: RoomView<Data>,
    message: AddressedPresenceMessage<Data>,
  ): void {
    const { from, at } = message;
    switch (message.type) {
      case "state": {
        view.doubtful.delete(from);
        this.#replace(room, view, from, { at, entries: byId(message.entries) });
        if (message.isAsking && message.isPatient) this.#publishStateSoon(room);
        else if (message.isAsking) this.#publishState(room);
        return;
      }
      case "ask":
        if (message.to === this.#name) this.#publishState(room);
        return;
      case "change": {
        const group = view.others.get(from);
        if (group && at <= group.at) return; // it was applied already
        if (!group || message.before !== group.at) {
          return this.#publish(room, view.local.at, { type: "ask", to: from });
        }
        view.doubtful.delete(from);
        group.at = at;
        this.#change(room, view, group, message.set, message.removed);
      }
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
    clearTimeout(this.#changeTimer);
    clearTimeout(this.#graceTimer);
    clearTimeout(this.#stateTimer);
    this.#changes.clear();
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
    addBounded(this.#dropped, name, MAX_DROPPED_SERVERS);
    for (const room of this.#rooms.keys()) this.#removeServer(room, name);
  }

  #removeServer(room: string, name: string): void {
    const view = this.#rooms.get(room);
    view?.doubtful.delete(name);
    const group = view?.others.get(name);
    if (!view || !group) return;
    view.others.delete(name);
    this.#change(room, view, group, [], [...group.entries.keys()]);
  }

  #viewOf(room: string): RoomView<Data> {
    const known = this.#rooms.get(room);
    if (known) return known;
    const view: RoomView<Data> = {
      members: new RoomMembers(),
      local: { at: this.#nextVersion(), entries: new Map() },
      others: new Map(),
      doubtful: new Set(),
      isAnnounced: false,
    };
    this.#rooms.set(room, view);
    return view;
  }

  /** Replaces all connections of a server. */
  #replace(
    room: string,
    view: RoomView<Data>,
    name: string,
    { at, entries }: ServerEntries<Data>,
  ): void {
    const group = view.others.get(name) ?? { at, entries: new Map() };
    group.at = at;
    view.others.set(name, group);
    const removed = [...group.entries.keys()].filter((id) => !entries.has(id));
    this.#change(room, view, group, [...entries.values()], removed);
  }

  /**
   * Applies changes of another server. A member whose connection is replaced by another
   * one does not leave.
   */
  #change(
    room: string,
    { members }: RoomView<Data>,
    group: ServerEntries<Data>,
    set: readonly PresenceEntry<Data>[],
    removed: readonly string[],
  ): void {
    const changes: (MemberChange<Data> | undefined)[] = [];
    for (const entry of set) {
      if (!isPresenceEntry<Data>(entry)) continue;
      const before = group.entries.get(entry.id);
      group.entries.set(entry.id, entry);
      changes.push(members.set(entry));
      if (before && before.key !== entry.key) {
        changes.push(members.delete(before));
      }
    }
    for (const id of removed) {
      const entry = group.entries.get(id);
      group.entries.delete(id);
      if (entry) changes.push(members.delete(entry));
    }
    for (const change of changes) this.#tell(room, change);
  }

  #tell(room: string, change: MemberChange<Data> | undefined): void {
    if (!change) return;
    const { type, member } = change;
    if (type === "join") this.#host.memberJoined(member, room);
    else if (type === "update") this.#host.memberUpdated(member, room);
    else this.#host.memberLeft(member, room);
  }

  /**
   * The changes of a room that will be published soon; undefined if its state will be
   * published instead.
   */
  #changeOf(
    room: string,
    view: RoomView<Data>,
  ): PendingChange<Data> | undefined {
    if (!view.isAnnounced) return undefined;
    let change = this.#changes.get(room);
    if (!change) {
      const { local } = view;
      change = { local, set: new Map(), added: new Set(), removed: new Set() };
      this.#changes.set(room, change);
    }
    this.#changeTimer ??= startTimer(
      () => this.#publishChanges(),
      CHANGE_DELAY_MS,
    );
    return change;
  }

  #publishChanges(): void {
    this.#changeTimer = undefined;
    for (const [room, { local, set, removed }] of this.#changes) {
      if (set.size === 0 && removed.size === 0) continue;
      const before = local.at;
      local.at = this.#nextVersion();
      this.#publish(room, local.at, {
        type: "change",
        before,
        set: [...set.values()],
        removed: [...removed],
      });
    }
    this.#changes.clear();
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
    const view = this.#rooms.get(room);
    if (!view) return;
    // The state includes them.
    if (this.#changes.delete(room)) view.local.at = this.#nextVersion();
    view.isAnnounced = true;
    const { at, entries } = view.local;
    this.#publish(room, at, {
      type: "state",
      ...flags,
      entries: [...entries.values()],
    });
  }

  #publish(room: string, at: number, message: PresenceMessage<Data>): void {
    const signed: AddressedPresenceMessage<Data> = {
      ...message,
      version: 1,
      from: this.#name,
      at,
    };
    this.#publishText(room, JSON.stringify(signed));
  }

  #nextVersion(): number {
    this.#version = Math.max(this.#version + 1, Date.now() + this.#aheadMs);
    return this.#version;
  }
}

function byId<Data>(
  entries: readonly PresenceEntry<Data>[],
): Map<string, PresenceEntry<Data>> {
  return new Map(
    entries.filter(isPresenceEntry<Data>).map((entry) => [entry.id, entry]),
  );
}

function isPresenceMessage<Data>(
  value: unknown,
): value is AddressedPresenceMessage<Data> {
  if (typeof value !== "object" || value === null) return false;
  const isAddressed = "version" in value && value.version === 1 &&
    "from" in value && typeof value.from === "string" &&
    "at" in value && Number.isSafeInteger(value.at);
  if (!isAddressed || !("type" in value)) return false;
  switch (value.type) {
    case "state":
      return "entries" in value && Array.isArray(value.entries);
    case "change":
      return "set" in value && Array.isArray(value.set) &&
        "removed" in value && Array.isArray(value.removed);
    default:
      return value.type === "ask";
  }
}
