/**
 * What the page and the server of the chat send each other, and what may be a name and a
 * text.
 *
 * @module
 */

/** The channel of the chat, with the types of its contract. */
export const CHANNEL = "lobby";

/** The maximum length of a name, in UTF-16 units, as `maxlength` counts. */
export const MAX_NAME = 30;

/** The maximum length of a text, in UTF-16 units: at most three bytes each. */
export const MAX_TEXT = 1_000;

/** How many messages of a page may wait for their answer: they may arrive all at once. */
export const MAX_OPEN = 50;

/** A message as everybody gets it. */
export interface Said {
  /** Random, made by the page that has sent it. */
  readonly id: string;
  readonly name: string;
  readonly text: string;
  /** When it arrived at the server, in milliseconds since the epoch. */
  readonly at: number;
}

/** The contract of both sides. */
export interface Chat {
  client: { say(data: { readonly id: string; readonly text: string }): Said };
  server: { said: Said };
  presence: string;
}

/** Control characters, line breaks, and what changes the direction of writing. */
const UNFIT_IN_NAME = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u;

/** What can be seen. */
const VISIBLE = /[\p{L}\p{N}\p{P}\p{S}]/u;

/** Control characters, except tabs and line breaks. */
const UNFIT_IN_TEXT = /[^\P{Cc}\t\n]/u;

/** A name without space around it; undefined if it is not valid. */
export function parseName(data: unknown): string | undefined {
  if (typeof data !== "string" || !data.isWellFormed()) return undefined;
  const name = data.trim();
  const isFit = name.length <= MAX_NAME && VISIBLE.test(name) &&
    !UNFIT_IN_NAME.test(name);
  return isFit ? name : undefined;
}

/** A text without space around it; undefined if it is not valid. */
export function parseText(data: unknown): string | undefined {
  if (typeof data !== "string" || !data.isWellFormed()) return undefined;
  const text = data.trim();
  const isFit = text.length > 0 && text.length <= MAX_TEXT &&
    !UNFIT_IN_TEXT.test(text);
  return isFit ? text : undefined;
}

/** Whether it is an id of a message. */
export function isId(data: unknown): data is string {
  return typeof data === "string" && /^[0-9a-f]{32}$/.test(data);
}

/** Whether it is a message, among the values that the server has sent. */
export function isSaid(data: unknown): data is Said {
  return typeof data === "object" && data !== null && "id" in data;
}
