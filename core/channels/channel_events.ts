/**
 * The events of channels, on both sides.
 *
 * @module
 */

/**
 * Dispatched as `open` by a channel that the client has joined.
 *
 * @example
 * ```ts
 * import { channel } from "jsr:@ws/events/channels";
 * import { ClientSocket } from "jsr:@ws/events/client";
 *
 * const client = new ClientSocket();
 * const order = channel(client, "orders/42");
 * order.addEventListener("open", ({ snapshot, isRejoin }) => {
 *   console.log(isRejoin ? "back" : "joined", snapshot);
 * });
 * ```
 */
export class ChannelOpenEvent<Snapshot> extends Event {
  /** The snapshot that the server returned. */
  readonly snapshot: Snapshot;
  /** Whether the client was in the channel before its connection was lost. */
  readonly isRejoin: boolean;

  /**
   * Creates the event.
   *
   * @param type The name of the event.
   * @param snapshot The snapshot that the server returned.
   * @param isRejoin Whether the client was in the channel before.
   */
  constructor(type: string, snapshot: Snapshot, isRejoin: boolean) {
    super(type);
    this.snapshot = snapshot;
    this.isRejoin = isRejoin;
  }
}

/**
 * Dispatched as `close` by a channel that is closed for good.
 *
 * @example
 * ```ts
 * import { channel } from "jsr:@ws/events/channels";
 * import { ClientSocket } from "jsr:@ws/events/client";
 *
 * const client = new ClientSocket();
 * const order = channel(client, "orders/42");
 * order.addEventListener("close", ({ code, reason }) => console.log(code, reason));
 * ```
 */
export class ChannelCloseEvent extends Event {
  /** The machine-readable code, such as `left`, `removed` or `forbidden`. */
  readonly code: string;
  /** The human-readable reason of the close. */
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
 * Dispatched by a channel as `join`, `update` or `leave`, when its members change.
 *
 * @typeParam Member The type of the member.
 *
 * @example
 * ```ts
 * import { channel } from "jsr:@ws/events/channels";
 * import { ClientSocket } from "jsr:@ws/events/client";
 *
 * const client = new ClientSocket();
 * const order = channel(client, "orders/42");
 * order.addEventListener("join", ({ member }) => console.log(member.key));
 * ```
 */
export class ChannelMemberEvent<Member> extends Event {
  /** The member that has joined or left, or whose data has changed. */
  readonly member: Member;

  /**
   * Creates the event.
   *
   * @param type The name of the event.
   * @param member The member that has joined or left, or whose data has changed.
   */
  constructor(type: string, member: Member) {
    super(type);
    this.member = member;
  }
}
