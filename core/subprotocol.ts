/**
 * Which subprotocols are asked for, and which one is spoken: `events.v1` beside
 * those of the program; pure.
 *
 * A subprotocol is one token. So one that says that `events.v1` is spoken names all
 * that is agreed on: `events.v1`, then `.` and the codec if it is not JSON, then `+`
 * and the program's own subprotocol if there is one.
 *
 * @module
 */

/** What both sides speak. */
export interface Spoken {
  /** The program's own subprotocol; empty for none. */
  readonly protocol: string;
  /** Whether it is `events.v1`. */
  readonly isEvents: boolean;
}

/** What a side speaks apart from the program's own subprotocols. */
export interface Dialect {
  /** Whether it does without `events.v1`. */
  readonly isPlain: boolean;
  /** The name of its codec; empty for JSON. */
  readonly codec: string;
}

const EVENTS = "events.v1";

/**
 * Asked for first where the program asks for nothing: a server that takes the first
 * one whatever it is then says what is true.
 */
const PLAIN = "plain";

function token({ codec }: Dialect, protocol: string): string {
  return EVENTS + (codec && `.${codec}`) + (protocol && `+${protocol}`);
}

/**
 * What a client asks for.
 *
 * @param protocols The program's own subprotocols.
 * @param dialect What it speaks.
 * @returns The subprotocols to ask for, in order.
 */
export function offer(
  protocols: readonly string[],
  dialect: Dialect,
): string[] {
  if (dialect.isPlain) return [...protocols];
  const own = protocols.map((protocol) => token(dialect, protocol));
  const bare = token(dialect, "");
  // Without the codec nothing could be understood.
  if (dialect.codec) return [...own, bare];
  return protocols.length === 0 ? [PLAIN, bare] : [...protocols, ...own, bare];
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
  const bare = token(dialect, "");
  const isEvents = !dialect.isPlain &&
    (picked === bare || picked.startsWith(`${bare}+`));
  if (isEvents) return { protocol: picked.slice(bare.length + 1), isEvents };
  if (dialect.codec) return undefined;
  const isNothing = picked === PLAIN && !dialect.isPlain;
  return { protocol: isNothing ? "" : picked, isEvents };
}

/** What a server has made of what a client asks for. */
export interface Choice extends Spoken {
  /** What the answer says; empty for no subprotocol. */
  readonly token: string;
}

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
  if (!dialect.isPlain) {
    const own = spoken.length === 0
      ? undefined
      : asked.find((one) =>
        spoken.some((protocol) => one === token(dialect, protocol))
      );
    const bare = token(dialect, "");
    if (own) {
      const protocol = own.slice(bare.length + 1);
      return { protocol, isEvents: true, token: own };
    }
    const isOwn = asked.some((one) => spoken.includes(one));
    if (asked.includes(bare) && !isOwn) {
      return { protocol: "", isEvents: true, token: bare };
    }
  }
  if (dialect.codec) {
    return `This server speaks ${dialect.codec}: ask for the subprotocol ${
      token(dialect, "")
    }`;
  }
  const protocol = asked.find((one) => spoken.includes(one)) ?? "";
  const strange = asked.filter((one) => one.startsWith(`${EVENTS}.`));
  if (!protocol && strange.length > 0 && strange.length === asked.length) {
    return `This server does not speak ${
      strange.join(", ")
    }: its codec is JSON`;
  }
  const isAsked = asked.length > 0 && asked[0] === PLAIN && !protocol;
  return { protocol, isEvents: false, token: isAsked ? PLAIN : protocol };
}
