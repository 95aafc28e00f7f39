/**
 * Which subprotocols are asked for, and which one is spoken: `events.v1` beside
 * those of the program; pure.
 *
 * A subprotocol is one token. So one that says that `events.v1` is spoken names all
 * that is agreed on: `events.v1`, then `-parts` if large frames go in parts, then `.` and
 * the codec if it is not JSON, then `+` and the program's own subprotocol if there is one.
 *
 * Beside them a client says who it is that comes back, and where it was: a subprotocol
 * is all that a page can add to its request.
 *
 * @module
 */

import { printable } from "../util/printable.ts";
import type { StreamPosition } from "./frames.ts";

/** What both sides speak. */
export interface NegotiatedProtocol {
  /** The program's own subprotocol; empty for none. */
  readonly protocol: string;
  /** Whether it is `events.v1`. */
  readonly isEvents: boolean;
  /** Whether large frames go in parts; only where it is `events.v1`. */
  readonly hasParts?: boolean;
  /** Who the client is, if it can come back; on a server's side. */
  readonly resume?: ResumeRequest | undefined;
}

/** What a side speaks apart from the program's own subprotocols. */
export interface SubprotocolSupport {
  /** Whether it does without `events.v1`. */
  readonly isPlain: boolean;
  /** The name of its codec; empty for JSON. */
  readonly codecName: string;
  /** Whether it keeps messages for clients that come back; on a server's side. */
  readonly hasHistory?: boolean;
}

const EVENTS_V1 = "events.v1";

/** Follows {@linkcode EVENTS_V1} if large frames go in parts. */
const PARTS_SUFFIX = "-parts";

/**
 * Asked for first where the program asks for nothing: a server that takes the first
 * one whatever it is then says what is true.
 */
const PLAIN_TOKEN = "plain";

function tokenFor(
  { codecName }: SubprotocolSupport,
  protocol: string,
  hasParts = false,
): string {
  return EVENTS_V1 + (hasParts ? PARTS_SUFFIX : "") +
    (codecName && `.${codecName}`) +
    (protocol && `+${protocol}`);
}

/** Both tokens for a subprotocol of the program's, the one that is preferred first. */
function tokensFor(
  support: SubprotocolSupport,
  protocol: string,
): [string, string] {
  return [tokenFor(support, protocol, true), tokenFor(support, protocol)];
}

/** A client that can come back, as it presents itself: nothing of it is proven. */
export interface ResumeRequest {
  /** The token that a server has given it; `0` if it has none. */
  readonly token: string;
  /** Where it was, if it comes back. */
  readonly position: StreamPosition | undefined;
  /** How long ago it has last heard of its server, in milliseconds. */
  readonly awayMs: number;
}

const RESUME_PATTERN =
  /^resume\.([\w-]{1,4096})(?:\.([0-9a-z]{1,32})\.([0-9]{1,16})\.([0-9]{1,16}))?$/;

/**
 * Names a client that can come back.
 *
 * @param visitor The client.
 * @returns A subprotocol to ask for, which no server picks.
 */
export function resumeSubprotocol(
  { token, position, awayMs }: ResumeRequest,
): string {
  return `resume.${token}` +
    (position ? `.${position.epoch}.${position.offset}.${awayMs}` : "");
}

/** Who a client is, where that matters: where messages are kept, or it counts on it. */
function parseResume(
  requested: readonly string[],
  { hasHistory }: SubprotocolSupport,
): ResumeRequest | undefined {
  for (const one of requested) {
    const [, token, epoch, offset, awayMs] = RESUME_PATTERN.exec(one) ?? [];
    if (token === undefined || !hasHistory && !epoch) continue;
    const position = epoch && { epoch, offset: Number(offset) };
    return {
      token,
      position: position || undefined,
      awayMs: Number(awayMs ?? 0),
    };
  }
  return undefined;
}

/**
 * What a client asks for.
 *
 * @param protocols The program's own subprotocols.
 * @param support What it speaks.
 * @param resume What `visit` has made of the client.
 * @returns The subprotocols to ask for, in order.
 */
