/**
 * The index of rooms and their members.
 *
 * @module
 */

import { forEachInSlices } from "../runtime/time_slices.ts";

const NO_MEMBERS: ReadonlySet<never> = new Set<never>();

/**
 * An index of rooms by member and of members by room. A room exists while it has members.
 * A member without rooms takes no memory.
 */
export class Rooms<Member extends object> {
  readonly #observer: RoomsObserver<Member> | undefined;
  readonly #members = new Map<string, Set<Member>>();
  readonly #rooms = new Map<Member, Set<string>>();
  /** The last rooms of members that have left all, until they are garbage collected. */
  readonly #lastRooms = new WeakMap<Member, ReadonlySet<string>>();

  constructor(observer?: RoomsObserver<Member>) {
    this.#observer = observer;
  }

  /** All rooms and their members. */
  get all(): ReadonlyMap<string, ReadonlySet<Member>> {
    return this.#members;
  }

  /** Checks the name of a room as {@linkcode assertRoom} does. */
  assertName(attempt: "join" | "leave", room: string): void {
    assertRoom(attempt, room);
  }

  /** The members of a room, in the order in which they joined. */
  membersOf(room: string): ReadonlySet<Member> {
    return this.#members.get(room) ?? NO_MEMBERS;
  }

  /**
   * The rooms of a member, in the order in which they were joined. After
   * {@linkcode Rooms.leaveAll} these are the rooms that it left.
   */
  roomsOf(member: Member): ReadonlySet<string> {
    return this.#rooms.get(member) ?? this.#lastRooms.get(member) ?? NO_MEMBERS;
  }

  /** Adds a member to a room. It has no effect if the member is in it already. */
  join(member: Member, room: string): void {
    const others = this.#members.get(room);
    if (others?.has(member)) return;
    addTo(this.#members, room, member);
    addTo(this.#rooms, member, room);
    if (!others) this.#observer?.opened(room);
    this.#observer?.joined(member, room);
  }

  /** Removes a member from a room, if it is in it. */
  leave(member: Member, room: string): void {
    this.#removeMember(room, member);
    removeFrom(this.#rooms, member, room);
  }

  /**
   * Removes a member from all rooms for good, in slices of the event loop: until then the
   * member is still in the last of many rooms.
   *
   * @returns A promise that resolves when it has left all; undefined if it already has.
   */
  leaveAll(member: Member): Promise<void> | undefined {
    const rooms = this.#rooms.get(member);
    if (rooms === undefined) return undefined;
    this.#rooms.delete(member);
    this.#lastRooms.set(member, rooms);
    return forEachInSlices(rooms, (room) => this.#removeMember(room, member));
  }

  /**
   * Selects each member of any group once.
   *
   * @param except Excluded members, and names of rooms whose members are excluded.
   * @returns A new list.
   */
  select(
    groups: readonly ReadonlySet<Member>[],
    except: readonly (Member | string)[],
  ): Member[] {
    const [first] = groups;
    const selected = groups.length === 1 && first ? first : unionOf(groups);
    if (except.length === 0) return [...selected];
    const excluded = unionOf(
      except.map((entry) =>
        typeof entry === "string" ? this.membersOf(entry) : [entry]
      ),
    );
    return [...selected].filter((member) => !excluded.has(member));
  }

  #removeMember(room: string, member: Member): void {
    if (!this.#members.get(room)?.has(member)) return;
    removeFrom(this.#members, room, member);
    this.#observer?.left(member, room);
    if (!this.#members.has(room)) this.#observer?.closed(room);
  }
}

/**
 * Is called when rooms and their members change.
 */
export interface RoomsObserver<Member> {
  /** A room has its first member. */
  opened(room: string): void;
  /** A member has joined a room. */
  joined(member: Member, room: string): void;
  /** A member has left a room. */
  left(member: Member, room: string): void;
  /** A room has lost its last member. */
  closed(room: string): void;
}

/**
 * The maximum length of a room name, in bytes of UTF-8. In most programs peers choose the
 * names, so they need a limit.
 */
export const MAX_ROOM_BYTES = 1024;

const roomNameEncoder = new TextEncoder();

/**
 * Validates the name of a room.
 *
 * @param attempt The verb of the error message.
 * @throws {TypeError} If it is not a string, empty, or not well-formed. UTF-8 has no lone
 * surrogates, so other servers would read a different name.
 * @throws {RangeError} If it is longer than 1,024 bytes of UTF-8.
 */
export function assertRoom(attempt: string, room: string): void {
  if (typeof room !== "string" || room === "") {
    throw new TypeError(
      `Cannot ${attempt} a room unless its name is a string that is not empty: current value is ${
        JSON.stringify(room)
      }`,
    );
  }
  // A UTF-16 code unit takes one to three bytes.
  const isLong = room.length > MAX_ROOM_BYTES ||
    room.length * 3 > MAX_ROOM_BYTES &&
      roomNameEncoder.encode(room).length > MAX_ROOM_BYTES;
  if (isLong) {
    throw new RangeError(
      `Cannot ${attempt} a room whose name is longer than ${MAX_ROOM_BYTES} bytes: use a shorter name, or a hash of it: current value has ${room.length} characters`,
    );
  }
  if (!room.isWellFormed()) {
    throw new TypeError(
      `Cannot ${attempt} a room whose name is not well-formed Unicode: use toWellFormed(), or encode it: current value is ${
        JSON.stringify(room)
      }`,
    );
  }
}

function unionOf<T>(groups: readonly Iterable<T>[]): Set<T> {
  const all = new Set<T>();
  for (const group of groups) {
    for (const member of group) all.add(member);
  }
  return all;
}

function addTo<Key, Value>(
  index: Map<Key, Set<Value>>,
  key: Key,
  value: Value,
): void {
  const values = index.get(key);
  if (values) values.add(value);
  else index.set(key, new Set([value]));
}

function removeFrom<Key, Value>(
  index: Map<Key, Set<Value>>,
  key: Key,
  value: Value,
): void {
  const values = index.get(key);
  values?.delete(value);
  if (values?.size === 0) index.delete(key);
}
