/**
 * The events of channels, on both sides.
 *
 * @module
 */

/** Dispatched by a channel that the client has joined. */
export class ChannelOpenEvent<Snapshot> extends Event {
  /** The snapshot. */
  readonly snapshot: Snapshot;
  /** Whether the client was in the channel before its connection was lost. */
  readonly isRejoin: boolean;

  /**
   * Creates the event.
   *
   * @param type The name of the event.
   * @param snapshot The snapshot.
   * @param isRejoin Whether the client was in the channel before.
   */
  constructor(type: string, snapshot: Snapshot, isRejoin: boolean) {
    super(type);
    this.snapshot = snapshot;
    this.isRejoin = isRejoin;
  }
}

/** Dispatched by a channel that is closed. */
export class ChannelCloseEvent extends Event {
  /** The machine-readable code. */
  readonly code: string;
  /** The human-readable reason. */
  readonly reason: string;

  /**
   * Creates the event.
   *
   * @param type The name of the event.
   * @param code The machine-readable code.
   * @param reason The human-readable reason.
   */
  constructor(type: string, code: string, reason: string) {
    super(type);
    this.code = code;
    this.reason = reason;
  }
}

/**
 * The event `join`, `update` or `leave` of a channel.
 *
 * @typeParam Member The type of the member.
 */
export class ChannelMemberEvent<Member> extends Event {
  /** The member. */
  readonly member: Member;

  /**
   * Creates the event.
   *
   * @param type The name of the event.
   * @param member The member.
   */
  constructor(type: string, member: Member) {
    super(type);
    this.member = member;
  }
}
