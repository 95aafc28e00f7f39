/**
 * What the modules of this folder ask of the server they belong to, and what servers
 * ask each other.
 *
 * @module
 */

import type { Broadcast } from "../history/envelope.ts";
import type { PresenceEntry } from "./room_members.ts";

/** A question to every server of the cluster. */
export type ClusterQuery =
  /** How many connections there are, in `room` or in all. */
  | { readonly type: "count"; readonly room?: string }
  /** Which members a room has. */
  | {
    readonly type: "who";
    readonly room: string;
    /** What the sender knows: the last change of each server. */
    readonly versions?: Readonly<Record<string, number>>;
  }
  /** Close the connection with this id, if the server has it. */
  | {
    readonly type: "close";
    readonly id: string;
    readonly code: number;
    readonly reason: string;
  };

/** The answer of one server, or the sum of several answers. */
export interface ClusterAnswer {
  /** The number of connections counted or closed. */
  readonly number: number;
  /** The connections in the room, for a `who` query. */
  readonly entries?: readonly PresenceEntry[];
  /** Servers whose connections in the room are as the sender of the query knows them. */
  readonly unchanged?: readonly string[];
}

/** The server, as the cluster modules see it. */
export interface ClusterHost {
  /**
   * Sends a message to the local connections that it is addressed to.
   *
   * @param offset Its offset in the broker's log; 0 if the broker has not stored it
   * yet; undefined if the broker stores nothing.
   */
  deliver(broadcast: Broadcast, offset?: number): void;
  /**
   * Sends local clients their position in the stream of stored messages.
   *
   * @param recovered `false` if messages may have been missed.
   */
  sendPositions(room?: string, recovered?: false): void;
  /** Answers a query for this server alone. */
  answer(query: ClusterQuery): ClusterAnswer;
  /** The other servers will not receive a message that this one has sent. */
  messageMissed(): void;
  /** The broker can be reached, or no longer can. */
  changed(state: "up" | "down", error: unknown): void;
  /** An operation has failed. */
  failed(error: unknown): void;
}
