/**
 * The members of one room: connections with the same key are one member. It decides
 * which changes of connections are changes of members. It sends nothing.
 *
 * @module
 */

import type { Member } from "../events/event_types.ts";

/** A connection in a room, as servers tell each other about it. */
export interface PresenceEntry<Data = unknown> {
  /** The id of the connection. */
  readonly id: string;
  /** What groups connections, unless it is the id. */
  readonly key?: string;
  readonly data: Data;
  /** When the data was set: larger than that of all data that was known then. */
  readonly at: number;
}

/** What a change of one connection means for a member. */
export interface MemberChange<Data> {
  readonly type: "join" | "update" | "leave";
  readonly member: Member<Data>;
}

/** The connections in a room on all servers, grouped by their keys. */
export class RoomMembers<Data> {
  readonly #members = new Map<string, Map<string, PresenceEntry<Data>>>();

  /** Adds a connection, or replaces its data. */
  set(entry: PresenceEntry<Data>): MemberChange<Data> | undefined {
    const key = keyOf(entry);
    const entries = this.#members.get(key);
    if (!entries) {
      const first = new Map([[entry.id, entry]]);
      this.#members.set(key, first);
      return { type: "join", member: toMember(key, first) };
    }
    const before = newestOf(entries.values());
    entries.set(entry.id, entry);
    return updateOf(key, entries, before);
  }

  /** Removes a connection. */
  delete(entry: PresenceEntry<Data>): MemberChange<Data> | undefined {
    const key = keyOf(entry);
    const entries = this.#members.get(key);
    if (!entries?.has(entry.id)) return undefined;
    const before = newestOf(entries.values());
    if (entries.size > 1) {
      entries.delete(entry.id);
      return updateOf(key, entries, before);
    }
    this.#members.delete(key);
    return { type: "leave", member: toMember(key, entries) };
  }
}

/** Lists the members that some connections make up, in the order of their first ones. */
export function groupMembers<Data>(
  entries: Iterable<PresenceEntry<Data>>,
): Member<Data>[] {
  const groups = new Map<string, Map<string, PresenceEntry<Data>>>();
  for (const entry of entries) {
    const key = keyOf(entry);
    const group = groups.get(key);
    if (group) group.set(entry.id, entry);
    else groups.set(key, new Map([[entry.id, entry]]));
  }
  return Array.from(groups, ([key, group]) => toMember(key, group));
}

/** Whether a value that another server has sent is an entry. Its data is not checked. */
export function isPresenceEntry<Data>(
  value: unknown,
): value is PresenceEntry<Data> {
  return typeof value === "object" && value !== null &&
    "id" in value && typeof value.id === "string" &&
    "at" in value && typeof value.at === "number" && "data" in value &&
    (!("key" in value) || typeof value.key === "string");
}

function keyOf({ id, key = id }: PresenceEntry): string {
  return key;
}

/** The entry whose data a member has. All servers choose the same one. */
function newestOf<Data>(
  entries: Iterable<PresenceEntry<Data>>,
): PresenceEntry<Data> | undefined {
  let newest: PresenceEntry<Data> | undefined;
  for (const entry of entries) {
    const isNewer = !newest || entry.at > newest.at ||
      entry.at === newest.at && entry.id > newest.id;
    if (isNewer) newest = entry;
  }
  return newest;
}

function updateOf<Data>(
  key: string,
  entries: ReadonlyMap<string, PresenceEntry<Data>>,
  before: PresenceEntry<Data> | undefined,
): MemberChange<Data> | undefined {
  const newest = newestOf(entries.values());
  const isSame = newest === before ||
    JSON.stringify(newest?.data) === JSON.stringify(before?.data);
  return isSame
    ? undefined
    : { type: "update", member: toMember(key, entries) };
}

function toMember<Data>(
  key: string,
  entries: ReadonlyMap<string, PresenceEntry<Data>>,
): Member<Data> {
  const newest = newestOf(entries.values());
  if (!newest) throw new Error("Cannot describe a member without connections");
  return { key, data: newest.data, connections: [...entries.keys()] };
}
