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
import type { Place } from "./frames.ts";

/** What both sides speak. */
export interface Spoken {
  /** The program's own subprotocol; empty for none. */
  readonly protocol: string;
  /** Whether it is `events.v1`. */
  readonly isEvents: boolean;
  /** Whether large frames go in parts; only where it is `events.v1`. */
  readonly hasParts?: boolean;
  /** Who the client is, if it can come back; on a server's side. */
  readonly visitor?: Visitor | undefined;
}

/** What a side speaks apart from the program's own subprotocols. */
export interface Dialect {
  /** Whether it does without `events.v1`. */
  readonly isPlain: boolean;
  /** The name of its codec; empty for JSON. */
  readonly codec: string;
  /** Whether it keeps messages for clients that come back; on a server's side. */
  readonly isKeeping?: boolean;
}

const EVENTS = "events.v1";

/** Follows {@linkcode EVENTS} if large frames go in parts. */
const PARTS = "-parts";

/**
 * Asked for first where the program asks for nothing: a server that takes the first
 * one whatever it is then says what is true.
 */
const PLAIN = "plain";

function token(
  { codec }: Dialect,
  protocol: string,
  hasParts = false,
): string {
  return EVENTS + (hasParts ? PARTS : "") + (codec && `.${codec}`) +
    (protocol && `+${protocol}`);
}

/** Both tokens for a subprotocol of the program's, the one that is preferred first. */
function tokens(dialect: Dialect, protocol: string): [string, string] {
  return [token(dialect, protocol, true), token(dialect, protocol)];
}

/** A client that can come back, as it names itself. */
export interface Visitor {
  /** What it is called in all its connections; nobody else knows it. */
  readonly session: string;
  /** Where it was, if it comes back. */
  readonly place: Place | undefined;
  /** How long ago it has last heard of its server, in milliseconds. */
  readonly away: number;
}

const VISITOR =
  /^resume\.([0-9a-z]{1,32})(?:\.([0-9a-z]{1,32})\.([0-9]{1,16})\.([0-9]{1,16}))?$/;

/**
 * Names a client that can come back.
 *
 * @param visitor The client.
 * @returns A subprotocol to ask for, which no server picks.
 */
export function visit({ session, place, away }: Visitor): string {
  return `resume.${session}` +
    (place ? `.${place.epoch}.${place.offset}.${away}` : "");
}

/** Who a client is, where that matters: where messages are kept, or it counts on it. */
function readVisitor(
  asked: readonly string[],
  { isKeeping }: Dialect,
): Visitor | undefined {
  for (const one of asked) {
    const [, session, epoch, offset, away] = VISITOR.exec(one) ?? [];
    if (session === undefined || !isKeeping && !epoch) continue;
    const place = epoch && { epoch, offset: Number(offset) };
    return { session, place: place || undefined, away: Number(away ?? 0) };
  }
  return undefined;
}

/**
 * What a client asks for.
 *
 * @param protocols The program's own subprotocols.
 * @param dialect What it speaks.
 * @param visitor What `visit` has made of the client.
 * @returns The subprotocols to ask for, in order.
 */
export function offer(
  protocols: readonly string[],
  dialect: Dialect,
  visitor: string,
): string[] {
  const wanted = want(protocols, dialect);
  return dialect.isPlain ? wanted : [...wanted, visitor];
}

function want(protocols: readonly string[], dialect: Dialect): string[] {
  if (dialect.isPlain) return [...protocols];
  const own = [...protocols, ""].flatMap((one) => tokens(dialect, one));
  // Without the codec nothing could be understood.
  if (dialect.codec) return own;
  return protocols.length === 0 ? [PLAIN, ...own] : [...protocols, ...own];
}

/**
 * Reads what a server has picked.
 *
 * @param picked The subprotocol; empty for none.
 * @param dialect What was asked for.
 * @returns What is spoken; undefined if the codec was not understood.
 */
export function understand(
  picked: string,
  dialect: Dialect,
): Spoken | undefined {
  if (!dialect.isPlain) {
    for (const hasParts of [true, false]) {
      const bare = token(dialect, "", hasParts);
      if (picked === bare || picked.startsWith(`${bare}+`)) {
        const protocol = picked.slice(bare.length + 1);
        return { protocol, isEvents: true, ...hasParts && { hasParts } };
      }
    }
  }
  if (dialect.codec) return undefined;
  const isNothing = picked === PLAIN && !dialect.isPlain;
  return { protocol: isNothing ? "" : picked, isEvents: false };
}

/** What a server has made of what a client asks for. */
export interface Choice extends Spoken {
  /** What the answer says; empty for no subprotocol. */
  readonly token: string;
}

/** What is spoken with a client that asks for nothing: the same for all of them. */
const NOTHING: Choice = { protocol: "", isEvents: false, token: "" };

/**
 * Picks what to speak.
 *
 * @param asked What the client asks for.
 * @param spoken The program's own subprotocols.
 * @param dialect What the server speaks.
 * @returns The choice, or why there is none.
 */
export function choose(
  asked: readonly string[],
  spoken: readonly string[],
  dialect: Dialect,
): Choice | string {
  if (asked.length === 0 && !dialect.codec) return NOTHING;
  if (!dialect.isPlain) {
    // Made once: a peer may ask for thousands.
    const known = new Set(
      spoken.flatMap((protocol) => tokens(dialect, protocol)),
    );
    const own = asked.find((one) => known.has(one));
    const isOwn = asked.some((one) => spoken.includes(one));
    const bare = isOwn
      ? undefined
      : tokens(dialect, "").find((one) => asked.includes(one));
    const picked = own ?? bare;
    const said = picked && understand(picked, dialect);
    if (picked && said) {
      const visitor = readVisitor(asked, dialect);
      return { ...said, token: picked, visitor };
    }
  }
  if (dialect.codec) {
    return `This server speaks ${dialect.codec}: ask for the subprotocol ${
      token(dialect, "")
    }`;
  }
  const protocol = asked.find((one) => spoken.includes(one)) ?? "";
  const others = asked.filter((one) => !VISITOR.test(one));
  const strange = others.filter((one) =>
    one.startsWith(`${EVENTS}.`) || one.startsWith(`${EVENTS}${PARTS}.`)
  );
  if (!protocol && strange.length > 0 && strange.length === others.length) {
    return `This server does not speak ${
      printable(strange.join(", "))
    }: its codec is JSON`;
  }
  const isAsked = asked.length > 0 && asked[0] === PLAIN && !protocol;
  return { protocol, isEvents: false, token: isAsked ? PLAIN : protocol };
}
