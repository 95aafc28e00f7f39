/**
 * What the page and the server of the chat say to each other. Each side parses
 * what comes from the other, as it may be of another version, or of somebody
 * else's making.
 *
 * @module
 */

/** How long a name may be, in UTF-16 units, as `maxlength` counts. */
export const MAX_NAME = 30;

/** How long a text may be, in UTF-16 units; at most three bytes each. */
export const MAX_TEXT = 1_000;

/**
 * How many messages of a page may have no echo yet: all of them may come at once,
 * when the server was away.
 */
export const MAX_OPEN = 50;

/** How often the server says that it is there, in milliseconds. */
export const ALIVE_EVERY = 5_000;

/** From the page: who it is. It comes first on each connection, and once. */
export interface Hello {
  readonly kind: "hello";
  readonly name: string;
}

/** From the page: a message for everybody. */
export interface Say {
  readonly kind: "say";
  /** Random, made by the page; it stays when the message is sent again. */
  readonly id: string;
  readonly text: string;
}

export type FromPage = Hello | Say;

/** A message as everybody gets it. */
export interface Said {
  readonly id: string;
  readonly name: string;
  readonly text: string;
  /** When it came to the server, in milliseconds since the epoch. */
  readonly at: number;
}

/** From the server: the answer to a hello, with the last messages. */
export interface Welcome {
  readonly kind: "welcome";
  readonly history: readonly Said[];
}

/** From the server: who is there now. */
export interface People {
  readonly kind: "people";
  readonly names: readonly string[];
}

/** From the server: somebody has said something. */
export interface News {
  readonly kind: "said";
  readonly said: Said;
}

/** From the server, to who has sent it again: everybody has this already. */
export interface Known {
  readonly kind: "known";
  readonly id: string;
}

/**
 * From the server, now and then: it is there. A page hears of no ping, and without
 * this would not notice that the way to a server is cut that has nothing to say.
 */
export interface Alive {
  readonly kind: "alive";
}

export type FromServer = Welcome | People | News | Known | Alive;

/** What the page has sent; undefined if it is malformed. */
export function parseFromPage(data: unknown): FromPage | undefined {
  if (!isRecord(data)) return undefined;
  const { kind } = data;
  if (kind === "hello") {
    const name = parseName(data.name);
    return name === undefined ? undefined : { kind, name };
  }
  if (kind === "say") {
    const { id } = data;
    const text = parseText(data.text);
    return text === undefined || !isId(id) ? undefined : { kind, id, text };
  }
  return undefined;
}

/** What the server has sent; undefined if it is malformed, or newer than this. */
export function parseFromServer(data: unknown): FromServer | undefined {
  if (!isRecord(data)) return undefined;
  const { kind } = data;
  if (kind === "welcome") {
    const history = parseAll(data.history, parseSaid);
    return history && { kind, history };
  }
  if (kind === "people") {
    const names = parseAll(data.names, parseName);
    return names && { kind, names };
  }
  if (kind === "said") {
    const said = parseSaid(data.said);
    return said && { kind, said };
  }
  if (kind === "alive") return { kind };
  if (kind === "known") {
    const { id } = data;
    return isId(id) ? { kind, id } : undefined;
  }
  return undefined;
}

/** Control characters, line breaks, and what turns the direction of writing. */
const UNFIT_IN_NAME = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u;

/** What can be seen. */
const VISIBLE = /[\p{L}\p{N}\p{P}\p{S}]/u;

/** Control characters, but for tabs and line breaks. */
const UNFIT_IN_TEXT = /[^\P{Cc}\t\n]/u;

/** A name without space around it; undefined if it is none. */
export function parseName(data: unknown): string | undefined {
  if (typeof data !== "string" || !data.isWellFormed()) return undefined;
  const name = data.trim();
  const isFit = name.length <= MAX_NAME && VISIBLE.test(name) &&
    !UNFIT_IN_NAME.test(name);
  return isFit ? name : undefined;
}

/** A text without space around it; undefined if it is none. */
export function parseText(data: unknown): string | undefined {
  if (typeof data !== "string" || !data.isWellFormed()) return undefined;
  const text = data.trim();
  const isFit = text.length > 0 && text.length <= MAX_TEXT &&
    !UNFIT_IN_TEXT.test(text);
  return isFit ? text : undefined;
}

function parseSaid(data: unknown): Said | undefined {
  if (!isRecord(data)) return undefined;
  const { id, at } = data;
  const name = parseName(data.name);
  const text = parseText(data.text);
  if (!isId(id) || !isTime(at)) return undefined;
  if (name === undefined || text === undefined) return undefined;
  return { id, name, text, at };
}

/** A list of which each item is well-formed. */
function parseAll<T>(
  data: unknown,
  parse: (item: unknown) => T | undefined,
): T[] | undefined {
  if (!Array.isArray(data)) return undefined;
  const all: T[] = [];
  for (const item of data) {
    const parsed = parse(item);
    if (parsed === undefined) return undefined;
    all.push(parsed);
  }
  return all;
}

function isRecord(data: unknown): data is Record<string, unknown> {
  return typeof data === "object" && data !== null;
}

function isId(data: unknown): data is string {
  return typeof data === "string" && /^[0-9a-f]{32}$/.test(data);
}

/** Whether it is a number that a `Date` can hold. */
function isTime(data: unknown): data is number {
  return typeof data === "number" && Math.abs(data) <= 8.64e15;
}
