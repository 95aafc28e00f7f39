/**
 * Negotiates the subprotocol: `events.v1`, together with those of the application.
 *
 * A client offers tokens, and the server selects one (RFC 6455, section 1.9). So one
 * token names everything that is negotiated: `events.v1`, then `-parts` if large frames
 * are split, then `.` and the codec unless it is JSON, then `+` and the subprotocol of
 * the application, if there is one.
 *
 * A client that can resume also offers a `resume` token with its position, because
 * browsers can add nothing but subprotocols to the request. No server selects it.
 *
 * @module
 */

import { printable } from "../util/printable.ts";
import type { StreamPosition } from "./frames.ts";

/** The negotiated subprotocol. */
export interface NegotiatedProtocol {
  /** The subprotocol of the application; empty for none. */
  readonly protocol: string;
  /** Whether `events.v1` was negotiated. */
  readonly isEvents: boolean;
  /** Whether large frames are split. Only with `events.v1`. */
  readonly hasParts?: boolean;
  /** Whether the server accepts only to refuse, on the client. */
  readonly isRefusal?: boolean;
  /** What the client asks to resume, on the server. */
  readonly resume?: ResumeRequest | undefined;
}

/** What one side supports besides the subprotocols of the application. */
export interface SubprotocolSupport {
  /** Whether `events.v1` is disabled. */
  readonly isPlain: boolean;
  /** The name of the codec; empty for JSON. */
  readonly codecName: string;
  /** Whether the server stores messages for clients that reconnect. */
  readonly hasHistory?: boolean;
}

const EVENTS_V1 = "events.v1";

/** Follows {@linkcode EVENTS_V1} if large frames are split. */
const PARTS_SUFFIX = "-parts";

/**
 * Offered first if the application has no subprotocol, because some servers select the
 * first token that is offered, known or not.
 */
const PLAIN_TOKEN = "plain";

/**
 * Offered last, and selected by a server that accepts a connection only to close it
 * with a code and a reason: a browser reveals nothing of a refused handshake.
 */
const REFUSAL_TOKEN = "events.v1-refusal";

function tokenFor(
  { codecName }: SubprotocolSupport,
  protocol: string,
  hasParts = false,
): string {
  return EVENTS_V1 + (hasParts ? PARTS_SUFFIX : "") +
    (codecName && `.${codecName}`) +
    (protocol && `+${protocol}`);
}

/** Returns both tokens for a subprotocol of the application, in order of preference. */
function tokensFor(
  support: SubprotocolSupport,
  protocol: string,
): [string, string] {
  return [tokenFor(support, protocol, true), tokenFor(support, protocol)];
}

/** What a client asks to resume. Nothing of it is verified yet. */
export interface ResumeRequest {
  /** The token from the server; `0` if there is none. */
  readonly token: string;
  /** The last known position; undefined for a new client. */
  readonly position: StreamPosition | undefined;
  /**
   * The time since the client last received anything from its server, in milliseconds.
   */
  readonly awayMs: number;
}

const RESUME_PATTERN =
  /^resume\.([\w-]{1,4096})(?:\.([0-9a-z]{1,32})\.([0-9]{1,16})\.([0-9]{1,16}))?$/;

/** Encodes a resume request as a subprotocol to offer. */
export function resumeSubprotocol(
  { token, position, awayMs }: ResumeRequest,
): string {
  return `resume.${token}` +
    (position ? `.${position.epoch}.${position.offset}.${awayMs}` : "");
}

/**
 * Finds the resume request. It is ignored without history, unless the client expects
 * recovery.
 */
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
 * Returns the subprotocols to offer, in order of preference.
 *
 * @param resume The result of {@linkcode resumeSubprotocol}.
 */
export function offerSubprotocols(
  protocols: readonly string[],
  support: SubprotocolSupport,
  resume: string,
): string[] {
  const offered = protocolTokens(protocols, support);
  return support.isPlain ? offered : [...offered, REFUSAL_TOKEN, resume];
}

