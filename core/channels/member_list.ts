/**
 * The members of a channel, as a client knows them from the updates of the server; pure.
 *
 * @module
 */

import type {
  ChannelMemberInfo,
  MembersUpdate,
} from "../protocol/channel_frames.ts";

/** A change of the members, in the order of the events that tell it. */
export interface MemberListChange {
  readonly type: "join" | "update" | "leave";
  readonly member: ChannelMemberInfo;
}

/** The members by their keys. */
export class MemberList {
  readonly #members = new Map<string, ChannelMemberInfo>();

  get all(): readonly ChannelMemberInfo[] {
    return [...this.#members.values()];
  }

  /** Applies an update of the server. Yields each change right after it was made. */
  *apply(update: MembersUpdate): Generator<MemberListChange> {
    if ("join" in update) return yield* this.#set(update.join);
    if ("update" in update) return yield* this.#set(update.update);
    if ("leave" in update) return yield* this.#remove(update.leave);
    const keys = new Set(update.members.map(({ key }) => key));
    for (const member of this.all) {
      if (!keys.has(member.key)) yield* this.#remove(member);
    }
    for (const member of update.members) yield* this.#set(member);
  }

  *#set(member: ChannelMemberInfo): Generator<MemberListChange> {
    const before = this.#members.get(member.key);
    this.#members.set(member.key, member);
    if (!before) yield { type: "join", member };
    else if (JSON.stringify(before.data) !== JSON.stringify(member.data)) {
      yield { type: "update", member };
    }
  }

  *#remove(member: ChannelMemberInfo): Generator<MemberListChange> {
    if (this.#members.delete(member.key)) yield { type: "leave", member };
  }
}
