/**
 * Whether a client may join a channel: asks the application, and creates the member.
 *
 * @module
 */

import { refusalFor } from "../admission/authorization.ts";
import type { Connection } from "../connection/connection.ts";
import { emitters } from "../events/emitter.ts";
import { isThenable, RequestError } from "../events/errors.ts";
import type { SocketTypes } from "../values/types.ts";
import { ChannelMemberEvent } from "./channel_events.ts";
import { createMember, type MemberLink } from "./channel_member.ts";
import type { ChannelPattern } from "./channel_pattern.ts";
import type { ChannelTypes, JoinData } from "./channel_types.ts";
import type { JoinedMember } from "./memberships.ts";
import {
  type ServerChannel,
  type ServerChannelOptions,
  serverChannels,
} from "./server_channel.ts";

/** A kind of channels, whatever its types are. */
export interface ChannelRoute<ServerTypes extends SocketTypes> {
  readonly pattern: ChannelPattern;
  /** Asks the application, and says who joins. */
  admit(
    request: JoinAttempt<ServerTypes>,
  ): AdmittedMember | PromiseLike<AdmittedMember>;
}

export interface JoinAttempt<ServerTypes extends SocketTypes> {
  readonly client: Connection<ServerTypes>;
  readonly name: string;
  readonly params: Readonly<Record<string, string>>;
  readonly data: unknown;
  readonly link: MemberLink;
}

/** What follows from the decision of the application. */
export interface AdmittedMember {
  readonly joined: JoinedMember;
  /** Called when the client is in the room. Returns the snapshot. */
  enter(): unknown;
}

/** Asks the application whether a client may join. */
export function admit<
  Types extends ChannelTypes,
  Params,
  ServerTypes extends SocketTypes,
>(
  channel: ServerChannel<Types, Params, ServerTypes>,
  options: ServerChannelOptions<Types, Params, ServerTypes>,
  matches: (params: Readonly<Record<string, string>>) => params is
    & Params
    & Readonly<Record<string, string>>,
  { client, name, params, data, link }: JoinAttempt<ServerTypes>,
  hasMembers: boolean,
): AdmittedMember | PromiseLike<AdmittedMember> {
  if (!matches(params)) throw new TypeError("The parameters do not match");
  // The type of `data` is the application's claim about its clients.
  const request = { client, name, params, data: data as JoinData<Types> };
  const decide = (context: unknown): AdmittedMember => {
    const refusal = refusalFor(context);
    if (refusal?.error) throw refusal.error;
    if (refusal) throw new RequestError("Not authorized", "forbidden");
    const member = createMember(request, context, link);
    const emit = (type: "join" | "leave") =>
      emitters.emit(channel, type, ChannelMemberEvent<typeof member>, [member]);
    let hasEntered = false;
    let hasLeft = false;
    return {
      joined: {
        hasMembers,
        receive: (payload, id, pending) =>
          serverChannels.receive(channel, member, payload, {
            id,
            pending,
            hasLeft: () => hasLeft,
          }),
        left: () => {
          hasLeft = true;
          if (hasEntered) emit("leave");
        },
      },
      enter: () => {
        hasEntered = true;
        emit("join");
        return options.snapshot?.(member);
      },
    };
  };
  const result = options.join(request);
  return isThenable(result)
    ? Promise.resolve(result).then(decide)
    : decide(result);
}
