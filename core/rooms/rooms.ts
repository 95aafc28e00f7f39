/**
 * Who is in which room; pure.
 *
 * @module
 */

const NO_MEMBERS: ReadonlySet<never> = new Set<never>();

/**
 * A two-way index of rooms and their members. A room is there as long as somebody is
 * in it; who is in none costs nothing.
 *
 * @typeParam Member Who can be in a room.
 */
export class Rooms<Member extends object> {
  /** Hears of each room that somebody is in now, or nobody any more. */
  readonly #observer: RoomsObserver<Member> | undefined;
  readonly #members = new Map<string, Set<Member>>();
  readonly #rooms = new Map<Member, Set<string>>();
  /** Where those were who have left for good, for as long as anybody knows them. */
  readonly #lastRooms = new WeakMap<Member, ReadonlySet<string>>();

  /**
   * Creates an index of nobody.
   *
   * @param observer Hears of rooms that come and go.
   */
  constructor(observer?: RoomsObserver<Member>) {
    this.#observer = observer;
  }

  /** The rooms that somebody is in, and who is in them. */
  get all(): ReadonlyMap<string, ReadonlySet<Member>> {
    return this.#members;
  }

  /**
   * Who is in a room.
   *
   * @param room The room.
   * @returns Its members, in the order in which they came.
   */
  membersOf(room: string): ReadonlySet<Member> {
    return this.#members.get(room) ?? NO_MEMBERS;
  }

  /**
   * Where somebody is.
   *
   * @param member Who.
   * @returns The rooms, in the order in which they were joined; the last ones of who
   * has left all.
   */
  roomsOf(member: Member): ReadonlySet<string> {
    return this.#rooms.get(member) ?? this.#lastRooms.get(member) ?? NO_MEMBERS;
  }

  /**
   * Lets somebody in. Who is there already stays where they are.
   *
   * @param member Who.
   * @param room The room.
   */
  join(member: Member, room: string): void {
    const others = this.#members.get(room);
    if (others?.has(member)) return;
    addTo(this.#members, room, member);
    addTo(this.#rooms, member, room);
    if (!others) this.#observer?.opened(room);
    this.#observer?.joined(member, room);
  }

  /**
   * Lets somebody out, if they are there.
   *
   * @param member Who.
   * @param room The room.
   */
  leave(member: Member, room: string): void {
    this.#removeMember(room, member);
    removeFrom(this.#rooms, member, room);
  }

  /**
   * Lets somebody out of all rooms, who does not come back.
   *
   * @param member Who.
   */
  leaveAll(member: Member): void {
    const rooms = this.#rooms.get(member);
    if (rooms === undefined) return;
    for (const room of rooms) this.#removeMember(room, member);
    this.#rooms.delete(member);
    this.#lastRooms.set(member, rooms);
  }

  /**
   * Puts an audience together.
   *
   * @param groups Those who are in one of them, or in several, are in it once.
   * @param except But not these, nor those who are in such a room.
   * @returns A list, which stays as it is whoever comes and goes.
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
 * Hears of rooms that come and go.
 *
 * @typeParam Member Who can be in a room.
 */
export interface RoomsObserver<Member> {
  /**
   * Hears that somebody is in a room where nobody was.
   *
   * @param room The room.
   */
  opened(room: string): void;
  /**
   * Hears that somebody has joined a room.
   *
   * @param member Who.
   * @param room The room.
   */
  joined(member: Member, room: string): void;
  /**
   * Hears that somebody has left a room.
   *
   * @param member Who.
   * @param room The room.
   */
  left(member: Member, room: string): void;
  /**
   * Hears that nobody is in a room any more.
   *
   * @param room The room.
   */
  closed(room: string): void;
}

/**
 * The longest name of a room, in bytes of UTF-8. Names come from peers in most
 * programs, and each room holds its own.
 */
export const MAX_ROOM_BYTES = 1024;

const roomNameEncoder = new TextEncoder();

/**
 * Checks the name of a room.
 *
 * @param attempt What is to be done.
 * @param room The name.
 * @throws {TypeError} If it is empty, no string, or not well-formed: UTF-8 has no lone
 * surrogates, so that other servers would read another name.
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
