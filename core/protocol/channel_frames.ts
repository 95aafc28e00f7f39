/**
 * The frames of channels, as specified in `docs/protocol.md`; pure. Only programs that use
 * channels need them: all others ignore these kinds.
 *
 * @module
 */

import { concatBytes } from "../util/concat_bytes.ts";
import { type Frame, toBytes } from "../values/codec.ts";
import { parseFailure, parseObject, parseRequestId } from "./frame_decoder.ts";
import {
  MARK,
  MARK_BYTE,
  type Payload,
  REQUEST_HEAD_BYTES,
  type RequestFailure,
} from "./frames.ts";

/** What a client asks for when it joins a channel. */
export interface JoinRequest {
  /** The name of the channel. */
  readonly name: string;
  /** The parameters of the client. */
  readonly data?: unknown;
  /** Whether the client was in the channel before its connection was lost. */
  readonly isRejoin: boolean;
}

/** A decoded frame of a channel. */
export type ChannelFrame =
  /** A request to join. Its id is also the number of the channel on the connection. */
  | { readonly kind: "join"; readonly id: number; readonly join: JoinRequest }
  /** A frame that belongs to a channel. */
  | { readonly kind: "inner"; readonly id: number; readonly payload: Payload }
  /** The sender has left the channel, or removes the receiver from it. */
  | {
    readonly kind: "leave";
    readonly id: number;
    readonly failure: RequestFailure | undefined;
  };

/** A member of a channel, as clients see it. */
export interface ChannelMemberInfo {
  /**
   * The key that the connections of the member share; by default the id of its only
   * connection.
   */
  readonly key: string;
  /** The public data of the member. */
  readonly data: unknown;
}

/** A change of the members of a channel. */
export type MembersUpdate =
  /** All members. */
  | { readonly members: readonly ChannelMemberInfo[] }
  /** A member has joined. */
  | { readonly join: ChannelMemberInfo }
  /** The data of a member has changed. */
  | { readonly update: ChannelMemberInfo }
  /** A member has left. */
  | { readonly leave: ChannelMemberInfo };

/** Encodes a request to join a channel. */
export function encodeJoin(
  id: number,
  { name, data, isRejoin }: JoinRequest,
): string {
  const json = JSON.stringify({ name, data, ...isRejoin && { again: true } });
  return `${MARK}j${id},${json}`;
}

/** Encodes a frame that belongs to a channel. */
export function encodeInChannel(id: number, frame: Frame): Frame {
  if (typeof frame === "string") return `${MARK}c${id},${frame}`;
  const head = new Uint8Array(REQUEST_HEAD_BYTES);
  head[0] = MARK_BYTE;
  head[1] = "c".charCodeAt(0);
  new DataView(head.buffer).setUint32(2, id);
  return frame instanceof Blob
    ? new Blob([head, frame])
    : concatBytes([head, toBytes(frame)]);
}

/** Encodes the end of a membership. */
export function encodeLeave(id: number, failure?: RequestFailure): string {
  return `${MARK}l${id}${failure ? `,${JSON.stringify(failure)}` : ""}`;
}

/** Encodes a change of members, to be put into a frame of a channel. */
export function encodeMembers(update: MembersUpdate): string {
  return `${MARK}m${JSON.stringify(update)}`;
}

/** Encodes whether a member was sent what it missed, for a frame of a channel. */
export function encodeRecovered(recovered: boolean): string {
  return `${MARK}#${JSON.stringify({ recovered })}`;
}

/**
 * Decodes a marked frame of one of the kinds `c`, `j` and `l`. Never throws.
 *
 * @returns The frame; undefined if it is malformed.
 */
export function decodeChannelFrame(payload: Payload): ChannelFrame | undefined {
  if (typeof payload !== "string") {
    const view = new DataView(payload);
    if (payload.byteLength < REQUEST_HEAD_BYTES) return undefined;
    const id = view.getUint32(2);
    return id === 0 || view.getUint8(1) !== "c".charCodeAt(0)
      ? undefined
      : { kind: "inner", id, payload: payload.slice(REQUEST_HEAD_BYTES) };
  }
  const comma = payload.indexOf(",");
  const kind = payload.charAt(1);
  if (kind === "l" && comma < 0) {
    const id = parseRequestId(payload.slice(2));
    return id === undefined
      ? undefined
      : { kind: "leave", id, failure: undefined };
  }
  const id = parseRequestId(payload.slice(2, Math.max(comma, 2)));
  if (id === undefined) return undefined;
  const rest = payload.slice(comma + 1);
  if (kind === "c") return { kind: "inner", id, payload: rest };
  if (kind === "j") {
    const join = parseJoin(rest);
    return join && { kind: "join", id, join };
  }
  const failure = parseFailure(rest);
  return failure && { kind: "leave", id, failure };
}

/**
 * Decodes a change of members.
 *
 * @param payload The frame in a frame of a channel, with its mark.
 * @returns The change; undefined if it is malformed.
 */
export function decodeMembers(payload: Payload): MembersUpdate | undefined {
  if (typeof payload !== "string") return undefined;
  const { members, join, update, leave } = parseObject(payload.slice(2)) ?? {};
  if (isMember(join)) return { join };
  if (isMember(update)) return { update };
  if (isMember(leave)) return { leave };
  const all: unknown = members;
  return Array.isArray(all) && all.every(isMember)
    ? { members: all }
    : undefined;
}

function isMember(value: unknown): value is ChannelMemberInfo {
  return typeof value === "object" && value !== null && "key" in value &&
    typeof value.key === "string";
}

function parseJoin(json: string): JoinRequest | undefined {
  const { name, data, again } = parseObject(json) ?? {};
  return typeof name === "string"
    ? { name, data, isRejoin: again === true }
    : undefined;
}