function protocolTokens(
  protocols: readonly string[],
  support: SubprotocolSupport,
): string[] {
  if (support.isPlain) return [...protocols];
  const own = [...protocols, ""].flatMap((one) => tokensFor(support, one));
  return protocols.length === 0
    ? [PLAIN_TOKEN, ...own]
    : [...protocols, ...own];
}

/**
 * Parses the subprotocol that the server selected; an empty string for none.
 */
export function parseSelected(
  selected: string,
  support: SubprotocolSupport,
): NegotiatedProtocol {
  if (support.isPlain) return { protocol: selected, isEvents: false };
  for (const hasParts of [true, false]) {
    const baseToken = tokenFor(support, "", hasParts);
    if (selected === baseToken || selected.startsWith(`${baseToken}+`)) {
      const protocol = selected.slice(baseToken.length + 1);
      return { protocol, isEvents: true, ...hasParts && { hasParts } };
    }
  }
  if (selected === REFUSAL_TOKEN) {
    return { protocol: "", isEvents: false, isRefusal: true };
  }
  const protocol = selected === PLAIN_TOKEN ? "" : selected;
  return { protocol, isEvents: false };
}

/**
 * Selects the subprotocol of a server that accepts a connection only to close it.
 *
 * @returns The subprotocol; empty if the client does not know it.
 */
export function selectRefusal(requested: readonly string[]): string {
  return requested.includes(REFUSAL_TOKEN) ? REFUSAL_TOKEN : "";
}

/** The result of {@linkcode negotiate}. */
export interface SelectedSubprotocol extends NegotiatedProtocol {
  /** The value of `Sec-WebSocket-Protocol` in the response; empty for no header. */
  readonly subprotocol: string;
}

/** The result for a client that offers no subprotocol, shared to save memory. */
const NO_SUBPROTOCOL: SelectedSubprotocol = {
  protocol: "",
  isEvents: false,
  subprotocol: "",
};

/**
 * Selects a subprotocol for a client.
 *
 * @returns The selected subprotocol, or the reason to refuse the client.
 */
export function negotiate(
  requested: readonly string[],
  supported: readonly string[],
  support: SubprotocolSupport,
): SelectedSubprotocol | string {
  if (requested.length === 0 && !support.codecName) return NO_SUBPROTOCOL;
  if (!support.isPlain) {
    // A set, as a client may offer thousands.
    const knownTokens = new Set(
      supported.flatMap((protocol) => tokensFor(support, protocol)),
    );
    const own = requested.find((one) => knownTokens.has(one));
    const isOwnRequested = requested.some((one) => supported.includes(one));
    const baseToken = isOwnRequested
      ? undefined
      : tokensFor(support, "").find((one) => requested.includes(one));
    const selected = own ?? baseToken;
    if (selected) {
      const resume = parseResume(requested, support);
      const subprotocol = parseSelected(selected, support);
      return { ...subprotocol, subprotocol: selected, resume };
    }
  }
  if (support.codecName && !support.isPlain) {
    return `This server speaks ${support.codecName}: ask for the subprotocol ${
      tokenFor(support, "")
    }`;
  }
  const protocol = requested.find((one) => supported.includes(one)) ?? "";
  const codecTokens = requested.filter((one) =>
    one.startsWith(`${EVENTS_V1}.`) ||
    one.startsWith(`${EVENTS_V1}${PARTS_SUFFIX}.`)
  );
  // A client that has a codec would understand nothing.
  const isCodecKnown = codecTokens.some((one) =>
    tokensFor(support, "").some((token) =>
      one === token || one.startsWith(`${token}+`)
    )
  );
  if (codecTokens.length > 0 && !isCodecKnown) {
    return `This server does not speak ${
      printable(codecTokens.join(", "))
    }: its codec is ${support.codecName || "JSON"}`;
  }
  const isPlainRequested = requested.length > 0 &&
    requested[0] === PLAIN_TOKEN && !protocol;
  return {
    protocol,
    isEvents: false,
    subprotocol: isPlainRequested ? PLAIN_TOKEN : protocol,
  };
}
