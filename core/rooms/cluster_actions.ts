/**
 * Actions on the clients of all servers: counts, lists, closes, moves and asks them, and
 * sends to one of them.
 *
 * @module
 */

import type {
  ClusterAnswer,
  ClusterQuery,
  ClusterTarget,
} from "../cluster/cluster_host.ts";
import type { ClusterLink } from "../cluster/cluster_link.ts";
import type { Presence } from "../cluster/presence.ts";
import { groupMembers, isPresenceEntry } from "../cluster/presence_members.ts";
import { Connection } from "../connection/connection.ts";
import type { Member } from "../events/event_types.ts";
import type { BroadcastBody } from "../history/envelope.ts";
import type { SendOptions } from "../sending/send_queue.ts";
import type { Codec, Frame } from "../values/codec.ts";
import type { PresenceData, SocketTypes } from "../values/types.ts";
import {
  type AudienceReplies,
  ReplyCollector,
  SERVER_SLACK_MS,
} from "./group_request.ts";
import type { QueryResponder } from "./query_responder.ts";
import type { ServerDescriptions } from "./server_descriptions.ts";
import type { AudienceChange, ExcludedRecipient } from "./recipients.ts";

/** Acts on the clients of this server, and asks the other ones to do the same. */
export class ClusterActions<Types extends SocketTypes>
  implements ServerDescriptions {
  readonly #responder: QueryResponder<Types>;
  readonly #link: ClusterLink | undefined;
  readonly #presence: Presence<PresenceData<Types>> | undefined;
  readonly #codec: Codec | undefined;

  constructor(
    responder: QueryResponder<Types>,
    link: ClusterLink | undefined,
    presence: Presence<PresenceData<Types>> | undefined,
    codec: Codec | undefined,
  ) {
    this.#responder = responder;
    this.#link = link;
    this.#presence = presence;
    this.#codec = codec;
  }

  /** Counts the clients of all servers, or those in a room. */
  async count(room?: string): Promise<number> {
    const query = { type: "count", ...room !== undefined && { room } } as const;
    const answers = await this.#queryOthers("count", query);
    // This server is asked last, as finding the others takes a while.
    return sumOf([this.#responder.answer(query), ...answers]);
  }

  /** Sets how this server describes itself to the others. */
  set describe(describe: (() => object) | undefined) {
    this.#responder.describe = describe;
  }

  get describe(): (() => object) | undefined {
    return this.#responder.describe;
  }

  /** Lists the descriptions of the other servers, as far as they answer. */
  async descriptions(): Promise<readonly unknown[]> {
    const descriptions: unknown[] = [];
    await this.#link?.query("describe servers", { type: "describe" }, {
      received: ({ description, number }) => {
        descriptions.push(description ?? { connections: number });
      },
    });
    return descriptions;
  }

  /** Lists the members of a room on all servers, those of this server first. */
  async members(room: string): Promise<Member<PresenceData<Types>>[]> {
    const presence = this.#presence;
    const versions = presence?.versionsOf(room) ?? {};
    const query = { type: "who", room, versions } as const;
    const answers = await this.#queryOthers("list members", query);
    const entries = [this.#responder.answer({ type: "who", room }), ...answers]
      .flatMap(({ entries = [] }) => entries);
    const all = entries.filter(isPresenceEntry<PresenceData<Types>>);
    for (const { unchanged = [] } of answers) {
      for (const server of unchanged) {
        const known = presence?.entriesOf(room, server);
        // This server has left the room meanwhile.
        if (!known) return await this.members(room);
        all.push(...known);
      }
    }
    return groupMembers(all);
  }

  /**
   * Closes a client of any server.
   *
   * @returns A promise of whether there was such a client.
   */
  async closeById(id: string, code: number, reason: string): Promise<boolean> {
    const query = { type: "close", id, code, reason } as const;
    return await this.#actOnOne("close a connection", query);
  }

  /**
   * Sends a message to a client of any server.
   *
   * @returns A promise of whether there was such a client.
   */
  async sendById(
    id: string,
    frame: Frame,
    options: SendOptions = {},
  ): Promise<boolean> {
    const query = { type: "send", id, options } as const;
    const body = frame instanceof Blob ? await frame.bytes() : frame;
    return await this.#actOnOne("send to a connection", query, body);
  }

  /** Sends a message to the applications of all other servers. */
  async sendToServers(body: BroadcastBody): Promise<void> {
    await this.#link?.available("send to servers");
    await this.#link?.registry.sendAppMessage(body);
  }

  /** Changes clients. Returns a promise of their number. */
  async change(
    change: AudienceChange,
    target: ClusterTarget,
  ): Promise<number> {
    const query = { ...change, target };
    const own = this.#responder.answer(query); // at once
    const attempt = change.type === "end"
      ? "close connections"
      : `${change.type} rooms`;
    const answers = await this.#queryOthers(attempt, query);
    return sumOf([own, ...answers]);
  }

  /** Sends a request to clients. Returns a promise of their replies. */
  async request(
    frame: Frame,
    target: ClusterTarget,
    timeout: number,
  ): Promise<AudienceReplies> {
    const attempt = "send a request";
    const body = frame instanceof Blob ? await frame.bytes() : frame;
    await this.#link?.available(attempt);
    const collector = new ReplyCollector(this.#codec);
    const own = this.#responder.ask(
      target,
      body,
      timeout,
      (answer, body) => collector.receive(answer, body),
    );
    const query = { type: "request", target, timeout } as const;
    const others = this.#link?.query(attempt, query, {
      body,
      timeout: timeout + SERVER_SLACK_MS,
      received: (answer, body) => collector.receive(answer, body),
    });
    const [missing] = await Promise.all([others, own]);
    return collector.finish(
      (missing?.unanswered ?? 0) + (missing?.lost ?? 0),
    );
  }

  /**
   * Asks all other servers.
   *
   * @param attempt Names what fails if they cannot be asked.
   * @param isEnough Whether no more answers are needed.
   * @returns A promise of the answers. It rejects if there may be other ones.
   */
  async #queryOthers(
    attempt: string,
    query: ClusterQuery,
    body?: BroadcastBody,
    isEnough?: (answer: ClusterAnswer) => boolean,
  ): Promise<readonly ClusterAnswer[]> {
    const link = this.#link;
    if (!link) return [];
    await link.available(attempt);
    const answers: ClusterAnswer[] = [];
    const { unanswered } = await link.query(attempt, query, {
      ...body !== undefined && { body },
      received: (answer) => {
        answers.push(answer);
        return isEnough?.(answer);
      },
    });
    if (unanswered > 0 && !answers.some((answer) => isEnough?.(answer))) {
      throw new Error(
        `Cannot ${attempt} on all servers: ${unanswered} of ${link.registry.size} have not answered`,
      );
    }
    return answers;
  }

  /** Does something with a client of any server, and tells whether there was one. */
  async #actOnOne(
    attempt: string,
    query: ClusterQuery,
    body?: BroadcastBody,
  ): Promise<boolean> {
    const isFound = ({ number }: ClusterAnswer) => number > 0;
    if (isFound(this.#responder.answer(query, body))) return true;
    const answers = await this.#queryOthers(attempt, query, body, isFound);
    return answers.some(isFound);
  }
}

/** Says in a query which clients are meant. */
export function clusterTarget<Types extends SocketTypes>(
  rooms: readonly string[] = [],
  except: readonly ExcludedRecipient<Types>[],
): ClusterTarget {
  return {
    rooms,
    except: except.filter((one) => typeof one === "string"),
    exceptIds: except.filter((one) => one instanceof Connection)
      .map(({ id }) => id),
  };
}

function sumOf(answers: readonly ClusterAnswer[]): number {
  return answers.reduce((sum, { number }) => sum + number, 0);
}
