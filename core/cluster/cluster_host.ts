/**
 * What the modules of this folder ask of the server they belong to, and what servers
 * ask each other.
 *
 * @module
 */

import type { Broadcast, BroadcastBody } from "../history/envelope.ts";
import type { SendOptions } from "../sending/send_queue.ts";
import type { PresenceEntry } from "./presence_members.ts";

/** The connections that a query is about, on all servers. */
export interface ClusterTarget {
  /** The members of any of these rooms. */
  readonly rooms: readonly string[];
  /** Members of these rooms are excluded. */
  readonly except: readonly string[];
  /** Connections with these ids are excluded. */
  readonly exceptIds: readonly string[];
}

/** A query to every server of the cluster, which may change something there. */
export type ClusterQuery =
  /** How many connections there are, in `room` or in all. */
  | { readonly type: "count"; readonly room?: string }
  /** Describe the server, for a page that shows all of them. */
  | { readonly type: "describe" }
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
  }
  /** Send the body to the connection with this id, if the server has it. */
  | {
    readonly type: "send";
    readonly id: string;
    readonly options: SendOptions;
  }
  /** Make connections members of other rooms, or no longer members. */
  | {
    readonly type: "join" | "leave";
    readonly target: ClusterTarget;
    readonly rooms: readonly string[];
  }
  /** Close connections. */
  | {
    readonly type: "end";
    readonly target: ClusterTarget;
    readonly code: number;
    readonly reason: string;
  }
  /** Send the body to connections as a request. The answer has several parts. */
  | {
    readonly type: "request";
    readonly target: ClusterTarget;
    readonly timeout: number;
  };

/** How a request to one of several connections has ended. */
export type ClientReply =
  & { readonly id: string }
  & (
    /** The part of the body that is the reply. */
    | { readonly size: number; readonly isBinary: boolean }
    | { readonly error: SerializedError }
  );

/** An error, as it is sent to another server. */
export interface SerializedError {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
}

/** The answer of one server, or a part of it. */
export interface ClusterAnswer {
  /** The number of connections that were counted or changed. */
  readonly number: number;
  /** What the server says of itself, for a `describe` query. */
  readonly description?: unknown;
  /** The connections in the room, for a `who` query. */
  readonly entries?: readonly PresenceEntry[];
  /** Servers whose connections in the room are as the sender of the query knows them. */
  readonly unchanged?: readonly string[];
  /** The ids of connections that are being asked, for a `request` query. */
  readonly asked?: readonly string[];
  /** Replies of these connections, in the order of the body. */
  readonly replies?: readonly ClientReply[];
}

/** Sends a part of the answer to a `request` query. */
export type SendAnswerPart = (
  answer: ClusterAnswer,
  body?: BroadcastBody,
) => void;

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
  /**
   * Answers a query for this server alone.
   *
   * @param sendPart Sends a part of the answer before the rest.
   */
  answer(
    query: ClusterQuery,
    body: BroadcastBody | undefined,
    sendPart: SendAnswerPart,
  ): ClusterAnswer | Promise<ClusterAnswer>;
  /** Another server has sent a message to the application. */
  appMessage(body: BroadcastBody): void;
  /** The other servers will not receive a message that this one has sent. */
  messageMissed(): void;
  /** The broker can be reached, or no longer can. */
  changed(state: "up" | "down", error: unknown): void;
  /** An operation has failed. */
  failed(error: unknown): void;
}