export function offerSubprotocols(
  protocols: readonly string[],
  support: SubprotocolSupport,
  resume: string,
): string[] {
  const offered = protocolTokens(protocols, support);
  return support.isPlain ? offered : [...offered, resume];
}

function protocolTokens(
  protocols: readonly string[],
  support: SubprotocolSupport,
): string[] {
  if (support.isPlain) return [...protocols];
  const own = [...protocols, ""].flatMap((one) => tokensFor(support, one));
  // Without the codec nothing could be understood.
  if (support.codecName) return own;
  return protocols.length === 0
    ? [PLAIN_TOKEN, ...own]
    : [...protocols, ...own];
}

/**
 * Reads what a server has picked.
 *
 * @param selected The subprotocol; empty for none.
 * @param support What was asked for.
 * @returns What is spoken; undefined if the codec was not understood.
 */
export function parseSelected(
  selected: string,
  support: SubprotocolSupport,
): NegotiatedProtocol | undefined {
  if (!support.isPlain) {
    for (const hasParts of [true, false]) {
      const baseToken = tokenFor(support, "", hasParts);
      if (selected === baseToken || selected.startsWith(`${baseToken}+`)) {
        const protocol = selected.slice(baseToken.length + 1);
        return { protocol, isEvents: true, ...hasParts && { hasParts } };
      }
    }
  }
  if (support.codecName) return undefined;
  const isPlain = selected === PLAIN_TOKEN && !support.isPlain;
  return { protocol: isPlain ? "" : selected, isEvents: false };
}

/** What a server has made of what a client asks for. */
export interface SelectedSubprotocol extends NegotiatedProtocol {
  /** What the answer says; empty for no subprotocol. */
  readonly subprotocol: string;
}

/** What is spoken with a client that asks for nothing: the same for all of them. */
const NO_SUBPROTOCOL: SelectedSubprotocol = {
  protocol: "",
  isEvents: false,
  subprotocol: "",
};

/**
 * Picks what to speak.
 *
 * @param requested What the client asks for.
 * @param supported The program's own subprotocols.
 * @param support What the server speaks.
 * @returns The choice, or why there is none.
 */
export function negotiate(
  requested: readonly string[],
  supported: readonly string[],
  support: SubprotocolSupport,
): SelectedSubprotocol | string {
  if (requested.length === 0 && !support.codecName) return NO_SUBPROTOCOL;
  if (!support.isPlain) {
    // Made once: a peer may ask for thousands.
    const knownTokens = new Set(
      supported.flatMap((protocol) => tokensFor(support, protocol)),
    );
    const own = requested.find((one) => knownTokens.has(one));
    const isOwnRequested = requested.some((one) => supported.includes(one));
    const baseToken = isOwnRequested
      ? undefined
      : tokensFor(support, "").find((one) => requested.includes(one));
    const selected = own ?? baseToken;
    const subprotocol = selected && parseSelected(selected, support);
    if (selected && subprotocol) {
      const resume = parseResume(requested, support);
      return { ...subprotocol, subprotocol: selected, resume };
    }
  }
  if (support.codecName) {
    return `This server speaks ${support.codecName}: ask for the subprotocol ${
      tokenFor(support, "")
    }`;
  }
  const protocol = requested.find((one) => supported.includes(one)) ?? "";
  const others = requested.filter((one) => !RESUME_PATTERN.test(one));
  const unknown = others.filter((one) =>
    one.startsWith(`${EVENTS_V1}.`) ||
    one.startsWith(`${EVENTS_V1}${PARTS_SUFFIX}.`)
  );
  if (!protocol && unknown.length > 0 && unknown.length === others.length) {
    return `This server does not speak ${
      printable(unknown.join(", "))
    }: its codec is JSON`;
  }
  const isPlainRequested = requested.length > 0 &&
    requested[0] === PLAIN_TOKEN && !protocol;
  return {
    protocol,
    isEvents: false,
    subprotocol: isPlainRequested ? PLAIN_TOKEN : protocol,
  };
}
