/**
 * Who is in which room; pure.
 *
 * @module
 */

const NOBODY: ReadonlySet<never> = new Set<never>();

/**
 * A two-way index of rooms and their members. A room is there as long as somebody is
 * in it; who is in none costs nothing.
 *
 * @typeParam Member Who can be in a room.
 */
export class Rooms<Member extends object> {
  /** Hears of each room that somebody is in now, or nobody any more. */
  readonly #watch: RoomsWatch<Member> | undefined;
  readonly #members = new Map<string, Set<Member>>();
  readonly #rooms = new Map<Member, Set<string>>();
  /** Where those were who have left for good, for as long as anybody knows them. */
  readonly #last = new WeakMap<Member, ReadonlySet<string>>();

  /**
   * Creates an index of nobody.
   *
   * @param watch Hears of rooms that come and go.
   */
  constructor(watch?: RoomsWatch<Member>) {
    this.#watch = watch;
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
    return this.#members.get(room) ?? NOBODY;
  }

  /**
   * Where somebody is.
   *
   * @param member Who.
   * @returns The rooms, in the order in which they were joined; the last ones of who
   * has left all.
   */
  roomsOf(member: Member): ReadonlySet<string> {
    return this.#rooms.get(member) ?? this.#last.get(member) ?? NOBODY;
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
    add(this.#members, room, member);
    add(this.#rooms, member, room);
    if (!others) this.#watch?.opened(room);
    this.#watch?.joined(member, room);
  }

  /**
   * Lets somebody out, if they are there.
   *
   * @param member Who.
   * @param room The room.
   */
  leave(member: Member, room: string): void {
    this.#empty(room, member);
    remove(this.#rooms, member, room);
  }

  /**
   * Lets somebody out of all rooms, who does not come back.
   *
   * @param member Who.
   */
  leaveAll(member: Member): void {
    const rooms = this.#rooms.get(member);
    if (rooms === undefined) return;
    for (const room of rooms) this.#empty(room, member);
    this.#rooms.delete(member);
    this.#last.set(member, rooms);
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
    const [only] = groups;
    const all = groups.length === 1 && only ? only : union(groups);
    if (except.length === 0) return [...all];
    const outsiders = union(
      except.map((entry) =>
        typeof entry === "string" ? this.membersOf(entry) : [entry]
      ),
    );
    return [...all].filter((member) => !outsiders.has(member));
  }

  #empty(room: string, member: Member): void {
    if (!this.#members.get(room)?.has(member)) return;
    remove(this.#members, room, member);
    this.#watch?.left(member, room);
    if (!this.#members.has(room)) this.#watch?.closed(room);
  }
}

/**
 * Hears of rooms that come and go.
 *
 * @typeParam Member Who can be in a room.
 */
export interface RoomsWatch<Member> {
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

const encoder = new TextEncoder();

/**
 * Checks the name of a room.
 *
 * @param attempt What is to be done.
 * @param room The name.
 * @throws {TypeError} If it is empty, or no string.
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
  if (room.length * 3 <= MAX_ROOM_BYTES) return;
  const isLong = room.length > MAX_ROOM_BYTES ||
    encoder.encode(room).length > MAX_ROOM_BYTES;
  if (isLong) {
    throw new RangeError(
      `Cannot ${attempt} a room whose name is longer than ${MAX_ROOM_BYTES} bytes: use a shorter name, or a hash of it: current value has ${room.length} characters`,
    );
  }
}

function union<T>(groups: readonly Iterable<T>[]): Set<T> {
  const all = new Set<T>();
  for (const group of groups) {
    for (const member of group) all.add(member);
  }
  return all;
}

function add<Key, Value>(
  index: Map<Key, Set<Value>>,
  key: Key,
  value: Value,
): void {
  const values = index.get(key);
  if (values) values.add(value);
  else index.set(key, new Set([value]));
}

function remove<Key, Value>(
  index: Map<Key, Set<Value>>,
  key: Key,
  value: Value,
): void {
  const values = index.get(key);
  values?.delete(value);
  if (values?.size === 0) index.delete(key);
}
